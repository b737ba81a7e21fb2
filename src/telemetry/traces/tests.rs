use super::*;
use crate::telemetry::metrics::ToolResult;
use crate::telemetry::twilio_work::TwilioWork;

fn builder(sampler: TraceSampler) -> TraceBuilder {
    let model = ModelPeer {
        operation: "chat",
        provider: "openai",
        model: Some("gpt-6-luna".to_owned()),
        server: Peer::of_text("https://api.openai.com/v1"),
    };
    TraceBuilder { sampler, model, twilio: Peer::of_text("https://api.twilio.com") }
}

/// A turn that began two seconds after its call, with a response of 30 ms.
fn turn() -> TurnRecord {
    let (began_at, ms) = (Timestamp::from_second(1000).unwrap(), Duration::from_millis);
    let turn = TurnRecord::sample(began_at + ms(40), ms(30), ms(40));
    TurnRecord { call_began_at: began_at - ms(2000), ..turn }
}

fn tool(turn: &TurnRecord, started: Instant, results: &[Option<(u16, Option<u32>)>]) -> ToolSpan {
    let finished = turn.began + Duration::from_millis(20);
    let attempts = (1..).zip(results).map(|(number, result)| TwilioAttempt {
        operation: TwilioOperation::UpdatePayment,
        number,
        started: turn.began,
        finished,
        result: *result,
        request_id: result.map(|(status, _)| format!("RQ{status}")),
    });
    let twilio = TwilioWork { time: Duration::ZERO, attempts: attempts.collect() };
    ToolSpan { name: "complete-payment", started, finished, twilio, result: ToolResult::Done }
}

fn spans(turn: TurnRecord) -> Vec<Span> {
    builder(TraceSampler::AlwaysOn).spans(&TelemetryRecord::Turn(turn.into()))
}

fn value<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

#[test]
fn the_trace_is_found_by_the_hash_of_the_call_sid() {
    // printf %s CA1 | sha256sum | cut -c1-32
    assert_eq!(hex::encode(&spans(turn())[0].trace_id), "8b6398d087e48123e80ba59f059907cf");
}

#[test]
fn the_spans_of_a_turn_precede_that_of_their_call_and_belong_to_it() {
    let turn = turn();
    let call = CallRecord {
        call_sid: turn.call_sid.clone(),
        outbound: false,
        began_at: turn.call_began_at,
        duration: Duration::from_secs(3),
        end: "panicked",
        reason: "caller-hung-up",
        is_handed_off: false,
        totals: crate::telemetry::CallTotals::default(),
    };
    let root = builder(TraceSampler::AlwaysOn).spans(&TelemetryRecord::Call(call.into())).remove(0);
    let [turn, response] = &spans(turn)[..] else { panic!("two spans") };
    assert_eq!((&turn.trace_id, &turn.parent_span_id), (&root.trace_id, &root.span_id));
    assert_eq!((&response.trace_id, &response.parent_span_id), (&root.trace_id, &turn.span_id));
    assert_eq!((root.start_time_unix_nano, root.end_time_unix_nano), (998_000_000_000, 1_001_000_000_000));
    assert_eq!((turn.start_time_unix_nano, turn.end_time_unix_nano), (1_000_000_000_000, 1_000_040_000_000));
    assert_eq!((response.end_time_unix_nano, response.kind), (1_000_030_000_000, SpanKind::Client.into()));
    assert_eq!(value(response, "gen_ai.response.time_to_first_chunk"), Some(&Value::DoubleValue(0.03)));
    assert_eq!(value(response, "server.port"), Some(&Value::IntValue(443)));
    assert_eq!(root.status.map(|status| status.code), Some(StatusCode::Error.into()));
    assert_eq!(turn.status, None);
}

#[test]
fn each_attempt_of_a_request_to_twilio_is_a_span_with_its_error() {
    let mut turn = turn();
    turn.tools =
        vec![tool(&turn, turn.began, &[None, Some((503, None)), Some((400, Some(64_008))), Some((200, None))])];
    let spans = spans(turn);
    let [_, _, tool, attempts @ ..] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(tool.parent_span_id, spans[0].span_id);
    assert!(attempts.iter().all(|attempt| attempt.parent_span_id == tool.span_id));
    let texts: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            let text = |key| match value(attempt, key)? {
                Value::StringValue(text) => Some(text.clone()),
                Value::IntValue(number) => Some(number.to_string()),
                other => panic!("{other:?}"),
            };
            [
                "error.type",
                "http.request.resend_count",
                "http.response.status_code",
                "crelay.twilio.error_code",
                "crelay.twilio.request_id",
            ]
            .map(|key| text(key).unwrap_or_default())
        })
        .collect();
    let expected = [
        ["no_response", "", "", "", ""],
        ["503", "1", "503", "", "RQ503"],
        ["400", "2", "400", "64008", "RQ400"],
        ["", "3", "200", "", "RQ200"],
    ];
    assert_eq!(texts, expected.map(|row| row.map(str::to_owned)));
    assert_eq!(attempts[3].status, None);
}

