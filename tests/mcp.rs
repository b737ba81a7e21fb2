//! `POST /mcp`: an external client calls the tools of a live call, and nothing else.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/stand_ins.rs"]
mod stand_ins;

use crelay_payments::simulator::{McpClient, McpClientError, McpToolOutput, ModelReply, QueuedOpenAi, RelayClient};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use server::{OPERATOR_TOKEN, Server};
use stand_ins::{Checkpoint, StandIns};

const FIELDS: [&str; 3] = ["payment-card-number", "security-code", "expiration-date"];
const ASKED_FOR_25: &str = "That is 25 dollars, charged to your card now. Say yes or press 1; say no or press 2.";

/// A live call, whose model only speaks.
struct Harness {
    server: Server,
    stand_ins: StandIns,
    _openai: QueuedOpenAi,
    socket: RelayClient,
}

impl Harness {
    async fn start(stop_at: Option<Checkpoint>) -> Self {
        let stand_ins = StandIns::start(stop_at).await;
        let openai = QueuedOpenAi::start_with(ModelReply::text("All right."), |_, _| {}).await.unwrap();
        let vars = [
            ("OPENAI_BASE_URL", openai.base_url()),
            ("TWILIO_API_BASE_URL", &stand_ins.origin),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
        ];
        let server = Server::start(&vars).await;
        let socket = server.connect_call_from("+15550100001", "CA1", &json!({})).await;
        Self { server, stand_ins, _openai: openai, socket }
    }

    fn client(&self) -> McpClient {
        self.server.mcp_client("CA1")
    }

    /// Waits until the agent has said this and is silent again.
    async fn wait_for_speech(&mut self, words: &str) {
        let mut said = String::new();
        loop {
            let is_last = |frame: &Value| {
                said.push_str(frame["token"].as_str().unwrap_or_default());
                frame["last"] == json!(true)
            };
            let frame = self.socket.wait_for(is_last).await;
            frame.unwrap_or_else(|error| panic!("not {words:?}: {said:?}: {error:#}"));
            for speaking in ["on", "off"] {
                let info = json!({"type": "info", "name": "agentSpeaking", "value": speaking});
                self.socket.send(&info).await.unwrap();
            }
            if said.contains(words) {
                return;
            }
        }
    }

    /// Posts the callback of the entry of a field, an index into `FIELDS`.
    async fn enter_field(&self, at: usize) {
        let required = FIELDS[at + 1..].join(",");
        self.report(&[
            ("Capture", FIELDS[at]),
            ("PartialResult", "false"),
            ("Required", &required),
            ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
        ])
        .await;
    }

