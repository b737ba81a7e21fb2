//! What a turn of the agent was made of, as plain data.

use std::ops::Add;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::cost::Cost;
use super::metrics::ToolResult;
use super::twilio_work::TwilioWork;
use crate::ids::CallSid;

/// A turn that has ended. Durations count from its beginning.
#[derive(Debug, Clone)]
pub(crate) struct TurnRecord {
    /// The call.
    pub(crate) call_sid: CallSid,
    /// When its session began.
    pub(crate) call_began_at: Timestamp,
    /// The number of the turn in its session, from 1.
    pub(crate) number: u32,
    /// What the agent responded to.
    pub(crate) trigger: TurnTrigger,
    /// When that was: the caller's words were received, for example.
    pub(crate) began_at: Timestamp,
    /// The same moment on the clock of the tools.
    pub(crate) began: Instant,
    /// When the first frame with words was sent; `None` of a turn without words.
    pub(crate) first_frame: Option<Duration>,
    /// When the last one was sent.
    pub(crate) last_frame: Option<Duration>,
    /// When Twilio reported that it speaks; `None` without the `events` attribute. Twilio's own share, its round trip,
    /// is what lies between the first frame and this.
    pub(crate) speaking: Option<Duration>,
    /// When the turn ended.
    pub(crate) ended: Duration,
    /// How it ended.
    pub(crate) end: TurnEnd,
    /// The requests to the model, in order.
    pub(crate) responses: Vec<ResponseSpan>,
    /// The tools that finished within the turn, in order.
    pub(crate) tools: Vec<ToolSpan>,
    /// What the tokens cost; `None` without prices.
    pub(crate) cost: Option<Cost>,
}

/// What the agent responds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TurnTrigger {
    /// The call or the chat has begun.
    Connected,
    /// Words of the caller.
    Prompt,
    /// Keys of the caller.
    Keys,
    /// The caller has interrupted the agent and said nothing.
    Interrupt,
    /// A payment status callback.
    PaymentCallback,
    /// A tool whose output came after its turn.
    Tool,
    /// A message of the operator.
    Operator,
    /// An external client, which called a tool.
    Client,
    /// A new socket of the call.
    Resumed,
    /// An answering machine has taken the call.
    Machine,
    /// The caller is silent.
    Silence,
    /// Time has passed: a payment makes no progress, for example.
    Timer,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TurnEnd {
    /// The agent has said and done everything.
    Completed,
    /// The caller spoke over the agent, or something else needed a response before it had finished.
    Interrupted,
    /// The call ended first.
    CallEnded,
}

/// A request to the model and its response. Durations count from the beginning of the turn.
#[derive(Debug, Clone)]
pub(crate) struct ResponseSpan {
    /// When the call asked for it.
    pub(crate) asked: Duration,
    /// When the first word or tool call came.
    pub(crate) first_token: Option<Duration>,
    /// When the response ended, or was stopped.
    pub(crate) ended: Option<Duration>,
    /// Whether there is no usable response.
    pub(crate) is_failed: bool,
    /// What the response service reported; `None` of a response that was stopped.
    pub(crate) report: Option<ResponseReport>,
}

/// A tool that has finished.
#[derive(Debug, Clone)]
pub(crate) struct ToolSpan {
    /// Its name in the manifest; `business` for all tools of the business.
    pub(crate) name: &'static str,
    /// When it was started.
    pub(crate) started: Instant,
    /// When it had finished.
    pub(crate) finished: Instant,
    /// How long Twilio's REST API was awaited within it, and for what.
    pub(crate) twilio: TwilioWork,
    /// How it ended.
    pub(crate) result: ToolResult,
}
/// What a response took, as the response service reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResponseReport {
    /// The requests that were sent for it.
    pub attempts: u32,
    /// The tokens of the last of them.
    pub usage: TokenUsage,
    /// The server's identifier of the last of them, for its support; bounded, and without a card number.
    pub request_id: Option<String>,
}

/// The tokens of a response; 0 where unknown. Sums end at the largest number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TokenUsage {
    /// The tokens of the request.
    pub input: u64,
    /// Those of them that the server had cached.
    pub cached: u64,
    /// The tokens of the response.
    pub output: u64,
    /// Those of them that were reasoning.
    pub reasoning: u64,
}

