//! Simulates Twilio's Payments API strictly over real HTTP. A request that the real one would ignore is a violation.

mod calls;
mod card;
mod form;
mod messages;
mod payment_session;
mod quirks;
mod recording;
mod recordings;
mod rest;
mod sync;
mod webhook_delivery;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::{mpsc, oneshot};
use url::Url;

pub use super::payments_api::{CaptureField, PaymentsRequest};
pub use calls::{PlacedCall, PlacedCallTwiml};
pub(crate) use form::{CommonParameters, CreateForm, FormError, UpdateForm};
pub(crate) use payment_session::{CallbackForm, PaymentSession, PaymentSessionState};
pub(super) use quirks::ScriptedRefusal;
pub(crate) use quirks::{
    CardMask, HttpFault, HttpFaultKind, PaymentResult, Quirks, ReportTiming, ResultReport, ScriptedSubmission,
};
pub use recording::{RecordingOptions, RecordingTwilio, TwilioRefusal, TwilioRequest, TwilioRequestKind};
pub(crate) use recordings::PauseFault;
pub use sync::ScriptedSync;
pub(super) use webhook_delivery::WebhookResponse;
pub(crate) use webhook_delivery::WebhookSender;

use super::pace::Pace;
use super::transcript::{Transcript, TranscriptEvent, lock};
use payment_session::CompletedEntry;
use webhook_delivery::CallbackDelivery;

/// The payment token of a successful tokenization. The server may store it but must not expose it.
pub(super) const PAYMENT_TOKEN: &str = "tok_hgyvy76_simulated";
/// The confirmation code of a successful charge.
pub(super) const CONFIRMATION_CODE: &str = "ch_a9dc6297_simulated";

/// The credentials of the account that owns the calls.
#[derive(Debug, Clone)]
pub struct AccountCredentials {
    /// `AC…`.
    pub sid: String,
    /// The primary auth token.
    pub auth_token: String,
}

impl AccountCredentials {
    /// The value of the header `Authorization`.
    fn authorization(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.sid, self.auth_token)))
    }
}

/// Formats the SID of the call with this number.
pub(super) fn call_sid(line: usize) -> String {
    format!("CA{line:032x}")
}

/// Parses the number of a call from its SID.
pub(super) fn call_number(call: &str) -> Option<usize> {
    usize::from_str_radix(call.strip_prefix("CA")?, 16).ok()
}

/// Builds the router. A request to any other route is a violation.
pub(super) fn router(twilio: ScriptedTwilio) -> Router {
    Router::new()
        .route("/2010-04-01/Accounts/{account}/Calls.json", post(calls::create_call))
        .route("/2010-04-01/Accounts/{account}/Calls/{call}/Payments.json", post(rest::handle_create))
        .route("/2010-04-01/Accounts/{account}/Calls/{call}/Payments/{payment}", post(rest::handle_update))
        .route("/2010-04-01/Accounts/{account}/Messages.json", post(messages::create_message))
        .route("/2010-04-01/Accounts/{account}/Calls/{call}/Recordings.json", post(recordings::handle_start))
        .route("/2010-04-01/Accounts/{account}/Calls/{call}/Recordings/{recording}", post(recordings::handle_update))
        .fallback(rest::reject_unknown_route)
        .with_state(twilio)
}

/// Twilio's side of the payments of one call. The values of all calls share one account and its state.
#[derive(Debug, Clone)]
pub(super) struct ScriptedTwilio {
    shared: Arc<SharedTwilio>,
    /// Records for this call.
    transcript: Transcript,
}

#[derive(Debug)]
struct SharedTwilio {
    account: AccountCredentials,
    quirks: Quirks,
    pace: Pace,
    public_url: Url,
    callbacks: mpsc::Sender<CallbackDelivery>,
    state: Mutex<TwilioState>,
}

