//! A line to a server that can be cut, made to swallow what is said, and mended: what a broken network or a stopped server
//! looks like. It has threads of its own: it must work while a test waits for a command to end.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Whole,
    /// Both ends are hung up on.
    Cut,
    /// Nobody hangs up, and what is said this way gets lost.
    Swallows(Way),
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToTheServer,
    FromTheServer,
}

struct State {
    is: Is,
    /// Both ends of each connection.
    open: Vec<TcpStream>,
}

/// The line; connections to [`Line::address`] lead to the server while it is whole.
pub(crate) struct Line {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Line {
    /// A whole line to `server` (`host:port`).
    pub(crate) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { is: Is::Whole, open: Vec::new() }));
        let (shared, server) = (Arc::clone(&state), server.to_owned());
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let is = shared.lock().unwrap().is;
                match is {
                    Is::Gone => return,
                    Is::Cut => {} // hung up on at once
                    Is::Whole | Is::Swallows(_) => drop(connect(near, &server, &shared)),
                }
            }
        });
        Self { address, state }
    }

    fn turn(&self, is: Is) {
        let mut state = self.state.lock().unwrap();
        state.is = is;
        if matches!(is, Is::Cut | Is::Gone) {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Cuts it: what is under way breaks, and nobody gets through.
    pub(crate) fn cut(&self) {
        self.turn(Is::Cut);
    }

    /// Loses what is said to the server: nobody hangs up.
    pub(crate) fn swallow_questions(&self) {
        self.turn(Is::Swallows(Way::ToTheServer));
    }

    /// Loses what the server says: it has taken all, and nobody hears of it.
    pub(crate) fn swallow_answers(&self) {
        self.turn(Is::Swallows(Way::FromTheServer));
    }

    /// Mends it for whoever calls next. A connection that lost something stays silent: it can't be whole again.
    pub(crate) fn mend(&self) {
        self.turn(Is::Whole);
    }
}

fn connect(near: TcpStream, server: &str, state: &Arc<Mutex<State>>) -> io::Result<()> {
    let far = TcpStream::connect(server)?;
    for (from, to, way) in [(&near, &far, Way::ToTheServer), (&far, &near, Way::FromTheServer)] {
        from.set_nodelay(true)?;
        state.lock().unwrap().open.push(from.try_clone()?);
        let (from, to, state) = (from.try_clone()?, to.try_clone()?, Arc::clone(state));
        thread::spawn(move || {
            let _ = carry(from, &to, way, &state); // a broken line is what this is for
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

fn carry(mut from: TcpStream, mut to: &TcpStream, way: Way, state: &Mutex<State>) -> io::Result<()> {
    let (mut said, mut is_lost) = ([0; 16 * 1024], false);
    loop {
        let length = from.read(&mut said)?;
        if length == 0 {
            return Ok(());
        }
        is_lost |= state.lock().unwrap().is == Is::Swallows(way);
        if !is_lost {
            to.write_all(&said[..length])?;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.turn(Is::Gone);
        let _ = TcpStream::connect(&self.address); // wakes whoever listens, to see that it is over
    }
}
