//! A response as the server-sent events of the Responses API: every event that the real one sends, in its order, with
//! sequence numbers, and the request's instructions and tools echoed.

use serde_json::{Value, json};

use super::agent::Reply;
use super::check::{Asked, Issued};

/// One event, and whether the model takes time before it.
#[derive(Debug)]
pub struct Timed {
    /// What comes before it.
    pub pause: Pause,
    /// `data:`.
    pub event: Value,
}

/// What comes before an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Nothing.
    None,
    /// The model begins.
    Thinking,
    /// One token.
    Token,
}

/// A response that is being written.
#[derive(Debug)]
pub struct Script {
    /// The events in order.
    pub events: Vec<Timed>,
    /// The calls that they make, by `call_id`.
    pub calls: Vec<(String, Issued)>,
}

/// Writes the response number `number` to what was asked.
pub fn script(asked: &Asked, reply: &Reply, model: &str, number: usize, reasons: bool) -> Script {
    let mut writer = Writer { asked, model, number, events: Vec::new(), output: Vec::new(), calls: Vec::new() };
    writer.event("response.created", json!({"response": writer.response("in_progress")}));
    writer.event("response.in_progress", json!({"response": writer.response("in_progress")}));
    writer.pause(Pause::Thinking);
    let reasoning = reasons.then(|| writer.reasoning());
    if !reply.say.is_empty() {
        writer.message(&reply.say);
    }
    for (name, arguments) in &reply.calls {
        writer.call(name, arguments, reasoning.as_deref());
    }
    writer.event("response.completed", json!({"response": writer.response("completed")}));
    Script { events: writer.events, calls: writer.calls }
}

/// The event that ends a response that failed.
pub fn failed(asked: &Asked, model: &str, number: usize, sequence: usize) -> Value {
    let writer = Writer { asked, model, number, events: Vec::new(), output: Vec::new(), calls: Vec::new() };
    let mut response = writer.response("failed");
    response["error"] = json!({"code": "server_error", "message": "The model failed to generate a response."});
    json!({"type": "response.failed", "sequence_number": sequence, "response": response})
}

struct Writer<'a> {
    asked: &'a Asked,
    model: &'a str,
    number: usize,
    events: Vec<Timed>,
    output: Vec<Value>,
    calls: Vec<(String, Issued)>,
}

impl Writer<'_> {
    fn event(&mut self, kind: &str, mut event: Value) {
        event["type"] = json!(kind);
        event["sequence_number"] = json!(self.events.len());
        self.events.push(Timed { pause: Pause::None, event });
    }

    /// Puts a pause before the last event.
    fn pause(&mut self, pause: Pause) {
        if let Some(last) = self.events.last_mut() {
            last.pause = pause;
        }
    }

    fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{:08x}{:04x}", self.number, self.output.len())
    }

    fn begin(&mut self, item: &Value) {
        let at = self.output.len();
        self.event("response.output_item.added", json!({"output_index": at, "item": item}));
    }

    fn done(&mut self, item: Value) {
        let at = self.output.len();
        self.event("response.output_item.done", json!({"output_index": at, "item": item}));
        self.output.push(item);
    }

    fn reasoning(&mut self) -> String {
        let id = self.id("rs");
        let item = json!({"id": id, "type": "reasoning", "summary": [], "encrypted_content": "gAAAAABsimulated=="});
        self.begin(&json!({"id": id, "type": "reasoning", "summary": []}));
        self.done(item);
        id
    }

    fn message(&mut self, text: &str) {
        let (id, at) = (self.id("msg"), self.output.len());
        let part = |text: &str| json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
        let of = |mut more: Value| {
            more["item_id"] = json!(id);
            more["output_index"] = json!(at);
            more["content_index"] = json!(0);
            more
        };
        self.begin(&json!({"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []}));
        self.event("response.content_part.added", of(json!({"part": part("")})));
        for token in tokens(text) {
            self.event("response.output_text.delta", of(json!({"delta": token, "logprobs": []})));
            self.pause(Pause::Token);
        }
        self.event("response.output_text.done", of(json!({"text": text, "logprobs": []})));
        self.event("response.content_part.done", of(json!({"part": part(text)})));
        self.done(json!({
            "id": id, "type": "message", "status": "completed", "role": "assistant", "content": [part(text)],
        }));
    }

    fn call(&mut self, name: &str, arguments: &str, reasoning: Option<&str>) {
        let (id, call_id, at) = (self.id("fc"), self.id("call"), self.output.len());
        let item = |status: &str, arguments: &str| {
            json!({
                "id": id, "type": "function_call", "status": status, "call_id": call_id, "name": name,
                "arguments": arguments,
            })
        };
        self.begin(&item("in_progress", ""));
        for delta in tokens(arguments) {
            let delta = json!({"item_id": id, "output_index": at, "delta": delta});
            self.event("response.function_call_arguments.delta", delta);
            self.pause(Pause::Token);
        }
        let whole = json!({"item_id": id, "output_index": at, "arguments": arguments});
        self.event("response.function_call_arguments.done", whole);
        self.done(item("completed", arguments));
        let issued =
            Issued { name: name.to_owned(), arguments: arguments.to_owned(), reasoning: reasoning.map(str::to_owned) };
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
        // Only a prefix of at least 1,024 tokens that was sent before is cached.
        let cached = if self.asked.known > 0 && prefix >= 1024 { prefix / 128 * 128 } else { 0 };
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

/// A text in pieces as a model would stream it: words with the space before them.
fn tokens(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text.match_indices(' ').map(|(at, _)| at).filter(|at| *at > 0).collect();
    starts.insert(0, 0);
    starts.push(text.len());
    starts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { instructions: "Be kind.".to_owned(), tools: json!([]), names: Vec::new(), input: Vec::new(), known: 0 }
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
        let written = script(&asked(), &Reply { say: "Good bye.".to_owned(), calls }, "m", 1, true);
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
