//! The model's turn: the response in flight, its tool calls, and whether a response is owed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::event::{ExternalCallId, ModelRequestId, ToolRunId};
use super::history::{AgentMessage, CardSource, ConversationItem, History, MAX_SEARCHED_BYTES, MessagePhase, ToolCall};
use super::known_calls::KnownCalls;
use super::prompts;
use super::speakable::SpeakableText;
use super::tool::Tool;
use crate::ids::PaymentSid;
use crate::payment::UpdateAction;
use crate::redact::{CardParts, DetectedCard, StreamRedactor, StreamedText};

/// The maximum number of responses without an input of the caller or a payment event. Beyond it the model is in a loop.
const MAX_ROUNDS: u32 = 12;

/// The maximum number of tool calls in a response. Further ones are refused.
const MAX_TOOL_CALLS: usize = 8;

/// The maximum number of items that wait for the end of a tool call. Each is at most about 4 KiB.
const MAX_NOTES: usize = 256;

/// The maximum number of tool calls of external clients that wait for a running tool. Further ones are refused.
const MAX_WAITING_EXTERNAL_CALLS: usize = 4;

/// The maximum number of tool calls of external clients without an input of the caller or a payment event. Beyond it a
/// client is in a loop.
const MAX_EXTERNAL_CALLS: u32 = 48;

/// The state of the model's turn.
#[derive(Default)]
pub(super) struct ModelTurn {
    request_count: u64,
    run_count: u64,
    /// The response in flight.
    response: Option<InFlightResponse>,
    /// The last response was stopped, and the model was not asked since.
    is_stopped: bool,
    /// Whether the last response has any text.
    has_spoken: bool,
    /// Tool calls that have not started. They run one after the other.
    waiting_calls: VecDeque<WaitingCall>,
    /// Running tools: at most one that the model or an external client called, and any that the server started.
    runs: Vec<ToolRun>,
    /// Tool outputs since the response began. They go into the history after all of its tool calls.
    tool_outputs: Vec<ConversationItem>,
    /// Other items since the response began. They follow the outputs.
    notes: Vec<ConversationItem>,
    /// Steps of the open payment. They come last, and are dropped once the payment progresses.
    payment_steps: Vec<ConversationItem>,
    /// The model has to respond to something that happened.
    response_owed: bool,
    /// The model is not asked before this time: the caller may be about to speak.
    held_until: Option<Instant>,
    /// Responses since the last input of the caller or payment event.
    round_count: u32,
    /// Tool calls of external clients since the last input of the caller or payment event.
    external_count: u32,
    /// How long the caller has waited for responses that were stopped and had brought nothing, since one brought something.
    waited: Duration,
    /// Consecutive failed responses.
    failure_count: u32,
    /// Consecutive refusals of the input.
    refusal_count: u32,
    /// Consecutive answers of which nothing can be spoken.
    wordless_count: u32,
    /// The tool calls of earlier responses.
    known_calls: KnownCalls,
}

/// A response in flight.
struct InFlightResponse {
    id: ModelRequestId,
    asked_at: Instant,
    /// The history position of the text that is being streamed.
    text_position: Option<usize>,
    /// The history position of the last text of this response.
    reply_position: Option<usize>,
    /// The phase of the message whose text is being streamed.
    message_phase: Option<MessagePhase>,
    /// Makes the streamed text speakable; `None` in a chat, which keeps it as it is.
    speakable: Option<SpeakableText>,
    /// Redacts what is spoken: digits are held back until they are known not to be a card number.
    stream: StreamRedactor,
    /// Reasoning items from this position on are not followed by a tool call yet.
    unused_reasoning_from: usize,
    /// The number of tool calls in the response.
    call_count: usize,
    /// An external client has called a tool while this response is in flight.
    has_external_calls: bool,
}

/// A response that is complete or failed.
pub(super) struct FinishedResponse {
    /// The history position of its last text.
    pub(super) reply_position: Option<usize>,
    /// Whether it has any text.
    pub(super) has_text: bool,
    /// Whether it has any tool call.
    pub(super) has_calls: bool,
    /// Whether an external client called a tool while it was in flight.
    pub(super) has_external_calls: bool,
}

/// A turn that was stopped.
#[derive(Default)]
pub(super) struct StoppedTurn {
    /// Whether a response was in flight.
    pub(super) had_response: bool,
    /// The tool calls of external clients that were dropped.
    pub(super) dropped_calls: Vec<ExternalCallId>,
}

