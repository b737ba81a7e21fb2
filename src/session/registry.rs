//! The registry of live calls: from call SID to the mailbox of the task that owns the call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::RelaySocket;
use super::external_calls::{ExternalToolCall, ToolsRequest};
use super::live_call::LiveCall;
use crate::assets::Library;
use crate::call::{CallProgress, ContextKeys, ModelRequestId, ReceiptNews};
use crate::call_claim::CallClaim;
use crate::call_token::{CallToken, PresentedToken, TokenDigest};
use crate::ids::CallSid;
use crate::payment;
use crate::relay::Setup;
use crate::telemetry::TurnRecord;
use crate::twilio::CallStatus;

/// How many messages a mailbox holds. A payment sends one for each key that is pressed.
const MAILBOX_CAPACITY: usize = 256;

/// The size of the tool calls of external clients that a mailbox holds, in bytes. One is at most a quarter of it. A payment
/// callback keeps below 10 KiB of what it says.
const MAX_TOOL_CALL_BYTES: usize = 1024 * 1024;

/// How many requests the clients of a call may send in a second. A tool call is three of them for a client that opens a
/// session each time.
const MAX_REQUESTS_PER_SECOND: u32 = 128;

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
    /// An external client calls a tool.
    ExternalToolCall(ExternalToolCall),
    /// An external client asks which tools it may call.
    ListTools(ToolsRequest),
    /// What the ledger knows of the call's payments, which it could not say when the call began.
    PaymentsKnown(Box<payment::PriorPayments>),
    /// A receipt of the call was sent, or cannot be sent, by the search for receipts that no session has sent.
    ReceiptSent(ReceiptNews),
    /// Twilio reported that an answering machine or a fax has taken the call.
    MachineAnswered,
    /// Twilio reported that the call has ended.
    CallEnded,
    /// Another server has the call.
    Moved,
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

/// A socket was not handed over.
#[derive(Debug)]
pub(super) enum HandOverSocketError {
    /// No live call has this SID.
    UnknownCall(RelaySocket),
    /// The mailbox is full because the session is stuck.
    MailboxFull(RelaySocket),
}

/// The registry of live calls. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct CallRegistry {
    // A std mutex, since it is held only for a look-up and never across an await.
    live: Arc<Mutex<LiveCalls>>,
    /// When a call last came in or ended. Twilio may still send the requests that follow from it.
    last_activity: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug, Default)]
struct LiveCalls {
    by_sid: HashMap<CallSid, CallHandle>,
    /// The holder of each token of a call, by the digest of the token.
    by_token: HashMap<TokenDigest, TokenHolder>,
}

/// The call of a token, and how often its clients sent a request in the current second.
#[derive(Debug)]
struct TokenHolder {
    sid: CallSid,
    token: CallToken,
    /// When the current second began, and the requests in it.
    window: Option<(Instant, u32)>,
}

/// What a token is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenScope {
    /// The live call whose tools it opens.
    pub(crate) call: CallSid,
    /// The request within whose answer they may be called; `None` for the token of the call, which is not bound to one.
    pub(crate) request: Option<ModelRequestId>,
}

/// Why no live call was found by a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FindCallByTokenError {
    /// No live call has this token.
    #[error("send `Authorization: Bearer` with the token of a live call")]
    UnknownToken,
    /// The clients of the call sent more than [`MAX_REQUESTS_PER_SECOND`].
    #[error("the clients of this call send too many requests: wait for a second")]
    TooManyRequests,
}

#[derive(Debug)]
struct CallHandle {
    identity: Arc<()>,
    token: CallToken,
    /// Boxed, since a channel reserves room for 32 messages.
    mailbox: mpsc::Sender<Box<SessionMessage>>,
    /// The room for the arguments of tool calls in the mailbox, in bytes. The other messages are small.
    tool_call_bytes: Arc<Semaphore>,
    stop: CancellationToken,
    live: Arc<LiveCall>,
}

