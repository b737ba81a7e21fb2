//! The amount due from the look-up: valid, invalid or missing.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{CALL, SECRET, start_business};
use crate::server::{OPERATOR_TOKEN, Server, start_twilio};
use crelay_payments::simulator::{
    ModelReply, PaymentsRequest, QueuedOpenAi, RecordingTwilio, TwilioRequest, TwilioRequestKind,
};

/// The replies of a model that tries to charge whatever the server tells it.
const CHARGE_REPLIES: [ModelReply; 3] = [
    ModelReply::tool_call("start-capture", "{}"),
    ModelReply::tool_call("start-capture", r#"{"chargeAmount":"700.00"}"#),
    ModelReply::text("I am sorry."),
];

const NO_PAYMENT: &str = "No payment can be taken on this call";

/// A call to a server that looks it up at a business.
struct TestCall {
    server: Server,
    twilio: RecordingTwilio,
    openai: QueuedOpenAi,
}

impl TestCall {
    async fn start(url: &str, vars: &[(&str, &str)]) -> Self {
        let (twilio, openai) = (start_twilio().await, QueuedOpenAi::start(&CHARGE_REPLIES).await.unwrap());
        let own = [
            ("CALL_PARAMETERS_URL", url),
            ("PAYMENT_WEBHOOK_SECRET", SECRET),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
            ("OPENAI_BASE_URL", openai.base_url()),
            ("TWILIO_API_BASE_URL", twilio.origin()),
        ];
        let server = Server::start(&[&own[..], vars].concat()).await;
        Self { server, twilio, openai }
    }

    async fn ring(&self) {
        let answer = self.server.post_as_twilio("/connectConversationRelay", &CALL).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }

    /// Connects the call, on which the model tries to charge. Returns the model's input and the created payments.
    async fn try_to_charge(&self, parameters: &Value) -> (String, Vec<TwilioRequest>) {
        let mut socket = self.server.connect_call("CA1", parameters).await;
        socket.say("I want to pay.").await.unwrap();
        // A call that was connected before is told once more that a machine is speaking, since this server does not know.
        while socket.wait_for_speech().await.unwrap().contains("AI assistant") {}
        let is_create = |it: &TwilioRequest| it.kind == TwilioRequestKind::Payments(PaymentsRequest::Create);
        (self.openai.last_input(), self.twilio.requests().into_iter().filter(is_create).collect())
    }

    async fn check_no_payment(&self, parameters: &Value, what: &str) {
        let (shown, payments) = self.try_to_charge(parameters).await;
        assert!(payments.is_empty(), "{what}: {payments:?}");
        assert!(shown.contains(NO_PAYMENT) && shown.contains("offer a person"), "{what}: {shown}");
        assert!(!shown.contains("Due on this call"), "{what}: {shown}");
    }
}

/// Starts a business that responds with this body.
async fn business_answering(body: &'static str) -> String {
    start_business(move |_| async move { body.into_response() }).await
}

async fn business_failing(with: Response) -> String {
    let status = with.status();
    start_business(move |_| async move { (status, r#"{"amountDue": "25.00"}"#).into_response() }).await
}

#[tokio::test]
async fn with_required_look_up_no_payment_starts_without_an_amount_due() {
    let long = Box::leak(format!(r#"{{"amountDue": "25.00", "a": "{}"}}"#, "x".repeat(16 * 1024)).into_boxed_str());
    for (what, url) in [
        ("500", business_failing(StatusCode::INTERNAL_SERVER_ERROR.into_response()).await),
        ("204", business_failing(StatusCode::NO_CONTENT.into_response()).await),
        ("slow", start_business(|_| std::future::pending()).await),
        ("unreachable", "http://127.0.0.1:9/calls".to_owned()),
        ("misspelt", business_answering(r#"{"amount_due": "25.00"}"#).await),
        ("null", business_answering(r#"{"amountDue": null}"#).await),
        ("nothing", business_answering("{}").await),
        ("twice", business_answering(r#"{"amountDue": "25.00", "amountDue": "25.00"}"#).await),
        ("another name twice", business_answering(r#"{"amountDue": "25.00", "note": 1, "note": 2}"#).await),
        ("two currencies", business_answering(r#"{"amountDue": "25.00", "currency": "USD", "Currency": "EUR"}"#).await),
        ("nested", business_answering(r#"{"amountDue": {"value": "25.00"}}"#).await),
        ("no JSON", business_answering(r#"{"amountDue": "25.00""#).await),
        ("too long", business_answering(long).await),
    ] {
        let call = TestCall::start(&url, &[("CALL_PARAMETERS", "required")]).await;
        call.ring().await;
        // The amount in the TwiML does not replace that of the business.
        call.check_no_payment(&json!({"amountDue": "1.00", "customer": "Ann"}), what).await;
    }
}

#[tokio::test]
async fn with_required_look_up_the_amount_due_is_charged() {
    let call =
        TestCall::start(&business_answering(r#"{"amountDue": 25.10}"#).await, &[("CALL_PARAMETERS", "required")]).await;
    call.ring().await;
    let (shown, payments) = call.try_to_charge(&json!({})).await;
    assert!(shown.contains("Due on this call: 25.10 USD."), "{shown}");
    assert_eq!(payments.len(), 1);
    assert_eq!((payments[0].field("ChargeAmount"), payments[0].field("Currency")), (Some("25.10"), Some("USD")));
}

#[tokio::test]
async fn a_reconnected_call_without_a_look_up_takes_no_payment() {
    let call = TestCall::start("http://127.0.0.1:9/calls", &[("CALL_PARAMETERS", "required")]).await;
    let failed = [("CallStatus", "in-progress"), ("SessionStatus", "failed"), ("Direction", "inbound")];
    assert!(call.server.post_connect_action(&failed).await.contains("ConversationRelay"));
    call.check_no_payment(&json!({"crelayReconnect": "1", "amountDue": "1.00"}), "a reconnect").await;
}

#[tokio::test]
async fn an_order_without_an_amount_is_placed_and_takes_no_payment() {
    let call = TestCall::start("http://127.0.0.1:9/calls", &[("CALL_PARAMETERS", "required")]).await;
    let order = json!({"properties": {"phoneNumber": "+15550100001", "callReference": "order-7"}});
    assert_eq!(call.server.post_as_operator("/outboundCall", &order).await.status(), StatusCode::CREATED);
    call.check_no_payment(&json!({"callReference": "order-7"}), "an order without an amount").await;

    let call = TestCall::start("http://127.0.0.1:9/calls", &[("CALL_PARAMETERS", "required")]).await;
    let order = json!({"properties": {"phoneNumber": "+15550100001", "callReference": "order-8", "amountDue": "30"}});
    assert_eq!(call.server.post_as_operator("/outboundCall", &order).await.status(), StatusCode::CREATED);
    let (shown, payments) = call.try_to_charge(&json!({"callReference": "order-8", "amountDue": "30"})).await;
    assert!(shown.contains("Due on this call: 30.00 USD.") && payments.len() == 1, "{shown}");
}

#[tokio::test]
async fn with_optional_look_up_only_an_invalid_amount_due_prevents_payments() {
    for (what, url) in [
        ("500", business_failing(StatusCode::INTERNAL_SERVER_ERROR.into_response()).await),
        ("misspelt", business_answering(r#"{"amount_due": "25.00"}"#).await),
        ("a name twice", business_answering(r#"{"note": 1, "note": 2}"#).await),
    ] {
        for vars in [&[][..], &[("CALL_PARAMETERS", "optional")]] {
            let call = TestCall::start(&url, vars).await;
            call.ring().await;
            let (shown, _) = call.try_to_charge(&json!({})).await;
            assert!(!shown.contains(NO_PAYMENT), "{what}: {shown}");
        }
    }
    for (what, body) in [
        ("twice", r#"{"amountDue": "25.00", "amountDue": "250.00"}"#),
        ("two currencies", r#"{"amountDue": "25.00", "currency": "USD", "Currency": "EUR"}"#),
        ("nested", r#"{"amountDue": {"value": "25.00"}}"#),
        ("beside a list", r#"{"amountDue": "25.00", "items": []}"#),
        ("true", r#"{"amountDue": true}"#),
        ("a thousands separator", r#"{"amountDue": "1,000.00"}"#),
        ("no currency in use", r#"{"amountDue": "25.00", "currency": "QQQ"}"#),
    ] {
        let call = TestCall::start(&business_answering(body).await, &[]).await;
        call.ring().await;
        call.check_no_payment(&json!({}), what).await;
    }
}

#[tokio::test]
async fn an_amount_due_above_the_limit_is_refused_from_any_source() {
    let unreachable = "http://127.0.0.1:9/calls";
    let call = TestCall::start(&business_answering(r#"{"amountDue": 250000}"#).await, &[]).await;
    call.ring().await;
    call.check_no_payment(&json!({}), "the business").await;
    TestCall::start(unreachable, &[]).await.check_no_payment(&json!({"amountDue": "250000"}), "the TwiML").await;

    let call = TestCall::start(unreachable, &[("MAX_DUE", "10000.00, 9000 EUR")]).await;
    let places = async |due: &str, currency: &str| {
        let order = json!({"phoneNumber": "+15550100001", "amountDue": due, "currency": currency});
        let answer = call.server.post_as_operator("/outboundCall", &json!({ "properties": order })).await;
        (answer.status(), answer.text().await.unwrap())
    };
    for (due, currency) in [("250000", "USD"), ("10000.01", "USD"), ("9000.01", "EUR"), ("10001", "JPY")] {
        let (status, why) = places(due, currency).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{due} {currency}");
        assert!(why.contains("MAX_DUE") && !why.contains(due), "{why}");
    }
    assert_eq!(places("9000.00", "EUR").await.0, StatusCode::CREATED);
    let twice = r#"{"properties": {"phoneNumber": "+15550100001", "amountDue": "25", "amountDue": "250"}}"#;
    let answer =
        call.server.operator_request("/outboundCall").bearer_auth(OPERATOR_TOKEN).body(twice).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(answer.text().await.unwrap().contains("amountDue is given twice"));
}

#[tokio::test]
async fn a_currency_without_its_own_limit_is_refused() {
    let assets = tempfile::tempdir().unwrap();
    for (amount, opened) in [
        (json!("30.00"), 0),
        (json!({"USD": "30.00"}), 0),
        (json!({"USD": "30.00", "EUR": "24.99"}), 0),
        (json!({"USD": "30.00", "EUR": "25"}), 1),
    ] {
        // With a greeting, the model's first reply is to the caller.
        let relay = json!({"Configuration": {"welcomeGreeting": "Hello. {disclosure}"}});
        let config = json!({"ConversationRelay": relay, "Payments": {"Limits": {"perHour": {"amount": amount}}}});
        std::fs::write(assets.path().join("serverConfig.json"), config.to_string()).unwrap();
        let url = business_answering(r#"{"amountDue": "25.00", "currency": "EUR"}"#).await;
        let call = TestCall::start(&url, &[("ASSETS_DIR", assets.path().to_str().unwrap())]).await;
        call.ring().await;
        let (shown, payments) = call.try_to_charge(&json!({})).await;
        assert!(shown.contains("Due on this call: 25.00 EUR."), "{shown}");
        assert_eq!(payments.len(), opened, "{config}");
        assert!(opened == 1 || shown.contains("offer a person"), "{shown}");
    }
}

#[tokio::test]
async fn the_description_at_the_processor_contains_the_payment_id() {
    let url = business_answering(
        r#"{"amountDue": "25.00", "description": "Invoice 7", "callReference": "call-7", "orderReference": "order-7"}"#,
    )
    .await;
    let call = TestCall::start(&url, &[]).await;
    call.ring().await;
    let (_, payments) = call.try_to_charge(&json!({})).await;
    let all: Value = call.server.get_as_operator("/payments").await.json().await.unwrap();
    let id = all["payments"][0]["id"].as_str().unwrap();
    assert_eq!(payments[0].field("Description"), Some(format!("Invoice 7 order-7 {id}").as_str()));
}
