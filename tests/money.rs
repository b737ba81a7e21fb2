//! The outcome of payments on the real server under concurrent calls, redials, late results and contradictory
//! callbacks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/world.rs"]
mod world;

use futures_util::SinkExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};
use server::openai::{OpenAi, Reply};
use server::{OPERATOR_TOKEN, Server, Socket, caller_says};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use world::{SECRET, World};

const FIELDS: [&str; 3] = ["payment-card-number", "security-code", "expiration-date"];

/// The model's replies until a payment is submitted.
const SUBMITS: [Reply; 9] = [
    Reply::Calls("start-capture", "{}"),
    Reply::Calls("capture-card", "{}"),
    Reply::Says("The card number, please."),
    Reply::Calls("capture-security-code", "{}"),
    Reply::Says("The code, please."),
    Reply::Calls("capture-expiry-date", "{}"),
    Reply::Says("The date, please."),
    Reply::Calls("finish-capture", "{}"),
    Reply::Says("One moment."),
];

/// A server with the stand-ins for Twilio, the model and the business.
struct Scene {
    server: Server,
    world: World,
    openai: OpenAi,
}

impl Scene {
    async fn new() -> Self {
        let world = World::stopping_at(None).await;
        world.business_opens();
        let openai = OpenAi::start(&[]).await;
        let webhook = format!("{}/business", world.origin);
        let server = Server::start(&[
            ("OPENAI_BASE_URL", &openai.base_url),
            ("TWILIO_API_BASE_URL", &world.origin),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
            ("PAYMENT_WEBHOOK_URL", &webhook),
            ("PAYMENT_WEBHOOK_SECRET", SECRET),
        ])
        .await;
        Self { server, world, openai }
    }

    /// Queues replies of the model, sends a prompt, and waits until all replies are used.
    async fn says(&self, socket: &mut Socket, words: &str, replies: &[Reply]) {
        let asked = self.openai.asked() + replies.len();
        replies.iter().cloned().for_each(|reply| self.openai.will(reply));
        caller_says(socket, words).await;
        self.openai.is_asked(asked).await;
    }

    /// Runs a payment until its submission is accepted. Returns the payment SID.
    async fn submits(&self, socket: &mut Socket, call: &str, last4: &str) -> String {
        let opened = self.world.keys_of("create").len();
        SUBMITS.iter().cloned().for_each(|reply| self.openai.will(reply));
        let mut asked = self.openai.asked();
        caller_says(socket, "I would like to pay.").await;
        self.world.until("opened", |seen| keys(seen, "create") > opened).await;
        let sid = self.world.seen(|seen| {
            seen.asked.iter().rev().find(|(_, what, _)| what == "create").map(|(sid, ..)| sid.clone()).unwrap()
        });
        asked += 3;
        for (at, field) in FIELDS.into_iter().enumerate() {
            self.openai.is_asked(asked).await;
            asked += 2;
            let required = FIELDS[at + 1..].join(",");
            let mask = format!("xxxxxxxxxxxx{last4}");
            let entered = [
                ("Capture", field),
                ("PartialResult", "false"),
                ("Required", &*required),
                ("PaymentCardNumber", &*mask),
            ];
            self.reports(call, &sid, &entered).await;
        }
        self.openai.is_asked(asked).await;
        assert!(self.world.seen(|seen| seen.asked.iter().any(|(of, what, _)| *of == sid && what == "complete")));
        sid
    }

