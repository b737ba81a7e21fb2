//! The amount due from the look-up: valid, invalid or missing.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{CALL, SECRET, business};
use crate::server::openai::{OpenAi, Reply};
use crate::server::twilio::{Form, Twilio};
use crate::server::{OPERATOR_TOKEN, Server, agent_says, caller_says};

/// The replies of a model that tries to charge whatever the server tells it.
const CHARGES: [Reply; 3] = [
    Reply::Calls("start-capture", "{}"),
    Reply::Calls("start-capture", r#"{"chargeAmount":"700.00"}"#),
    Reply::Says("I am sorry."),
];

const NO_PAYMENT: &str = "No payment can be taken on this call";

/// A call to a server that looks it up at a business.
struct Called {
    server: Server,
    twilio: Twilio,
    openai: OpenAi,
}

impl Called {
    async fn with(url: &str, vars: &[(&str, &str)]) -> Self {
        let (twilio, openai) = (Twilio::start().await, OpenAi::start(&CHARGES).await);
        let own = [
            ("CALL_PARAMETERS_URL", url),
            ("PAYMENT_WEBHOOK_SECRET", SECRET),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
            ("OPENAI_BASE_URL", &openai.base_url),
            ("TWILIO_API_BASE_URL", &twilio.origin),
        ];
        let server = Server::start(&[&own[..], vars].concat()).await;
        Self { server, twilio, openai }
    }

    async fn rings(&self) {
        let answer = self.server.twilio_posts("/connectConversationRelay", &CALL).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }

    /// Connects the call, on which the model tries to charge. Returns the model's input and the created payments.
    async fn charges(&self, parameters: &Value) -> (String, Vec<Form>) {
        let mut socket = self.server.connects("CA1", parameters).await;
        caller_says(&mut socket, "I want to pay.").await;
        agent_says(&mut socket).await;
        (self.openai.shown(), self.twilio.payments())
    }

    async fn is_barred(&self, parameters: &Value, what: &str) {
        let (shown, payments) = self.charges(parameters).await;
        assert!(payments.is_empty(), "{what}: {payments:?}");
        assert!(shown.contains(NO_PAYMENT) && shown.contains("offer a person"), "{what}: {shown}");
        assert!(!shown.contains("Due on this call"), "{what}: {shown}");
    }
}

/// Starts a business that responds with this body.
async fn answers(body: &'static str) -> String {
    business(move |_| async move { body.into_response() }).await
}

async fn fails(with: Response) -> String {
    let status = with.status();
    business(move |_| async move { (status, r#"{"amountDue": "25.00"}"#).into_response() }).await
}

fn field<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn with_required_look_up_no_payment_starts_without_an_amount_due() {
    let long = Box::leak(format!(r#"{{"amountDue": "25.00", "a": "{}"}}"#, "x".repeat(16 * 1024)).into_boxed_str());
    for (what, url) in [
        ("500", fails(StatusCode::INTERNAL_SERVER_ERROR.into_response()).await),
        ("204", fails(StatusCode::NO_CONTENT.into_response()).await),
        ("slow", business(|_| std::future::pending()).await),
        ("unreachable", "http://127.0.0.1:9/calls".to_owned()),
        ("misspelt", answers(r#"{"amount_due": "25.00"}"#).await),
        ("null", answers(r#"{"amountDue": null}"#).await),
        ("nothing", answers("{}").await),
        ("twice", answers(r#"{"amountDue": "25.00", "amountDue": "25.00"}"#).await),
        ("another name twice", answers(r#"{"amountDue": "25.00", "note": 1, "note": 2}"#).await),
        ("two currencies", answers(r#"{"amountDue": "25.00", "currency": "USD", "Currency": "EUR"}"#).await),
        ("nested", answers(r#"{"amountDue": {"value": "25.00"}}"#).await),
        ("no JSON", answers(r#"{"amountDue": "25.00""#).await),
        ("too long", answers(long).await),
    ] {
        let called = Called::with(&url, &[("CALL_PARAMETERS", "required")]).await;
        called.rings().await;
        // The amount in the TwiML does not replace that of the business.
        called.is_barred(&json!({"amountDue": "1.00", "customer": "Ann"}), what).await;
    }
}

#[tokio::test]
async fn with_required_look_up_the_amount_due_is_charged() {
    let called = Called::with(&answers(r#"{"amountDue": 25.10}"#).await, &[("CALL_PARAMETERS", "required")]).await;
    called.rings().await;
    let (shown, payments) = called.charges(&json!({})).await;
    assert!(shown.contains("Due on this call: 25.10 USD."), "{shown}");
    assert_eq!(payments.len(), 1);
    assert_eq!((field(&payments[0], "ChargeAmount"), field(&payments[0], "Currency")), (Some("25.10"), Some("USD")));
}

#[tokio::test]
async fn a_reconnected_call_without_a_look_up_takes_no_payment() {
    let called = Called::with("http://127.0.0.1:9/calls", &[("CALL_PARAMETERS", "required")]).await;
    let failed = [("CallStatus", "in-progress"), ("SessionStatus", "failed"), ("Direction", "inbound")];
    assert!(called.server.asks_what_next(&failed).await.contains("ConversationRelay"));
    called.is_barred(&json!({"crelayReconnect": "1", "amountDue": "1.00"}), "a reconnect").await;
}

#[tokio::test]
async fn an_order_without_an_amount_is_placed_and_takes_no_payment() {
    let called = Called::with("http://127.0.0.1:9/calls", &[("CALL_PARAMETERS", "required")]).await;
    let order = json!({"properties": {"phoneNumber": "+15550100001", "callReference": "order-7"}});
    assert_eq!(called.server.operator_posts("/outboundCall", &order).await.status(), StatusCode::CREATED);
    called.is_barred(&json!({"callReference": "order-7"}), "an order without an amount").await;

    let called = Called::with("http://127.0.0.1:9/calls", &[("CALL_PARAMETERS", "required")]).await;
    let order = json!({"properties": {"phoneNumber": "+15550100001", "callReference": "order-8", "amountDue": "30"}});
    assert_eq!(called.server.operator_posts("/outboundCall", &order).await.status(), StatusCode::CREATED);
    let (shown, payments) = called.charges(&json!({"callReference": "order-8", "amountDue": "30"})).await;
    assert!(shown.contains("Due on this call: 30.00 USD.") && payments.len() == 1, "{shown}");
}

#[tokio::test]
async fn with_optional_look_up_only_an_invalid_amount_due_prevents_payments() {
    for (what, url) in [
        ("500", fails(StatusCode::INTERNAL_SERVER_ERROR.into_response()).await),
        ("misspelt", answers(r#"{"amount_due": "25.00"}"#).await),
        ("a name twice", answers(r#"{"note": 1, "note": 2}"#).await),
    ] {
        for vars in [&[][..], &[("CALL_PARAMETERS", "optional")]] {
            let called = Called::with(&url, vars).await;
            called.rings().await;
            let (shown, _) = called.charges(&json!({})).await;
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
        let called = Called::with(&answers(body).await, &[]).await;
        called.rings().await;
        called.is_barred(&json!({}), what).await;
    }
}

#[tokio::test]
async fn an_amount_due_above_the_limit_is_refused_from_any_source() {
    let unreachable = "http://127.0.0.1:9/calls";
    let called = Called::with(&answers(r#"{"amountDue": 250000}"#).await, &[]).await;
    called.rings().await;
    called.is_barred(&json!({}), "the business").await;
    Called::with(unreachable, &[]).await.is_barred(&json!({"amountDue": "250000"}), "the TwiML").await;

    let called = Called::with(unreachable, &[("MAX_DUE", "10000.00, 9000 EUR")]).await;
    let places = async |due: &str, currency: &str| {
        let order = json!({"phoneNumber": "+15550100001", "amountDue": due, "currency": currency});
        let answer = called.server.operator_posts("/outboundCall", &json!({ "properties": order })).await;
        (answer.status(), answer.text().await.unwrap())
    };
    for (due, currency) in [("250000", "USD"), ("10000.01", "USD"), ("9000.01", "EUR"), ("10001", "JPY")] {
        let (status, why) = places(due, currency).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{due} {currency}");
        assert!(why.contains("MAX_DUE") && !why.contains(due), "{why}");
    }
    assert_eq!(places("9000.00", "EUR").await.0, StatusCode::CREATED);
    let twice = r#"{"properties": {"phoneNumber": "+15550100001", "amountDue": "25", "amountDue": "250"}}"#;
    let answer = called.server.request("/outboundCall").bearer_auth(OPERATOR_TOKEN).body(twice).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(answer.text().await.unwrap().contains("amountDue is given twice"));
}

#[tokio::test]
async fn a_currency_without_its_own_limit_is_refused() {
    let assets = std::env::temp_dir().join(format!("crelay-payments-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&assets).unwrap();
    for (amount, opened) in [
        (json!("30.00"), 0),
        (json!({"USD": "30.00"}), 0),
        (json!({"USD": "30.00", "EUR": "24.99"}), 0),
        (json!({"USD": "30.00", "EUR": "25"}), 1),
    ] {
        let config = json!({"Payments": {"Limits": {"perHour": {"amount": amount}}}});
        std::fs::write(assets.join("serverConfig.json"), config.to_string()).unwrap();
        let url = answers(r#"{"amountDue": "25.00", "currency": "EUR"}"#).await;
        let called = Called::with(&url, &[("ASSETS_DIR", assets.to_str().unwrap())]).await;
        called.rings().await;
        let (shown, payments) = called.charges(&json!({})).await;
        assert!(shown.contains("Due on this call: 25.00 EUR."), "{shown}");
        assert_eq!(payments.len(), opened, "{config}");
        assert!(opened == 1 || shown.contains("offer a person"), "{shown}");
    }
    std::fs::remove_dir_all(&assets).unwrap();
}

#[tokio::test]
async fn the_description_at_the_processor_contains_the_payment_id() {
    let url = answers(
        r#"{"amountDue": "25.00", "description": "Invoice 7", "callReference": "call-7", "orderReference": "order-7"}"#,
    )
    .await;
    let called = Called::with(&url, &[]).await;
    called.rings().await;
    let (_, payments) = called.charges(&json!({})).await;
    let all: Value = called.server.operator_gets("/payments").await.json().await.unwrap();
    let id = all["payments"][0]["id"].as_str().unwrap();
    assert_eq!(field(&payments[0], "Description"), Some(format!("Invoice 7 order-7 {id}").as_str()));
}
