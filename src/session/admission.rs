//! Which sockets are served: those whose `setup` frame has the token of its call and comes from our account.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use super::{CALL_REFERENCE, custom_parameter};
use crate::call_stage::CallStage;
use crate::expiring_map::ExpiringMap;
use crate::ids::CallSid;
use crate::log_limit::LogLimiter;
use crate::relay::Setup;
use crate::socket_token::{SOCKET_TOKEN, SessionNumber, SocketTokens, TokenSubject};

/// How long the call of an order's token, and the stage of a call, are remembered. Twilio ends a call after 24 hours.
const CALL_LIFETIME: Duration = Duration::from_hours(24);

/// The largest number of calls of orders, and of stages of calls, that are remembered.
pub(super) const MAX_REMEMBERED_CALLS: u32 = 100_000;

/// Decides on sockets and on the accounts of requests.
#[derive(Debug)]
pub struct SocketAdmission {
    tokens: SocketTokens,
    account_sid: String,
    /// The call that each order's token has been used for. A token opens the sockets of one call.
    calls_of_orders: Mutex<ExpiringMap<Uuid, CallSid>>,
    /// How far each call has come, by its [`key`]. What belongs to an earlier stage is a replay.
    stages: Mutex<ExpiringMap<Uuid, CallStage>>,
    log_limiter: Arc<LogLimiter>,
}

/// Why a socket is closed before it has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefuseSocketError {
    /// `accountSid` is not `ACCOUNT_SID`, or is missing, which it never is in a frame of Twilio.
    #[error("the socket belongs to another account: check ACCOUNT_SID")]
    ForeignAccount,
    /// There is no token, or it was not made for this call.
    #[error("the socket has no token of its call: its TwiML has to come from this server, and AUTH_TOKEN be the same")]
    InvalidToken,
    /// The session that the token was made for has failed, and a later one of the call was connected.
    #[error("the token is that of an earlier session of the call")]
    EarlierSession,
    /// Twilio has reported the end of the call, or the call was handed to a person.
    #[error("the call has ended, or a person has it")]
    CallOver,
}

/// What stands for the SID of a call in what is remembered of a day's calls. It is small.
fn key(call: &CallSid) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, call.as_str().as_bytes())
}

impl SocketAdmission {
    /// Creates it for an account and the tokens that are made with its auth tokens.
    pub(crate) fn new(account_sid: String, tokens: SocketTokens, log_limiter: Arc<LogLimiter>) -> Self {
        let calls_of_orders = Mutex::new(ExpiringMap::new(MAX_REMEMBERED_CALLS as usize, CALL_LIFETIME));
        let stages = Mutex::new(ExpiringMap::new(MAX_REMEMBERED_CALLS as usize, CALL_LIFETIME));
        Self { tokens, account_sid, calls_of_orders, stages, log_limiter }
    }

    /// The tokens that a TwiML document needs.
    pub(crate) fn tokens(&self) -> &SocketTokens {
        &self.tokens
    }

    /// Returns whether a frame or a webhook request that names this account is for us.
    pub(crate) fn is_own_account(&self, account_sid: Option<&str>) -> bool {
        account_sid == Some(&self.account_sid)
    }

    /// Records that a call has reached a stage. Returns whether it had not come so far before.
    pub(super) fn record_stage(&self, call: &CallSid, stage: CallStage, now: Instant) -> bool {
        let mut stages = lock(&self.stages);
        let call = key(call);
        if let Some(known) = stages.get_mut(&call, now.into_std()) {
            let is_new = *known < stage;
            *known = stage.max(*known);
            return is_new;
        }
        // A map that is full knows the stages of earlier calls.
        stages.insert(call, stage, now.into_std()).is_ok()
    }

    /// How far a call has come; `None` if it was never connected.
    pub(crate) fn stage(&self, call: &CallSid, now: Instant) -> Option<CallStage> {
        lock(&self.stages).get_mut(&key(call), now.into_std()).copied()
    }

