//! Tests of responses in every form in which model servers send them.

use proptest::prelude::*;

use super::*;

fn message(id: &str, text: &str) -> String {
    format!(
        r#"{{"id":{id},"type":"message","status":"completed","role":"assistant","content":[{{"type":"output_text","text":"{text}"}}]}}"#
    )
}

fn call(id: &str, call_id: &str, name: &str, arguments: &str, status: &str) -> String {
    format!(
        r#"{{"id":{id},"type":"function_call","call_id":{call_id},"name":"{name}","arguments":{arguments},"status":"{status}"}}"#
    )
}

fn text_delta(text: &str) -> String {
    format!(
        r#"{{"type":"response.output_text.delta","item_id":"m1","output_index":0,"content_index":0,"delta":"{text}"}}"#
    )
}

fn arguments_delta(text: &str) -> String {
    format!(r#"{{"type":"response.function_call_arguments.delta","item_id":"f1","output_index":0,"delta":"{text}"}}"#)
}

fn arguments_done(arguments: &str) -> String {
    format!(
        r#"{{"type":"response.function_call_arguments.done","item_id":"f1","output_index":0,"arguments":{arguments}}}"#
    )
}

fn item(kind: &str, index: usize, item: &str) -> String {
    format!(r#"{{"type":"response.output_item.{kind}","output_index":{index},"item":{item}}}"#)
}

fn completed(output: &[&str]) -> String {
    format!(r#"{{"type":"response.completed","response":{{"status":"completed","output":[{}]}}}}"#, output.join(","))
}

const INCOMPLETE: &str = r#"{"type":"response.incomplete","response":{"status":"incomplete"}}"#;
const DONE: &str = "[DONE]";

/// What the call gets of a response with these events: text in quotes, calls as `call_id name arguments`.
fn assemble(events: &[impl AsRef<str>]) -> String {
    let mut assembler = ResponseAssembler::new(ModelRequestId(7), false);
    let mut end = None;
    for event in events.iter().map(AsRef::as_ref) {
        if event == DONE {
            end = Some(assembler.finish(StreamEnd::DoneMark));
            break;
        }
        match StreamEvent::parse("", event) {
            Ok(StreamEvent::Ended(snapshot)) => {
                end = Some(assembler.finish(StreamEnd::Snapshot(snapshot)));
                break;
            }
            Ok(event) => assembler.apply(event),
            Err(_) => {}
        }
    }
    let end = end.unwrap_or_else(|| assembler.finish(StreamEnd::Closed));
    let mut output: Vec<String> = Vec::new();
    while let Some(event) = assembler.pop_event() {
        output.push(match event {
            ModelEvent::TextDelta(text) => format!("'{}'", text.reveal()),
            ModelEvent::Reasoning(_) => "reasoning".to_owned(),
            ModelEvent::ToolCall(call) => format!("{} {} {}", call.call_id, call.name, call.arguments.as_str()),
            other => format!("{other:?}"),
        });
    }
    output.push(match end {
        Ok(()) => "complete".to_owned(),
        Err(incomplete) => format!("{incomplete:?}"),
    });
    output.join(", ")
}

const HI: [&str; 2] = [r#""m1""#, "Hi there."];

#[test]
fn text_is_said_once_wherever_it_stands() {
    let part_done = r#"{"type":"response.content_part.done","item_id":"m1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Hi there."}}"#;
    let text_done =
        r#"{"type":"response.output_text.done","item_id":"m1","output_index":0,"content_index":0,"text":"Hi there."}"#;
    let hi = message(HI[0], HI[1]);
    let (added, done) = (item("added", 0, &message(HI[0], "")), item("done", 0, &hi));
    let (first, rest) = (text_delta("Hi"), text_delta(" there."));
    let end = completed(&[&hi]);
    for (events, said) in [
        (vec![&*added, &first, &rest, text_done, part_done, &done, &end], "'Hi', ' there.', complete"),
        (vec![&first, &rest, DONE], "'Hi', ' there.', complete"),
        (vec![&*first, text_done, &end], "'Hi', ' there.', complete"),
        (vec![text_done, &end], "'Hi there.', complete"),
        (vec![part_done, &completed(&[])], "'Hi there.', complete"),
        (vec![&done, &end], "'Hi there.', complete"),
        (vec![&done, &done, &end], "'Hi there.', complete"),
        (vec![&end], "'Hi there.', complete"),
        (vec![&*first, &done], "'Hi', ' there.', complete"),
        (vec![text_done], "'Hi there.', complete"),
        (vec![&*first], "'Hi', CutOff"),
        (vec![&*first, INCOMPLETE], "'Hi', complete"),
        (vec![&completed(&[])], "Empty"),
        (vec![DONE], "Empty"),
        (vec![INCOMPLETE], "Empty"),
    ] {
        assert_eq!(assemble(&events), said, "{events:?}");
    }
    assert_eq!(assemble(&[] as &[&str]), "Empty");
}

#[test]
fn a_message_is_recognized_again_without_its_id() {
    let first = text_delta("Hi there.");
    for id in ["null", r#""""#, r#""m9""#] {
        let again = message(id, HI[1]);
        assert_eq!(
            assemble(&[first.as_str(), &item("done", 0, &again), &completed(&[&again])]),
            "'Hi there.', complete"
        );
        assert_eq!(assemble(&[first.as_str(), &completed(&["{}", &again])]), "'Hi there.', complete");
    }
    let two = [message(r#""m1""#, "One."), message(r#""m2""#, "Two.")];
    assert_eq!(assemble(&[completed(&[&two[0], &two[1]])]), "'One.', ' Two.', complete");
    let both_at_index_0 = [item("done", 0, &two[0]), item("done", 0, &two[1]), completed(&[&two[0], &two[1]])];
    assert_eq!(assemble(&both_at_index_0), "'One.', ' Two.', complete");
}

#[test]
fn a_message_whose_first_deltas_were_lost_is_recognized_by_the_text_of_its_end() {
    let text_done = r#"{"type":"response.output_text.done","item_id":"m1","output_index":0,"content_index":0,"text":"One two three four."}"#;
    let [of_m1, again] = [r#""m1""#, r#""m9""#].map(|id| message(id, "One two three four."));
    let (last, done, end) = (text_delta("four."), item("done", 0, &of_m1), completed(&[&again]));
    for ends in [vec![text_done], vec![&*done], vec![text_done, &done]] {
        let events = [vec![&*last], ends, vec![&*end]].concat();
        assert_eq!(assemble(&events), "'four.', complete", "{events:?}");
    }
}

#[test]
fn a_message_of_white_space_says_nothing() {
    let sms = call(r#""f1""#, r#""c1""#, "send-sms", r#""{}""#, "completed");
    let events =
        [text_delta(r"\n\n"), item("done", 0, &message(r#""m1""#, r"\n\n")), item("done", 1, &sms), completed(&[])];
    assert_eq!(assemble(&events), "c1 send-sms {}, complete");
    assert_eq!(
        assemble(&[text_delta(r"\n\n"), text_delta(" Hi"), text_delta(" there"), DONE.to_owned()]),
        "'Hi', ' there', complete"
    );
}

#[test]
fn reasoning_and_tool_markup_are_not_said() {
    let think = [text_delta("<thi"), text_delta("nk>hm</think> "), text_delta("Hi."), DONE.to_owned()];
    assert_eq!(assemble(&think), "'Hi.', complete");
    let whole = [completed(&[&message(HI[0], "hm</think>Hi.")])];
    assert_eq!(assemble(&whole), "'Hi.', complete");
    let tool_call = [text_delta(r#"<tool_call>{\"name\":\"x\"}</tool_call>"#), DONE.to_owned()];
    assert_eq!(assemble(&tool_call), "Empty");
}

#[test]
fn a_call_runs_once_with_its_arguments_wherever_they_stand() {
    let of = |arguments: &str, status: &str| call(r#""f1""#, r#""c1""#, "x", arguments, status);
    let (whole, empty) = (of(r#""{\"a\":1}""#, "completed"), of(r#""""#, "completed"));
    let added = item("added", 0, &of(r#""""#, "in_progress"));
    let (first, rest) = (arguments_delta(r#"{\"a\""#), arguments_delta(":1}"));
    let args_done = arguments_done(r#""{\"a\":1}""#);
    let (done, done_empty) = (item("done", 0, &whole), item("done", 0, &empty));
    let end = completed(&[&whole]);
    let runs = r#"c1 x {"a":1}, complete"#;
    for events in [
        vec![&*added, &first, &rest, &args_done, &done, &end],
        vec![&done, &end],
        vec![&done, &done, &end],
        vec![&*added, &args_done, &completed(&[])],
        vec![&*added, &first, &rest, &args_done, DONE],
        vec![&*added, &first, &rest, &completed(&[])],
        vec![&*added, &args_done, &done_empty, &completed(&[&empty])],
        vec![&*added, &first, &rest, &done_empty, &completed(&[])],
        vec![&*added, &done_empty, &args_done, &completed(&[])],
        vec![&done],
        vec![&done, DONE],
        vec![&end],
        vec![&item("done", 0, &of(r#"{"a":1}"#, "completed")), &end],
        vec![&item("done", 0, &of(r#""{\"a\":1}""#, "in_progress")), &end],
        vec![
            &item("added", 0, &call("null", r#""c1""#, "x", "null", "")),
            &item("done", 0, &call("null", r#""c1""#, "x", r#""{\"a\":1}""#, "")),
            &end,
        ],
        vec![&added, &item("done", 0, &call(r#""f2""#, r#""c1""#, "x", r#""{\"a\":1}""#, "completed")), &end],
        vec![&done, &item("done", 0, &call(r#""f2""#, r#""c1""#, "x", r#""{}""#, "completed")), &completed(&[])],
        vec![&done, &completed(&[&call("null", r#""c9""#, "x", r#""{\"a\":1}""#, "completed")])],
        vec![&done, &item("done", 0, &of(r#""{\"a\":2}""#, "completed")), &end],
        vec![&done, &item("done", 1, &call(r#""f2""#, r#""c1""#, "x", r#""{\"a\":1}""#, "completed")), &completed(&[])],
    ] {
        assert_eq!(assemble(&events), runs, "{events:?}");
    }
}

#[test]
fn a_call_that_is_not_complete_does_not_run() {
    let of = |status: &str| call(r#""f1""#, r#""c1""#, "end-call", r#""{}""#, status);
    let added = item("added", 0, &of("in_progress"));
    for (events, ended) in [
        (vec![&*added, &item("done", 0, &of("incomplete")), INCOMPLETE], "Empty"),
        (vec![&*added, &item("done", 0, &of("incomplete")), &completed(&[])], "Empty"),
        (vec![&*added, &item("done", 0, &of("in_progress")), INCOMPLETE], "Empty"),
        (vec![&*added, &item("done", 0, &of("in_progress")), &completed(&[])], "Empty"),
        (vec![&*added, &arguments_done(r#""{}""#), INCOMPLETE], "Empty"),
        (vec![&*added, &arguments_done(r#""{}""#)], "CutOff"),
        (vec![&*added, &arguments_delta("{"), DONE], "Empty"),
        (vec![&*added, &arguments_delta("{")], "CutOff"),
        (vec![&*added, DONE], "Empty"),
    ] {
        assert_eq!(assemble(&events), ended, "{events:?}");
    }
}

#[test]
fn a_call_that_is_delivered_twice_under_other_ids_runs_once() {
    let of = |id: &str, call_id: &str, status: &str| call(id, call_id, "x", r#""{\"a\":1}""#, status);
    let arguments = |id: &str| {
        format!(r#"{{"type":"response.function_call_arguments.done","item_id":"{id}","arguments":"{{\"a\":1}}"}}"#)
    };
    let whole = |id: &str, index: usize, call_id: &str| {
        let id_json = format!("\"{id}\"");
        let added = call(&id_json, call_id, "x", r#""""#, "in_progress");
        [item("added", index, &added), arguments(id), item("done", index, &of(&id_json, call_id, "completed"))]
    };
    for index in [0, 1] {
        let twice = [whole("f1", 0, r#""c1""#), whole("f2", index, r#""c1""#)].concat();
        assert_eq!(assemble(&[twice, vec![completed(&[])]].concat()), r#"c1 x {"a":1}, complete"#);
    }
    for none in ["null", r#""""#, r#""  ""#] {
        let done = item("done", 0, &of(none, none, "completed"));
        let snapshot = completed(&[&of(none, none, "completed")]);
        for end in [snapshot.as_str(), DONE] {
            assert_eq!(assemble(&[&*done, &done, end]), r#"call_7_1 x {"a":1}, complete"#, "{none}");
        }
    }
    let changed = [
        item("added", 0, &call(r#""f1""#, "null", "x", r#""""#, "in_progress")),
        arguments("f1"),
        item("done", 1, &of(r#""f2""#, r#""c1""#, "completed")),
        completed(&[&of(r#""f2""#, r#""c1""#, "completed")]),
    ];
    assert_eq!(assemble(&changed), r#"c1 x {"a":1}, complete"#);
}

#[test]
fn what_stands_only_in_the_beginning_of_an_item_is_an_answer() {
    let added = item("added", 0, &message(HI[0], HI[1]));
    assert_eq!(assemble(&[added.as_str(), &completed(&[])]), "'Hi there.', complete");
    assert_eq!(assemble(&[added.as_str(), &text_delta("Hi there."), &completed(&[])]), "'Hi there.', complete");
    let whole_call = item("added", 0, &call(r#""f1""#, r#""c1""#, "x", r#""{\"a\":1}""#, "completed"));
    assert_eq!(assemble(&[whole_call.as_str(), &completed(&[])]), r#"c1 x {"a":1}, complete"#);
    assert_eq!(assemble(&[whole_call.as_str(), INCOMPLETE]), "Empty");
}

#[test]
fn messages_that_follow_one_another_are_told_apart() {
    let delta = |id: &str, part: u32, text: &str| {
        format!(r#"{{"type":"response.output_text.delta","item_id":"{id}","content_index":{part},"delta":"{text}"}}"#)
    };
    let two = [delta("m1", 0, "Let me check."), delta("m2", 0, "You owe five."), DONE.to_owned()];
    assert_eq!(assemble(&two), "'Let me check.', ' You owe five.', complete");
    let parts = [delta("m1", 0, "Let me check."), delta("m1", 1, "You owe five."), DONE.to_owned()];
    assert_eq!(assemble(&parts), "'Let me check.', ' You owe five.', complete");
}

#[test]
fn an_id_that_is_missing_or_repeated_is_replaced() {
    let done = |index, item_id: &str, call_id: &str, name| {
        item("done", index, &call(item_id, call_id, name, r#""{\"a\":1}""#, "completed"))
    };
    let empty = [done(0, "null", r#""""#, "x"), done(1, "null", r#""""#, "y"), completed(&[])];
    assert_eq!(assemble(&empty), r#"call_7_1 x {"a":1}, call_7_2 y {"a":1}, complete"#);
    let of_item = [done(0, r#""f1""#, "null", "x"), completed(&[])];
    assert_eq!(assemble(&of_item), r#"f1 x {"a":1}, complete"#);
    let repeated = [done(0, r#""f1""#, r#""c""#, "x"), done(1, r#""f2""#, r#""c""#, "y"), completed(&[])];
    assert_eq!(assemble(&repeated), r#"c x {"a":1}, call_7_2 y {"a":1}, complete"#);
    let taken = [done(0, "null", r#""call_7_2""#, "x"), done(1, "null", r#""""#, "y"), completed(&[])];
    assert_eq!(assemble(&taken), r#"call_7_2 x {"a":1}, call_7_3 y {"a":1}, complete"#);
}

#[test]
fn a_delta_that_is_delivered_twice_is_said_once() {
    let delta = |sequence: u32, text: &str| {
        format!(
            r#"{{"type":"response.output_text.delta","item_id":"m1","sequence_number":{sequence},"delta":"{text}"}}"#
        )
    };
    let events = [delta(1, "a"), delta(2, "b"), delta(2, "b"), delta(1, "a"), delta(3, "b"), DONE.to_owned()];
    assert_eq!(assemble(&events), "'a', 'b', 'b', complete");
    let always_zero = [delta(0, "ha"), delta(0, "ha"), DONE.to_owned()];
    assert_eq!(assemble(&always_zero), "'ha', 'ha', complete");
}

#[test]
fn reasoning_goes_with_the_call_that_follows_it() {
    let reasoning = r#"{"id":"r1","type":"reasoning","encrypted_content":"x"}"#;
    let x = call(r#""f1""#, r#""c1""#, "x", r#""{\"a\":1}""#, "completed");
    let y = call(r#""f2""#, r#""c2""#, "y", r#""{\"a\":1}""#, "completed");
    let both = r#"reasoning, c1 x {"a":1}, c2 y {"a":1}, complete"#;
    let end = completed(&[reasoning, &x, &y]);
    assert_eq!(assemble(&[&*item("done", 0, reasoning), &item("done", 1, &x), &item("done", 2, &y), &end]), both);
    assert_eq!(assemble(&[end]), both);
    let words = [&*item("done", 0, reasoning), &item("done", 1, &message(r#""m1""#, "a")), &item("done", 2, &x)];
    assert_eq!(assemble(&words), r#"'a', c1 x {"a":1}, complete"#);
}

#[test]
fn two_messages_with_many_words_in_common_are_both_said() {
    let one = message(r#""m1""#, "You can pay the bill now, or call us back.");
    let two = message(r#""m2""#, "Now call back: the card is declined, you pay us the bill.");
    let said = assemble(&[completed(&[&one, &two])]);
    assert_eq!(said.matches('\'').count(), 4, "{said}");
}

#[test]
fn a_response_with_too_many_items_or_too_much_text_is_recognized() {
    let read = |events: &mut dyn Iterator<Item = String>| {
        let mut assembler = ResponseAssembler::new(ModelRequestId(1), false);
        for event in events {
            assembler.apply(StreamEvent::parse("", &event).ok().unwrap());
        }
        assembler.is_too_large()
    };
    let items = |count: usize| (0..count).map(|n| item("added", n, &message(&format!(r#""m{n}""#), "")));
    assert!(!read(&mut items(256)) && read(&mut items(257)));
    let part =
        |n| format!(r#"{{"type":"response.output_text.done","item_id":"m1","content_index":{n},"text":"w{n}"}}"#);
    assert!(!read(&mut (0..256).map(part)) && read(&mut (0..257).map(part)));
    let delta = || text_delta(&"word ".repeat(100));
    assert!(!read(&mut (0..100).map(|_| delta())) && read(&mut (0..200).map(|_| delta())));
    let many = vec![message("null", "x"); 1000].join(",");
    let snapshot = completed(&[&many]);
    let Ok(StreamEvent::Ended(end)) = StreamEvent::parse("", &snapshot) else { panic!() };
    assert_eq!(end.output.len(), 256);
}

/// The events of a true response: words, a call with arguments in deltas, one without arguments, more words.
fn true_events() -> Vec<String> {
    let sms = |status| call(r#""f1""#, r#""c1""#, "send-sms", r#""{\"message\":\"Hi\"}""#, status);
    let end_call = call(r#""f2""#, r#""c2""#, "end-call", r#""{}""#, "completed");
    let events = [
        item("added", 0, &message(r#""m1""#, "")),
        text_delta("one "),
        text_delta("two "),
        text_delta("three"),
        r#"{"type":"response.output_text.done","item_id":"m1","output_index":0,"content_index":0,"text":"one two three"}"#.to_owned(),
        item("done", 0, &message(r#""m1""#, "one two three")),
        item("added", 1, &call(r#""f1""#, r#""c1""#, "send-sms", r#""""#, "in_progress")),
        arguments_delta(r#"{\"message\":"#),
        arguments_delta(r#"\"Hi\"}"#),
        arguments_done(r#""{\"message\":\"Hi\"}""#),
        item("done", 1, &sms("completed")),
        item("done", 2, &end_call),
        completed(&[&message(r#""m1""#, "one two three"), &sms("completed"), &end_call]),
    ];
    let numbered = events.into_iter().enumerate();
    numbered.map(|(at, event)| format!(r#"{{"sequence_number":{at},{}"#, &event[1..])).collect()
}

#[test]
fn the_true_response_is_read() {
    let expected = r#"'one ', 'two ', 'three', c1 send-sms {"message":"Hi"}, c2 end-call {}, complete"#;
    assert_eq!(assemble(&true_events()), expected);
}

proptest! {
    /// Events that are lost, repeated, swapped or cut at any place.
    #[test]
    fn no_word_is_said_twice_and_no_call_runs_twice_or_half(
        changes in proptest::collection::vec((0_u8..4, 0_usize..13, 0_usize..13), 0..6),
    ) {
        let mut events = true_events();
        for (change, at, to) in changes {
            let (at, to) = (at.min(events.len() - 1), to.min(events.len() - 1));
            match change {
                0 if events.len() > 1 => drop(events.remove(at)),
                1 => events.insert(to, events[at].clone()),
                2 => events.swap(at, to),
                _ => {
                    let end = events[at].len() / (to + 2);
                    events[at].truncate(end);
                }
            }
        }
        let output = assemble(&events);
        for word in ["one", "two", "three", "send-sms", "end-call"] {
            prop_assert!(output.matches(word).count() <= 1, "{}: {:?}", output, events);
        }
        if output.contains("send-sms") {
            let sends_half = output.contains("send-sms {}") || output.contains("send-sms ,");
            prop_assert!(output.contains(r#"send-sms {"message":"Hi"}"#) || sends_half, "{}", output);
        }
    }
}

/// How many of these events a response may have before it is too large.
fn count_until_too_large(event: impl Fn(usize) -> String) -> usize {
    let mut assembler = ResponseAssembler::new(ModelRequestId(7), false);
    let is_within = |number: &usize| {
        let event = event(*number);
        assembler.apply(StreamEvent::parse("", &event).unwrap());
        while assembler.pop_event().is_some() {}
        !assembler.is_too_large()
    };
    (0..100_000).take_while(is_within).count()
}

#[test]
fn what_a_response_keeps_is_limited() {
    let kib = "x".repeat(1024);
    assert_eq!(count_until_too_large(|_| arguments_delta(&kib)), 256, "256 KiB of arguments of one call");
    let call_of_16_kib = |n: usize| {
        let arguments = format!("\"{{\\\"a\\\":\\\"{}\\\"}}\"", kib.repeat(16));
        item("done", n, &call(&format!("\"f{n}\""), &format!("\"c{n}\""), "x", &arguments, "completed"))
    };
    assert_eq!(count_until_too_large(call_of_16_kib), 15, "256 KiB of arguments of all calls");
    assert_eq!(count_until_too_large(|_| text_delta(&kib)), 64, "64 KiB of words");
    let thought = |_| text_delta(&format!("<think>{kib}</think>"));
    assert!((900..1024).contains(&count_until_too_large(thought)), "1 MiB of reasoning in the text");
    let reasoning = |n: usize| {
        item("done", n, &format!(r#"{{"type":"reasoning","id":"rs_{n}","encrypted_content":"{}"}}"#, kib.repeat(32)))
    };
    assert_eq!(count_until_too_large(reasoning), 31, "1 MiB of reasoning items");
    let again = |_| item("done", 0, &call("\"f1\"", "\"c1\"", "x", "\"{}\"", "completed"));
    assert_eq!(count_until_too_large(again), 1024, "events about items");
    assert_eq!(count_until_too_large(|_| r#"{"type":"response.in_progress"}"#.to_owned()), 100_000, "other events");
}