impl Add for TokenUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }
}

/// What the caller hears in place of an answer of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelOutage {
    /// An apology, a goodbye, or the next prompt of the server, and why.
    Apology(&'static str),
    /// The announcement that a person takes over, and why.
    HandOff(&'static str),
}

#[cfg(test)]
impl TurnRecord {
    /// A turn that ended at `ended_at` with its first frame, after one request.
    pub(crate) fn sample(ended_at: Timestamp, first_token: Duration, first_frame: Duration) -> Self {
        let response = ResponseSpan {
            asked: Duration::ZERO,
            first_token: Some(first_token),
            ended: Some(first_token),
            is_failed: false,
            report: None,
        };
        Self {
            call_sid: "CA1".parse().unwrap(),
            call_began_at: ended_at - jiff::SignedDuration::try_from(first_frame).unwrap(),
            number: 1,
            trigger: TurnTrigger::Prompt,
            began_at: ended_at - jiff::SignedDuration::try_from(first_frame).unwrap(),
            began: tokio::time::Instant::now().into_std(),
            first_frame: Some(first_frame),
            last_frame: Some(first_frame),
            speaking: None,
            ended: first_frame,
            end: TurnEnd::Completed,
            responses: vec![response],
            tools: Vec::new(),
            cost: None,
        }
    }
}

impl TurnRecord {
    /// When the first request to the model was made; `None` of a turn in which the server spoke itself.
    pub(crate) fn request_sent(&self) -> Option<Duration> {
        self.responses.first().map(|response| response.asked)
    }

    /// When the first word or tool call of the model came.
    pub(crate) fn first_token(&self) -> Option<Duration> {
        self.responses.iter().find_map(|response| response.first_token)
    }

    /// Twilio's own round trip: from the first frame until Twilio speaks it.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.speaking?.checked_sub(self.first_frame?)
    }

    /// The requests that were sent for the responses, repeated ones included.
    pub(crate) fn attempts(&self) -> u32 {
        let attempts =
            self.responses.iter().map(|response| response.report.as_ref().map_or(1, |report| report.attempts));
        attempts.sum()
    }

    /// The time from the requests to the first tokens of their responses, in sum.
    pub(crate) fn model_time(&self) -> Duration {
        let waits =
            self.responses.iter().filter_map(|response| Some(response.first_token?.saturating_sub(response.asked)));
        waits.sum()
    }

    /// The time in which tools ran, in sum.
    pub(crate) fn tool_time(&self) -> Duration {
        self.tools.iter().map(ToolSpan::duration).sum()
    }

    /// The time in which tools waited for Twilio's REST API, in sum.
    pub(crate) fn twilio_time(&self) -> Duration {
        self.tools.iter().map(|tool| tool.twilio.time).sum()
    }

    /// The tokens of the responses that were not stopped.
    pub(crate) fn usage(&self) -> TokenUsage {
        let reports = self.responses.iter().filter_map(|response| response.report.as_ref());
        reports.fold(TokenUsage::default(), |sum, report| sum + report.usage)
    }
}

impl ToolSpan {
    /// How long the tool ran.
    pub(crate) fn duration(&self) -> Duration {
        self.finished.saturating_duration_since(self.started)
    }
}

impl TurnTrigger {
    /// All triggers.
    pub(crate) const ALL: [Self; 12] = [
        Self::Connected,
        Self::Prompt,
        Self::Keys,
        Self::Interrupt,
        Self::PaymentCallback,
        Self::Tool,
        Self::Operator,
        Self::Client,
        Self::Resumed,
        Self::Machine,
        Self::Silence,
        Self::Timer,
    ];

    /// The word in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Prompt => "prompt",
            Self::Keys => "keys",
            Self::Interrupt => "interrupt",
            Self::PaymentCallback => "payment_callback",
            Self::Tool => "tool",
            Self::Operator => "operator",
            Self::Client => "client",
            Self::Resumed => "resumed",
            Self::Machine => "machine",
            Self::Silence => "silence",
            Self::Timer => "timer",
        }
    }
}

impl TurnEnd {
    /// All ends.
    pub(crate) const ALL: [Self; 3] = [Self::Completed, Self::Interrupted, Self::CallEnded];

    /// The word in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::CallEnded => "call_ended",
        }
    }
}