/// A session's entry in the registry. Dropping it removes the entry.
#[derive(Debug)]
pub(super) struct Registration {
    calls: CallRegistry,
    sid: CallSid,
    identity: Arc<()>,
    token: CallToken,
    stop: CancellationToken,
    live: Arc<LiveCall>,
}

impl CallRegistry {
    /// Puts a message into the mailbox of a call without waiting.
    pub fn deliver(&self, sid: &CallSid, mut message: SessionMessage) -> DeliveryOutcome {
        let handle = |handle: &CallHandle| (handle.mailbox.clone(), handle.tool_call_bytes.clone());
        let Some((mailbox, tool_call_bytes)) = self.lock().by_sid.get(sid).map(handle) else {
            return DeliveryOutcome::UnknownCall;
        };
        if let SessionMessage::ExternalToolCall(external) = &mut message
            && external.reserve(tool_call_bytes).is_err()
        {
            return DeliveryOutcome::MailboxFull;
        }
        match mailbox.try_send(Box::new(message)) {
            Ok(()) => DeliveryOutcome::Delivered,
            Err(mpsc::error::TrySendError::Full(_)) => DeliveryOutcome::MailboxFull,
            Err(mpsc::error::TrySendError::Closed(_)) => DeliveryOutcome::UnknownCall,
        }
    }