    /// Posts a payment callback of Twilio.
    async fn report(&self, fields: &[(&str, &str)]) {
        let sid = self.stand_ins.received(|received| received.twilio_requests[0].0.clone());
        let form = [&[("CallSid", "CA1"), ("Sid", &sid)], fields].concat();
        let answer = self.server.post_as_twilio("/payment-status-callback", &form).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    /// The state of the only payment.
    async fn payment_state(&self) -> Value {
        let all: Value = self.server.get_as_operator("/payments").await.json().await.unwrap();
        all["payments"].as_array().filter(|all| all.len() == 1).map(|all| all[0]["state"].clone()).unwrap_or_default()
    }

    /// A request to the endpoint with the token of the call and these headers.
    fn request(&self, headers: &[(&str, &str)]) -> RequestBuilder {
        let request = self.server.request(Method::POST, "/mcp");
        let request = request.bearer_auth(self.server.call_token("CA1").expose_secret());
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    }

    async fn send(&self, headers: &[(&str, &str)], message: &Value) -> Response {
        self.request(headers).json(message).send().await.unwrap()
    }

    /// The status and the JSON body of the answer to a message.
    async fn exchange(&self, headers: &[(&str, &str)], message: &Value) -> (StatusCode, Value) {
        let answer = self.send(headers, message).await;
        (answer.status(), answer.json().await.unwrap())
    }
}

/// Calls a tool that is done. Returns its message.
async fn done(client: &McpClient, tool: &str, arguments: Value) -> String {
    let output = client.call_tool(tool, &arguments).await.unwrap();
    assert!(!output.is_error, "{tool}: {output:?}");
    message(&output)
}

/// Calls a tool that is refused. Returns the reason.
async fn refused(client: &McpClient, tool: &str, arguments: Value) -> String {
    let output = client.call_tool(tool, &arguments).await.unwrap();
    assert!(output.is_error, "{tool}: {output:?}");
    message(&output)
}

fn message(output: &McpToolOutput) -> String {
    let json: Value = serde_json::from_str(&output.text).unwrap();
    json["message"].as_str().unwrap().to_owned()
}

fn request(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": "r-1", "method": method, "params": params})
}

#[tokio::test]
async fn a_client_takes_a_payment_that_the_caller_agreed_to() {
    let mut harness = Harness::start(None).await;
    let client = harness.client();
    harness.socket.say("I want to pay 25 dollars").await.unwrap();
    harness.wait_for_speech("All right.").await;
    let amount = json!({"chargeAmount": "25.00"});
    let reason = refused(&client, "start-capture", amount.clone()).await;
    assert!(reason.contains("call confirm-amount"), "{reason}");
    done(&client, "confirm-amount", json!({"amount": "25.00"})).await;
    harness.wait_for_speech(ASKED_FOR_25).await;
    refused(&client, "start-capture", amount.clone()).await;
    harness.socket.say("Yes, please.").await.unwrap();
    harness.wait_for_speech("All right.").await;
    refused(&client, "start-capture", json!({"chargeAmount": "26.00"})).await;
    assert_eq!(harness.stand_ins.keys_of("create").len(), 0, "nothing was asked of Twilio so far");

    let opened = done(&client, "start-capture", amount.clone()).await;
    assert!(opened.contains("Next: call capture-card"), "{opened}");
    for (at, tool) in ["capture-card", "capture-security-code", "capture-expiry-date"].into_iter().enumerate() {
        refused(&client, "finish-capture", json!({})).await;
        done(&client, tool, json!({})).await;
        harness.enter_field(at).await;
        harness.wait_for_speech("All right.").await;
    }
    done(&client, "finish-capture", json!({})).await;
    let _ = client.call_tool("finish-capture", &json!({})).await.unwrap();
    let _ = client.call_tool("start-capture", &amount).await.unwrap();
    harness.report(&[("Result", "success")]).await;
    harness.wait_for_speech("All right.").await;
    assert_eq!(harness.payment_state().await, "charged");
    for (change, count) in [("create", 1), ("complete", 1), ("cancel", 0)] {
        assert_eq!(harness.stand_ins.keys_of(change).len(), count, "{change}");
    }
}

#[tokio::test]
async fn only_the_token_of_a_live_call_is_accepted() {
    let harness = Harness::start(None).await;
    let token = harness.server.call_token("CA1");
    let ping = request("ping", &json!({}));
    let post = async |token: Option<&str>| {
        let request = harness.server.request(Method::POST, "/mcp").json(&ping);
        token.into_iter().fold(request, RequestBuilder::bearer_auth).send().await.unwrap()
    };
    assert_eq!(post(Some(token.expose_secret())).await.status(), StatusCode::OK);
    let mut bodies = Vec::new();
    for wrong in [None, Some(""), Some("CA1"), Some(OPERATOR_TOKEN), Some(&token.expose_secret()[1..])] {
        let answer = post(wrong).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong:?}");
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        bodies.push(answer.text().await.unwrap());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the answer says nothing about the token");
    let answer = harness.server.operator_request("/updateResponseService").bearer_auth(token.expose_secret());
    assert_eq!(answer.json(&json!({})).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let Harness { server, socket, .. } = harness;
    drop(socket);
    let form = [("CallSid", "CA1"), ("CallStatus", "completed")];
    server.post_as_twilio("/twilioStatusCallback", &form).await;
    server.wait_for_calls(0).await;
    let late =
        server.request(Method::POST, "/mcp").bearer_auth(token.expose_secret()).json(&ping).send().await.unwrap();
    assert_eq!(late.status(), StatusCode::UNAUTHORIZED, "the token ends with the call");
}

#[tokio::test]
async fn a_request_from_a_foreign_page_and_other_methods_are_refused() {
    let harness = Harness::start(None).await;
    let ping = request("ping", &json!({}));
    for (origin, status) in [
        ("https://pay.example.com", StatusCode::OK),
        ("https://evil.example.com", StatusCode::FORBIDDEN),
        ("http://pay.example.com", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(harness.send(&[("Origin", origin)], &ping).await.status(), status, "{origin}");
    }
    for method in [Method::GET, Method::DELETE] {
        let answer = harness.server.request(method, "/mcp").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
    let image = harness.send(&[("Accept", "image/png")], &ping).await;
    assert_eq!(image.status(), StatusCode::NOT_ACCEPTABLE);
    let large = harness.request(&[]).body(" ".repeat(256 * 1024 + 1)).send().await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for body in ["", "{", "[]", "7", r#"{"method":"ping"}"#] {
        let answer = harness.request(&[]).body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn a_client_lists_and_calls_the_tools_that_the_call_has_now() {
    let harness = Harness::start(None).await;
    let client = harness.client();
    let tools = client.list_tools().await.unwrap();
    let start = tools.iter().find(|tool| tool.name == "start-capture").unwrap();
    assert!(!start.description.is_empty() && start.input_schema["type"] == "object", "{start:?}");
    let keys = json!({"callSid": "CA1", "manifestKey": "defaultToolManifest"});
    let changed = harness.server.post_as_operator("/updateResponseService", &keys).await;
    assert_eq!(changed.status(), StatusCode::NO_CONTENT);
    let fewer: Vec<_> = client.list_tools().await.unwrap().into_iter().map(|tool| tool.name).collect();
    assert!(!fewer.is_empty() && fewer.len() < tools.len(), "{fewer:?}");
    for unknown in ["start-capture", "no-such-tool", "4242 4242 4242 4242"] {
        let error = client.call_tool(unknown, &json!({})).await.unwrap_err();
        assert!(matches!(error, McpClientError::Rpc { code: -32602, .. }), "{unknown}: {error}");
    }
    assert_eq!(harness.stand_ins.keys_of("create").len(), 0);
}

#[tokio::test]
async fn revisions_with_a_handshake_are_served() {
    let harness = Harness::start(None).await;
    for (wanted, agreed) in
        [("2024-11-05", "2024-11-05"), ("2025-06-18", "2025-06-18"), ("2026-07-28", "2025-11-25"), ("?", "2025-11-25")]
    {
        let hello = json!({"protocolVersion": wanted, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let (status, answer) = harness.exchange(&[], &request("initialize", &hello)).await;
        assert_eq!((status, &answer["id"]), (StatusCode::OK, &json!("r-1")));
        assert_eq!(answer["result"]["protocolVersion"], agreed, "{wanted}");
        assert_eq!(answer["result"]["serverInfo"]["name"], "crelay-payments");
    }
    let (_, pong) = harness.exchange(&[("Mcp-Session-Id", "any")], &request("ping", &json!({}))).await;
    assert_eq!(pong, json!({"jsonrpc": "2.0", "id": "r-1", "result": {}}));
    for (method, params, code) in [
        ("resources/list", json!({}), -32601),
        ("tools/call", json!({"arguments": {}}), -32602),
        ("tools/call", json!({"name": "end-call", "arguments": []}), -32602),
        ("tools/list", json!([]), -32602),
        ("initialize", json!({}), -32602),
    ] {
        let (status, answer) = harness.exchange(&[], &request(method, &params)).await;
        assert_eq!((status, &answer["error"]["code"]), (StatusCode::OK, &json!(code)), "{method} {params}");
    }
    let notified = harness.send(&[], &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    assert_eq!((notified.status(), notified.text().await.unwrap().as_str()), (StatusCode::ACCEPTED, ""));
    let unknown = harness.exchange(&[("MCP-Protocol-Version", "1999-01-01")], &request("ping", &json!({}))).await;
    assert_eq!((unknown.0, &unknown.1["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32022)));
    let events = harness.send(&[("Accept", "text/event-stream")], &request("ping", &json!({}))).await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let events = events.text().await.unwrap();
    assert_eq!(events, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"r-1\",\"result\":{}}\n\n");
}

#[tokio::test]
async fn a_batch_is_answered_where_the_revision_has_batches() {
    let harness = Harness::start(None).await;
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let hello = request("initialize", &json!({"protocolVersion": "2025-03-26"}));
    let (status, answers) = harness.exchange(&[], &json!([ping, notification, list, hello])).await;
    assert_eq!((status, answers.as_array().unwrap().len()), (StatusCode::OK, 3));
    assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&json!(1), &json!(2)));
    assert_eq!(answers[2]["error"]["code"], -32600, "initialize is no part of a batch");
    assert_eq!(harness.send(&[], &json!([notification])).await.status(), StatusCode::ACCEPTED);
    let (status, _) = harness.exchange(&[("MCP-Protocol-Version", "2025-06-18")], &json!([ping])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_revision_without_a_handshake_is_served() {
    let harness = Harness::start(None).await;
    let params = |name: &str| {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}});
        json!({"name": name, "_meta": meta})
    };
    let exchange = async |method: &str, name: &str| {
        let headers = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method), ("Mcp-Name", name)];
        harness.exchange(&headers, &request(method, &params(name))).await
    };
    let (_, found) = exchange("server/discover", "").await;
    assert_eq!(found["result"]["resultType"], "complete");
    assert_eq!(found["result"]["supportedVersions"][0], "2026-07-28");
    let (_, listed) = exchange("tools/list", "").await;
    assert!(listed["result"]["tools"].as_array().unwrap().len() > 5, "{listed}");
    assert_eq!((&listed["result"]["ttlMs"], &listed["result"]["cacheScope"]), (&json!(0), &json!("private")));
    let (status, called) = exchange("tools/call", "finish-capture").await;
    assert_eq!((status, &called["result"]["isError"]), (StatusCode::OK, &json!(true)));
    assert_eq!(called["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "crelay-payments");
    for removed in ["ping", "initialize", "resources/list"] {
        let (status, answer) = exchange(removed, "").await;
        assert_eq!((status, &answer["error"]["code"]), (StatusCode::NOT_FOUND, &json!(-32601)), "{removed}");
    }
    let mismatched = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/list")];
    let (status, answer) = harness.exchange(&mismatched, &request("tools/call", &params("end-call"))).await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32020)));
}

#[tokio::test]
async fn a_client_that_waits_gets_an_error_when_the_caller_hangs_up() {
    let harness = Harness::start(Some(Checkpoint::CreateReceived)).await;
    let client = harness.client();
    let (runs, waits) = (client.clone(), client.clone());
    let running = tokio::spawn(async move { runs.call_tool("start-capture", &json!({"chargeAmount": "0"})).await });
    harness.stand_ins.wait_for_stop().await;
    let waiting =
        tokio::spawn(async move { waits.call_tool("set-silence-detection", &json!({"enabled": true})).await });
    // The tool call that waits is in the mailbox before this one is answered.
    while !waiting.is_finished() {
        client.list_tools().await.ok();
        let form = [("CallSid", "CA1"), ("CallStatus", "completed")];
        harness.server.post_as_twilio("/twilioStatusCallback", &form).await;
    }
    let output = waiting.await.unwrap();
    assert!(output.as_ref().is_ok_and(|output| output.is_error) || output.is_err(), "{output:?}");
    running.abort();
}