/// Who started a tool, and so who gets its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ToolOrigin {
    /// The model, with the `call_id` of its tool call.
    Model(String),
    /// An external client.
    External(ExternalCallId),
    /// The server itself; nobody gets the output.
    Server,
}

/// A tool call that has not started.
pub(super) struct WaitingCall {
    pub(super) origin: ToolOrigin,
    pub(super) call: ToolCall,
}

/// A tool that is running.
pub(super) struct ToolRun {
    id: ToolRunId,
    pub(super) origin: ToolOrigin,
    pub(super) tool: Tool,
    /// The caller spoke after the tool was started.
    pub(super) caller_spoke_since: bool,
    /// What is to be said because the tool takes long.
    delay_text: Option<String>,
}

/// Responses: whether one is owed, the one in flight, and how it ends.
impl ModelTurn {
    /// Marks a response as owed, after an input of the caller or a payment event.
    pub(super) fn require_response(&mut self) {
        self.response_owed = true;
        self.restart_rounds();
    }

    /// Marks a response as owed that continues what came before: the model stays in its loop.
    pub(super) fn owe_response(&mut self) {
        self.response_owed = true;
    }

    /// Withdraws the response that is owed: the server speaks in its place.
    pub(super) fn waive_response(&mut self) {
        self.response_owed = false;
    }

    /// Whether the model has to respond.
    pub(super) fn is_response_owed(&self) -> bool {
        self.response_owed
    }

    /// Does not ask the model before `until`.
    pub(super) fn hold_until(&mut self, until: Instant) {
        self.held_until = Some(until);
    }

    /// Lets the model be asked at once.
    pub(super) fn release_hold(&mut self) {
        self.held_until = None;
    }

    /// The time before which the model is not asked.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Whether the model is not asked at `now`.
    pub(super) fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// Counts responses from zero again, after an input of the caller.
    pub(super) fn restart_rounds(&mut self) {
        self.round_count = 0;
        self.known_calls.begin_turn();
        self.external_count = 0;
    }

    /// Whether the model is in a loop: it has responded too often without an input.
    pub(super) fn is_looping(&self) -> bool {
        self.round_count >= MAX_ROUNDS
    }

    /// Counts a failed response; returns the number of consecutive ones.
    pub(super) fn record_failure(&mut self) -> u32 {
        self.failure_count += 1;
        self.failure_count
    }

    /// Records a response with text: failures are counted from zero again.
    pub(super) fn record_success(&mut self) {
        self.failure_count = 0;
        self.wordless_count = 0;
    }

    /// Records a response with text or tool calls: its input was accepted.
    pub(super) fn record_accepted_input(&mut self) {
        self.refusal_count = 0;
    }

    /// Whether the model is to be asked again after an answer of which nothing can be spoken: once.
    pub(super) fn may_ask_for_words(&mut self) -> bool {
        self.wordless_count += 1;
        self.wordless_count == 1
    }

    /// Counts a refusal of the input; returns the number since an input was accepted.
    pub(super) fn record_input_refusal(&mut self) -> u32 {
        self.refusal_count += 1;
        self.refusal_count
    }

    /// Drops the response in flight, which brought nothing, and owes another one. It does not count as a round.
    pub(super) fn withdraw_response(&mut self, history: &mut History) {
        self.finish_response(history);
        self.round_count = self.round_count.saturating_sub(1);
        self.response_owed = true;
    }

    /// Begins a response. `is_spoken` says that it is for ears, not for eyes.
    pub(super) fn begin_response(&mut self, history: &History, is_spoken: bool, now: Instant) -> ModelRequestId {
        self.request_count += 1;
        let id = ModelRequestId(self.request_count);
        self.response = Some(InFlightResponse {
            id,
            asked_at: now,
            text_position: None,
            reply_position: None,
            message_phase: None,
            speakable: is_spoken.then(SpeakableText::default),
            stream: StreamRedactor::default(),
            unused_reasoning_from: history.next_position(),
            call_count: 0,
            has_external_calls: false,
        });
        self.has_spoken = false;
        self.is_stopped = false;
        self.response_owed = false;
        self.held_until = None;
        self.round_count += 1;
        id
    }

