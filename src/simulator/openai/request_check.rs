//! Checks every request to the model over a whole call.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::input::ModelInputItem;

/// The members that a Responses request may have.
const REQUEST_MEMBERS: &[&str] = &[
    "model",
    "instructions",
    "tools",
    "input",
    "stream",
    "store",
    "include",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "reasoning",
    "text",
    "truncation",
    "metadata",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "stream_options",
];

/// The tool calls and input so far.
#[derive(Debug, Default)]
pub(crate) struct RequestChecker {
    /// `instructions` and `tools`: the prefix that prompt caching relies on.
    prefix: Option<(String, Value)>,
    /// The number of `change-context` calls when the prefix last changed.
    context_changes: usize,
    /// The tool calls of the model, by `call_id`.
    issued_calls: HashMap<String, IssuedCall>,
    previous: Vec<ModelInputItem>,
}

/// A tool call of the model.
#[derive(Debug, Clone)]
pub(crate) struct IssuedCall {
    /// The tool.
    pub name: String,
    /// JSON text.
    pub arguments: String,
    /// The reasoning item that led to it.
    pub reasoning: Option<String>,
}

/// A parsed request.
#[derive(Debug)]
pub(crate) struct ResponsesRequest {
    /// `model`.
    pub model: String,
    /// `instructions`.
    pub instructions: String,
    /// `tools`, as they came.
    pub tools: Value,
    /// The names of the tools.
    pub tool_names: Vec<String>,
    /// `input`.
    pub input: Vec<ModelInputItem>,
    /// The number of leading items that equal those of the previous request.
    pub common_prefix_len: usize,
}

impl RequestChecker {
    /// Records a tool call that was sent to the server.
    pub(crate) fn record_call(&mut self, call_id: &str, issued: IssuedCall) {
        self.issued_calls.insert(call_id.to_owned(), issued);
    }

    /// Records a tool call of the real model, unless it is known.
    pub(crate) fn record_call_if_new(&mut self, call_id: &str, issued: IssuedCall) {
        self.issued_calls.entry(call_id.to_owned()).or_insert(issued);
    }

