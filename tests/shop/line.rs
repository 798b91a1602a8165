//! A line to a server that can be cut and mended: what a broken network or a stopped database looks like.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// The line; connections to [`Line::address`] lead to the server while it is whole.
pub(crate) struct Line {
    pub(crate) address: String,
    whole: Arc<watch::Sender<bool>>,
    task: JoinHandle<()>,
}

impl Line {
    /// A whole line to `server` (`host:port`).
    pub(crate) async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (whole, server) = (Arc::new(watch::Sender::new(true)), server.to_owned());
        let watched = Arc::clone(&whole);
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut state, server) = (watched.subscribe(), server.clone());
                tokio::spawn(async move {
                    if !*state.borrow() {
                        return; // hung up on at once
                    }
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Self { address, whole, task }
    }

    /// Cuts it: what is under way breaks, and nobody gets through.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Mends it for whoever calls next.
    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}
