//! The business's own tools over HTTP: the signed request, the answer, and every way in which there is none.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use crelay_payments::signing::{SIGNATURE_HEADER, SigningSecrets, TIMESTAMP_HEADER};
use crelay_payments::simulator::{
    ModelReply, PaymentsRequest, QueuedOpenAi, RecordingTwilio, RelayClient, TwilioRequestKind,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::SECRET;
use crate::server::{Server, start_twilio};

/// The requests that the business received: headers and body.
type Requests = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A business with one tool.
#[derive(Clone)]
struct Business {
    origin: String,
    requests: Requests,
}

impl Business {
    async fn start<F: Future<Output = Response> + Send + 'static>(
        answer: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Requests::default();
        let handle = async move |State(requests): State<Requests>, headers: HeaderMap, body: String| {
            requests.lock().unwrap().push((headers, body));
            answer().await
        };
        let router = Router::new().route("/invoices", post(handle)).with_state(requests.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, requests }
    }

    fn url(&self) -> String {
        format!("{}/invoices?key=1", self.origin)
    }
}

/// A call whose model calls `find-invoice` once.
struct TestCall {
    openai: QueuedOpenAi,
    twilio: RecordingTwilio,
    socket: RelayClient,
    _server: Server,
    _assets: TempDir,
}

/// Writes a manifest with one tool of the business.
fn assets(http: &Value) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let tools = json!([
        {"type": "function", "name": "find-invoice", "description": "Finds an invoice.", "http": http},
        {"type": "function", "name": "start-capture"},
    ]);
    std::fs::write(directory.path().join("PaymentToolManifest.json"), tools.to_string()).unwrap();
    // A short greeting is over before a tool takes long.
    let config = json!({"ConversationRelay": {"Configuration": {"welcomeGreeting": "Hello."}},
        "Compliance": {"disclosure": false}});
    std::fs::write(directory.path().join("serverConfig.json"), config.to_string()).unwrap();
    directory
}

impl TestCall {
    async fn start(http: &Value, replies: &[ModelReply]) -> Self {
        let (openai, twilio) = (QueuedOpenAi::start(replies).await.unwrap(), start_twilio().await);
        let assets = assets(http);
        let vars = [
            ("ASSETS_DIR", assets.path().to_str().unwrap()),
            ("PAYMENT_WEBHOOK_SECRET", SECRET),
            ("OPENAI_BASE_URL", openai.base_url()),
            ("TWILIO_API_BASE_URL", twilio.origin()),
        ];
        let server = Server::start(&vars).await;
        let mut socket = server.connect_call("CA1", &json!({"callReference": "call-7"})).await;
        socket.say("What do I owe?").await.unwrap();
        socket.wait_for_speech().await.unwrap();
        Self { openai, twilio, socket, _server: server, _assets: assets }
    }

    /// Runs a call on which the tool is called once with these arguments. Returns the model's next input.
    async fn look_up(http: &Value, arguments: &'static str) -> String {
        let replies = [ModelReply::tool_call("find-invoice", arguments), ModelReply::text("I see.")];
        Self::start(http, &replies).await.openai.last_input()
    }
}

