//! Answers of one round of a worker, sent together.
//!
//! Sending wakes whoever reads at the other end. A peer that serves many connections from one thread, as proxies, meshes and
//! load generators do, sleeps again right after the first answer and is woken for each of the others: on a virtual machine
//! the wake-ups are an eighth of all the time a short request takes. So the answers to the requests that were ready in the
//! same round are held until the last of them is made, and then sent one behind the other; the peer is woken once. Seastar
//! flushes its output streams the same way. A worker with one request in hand holds nothing for anybody: its round ends
//! with it.
//!
//! The values of these requests are counted at the end of the round as well, right before the answers leave: what a client
//! has been told can be seen in the metrics, see [`RoundNotes`].
//!
//! What is held is late by what the rest of the round takes, so only calls of brief models are in rounds, and a round that
//! lasts longer than [`LONGEST_ROUND`] is sent before its end.
//!
//! Invariant: bytes leave a connection in the order in which they were given, and whatever was given leaves, or the
//! connection ends; no answer leaves before its values are counted.

use super::round_notes::RoundNotes;
use super::waiting::Wait;
use crate::catalog::Model;
use crate::observe::Evidence;
use crate::tensor::Tensor;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWrite, ReadBuf};
use tokio::net::tcp::OwnedWriteHalf;

/// How long the first answer of a round may be held: a dozen short requests, and less than what most networks add.
const LONGEST_ROUND: Duration = Duration::from_micros(200);
/// Bytes that a connection holds at most.
const HELD_BYTES: usize = 32 << 10;
/// The largest buffer that a connection keeps when it holds nothing: there may be thousands that are idle.
const KEPT_BUFFER: usize = 4 << 10;

/// The answers of a worker's round.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    held: RefCell<Vec<Rc<Outgoing>>>,
    /// What is to be counted before they leave.
    notes: RoundNotes,
    /// When the first of them was made.
    began: Cell<Option<Instant>>,
    /// Wakes the task that ends the round.
    waker: RefCell<Option<Waker>>,
}

/// The sending side of a connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    socket: RefCell<OwnedWriteHalf>,
    /// What the system has not taken yet.
    bytes: RefCell<Vec<u8>>,
    is_held: Cell<bool>,
    /// Whether the system would not take all of it: the connection's task goes on with it.
    is_blocked: Cell<bool>,
    has_failed: Cell<bool>,
    wait: Rc<Wait>,
}

impl Outbox {
    /// Ends every round: a task that runs behind those that were ready when the first answer was held, since tasks run in
    /// the order in which they were woken.
    pub(super) async fn end_rounds(&self) {
        poll_fn(|context| {
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            drop(waker);
            self.send();
            Poll::<()>::Pending
        })
        .await;
    }

    /// Notes the values of a request that was answered just now, and says whether it did, see [`RoundNotes::note`].
    pub(super) fn note(&self, of: (&Arc<Model>, usize), evidence: Evidence, values: (&[Tensor], &[Tensor])) -> bool {
        let is_first = self.notes.is_empty();
        let is_noted = self.notes.note(of, evidence, values);
        if is_first && is_noted {
            self.wake();
        }
        is_noted
    }

    /// Counts what was noted.
    pub(super) fn settle(&self) {
        self.notes.settle();
    }

    /// Sends what is held.
    pub(super) fn send(&self) {
        self.settle();
        self.began.set(None);
        for outgoing in self.held.borrow_mut().drain(..) {
            outgoing.is_held.set(false);
            outgoing.send();
        }
    }

    /// Holds what a connection has to send, an answer that was made just now, until the end of the round.
    fn hold(&self, outgoing: &Rc<Outgoing>, made: Instant) {
        if !outgoing.is_held.replace(true) {
            self.held.borrow_mut().push(Rc::clone(outgoing));
        }
        match self.began.get() {
            Some(began) if made.saturating_duration_since(began) > LONGEST_ROUND => self.send(),
            Some(_) => {}
            None => {
                self.began.set(Some(made));
                self.wake();
            }
        }
    }

