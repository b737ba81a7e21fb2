//! A model server whose streams are random mutations of true ones: no word is said twice, no tool runs twice, and the
//! caller is never left in silence.
//!
//! `PROPTEST_CASES` sets the number of calls.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::harness::TestCall;
use super::*;
use crate::llm::read_body;

/// The number of responses for which the server has a stream. Later requests fail.
const STREAMS: usize = 3;

/// A change of a stream.
#[derive(Debug, Clone, Copy)]
enum Mutation {
    /// Removes a line.
    DropLine(usize),
    /// Repeats a line or an event at another place.
    RepeatLine(usize, usize),
    RepeatEvent(usize, usize),
    SwapEvents(usize, usize),
    /// Removes the lines from one to another.
    Cut(usize, usize),
    /// Ends the stream.
    Truncate(usize),
    /// Replaces a byte.
    Replace(usize, u8),
    /// Inserts a byte order mark, a comment, an end of line or the end mark before a line.
    Insert(usize, usize),
    /// Makes all ends of lines CR LF.
    CarriageReturns,
}

const INSERTIONS: [&str; 6] = ["\u{feff}", ": comment\n", "\n", "\r", "data: [DONE]\n\n", "data: {}\n\n"];

/// The mutations of a call: events that come more than once or in another order, lines that are lost, or bytes that are
/// damaged. Not all at once: a repeated delta that is damaged is a new word to any reader.
fn mutations() -> impl Strategy<Value = Vec<(usize, Mutation)>> {
    let at = || 0_usize..4096;
    let anything = || {
        prop_oneof![
            at().prop_map(Mutation::Truncate),
            (at(), 0..INSERTIONS.len()).prop_map(|(at, what)| Mutation::Insert(at, what)),
            Just(Mutation::CarriageReturns),
        ]
    };
    let repeats = prop_oneof![
        (at(), at()).prop_map(|(from, to)| Mutation::RepeatLine(from, to)),
        (at(), at()).prop_map(|(from, to)| Mutation::RepeatEvent(from, to)),
        (at(), at()).prop_map(|(one, other)| Mutation::SwapEvents(one, other)),
        anything(),
    ];
    let losses = prop_oneof![
        (at(), at()).prop_map(|(from, to)| Mutation::Cut(from, to)),
        at().prop_map(Mutation::DropLine),
        anything(),
    ];
    let damage = prop_oneof![(at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)), anything()];
    prop_oneof![
        proptest::collection::vec((0..STREAMS, repeats), 1..8),
        proptest::collection::vec((0..STREAMS, losses), 1..8),
        proptest::collection::vec((0..STREAMS, damage), 1..8),
    ]
}

impl Mutation {
    fn apply(self, stream: &mut Vec<u8>) {
        let place = |at: usize, length: usize| if length == 0 { 0 } else { at % length };
        let length = stream.len();
        match self {
            Self::DropLine(at) => change_parts(stream, b"\n", |lines| drop(lines.remove(place(at, lines.len())))),
            Self::RepeatLine(from, to) => repeat_part(stream, b"\n", from, to),
            Self::RepeatEvent(from, to) => repeat_part(stream, b"\n\n", from, to),
            Self::SwapEvents(one, other) => change_parts(stream, b"\n\n", |events| {
                let (one, other) = (place(one, events.len()), place(other, events.len()));
                events.swap(one, other);
            }),
            Self::Cut(from, to) => change_parts(stream, b"\n", |lines| {
                let (from, to) = (place(from, lines.len()), place(to, lines.len()));
                lines.drain(from.min(to)..from.max(to));
            }),
            Self::Truncate(at) => stream.truncate(place(at, length)),
            Self::Replace(at, byte) => {
                if let Some(replaced) = stream.get_mut(place(at, length)) {
                    *replaced = byte;
                }
            }
            Self::Insert(at, what) => {
                let at = place(at, length);
                let at = stream[at..].iter().position(|byte| *byte == b'\n').map_or(0, |line| at + line + 1);
                stream.splice(at..at, INSERTIONS[what].bytes());
            }
            Self::CarriageReturns => {
                *stream = stream
                    .iter()
                    .flat_map(|byte| if *byte == b'\n' { &b"\r\n"[..] } else { std::slice::from_ref(byte) })
                    .copied()
                    .collect();
            }
        }
    }
}

/// Changes the parts of a stream between these separators.
fn change_parts(stream: &mut Vec<u8>, separator: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = stream.as_slice();
    while let Some(first) = rest.first() {
        if let Some(after) = rest.strip_prefix(separator) {
            parts.push(Vec::new());
            rest = after;
        } else {
            parts.last_mut().expect("there is one").push(*first);
            rest = &rest[1..];
        }
    }
    change(&mut parts);
    *stream = parts.join(separator);
}

fn repeat_part(stream: &mut Vec<u8>, separator: &[u8], from: usize, to: usize) {
    change_parts(stream, separator, |parts| {
        let part = parts[from % parts.len()].clone();
        parts.insert(to % parts.len(), part);
    });
}

/// The words of a response, which occur nowhere else, also if a byte of another one is damaged.
fn words(response: usize) -> [&'static str; 3] {
    [["alpha", "bravo", "charlie"], ["delta", "echo", "foxtrot"], ["golf", "hotel", "india"]][response]
}

/// The text message that a response sends.
fn sms(response: usize) -> &'static str {
    ["juliett", "kilo", "lima"][response]
}