    /// Hands the socket of a session to the task that owns the call.
    pub(super) fn hand_over_socket(&self, sid: &CallSid, socket: RelaySocket) -> Result<(), HandOverSocketError> {
        let live = self.lock();
        let Some(handle) = live.by_sid.get(sid) else { return Err(HandOverSocketError::UnknownCall(socket)) };
        match handle.mailbox.try_reserve() {
            Ok(place) => {
                place.send(Box::new(SessionMessage::Socket(socket)));
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(HandOverSocketError::MailboxFull(socket)),
            Err(mpsc::error::TrySendError::Closed(())) => Err(HandOverSocketError::UnknownCall(socket)),
        }
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
        self.lock().by_sid.contains_key(sid)
    }

    /// Returns the number of live calls.
    pub fn count(&self) -> usize {
        self.lock().by_sid.len()
    }

    /// Returns the claim by which this server has a live call.
    pub(crate) fn claim_of(&self, sid: &CallSid) -> Option<CallClaim> {
        self.lock().by_sid.get(sid)?.live.claim().cloned()
    }

    /// Returns what operators may see of each live call, in no order.
    pub(crate) fn live_calls(&self) -> Vec<Arc<LiveCall>> {
        self.lock().by_sid.values().map(|handle| handle.live.clone()).collect()
    }

    /// Registers a session. An older session of the same call is stopped, since the newest socket owns the call.
    pub(super) fn register(
        &self,
        sid: &CallSid,
        parent: &CancellationToken,
    ) -> (Registration, mpsc::Receiver<Box<SessionMessage>>) {
        let (mailbox, messages) = mpsc::channel(MAILBOX_CAPACITY);
        let (identity, stop, token) = (Arc::new(()), parent.child_token(), CallToken::generate());
        let live_call = Arc::new(LiveCall::new(sid.clone()));
        let handle = CallHandle {
            identity: identity.clone(),
            token: token.clone(),
            mailbox,
            tool_call_bytes: Arc::new(Semaphore::new(MAX_TOOL_CALL_BYTES)),
            stop: stop.clone(),
            live: live_call.clone(),
        };
        let mut live = self.lock();
        live.by_token.insert(token.digest(), TokenHolder { sid: sid.clone(), token: token.clone(), window: None });
        if let Some(older) = live.by_sid.insert(sid.clone(), handle) {
            live.by_token.remove(&older.token.digest());
            older.stop.cancel();
        }
        drop(live);
        (Registration { calls: self.clone(), sid: sid.clone(), identity, token, stop, live: live_call }, messages)
    }

    /// Finds the live call to which a token belongs, its own or that of a request, and counts the request.
    ///
    /// The look-up is by the digest of the token, so that its duration reveals nothing about the tokens that exist.
    pub(crate) fn find_by_token(&self, token: &[u8], now: Instant) -> Result<TokenScope, FindCallByTokenError> {
        let token = PresentedToken::parse(token);
        let mut live = self.lock();
        let holder = live.by_token.get_mut(&token.digest).filter(|holder| holder.token.has_issued(&token));
        let holder = holder.ok_or(FindCallByTokenError::UnknownToken)?;
        let (began, count) =
            holder.window.filter(|(began, _)| now < *began + Duration::from_secs(1)).unwrap_or((now, 0));
        if count >= MAX_REQUESTS_PER_SECOND {
            return Err(FindCallByTokenError::TooManyRequests);
        }
        holder.window = Some((began, count + 1));
        Ok(TokenScope { call: holder.sid.clone(), request: token.request() })
    }

    /// Returns the token of a live call.
    #[cfg(any(feature = "simulator", test))]
    pub(crate) fn call_token(&self, sid: &CallSid) -> Option<secrecy::SecretString> {
        self.lock().by_sid.get(sid).map(|handle| handle.token.secret())
    }

    fn lock(&self) -> MutexGuard<'_, LiveCalls> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Completes when the session has to stop.
    pub(super) fn stopped(&self) -> WaitForCancellationFutureOwned {
        self.stop.clone().cancelled_owned()
    }

    /// Says what operators may see of the call, when it begins.
    pub(super) fn describe(&self, setup: &Setup, started_at: Timestamp) {
        self.live.describe(setup, started_at);
    }

    /// Says by which claim this server has the call.
    pub(super) fn set_claim(&self, claim: CallClaim) {
        self.live.set_claim(claim);
    }

    /// Says where the call stands.
    pub(super) fn publish(&self, progress: CallProgress) {
        self.live.publish(progress);
    }

    /// Says what the last turn was made of.
    pub(super) fn publish_turn(&self, turn: &TurnRecord) {
        self.live.publish_turn(turn);
    }

    /// Returns the token with which an external client calls the tools of this call. It lives as long as the call.
    pub(super) fn call_token(&self) -> CallToken {
        self.token.clone()
    }
}

/// Removes the entry only if it is still this session's, so that the late end of an old session does not remove a new
/// one.
impl Drop for Registration {
    fn drop(&mut self) {
        self.calls.record_activity();
        let mut live = self.calls.lock();
        live.by_token.remove(&self.token.digest());
        if live.by_sid.get(&self.sid).is_some_and(|handle| Arc::ptr_eq(&handle.identity, &self.identity)) {
            live.by_sid.remove(&self.sid);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt as _, sink, stream};
    use secrecy::ExposeSecret as _;
    use tokio::sync::oneshot;

    use super::*;
    use crate::call::ToolCall;
    use crate::session::SendFrameError;
    use crate::session::socket::halves::Halves;

    #[test]
    fn the_newest_socket_owns_the_call_and_the_late_end_of_an_old_one_does_not_remove_it() {
        let (calls, stop) = (CallRegistry::default(), CancellationToken::new());
        let sid: CallSid = "CA1".parse().unwrap();
        let (old, _old_messages) = calls.register(&sid, &stop);
        let (new, mut messages) = calls.register(&sid, &stop);
        assert!(old.stop.is_cancelled() && !new.stop.is_cancelled());
        drop(old);
        assert_eq!(calls.deliver(&sid, SessionMessage::CallEnded), DeliveryOutcome::Delivered);
        assert!(matches!(*messages.try_recv().unwrap(), SessionMessage::CallEnded));
        drop(new);
        assert_eq!((calls.count(), calls.deliver(&sid, SessionMessage::CallEnded)), (0, DeliveryOutcome::UnknownCall));
    }

    #[test]
    fn a_token_belongs_to_one_session_of_one_call_and_ends_with_it() {
        let (calls, stop) = (CallRegistry::default(), CancellationToken::new());
        let (first, second): (CallSid, CallSid) = ("CA1".parse().unwrap(), "CA2".parse().unwrap());
        let (old, _old_messages) = calls.register(&first, &stop);
        let (other, _other_messages) = calls.register(&second, &stop);
        let now = Instant::now();
        let find = |token: &CallToken| {
            calls.find_by_token(token.secret().expose_secret().as_bytes(), now).ok().map(|scope| scope.call)
        };
        let (old_token, other_token) = (old.token.clone(), other.token.clone());
        assert_eq!((find(&old_token), find(&other_token)), (Some(first.clone()), Some(second)));
        assert_eq!(calls.find_by_token(b"", now), Err(FindCallByTokenError::UnknownToken));
        let (new, _new_messages) = calls.register(&first, &stop);
        assert_eq!((find(&old_token), find(&new.token)), (None, Some(first.clone())), "a newer session has its own");
        drop(old);
        assert_eq!(find(&new.token), Some(first.clone()));
        let token = new.token.clone();
        let of_request = token.for_request(ModelRequestId(7));
        let find_request = || calls.find_by_token(of_request.expose_secret().as_bytes(), now);
        let scope = TokenScope { call: first, request: Some(ModelRequestId(7)) };
        assert_eq!(find_request(), Ok(scope));
        drop(new);
        assert_eq!((find(&token), find_request()), (None, Err(FindCallByTokenError::UnknownToken)));
    }

    #[test]
    fn the_clients_of_a_call_may_send_128_requests_in_a_second() {
        let (calls, stop) = (CallRegistry::default(), CancellationToken::new());
        let sid: CallSid = "CA1".parse().unwrap();
        let (registration, _messages) = calls.register(&sid, &stop);
        let (token, now) = (registration.token.secret(), Instant::now());
        let find = |at| calls.find_by_token(token.expose_secret().as_bytes(), at);
        let scope = TokenScope { call: sid.clone(), request: None };
        assert!((0..128).all(|_| find(now).as_ref() == Ok(&scope)));
        assert_eq!(find(now + Duration::from_millis(999)), Err(FindCallByTokenError::TooManyRequests));
        assert_eq!(find(now + Duration::from_secs(1)), Ok(scope));
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

    #[test]
    fn a_mailbox_holds_a_mebibyte_of_tool_calls_and_takes_more_once_they_are_read() {
        let (calls, stop) = (CallRegistry::default(), CancellationToken::new());
        let sid: CallSid = "CA1".parse().unwrap();
        let (_registration, mut messages) = calls.register(&sid, &stop);
        let arguments = format!(r#"{{"note":"{}"}}"#, "la ".repeat(80_000));
        let deliver = || {
            let call = ToolCall::new(String::new(), None, "end-call".to_owned(), &arguments);
            let external = ExternalToolCall::new(call, None, oneshot::channel().0);
            calls.deliver(&sid, SessionMessage::ExternalToolCall(external))
        };
        assert!((0..4).all(|_| deliver() == DeliveryOutcome::Delivered));
        assert_eq!(deliver(), DeliveryOutcome::MailboxFull);
        assert_eq!(
            calls.deliver(&sid, SessionMessage::CallEnded),
            DeliveryOutcome::Delivered,
            "there is room for others"
        );
        drop(messages.try_recv().unwrap());
        assert_eq!(deliver(), DeliveryOutcome::Delivered);
    }

    #[tokio::test]
    async fn a_full_mailbox_takes_no_socket_and_the_session_stays() {
        let (calls, stop) = (CallRegistry::default(), CancellationToken::new());
        let sid: CallSid = "CA1".parse().unwrap();
        let (registration, messages) = calls.register(&sid, &stop);
        let outgoing = || sink::drain().sink_map_err(|_| SendFrameError);
        let hand_over = || calls.hand_over_socket(&sid, RelaySocket::new(Halves::new(stream::empty(), outgoing())));
        while calls.deliver(&sid, SessionMessage::CallEnded) == DeliveryOutcome::Delivered {}
        assert!(matches!(hand_over(), Err(HandOverSocketError::MailboxFull(_))));
        assert_eq!((registration.stop.is_cancelled(), calls.is_live(&sid)), (false, true));
        drop(messages);
        assert!(matches!(hand_over(), Err(HandOverSocketError::UnknownCall(_))), "the session is ending");
    }
}