    /// Has the round ended behind those tasks that are ready now.
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Outgoing {
    pub(super) fn new(socket: OwnedWriteHalf, wait: Rc<Wait>) -> Rc<Self> {
        Rc::new(Self {
            socket: RefCell::new(socket),
            bytes: RefCell::default(),
            is_held: Cell::new(false),
            is_blocked: Cell::new(false),
            has_failed: Cell::new(false),
            wait,
        })
    }

    /// What its connection waits for.
    pub(super) fn wait(&self) -> &Wait {
        &self.wait
    }

    /// Takes bytes, as many as there is room for.
    pub(super) fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.bytes.borrow().len() + bytes.len() > HELD_BYTES {
            ready!(self.poll_send(context))?;
        }
        let taken = bytes.len().min(HELD_BYTES);
        self.bytes.borrow_mut().extend_from_slice(&bytes[..taken]);
        Poll::Ready(self.checked().map(|()| taken))
    }

    /// Sends what was taken: with the round, if it is an answer that may wait for its end and was `made` then.
    pub(super) fn poll_flush(
        self: &Rc<Self>,
        (outbox, made): (&Outbox, Option<Instant>),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match made {
            Some(made) if !self.is_blocked.get() && !self.bytes.borrow().is_empty() => {
                outbox.hold(self, made);
                Poll::Ready(self.checked())
            }
            _ => {
                outbox.settle();
                self.poll_send(context)
            }
        }
    }

    /// Goes on with what the system would not take before, if anything.
    pub(super) fn poll_blocked(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_blocked.get() { self.poll_send(context) } else { Poll::Ready(self.checked()) }
    }