    /// How long the caller has waited for responses that were stopped and had brought nothing.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// The request whose response is in flight.
    pub(super) fn current_request(&self) -> Option<ModelRequestId> {
        self.response.as_ref().map(|response| response.id)
    }

    /// Whether no request was made after this one. Its response may be complete.
    pub(super) fn is_latest_request(&self, request: ModelRequestId) -> bool {
        request.0 == self.request_count
    }

    /// Whether the last response has any text.
    pub(super) fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Whether the response in flight has no text and no tool call so far.
    pub(super) fn is_response_empty(&self) -> bool {
        self.response.as_ref().is_some_and(|response| {
            response.text_position.is_none() && response.call_count == 0 && !response.has_external_calls
        })
    }

    /// Whether a reply would be cut off now: a response is in flight, or its tool calls have not started.
    pub(super) fn is_reply_unfinished(&self) -> bool {
        let is_model_call = |waiting: &WaitingCall| matches!(waiting.origin, ToolOrigin::Model(_));
        self.response.is_some() || self.waiting_calls.iter().any(is_model_call)
    }

    /// Whether the model must not be asked: a response is in flight, or a tool call has no output.
    pub(super) fn is_busy(&self) -> bool {
        self.response.is_some() || !self.waiting_calls.is_empty() || self.is_tool_running()
    }

    /// Makes streamed text speakable, then redacts it, so that mark-up cannot hide a number. Returns what may be spoken so
    /// far.
    pub(super) fn redact_delta(&mut self, words: &str) -> StreamedText {
        let Some(response) = &mut self.response else { return StreamedText::default() };
        match &mut response.speakable {
            Some(speakable) => response.stream.push(&speakable.push(words)),
            None => response.stream.push(words),
        }
    }

    /// Returns the text that is still held back, as mark-up or as digits.
    pub(super) fn take_held_text(&mut self) -> StreamedText {
        let Some(response) = &mut self.response else { return StreamedText::default() };
        let held = response.speakable.as_mut().map(SpeakableText::finish).unwrap_or_default();
        let mut text = response.stream.push(&held).text;
        text.push_str(&response.stream.finish().text);
        StreamedText { text, may_have_numbers: true }
    }

    /// Records that the response has this text, spoken or not.
    pub(super) fn record_text(&mut self, text: &str) {
        self.has_spoken |= !text.trim().is_empty();
    }

    /// Returns the history position of the text that is being streamed, and begins the item if there is none.
    pub(super) fn text_position(&mut self, history: &mut History) -> Option<usize> {
        let response = self.response.as_mut()?;
        let phase = response.message_phase;
        let begin = || history.push(ConversationItem::Agent(AgentMessage { text: String::new(), phase }));
        let position = *response.text_position.get_or_insert_with(begin);
        response.reply_position = Some(position);
        Some(position)
    }

    /// Begins a message of this phase: its text becomes an item of its own, since the phase belongs to the whole item.
    pub(super) fn begin_message(&mut self, phase: MessagePhase) {
        let Some(response) = &mut self.response else { return };
        if response.message_phase.replace(phase) != Some(phase) {
            response.text_position = None;
        }
    }

    /// Lets the further text of the response be an item of its own, since the server speaks in between.
    pub(super) fn begin_text(&mut self) {
        if let Some(response) = &mut self.response {
            response.text_position = None;
        }
    }

    /// Adds a tool call of the response. One too many is refused, and so is one that was made before.
    pub(super) fn queue_call(&mut self, call: ToolCall, history: &mut History) {
        let Some(response) = &mut self.response else { return };
        response.text_position = None;
        response.message_phase = None;
        response.call_count += 1;
        let is_one_too_many = response.call_count > MAX_TOOL_CALLS;
        let (call, is_repeated) = self.known_calls.admit(call);
        history.push(ConversationItem::ToolCall(call.clone()));
        response.unused_reasoning_from = history.next_position();
        if is_one_too_many {
            self.push_tool_output(call.call_id, prompts::refusal(prompts::TOO_MANY_TOOL_CALLS));
        } else if is_repeated {
            self.push_tool_output(call.call_id, prompts::refusal(prompts::REPEATED_TOOL_CALL));
        } else {
            self.waiting_calls.push_back(WaitingCall { origin: ToolOrigin::Model(call.call_id.clone()), call });
        }
    }

