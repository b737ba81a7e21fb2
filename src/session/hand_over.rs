//! Handing calls over: a server that drains lets another one go on with its calls, so that no caller notices.
//!
//! All that is known of a call is written, and the session ends with a reason for which the `<Connect>` action connects the call
//! anew. The next socket lands on a server that takes calls, which takes the call up where it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::inputs::ModelResponse;
use super::{RelaySocket, Session, SessionEnd, SocketInput, SocketOutput};
use crate::ids::CallSid;
use crate::relay::OutgoingFrame;

/// The hand-off data of a session that ends because the server drains.
const MOVED: &str = r#"{"reasonCode":"moved"}"#;

/// The longest pause between two calls that are handed over.
const PAUSE: Duration = Duration::from_millis(50);

/// How long before the end of the drain time a call is handed over whatever it does.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// How long Twilio may take to close the socket after `end`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after a call could not be handed over.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Whether the hand-off data of a session says that another server goes on with the call.
pub(crate) fn is_moved(handoff_data: &str) -> bool {
    handoff_data == MOVED
}

/// When a call ends or is handed over while the server drains.
#[derive(Debug, Clone, Copy)]
pub(super) struct DrainDeadlines {
    /// When it ends without an open payment, if no other server takes calls.
    pub(super) idle: Instant,
    /// When it ends in any case.
    pub(super) hard: Instant,
    /// From when it is handed over if nobody speaks.
    hand_over_from: Instant,
}

/// When the server began to drain, and which calls it has handed over.
#[derive(Debug, Default)]
pub(crate) struct HandOvers {
    began: OnceLock<Instant>,
    scheduled: AtomicU32,
    /// The calls that were handed over, and when. Another server is about to claim them.
    calls: Mutex<HashMap<CallSid, Instant>>,
}

impl HandOvers {
    /// Plans the end of a call of a server that drains for `drain`. The calls are handed over one after the other.
    pub(super) fn schedule(&self, drain: Duration, live_calls: usize, now: Instant) -> DrainDeadlines {
        let began = *self.began.get_or_init(|| now);
        let hard = began + drain;
        let idle = (now + drain / 2).min(hard);
        let place = self.scheduled.fetch_add(1, Ordering::Relaxed);
        let pause = PAUSE.min(drain / 4 / u32::try_from(live_calls.max(1)).unwrap_or(u32::MAX));
        DrainDeadlines { idle, hard, hand_over_from: (idle + pause * place).min(hard) }
    }

    /// Remembers a call that is handed over.
    fn insert(&self, call: CallSid, now: Instant) {
        self.lock().insert(call, now);
    }

    /// Whether a call was handed over so shortly before that its next socket may still come.
    pub(super) fn is_under_way(&self, call: &CallSid, patience: Duration, now: Instant) -> bool {
        let mut calls = self.lock();
        calls.retain(|_, since| now < *since + patience);
        calls.contains_key(call)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallSid, Instant>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Returns when the call is to be handed over to another server, if there is one that takes calls: once nobody speaks, or
    /// in the last moments as it is.
    pub(super) fn hand_over_deadline(&self) -> Option<Instant> {
        let drain = self.drain.filter(|_| self.end.is_none() && self.closed.is_none())?;
        let journal = self.journal.as_ref()?;
        if !self.context.has_successor() {
            return None;
        }
        let last = drain.hard - LAST_MOMENTS.min(self.context.drain_timeout / 4);
        let due = if self.call.is_quiet() { drain.hand_over_from.min(last) } else { last };
        Some(journal.hand_over_retry_at().map_or(due, |retry| due.max(retry)))
    }

    /// Lets another server go on with the call. Without the ledger it goes on here.
    pub(super) async fn hand_over(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        if !journal.hand_over(&self.call).await {
            journal.retry_hand_over_at(Instant::now() + RETRY_PAUSE);
            return warn!(
                event = "call.not_handed_over",
                "A call could not be handed over yet: its state could not be written."
            );
        }
        let sid = &self.tools.context.call.call_sid;
        self.context.hand_overs.insert(sid.clone(), Instant::now());
        // Nothing more is asked of Twilio here.
        if let Some(claim) = &self.tools.context.call.claim {
            claim.lose();
        }
        self.inputs.response = ModelResponse::default();
        let has_open_payment = self.call.has_open_payment();
        info!(event = "call.handed_over", has_open_payment, "The server drains: another one goes on with the call.");
        if let Some(mut socket) = self.inputs.socket.take() {
            let end = OutgoingFrame::End { handoff_data: Some(MOVED.to_owned()) };
            let _ = socket.send(SocketOutput::Text(end.to_json())).await;
            self.context.tasks.spawn(wait_for_close(socket));
        }
        self.end = Some(SessionEnd::HandedOver);
        self.closed = Some(SessionEnd::HandedOver);
    }
}

/// Keeps a socket until Twilio closes it: what is queued is played until then.
async fn wait_for_close(mut socket: RelaySocket) {
    let closed = async {
        while let Some(input) = socket.receive().await {
            if let SocketInput::Closed(_) | SocketInput::TooLarge = input {
                return;
            }
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, closed).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_handed_over_one_after_the_other_from_half_of_the_drain_time_on() {
        let (hand_overs, began, drain) = (HandOvers::default(), Instant::now(), Duration::from_secs(200));
        let plan = |calls, after: u64| {
            let plan = hand_overs.schedule(drain, calls, began + Duration::from_secs(after));
            [plan.idle, plan.hand_over_from, plan.hard].map(|at| (at - began).as_millis())
        };
        assert_eq!(plan(3, 0), [100_000, 100_000, 200_000]);
        assert_eq!(plan(3, 0), [100_000, 100_050, 200_000]);
        assert_eq!(plan(100_000, 0), [100_000, 100_001, 200_000], "many calls within a quarter of the time");
        assert_eq!(plan(1, 150), [200_000, 200_000, 200_000], "one that came late");
    }

    #[test]
    fn a_call_is_waited_for_after_it_was_handed_over() {
        let (hand_overs, now, patience) = (HandOvers::default(), Instant::now(), Duration::from_secs(60));
        let (call, other): (CallSid, CallSid) = ("CA1".parse().unwrap(), "CA2".parse().unwrap());
        hand_overs.insert(call.clone(), now);
        assert!(hand_overs.is_under_way(&call, patience, now) && !hand_overs.is_under_way(&other, patience, now));
        assert!(!hand_overs.is_under_way(&call, patience, now + patience));
    }
}
