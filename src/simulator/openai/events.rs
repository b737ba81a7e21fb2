//! Builds a response as the server-sent events of the Responses API: every event that the real one sends, in its order,
//! with sequence numbers, instructions and tools.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::agent::ScriptedReply;
use super::request_check::{IssuedCall, ResponsesRequest};

/// An event and the pause before it.
#[derive(Debug)]
pub(crate) struct TimedEvent {
    /// The pause before it.
    pub pause: Pause,
    /// `data:`.
    pub event: Value,
}

/// The pause before an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// No pause.
    None,
    /// The time to the first token.
    Thinking,
    /// The time of one token.
    Token,
}

/// The events and tool calls of a response.
#[derive(Debug)]
pub(crate) struct ResponseScript {
    /// The events in order.
    pub events: Vec<TimedEvent>,
    /// The tool calls, by `call_id`.
    pub calls: Vec<(String, IssuedCall)>,
}

/// Builds the response with this number to a request.
pub(crate) fn write_response(
    asked: &ResponsesRequest,
    reply: &ScriptedReply,
    model: &str,
    number: usize,
    reasons: bool,
) -> ResponseScript {
    let tokens = if reply.text.is_empty() { Vec::new() } else { tokens(&reply.text) };
    write_tokens(asked, &tokens, &reply.calls, model, number, reasons)
}

/// Builds the response with this number, which says these tokens and calls these tools: name and arguments.
pub(crate) fn write_tokens<T: AsRef<str>>(
    asked: &ResponsesRequest,
    tokens: &[T],
    calls: &[(String, String)],
    model: &str,
    number: usize,
    reasons: bool,
) -> ResponseScript {
    let mut writer = ResponseWriter { asked, model, number, events: Vec::new(), output: Vec::new(), calls: Vec::new() };
    writer.push_event("response.created", json!({"response": writer.response("in_progress")}));
    writer.push_event("response.in_progress", json!({"response": writer.response("in_progress")}));
    writer.pause_before_last(Pause::Thinking);
    let reasoning = reasons.then(|| writer.push_reasoning());
    if !tokens.is_empty() {
        writer.push_message(tokens);
    }
    for (name, arguments) in calls {
        writer.push_call(name, arguments, reasoning.as_deref());
    }
    writer.push_event("response.completed", json!({"response": writer.response("completed")}));
    ResponseScript { events: writer.events, calls: writer.calls }
}

/// Formats an event as a server-sent event.
pub(crate) fn to_server_sent(event: &Value) -> Bytes {
    Bytes::from(format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
}

/// Builds the `response.failed` event.
pub(crate) fn failed_event(asked: &ResponsesRequest, model: &str, number: usize, sequence: usize) -> Value {
    let writer = ResponseWriter { asked, model, number, events: Vec::new(), output: Vec::new(), calls: Vec::new() };
    let mut response = writer.response("failed");
    response["error"] = json!({"code": "server_error", "message": "The model failed to generate a response."});
    json!({"type": "response.failed", "sequence_number": sequence, "response": response})
}

struct ResponseWriter<'a> {
    asked: &'a ResponsesRequest,
    model: &'a str,
    number: usize,
    events: Vec<TimedEvent>,
    output: Vec<Value>,
    calls: Vec<(String, IssuedCall)>,
}