    /// Forgets how far a call has come that a person sends back to the agent.
    pub(crate) fn forget_stage(&self, call: &CallSid, now: Instant) {
        lock(&self.stages).remove(&key(call), now.into_std());
    }

    /// Admits a socket, and removes the token from its parameters. Returns the session that it belongs to, and whether it is
    /// the first socket of that session.
    pub(super) fn admit(&self, setup: &mut Setup, now: Instant) -> Result<(SessionNumber, bool), RefuseSocketError> {
        let token = setup.take_parameter(SOCKET_TOKEN);
        if !self.is_own_account(setup.account_sid.as_deref()) {
            return Err(RefuseSocketError::ForeignAccount);
        }
        let token = token.ok_or(RefuseSocketError::InvalidToken)?;
        let connected = match self.stage(&setup.call_sid, now) {
            None => None,
            Some(CallStage::Connected(session)) => Some(session),
            Some(CallStage::HandedOver | CallStage::Ended) => return Err(RefuseSocketError::CallOver),
        };
        let subject = self.tokens.verify(&token, &setup.call_sid, custom_parameter(setup, CALL_REFERENCE));
        let session = match subject.ok_or(RefuseSocketError::InvalidToken)? {
            TokenSubject::Call(session) => session,
            TokenSubject::Order(id) if self.claim_order(id, &setup.call_sid, connected.is_some(), now) => 0,
            TokenSubject::Order(_) => return Err(RefuseSocketError::InvalidToken),
        };
        if connected.is_some_and(|connected| session < connected) {
            return Err(RefuseSocketError::EarlierSession);
        }
        Ok((session, self.record_stage(&setup.call_sid, CallStage::Connected(session), now)))
    }

    /// Returns whether the call is that of the order, which the first socket decides. That of a live call is decided.
    fn claim_order(&self, id: Uuid, call: &CallSid, was_connected: bool, now: Instant) -> bool {
        let mut calls = lock(&self.calls_of_orders);
        if let Some(known) = calls.get_mut(&id, now.into_std()) {
            return known == call;
        }
        if was_connected {
            return false;
        }
        // A map that is full forgets which call came first, and refuses no caller.
        let _ = calls.insert(id, call.clone(), now.into_std());
        true
    }

    /// Logs a refusal of this kind, at most once a minute.
    pub(crate) fn log_refusal(&self, kind: &'static str, reason: &dyn std::fmt::Display) {
        if let Some(left_out) = self.log_limiter.admit("twilio.request_refused", kind, Instant::now()) {
            warn!(
                event = "twilio.request_refused", kind, %reason, left_out,
                "A socket or a webhook request of a call was refused; `left_out` others of its kind were not logged."
            );
        }
    }

