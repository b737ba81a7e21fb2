//! Variants of Twilio's behaviour where its documentation is silent or its deliveries fail, each as a switch.

use std::time::Duration;

use super::{PauseFault, PaymentsRequest};

/// The settings of all switches. The default is the most favourable reading of the documentation.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Quirks {
    /// Whether the callback of a request is delivered before the response to the request.
    pub callback_first: bool,
    /// Every callback is delivered twice, with the same `I-Twilio-Idempotency-Token`.
    pub duplicate_callbacks: bool,
    /// The seed of a random order of callbacks that are sent close together; `None` keeps their order.
    pub shuffle_seed: Option<u64>,
    /// Callbacks omit the fields that the documentation calls common, except the two SIDs.
    pub minimal_callbacks: bool,
    /// `Required` is in Pascal case, as in the documentation's only example.
    pub pascal_case_required: bool,
    /// The format of a masked card number.
    pub card_mask: CardMask,
    /// An entry without an error has an empty `ErrorType`.
    pub empty_error_type: bool,
    /// The request that Twilio refuses.
    pub refusal: Option<ScriptedRefusal>,
    /// The error code with which Twilio refuses text messages.
    pub message_refusal: Option<u32>,
    /// The value of `Result` after `Status=cancel`.
    pub cancel_result: &'static str,
    /// Captured digits also arrive as `dtmf` frames.
    pub leak_dtmf: bool,
    /// The outcome of each submission. The last one applies to all that follow; an empty list means that each succeeds.
    pub submissions: Vec<ScriptedSubmission>,
    /// An entry ends at its maximum length without the hash key.
    pub ends_at_full_length: bool,
    /// The requests that fail at the HTTP level.
    pub http_fault: Option<HttpFault>,
    /// How each request to pause a recording fails.
    pub pause_fault: Option<PauseFault>,
    /// A handed-off call is not answered.
    pub hand_off_unanswered: bool,
    /// `AnsweredBy` of an outbound call.
    pub answered_by: &'static str,
    /// How often ConversationRelay pings the server, on the real clock. A socket whose last ping has no answer by then is
    /// broken. `None`: it sends no pings.
    pub ping_interval: Option<Duration>,
    /// A broken socket is opened again at the same URL and in the same session, before the action is requested:
    /// `applicationReconnect`.
    pub reopens_socket: bool,
    /// A payment session ends with the broken socket of its call, with this value of `Result`. `None`: it outlives it.
    pub broken_socket_result: Option<&'static str>,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            callback_first: false,
            duplicate_callbacks: false,
            shuffle_seed: None,
            minimal_callbacks: false,
            pascal_case_required: false,
            card_mask: CardMask::X,
            empty_error_type: false,
            refusal: None,
            message_refusal: None,
            cancel_result: "transaction-cancelled",
            leak_dtmf: false,
            submissions: Vec::new(),
            ends_at_full_length: false,
            http_fault: None,
            pause_fault: None,
            hand_off_unanswered: false,
            answered_by: "human",
            ping_interval: None,
            reopens_socket: false,
            broken_socket_result: None,
        }
    }
}

/// The outcome of a submission: at the bank and in Twilio's reports.
#[derive(Debug, Clone)]
pub(crate) struct ScriptedSubmission {
    /// Whether the bank charges or stores the card.
    pub is_booked: bool,
    /// The results that Twilio reports, in order.
    pub reports: Vec<ResultReport>,
}

/// A result that Twilio reports for a submission.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResultReport {
    /// When it is reported.
    pub timing: ReportTiming,
    /// The result.
    pub result: PaymentResult,
    /// Additional fields, and fields whose value it replaces.
    pub fields: &'static [(&'static str, &'static str)],
}

/// When a result is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportTiming {
    /// This long after the previous result, or after the bank's decision.
    After(Duration),
    /// After all calls have ended.
    AfterCallsEnd,
}

/// The result of a payment session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaymentResult {
    /// The card was charged or tokenized.
    Success,
    /// The gateway declined, with this error code.
    Declined(u32),
    /// Another value of `Result`.
    Other(&'static str),
}

