//! What the bodies of one HTTP/2 connection may take together.
//!
//! `max_body` bounds what an HTTP/1.1 connection can make the process hold, since it has one request at a time. A
//! connection with hundreds of streams could hold that many bodies, so they share a budget. A stream that finds it spent
//! is refused, not made to wait: bodies that are half here and wait for each other would wait for ever, and bytes that are
//! not taken out of the protocol's own buffers cost more than their length there.
//!
//! Invariant: what is held is the sum over the requests that have not been answered, whatever became of their bodies.

use super::body::BodyError;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Bodies of full size that a connection may hold.
const FULL_BODIES: usize = 4;
/// The least budget, bytes: where `max_body` is small, many small requests at once are still welcome.
const LEAST_BUDGET: usize = 16 << 20;

/// The budget of one connection.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    held: Cell<usize>,
}

/// What one request holds of its connection's budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Rc<Budget>,
    bytes: Cell<usize>,
}

/// A body that is counted while it is read.
#[derive(Debug)]
pub(super) struct Counted<'a, B> {
    body: B,
    share: &'a Share,
}

impl Budget {
    pub(super) fn new(max_body: usize) -> Rc<Self> {
        Rc::new(Self { limit: max_body.saturating_mul(FULL_BODIES).max(LEAST_BUDGET), held: Cell::new(0) })
    }

    /// The share of one request, which holds nothing yet.
    pub(super) fn share(self: &Rc<Self>) -> Share {
        Share { budget: Rc::clone(self), bytes: Cell::new(0) }
    }
}

impl Share {
    /// The body, counted.
    pub(super) fn counting<B>(&self, body: B) -> Counted<'_, B> {
        Counted { body, share: self }
    }

    fn take(&self, bytes: usize) -> Result<(), BodyError> {
        let Budget { limit, held } = &*self.budget;
        if held.get().saturating_add(bytes) > *limit {
            return Err(BodyError::TooManyAtOnce { limit: *limit });
        }
        held.set(held.get() + bytes);
        self.bytes.set(self.bytes.get() + bytes);
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let held = &self.budget.held;
        held.set(held.get() - self.bytes.get());
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<'_, B>
where
    BodyError: From<B::Error>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else { return Poll::Ready(None) };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            self.share.take(data.len())?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use std::convert::Infallible;

    impl From<Infallible> for BodyError {
        fn from(never: Infallible) -> Self {
            match never {}
        }
    }

    async fn read(share: &Share, length: usize) -> Result<usize, BodyError> {
        let body = Full::new(Bytes::from(vec![0; length]));
        share.counting(body).collect().await.map(|whole| whole.to_bytes().len())
    }

    #[tokio::test]
    async fn bodies_share_the_budget_until_their_requests_are_answered() {
        let budget = Budget::new(LEAST_BUDGET);
        let limit = FULL_BODIES * LEAST_BUDGET;
        let (first, second) = (budget.share(), budget.share());
        assert_eq!(read(&first, limit - 10).await, Ok(limit - 10));
        assert_eq!(read(&second, 10).await, Ok(10));
        let third = budget.share();
        assert_eq!(read(&third, 1).await, Err(BodyError::TooManyAtOnce { limit }));
        assert_eq!(read(&third, 0).await, Ok(0));
        drop(first);
        assert_eq!(read(&third, limit - 10).await, Ok(limit - 10));
        drop((second, third));
        assert_eq!(budget.held.get(), 0);
    }

    #[test]
    fn small_limits_leave_room_for_many_and_large_ones_do_not_overflow() {
        assert_eq!(Budget::new(1 << 10).limit, LEAST_BUDGET);
        assert_eq!(Budget::new(usize::MAX).limit, usize::MAX);
    }
}