    /// Ends the response in flight: no more text or tool calls follow.
    pub(super) fn finish_response(&mut self, history: &mut History) -> Option<FinishedResponse> {
        let response = self.response.take()?;
        self.waited = Duration::ZERO;
        history.drop_reasoning_since(response.unused_reasoning_from);
        Some(FinishedResponse {
            reply_position: response.reply_position,
            has_text: self.has_spoken,
            has_calls: response.call_count > 0,
            has_external_calls: response.has_external_calls,
        })
    }

    /// Drops the response in flight and the tool calls that have not started. Running tools continue.
    pub(super) fn stop(&mut self, history: &mut History, now: Instant) -> StoppedTurn {
        let (was_empty, asked_at) = (self.is_response_empty(), self.response.as_ref().map(|own| own.asked_at));
        let waited = self.waited;
        let had_response = self.finish_response(history).is_some();
        self.is_stopped |= had_response;
        if was_empty {
            self.waited = waited + asked_at.map_or(Duration::ZERO, |asked_at| now.saturating_duration_since(asked_at));
        }
        let mut dropped_calls = Vec::new();
        self.has_spoken = false;
        for run in &mut self.runs {
            run.caller_spoke_since = true;
            run.delay_text = None;
        }
        for waiting in std::mem::take(&mut self.waiting_calls) {
            match waiting.origin {
                ToolOrigin::Model(call_id) => self.push_tool_output(call_id, prompts::call_not_run()),
                ToolOrigin::External(id) => dropped_calls.push(id),
                ToolOrigin::Server => {}
            }
        }
        StoppedTurn { had_response, dropped_calls }
    }
}

/// Tools: the calls that wait, and those that run.
impl ModelTurn {
    /// Takes the next tool call, unless a tool of the model or of an external client is running.
    pub(super) fn take_waiting_call(&mut self) -> Option<WaitingCall> {
        if self.is_tool_running() {
            return None;
        }
        let next = self.waiting_calls.pop_front()?;
        // The text of an earlier response is no goodbye for an `end-call` of an external client.
        if matches!(next.origin, ToolOrigin::External(_)) && self.response.is_none() {
            self.has_spoken = false;
        }
        Some(next)
    }

