//! The registry of live calls: from call SID to the mailbox of the task that owns the call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::RelaySocket;
use crate::assets::Library;
use crate::call::ContextKeys;
use crate::ids::CallSid;
use crate::payment;
use crate::twilio::CallStatus;

/// How many messages a mailbox holds. A payment sends one for each key that is pressed.
const MAILBOX_CAPACITY: usize = 256;

/// A message to a session from another task.
#[derive(Debug)]
pub enum SessionMessage {
    /// A payment status callback from Twilio.
    PaymentStatus(Box<payment::PaymentCallback>),
    /// Twilio opened a new socket for the call.
    Socket(RelaySocket),
    /// A call status callback from Twilio. Repeated and reordered callbacks are harmless.
    CallStatus(CallStatus),
    /// Switches the context or manifest from the next model request on; the history stays.
    Reconfigure {
        /// The keys to switch to.
        keys: ContextKeys,
        /// The library in which they are looked up.
        library: Arc<Library>,
    },
    /// Twilio reported that the call has ended.
    CallEnded,
}

/// The result of delivering a [`SessionMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The message is in the mailbox.
    Delivered,
    /// No live call has this SID.
    UnknownCall,
    /// The mailbox is full because the session is stuck.
    MailboxFull,
}

/// The registry of live calls. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CallRegistry {
    // A std mutex, since it is held only for a look-up and never across an await.
    live: Arc<Mutex<HashMap<CallSid, CallHandle>>>,
    /// When a call last came in or ended. Twilio may still send the requests that follow from it.
    last_activity: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug)]
struct CallHandle {
    identity: Arc<()>,
    mailbox: mpsc::Sender<SessionMessage>,
    stop: CancellationToken,
}

/// A session's entry in the registry. Dropping it removes the entry.
#[derive(Debug)]
pub(super) struct Registration {
    calls: CallRegistry,
    sid: CallSid,
    identity: Arc<()>,
    stop: CancellationToken,
}

impl CallRegistry {
    /// Puts a message into the mailbox of a call without waiting.
    pub fn deliver(&self, sid: &CallSid, message: SessionMessage) -> DeliveryOutcome {
        let Some(mailbox) = self.lock().get(sid).map(|handle| handle.mailbox.clone()) else {
            return DeliveryOutcome::UnknownCall;
        };
        match mailbox.try_send(message) {
            Ok(()) => DeliveryOutcome::Delivered,
            Err(mpsc::error::TrySendError::Full(_)) => DeliveryOutcome::MailboxFull,
            Err(mpsc::error::TrySendError::Closed(_)) => DeliveryOutcome::UnknownCall,
        }
    }

    /// Hands a new socket to the task that owns the call; returns the socket if there is no such task.
    pub(super) fn hand_over_socket(&self, sid: &CallSid, socket: RelaySocket) -> Result<(), RelaySocket> {
        let Some(mailbox) = self.lock().get(sid).map(|handle| handle.mailbox.clone()) else { return Err(socket) };
        mailbox.try_send(SessionMessage::Socket(socket)).map_err(|error| match error.into_inner() {
            SessionMessage::Socket(socket) => socket,
            _ => unreachable!("try_send returns the message that it was given"),
        })
    }

    /// Records that a call came in or ended, after which Twilio will soon send another request.
    pub fn record_activity(&self) {
        *self.last_activity.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns when a call last came in or ended.
    pub fn last_activity(&self) -> Option<Instant> {
        *self.last_activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the call is live.
    pub fn is_live(&self, sid: &CallSid) -> bool {
        self.lock().contains_key(sid)
    }

    /// Returns the number of live calls.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Registers a session. An older session of the same call is stopped, since the newest socket owns the call.
    pub(super) fn register(
        &self,
        sid: &CallSid,
        parent: &CancellationToken,
    ) -> (Registration, mpsc::Receiver<SessionMessage>) {
        let (mailbox, messages) = mpsc::channel(MAILBOX_CAPACITY);
        let (identity, stop) = (Arc::new(()), parent.child_token());
        let handle = CallHandle { identity: identity.clone(), mailbox, stop: stop.clone() };
        if let Some(older) = self.lock().insert(sid.clone(), handle) {
            older.stop.cancel();
        }
        (Registration { calls: self.clone(), sid: sid.clone(), identity, stop }, messages)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallSid, CallHandle>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Waits until the session has to stop.
    pub(super) async fn wait_until_stopped(&self) {
        self.stop.cancelled().await;
    }
}

/// Removes the entry only if it is still this session's, so that the late end of an old session does not remove a new
/// one.
impl Drop for Registration {
    fn drop(&mut self) {
        self.calls.record_activity();
        let mut live = self.calls.lock();
        if live.get(&self.sid).is_some_and(|handle| Arc::ptr_eq(&handle.identity, &self.identity)) {
            live.remove(&self.sid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_socket_owns_the_call_and_the_late_end_of_an_old_one_does_not_remove_it() {
        let (calls, stop) = (CallRegistry::default(), CancellationToken::new());
        let sid: CallSid = "CA1".parse().unwrap();
        let (old, _old_messages) = calls.register(&sid, &stop);
        let (new, mut messages) = calls.register(&sid, &stop);
        assert!(old.stop.is_cancelled() && !new.stop.is_cancelled());
        drop(old);
        assert_eq!(calls.deliver(&sid, SessionMessage::CallEnded), DeliveryOutcome::Delivered);
        assert!(matches!(messages.try_recv(), Ok(SessionMessage::CallEnded)));
        drop(new);
        assert_eq!((calls.count(), calls.deliver(&sid, SessionMessage::CallEnded)), (0, DeliveryOutcome::UnknownCall));
    }

    #[test]
    fn a_full_mailbox_is_reported_without_waiting() {
        let (calls, stop) = (CallRegistry::default(), CancellationToken::new());
        let sid: CallSid = "CA1".parse().unwrap();
        let (_registration, _messages) = calls.register(&sid, &stop);
        for _ in 0..MAILBOX_CAPACITY {
            assert_eq!(calls.deliver(&sid, SessionMessage::CallEnded), DeliveryOutcome::Delivered);
        }
        assert_eq!(calls.deliver(&sid, SessionMessage::CallEnded), DeliveryOutcome::MailboxFull);
    }
}