    async fn reports(&self, call: &str, sid: &str, fields: &[(&str, &str)]) {
        let form = [&[("CallSid", call), ("Sid", sid)], fields].concat();
        let answer = self.server.twilio_posts("/payment-status-callback", &form).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    /// Posts a result and waits for the model request that it causes. Returns the model's input.
    async fn result(&self, call: &str, sid: &str, fields: &[(&str, &str)]) -> String {
        let asked = self.openai.asked() + 1;
        self.openai.will(Reply::Says("I see."));
        self.reports(call, sid, fields).await;
        self.openai.is_asked(asked).await;
        self.openai.shown()
    }

    async fn payments(&self) -> Vec<Value> {
        let all: Value = self.server.operator_gets("/payments").await.json().await.unwrap();
        all["payments"].as_array().unwrap().clone()
    }

    async fn payment(&self, sid: &str) -> Value {
        self.payments().await.into_iter().find(|payment| payment["paymentSid"] == sid).unwrap()
    }

    /// Waits until a payment in this state is delivered to the business, and returns the event.
    async fn told(&self, sid: &str, state: &str) -> Value {
        let id = self.payment(sid).await["id"].clone();
        let is_it = |told: &&Value| told["id"] == id && told["state"] == state;
        self.world.until("told", |seen| seen.told.iter().any(|told| is_it(&told))).await;
        self.world.seen(|seen| seen.told.iter().find(is_it).unwrap().clone())
    }
}

fn keys(seen: &world::Seen, what: &str) -> usize {
    let mut keys: Vec<_> = seen.asked.iter().filter(|(_, asked, _)| asked == what).map(|(.., key)| key).collect();
    keys.sort();
    keys.dedup();
    keys.len()
}

fn invoice(reference: &str) -> Value {
    json!({"callReference": reference, "amountDue": "25.00"})
}

async fn hangs_up(server: &Server, mut socket: Socket) {
    let close = CloseFrame { code: 1000.into(), reason: "".into() };
    socket.send(Message::Close(Some(close))).await.unwrap();
    server.has_calls(0).await;
}

#[tokio::test]
async fn an_order_that_is_being_paid_on_another_call_is_not_paid_twice() {
    let scene = Scene::new().await;
    let mut first = scene.server.connects("CA1", &invoice("invoice-7")).await;
    let sid = scene.submits(&mut first, "CA1", "4242").await;
    let mut second = scene.server.connects("CA2", &invoice("invoice-7")).await;
    let starts = [Reply::Calls("start-capture", "{}"), Reply::Says("I am sorry.")];
    scene.says(&mut second, "I would like to pay.", &starts).await;
    assert!(scene.openai.shown().contains("may have been charged; a person looks it up"), "{}", scene.openai.shown());
    scene.result("CA1", &sid, &[("Result", "success"), ("ChargeAmount", "25.00")]).await;
    scene.says(&mut second, "And now?", &starts).await;
    assert!(scene.openai.shown().contains("This was paid on "), "{}", scene.openai.shown());
    assert_eq!(scene.world.keys_of("create").len(), 1);
}

#[tokio::test]
async fn after_a_redial_with_an_unknown_result_no_payment_starts() {
    let scene = Scene::new().await;
    let mut socket = scene.server.connects("CA1", &invoice("invoice-7")).await;
    let sid = scene.submits(&mut socket, "CA1", "4242").await;
    hangs_up(&scene.server, socket).await;
    assert_eq!(scene.told(&sid, "unknown").await["callReference"], "invoice-7");
    let mut again = scene.server.connects("CA2", &invoice("invoice-7")).await;
    let starts = [Reply::Calls("start-capture", "{}"), Reply::Says("I am sorry.")];
    scene.says(&mut again, "I would like to pay.", &starts).await;
    let shown = scene.openai.shown();
    assert!(shown.contains("For this order already: 25.00 USD was submitted on "), "{shown}");
    assert!(shown.contains("so no second one was begun"), "{shown}");
    assert_eq!(scene.world.keys_of("create").len(), 1);
}

#[tokio::test]
async fn an_outbound_call_for_a_paid_order_is_refused() {
    let scene = Scene::new().await;
    let mut socket = scene.server.connects("CA1", &invoice("order-7")).await;
    let sid = scene.submits(&mut socket, "CA1", "4242").await;
    scene.result("CA1", &sid, &[("Result", "success"), ("ChargeAmount", "25.00")]).await;
    let order =
        json!({"properties": {"phoneNumber": "+15550100001", "callReference": "order-7", "amountDue": "25.00"}});
    let answer = scene.server.operator_posts("/outboundCall", &order).await;
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let why = answer.text().await.unwrap();
    assert!(why.contains("charged since") && why.contains("payAgain"), "{why}");
}

#[tokio::test]
async fn each_result_is_classified_conservatively() {
    const DECLINED: &str = "the card was declined and nothing was charged";
    const UNKNOWN: &str = "it may have been charged";
    const SUCCEEDED: &str = "the payment of 25.00 USD succeeded";
    for (n, (fields, state, told)) in [
        (&[("Result", "SUCCESS")][..], "charged", SUCCEEDED),
        (&[("Result", " Success "), ("ChargeAmount", "25")], "charged", SUCCEEDED),
        (&[("Result", "success"), ("ChargeAmount", "2500.00")], "unknown", UNKNOWN),
        (&[("Result", "success"), ("PayConnector_payment_status", "declined")], "unknown", UNKNOWN),
        (
            &[
                ("Result", "success"),
                ("PayConnector_payment_status", "DECLINED"),
                ("PayConnector_gateway_status", "DECLINED"),
            ],
            "unknown",
            UNKNOWN,
        ),
        (&[("Result", "internal-error")], "unknown", UNKNOWN),
        (&[("Result", "caller-interrupted-with-star")], "unknown", UNKNOWN),
        (&[("Result", "a-word-of-2031")], "unknown", UNKNOWN),
        (
            &[
                ("Result", "payment-connector-error"),
                ("PayErrorCode", "64008"),
                (
                    "PaymentError",
                    "Payment Gateway rejected charge creation. Got malformed response from Payment Provider.",
                ),
            ],
            "unknown",
            UNKNOWN,
        ),
        (&[("Result", "payment-connector-error"), ("PayErrorCode", "64012")], "declined", DECLINED),
        (
            &[
                ("Result", "payment-connector-error"),
                ("PaymentError", "card is declined"),
                ("ConnectorError", "card_declined"),
                ("PayErrorCode", ""),
            ],
            "declined",
            DECLINED,
        ),
        (
            &[("Result", "payment-connector-error"), ("PayErrorCode", "64001")],
            "failed",
            "did not go through, for a technical reason, and nothing was charged",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let scene = Scene::new().await;
        let call = format!("CA{n}");
        let mut socket = scene.server.connects(&call, &invoice("invoice-7")).await;
        let sid = scene.submits(&mut socket, &call, "4242").await;
        let shown = scene.result(&call, &sid, fields).await;
        assert!(shown.contains(told), "{fields:?}: {shown}");
        assert_eq!(shown.contains("succeeded"), state == "charged", "{fields:?}: {shown}");
        assert_eq!(scene.payment(&sid).await["state"], state, "{fields:?}");
        scene.told(&sid, state).await;
    }
}

#[tokio::test]
async fn a_success_overrides_an_earlier_decline() {
    let scene = Scene::new().await;
    let mut socket = scene.server.connects("CA1", &invoice("invoice-7")).await;
    let sid = scene.submits(&mut socket, "CA1", "4242").await;
    let decline = [("Result", "payment-connector-error"), ("PayErrorCode", "64012")];
    scene.result("CA1", &sid, &decline).await;
    let shown = scene.result("CA1", &sid, &[("Result", "success"), ("PaymentConfirmationCode", "ch_1")]).await;
    assert!(shown.contains("the payment of 25.00 USD succeeded"), "{shown}");
    assert_eq!(scene.told(&sid, "charged").await["confirmationCode"], "ch_1");
    let starts = [Reply::Calls("start-capture", "{}"), Reply::Says("It is paid.")];
    scene.says(&mut socket, "Then another card.", &starts).await;
    assert_eq!(scene.world.keys_of("create").len(), 1, "no second payment is created");
}

#[tokio::test]
async fn a_tokenization_without_a_token_is_unknown() {
    let scene = Scene::new().await;
    let mut socket = scene.server.connects("CA1", &json!({"callReference": "a", "amountDue": "0"})).await;
    let sid = scene.submits(&mut socket, "CA1", "4242").await;
    let shown = scene.result("CA1", &sid, &[("Result", "success"), ("PaymentToken", ""), ("ProfileId", "")]).await;
    assert!(!shown.contains("succeeded"), "{shown}");
    assert_eq!(scene.payment(&sid).await["state"], "unknown");
}

#[tokio::test]
async fn a_refused_completion_is_a_decline_after_a_hang_up() {
    let scene = Scene::new().await;
    scene.world.refuses_completion(Some(64012));
    let mut socket = scene.server.connects("CA1", &invoice("invoice-7")).await;
    let sid = scene.submits(&mut socket, "CA1", "4242").await;
    hangs_up(&scene.server, socket).await;
    scene.reports("CA1", &sid, &[("Result", "caller-hung-up")]).await;
    let payment = scene.payment(&sid).await;
    assert_eq!((&payment["state"], &payment["resultCode"]), (&json!("declined"), &json!(64012)));
    assert_eq!(scene.told(&sid, "declined").await["error"]["code"], 64012);
}

#[tokio::test]
async fn card_testing_is_stopped_for_every_kind_of_decline() {
    let scene = Scene::new().await;
    let words = [("Result", "payment-connector-error"), ("PaymentError", "card is declined"), ("PayErrorCode", "")];
    let parameters = |n: usize| json!({"callReference": format!("invoice-{n}"), "amountDue": "25.00"});
    let mut tried = 0;
    for n in 0..8 {
        let call = format!("CA{n}");
        let mut socket = scene.server.connects_from("+15550100001", &call, &parameters(n)).await;
        let created = scene.world.keys_of("create").len();
        scene
            .says(&mut socket, "I would like to pay.", &[Reply::Calls("start-capture", "{}"), Reply::Says("So.")])
            .await;
        if scene.world.keys_of("create").len() == created {
            assert!(scene.openai.shown().contains("No card payment can be taken on this call any more"));
            break;
        }
        let cancel = [Reply::Calls("cancel-capture", "{}"), Reply::Says("Cancelled.")];
        scene.says(&mut socket, "Wait, from the beginning.", &cancel).await;
        let sid = scene.submits(&mut socket, &call, &format!("000{n}")).await;
        scene.result(&call, &sid, &words).await;
        tried += 1;
        hangs_up(&scene.server, socket).await;
    }
    assert_eq!(tried, 4, "four cards are card testing");
}

#[tokio::test]
async fn processor_texts_are_truncated_and_redacted() {
    let scene = Scene::new().await;
    let mut socket = scene.server.connects("CA1", &invoice("invoice-7")).await;
    let sid = scene.submits(&mut socket, "CA1", "4242").await;
    let long = format!("ch_4242424242424242_{}", "x".repeat(5_000));
    let success = [("Result", "success"), ("PaymentConfirmationCode", &*long), ("ProfileId", &*long)];
    scene.result("CA1", &sid, &success).await;
    let id = scene.payment(&sid).await["id"].as_str().unwrap().to_owned();
    let whole = scene.server.operator_gets(&format!("/payments/{id}")).await.text().await.unwrap();
    let told = scene.told(&sid, "charged").await.to_string();
    for text in [whole, told] {
        assert!(!text.contains("4242424242424242") && !text.contains(&"x".repeat(65)), "{text}");
    }
}