    /// Ready if the peer will neither send nor, as far as is known, receive any more: a half-closed stream counts as left.
    pub(super) fn poll_peer_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        match ready!(self.socket.borrow().as_ref().poll_peek(context, &mut ReadBuf::new(&mut byte))) {
            Ok(1..) => Poll::Pending,
            Ok(0) | Err(_) => Poll::Ready(()),
        }
    }

    /// Sends everything, then ends the stream.
    pub(super) fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut *self.socket.borrow_mut()).poll_shutdown(context)
    }

    /// Sends everything.
    fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.try_send() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.borrow().as_ref().poll_write_ready(context))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Sends what the system takes now; the connection's task does the rest.
    pub(super) fn send(&self) {
        match self.try_send() {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_blocked.set(true),
            Err(_) => self.has_failed.set(true),
        }
        self.wait.wake();
    }

    fn try_send(&self) -> io::Result<()> {
        self.checked()?;
        let mut bytes = self.bytes.borrow_mut();
        while !bytes.is_empty() {
            let sent = self.socket.borrow().try_write(&bytes)?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.wait.progress();
            bytes.drain(..sent);
        }
        if bytes.capacity() > KEPT_BUFFER {
            *bytes = Vec::new();
        }
        self.is_blocked.set(false);
        self.wait.written();
        Ok(())
    }

    fn checked(&self) -> io::Result<()> {
        if self.has_failed.get() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::super::waiting::Waiting;
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;
    use tokio::net::TcpSocket;

    /// A connection's sending side, and the peer, which does not block.
    async fn connect() -> (Rc<Outgoing>, std::net::TcpStream) {
        let socket = TcpSocket::new_v4().unwrap();
        // Small, so that the system takes parts of what is written.
        socket.set_send_buffer_size(4 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_nonblocking(true).unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        // Else the runtime may not know yet that it is.
        socket.writable().await.unwrap();
        let (_, socket) = socket.into_split();
        let limits = Limits { max_body: 1, body_timeout: Duration::from_secs(4), idle_timeout: Duration::from_secs(8) };
        (Outgoing::new(socket, Waiting::new(&limits).enter()), peer)
    }

    fn received(peer: &mut std::net::TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = peer.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
        }
        bytes
    }

    async fn write(outgoing: &Outgoing, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = poll_fn(|context| outgoing.poll_write(context, bytes)).await.unwrap();
            bytes = &bytes[taken..];
        }
    }

    async fn flush(outgoing: &Rc<Outgoing>, outbox: &Outbox, made: Option<Instant>) {
        poll_fn(|context| outgoing.poll_flush((outbox, made), context)).await.unwrap();
    }

    #[tokio::test]
    async fn answers_of_a_round_leave_at_its_end_and_others_at_once() {
        let outbox = Rc::new(Outbox::default());
        let of_task = Rc::clone(&outbox);
        let local = tokio::task::LocalSet::new();
        let mut rounds = tokio::task::JoinSet::new();
        rounds.spawn_local_on(async move { of_task.end_rounds().await }, &local);
        local
            .run_until(async {
                tokio::task::yield_now().await;
                let made = Instant::now();
                let ((first, mut first_peer), (second, mut second_peer)) = (connect().await, connect().await);
                write(&first, b"one").await;
                flush(&first, &outbox, Some(made)).await;
                write(&second, b"two").await;
                flush(&second, &outbox, Some(made)).await;
                assert!(received(&mut first_peer).is_empty() && received(&mut second_peer).is_empty());
                tokio::task::yield_now().await;
                assert_eq!((received(&mut first_peer), received(&mut second_peer)), (b"one".to_vec(), b"two".to_vec()));
                write(&first, b"three").await;
                flush(&first, &outbox, None).await;
                assert_eq!(received(&mut first_peer), b"three");
            })
            .await;
    }

    #[tokio::test]
    async fn a_long_round_is_sent_before_its_end() {
        let (outbox, made) = (Outbox::default(), Instant::now());
        let ((first, mut first_peer), (second, mut second_peer)) = (connect().await, connect().await);
        write(&first, b"one").await;
        flush(&first, &outbox, Some(made)).await;
        write(&second, b"two").await;
        flush(&second, &outbox, Some(made + LONGEST_ROUND)).await;
        assert!(received(&mut first_peer).is_empty());
        flush(&second, &outbox, Some(made + LONGEST_ROUND + Duration::from_nanos(1))).await;
        assert_eq!((received(&mut first_peer), received(&mut second_peer)), (b"one".to_vec(), b"two".to_vec()));
    }

    #[tokio::test]
    async fn what_is_held_leaves_before_the_stream_ends_and_a_peer_that_left_is_noticed() {
        let outbox = Outbox::default();
        let (outgoing, mut peer) = connect().await;
        write(&outgoing, b"last").await;
        flush(&outgoing, &outbox, Some(Instant::now())).await;
        let gone = poll_fn(|context| Poll::Ready(outgoing.poll_peer_gone(context).is_ready())).await;
        assert!(!gone);
        poll_fn(|context| outgoing.poll_shutdown(context)).await.unwrap();
        assert_eq!(received(&mut peer), b"last");
        drop(peer);
        poll_fn(|context| outgoing.poll_peer_gone(context)).await;
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn bytes_arrive_whole_and_in_order(
            answers in prop::collection::vec((1..200_000_usize, any::<bool>()), 1..12),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let outbox = Outbox::default();
                let (outgoing, mut peer) = connect().await;
                peer.set_nonblocking(false).unwrap();
                let expected: Vec<u8> = (0..answers.iter().map(|answer| answer.0).sum::<usize>()).map(|at| (at % 251) as u8).collect();
                let length = expected.len();
                let reader = std::thread::spawn(move || {
                    let mut bytes = vec![0; length];
                    peer.read_exact(&mut bytes).unwrap();
                    bytes
                });
                let mut sent = 0;
                for &(length, in_round) in &answers {
                    write(&outgoing, &expected[sent..sent + length]).await;
                    flush(&outgoing, &outbox, in_round.then(Instant::now)).await;
                    sent += length;
                    if length % 3 == 0 {
                        outbox.send();
                    }
                }
                outbox.send();
                poll_fn(|context| outgoing.poll_blocked(context)).await.unwrap();
                // What is missing would else be waited for without end.
                drop((outbox, outgoing));
                assert!(reader.join().unwrap() == expected);
            });
        }
    }
}
