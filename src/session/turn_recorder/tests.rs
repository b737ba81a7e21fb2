use super::*;
use crate::call::{ContextKeys, ModelRequest, Tool, ToolCall, ToolOutcome, ToolRunId};
use crate::payment::{CallbackDigester, PaymentCallback};
use crate::redact::Private;
use crate::telemetry::{ResponseReport, TokenUsage, ToolResult, TwilioAttempt, TwilioOperation, TwilioWork};

/// A recorder with a clock that the test moves.
struct Harness {
    recorder: TurnRecorder,
    start: Instant,
    now: Instant,
    ended: Vec<TurnRecord>,
}

impl Harness {
    fn new() -> Self {
        let now = tokio::time::Instant::now().into_std();
        let recorder =
            TurnRecorder::new("CA1".parse().unwrap(), now, Timestamp::UNIX_EPOCH, ModelPrices::of_model("gpt-6-luna"));
        Self { recorder, start: now, now, ended: Vec::new() }
    }

    /// Moves the clock to so many milliseconds after the beginning.
    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    /// Records an event, the actions of the call, and its state after them.
    fn handle(&mut self, event: &CallEvent, actions: &[Action], state: AgentState) -> &mut Self {
        self.recorder.record_event(event, self.now);
        let ended: Vec<_> = actions.iter().filter_map(|action| self.recorder.record_action(action, self.now)).collect();
        self.ended.extend(ended);
        self.ended.extend(self.recorder.record_state(state, self.now));
        self
    }

    fn model(&mut self, request: u64, event: ModelEvent, actions: &[Action], state: AgentState) -> &mut Self {
        self.handle(&CallEvent::Model { request: ModelRequestId(request), event }, actions, state)
    }

    fn turn(&self) -> &TurnRecord {
        let [turn] = &self.ended[..] else { panic!("{:?}", self.ended) };
        turn
    }
}

fn frame(json: &str) -> CallEvent {
    CallEvent::RelayFrame(IncomingFrame::parse(json).unwrap())
}

