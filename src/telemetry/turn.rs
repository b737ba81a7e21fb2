//! What a turn of the agent was made of: a pure recorder that sees what the call is told and what it does.
//!
//! A turn begins with what the agent responds to, and ends when the agent has spoken, when the next one begins, or with
//! the call. The recorder reads no clock. A token of the model costs it a few comparisons.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::call::CallTotals;
use super::cost::{Cost, ModelPrices};
use super::metrics::ToolResult;
use super::twilio_work::TwilioWork;
use crate::call::{Action, AgentState, CallEvent, ModelEvent, ModelRequestId, ResponseReport, TokenUsage, Tool};
use crate::ids::CallSid;
use crate::payment::{Field, PaymentLogEntry, UpdateAction, UpdatePayment};
use crate::relay::{IncomingFrame, Info, OutgoingFrame};

/// The maximum number of responses, and of tools, of which a turn keeps the times. Their sums include the others.
const MAX_SPANS: usize = 32;

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
    /// Time has passed: silence, or a payment that makes no progress.
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
    /// The request, by its number in the call.
    pub(crate) request: ModelRequestId,
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

/// Records the turns of one call. It sees each event before the call does, each action, and the state after them.
#[derive(Debug)]
pub(crate) struct TurnRecorder {
    call_sid: CallSid,
    began: (Instant, Timestamp),
    prices: Option<ModelPrices>,
    /// What is being handled.
    current: Cause,
    /// What the agent owes a response to.
    owed: Option<Cause>,
    turn: Option<OpenTurn>,
    /// The field that is being captured, and since when.
    capturing: Option<(Field, Instant)>,
    totals: CallTotals,
}

/// A possible beginning of a turn.
#[derive(Debug, Clone, Copy)]
struct Cause {
    trigger: TurnTrigger,
    at: Instant,
    /// It needs a turn of its own.
    is_input: bool,
}

#[derive(Debug)]
struct OpenTurn {
    is_interrupted: bool,
    record: TurnRecord,
}

impl TurnRecorder {
    /// Creates the recorder of a call that begins now.
    pub(crate) fn new(call_sid: CallSid, began: Instant, began_at: Timestamp, prices: Option<ModelPrices>) -> Self {
        Self {
            call_sid,
            began: (began, began_at),
            prices,
            current: Cause { trigger: TurnTrigger::Connected, at: began, is_input: true },
            owed: None,
            turn: None,
            capturing: None,
            totals: CallTotals::default(),
        }
    }

    /// Records an event that the call is about to handle.
    pub(crate) fn record_event(&mut self, event: &CallEvent, now: Instant) {
        if let CallEvent::Model { request, event } = event {
            return self.record_model_event(*request, event, now);
        }
        self.totals.count_event(event);
        let turn = self.turn.as_mut();
        let input = |trigger| Cause { trigger, at: now, is_input: true };
        let other = |trigger| Cause { trigger, at: now, is_input: false };
        self.current = match event {
            CallEvent::RelayFrame(IncomingFrame::Prompt(prompt)) if prompt.last => input(TurnTrigger::Prompt),
            CallEvent::RelayFrame(IncomingFrame::Dtmf { .. }) => input(TurnTrigger::Keys),
            CallEvent::RelayFrame(IncomingFrame::Interrupt(_)) => {
                if let Some(turn) = turn {
                    turn.is_interrupted |= turn.record.first_frame.is_some();
                }
                input(TurnTrigger::Interrupt)
            }
            CallEvent::RelayFrame(IncomingFrame::Info(Info::AgentSpeaking(true))) => {
                if let Some(turn) = turn.filter(|turn| turn.record.first_frame.is_some()) {
                    turn.record.speaking.get_or_insert(now.saturating_duration_since(turn.record.began));
                }
                other(TurnTrigger::Timer)
            }
            CallEvent::PaymentStatus(_) => input(TurnTrigger::PaymentCallback),
            CallEvent::OperatorMessage(_) => input(TurnTrigger::Operator),
            CallEvent::SocketResumed => input(TurnTrigger::Resumed),
            CallEvent::MachineAnswered => input(TurnTrigger::Machine),
            CallEvent::ExternalToolCall { .. } => other(TurnTrigger::Client),
            CallEvent::ToolFinished { .. } | CallEvent::ToolDelayed { .. } => other(TurnTrigger::Tool),
            _ => other(TurnTrigger::Timer),
        };
    }

    fn record_model_event(&mut self, request: ModelRequestId, event: &ModelEvent, now: Instant) {
        let Some(turn) = &mut self.turn else { return };
        // What is being handled is a part of the turn that is open.
        self.current.is_input = false;
        let Some(span) = turn.record.responses.last_mut().filter(|span| span.request == request) else { return };
        let since = now.saturating_duration_since(turn.record.began);
        match event {
            ModelEvent::TextDelta(_) | ModelEvent::ToolCall(_) => {
                span.first_token.get_or_insert(since);
            }
            ModelEvent::Report(report) => span.report = Some((**report).clone()),
            ModelEvent::Completed | ModelEvent::Failed | ModelEvent::InputRefused(_) => {
                span.ended = Some(since);
                span.is_failed = !matches!(event, ModelEvent::Completed);
            }
            ModelEvent::MessagePhase(_) | ModelEvent::Reasoning(_) => {}
        }
    }