#[test]
fn a_tool_that_an_earlier_turn_started_is_a_child_of_the_call() {
    let mut turn = turn();
    turn.tools = vec![tool(&turn, turn.began.checked_sub(Duration::from_millis(500)).unwrap(), &[])];
    let spans = spans(turn);
    assert_eq!(spans[2].parent_span_id, spans[0].parent_span_id);
    assert_eq!(spans[2].start_time_unix_nano, 999_500_000_000);
}

#[test]
fn a_failed_response_is_an_error() {
    let mut turn = turn();
    turn.responses[0].is_failed = true;
    assert_eq!(value(&spans(turn)[1], "error.type"), Some(&Value::StringValue(OTHER_ERROR.to_owned())));
}

#[test]
fn the_share_of_calls_is_traced_with_all_their_turns() {
    let traced = |share| {
        let builder = builder(TraceSampler::Ratio(share));
        let turns = (0..1000).map(|call| TurnRecord { call_sid: format!("CA{call}").parse().unwrap(), ..turn() });
        turns.filter(|turn| !builder.spans(&TelemetryRecord::Turn(turn.clone().into())).is_empty()).count()
    };
    assert_eq!((traced(0.0), traced(1.0)), (0, 1000));
    assert!((200..300).contains(&traced(0.25)), "{}", traced(0.25));
}

#[test]
fn a_chat_is_a_trace_with_a_root_of_its_own() {
    let chat = CallSid::of_chat(uuid::Uuid::nil());
    let turn = TurnRecord { call_sid: chat.clone(), ..turn() };
    let (began_at, totals) = (turn.call_began_at, crate::telemetry::CallTotals::default());
    let record = ChatRecord { call_sid: chat, began_at, duration: Duration::from_secs(9), totals };
    let root = builder(TraceSampler::AlwaysOn).spans(&TelemetryRecord::Chat(record.into())).remove(0);
    let turn = spans(turn).remove(0);
    assert_eq!(
        (root.name.as_str(), &turn.trace_id, &turn.parent_span_id),
        ("conversation", &root.trace_id, &root.span_id)
    );
}

#[test]
fn a_tool_that_belongs_to_no_turn_is_a_child_of_the_call() {
    let turn = turn();
    let late = LateTool {
        call_sid: turn.call_sid.clone(),
        call_began: (turn.began, turn.call_began_at),
        tool: tool(&turn, turn.began, &[Some((200, None))]),
    };
    let [tool, attempt] = &builder(TraceSampler::AlwaysOn).spans(&TelemetryRecord::Tool(late.into()))[..] else {
        panic!("two spans")
    };
    assert_eq!((&tool.parent_span_id, &attempt.parent_span_id), (&spans(turn)[0].parent_span_id, &tool.span_id));
    assert_eq!((tool.start_time_unix_nano, tool.end_time_unix_nano), (998_000_000_000, 998_020_000_000));
}

#[test]
fn a_request_for_a_call_that_has_no_session_is_in_its_trace() {
    let turn = turn();
    let attempts = tool(&turn, turn.began, &[Some((503, None)), Some((201, None))]).twilio;
    let recorded = (turn.began, Timestamp::from_second(5).unwrap());
    let work = CallWork { call_sid: turn.call_sid.clone(), recorded, work: attempts };
    let placed = builder(TraceSampler::AlwaysOn).spans(&TelemetryRecord::Twilio(work.into()));
    let trace = &spans(turn)[0].trace_id;
    assert!(placed.iter().all(|span| span.trace_id == *trace && span.parent_span_id.is_empty()));
    assert_ne!(placed[0].span_id, placed[1].span_id);
    assert_eq!((placed.len(), placed[1].end_time_unix_nano), (2, 5_020_000_000));
}