#[tokio::test]
async fn a_tool_is_called_with_a_signed_request_and_its_answer_is_data_for_the_model() {
    let business =
        Business::start(|| async { r#"{"customer": "Ann", "card": 4242424242424242}"#.into_response() }).await;
    let shown =
        TestCall::look_up(&json!({"url": business.url()}), r#"{"number": "8", "note": "4242 4242 4242 4242"}"#).await;
    assert!(shown.contains("Ann") && shown.contains("not instructions") && !shown.contains("4242"), "{shown}");
    let requests = business.requests.lock().unwrap();
    let [(headers, body)] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!(
        body,
        r#"{"callSid":"CA1","callReference":"call-7","tool":"find-invoice","arguments":{"note":"[digits removed]","number":"8"}}"#
    );
    let text = |name: &str| headers[name].to_str().unwrap();
    let timestamp = text(TIMESTAMP_HEADER).parse().unwrap();
    assert!(SigningSecrets::from(SECRET).verify(timestamp, body.as_bytes(), text(SIGNATURE_HEADER)));
    assert_eq!((text("content-type"), text("accept")), ("application/json", "application/json"));
}

#[tokio::test]
async fn a_text_that_is_no_json_is_an_answer_too() {
    let business = Business::start(|| async { "Nothing is due.".into_response() }).await;
    let shown = TestCall::look_up(&json!({"url": business.url()}), "").await;
    assert!(shown.contains(r#"\"answer\":\"Nothing is due.\""#), "{shown}");
    assert!(business.requests.lock().unwrap()[0].1.contains(r#""arguments":{}"#));
}

#[tokio::test]
async fn a_tool_that_gives_no_usable_answer_is_reported_to_the_model() {
    let elsewhere = Business::start(|| async { r#"{"customer": "Ann"}"#.into_response() }).await;
    let to = elsewhere.url();
    let redirects = Business::start(move || {
        let to = to.clone();
        async move { Redirect::temporary(&to).into_response() }
    });
    let fails =
        |status: StatusCode| Business::start(move || async move { (status, r#"{"customer": "Ann"}"#).into_response() });
    let long = || async { format!(r#"{{"customer": "Ann", "a": "{}"}}"#, "x".repeat(16 * 1024)).into_response() };
    for (url, words) in [
        (redirects.await.url(), "answered with an error"),
        (fails(StatusCode::INTERNAL_SERVER_ERROR).await.url(), "answered with an error"),
        (fails(StatusCode::NOT_FOUND).await.url(), "refused the request"),
        (Business::start(long).await.url(), "too long"),
        (Business::start(|| async { vec![0xff_u8, 0xfe].into_response() }).await.url(), "cannot be read"),
        (
            Business::start(|| async { panic!("the connection is closed") }).await.url(),
            "connection to the business broke",
        ),
        (Business::start(std::future::pending).await.url(), "did not answer in time"),
        ("http://127.0.0.1:9/invoices".to_owned(), "cannot be reached"),
    ] {
        let shown = TestCall::look_up(&json!({"url": url, "timeoutMs": 1000}), "{}").await;
        assert!(shown.contains(words) && !shown.contains("Ann"), "{words}: {shown}");
    }
    assert!(elsewhere.requests.lock().unwrap().is_empty(), "no redirect is followed");
}

#[tokio::test]
async fn arguments_that_are_no_object_are_not_sent() {
    let business = Business::start(|| async { "{}".into_response() }).await;
    for arguments in ["[]", "{", "7"] {
        let shown = TestCall::look_up(&json!({"url": business.url()}), arguments).await;
        assert!(shown.contains("not a JSON object"), "{arguments}: {shown}");
    }
    assert!(business.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_unknown_tool_is_answered_with_the_tools_that_there_are() {
    let replies = [ModelReply::tool_call("refund", "{}"), ModelReply::text("I see.")];
    let call = TestCall::start(&json!({"url": "http://127.0.0.1:9/"}), &replies).await;
    let shown = call.openai.last_input();
    assert!(shown.contains("There is no tool of that name") && shown.contains("find-invoice"), "{shown}");
}

#[tokio::test]
async fn a_caller_is_told_to_wait_for_a_slow_tool() {
    let business = Business::start(|| async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        r#"{"customer": "Ann"}"#.into_response()
    })
    .await;
    let replies = [ModelReply::tool_call("find-invoice", "{}"), ModelReply::text("You are Ann.")];
    let http = json!({"url": business.url(), "speak": "One moment, I look that up."});
    let mut call = TestCall::start(&http, &replies).await;
    assert!(!call.openai.last_input().contains("Ann"), "the first words do not wait for the tool");
    let input = call.openai.wait_for_input("Ann").await.unwrap();
    let said = input.find("One moment, I look that up.").unwrap();
    assert!(input.find("function_call_output").unwrap() < said, "the output follows its call: {input}");
    assert_eq!(call.socket.wait_for_speech().await.unwrap(), "You are Ann.");
}

#[tokio::test]
async fn the_amount_that_a_tool_names_is_charged() {
    let answer = r#"{"amountDue": 40.10, "description": "Invoice 8", "orderReference": "order-8", "items": [1]}"#;
    let business = Business::start(move || async move { answer.into_response() }).await;
    let replies = [
        ModelReply::tool_call("find-invoice", "{}"),
        ModelReply::tool_call("start-capture", r#"{"chargeAmount": "4.00"}"#),
        ModelReply::tool_call("start-capture", "{}"),
        ModelReply::text("Your card, please."),
    ];
    let call = TestCall::start(&json!({"url": business.url()}), &replies).await;
    let shown = call.openai.last_input();
    assert!(
        shown.contains("Due on this call: 40.10 USD.") && shown.contains("no other amount can be charged"),
        "{shown}"
    );
    let is_create = |kind| kind == TwilioRequestKind::Payments(PaymentsRequest::Create);
    let created: Vec<_> = call.twilio.requests().into_iter().filter(|it| is_create(it.kind)).collect();
    let [create] = created.as_slice() else { panic!("{created:?}") };
    assert_eq!(create.field("ChargeAmount"), Some("40.10"));
    assert!(create.field("Description").unwrap().starts_with("Invoice 8 order-8 "), "{create:?}");
}

#[tokio::test]
async fn a_server_whose_tools_need_a_secret_does_not_start_without_one() {
    use crelay_payments::assets::Assets;
    use crelay_payments::config::{Config, Vars};
    use crelay_payments::server::{Shutdown, serve};
    let assets = assets(&json!({"url": "https://shop.example.com/invoices"}));
    let ledger = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}/ledger.db", ledger.path().display());
    let own = [("ASSETS_DIR", assets.path().to_str().unwrap()), ("DATABASE_URL", &*database)];
    let vars = crate::server::REQUIRED_VARS.iter().chain(&own).copied().collect::<Vars>();
    let (config, _) = Config::from_vars(&vars).unwrap();
    let assets = Assets::open(&config.assets_dir, &config.twilio).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = Box::pin(serve(config, assets, listener, Shutdown::default())).await.unwrap_err().to_string();
    assert!(error.contains("PAYMENT_WEBHOOK_SECRET") && error.contains("PaymentToolManifest"), "{error}");
}
