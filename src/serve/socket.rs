//! A worker's socket, until it is known which protocol the client speaks, and from then on if it is HTTP/2.
//!
//! HTTP/1.1 and HTTP/2 share the port. A client that knows that it may speak HTTP/2 begins with the preface of RFC 9113,
//! 3.4, which no HTTP/1 request begins with. The first bytes are read here, compared, and handed on to whoever reads next:
//! one read more for each connection, and for each later read one comparison. Looking without taking (`MSG_PEEK`) would
//! say "ready" without end while a client has sent half a preface.
//!
//! Invariant: whoever reads gets every byte that the client sent, in order.

use super::waiting::{Phase, Wait};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// What a client of HTTP/2 sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/1.1, or nothing that is known here.
    Http1,
    /// HTTP/2, with prior knowledge.
    Http2,
}

/// A socket that tells when the client takes something.
pub(super) struct Socket {
    io: TokioIo<TcpStream>,
    wait: Rc<Wait>,
    ahead: Ahead,
}

/// What was read to learn the protocol, until it is handed on.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: [u8; PREFACE.len()],
    taken: usize,
    filled: usize,
}

impl Ahead {
    /// Reads what is left of it, and behind that from `socket`.
    pub(super) fn poll_read(
        &mut self,
        socket: Pin<&mut impl Read>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.taken == self.filled {
            return socket.poll_read(context, into);
        }
        let length = into.remaining().min(self.filled - self.taken);
        into.put_slice(&self.bytes[self.taken..self.taken + length]);
        self.taken += length;
        Poll::Ready(Ok(()))
    }
}

/// What the first bytes say; nothing while they may still be either.
fn spoken(first: &[u8]) -> Option<Spoken> {
    if !PREFACE.starts_with(first) {
        return Some(Spoken::Http1);
    }
    (first.len() == PREFACE.len()).then_some(Spoken::Http2)
}

impl Socket {
    pub(super) fn new(socket: TcpStream, wait: Rc<Wait>) -> Self {
        Self { io: TokioIo::new(socket), wait, ahead: Ahead::default() }
    }

    /// The socket, and what is to be read before it.
    pub(super) fn into_parts(self) -> (TcpStream, Ahead) {
        (self.io.into_inner(), self.ahead)
    }

    /// Reads until it is known what the client speaks; nothing when it has gone or was too slow, or has said nothing when
    /// the process drains.
    pub(super) async fn spoken(&mut self) -> Option<Spoken> {
        poll_fn(|context| {
            self.wait.register(context);
            if self.wait.is_overdue(Phase::Head) {
                return Poll::Ready(None);
            }
            let spoken = self.poll_spoken(context);
            let is_unwanted = spoken.is_pending() && self.ahead.filled == 0 && self.wait.is_draining();
            if is_unwanted { Poll::Ready(None) } else { spoken }
        })
        .await
    }

    fn poll_spoken(&mut self, context: &mut Context<'_>) -> Poll<Option<Spoken>> {
        loop {
            let mut buffer = ReadBuf::new(&mut self.ahead.bytes);
            buffer.set_filled(self.ahead.filled);
            let outcome = ready!(Pin::new(self.io.inner_mut()).poll_read(context, &mut buffer));
            let filled = buffer.filled().len();
            if outcome.is_err() || filled == self.ahead.filled {
                // Half a preface and an end is no request of either protocol.
                return Poll::Ready(None);
            }
            self.ahead.filled = filled;
            if let Some(spoken) = spoken(&self.ahead.bytes[..filled]) {
                return Poll::Ready(Some(spoken));
            }
        }
    }
}

impl Read for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Self { io, ahead, .. } = &mut *self;
        ahead.poll_read(Pin::new(io), context, into)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, pieces);
        self.note(written)
    }
}

impl Socket {
    /// Notes that the client has taken something, if it has.
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.wait.progress();
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_a_preface_says_nothing_and_a_whole_one_says_it() {
        for length in 0..PREFACE.len() {
            assert_eq!(spoken(&PREFACE[..length]), None, "{length} bytes");
        }
        assert_eq!(spoken(PREFACE), Some(Spoken::Http2));
    }

    proptest! {
        #[test]
        fn one_other_byte_anywhere_says_http_1(at in 0..PREFACE.len(), length in 1..=PREFACE.len(), other: u8) {
            let (mut bytes, at) = (*PREFACE, at % length);
            prop_assume!(bytes[at] != other);
            bytes[at] = other;
            prop_assert_eq!(spoken(&bytes[..length]), Some(Spoken::Http1));
        }
    }

    #[test]
    fn methods_are_told_apart_as_soon_as_they_differ() {
        for (request, differs) in [("GET /", 1), ("POST /", 2), ("PUT /", 2), ("PRI * HTTP/1.1\r\n", 12)] {
            assert_eq!(spoken(&request.as_bytes()[..differs]), Some(Spoken::Http1), "{request}");
            assert_eq!(spoken(&request.as_bytes()[..differs - 1]), None, "{request}");
        }
    }
}
