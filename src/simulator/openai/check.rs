//! What every request to the model has to be, over a whole call.

use std::collections::HashMap;

use serde_json::Value;

use super::input::Item;

/// Members of a Responses request that may be there.
const MEMBERS: &[&str] = &[
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
    "prompt_cache_retention",
    "safety_identifier",
    "stream_options",
];

/// What was issued and seen so far.
#[derive(Debug, Default)]
pub struct Ledger {
    /// `instructions` and `tools`: the cached prefix.
    prefix: Option<(String, Value)>,
    /// How often the context was changed when the prefix was.
    contexts: usize,
    /// By `call_id`: what this side called.
    issued: HashMap<String, Issued>,
    previous: Vec<Item>,
}

/// A tool call of this side.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The tool.
    pub name: String,
    /// JSON text.
    pub arguments: String,
    /// The reasoning item that led to it.
    pub reasoning: Option<String>,
}

/// A request that could be read.
#[derive(Debug)]
pub struct Asked {
    /// `instructions`.
    pub instructions: String,
    /// `tools`, as they came.
    pub tools: Value,
    /// The names of the tools.
    pub names: Vec<String>,
    /// `input`.
    pub input: Vec<Item>,
    /// How many items the previous request began with in common.
    pub known: usize,
}

impl Ledger {
    /// Notes a call that was sent to the server.
    pub fn issue(&mut self, call_id: &str, issued: Issued) {
        self.issued.insert(call_id.to_owned(), issued);
    }

    /// Notes a call of the real model, unless it is known.
    pub fn issue_unknown(&mut self, call_id: &str, issued: Issued) {
        self.issued.entry(call_id.to_owned()).or_insert(issued);
    }

    /// What the server has told the model so far.
    pub fn previous_developer_texts(&self) -> Vec<String> {
        let texts = self.previous.iter().filter_map(|item| match item {
            Item::Developer(text) => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    /// The name of a call that was issued.
    pub fn name_of(&self, call_id: &str) -> Option<&str> {
        self.issued.get(call_id).map(|issued| issued.name.as_str())
    }

    /// Reads and checks a request. What is wrong is put into `wrong`; `None` if it cannot be answered at all.
    pub fn read(&mut self, body: &str, model: &str, wrong: &mut Vec<String>) -> Option<Asked> {
        let Ok(Value::Object(request)) = serde_json::from_str(body) else {
            wrong.push("the body is not a JSON object".to_owned());
            return None;
        };
        wrong.extend(
            request
                .keys()
                .filter(|name| !MEMBERS.contains(&name.as_str()))
                .map(|name| format!("unknown member {name}")),
        );
        for (name, value) in
            [("stream", Value::Bool(true)), ("store", Value::Bool(false)), ("model", Value::from(model))]
        {
            if request.get(name) != Some(&value) {
                wrong.push(format!("{name} is not {value}"));
            }
        }
        let instructions = request.get("instructions").and_then(Value::as_str).unwrap_or_default().to_owned();
        if instructions.is_empty() {
            wrong.push("instructions are missing".to_owned());
        }
        let tools = request.get("tools").cloned().unwrap_or(Value::Null);
        let names = tool_names(&tools, wrong);
        let Some(Value::Array(items)) = request.get("input") else {
            wrong.push("input is not a list".to_owned());
            return None;
        };
        let mut input = Vec::new();
        for item in items {
            match Item::read(item) {
                Ok(item) => input.push(item),
                Err(what) => wrong.push(what),
            }
        }
        self.check_prefix(&instructions, &tools, &input, wrong);
        self.check_calls(&input, wrong);
        self.check_reasoning(&input, wrong);
        let known = self.previous.iter().zip(&input).take_while(|(before, now)| before == now).count();
        self.previous.clone_from(&input);
        Some(Asked { instructions, tools, names, input, known })
    }

    /// Only a change of the context changes the prefix.
    fn check_prefix(&mut self, instructions: &str, tools: &Value, input: &[Item], wrong: &mut Vec<String>) {
        let is_change = |item: &&Item| matches!(item, Item::Call { name, .. } if name == "change-context");
        let contexts = input.iter().filter(is_change).count();
        let now = (instructions.to_owned(), tools.clone());
        let prefix = self.prefix.get_or_insert_with(|| now.clone());
        if *prefix == now {
            return;
        }
        if contexts == self.contexts {
            wrong.push("instructions or tools changed during the call: the prompt cache is lost".to_owned());
        }
        self.contexts = contexts;
        *prefix = now;
    }

    /// Every call has exactly one output behind it, every output its call, and every call is one that was issued.
    fn check_calls(&self, input: &[Item], wrong: &mut Vec<String>) {
        let mut waiting: Vec<&str> = Vec::new();
        for item in input {
            match item {
                Item::Call { call_id, name, arguments, .. } => {
                    match self.issued.get(call_id) {
                        Some(issued) if &issued.name == name && comes_back_as(&issued.arguments, arguments) => {}
                        Some(_) => wrong.push(format!("the call of {name} came back changed")),
                        None => wrong.push(format!("a call of {name} that was never made")),
                    }
                    waiting.push(call_id);
                }
                Item::Output { call_id, .. } => match waiting.iter().position(|id| id == call_id) {
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

    /// A reasoning item travels with what it led to, and the other way round.
    fn check_reasoning(&self, input: &[Item], wrong: &mut Vec<String>) {
        let mut reasoning: Option<&str> = None;
        for item in input {
            match item {
                Item::Reasoning { id, encrypted } => {
                    if reasoning.is_some() {
                        wrong.push("a reasoning item without what followed it".to_owned());
                    }
                    if !encrypted {
                        wrong.push("a reasoning item without its encrypted content".to_owned());
                    }
                    reasoning = Some(id);
                }
                Item::Call { call_id, id, .. } => {
                    let led = self.issued.get(call_id).and_then(|issued| issued.reasoning.as_deref());
                    if let (Some(led), Some(_)) = (led, id) {
                        let there = input.iter().any(|it| matches!(it, Item::Reasoning { id, .. } if id == led));
                        if !there {
                            wrong.push("a function call was provided without its required reasoning item".to_owned());
                        }
                    }
                    reasoning = None;
                }
                Item::Assistant(_) => reasoning = None,
                Item::Output { .. } | Item::User(_) | Item::Developer(_) => {
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

/// Arguments come back as they were issued; broken ones may come back as none, since JSON is what the API takes.
fn comes_back_as(issued: &str, sent: &str) -> bool {
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

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let issued = |reasoning: Option<&str>| Issued {
            name: "start-capture".to_owned(),
            arguments: "{}".to_owned(),
            reasoning: reasoning.map(str::to_owned),
        };
        ledger.issue("call_1", issued(None));
        ledger.issue("call_2", issued(Some("rs_1")));
        ledger
    }

    fn wrong(ledger: &mut Ledger, request: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        ledger.read(&request.to_string(), "m", &mut wrong);
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
    fn a_request_as_it_should_be_passes() {
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
    fn what_the_api_would_refuse_or_keep_is_found() {
        for (member, value) in
            [("stream", json!(false)), ("store", json!(true)), ("model", json!("n")), ("max_tokens", json!(1))]
        {
            let mut request = request(&json!([]));
            request[member] = value;
            assert_eq!(wrong(&mut ledger(), &request).len(), 1, "{member}");
        }
    }
}