    /// Removes expired entries.
    pub(crate) fn remove_expired(&self) {
        let now = Instant::now();
        lock(&self.calls_of_orders).remove_expired(now.into_std());
        lock(&self.stages).remove_expired(now.into_std());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::relay::IncomingFrame;

    fn admission() -> SocketAdmission {
        SocketAdmission::new("AC1".to_owned(), SocketTokens::new(&SecretString::from("12345"), []), Arc::default())
    }

    fn setup(call: &str, account: Option<&str>, parameters: &[(&str, &str)]) -> Setup {
        let parameters: std::collections::BTreeMap<_, _> = parameters.iter().copied().collect();
        let frame = serde_json::json!({"type": "setup", "callSid": call, "accountSid": account,
            "customParameters": parameters});
        let Ok(IncomingFrame::Setup(setup)) = IncomingFrame::parse(&frame.to_string()) else { panic!("a setup frame") };
        setup
    }

    fn admit(admission: &SocketAdmission, mut setup: Setup) -> Result<SessionNumber, RefuseSocketError> {
        let admitted = admission.admit(&mut setup, Instant::now());
        assert!(!setup.custom_parameters.reveal().contains_key(SOCKET_TOKEN), "the token is in no parameter");
        admitted.map(|(session, _)| session)
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_needs_the_token_of_its_call_and_our_account() {
        let admission = admission();
        let call: CallSid = "CA1".parse().unwrap();
        let token = admission.tokens().for_call(&call, 1);
        let with = |call, account| setup(call, account, &[(SOCKET_TOKEN, token.as_str()), ("customer", "Ann")]);
        for _ in 0..2 {
            let nameless = admit(&admission, with("CA1", None));
            assert_eq!(nameless, Err(RefuseSocketError::ForeignAccount));
            assert_eq!(admit(&admission, with("CA2", Some("AC1"))), Err(RefuseSocketError::InvalidToken));
            let foreign = admit(&admission, with("CA1", Some("AC2")));
            assert_eq!(foreign, Err(RefuseSocketError::ForeignAccount));
            let without = admit(&admission, setup("CA1", Some("AC1"), &[]));
            assert_eq!(without, Err(RefuseSocketError::InvalidToken));
            assert_eq!(admit(&admission, with("CA1", Some("AC1"))), Ok(1), "also a further socket");
        }
        admission.record_stage(&call, CallStage::Connected(2), Instant::now());
        let earlier = admit(&admission, with("CA1", Some("AC1")));
        assert_eq!(earlier, Err(RefuseSocketError::EarlierSession));
    }

    #[tokio::test(start_paused = true)]
    async fn no_token_opens_a_socket_of_a_call_that_is_over() {
        let admission = admission();
        let call: CallSid = "CA1".parse().unwrap();
        let token = admission.tokens().for_call(&call, 3);
        let with = || setup("CA1", Some("AC1"), &[(SOCKET_TOKEN, token.as_str())]);
        for stage in [CallStage::HandedOver, CallStage::Ended, CallStage::Connected(9)] {
            admission.record_stage(&call, stage, Instant::now());
            assert_eq!(admit(&admission, with()), Err(RefuseSocketError::CallOver));
        }
        admission.forget_stage(&call, Instant::now());
        assert_eq!(admit(&admission, with()), Ok(3), "a person has sent it back");
        tokio::time::advance(CALL_LIFETIME).await;
        assert_eq!(admission.stage(&call, Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_token_of_an_order_opens_the_sockets_of_one_call() {
        let admission = admission();
        let token = admission.tokens().for_order("order-7");
        let with = |call| setup(call, Some("AC1"), &[(SOCKET_TOKEN, &token), ("callReference", "order-7")]);
        admission.record_stage(&"CA9".parse().unwrap(), CallStage::Connected(0), Instant::now());
        let own = Err(RefuseSocketError::InvalidToken);
        assert_eq!(admit(&admission, with("CA9")), own, "a call that was connected has its own");
        assert_eq!(admit(&admission, with("CA1")), Ok(0));
        assert_eq!(admit(&admission, with("CA1")), Ok(0), "a further socket");
        assert_eq!(admit(&admission, with("CA2")), Err(RefuseSocketError::InvalidToken));
        let other = setup("CA1", Some("AC1"), &[(SOCKET_TOKEN, &token), ("callReference", "order-8")]);
        assert_eq!(admit(&admission, other), Err(RefuseSocketError::InvalidToken));
        admission.record_stage(&"CA1".parse().unwrap(), CallStage::Connected(1), Instant::now());
        assert_eq!(admit(&admission, with("CA1")), Err(RefuseSocketError::EarlierSession));
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_logged_once_a_minute() {
        let log = crate::captured_log::CapturedLog::start();
        let admission = admission();
        for _ in 0..500 {
            admission.log_refusal("socket", &RefuseSocketError::InvalidToken);
        }
        assert_eq!(log.count_events("WARN", "twilio.request_refused"), 1);
        tokio::time::advance(Duration::from_mins(1)).await;
        admission.log_refusal("socket", &RefuseSocketError::InvalidToken);
        assert_eq!(log.count_events("WARN", "twilio.request_refused"), 2);
    }
}