fn prompt() -> CallEvent {
    frame(r#"{"type":"prompt","voicePrompt":"Hello","last":true}"#)
}

fn interrupt() -> CallEvent {
    frame(r#"{"type":"interrupt","utteranceUntilInterrupt":"Hi"}"#)
}

fn callback() -> CallEvent {
    let form = [("CallSid".to_owned(), "CA1".to_owned()), ("Sid".to_owned(), "PK1".to_owned())];
    CallEvent::PaymentStatus(PaymentCallback::from_form(&form, &CallbackDigester::new(&"12345".into())).unwrap())
}

fn ask(request: u64) -> Action {
    Action::AskModel(ModelRequest { id: ModelRequestId(request), input: Vec::new(), waited: Duration::ZERO })
}

fn say() -> Action {
    Action::SendFrame(OutgoingFrame::token("Hi"))
}

fn run_tool() -> Action {
    let tool = Tool::ChangeContext { keys: ContextKeys::default(), summary: Private::default() };
    Action::RunTool { run: ToolRunId(1), tool }
}

fn delta() -> ModelEvent {
    ModelEvent::TextDelta(Private::new("Hi".to_owned()))
}

fn report(usage: TokenUsage) -> ModelEvent {
    ModelEvent::Report(Box::new(ResponseReport { attempts: 2, usage, request_id: None }))
}

#[expect(clippy::unnecessary_wraps, reason = "most of the times of a turn may be missing")]
fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

use AgentState::{Active, Idle, OwesResponse};

#[test]
fn a_turn_has_all_its_times_tokens_and_costs() {
    let usage = TokenUsage { input: 1_000, cached: 500, output: 10, reasoning: 0 };
    let mut call = Harness::new();
    call.at(1_000).handle(&prompt(), &[], OwesResponse);
    call.at(1_010).handle(&CallEvent::Tick, &[ask(1)], Active);
    let tool_call = ToolCall::new("call_1".to_owned(), None, "change-context".to_owned(), "{}");
    call.at(1_200).model(1, ModelEvent::ToolCall(tool_call), &[], Active);
    call.model(1, report(usage), &[], Active).model(1, ModelEvent::Completed, &[run_tool()], Active);
    call.at(1_500);
    let (started, finished) = (call.start + Duration::from_millis(1_200), call.now);
    call.recorder.record_tool(Some(ToolSpan {
        name: "change-context",
        started,
        finished,
        twilio: TwilioWork { time: ms(90).unwrap(), attempts: Vec::new() },
        result: ToolResult::Done,
    }));
    call.handle(&CallEvent::ToolFinished { run: ToolRunId(1), outcome: ToolOutcome::NoResult }, &[ask(2)], Active);
    call.at(1_700).model(2, delta(), &[say()], Active);
    call.at(1_750).model(2, delta(), &[say()], Active);
    call.model(2, report(usage), &[], Active).model(2, ModelEvent::Completed, &[], Active);
    let speaking = r#"{"type":"info","name":"agentSpeaking","value":"on"}"#;
    call.at(1_900).handle(&frame(speaking), &[], Active);
    call.at(4_000).handle(&CallEvent::Tick, &[], Idle);
    let turn = call.turn();
    assert_eq!((turn.number, turn.trigger, turn.end), (1, TurnTrigger::Prompt, TurnEnd::Completed));
    assert_eq!(turn.began_at, Timestamp::from_second(1).unwrap());
    assert_eq!((turn.request_sent(), turn.first_token()), (ms(10), ms(200)));
    assert_eq!((turn.first_frame, turn.last_frame, turn.speaking), (ms(700), ms(750), ms(900)));
    assert_eq!((Some(turn.ended), Some(turn.model_time())), (ms(3_000), ms(190 + 200)));
    assert_eq!((Some(turn.tool_time()), Some(turn.twilio_time())), (ms(300), ms(90)));
    assert_eq!(turn.tools[0].name, "change-context");
    assert_eq!((turn.responses.len(), turn.attempts(), turn.usage()), (2, 4, usage + usage));
    assert_eq!(turn.cost.unwrap().to_string(), "0.00012");
    let totals = call.recorder.take_totals();
    assert_eq!((totals.turns, totals.interrupted, totals.usage), (1, 0, usage + usage));
}

#[test]
fn what_the_caller_says_while_a_tool_runs_has_a_turn_of_its_own() {
    let mut call = Harness::new();
    call.handle(&prompt(), &[ask(1)], Active).model(1, ModelEvent::Completed, &[run_tool()], Active);
    call.at(400).handle(&prompt(), &[], Active);
    let finished = CallEvent::ToolFinished { run: ToolRunId(1), outcome: ToolOutcome::NoResult };
    call.at(1_000).handle(&finished, &[ask(2)], Active);
    assert_eq!((call.turn().trigger, call.turn().end), (TurnTrigger::Prompt, TurnEnd::Interrupted));
    call.at(1_500).model(2, delta(), &[say()], Active).at(3_000).model(2, ModelEvent::Completed, &[], Idle);
    let turn = &call.ended[1];
    assert_eq!((turn.number, turn.trigger), (2, TurnTrigger::Prompt));
    assert_eq!((turn.request_sent(), turn.first_frame), (ms(600), ms(1_100)), "since the caller spoke");
}

#[test]
fn what_the_server_does_after_the_call_is_no_turn() {
    let mut call = Harness::new();
    call.handle(&prompt(), &[ask(1)], Active).model(1, delta(), &[say()], Active);
    call.model(1, ModelEvent::Completed, &[], Idle);
    call.at(9_000).handle(&CallEvent::HungUp, &[run_tool()], Active);
    let span = ToolSpan {
        name: "update-payment",
        started: call.now,
        finished: call.now,
        twilio: TwilioWork::default(),
        result: ToolResult::Done,
    };
    assert!(call.recorder.record_tool(Some(span)).is_some(), "it belongs to the call");
    assert!(call.recorder.end_call(call.now).is_none());
    assert_eq!(call.recorder.take_totals().turns, 1);
}

#[test]
fn a_callback_in_the_middle_of_a_turn_belongs_to_it_unless_it_needs_a_response() {
    let mut call = Harness::new();
    call.handle(&prompt(), &[ask(1)], Active).handle(&callback(), &[], Active);
    call.model(1, delta(), &[say()], Active).model(1, ModelEvent::Completed, &[ask(2)], Active);
    assert!(call.ended.is_empty());
    // The agent still speaks when the server has to say something about the next callback.
    call.at(500).handle(&callback(), &[say(), say()], Active);
    assert_eq!((call.turn().trigger, call.turn().end), (TurnTrigger::Prompt, TurnEnd::Interrupted));
    call.at(900).handle(&CallEvent::Tick, &[], Idle);
    let second = &call.ended[1];
    assert_eq!((second.number, second.trigger, second.first_frame), (2, TurnTrigger::PaymentCallback, ms(0)));
    assert_eq!((second.request_sent(), second.last_frame, Some(second.ended)), (None, ms(0), ms(400)));
}

#[test]
fn an_input_that_nobody_responds_to_does_not_begin_the_next_turn() {
    let mut call = Harness::new();
    call.handle(&callback(), &[], Idle).at(9_000).handle(&CallEvent::Tick, &[say()], Active);
    call.at(9_500).handle(&CallEvent::Tick, &[], Idle);
    assert_eq!((call.turn().trigger, call.turn().first_frame), (TurnTrigger::Timer, ms(0)));
}

#[test]
fn a_turn_that_the_caller_interrupts_says_so() {
    let mut call = Harness::new();
    call.handle(&prompt(), &[ask(1)], Active).model(1, delta(), &[say()], Active);
    call.at(300).handle(&interrupt(), &[Action::StopModel], OwesResponse).at(900).handle(&prompt(), &[ask(2)], Active);
    assert_eq!((call.turn().end, call.turn().responses[0].ended), (TurnEnd::Interrupted, ms(300)));
    // After the last word was sent, and before it was heard.
    call.at(1_000).model(2, delta(), &[say()], Active).model(2, ModelEvent::Completed, &[], Active);
    call.at(1_500).handle(&interrupt(), &[], Idle);
    assert_eq!((call.ended[1].end, call.ended[1].number), (TurnEnd::Interrupted, 2));
    call.at(2_000).handle(&prompt(), &[ask(3)], Active);
    let last = call.recorder.end_call(call.now).unwrap();
    assert_eq!((last.end, last.responses[0].report.is_none()), (TurnEnd::CallEnded, true));
    assert_eq!(call.recorder.take_totals().interrupted, 2);
}

#[test]
fn a_turn_keeps_a_bounded_number_of_spans() {
    let mut call = Harness::new();
    for request in 0..99 {
        call.handle(&CallEvent::Tick, &[ask(request)], Active);
        let span = ToolSpan {
            name: "send-sms",
            started: call.now,
            finished: call.now,
            twilio: TwilioWork::default(),
            result: ToolResult::Done,
        };
        call.recorder.record_tool(Some(span));
    }
    let turn = call.recorder.end_call(call.now).unwrap();
    assert_eq!((turn.trigger, turn.responses.len(), turn.tools.len()), (TurnTrigger::Timer, MAX_SPANS, MAX_SPANS));
}

/// A tool that Twilio refused, with this identifier of the request.
fn refused_tool(now: Instant, request_id: &str) -> ToolSpan {
    let attempt = TwilioAttempt {
        operation: TwilioOperation::UpdatePayment,
        number: 1,
        started: now,
        finished: now,
        result: Some((400, Some(64_008))),
        request_id: Some(request_id.to_owned()),
    };
    let twilio = TwilioWork { time: Duration::ZERO, attempts: vec![attempt] };
    ToolSpan { name: "complete-payment", started: now, finished: now, twilio, result: ToolResult::Refused }
}

#[test]
fn what_follows_from_a_failure_is_logged_with_the_identifier_of_its_request() {
    let mut call = Harness::new();
    let now = call.now;
    call.handle(&prompt(), &[ask(1)], Active);
    let failed = ResponseReport { attempts: 1, request_id: Some("req_1".to_owned()), ..ResponseReport::default() };
    call.model(1, ModelEvent::Report(Box::new(failed)), &[], Active).model(1, ModelEvent::Failed, &[say()], Active);
    assert_eq!(call.recorder.request_id(), Some("req_1"));
    assert!(call.recorder.record_tool(Some(refused_tool(now, "RQ1"))).is_none());
    call.handle(&CallEvent::ToolFinished { run: ToolRunId(1), outcome: ToolOutcome::NoResult }, &[], Active);
    assert_eq!(call.recorder.request_id(), Some("RQ1"));
    call.handle(&CallEvent::Tick, &[], Active);
    assert_eq!(call.recorder.request_id(), None);
}

#[test]
fn a_tool_without_a_turn_is_returned() {
    let mut call = Harness::new();
    let (now, start) = (call.now, call.start);
    let late = call.recorder.record_tool(Some(refused_tool(now, "RQ1"))).unwrap();
    assert_eq!((late.call_sid.as_str(), late.call_began), ("CA1", (start, Timestamp::UNIX_EPOCH)));
}

#[test]
fn a_reminder_responds_to_silence() {
    let mut call = Harness::new();
    call.handle(&CallEvent::Tick, &[Action::RecordSilence, say()], Active).at(900).handle(&CallEvent::Tick, &[], Idle);
    assert_eq!(call.turn().trigger, TurnTrigger::Silence);
}

#[test]
fn the_words_after_an_interruption_begin_the_turn() {
    let mut call = Harness::new();
    call.handle(&interrupt(), &[], OwesResponse).at(1_500).handle(&prompt(), &[ask(1)], Active);
    call.at(1_600).model(1, delta(), &[say()], Active).model(1, ModelEvent::Completed, &[], Idle);
    assert_eq!((call.turn().trigger, call.turn().request_sent()), (TurnTrigger::Prompt, ms(0)));
    assert_eq!((Some(call.turn().began - call.start), call.turn().first_frame), (ms(1_500), ms(100)));
}

#[test]
fn the_wait_for_words_that_never_come_is_no_part_of_a_turn() {
    let mut call = Harness::new();
    call.handle(&interrupt(), &[], OwesResponse).at(3_000).handle(&CallEvent::Tick, &[ask(1)], Active);
    call.at(3_100).model(1, delta(), &[say()], Active).model(1, ModelEvent::Completed, &[], Idle);
    assert_eq!((call.turn().trigger, call.turn().first_frame), (TurnTrigger::Interrupt, ms(100)));
}