/// A true stream: words, and a text message in all responses but the last.
fn true_stream(response: usize) -> Vec<u8> {
    let [one, two, three] = words(response);
    let sms = sms(response);
    let (message, id) = (format!("m{response}"), format!("f{response}"));
    let item = format!(
        r#"{{"id":"{message}","type":"message","status":"completed","role":"assistant","content":[{{"type":"output_text","text":"{one} {two} {three}"}}]}}"#
    );
    let arguments = format!(r#"{{\"message\":\"{sms}\"}}"#);
    let call = format!(
        r#"{{"id":"{id}","type":"function_call","status":"completed","call_id":"call_{response}","name":"send-sms","arguments":"{arguments}"}}"#
    );
    let delta = |text: &str| {
        format!(
            r#""type":"response.output_text.delta","item_id":"{message}","output_index":0,"content_index":0,"delta":"{text}""#
        )
    };
    let mut events = vec![
        r#""type":"response.created","response":{"id":"resp","status":"in_progress","output":[]}"#.to_owned(),
        format!(
            r#""type":"response.output_item.added","output_index":0,"item":{{"id":"{message}","type":"message","status":"in_progress","role":"assistant","content":[]}}"#
        ),
        delta(&format!("{one} ")),
        delta(&format!("{two} ")),
        delta(three),
        format!(
            r#""type":"response.output_text.done","item_id":"{message}","output_index":0,"content_index":0,"text":"{one} {two} {three}""#
        ),
        format!(r#""type":"response.output_item.done","output_index":0,"item":{item}"#),
    ];
    let has_call = response + 1 < STREAMS;
    if has_call {
        events.extend([
            format!(r#""type":"response.output_item.added","output_index":1,"item":{{"id":"{id}","type":"function_call","status":"in_progress","call_id":"call_{response}","name":"send-sms","arguments":""}}"#),
            format!(r#""type":"response.function_call_arguments.delta","item_id":"{id}","output_index":1,"delta":"{arguments}""#),
            format!(r#""type":"response.function_call_arguments.done","item_id":"{id}","output_index":1,"arguments":"{arguments}""#),
            format!(r#""type":"response.output_item.done","output_index":1,"item":{call}"#),
        ]);
    }
    let output = if has_call { format!("{item},{call}") } else { item };
    events.push(format!(r#""type":"response.completed","response":{{"id":"resp","status":"completed","output":[{output}],"usage":{{"input_tokens":3}}}}"#));
    let mut stream = String::new();
    for (number, event) in events.iter().enumerate() {
        let _ = write!(stream, "data: {{\"sequence_number\":{number},{event}}}\n\n");
    }
    stream.into_bytes()
}

/// Lets the call ask and answers with these streams, until it asks no more. Text messages are sent.
fn answer_with(call: &mut TestCall, streams: &[Vec<u8>], chunk: usize) -> Vec<String> {
    let (mut streams, mut sent) = (streams.iter(), Vec::new());
    loop {
        let Some(request) = call.pending_request else { return sent };
        let events = match streams.next() {
            Some(stream) => read_body(request, stream.chunks(chunk)),
            None => vec![ModelEvent::Failed],
        };
        for event in events {
            call.feed(CallEvent::Model { request, event });
        }
        while let Some((_, tool)) = call.running_tools.last() {
            if let Tool::SendSms { body, .. } = tool {
                sent.push(body.reveal().clone());
            }
            call.tool_answers(ToolOutcome::Sms(Ok(())));
        }
    }
}

#[test]
fn the_true_streams_are_heard_whole() {
    let mut call = TestCall::start();
    let from = call.caller_says("Hello");
    let streams: Vec<_> = (0..STREAMS).map(true_stream).collect();
    assert_eq!(answer_with(&mut call, &streams, 7), [sms(0), sms(1)]);
    for word in (0..STREAMS).flat_map(words) {
        assert_eq!(call.said_since(from).matches(word).count(), 1, "{word}");
    }
}

/// Answers with streams that are changed like this, and checks what is said and done.
fn check(mutations: &[(usize, Mutation)], chunk: usize) {
    let mut streams: Vec<_> = (0..STREAMS).map(true_stream).collect();
    for (stream, mutation) in mutations {
        mutation.apply(&mut streams[*stream]);
    }
    let mut call = TestCall::start();
    let from = call.caller_says("Hello");
    let sent = answer_with(&mut call, &streams, chunk);
    let said = call.said_since(from);
    for word in (0..STREAMS).flat_map(words) {
        assert!(said.matches(word).count() <= 1, "{word}: {said}");
    }
    for response in 0..STREAMS {
        let message = sms(response);
        assert!(sent.iter().filter(|sent| sent.as_str() == message).count() <= 1, "{sent:?}");
    }
    assert!(!said.is_empty(), "the caller hears nothing");
}

/// Two deltas are lost, and the snapshot has the message under another id: only `done` events tell that it is the same.
#[test]
fn a_message_of_which_deltas_were_lost_is_known_under_another_id() {
    let lost =
        [Mutation::Replace(287, 0), Mutation::Replace(2598, 0), Mutation::Insert(0, 2), Mutation::Replace(4026, 32)];
    check(&lost.map(|mutation| (1, mutation)), 1);
}

proptest! {
    #[test]
    fn whatever_becomes_of_a_stream_nothing_is_said_or_done_twice(
        mutations in mutations(),
        chunk in prop_oneof![1_usize..4, 16_usize..2000, 16_usize..2000, 16_usize..2000],
    ) {
        check(&mutations, chunk);
    }
}
