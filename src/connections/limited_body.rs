//! A request body that must arrive within a time limit.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Time limit for a whole body, from the end of the head. Twilio waits for 15 s for the answer.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// A body with the time by which it must have arrived.
pub(super) struct LimitedBody<B> {
    body: B,
    until: Instant,
    /// Runs while the body waits for the peer.
    waits: Option<Pin<Box<Sleep>>>,
}

/// The body did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the request body did not arrive within {} s", BODY_TIMEOUT.as_secs())]
pub(super) struct BodyTimeoutError;

impl<B> LimitedBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, until: Instant::now() + BODY_TIMEOUT, waits: None }
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let until = self.until;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep_until(until)));
        waits.as_mut().poll(context).map(|()| Some(Err(BodyTimeoutError.into())))
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
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_cut() {
        let drops = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Some((Ok::<_, BoxError>(Bytes::from_static(b"x")), ()))
        });
        let began = Instant::now();
        let limited = axum::body::Body::new(LimitedBody::new(axum::body::Body::from_stream(drops.boxed())));
        let error = axum::body::to_bytes(limited, 1024).await.unwrap_err();
        assert!(error.to_string().contains("within 15 s"), "{error}");
        assert_eq!(began.elapsed(), BODY_TIMEOUT);
    }
}