    /// Adds a tool call of an external client, which does not belong to a response. The error says why it is refused.
    pub(super) fn queue_external_call(&mut self, id: ExternalCallId, call: ToolCall) -> Result<(), &'static str> {
        let is_external = |waiting: &&WaitingCall| matches!(waiting.origin, ToolOrigin::External(_));
        if self.waiting_calls.iter().filter(is_external).count() >= MAX_WAITING_EXTERNAL_CALLS {
            return Err(prompts::TOO_MANY_WAITING_CALLS);
        }
        // It was sent for the response that was stopped: the caller may have said that it is not wanted.
        if self.is_stopped {
            return Err(prompts::CALLER_SPOKE_FIRST);
        }
        if self.external_count >= MAX_EXTERNAL_CALLS {
            return Err(prompts::TOO_MANY_EXTERNAL_CALLS);
        }
        self.external_count += 1;
        if let Some(response) = &mut self.response {
            response.has_external_calls = true;
        }
        self.waiting_calls.push_back(WaitingCall { origin: ToolOrigin::External(id), call });
        Ok(())
    }

    /// Drops a tool call whose client no longer waits, unless it has started.
    pub(super) fn withdraw_external_call(&mut self, id: ExternalCallId) {
        self.waiting_calls.retain(|waiting| waiting.origin != ToolOrigin::External(id));
    }

    /// Begins a run.
    pub(super) fn begin_run(&mut self, origin: ToolOrigin, tool: Tool) -> ToolRunId {
        self.run_count += 1;
        let id = ToolRunId(self.run_count);
        self.runs.push(ToolRun { id, origin, tool, caller_spoke_since: false, delay_text: None });
        id
    }

    /// Ends a run and returns it; `None` if there is no such run.
    pub(super) fn finish_run(&mut self, id: ToolRunId) -> Option<ToolRun> {
        let at = self.runs.iter().position(|run| run.id == id)?;
        Some(self.runs.remove(at))
    }

    /// Records what is to be said because a run takes long, unless the caller has spoken since it began.
    pub(super) fn record_delay(&mut self, id: ToolRunId, text: String) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.id == id && !run.caller_spoke_since) {
            run.delay_text = Some(text);
        }
    }

    /// Whether something is to be said because a tool takes long.
    pub(super) fn has_delay_text(&self) -> bool {
        self.runs.iter().any(|run| run.delay_text.is_some())
    }

    /// Whether the tool that takes long was called by an external client.
    pub(super) fn is_delay_of_client(&self) -> bool {
        let is_client = |run: &ToolRun| matches!(run.origin, ToolOrigin::External(_));
        self.runs.iter().any(|run| run.delay_text.is_some() && is_client(run))
    }

    /// Takes what is to be said because a tool takes long.
    pub(super) fn take_delay_text(&mut self) -> Option<String> {
        self.runs.iter_mut().find_map(|run| run.delay_text.take())
    }

    /// Whether any tool is running.
    pub(super) fn has_runs(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Whether a tool that the model or an external client called is running.
    fn is_tool_running(&self) -> bool {
        self.runs.iter().any(|run| run.origin != ToolOrigin::Server)
    }

    /// The number of running tools that the model or an external client called.
    #[cfg(test)]
    pub(super) fn awaited_run_count(&self) -> usize {
        self.runs.iter().filter(|run| run.origin != ToolOrigin::Server).count()
    }

    /// Whether a payment session is being requested.
    pub(super) fn is_start_running(&self) -> bool {
        self.runs.iter().any(|run| matches!(run.tool, Tool::StartCapture(_)))
    }

    /// Whether Twilio is being asked to open, change or cancel a payment session.
    pub(super) fn is_payment_tool_running(&self) -> bool {
        self.runs.iter().any(|run| matches!(run.tool, Tool::StartCapture(_) | Tool::UpdatePayment(_)))
    }

    /// Whether the cancellation of a payment session is being requested.
    pub(super) fn is_cancel_running(&self, sid: &PaymentSid) -> bool {
        let is_cancel = |tool: &Tool| matches!(tool, Tool::UpdatePayment(update) if update.action == UpdateAction::Cancel && update.payment_sid == *sid);
        self.runs.iter().any(|run| is_cancel(&run.tool))
    }

    /// Adds the output of a tool call, to which the model then has to respond.
    pub(super) fn push_tool_output(&mut self, call_id: String, output: String) {
        self.tool_outputs.push(ConversationItem::ToolOutput { call_id, output });
        self.response_owed = true;
    }
}

/// Items for the model that the history does not contain yet.
impl ModelTurn {
    /// Adds an item that goes into the history once the tool calls before it have outputs.
    pub(super) fn push_note(&mut self, item: ConversationItem) {
        if self.notes.len() >= MAX_NOTES {
            // The caller's oldest words go first; what the server says of payments stays as long as possible.
            let oldest = self.notes.iter().position(|note| matches!(note, ConversationItem::Caller(_)));
            self.notes.remove(oldest.unwrap_or_default());
        }
        self.notes.push(item);
    }

    /// Adds a step of the open payment. It is dropped if the payment progresses before the model is asked.
    pub(super) fn push_payment_step(&mut self, item: ConversationItem) {
        self.payment_steps.push(item);
    }

    /// Drops payment steps that the model has not seen: the payment has progressed, so they would mislead it.
    pub(super) fn clear_payment_steps(&mut self) {
        self.payment_steps.clear();
    }

    /// Removes the parts of card numbers that span several inputs of their source from what is pending and from the
    /// history.
    pub(super) fn redact_cards(&mut self, cards: &[DetectedCard], source: CardSource, history: &mut History) {
        if cards.is_empty() {
            return;
        }
        let parts = CardParts::new(cards, |_| true);
        for item in self.tool_outputs.iter_mut().chain(&mut self.notes) {
            item.redact_parts(&parts, MAX_SEARCHED_BYTES);
        }
        let parts = CardParts::new(cards, |_| source == CardSource::Agent);
        for waiting in &mut self.waiting_calls {
            waiting.call.redact_parts(&parts);
        }
        history.redact_cards(cards, source);
    }

    /// Whether there are notes that the history does not contain yet.
    pub(super) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// Moves all pending items into the history. Called only while the turn is not busy.
    pub(super) fn flush_to_history(&mut self, history: &mut History) {
        for item in self.tool_outputs.drain(..).chain(self.notes.drain(..)).chain(self.payment_steps.drain(..)) {
            history.push(item);
        }
    }
}
