//! Ending a connection without an answer: what a client sees when a line breaks after its request was sent.
//!
//! A handler of actix-web can only answer. So each connection keeps a second handle of its socket, and a cut is an answer
//! whose body fails before anything is flushed: the connection is dropped with not a byte of the answer written. For a
//! reset the socket is first told not to linger, and closing it sends RST instead of FIN.

use std::{
    any::Any,
    io,
    net::Shutdown,
    os::fd::{AsFd as _, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::Extensions,
    http::{StatusCode, Version},
    rt::net::TcpStream,
    web::Bytes,
};
use socket2::SockRef;

/// The second handle of a connection's socket.
struct Socket(OwnedFd);

/// Keeps the handle; to be called for each new connection.
pub(crate) fn remember(io: &dyn Any, connection: &mut Extensions) {
    let plain = io.downcast_ref::<TcpStream>();
    let stream = plain.or_else(|| io.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
    // without one (out of file handles) a cut still closes, only not by a reset
    if let Some(socket) = stream.and_then(|stream| stream.as_fd().try_clone_to_owned().ok()) {
        connection.insert(Socket(socket));
    }
}

/// How the line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// In order, but without an answer.
    Close,
    /// By a TCP reset.
    Reset,
}

/// The answer that is none.
pub(crate) fn cut(request: &HttpRequest, how: Cut) -> HttpResponse {
    if let Some(Socket(socket)) = request.conn_data::<Socket>() {
        let socket = SockRef::from(socket);
        let done = match how {
            Cut::Reset => socket.set_linger(Some(Duration::ZERO)),
            Cut::Close => Ok(()),
        };
        // HTTP/2 would end only the stream, after a head
        let done = if request.version() == Version::HTTP_2 { done.and(socket.shutdown(Shutdown::Both)) } else { done };
        if let Err(error) = done {
            tracing::debug!(%error, "the connection was gone before it could be cut");
        }
    }
    HttpResponse::with_body(StatusCode::OK, BoxBody::new(Broken))
}

/// A body that promises a byte and fails.
struct Broken;

impl MessageBody for Broken {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(1)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "a fault asked for this cut"))))
    }
}
