//! What a call is fed and what it answers with.

use std::fmt;

use serde_json::value::RawValue;

use super::history::{Item, ToolCall};
use super::tool::{ContextKeys, Outcome, Tool};
use crate::payment::{self, Entry};
use crate::redact::Private;
use crate::relay::{Incoming, Outgoing};

/// Something that happened to the call.
#[derive(Debug)]
pub enum Event {
    /// Twilio sent a frame.
    Heard(Incoming),
    /// Whoever runs this server says something to the model, which is to answer it.
    Instructed(Private<String>),
    /// Twilio reported a step of a payment.
    PaymentStatus(payment::Status),
    /// The model's response went on.
    Model {
        /// Which response; events of an abandoned one are ignored.
        request: RequestId,
        /// What came.
        event: ModelEvent,
    },
    /// A tool that was to be run has answered.
    ToolFinished {
        /// Which run.
        run: RunId,
        /// What came of it.
        outcome: Outcome,
    },
    /// The socket broke; the caller may still be there.
    SocketLost,
    /// A new socket of the same call is open.
    Resumed,
    /// The caller is gone, or Twilio says that the call is over.
    HungUp,
    /// Time has passed: the call's deadline is reached.
    Tick,
}

/// One event of the model's streamed response.
pub enum ModelEvent {
    /// Words to say, as they come.
    Delta(Private<String>),
    /// A reasoning item, whole, as OpenAI wrote it; it must travel back with the calls that follow it.
    Reasoning(Box<RawValue>),
    /// A tool call, whole.
    Call(ToolCall),
    /// The response ended well. Nothing follows.
    Done,
    /// The response will not come, or broke off. Nothing follows.
    Failed,
}

/// Something that the call wants done.
#[derive(Debug)]
pub enum Action {
    /// Send this frame to Twilio.
    Say(Outgoing),
    /// Ask the model. There is never a response in flight when this comes.
    AskModel(Request),
    /// Drop the response in flight; that cancels it.
    StopModel,
    /// Run this tool and feed its outcome back, whatever comes meanwhile.
    RunTool {
        /// Comes back with the outcome.
        run: RunId,
        /// What to run.
        tool: Tool,
    },
    /// From the next request on, ask with these instructions and tools.
    ChangeContext(ContextKeys),
    /// Write down what became of a payment.
    Record(Entry),
    /// Forget the call: nothing is left to be done.
    Close,
}

/// Tells one request to the model from all others of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Tells one run of a tool from all others of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// What the model is asked: the whole history. Instructions and tools are constant and are added by `llm`.
#[derive(Debug, Clone)]
pub struct Request {
    /// Comes back with every event of the response.
    pub id: RequestId,
    /// Everything said so far, in the order in which the model is to see it.
    pub input: Vec<Item>,
}

/// The kind of event and nothing of what it says.
impl fmt::Debug for ModelEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delta(_) => f.write_str("Delta"),
            Self::Reasoning(_) => f.write_str("Reasoning"),
            Self::Call(call) => write!(f, "Call({call:?})"),
            Self::Done => f.write_str("Done"),
            Self::Failed => f.write_str("Failed"),
        }
    }
}
