//! A line to a server that can be cut and mended: what a broken network or a stopped database looks like. It has threads of its
//! own: it must work while a test waits for a command to end.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    Whole,
    Cut,
    Gone,
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
                    Is::Whole => drop(connect(near, &server, &shared)),
                }
            }
        });
        Self { address, state }
    }

    fn turn(&self, is: Is) {
        let mut state = self.state.lock().unwrap();
        state.is = is;
        if is != Is::Whole {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Cuts it: what is under way breaks, and nobody gets through.
    pub(crate) fn cut(&self) {
        self.turn(Is::Cut);
    }

    /// Mends it for whoever calls next.
    pub(crate) fn mend(&self) {
        self.turn(Is::Whole);
    }
}

fn connect(near: TcpStream, server: &str, state: &Mutex<State>) -> io::Result<()> {
    let far = TcpStream::connect(server)?;
    let mut state = state.lock().unwrap();
    for (from, to) in [(&near, &far), (&far, &near)] {
        from.set_nodelay(true)?;
        state.open.push(from.try_clone()?);
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to); // a broken line is what this is for
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

impl Drop for Line {
    fn drop(&mut self) {
        self.turn(Is::Gone);
        let _ = TcpStream::connect(&self.address); // wakes whoever listens, to see that it is over
    }
}
