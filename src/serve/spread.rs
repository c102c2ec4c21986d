//! Spreads the requests of HTTP/2 connections over the workers.
//!
//! A connection stays on its worker, but a client of HTTP/2 may send everything over one: one worker would then do all
//! the work. So a request whose body is whole is handed to the worker that has the fewest requests in hand, and its answer
//! comes back to the connection's worker. The body is read before, on the connection's own worker: streams of a connection
//! share a lock, which two workers would contend for, and the time-out of a body belongs to whoever reads it.
//!
//! A request counts for its connection's worker from its head on. Were it counted only when its body is whole, it would
//! mostly be run before the next one is looked at, and nobody would ever look busy. What HTTP/1.1 connections are at is not
//! counted: such a count would cost every one of their requests, and who is held up by them keeps its count higher for
//! longer anyway. A client that holds back bodies can so push its requests to other workers, until the time-out of a body.
//!
//! Invariant: a request that was handed on is answered, also when the process stops: a worker goes on until nobody is left
//! who could hand it anything.

use super::respond::Answer;
use super::timing::Stopwatch;
use bytes::Bytes;
use crossbeam_utils::CachePadded;
use hyper::{HeaderMap, Uri};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for a worker they were handed to; further ones are run where they are. Enough to keep it busy
/// for about a millisecond with small models; each may hold a body.
const HANDED_ON: usize = 64;

/// One worker's part in the spreading.
#[derive(Debug)]
pub struct Exchange {
    pub(super) peers: Peers,
    pub(super) handed: mpsc::Receiver<Handed>,
}

/// How one worker hands requests to the others.
#[derive(Debug)]
pub(super) struct Peers {
    own: usize,
    loads: Loads,
    /// By worker; none for itself, so that every queue ends with the last of the others.
    queues: Vec<Option<mpsc::Sender<Handed>>>,
}

/// Requests in hand, by worker.
type Loads = Arc<[CachePadded<AtomicUsize>]>;

/// Counts one request for a worker.
#[derive(Debug)]
pub(super) struct InHand {
    loads: Loads,
    worker: usize,
}

/// A call for predictions whose body is whole.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Has seen it arrive, so that the way to another worker is part of its time.
    pub(super) watch: Stopwatch,
}

/// A call on its way to another worker.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) received: Received,
    /// Where the answer goes; closed when nobody waits for it any more.
    pub(super) reply: oneshot::Sender<Answer>,
    pub(super) in_hand: InHand,
}

/// A place in another worker's queue, for one call.
#[derive(Debug)]
pub(super) struct Place<'a> {
    queue: mpsc::Permit<'a, Handed>,
    in_hand: InHand,
}

/// The parts of this many workers.
#[must_use]
pub fn exchanges(workers: usize) -> Vec<Exchange> {
    let loads: Loads = (0..workers).map(|_| CachePadded::default()).collect();
    let (queues, received): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(HANDED_ON)).unzip();
    let of_worker = |(own, handed)| {
        let others = |(worker, queue): (usize, &mpsc::Sender<Handed>)| (worker != own).then(|| queue.clone());
        let queues = queues.iter().enumerate().map(others).collect();
        Exchange { peers: Peers { own, loads: Arc::clone(&loads), queues }, handed }
    };
    received.into_iter().enumerate().map(of_worker).collect()
}

/// The worker with the fewest requests besides the one to be placed, which is in the load of `own`. When equal it stays,
/// since handing on costs two wake-ups; of others that are equal, it is the next after `own`, so that workers do not all
/// choose the same.
fn choose(workers: usize, own: usize, load: impl Fn(usize) -> usize) -> usize {
    let others = (1..workers).map(|step| (own + step) % workers);
    let stays = (own, load(own).saturating_sub(1));
    let fewest =
        others.map(|other| (other, load(other))).fold(stays, |best, other| if other.1 < best.1 { other } else { best });
    fewest.0
}

impl Peers {
    /// Counts a request that has arrived here.
    pub(super) fn arrived(&self) -> InHand {
        InHand::new(&self.loads, self.own)
    }