#[derive(Debug, Default)]
struct TwilioState {
    /// The number of calls so far.
    call_count: usize,
    /// The live calls.
    live_calls: HashSet<usize>,
    /// Accepted requests to place a call that the simulator has not taken yet.
    placed_calls: Vec<PlacedCall>,
    sessions: Vec<PaymentSession>,
    recordings: Vec<recordings::ScriptedRecording>,
    /// The completed requests by idempotency key.
    replies_by_key: HashMap<String, rest::CompletedRequest>,
    fault_count: usize,
    submission_count: usize,
    message_count: usize,
}

/// The receiver of a keypad digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyRouting {
    /// A payment session captures it.
    Captured,
    /// No payment session captures it, so ConversationRelay may report it.
    NotCaptured,
}

impl ScriptedTwilio {
    /// Creates the Twilio account with a first call. `webhooks` posts to the server.
    pub(super) fn new(
        account: AccountCredentials,
        quirks: Quirks,
        pace: Pace,
        webhooks: WebhookSender,
        transcript: Transcript,
    ) -> Self {
        let (callbacks, queue) = mpsc::channel(512);
        let public = webhooks.public_url().clone();
        tokio::spawn(webhook_delivery::deliver_callbacks(queue, webhooks, quirks.clone()));
        let state = Mutex::new(TwilioState { call_count: 1, ..TwilioState::default() });
        Self {
            shared: Arc::new(SharedTwilio { account, quirks, pace, public_url: public, callbacks, state }),
            transcript,
        }
    }

    /// Adds a call to the account.
    pub(super) fn for_next_call(&self) -> Self {
        let mut state = lock(&self.shared.state);
        state.call_count += 1;
        Self { shared: self.shared.clone(), transcript: self.transcript.for_call(state.call_count) }
    }

    /// Looks up the call with this SID.
    fn for_call(&self, call: &str) -> Option<Self> {
        let line = call_number(call).filter(|line| (1..=lock(&self.shared.state).call_count).contains(line))?;
        Some(Self { shared: self.shared.clone(), transcript: self.transcript.for_call(line) })
    }