    /// The developer messages of the previous request.
    pub(crate) fn previous_developer_texts(&self) -> Vec<String> {
        let texts = self.previous.iter().filter_map(|item| match item {
            ModelInputItem::Developer(text) => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// The name of the tool of a recorded call.
    pub(crate) fn tool_of(&self, call_id: &str) -> Option<&str> {
        self.issued_calls.get(call_id).map(|issued| issued.name.as_str())
    }

    /// Parses and checks a request. Violations are added to `wrong`; `None` if the request cannot be answered.
    pub(crate) fn check_request(
        &mut self,
        body: &str,
        model: &str,
        wrong: &mut Vec<String>,
    ) -> Option<ResponsesRequest> {
        let mut request = ResponsesRequest::parse(body, wrong)?;
        if request.model != model {
            wrong.push(format!("model is not {model:?}"));
        }
        self.check_prefix(&request.instructions, &request.tools, &request.input, wrong);
        self.check_calls(&request.input, wrong);
        self.check_reasoning(&request.input, wrong);
        let known = self.previous.iter().zip(&request.input).take_while(|(before, now)| before == now);
        request.common_prefix_len = known.count();
        self.previous.clone_from(&request.input);
        Some(request)
    }

    /// Checks that the prefix changes only after `change-context`.
    fn check_prefix(&mut self, instructions: &str, tools: &Value, input: &[ModelInputItem], wrong: &mut Vec<String>) {
        let is_change =
            |item: &&ModelInputItem| matches!(item, ModelInputItem::Call { name, .. } if name == "change-context");
        let contexts = input.iter().filter(is_change).count();
        let now = (instructions.to_owned(), tools.clone());
        let prefix = self.prefix.get_or_insert_with(|| now.clone());
        if *prefix == now {
            return;
        }
        if contexts == self.context_changes {
            wrong.push("instructions or tools changed during the call: the prompt cache is lost".to_owned());
        }
        self.context_changes = contexts;
        *prefix = now;
    }

    /// Checks that every tool call has exactly one output after it, every output has its call, and every call was made
    /// by the model.
    fn check_calls(&self, input: &[ModelInputItem], wrong: &mut Vec<String>) {
        let mut waiting: Vec<&str> = Vec::new();
        for item in input {
            match item {
                ModelInputItem::Call { call_id, name, arguments, .. } => {
                    match self.issued_calls.get(call_id) {
                        Some(issued) if &issued.name == name && is_same_arguments(&issued.arguments, arguments) => {}
                        Some(_) => wrong.push(format!("the call of {name} came back changed")),
                        None => wrong.push(format!("a call of {name} that was never made")),
                    }
                    waiting.push(call_id);
                }
                ModelInputItem::Output { call_id, .. } => match waiting.iter().position(|id| id == call_id) {
                    Some(at) => drop(waiting.remove(at)),
                    None => wrong.push("a tool output without its call, or a second one".to_owned()),
                },
                _ => {}
            }
        }
        if !waiting.is_empty() {
            wrong.push(format!("no tool output found for {} function calls", waiting.len()));
        }
    }

    /// Checks that a reasoning item comes with the item that followed it, and the other way round.
    fn check_reasoning(&self, input: &[ModelInputItem], wrong: &mut Vec<String>) {
        let mut reasoning: Option<&str> = None;
        for item in input {
            match item {
                ModelInputItem::Reasoning { id, encrypted } => {
                    if reasoning.is_some() {
                        wrong.push("a reasoning item without what followed it".to_owned());
                    }
                    if !encrypted {
                        wrong.push("a reasoning item without its encrypted content".to_owned());
                    }
                    reasoning = Some(id);
                }
                ModelInputItem::Call { call_id, id, .. } => {
                    let led = self.issued_calls.get(call_id).and_then(|issued| issued.reasoning.as_deref());
                    if let (Some(led), Some(_)) = (led, id) {
                        let there =
                            input.iter().any(|it| matches!(it, ModelInputItem::Reasoning { id, .. } if id == led));
                        if !there {
                            wrong.push("a function call was provided without its required reasoning item".to_owned());
                        }
                    }
                    reasoning = None;
                }
                ModelInputItem::Assistant(_) => reasoning = None,
                ModelInputItem::Output { .. } | ModelInputItem::User(_) | ModelInputItem::Developer(_) => {
                    if reasoning.take().is_some() {
                        wrong.push("a reasoning item without its required following item".to_owned());
                    }
                }
            }
        }
        if reasoning.is_some() {
            wrong.push("a reasoning item without its required following item".to_owned());
        }
    }
}

impl ResponsesRequest {
    /// Whether the output of a tool is newer than anything that the caller has said.
    pub(crate) fn ends_with_output(&self) -> bool {
        let newest = self
            .input
            .iter()
            .rev()
            .find(|item| matches!(item, ModelInputItem::Output { .. } | ModelInputItem::User(_)));
        matches!(newest, Some(ModelInputItem::Output { .. }))
    }

    /// Parses a request. Violations are added to `wrong`; `None` if the request cannot be answered.
    pub(crate) fn parse(body: &str, wrong: &mut Vec<String>) -> Option<Self> {
        let Ok(Value::Object(request)) = serde_json::from_str(body) else {
            wrong.push("the body is not a JSON object".to_owned());
            return None;
        };
        wrong.extend(
            request
                .keys()
                .filter(|name| !REQUEST_MEMBERS.contains(&name.as_str()))
                .map(|name| format!("unknown member {name}")),
        );
        for (name, value) in [("stream", true), ("store", false)] {
            if request.get(name) != Some(&Value::Bool(value)) {
                wrong.push(format!("{name} is not {value}"));
            }
        }
        check_optional_members(&request, wrong);
        let text = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (model, instructions) = (text("model"), text("instructions"));
        if instructions.is_empty() {
            wrong.push("instructions are missing".to_owned());
        }
        let tools = request.get("tools").cloned().unwrap_or(Value::Null);
        let tool_names = tool_names(&tools, wrong);
        let Some(Value::Array(items)) = request.get("input") else {
            wrong.push("input is not a list".to_owned());
            return None;
        };
        let mut input = Vec::new();
        for item in items {
            match ModelInputItem::parse(item) {
                Ok(item) => input.push(item),
                Err(what) => wrong.push(what),
            }
        }
        Some(Self { model, instructions, tools, tool_names, input, common_prefix_len: 0 })
    }
}

/// Checks the values of members that not every model takes, as OpenAI does.
fn check_optional_members(request: &Map<String, Value>, wrong: &mut Vec<String>) {
    let is_word = |value: &Value, words: &[&str]| value.as_str().is_some_and(|word| words.contains(&word));
    let is_short =
        |value: &Value, most: usize| value.as_str().is_some_and(|text| !text.is_empty() && text.len() <= most);
    let mut check = |path: &str, is_valid: &dyn Fn(&Value) -> bool| {
        let mut names = path.split('.');
        let value = names.next().and_then(|name| request.get(name));
        let value = names.fold(value, |value, name| value.map(|value| value.get(name).unwrap_or(&Value::Null)));
        if value.is_some_and(|value| !is_valid(value)) {
            wrong.push(format!("the value of {path} is not valid"));
        }
    };
    check("reasoning.effort", &|value| is_word(value, &["none", "minimal", "low", "medium", "high", "xhigh", "max"]));
    check("text.verbosity", &|value| is_word(value, &["low", "medium", "high"]));
    check("service_tier", &|value| {
        is_word(value, &["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"])
    });
    check("max_output_tokens", &|value| value.as_u64().is_some_and(|tokens| tokens >= 16));
    check("stream_options.include_obfuscation", &Value::is_boolean);
    check("prompt_cache_key", &|value| is_short(value, 64));
    check("prompt_cache_options.prewarm", &Value::is_boolean);
    // An identifier contains no telephone number.
    check("safety_identifier", &|value| is_short(value, 128) && !value.to_string().contains('+'));
}

fn tool_names(tools: &Value, wrong: &mut Vec<String>) -> Vec<String> {
    let mut names = Vec::new();
    for tool in tools.as_array().into_iter().flatten() {
        let is = |name: &str| tool.get(name).and_then(Value::as_str);
        match (is("type"), is("name")) {
            (Some("function"), Some(name)) if tool.get("parameters").is_some_and(Value::is_object) => {
                names.push(name.to_owned());
            }
            _ => wrong.push("a tool is not a function with a name and parameters".to_owned()),
        }
    }
    names
}

/// Whether arguments came back unchanged. Invalid JSON may come back as `{}`, since the API takes JSON only.
fn is_same_arguments(issued: &str, sent: &str) -> bool {
    sent == issued || (sent == "{}" && serde_json::from_str::<Value>(issued).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(input: &Value) -> Value {
        json!({
            "model": "m", "stream": true, "store": false, "instructions": "Be kind.",
            "tools": [{"type": "function", "name": "start-capture", "parameters": {"type": "object"}}],
            "input": input,
        })
    }

    fn ledger() -> RequestChecker {
        let mut ledger = RequestChecker::default();
        let issued = |reasoning: Option<&str>| IssuedCall {
            name: "start-capture".to_owned(),
            arguments: "{}".to_owned(),
            reasoning: reasoning.map(str::to_owned),
        };
        ledger.record_call("call_1", issued(None));
        ledger.record_call("call_2", issued(Some("rs_1")));
        ledger
    }

    fn wrong(ledger: &mut RequestChecker, request: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        ledger.check_request(&request.to_string(), "m", &mut wrong);
        wrong
    }

    fn call(id: &str, item: Option<&str>) -> Value {
        let mut call = json!({"type": "function_call", "call_id": id, "name": "start-capture", "arguments": "{}"});
        if let Some(item) = item {
            call["id"] = json!(item);
        }
        call
    }

    fn output(id: &str) -> Value {
        json!({"type": "function_call_output", "call_id": id, "output": "{}"})
    }

    #[test]
    fn a_correct_request_passes() {
        let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"});
        let input = json!([
            {"role": "developer", "content": "details"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            call("call_1", None), output("call_1"),
            reasoning, call("call_2", Some("fc_1")), output("call_2"),
            {"role": "assistant", "content": "Done."},
        ]);
        assert_eq!(wrong(&mut ledger(), &request(&input)), Vec::<String>::new());
    }

    #[test]
    fn an_unanswered_an_invented_and_a_doubly_answered_call_are_found() {
        for input in [
            json!([call("call_1", None)]),
            json!([output("call_1")]),
            json!([call("call_1", None), output("call_1"), output("call_1")]),
            json!([call("call_9", None), output("call_9")]),
            json!([output("call_1"), call("call_1", None)]),
            json!([call("call_2", Some("fc_1")), output("call_2")]),
            json!([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}]),
            json!([{"role": "user", "content": ""}]),
            json!([{"role": "tool", "content": "x"}]),
        ] {
            assert!(!wrong(&mut ledger(), &request(&input)).is_empty(), "{input}");
        }
    }

    #[test]
    fn the_prefix_is_the_same_over_the_whole_call() {
        let mut ledger = ledger();
        let mut request = request(&json!([]));
        assert!(wrong(&mut ledger, &request).is_empty());
        request["instructions"] = json!("Be brief.");
        assert_eq!(wrong(&mut ledger, &request).len(), 1);
    }

    #[test]
    fn the_values_of_optional_members_are_checked() {
        for (member, valid, invalid) in [
            ("reasoning", json!({"effort": "none"}), json!({"effort": "some"})),
            ("text", json!({"verbosity": "low"}), json!({})),
            ("service_tier", json!("fast"), json!("slow")),
            ("max_output_tokens", json!(400), json!(15)),
            ("stream_options", json!({"include_obfuscation": false}), json!({"include_obfuscation": "no"})),
            ("prompt_cache_key", json!("d8f9"), json!("")),
            ("prompt_cache_options", json!({"prewarm": true}), json!({"prewarm": 1})),
            ("safety_identifier", json!("b99f"), json!("+15550001111")),
        ] {
            let mut request = request(&json!([]));
            request[member] = valid;
            assert_eq!(wrong(&mut ledger(), &request), Vec::<String>::new(), "{member}");
            request[member] = invalid;
            assert_eq!(wrong(&mut ledger(), &request).len(), 1, "{member}");
        }
    }

    #[test]
    fn members_that_the_api_refuses_or_stores_are_found() {
        for (member, value) in
            [("stream", json!(false)), ("store", json!(true)), ("model", json!("n")), ("max_tokens", json!(1))]
        {
            let mut request = request(&json!([]));
            request[member] = value;
            assert_eq!(wrong(&mut ledger(), &request).len(), 1, "{member}");
        }
    }
}