    /// A place at the worker that should have the next call that was received here; none if it is best run here, where it
    /// is counted already.
    pub(super) fn elsewhere(&self) -> Option<Place<'_>> {
        let load = |worker: usize| self.loads[worker].load(Ordering::Relaxed);
        let chosen = choose(self.loads.len(), self.own, load);
        let queue = self.queues[chosen].as_ref()?.try_reserve().ok()?;
        Some(Place { queue, in_hand: InHand::new(&self.loads, chosen) })
    }
}

impl Place<'_> {
    /// Hands a call on; where its answer comes.
    pub(super) fn take(self, received: Received) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Handed { received, reply, in_hand: self.in_hand });
        answer
    }
}

impl InHand {
    fn new(loads: &Loads, worker: usize) -> Self {
        loads[worker].fetch_add(1, Ordering::Relaxed);
        Self { loads: Arc::clone(loads), worker }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.loads[self.worker].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Instant;

    fn received() -> Received {
        let (uri, headers) = (Uri::from_static("/v2/models/m/infer"), HeaderMap::new());
        Received { uri, headers, body: Bytes::new(), watch: Stopwatch::start(Instant::now()) }
    }

    fn loads(peers: &Peers) -> Vec<usize> {
        peers.loads.iter().map(|load| load.load(Ordering::Relaxed)).collect()
    }

    proptest! {
        #[test]
        fn nobody_has_fewer_than_the_one_that_is_chosen_and_who_is_equal_keeps_its_own(
            mut counts in prop::collection::vec(0_usize..5, 1..9),
            own: prop::sample::Index,
        ) {
            let own = own.index(counts.len());
            counts[own] += 1;
            let chosen = choose(counts.len(), own, |worker| counts[worker]);
            counts[own] -= 1;
            let fewest = *counts.iter().min().unwrap();
            prop_assert_eq!(counts[chosen], fewest);
            prop_assert_eq!(chosen == own, counts[own] == fewest);
            let before = (1..counts.len()).map(|step| (own + step) % counts.len()).take_while(|other| *other != chosen);
            prop_assert!(chosen == own || before.into_iter().all(|other| counts[other] > fewest));
        }

        #[test]
        fn requests_that_stay_in_hand_end_up_evenly_spread(workers in 1_usize..9, requests in 0_usize..200) {
            let mut counts = vec![0; workers];
            counts[0] = requests;
            for _ in 0..requests {
                let chosen = choose(workers, 0, |worker| counts[worker]);
                counts[0] -= 1;
                counts[chosen] += 1;
            }
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
        }
    }

    #[test]
    fn a_request_counts_for_whoever_has_it_until_it_is_answered_or_nobody_wants_it() {
        let mut exchanges = exchanges(2);
        let mut there = exchanges.remove(1);
        let peers = &exchanges[0].peers;
        let (first, second) = (peers.arrived(), peers.arrived());
        assert_eq!(loads(peers), [2, 0]);
        let place = peers.elsewhere().expect("the other worker has nothing to do");
        drop(first);
        assert_eq!(loads(peers), [1, 1]);
        let answer = place.take(received());
        assert!(peers.elsewhere().is_none(), "both have as many");
        let handed = there.handed.try_recv().unwrap();
        assert!(!handed.reply.is_closed());
        drop(answer);
        assert!(handed.reply.is_closed());
        drop((handed, second));
        assert_eq!(loads(peers), [0, 0]);
    }

    #[test]
    fn a_request_stays_where_it_is_when_the_other_worker_takes_no_more() {
        let exchanges = exchanges(2);
        let peers = &exchanges[0].peers;
        let here: Vec<InHand> = (0..3 * HANDED_ON).map(|_| peers.arrived()).collect();
        let there: Vec<_> = (0..HANDED_ON).map(|_| peers.elsewhere().unwrap().take(received())).collect();
        assert!(peers.elsewhere().is_none());
        assert_eq!(loads(peers), [here.len(), there.len()]);
    }

    #[test]
    fn a_queue_ends_when_the_last_of_the_others_is_gone() {
        let mut exchanges = exchanges(3);
        let mut first = exchanges.remove(0);
        assert!(first.peers.queues[0].is_none());
        exchanges.remove(0);
        assert_eq!(first.handed.try_recv().unwrap_err(), mpsc::error::TryRecvError::Empty);
        drop(exchanges);
        assert_eq!(first.handed.try_recv().unwrap_err(), mpsc::error::TryRecvError::Disconnected);
    }
}
