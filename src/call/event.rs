//! The input and output of a call: [`CallEvent`] and [`Action`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::history::{ConversationItem, MessagePhase, ToolCall};
use super::input_refusal::InputRefusal;
use super::tool::{ContextKeys, ReceiptNews, Tool, ToolOutcome};
use crate::payment::{self, PaymentLogEntry};
use crate::recording::{RecordingAnswer, RecordingRequest, RecordingStep};
use crate::redact::Private;
use crate::relay::{IncomingFrame, OutgoingFrame};
use crate::telemetry::{ModelOutage, ResponseReport};
use crate::usage_limits::UsageLimit;

/// An input of the call.
#[derive(Debug)]
pub(crate) enum CallEvent {
    /// Twilio sent a ConversationRelay frame.
    RelayFrame(IncomingFrame),
    /// The operator sent a message to the model, which has to respond.
    OperatorMessage(Private<String>),
    /// Twilio's payment callback arrived.
    PaymentStatus(payment::PaymentCallback),
    /// The model's response stream produced an event.
    Model {
        /// The request that it belongs to; events of a cancelled request are ignored.
        request: ModelRequestId,
        /// The stream event.
        event: ModelEvent,
    },
    /// An external client called a tool. The call answers once, with [`Action::ReturnToolOutput`].
    ExternalToolCall {
        /// Identifies the tool call in the answer.
        id: ExternalCallId,
        /// The request within whose answer it was called, if that is known.
        request: Option<ModelRequestId>,
        /// The tool call; its `call_id` is not used.
        call: ToolCall,
    },
    /// An external client no longer waits. Its tool call is dropped without an answer if it has not started.
    ExternalCallWithdrawn(ExternalCallId),
    /// A tool finished.
    ToolFinished {
        /// The run from [`Action::RunTool`].
        run: ToolRunId,
        /// Its outcome.
        outcome: ToolOutcome,
    },
    /// A step of the recording ended, which [`Action::ControlRecording`] had asked for.
    RecordingAnswered {
        /// The step.
        step: RecordingStep,
        /// How it ended.
        answer: RecordingAnswer,
    },
    /// A tool of the business takes long.
    ToolDelayed {
        /// The run from [`Action::RunTool`].
        run: ToolRunId,
        /// What to say to the caller: `speak` of the tool.
        text: String,
    },
    /// The WebSocket was lost; the caller may still be on the line.
    SocketLost,
    /// A new WebSocket of the same call is open.
    SocketResumed,
    /// What the ledger knows of the call's payments, which it could not say when the call began.
    PaymentsKnown(Box<payment::PriorPayments>),
    /// A receipt of the call was sent, or cannot be sent, after the call had asked for it or had moved here.
    ReceiptSent(ReceiptNews),
    /// Twilio reports that an answering machine or a fax has taken the call.
    MachineAnswered,
    /// The caller hung up, or Twilio reports that the call has ended.
    HungUp,
    /// The deadline of the call is reached.
    Tick,
}

/// One event of the model's streamed response.
pub(crate) enum ModelEvent {
    /// A piece of the text to speak.
    TextDelta(Private<String>),
    /// A message begins, and has this phase: it is that of the text that follows. Not sent for a message without one.
    MessagePhase(MessagePhase),
    /// A complete reasoning item of OpenAI's, unchanged. It must be sent back together with the tool calls that follow
    /// it.
    Reasoning(Box<RawValue>),
    /// A complete tool call.
    ToolCall(ToolCall),
    /// What the response took; comes right before the last event. The call ignores it.
    Report(Box<ResponseReport>),
    /// The response is complete. No event follows.
    Completed,
    /// The response failed or was cut off. No event follows.
    Failed,
    /// The server refuses a part of the conversation. No event follows, and none came before.
    InputRefused(InputRefusal),
}

/// An output of the call: work for the task that owns it.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send this frame to Twilio.
    SendFrame(OutgoingFrame),
    /// Ask the model. No response is in flight at this point.
    AskModel(ModelRequest),
    /// Cancel the response in flight by dropping its stream.
    StopModel,
    /// Run this tool and return its outcome as [`CallEvent::ToolFinished`], whatever happens in between.
    RunTool {
        /// Identifies the run in [`CallEvent::ToolFinished`].
        run: ToolRunId,
        /// The tool with its arguments.
        tool: Tool,
    },
    /// Ask for a step of the recording, and return its outcome as [`CallEvent::RecordingAnswered`]. At most one is asked for.
    ControlRecording(RecordingRequest),
    /// Return the output of a tool to the external client that called it.
    ReturnToolOutput {
        /// The tool call from [`CallEvent::ExternalToolCall`].
        id: ExternalCallId,
        /// The output.
        output: ExternalOutput,
    },
    /// Use these instructions and tools from the next request on.
    ChangeContext(ContextKeys),
    /// Log a payment event; the ledger of a call also records a `ConsentAnswered` and a `NoticeHeard`. In a box, since it
    /// is rare, and the largest.
    Record(Box<PaymentLogEntry>),
    /// Log that the model gave no answer.
    ReportModelOutage(ModelOutage),
    /// Record that the caller is silent: what follows responds to that.
    RecordSilence,
    /// Count and log that a limit has refused something.
    ReportLimit(UsageLimit),
    /// Drop the call: it is complete.
    Close,
}

/// What the agent does, as far as it decides whether its turn is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AgentState {
    /// A response or a tool is in progress, or the agent's words are being spoken.
    Active,
    /// A response is owed, and not requested yet.
    OwesResponse,
    /// The agent has nothing left to say or do.
    Idle,
}

/// Identifies a request to the model within the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ModelRequestId(pub u64);

/// Identifies a run of a tool within the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ToolRunId(pub u64);

/// Identifies a tool call of an external client within the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ExternalCallId(pub u64);

/// The output of a tool for an external client. It contains no card number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExternalOutput {
    /// JSON text, the same that a model would get.
    pub(crate) json: Private<String>,
    /// Whether the tool was refused or failed.
    pub(crate) is_error: bool,
}

/// A request to the model: the whole history. The `llm` module adds the instructions and tools.
#[derive(Debug, Clone)]
pub(crate) struct ModelRequest {
    /// Identifies the request in every event of its response.
    pub id: ModelRequestId,
    /// The conversation items, in order; shared with the history.
    pub input: Vec<Arc<ConversationItem>>,
    /// How long the caller has waited for responses before this one that were stopped, and had brought nothing.
    pub waited: Duration,
}

/// Shows the kind of event, never its content.
impl fmt::Debug for ModelEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TextDelta(_) => f.write_str("TextDelta"),
            Self::MessagePhase(phase) => write!(f, "MessagePhase({phase:?})"),
            Self::Reasoning(_) => f.write_str("Reasoning"),
            Self::ToolCall(call) => write!(f, "ToolCall({call:?})"),
            Self::Report(_) => f.write_str("Report"),
            Self::Completed => f.write_str("Completed"),
            Self::Failed => f.write_str("Failed"),
            Self::InputRefused(refusal) => write!(f, "InputRefused({refusal:?})"),
        }
    }
}
