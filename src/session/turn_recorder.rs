//! Records what the turns of a call are made of: it sees what the call is told and what it does.
//!
//! A turn begins with what the agent responds to, and ends when the agent has spoken, when the next one begins, or with
//! the call. The recorder reads no clock and does no I/O. A token of the model costs it a few comparisons.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::call::{Action, AgentState, CallEvent, ModelEvent, ModelRequestId, Tool};
use crate::config::ModelPrices;
use crate::ids::CallSid;
use crate::payment::{Field, PaymentLogEntry, UpdateAction, UpdatePayment};
use crate::relay::{IncomingFrame, Info, OutgoingFrame};
use crate::telemetry::{CallTotals, Cost, LateTool, ResponseSpan, ToolSpan, TurnEnd, TurnRecord, TurnTrigger};

/// The maximum number of responses, and of tools, of which a turn keeps the times. Their sums include the others.
const MAX_SPANS: usize = 32;

/// Records the turns of one call. It sees each event before the call does, each action, and the state after them.
#[derive(Debug)]
pub(super) struct TurnRecorder {
    call_sid: CallSid,
    began: (Instant, Timestamp),
    prices: Option<ModelPrices>,
    /// What is being handled.
    current: Cause,
    /// What the agent owes a response to.
    owed: Option<Cause>,
    turn: Option<OpenTurn>,
    /// The call has ended: what is still done is for nobody.
    is_over: bool,
    /// The field that is being captured, and since when.
    capturing: Option<(Field, Instant)>,
    /// The identifier of the request at OpenAI or Twilio whose response is being handled, if that failed at Twilio.
    request_id: Option<String>,
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
    /// The last request to the model of which the times are kept.
    request: Option<ModelRequestId>,
    record: TurnRecord,
}

impl TurnRecorder {
    /// Creates the recorder of a call that begins now.
    pub(super) fn new(call_sid: CallSid, began: Instant, began_at: Timestamp, prices: Option<ModelPrices>) -> Self {
        Self {
            call_sid,
            began: (began, began_at),
            prices,
            current: Cause { trigger: TurnTrigger::Connected, at: began, is_input: true },
            owed: None,
            turn: None,
            is_over: false,
            capturing: None,
            request_id: None,
            totals: CallTotals::default(),
        }
    }

    /// Records an event that the call is about to handle.
    pub(super) fn record_event(&mut self, event: &CallEvent, now: Instant) {
        if let CallEvent::Model { request, event } = event {
            return self.record_model_event(*request, event, now);
        }
        if !matches!(event, CallEvent::ToolFinished { .. }) {
            self.request_id = None;
        }
        self.is_over |= matches!(event, CallEvent::HungUp);
        self.totals.resumes += u32::from(matches!(event, CallEvent::SocketResumed));
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
            CallEvent::ToolFinished { .. } | CallEvent::ToolDelayed { .. } | CallEvent::ReceiptSent(_) => {
                other(TurnTrigger::Tool)
            }
            _ => other(TurnTrigger::Timer),
        };
    }

    fn record_model_event(&mut self, request: ModelRequestId, event: &ModelEvent, now: Instant) {
        if let ModelEvent::Report(report) = event {
            self.request_id.clone_from(&report.request_id);
        }
        let Some(turn) = &mut self.turn else { return };
        // What is being handled is a part of the turn that is open.
        self.current.is_input = false;
        let Some(span) = turn.record.responses.last_mut().filter(|_| turn.request == Some(request)) else { return };
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
    pub(super) fn record_action(&mut self, action: &Action, now: Instant) -> Option<TurnRecord> {
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
                    turn.request = Some(request.id);
                    turn.record.responses.push(ResponseSpan {
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
            Action::RecordSilence => {
                self.current.trigger = TurnTrigger::Silence;
                None
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
                if let PaymentLogEntry::Captured { field, .. } = &**entry
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

    /// The identifier of the request at OpenAI or Twilio whose failure the call has just been told of.
    pub(super) fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Records a tool, if one has finished. Returns it if there is no turn that it belongs to.
    pub(super) fn record_tool(&mut self, tool: Option<ToolSpan>) -> Option<LateTool> {
        let tool = tool?;
        self.request_id = tool.twilio.failed_request_id().map(str::to_owned);
        let Some(turn) = &mut self.turn else {
            return Some(LateTool { call_sid: self.call_sid.clone(), call_began: self.began, tool });
        };
        if turn.record.tools.len() < MAX_SPANS {
            turn.record.tools.push(tool);
        }
        None
    }

    /// Records what the call does after an event and its actions. Returns the turn if that is over.
    pub(super) fn record_state(&mut self, state: AgentState, now: Instant) -> Option<TurnRecord> {
        match state {
            AgentState::Active => {
                // While a tool runs the caller's words wait, and are responded to later.
                if matches!(self.current.trigger, TurnTrigger::Prompt | TurnTrigger::Keys) {
                    self.owe_response();
                }
                None
            }
            AgentState::OwesResponse => {
                self.owe_response();
                None
            }
            AgentState::Idle => {
                self.owed = None;
                self.end_turn(TurnEnd::Completed, now)
            }
        }
    }

    /// Remembers what is being handled if it needs a turn that has not begun.
    fn owe_response(&mut self) {
        if self.current.is_input {
            self.owed = Some(self.current);
            self.current.is_input = false;
        }
    }

    /// Ends the turn that is open, since the call has ended.
    pub(super) fn end_call(&mut self, now: Instant) -> Option<TurnRecord> {
        self.end_turn(TurnEnd::CallEnded, now)
    }

    /// Takes the sums of the call.
    pub(super) fn take_totals(&mut self) -> CallTotals {
        std::mem::take(&mut self.totals)
    }

    /// Begins a turn if what is being done has a new cause. Returns the one that was open.
    fn begin_turn(&mut self, now: Instant) -> Option<TurnRecord> {
        let owed = self.owed.take();
        // The words that follow an interruption are what the agent responds to.
        let owed = owed.filter(|owed| owed.trigger != TurnTrigger::Interrupt || !self.current.is_input);
        let mut cause = owed.unwrap_or(self.current);
        if cause.trigger == TurnTrigger::Interrupt {
            // Until now the call has waited for words.
            cause.at = now;
        }
        let is_continued = self.turn.is_some() && !cause.is_input;
        // Further actions on the same event belong to the turn that it begins.
        self.current.is_input = false;
        if is_continued || self.is_over {
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
        self.turn = Some(OpenTurn { is_interrupted: false, request: None, record });
        ended
    }

    fn end_turn(&mut self, end: TurnEnd, now: Instant) -> Option<TurnRecord> {
        let OpenTurn { is_interrupted, mut record, .. } = self.turn.take()?;
        record.ended = now.saturating_duration_since(record.began);
        record.end = if is_interrupted && end == TurnEnd::Completed { TurnEnd::Interrupted } else { end };
        record.cost = self.prices.map(|prices| Cost::of(&prices, &record.usage()));
        self.totals.add_turn(&record);
        Some(record)
    }
}

#[cfg(test)]
mod tests;