    /// `AnsweredBy` of an outbound call.
    pub(super) fn answered_by(&self) -> &'static str {
        self.shared.quirks.answered_by
    }

    /// The credentials of the account.
    pub(super) fn account(&self) -> &AccountCredentials {
        &self.shared.account
    }

    /// The SID of the call.
    pub(super) fn call_sid(&self) -> String {
        call_sid(self.transcript.call_number())
    }

    /// The transcript of the call.
    pub(super) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Whether captured digits also reach ConversationRelay.
    pub(super) fn leaks_dtmf(&self) -> bool {
        self.shared.quirks.leak_dtmf
    }

    /// Whether a handed-off call stays unanswered.
    pub(super) fn is_hand_off_unanswered(&self) -> bool {
        self.shared.quirks.hand_off_unanswered
    }

    /// How often ConversationRelay pings the server, if it does.
    pub(super) fn ping_interval(&self) -> Option<Duration> {
        self.shared.quirks.ping_interval
    }

    /// Whether a broken socket is opened again in the same session.
    pub(super) fn reopens_socket(&self) -> bool {
        self.shared.quirks.reopens_socket
    }

    /// Ends the payment session of the call, if it does not outlive the broken socket.
    pub(super) fn lose_socket(&self) {
        let Some(result) = self.shared.quirks.broken_socket_result else { return };
        let call = self.call_sid();
        let open: Vec<String> = {
            let state = lock(&self.shared.state);
            state
                .sessions
                .iter()
                .filter(|session| session.call_sid() == call)
                .map(|session| session.sid.clone())
                .collect()
        };
        for sid in &open {
            self.end_session(sid, PaymentResult::Other(result));
        }
    }

    /// Takes the one call that was placed. `None` unless there is exactly one.
    pub(super) fn take_placed_call(&self) -> Option<PlacedCall> {
        let mut placed = std::mem::take(&mut lock(&self.shared.state).placed_calls);
        placed.pop().filter(|_| placed.is_empty())
    }

    /// Marks the call as answered. Payments can be created from now on.
    pub(super) fn start_call(&self) {
        lock(&self.shared.state).live_calls.insert(self.transcript.call_number());
    }

    /// Ends the call and its open payment sessions.
    pub(super) fn end_call(&self) {
        let (call, late) = (self.call_sid(), |session: &&PaymentSession| {
            session.state == PaymentSessionState::Completing && !session.late_reports.is_empty()
        });
        let open: Vec<String> = {
            let mut state = lock(&self.shared.state);
            state.live_calls.remove(&self.transcript.call_number());
            let of_call = state.sessions.iter().filter(|session| session.call_sid() == call);
            of_call.filter(|session| !late(session)).map(|session| session.sid.clone()).collect()
        };
        for sid in &open {
            self.end_session(sid, PaymentResult::Other("caller-hung-up"));
        }
    }

    /// Whether any result is still to be reported.
    pub(super) fn has_late_results(&self) -> bool {
        lock(&self.shared.state).sessions.iter().any(|session| !session.late_reports.is_empty())
    }

    /// Reports the results that were held back until all calls had ended.
    pub(super) fn report_late_results(&self) {
        let late: Vec<(String, Vec<ResultReport>)> = {
            let mut state = lock(&self.shared.state);
            state
                .sessions
                .iter_mut()
                .map(|session| (session.sid.clone(), std::mem::take(&mut session.late_reports)))
                .collect()
        };
        for (sid, reports) in late {
            for report in &reports {
                self.report_result(&sid, report);
            }
        }
    }

    /// The field that is being captured.
    pub(super) fn captured_field(&self) -> Option<CaptureField> {
        let call = self.call_sid();
        let state = lock(&self.shared.state);
        state.sessions.iter().filter(|session| session.call_sid() == call).find_map(|session| match session.state {
            PaymentSessionState::Capturing { field, .. } => Some(field),
            _ => None,
        })
    }

    /// The number of sessions that have not ended.
    pub(super) fn open_session_count(&self) -> usize {
        lock(&self.shared.state).sessions.iter().filter(|session| session.state != PaymentSessionState::Ended).count()
    }

    /// Handles a key press of the caller.
    pub(super) fn press_key(&self, key: char) -> KeyRouting {
        let is_recorded = self.is_recording();
        let (call, mut state) = (self.call_sid(), lock(&self.shared.state));
        let captures = |it: &&mut PaymentSession| {
            it.call_sid() == call && matches!(it.state, PaymentSessionState::Capturing { .. })
        };
        let Some(session) = state.sessions.iter_mut().find(captures) else { return KeyRouting::NotCaptured };
        if is_recorded {
            self.transcript.record_violation("a field is entered while the call is recorded");
        }
        if key == '*' {
            let sid = session.sid.clone();
            drop(state);
            self.end_session(&sid, PaymentResult::Other("caller-interrupted-with-star"));
            return KeyRouting::Captured;
        }
        let Some((callback, entered)) = session.press_key(key, &self.shared.quirks) else {
            return KeyRouting::NotCaptured;
        };
        let url = session.callback_url.clone();
        drop(state);
        match entered {
            Some(entered) => self.report_entry(url, callback, &entered),
            None => self.send_callback(url, callback, "a key was pressed", None),
        }
        KeyRouting::Captured
    }

    /// Starts the timeout between two digits, once the caller has pressed all keys. Starting it with each key would
    /// make the timeout depend on the speed of this machine.
    pub(super) fn start_digit_timeout(&self) {
        let (call, state) = (self.call_sid(), lock(&self.shared.state));
        let begun = |it: &&PaymentSession| {
            it.call_sid() == call
                && matches!(&it.state, PaymentSessionState::Capturing { entry, .. } if !entry.is_empty())
        };
        let Some(session) = state.sessions.iter().find(begun) else { return };
        let (sid, moves) = (session.sid.clone(), session.activity_count);
        let timeout = Duration::from_secs(session.request.timeout);
        drop(state);
        let twilio = self.clone();
        tokio::spawn(async move {
            twilio.shared.pace.sleep(timeout).await;
            let over = {
                let mut state = lock(&twilio.shared.state);
                let session = state.sessions.iter_mut().find(|it| it.sid == sid && it.activity_count == moves);
                session.and_then(|it| it.time_out(&twilio.shared.quirks).map(|over| (it.callback_url.clone(), over)))
            };
            if let Some((url, (callback, entered))) = over {
                twilio.report_entry(url, callback, &entered);
            }
        });
    }

    fn report_entry(&self, url: Url, callback: CallbackForm, entered: &CompletedEntry) {
        self.transcript.record(TranscriptEvent::EntryCompleted {
            field: entered.field,
            error: entered.error.map(str::to_owned),
            keys: entered.keys,
        });
        let what = match entered.error {
            Some(error) => format!("{}: {error}", entered.field.label()),
            None => format!("{} is in", entered.field.label()),
        };
        self.send_callback(url, callback, what, None);
    }

    /// Ends a session unless it has ended.
    fn end_session(&self, sid: &str, ending: PaymentResult) {
        let ended = {
            let mut state = lock(&self.shared.state);
            let session = state.sessions.iter_mut().find(|it| it.sid == sid);
            session
                .and_then(|it| it.end(ending, &self.shared.quirks).map(|callback| (it.callback_url.clone(), callback)))
        };
        if let Some((url, callback)) = ended {
            self.send_result(ending, false, url, callback);
        }
    }

    /// Reports a result of a submission unless the session ended for another reason.
    fn report_result(&self, sid: &str, report: &ResultReport) {
        let reported = {
            let mut state = lock(&self.shared.state);
            let session = state.sessions.iter_mut().find(|it| it.sid == sid);
            session.and_then(|it| {
                let again = it.state == PaymentSessionState::Ended;
                Some((again, it.report(report, &self.shared.quirks)?, it.callback_url.clone()))
            })
        };
        if let Some((again, callback, url)) = reported {
            self.send_result(report.result, again, url, callback);
        }
    }

    fn send_result(&self, ending: PaymentResult, again: bool, url: Url, callback: CallbackForm) {
        let (word, code) = ending.result_and_code();
        let result = word.to_owned();
        self.transcript.record(if again {
            TranscriptEvent::ResultRepeated { result }
        } else {
            TranscriptEvent::PaymentEnded { result, code }
        });
        self.send_callback(url, callback, format!("result: {word}"), Some(word));
    }

    /// Settles a submission: the bank decides within a second, and the reports follow independently of its decision.
    fn settle_submission(&self, sid: String, charge: Option<String>, submission: ScriptedSubmission) {
        let twilio = self.clone();
        tokio::spawn(async move {
            twilio.shared.pace.sleep(Duration::from_secs(1)).await;
            if submission.is_booked {
                twilio.transcript.record(TranscriptEvent::BankBooked { sid: sid.clone(), charge });
            }
            for report in &submission.reports {
                let ReportTiming::After(wait) = report.timing else { continue };
                twilio.shared.pace.sleep(wait).await;
                twilio.report_result(&sid, report);
            }
        });
    }

    fn send_callback(&self, url: Url, form: CallbackForm, what: impl Into<String>, terminal: Option<&str>) {
        let (what, terminal, transcript) = (what.into(), terminal.map(str::to_owned), self.transcript.clone());
        self.enqueue_callback(CallbackDelivery {
            url,
            form,
            description: what,
            result: terminal,
            answered: None,
            transcript,
        });
    }

    /// Sends a callback and waits for the server's response, for at most 2 s.
    async fn send_callback_and_wait(&self, url: Url, form: CallbackForm, what: String) {
        let (done, answered) = oneshot::channel();
        self.enqueue_callback(CallbackDelivery {
            url,
            form,
            description: what,
            result: None,
            answered: Some(done),
            transcript: self.transcript.clone(),
        });
        // `webhook_delivery` reports a server that does not answer its callbacks.
        let _ = tokio::time::timeout(Duration::from_secs(2), answered).await;
    }

    fn enqueue_callback(&self, delivery: CallbackDelivery) {
        if self.shared.callbacks.try_send(delivery).is_err() {
            self.transcript.record_violation("the server answers its callbacks too slowly: more than 500 are waiting");
        }
    }
}