impl ScriptedSubmission {
    /// The bank accepts, and Twilio reports success.
    pub(crate) fn success() -> Self {
        Self { is_booked: true, reports: vec![ResultReport::new(PaymentResult::Success)] }
    }

    /// The bank declines, and Twilio reports this code.
    pub(crate) fn declined(code: u32) -> Self {
        Self::new(false, &[ResultReport::new(PaymentResult::Declined(code))])
    }

    /// Whether the bank accepts, and what Twilio reports independently of it.
    pub(crate) fn new(books: bool, reports: &[ResultReport]) -> Self {
        Self { is_booked: books, reports: reports.to_vec() }
    }
}

impl ResultReport {
    /// A result as documented, 500 ms after the bank's decision.
    pub(crate) const fn new(ending: PaymentResult) -> Self {
        Self { timing: ReportTiming::After(Duration::from_millis(500)), result: ending, fields: &[] }
    }

    /// Sets the additional fields.
    pub(crate) const fn with_fields(self, fields: &'static [(&'static str, &'static str)]) -> Self {
        Self { fields, ..self }
    }

    /// Reports it this many seconds after the previous result.
    pub(crate) const fn after_seconds(self, seconds: u64) -> Self {
        Self { timing: ReportTiming::After(Duration::from_secs(seconds)), ..self }
    }

    /// Reports it after all calls have ended.
    pub(crate) const fn after_calls_end(self) -> Self {
        Self { timing: ReportTiming::AfterCallsEnd, ..self }
    }
}

impl PaymentResult {
    /// The value of `Result` and the error code.
    pub(crate) fn result_and_code(self) -> (&'static str, Option<u32>) {
        match self {
            Self::Success => ("success", None),
            Self::Declined(code) => ("payment-connector-error", Some(code)),
            Self::Other(word) => (word, None),
        }
    }
}

impl Quirks {
    /// Returns the outcome of the submission with this index, counted from 0.
    pub(crate) fn next_submission(&self, before: usize) -> ScriptedSubmission {
        let last = self.submissions.len().saturating_sub(1);
        self.submissions.get(before.min(last)).cloned().unwrap_or_else(ScriptedSubmission::success)
    }
}

/// The masks that appear in four sources and in the reference.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CardMask {
    /// `xxxxxxxxxxxx1111`: recorded from Twilio.
    X,
    /// `xxxx-xxxxxx-x4001`.
    Dashed,
    /// `xxxx xxxx xxxx 4242`.
    Spaced,
    /// `************1234`.
    Stars,
}

impl CardMask {
    /// Masks a complete number.
    pub(crate) fn mask_number(self, number: &str) -> String {
        let (hidden, last) = number.split_at(number.len().saturating_sub(4));
        match self {
            Self::X => format!("{}{last}", "x".repeat(hidden.len())),
            Self::Dashed => format!("xxxx-xxxxxx-x{last}"),
            Self::Spaced => format!("xxxx xxxx xxxx {last}"),
            Self::Stars => format!("{}{last}", "*".repeat(hidden.len())),
        }
    }

    /// Masks an incomplete number of `keys` digits.
    pub(crate) fn mask_partial(self, keys: usize) -> String {
        if matches!(self, Self::Stars) { "*" } else { "x" }.repeat(keys)
    }
}

/// A request that Twilio refuses with one of its error codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScriptedRefusal {
    /// The request.
    pub request: PaymentsRequest,
    /// An error code from 64xxx.
    pub code: u32,
    /// Whether Twilio accepts the request and reports the error by callback instead of a 400 response.
    pub by_callback: bool,
}

/// A failure of a request at the HTTP level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpFault {
    /// The request.
    pub request: PaymentsRequest,
    /// The kind of failure.
    pub kind: HttpFaultKind,
    /// The number of requests that fail, counted from the first.
    pub times: usize,
}

/// A kind of HTTP failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpFaultKind {
    /// 500; the request is not processed.
    ServerError,
    /// 429; the request is not processed.
    TooManyRequests,
    /// The request is processed, but a gateway responds 504.
    ResponseLost,
    /// The request is processed, but no response comes.
    NoResponse,
    /// The request is processed, and the response comes after this many seconds of simulated time.
    Slow(u64),
}