    /// Records an action of the call. Returns the turn that has ended because another one begins.
    pub(crate) fn record_action(&mut self, action: &Action, now: Instant) -> Option<TurnRecord> {
        match action {
            Action::SendFrame(OutgoingFrame::Text { token, .. }) if !token.is_empty() => {
                let ended = self.begin_turn(now);
                if let Some(turn) = &mut self.turn {
                    let since = now.saturating_duration_since(turn.record.began);
                    turn.record.first_frame.get_or_insert(since);
                    turn.record.last_frame = Some(since);
                }
                ended
            }
            Action::AskModel(request) => {
                let ended = self.begin_turn(now);
                if let Some(turn) = &mut self.turn
                    && turn.record.responses.len() < MAX_SPANS
                {
                    let asked = now.saturating_duration_since(turn.record.began);
                    turn.record.responses.push(ResponseSpan {
                        request: request.id,
                        asked,
                        first_token: None,
                        ended: None,
                        is_failed: false,
                        report: None,
                    });
                }
                ended
            }
            Action::RunTool { tool, .. } => {
                self.record_capture_request(tool, now);
                self.begin_turn(now)
            }
            Action::StopModel => {
                if let Some(turn) = &mut self.turn {
                    turn.is_interrupted = true;
                    if let Some(span) = turn.record.responses.last_mut() {
                        span.ended.get_or_insert(now.saturating_duration_since(turn.record.began));
                    }
                }
                None
            }
            Action::Record(entry) => {
                self.totals.count_payment_step(entry, now.saturating_duration_since(self.began.0));
                if let PaymentLogEntry::Captured { field, .. } = entry
                    && let Some((_, since)) = self.capturing.take_if(|(requested, _)| requested == field)
                {
                    self.totals.add_field(*field, now.saturating_duration_since(since));
                }
                None
            }
            _ => None,
        }
    }

    /// A repeated request for the same field continues the first one.
    fn record_capture_request(&mut self, tool: &Tool, now: Instant) {
        if let Tool::UpdatePayment(UpdatePayment { action: UpdateAction::Capture(field), .. }) = tool
            && self.capturing.is_none_or(|(requested, _)| requested != *field)
        {
            self.capturing = Some((*field, now));
        }
    }

    /// Records a tool, if one has finished.
    pub(crate) fn record_tool(&mut self, tool: Option<ToolSpan>) {
        if let (Some(turn), Some(tool)) = (&mut self.turn, tool)
            && turn.record.tools.len() < MAX_SPANS
        {
            turn.record.tools.push(tool);
        }
    }

    /// Records what the call does after an event and its actions. Returns the turn if that is over.
    pub(crate) fn record_state(&mut self, state: AgentState, now: Instant) -> Option<TurnRecord> {
        match state {
            AgentState::Active => None,
            AgentState::OwesResponse => {
                if self.current.is_input {
                    self.owed = Some(self.current);
                    self.current.is_input = false;
                }
                None
            }
            AgentState::Idle => {
                self.owed = None;
                self.end_turn(TurnEnd::Completed, now)
            }
        }
    }

    /// Ends the turn that is open, since the call has ended.
    pub(crate) fn end_call(&mut self, now: Instant) -> Option<TurnRecord> {
        self.end_turn(TurnEnd::CallEnded, now)
    }

    /// Takes the sums of the call.
    pub(crate) fn take_totals(&mut self) -> CallTotals {
        std::mem::take(&mut self.totals)
    }

    /// Begins a turn if what is being done has a new cause. Returns the one that was open.
    fn begin_turn(&mut self, now: Instant) -> Option<TurnRecord> {
        let cause = self.owed.take().unwrap_or(self.current);
        let is_continued = self.turn.is_some() && !cause.is_input;
        // Further actions on the same event belong to the turn that it begins.
        self.current.is_input = false;
        if is_continued {
            return None;
        }
        let ended = self.end_turn(TurnEnd::Interrupted, now);
        let (call_began, call_began_at) = self.began;
        let record = TurnRecord {
            call_sid: self.call_sid.clone(),
            call_began_at,
            number: self.totals.turns + 1,
            trigger: cause.trigger,
            began_at: call_began_at
                .saturating_add(cause.at.saturating_duration_since(call_began))
                .unwrap_or(call_began_at),
            began: cause.at,
            first_frame: None,
            last_frame: None,
            speaking: None,
            ended: Duration::ZERO,
            end: TurnEnd::Completed,
            responses: Vec::new(),
            tools: Vec::new(),
            cost: None,
        };
        self.turn = Some(OpenTurn { is_interrupted: false, record });
        ended
    }

    fn end_turn(&mut self, end: TurnEnd, now: Instant) -> Option<TurnRecord> {
        let OpenTurn { is_interrupted, mut record } = self.turn.take()?;
        record.ended = now.saturating_duration_since(record.began);
        record.end = if is_interrupted && end == TurnEnd::Completed { TurnEnd::Interrupted } else { end };
        record.cost = self.prices.map(|prices| prices.cost(&record.usage()));
        self.totals.add_turn(&record);
        Some(record)
    }
}

#[cfg(test)]
impl TurnRecord {
    /// A turn that ended at `ended_at` with its first frame, after one request.
    pub(crate) fn sample(ended_at: Timestamp, first_token: Duration, first_frame: Duration) -> Self {
        let response = ResponseSpan {
            request: ModelRequestId(1),
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
    pub(crate) const ALL: [Self; 11] = [
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

#[cfg(test)]
mod tests;
