//! The tools of servers in `ToolServers`, which list them by the Model Context Protocol.

use std::time::Duration;

use axum::Router;
use crelay_payments::simulator::{LocalServer, ModelReply, QueuedOpenAi, ScriptedToolServer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::SECRET;
use crate::server::Server;

const TIMEOUT: Duration = Duration::from_secs(20);

fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("The tool {name}."), "inputSchema": {"type": "object"}})
}

fn text_result(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

/// A server with tools of the business, and its assets.
struct Harness {
    server: Server,
    openai: QueuedOpenAi,
    assets: TempDir,
    calls: u32,
}

impl Harness {
    async fn start(tool_servers: &Value) -> Self {
        Self::start_with(tool_servers, &[]).await
    }

    async fn start_with(tool_servers: &Value, vars: &[(&str, &str)]) -> Self {
        let openai = QueuedOpenAi::start(&[]).await.unwrap();
        let assets = tempfile::tempdir().unwrap();
        write_config(&assets, tool_servers);
        let own = [
            ("ASSETS_DIR", assets.path().to_str().unwrap()),
            ("PAYMENT_WEBHOOK_SECRET", SECRET),
            ("OPENAI_BASE_URL", openai.base_url()),
        ];
        let server =
            Server::start_with(&[vars, &own].concat(), |it| it.with_poll_interval(Duration::from_millis(20))).await;
        Self { server, openai, assets, calls: 0 }
    }

    /// Runs a call on which the model gives these replies, the last of them in words. Returns its last request.
    async fn call(&mut self, replies: &[ModelReply]) -> Value {
        self.calls += 1;
        self.openai.set_replies(replies.iter().cloned());
        let known = self.openai.request_count();
        let mut socket =
            self.server.connect_call(&format!("CA{}", self.calls), &json!({"callReference": "call-7"})).await;
        socket.say("What do I owe?").await.unwrap();
        socket.wait_for_speech().await.unwrap();
        self.openai.wait_for_request(known + replies.len() - 1, |_| true).await.unwrap()
    }

    /// The names and definitions of the tools that a new call offers to the model.
    async fn offered(&mut self) -> Vec<Value> {
        self.call(&[ModelReply::text("Hello.")]).await["tools"].as_array().unwrap().clone()
    }

    async fn wait_until_offered(&mut self, name: &str, is_offered: bool) {
        let waits = async { while self.offered().await.iter().any(|tool| tool["name"] == name) != is_offered {} };
        tokio::time::timeout(TIMEOUT, waits).await.unwrap_or_else(|_| panic!("{name} {is_offered}"));
    }

    /// Runs a call on which the tool is called once. Returns the model's next input.
    async fn look_up(&mut self) -> String {
        let replies = [ModelReply::tool_call("find-invoice", r#"{"number": "8"}"#), ModelReply::text("I see.")];
        self.call(&replies).await["input"].to_string()
    }
}

fn write_config(assets: &TempDir, tool_servers: &Value) {
    let config = json!({"ToolServers": tool_servers,
        "ConversationRelay": {"Configuration": {"welcomeGreeting": "Hello. {disclosure}"}}});
    std::fs::write(assets.path().join("serverConfig.json"), config.to_string()).unwrap();
}

fn crm(origin: &str) -> Value {
    json!({"crm": {"url": format!("{origin}/mcp"), "tools": ["find-invoice", "start-capture", "gone"]}})
}

async fn serve(scripted: &ScriptedToolServer) -> LocalServer {
    LocalServer::start(scripted.router()).await.unwrap()
}

#[tokio::test]
async fn allowed_tools_of_a_server_are_offered_behind_those_of_the_manifest() {
    for streams in [false, true] {
        let tools = [tool("drop-tables"), tool("start-capture"), tool("find-invoice")];
        let scripted = ScriptedToolServer::new(SECRET, streams, &tools, text_result("{}"));
        let server = serve(&scripted).await;
        let offered = Harness::start(&crm(server.origin())).await.offered().await;
        let own = json!({"type": "function", "name": "find-invoice", "description": "The tool find-invoice.",
            "parameters": {"type": "object", "properties": {}}, "strict": false});
        assert_eq!(offered.last(), Some(&own));
        let named = |name: &str| offered.iter().filter(|tool| tool["name"] == name).count();
        assert_eq!((named("drop-tables"), named("start-capture"), named("find-invoice")), (0, 1, 1));
    }
}

#[tokio::test]
async fn a_tool_is_called_for_its_call_and_its_answer_is_data() {
    for streams in [false, true] {
        let scripted = ScriptedToolServer::new(SECRET, streams, &[tool("find-invoice")], json!(null));
        let server = serve(&scripted).await;
        let mut harness = Harness::start(&crm(server.origin())).await;
        for (result, words) in [
            (text_result(r#"{"customer": "Ann", "card": 4242424242424242}"#), r#"\"customer\":\"Ann\""#),
            (text_result("Nothing is due."), r#"\"answer\":\"Nothing is due.\""#),
            (json!({"content": [], "structuredContent": {"customer": "Ann"}}), r#"\"customer\":\"Ann\""#),
            (
                json!({"content": [{"type": "text", "text": "No such invoice"}], "isError": true}),
                "The tool of the business failed",
            ),
            (json!({"content": [{"type": "text", "text": "x".repeat(16 * 1024 + 1)}]}), "too long"),
            (json!({"content": "none"}), "cannot be read"),
        ] {
            scripted.set_result(result);
            let shown = harness.look_up().await;
            assert!(shown.contains(&words.replace('\\', "\\\\\\")) || shown.contains(words), "{words}: {shown}");
            assert!(!shown.contains("4242"), "{shown}");
        }
        let call = &scripted.messages("tools/call")[0];
        assert_eq!(
            call["params"],
            json!({"name": "find-invoice", "arguments": {"number": "8"},
            "_meta": {"callSid": "CA1", "callReference": "call-7"}})
        );
        assert_eq!(scripted.messages("initialize").len(), 1, "one session for all calls");
    }
}

#[tokio::test]
async fn the_text_of_a_protocol_error_is_data_within_the_same_limit() {
    let scripted = ScriptedToolServer::new(SECRET, false, &[tool("find-invoice")], json!(null));
    let server = serve(&scripted).await;
    let mut harness = Harness::start(&crm(server.origin())).await;
    scripted.set_error("The archive is closed");
    let shown = harness.look_up().await;
    assert!(shown.contains("The archive is closed") && shown.contains("The tool of the business failed"), "{shown}");
    scripted.set_error(&"x".repeat(16 * 1024 + 1));
    let shown = harness.look_up().await;
    assert!(shown.contains("too long") && !shown.contains("xxxx"), "{shown}");
}

#[tokio::test]
async fn the_amount_due_of_a_structured_answer_is_due() {
    let answer =
        json!({"content": [{"type": "text", "text": "It is 40.10."}], "structuredContent": {"amountDue": "40.10"}});
    let scripted = ScriptedToolServer::new(SECRET, true, &[tool("find-invoice")], answer);
    let server = serve(&scripted).await;
    let shown = Harness::start(&crm(server.origin())).await.look_up().await;
    assert!(shown.contains("Due on this call: 40.10 USD."), "{shown}");
}

#[tokio::test]
async fn a_session_that_the_server_has_ended_is_begun_again() {
    let scripted = ScriptedToolServer::new(SECRET, false, &[tool("find-invoice")], text_result("Ann"));
    let server = serve(&scripted).await;
    let mut harness = Harness::start(&crm(server.origin())).await;
    harness.offered().await;
    scripted.end_session();
    assert!(harness.look_up().await.contains("Ann"));
    assert_eq!((scripted.messages("initialize").len(), scripted.messages("tools/call").len()), (2, 1));
}

#[tokio::test]
async fn tools_follow_the_list_of_the_server() {
    let scripted = ScriptedToolServer::new(SECRET, true, &[tool("find-invoice")], text_result("Ann"));
    let server = serve(&scripted).await;
    let mut harness = Harness::start(&crm(server.origin())).await;
    harness.offered().await;
    scripted.change_tools(&[tool("gone")]);
    assert!(harness.look_up().await.contains("Ann"), "the call keeps the tools that it began with");
    harness.wait_until_offered("gone", true).await;
    harness.wait_until_offered("find-invoice", false).await;
}

#[tokio::test]
async fn tools_follow_an_edit_of_the_configuration() {
    let scripted = ScriptedToolServer::new(SECRET, false, &[tool("find-invoice")], text_result("Ann"));
    let server = serve(&scripted).await;
    let mut harness = Harness::start(&json!({})).await;
    assert!(harness.offered().await.iter().all(|tool| tool["name"] != "find-invoice"));
    write_config(&harness.assets, &crm(server.origin()));
    harness.wait_until_offered("find-invoice", true).await;
}

#[tokio::test]
async fn a_server_that_is_down_costs_its_tools_only() {
    let nowhere = LocalServer::start(Router::new()).await.unwrap();
    for url in ["http://127.0.0.1:9/mcp".to_owned(), format!("{}/mcp", nowhere.origin())] {
        let scripted = ScriptedToolServer::new(SECRET, false, &[tool("find-invoice")], text_result("Ann"));
        let server = serve(&scripted).await;
        let mut servers = crm(server.origin());
        servers["down"] = json!({"url": url, "tools": ["find-order"]});
        let mut harness = Harness::start(&servers).await;
        assert!(harness.look_up().await.contains("Ann"));
    }
}

#[tokio::test]
async fn an_invalid_entry_is_refused_with_its_line() {
    use crelay_payments::assets::Assets;
    for (entry, what) in [
        (json!({"url": "https://crm.example.com/mcp"}), "missing field `tools`"),
        (json!({"url": "http://crm.example.com/mcp", "tools": []}), "plain http"),
        (json!({"url": "https://crm.example.com/mcp", "tools": ["a b"]}), "64 letters"),
        (json!({"url": "https://crm.example.com/mcp", "tools": [], "token": "x"}), "unknown field `token`"),
        (json!({"url": "https://crm.example.com/mcp", "tools": [], "timeoutMs": 1}), "from 100 to 15000"),
    ] {
        let config = json!({"ToolServers": {"crm": entry}}).to_string();
        let error = Assets::from_server_config(&config).unwrap_err().to_string();
        assert!(error.starts_with("serverConfig.json:1: ") && error.contains(what), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_sent_to_its_server() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = {
        let seen = seen.clone();
        async move |headers: axum::http::HeaderMap| {
            let token = headers.get("authorization").map(|token| token.to_str().unwrap().to_owned());
            seen.lock().unwrap().push(token);
            axum::http::StatusCode::FORBIDDEN
        }
    };
    let server = LocalServer::start(Router::new().route("/mcp", axum::routing::post(record))).await.unwrap();
    let mut harness =
        Harness::start_with(&crm(server.origin()), &[("TOOL_SERVER_TOKENS", "erp=other, crm=a-token")]).await;
    harness.offered().await;
    assert_eq!(seen.lock().unwrap().first().unwrap().as_deref(), Some("Bearer a-token"));
}