impl ResponseWriter<'_> {
    fn push_event(&mut self, kind: &str, mut event: Value) {
        event["type"] = json!(kind);
        event["sequence_number"] = json!(self.events.len());
        self.events.push(TimedEvent { pause: Pause::None, event });
    }

    /// Sets the pause before the last event.
    fn pause_before_last(&mut self, pause: Pause) {
        if let Some(last) = self.events.last_mut() {
            last.pause = pause;
        }
    }

    fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{:08x}{:04x}", self.number, self.output.len())
    }

    fn begin_item(&mut self, item: &Value) {
        let at = self.output.len();
        self.push_event("response.output_item.added", json!({"output_index": at, "item": item}));
    }

    fn finish_item(&mut self, item: Value) {
        let at = self.output.len();
        self.push_event("response.output_item.done", json!({"output_index": at, "item": item}));
        self.output.push(item);
    }

    fn push_reasoning(&mut self) -> String {
        let id = self.id("rs");
        let item = json!({"id": id, "type": "reasoning", "summary": [], "encrypted_content": "gAAAAABsimulated=="});
        self.begin_item(&json!({"id": id, "type": "reasoning", "summary": []}));
        self.finish_item(item);
        id
    }

    fn push_message<T: AsRef<str>>(&mut self, tokens: &[T]) {
        let text: String = tokens.iter().map(AsRef::as_ref).collect();
        let (id, at) = (self.id("msg"), self.output.len());
        let part = |text: &str| json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
        let of = |mut more: Value| {
            more["item_id"] = json!(id);
            more["output_index"] = json!(at);
            more["content_index"] = json!(0);
            more
        };
        self.begin_item(
            &json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}),
        );
        self.push_event("response.content_part.added", of(json!({"part": part("")})));
        for token in tokens {
            self.push_event("response.output_text.delta", of(json!({"delta": token.as_ref(), "logprobs": []})));
            self.pause_before_last(Pause::Token);
        }
        self.push_event("response.output_text.done", of(json!({"text": text, "logprobs": []})));
        self.push_event("response.content_part.done", of(json!({"part": part(&text)})));
        self.finish_item(json!({
            "id": id, "type": "message", "status": "completed", "role": "assistant", "content": [part(&text)],
        }));
    }

    fn push_call(&mut self, name: &str, arguments: &str, reasoning: Option<&str>) {
        let (id, call_id, at) = (self.id("fc"), self.id("call"), self.output.len());
        let item = |status: &str, arguments: &str| {
            json!({
                "id": id, "type": "function_call", "status": status, "call_id": call_id, "name": name,
                "arguments": arguments,
            })
        };
        self.begin_item(&item("in_progress", ""));
        for delta in tokens(arguments) {
            let delta = json!({"item_id": id, "output_index": at, "delta": delta});
            self.push_event("response.function_call_arguments.delta", delta);
            self.pause_before_last(Pause::Token);
        }
        let whole = json!({"item_id": id, "output_index": at, "arguments": arguments});
        self.push_event("response.function_call_arguments.done", whole);
        self.finish_item(item("completed", arguments));
        let issued = IssuedCall {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            reasoning: reasoning.map(str::to_owned),
        };
        self.calls.push((call_id, issued));
    }

    fn response(&self, status: &str) -> Value {
        let mut response = json!({
            "id": format!("resp_{:032x}", self.number),
            "object": "response",
            "created_at": 1_788_084_000,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": self.asked.instructions,
            "max_output_tokens": null,
            "max_tool_calls": null,
            "model": self.model,
            "output": self.output,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "prompt_cache_key": null,
            "reasoning": {"effort": null, "summary": null},
            "safety_identifier": null,
            "service_tier": if status == "completed" { "default" } else { "auto" },
            "store": false,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": "auto",
            "tools": self.asked.tools,
            "top_logprobs": 0,
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": null,
            "user": null,
            "metadata": {},
        });
        if status == "completed" {
            response["usage"] = self.usage();
        }
        response
    }

    fn usage(&self) -> Value {
        let prefix = (self.asked.instructions.len() + self.asked.tools.to_string().len()) / 4;
        let input = prefix + self.asked.input.len() * 24;
        // OpenAI caches a repeated prefix of at least 1,024 tokens.
        let cached = if self.asked.common_prefix_len > 0 && prefix >= 1024 { prefix / 128 * 128 } else { 0 };
        let output = self.events.len();
        json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input + output,
        })
    }
}

/// Splits a text into tokens: words with the space before them.
fn tokens(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).filter(|at| *at > 0).collect();
    starts.insert(0, 0);
    starts.push(text.len());
    starts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> ResponsesRequest {
        ResponsesRequest {
            model: "m".to_owned(),
            instructions: "Be kind.".to_owned(),
            tools: json!([]),
            tool_names: Vec::new(),
            input: Vec::new(),
            common_prefix_len: 0,
        }
    }

    #[test]
    fn tokens_join_to_the_text() {
        for text in ["Got your card.", "", "one", "{\"a\": 1}"] {
            assert_eq!(tokens(text).concat(), text);
        }
    }

    #[test]
    fn events_are_numbered_and_end_with_the_whole_response() {
        let calls = vec![("end-call".to_owned(), "{}".to_owned())];
        let written = write_response(&asked(), &ScriptedReply { text: "Good bye.".to_owned(), calls }, "m", 1, true);
        let numbers: Vec<_> = written.events.iter().map(|it| it.event["sequence_number"].as_u64()).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).map(Some).collect::<Vec<_>>());
        let last = &written.events.last().unwrap().event;
        assert_eq!(last["type"], "response.completed");
        assert_eq!(last["response"]["instructions"], "Be kind.");
        let kinds: Vec<_> =
            last["response"]["output"].as_array().unwrap().iter().map(|it| it["type"].clone()).collect();
        assert_eq!(kinds, ["reasoning", "message", "function_call"]);
        assert_eq!(written.calls[0].1.reasoning.as_deref(), Some("rs_000000010000"));
    }
}
