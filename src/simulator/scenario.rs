//! A scenario: the caller's script, the injected failures, and the expectations.

mod checks;
mod list;

use super::caller::CallerStep;
use super::flowise::FlowiseBehaviour;
use super::openai::ModelBehaviour;
use super::relay::CallDirection;
use super::server_under_test::ServerOverrides;
use super::twilio::{PaymentsRequest, Quirks};

pub use checks::ScenarioCheck;
pub(super) use checks::check_scenario;
pub(super) use list::all;

/// A scenario.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    /// The name on the command line.
    pub name: &'static str,
    /// The description, in one sentence.
    pub description: &'static str,
    /// The direction of the call.
    pub direction: CallDirection,
    /// The caller's script.
    pub script: Vec<CallerStep>,
    /// The script of a second caller who calls at the same time. Empty for none.
    pub second_script: Vec<CallerStep>,
    /// The behaviour of Twilio.
    pub quirks: Quirks,
    /// The behaviour of the model.
    pub model_behaviour: ModelBehaviour,
    /// The behaviour of Flowise, if the server uses it.
    pub flowise_behaviour: FlowiseBehaviour,
    /// The configuration of the server.
    pub server_overrides: ServerOverrides,
    /// The expectations, in addition to those of every scenario.
    pub expectations: Vec<Expectation>,
}

impl Scenario {
    /// Whether several servers share the ledger, which needs PostgreSQL.
    pub(super) fn has_peer(&self) -> bool {
        self.server_overrides.beside.shares_ledger()
    }

    /// Whether Flowise answers in place of OpenAI.
    pub(super) fn uses_flowise(&self) -> bool {
        self.server_overrides.vars.contains(&("RESPONSE_SERVICE", "flowise"))
    }

    /// The entered digits, one string per entry.
    pub(super) fn entered_digits(&self) -> Vec<String> {
        let keys = self.script.iter().chain(&self.second_script).flat_map(CallerStep::keys);
        keys.map(|keys| keys.chars().filter(char::is_ascii_digit).collect()).collect()
    }
}

/// An expectation about the transcript.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expectation {
    /// The caller heard one of these texts (separated by `|`).
    Says(&'static str),
    /// The caller heard this text exactly once.
    SaysOnce(&'static str),
    /// The agent's voice was switched to these languages, in order.
    VoicesSwitched(&'static [&'static str]),
    /// The caller never heard this text.
    NeverSays(&'static str),
    /// Payments were created with these amounts, in order; `None` tokenizes.
    PaymentsCreated(&'static [Option<&'static str>]),
    /// The method, account type and description of the first payment begin with this text.
    PaymentMethod(&'static str),
    /// Payments ended with these values of `Result`.
    Results(&'static [&'static str]),
    /// Twilio processed this request this many times, not counting repetitions.
    RequestDone(PaymentsRequest, usize),
    /// A request was retried with the same idempotency key.
    RequestRetried(PaymentsRequest),
    /// This many entries were wrong.
    WrongEntries(usize),
    /// The model called this tool this many times.
    ToolCalled(&'static str, usize),
    /// A call of this tool returned a refusal that contains this text.
    ToolRefused(&'static str, &'static str),
    /// The model got no request between the creation and the end of a payment.
    ModelIdleDuringPayment,
    /// The server cancelled a response of the model.
    ModelStopped,
    /// The model completed a message that contains this text.
    ModelSays(&'static str),
    /// The server opened this many WebSockets to the model.
    ModelSockets(usize),
    /// The server sent this many requests to the model over HTTP.
    ModelRequestsOverHttp(usize),
    /// While a payment was open, the agent said only what the model had said.
    NoReminderDuringPayment,
    /// The session ended with this status: `ended`, `completed`, `failed`.
    SessionEnds(&'static str),
    /// The action returned a verb that begins with this text.
    Action(&'static str),
    /// A developer message contains this text.
    DeveloperMessage(&'static str),
    /// The server placed one call.
    CallPlaced {
        /// Whether the request had the TwiML or a URL for it.
        inline: bool,
    },
    /// While the server drained, it answered 503 to `GET /ready`, another call and `POST /outboundCall`.
    NewCallsRejected,
    /// The caller was queued with a task whose `conversationSummary` contains this text.
    CallerQueued(&'static str),
    /// In listen mode the model produced text and called this tool, and the caller heard nothing.
    ListensOnly(&'static str),
    /// The server sent `end` with the reason code `moved` once, and the action connected the call anew.
    Moved,
    /// The action got hand-off data.
    HandOff,
    /// The action got no hand-off data.
    NoHandOff,
    /// The states of the payments at each reading of the ledger.
    LedgerStates(&'static [&'static [&'static str]]),
    /// The bank charged these amounts, in order; `None` stored a card.
    BankCharges(&'static [Option<&'static str>]),
    /// The business was notified of these states, in order.
    BusinessNotified(&'static [&'static str]),
    /// The business was notified once that the call ended, for this reason, with this in the summary.
    CallEndNotified(&'static str, &'static str),
    /// Twilio was asked for text messages to the caller with these texts in them, in order, and no others.
    MessagesRequested(&'static [&'static str]),
    /// Twilio did these steps of the recording, in order.
    RecordingSteps(&'static [&'static str]),
    /// On exactly one call the caller heard the first text, and never the second.
    OneCallerHears(&'static str, &'static str),
}
