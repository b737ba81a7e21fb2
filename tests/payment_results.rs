//! The outcome of payments on the real server under concurrent calls, redials, late results and contradictory
//! callbacks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/stand_ins.rs"]
mod stand_ins;

use futures_util::SinkExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};
use server::openai::{OpenAi, Reply};
use server::{OPERATOR_TOKEN, Server, Socket, caller_says};
use stand_ins::{SECRET, StandIns};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const FIELDS: [&str; 3] = ["payment-card-number", "security-code", "expiration-date"];

/// The model's replies until a payment is submitted.
const SUBMIT_REPLIES: [Reply; 9] = [
    Reply::ToolCall("start-capture", "{}"),
    Reply::ToolCall("capture-card", "{}"),
    Reply::Text("The card number, please."),
    Reply::ToolCall("capture-security-code", "{}"),
    Reply::Text("The code, please."),
    Reply::ToolCall("capture-expiry-date", "{}"),
    Reply::Text("The date, please."),
    Reply::ToolCall("finish-capture", "{}"),
    Reply::Text("One moment."),
];

/// A server with the stand-ins for Twilio, the model and the business.
struct Harness {
    server: Server,
    stand_ins: StandIns,
    openai: OpenAi,
}

impl Harness {
    async fn new() -> Self {
        let stand_ins = StandIns::start(None).await;
        stand_ins.accept_events();
        let openai = OpenAi::start(&[]).await;
        let webhook = format!("{}/business", stand_ins.origin);
        let server = Server::start(&[
            ("OPENAI_BASE_URL", &openai.base_url),
            ("TWILIO_API_BASE_URL", &stand_ins.origin),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
            ("PAYMENT_WEBHOOK_URL", &webhook),
            ("PAYMENT_WEBHOOK_SECRET", SECRET),
        ])
        .await;
        Self { server, stand_ins, openai }
    }

    /// Queues replies of the model, sends a prompt, and waits until all replies are used.
    async fn say(&self, socket: &mut Socket, words: &str, replies: &[Reply]) {
        let asked = self.openai.request_count() + replies.len();
        replies.iter().cloned().for_each(|reply| self.openai.queue(reply));
        caller_says(socket, words).await;
        self.openai.wait_for_requests(asked).await;
    }

    /// Runs a payment until its submission is accepted. Returns the payment SID.
    async fn submit_payment(&self, socket: &mut Socket, call: &str, last4: &str) -> String {
        let opened = self.stand_ins.keys_of("create").len();
        SUBMIT_REPLIES.iter().cloned().for_each(|reply| self.openai.queue(reply));
        let mut asked = self.openai.request_count();
        caller_says(socket, "I would like to pay.").await;
        self.stand_ins.wait_until("opened", |received| count_keys(received, "create") > opened).await;
        let sid = self.stand_ins.received(|received| {
            received
                .twilio_requests
                .iter()
                .rev()
                .find(|(_, what, _)| what == "create")
                .map(|(sid, ..)| sid.clone())
                .unwrap()
        });
        asked += 3;
        for (at, field) in FIELDS.into_iter().enumerate() {
            self.openai.wait_for_requests(asked).await;
            asked += 2;
            let required = FIELDS[at + 1..].join(",");
            let mask = format!("xxxxxxxxxxxx{last4}");
            let entered = [
                ("Capture", field),
                ("PartialResult", "false"),
                ("Required", &*required),
                ("PaymentCardNumber", &*mask),
            ];
            self.post_callback(call, &sid, &entered).await;
        }
        self.openai.wait_for_requests(asked).await;
        assert!(self.stand_ins.received(|received| {
            received.twilio_requests.iter().any(|(of, what, _)| *of == sid && what == "complete")
        }));
        sid
    }

    async fn post_callback(&self, call: &str, sid: &str, fields: &[(&str, &str)]) {
        let form = [&[("CallSid", call), ("Sid", sid)], fields].concat();
        let answer = self.server.post_as_twilio("/payment-status-callback", &form).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    /// Posts a result and waits for the model request that it causes. Returns the model's input.
    async fn post_result(&self, call: &str, sid: &str, fields: &[(&str, &str)]) -> String {
        let asked = self.openai.request_count() + 1;
        self.openai.queue(Reply::Text("I see."));
        self.post_callback(call, sid, fields).await;
        self.openai.wait_for_requests(asked).await;
        self.openai.last_input()
    }

    async fn payments(&self) -> Vec<Value> {
        let all: Value = self.server.get_as_operator("/payments").await.json().await.unwrap();
        all["payments"].as_array().unwrap().clone()
    }

    async fn payment(&self, sid: &str) -> Value {
        self.payments().await.into_iter().find(|payment| payment["paymentSid"] == sid).unwrap()
    }

    /// Waits until a payment in this state is delivered to the business, and returns the event.
    async fn wait_for_event(&self, sid: &str, state: &str) -> Value {
        let id = self.payment(sid).await["id"].clone();
        let is_it = |event: &&Value| event["id"] == id && event["state"] == state;
        self.stand_ins.wait_until("delivered", |received| received.events.iter().any(|event| is_it(&event))).await;
        self.stand_ins.received(|received| received.events.iter().find(is_it).unwrap().clone())
    }
}

fn count_keys(received: &stand_ins::ReceivedRequests, what: &str) -> usize {
    let mut keys: Vec<_> =
        received.twilio_requests.iter().filter(|(_, asked, _)| asked == what).map(|(.., key)| key).collect();
    keys.sort();
    keys.dedup();
    keys.len()
}

fn invoice(reference: &str) -> Value {
    json!({"callReference": reference, "amountDue": "25.00"})
}

async fn hang_up(server: &Server, mut socket: Socket) {
    let close = CloseFrame { code: 1000.into(), reason: "".into() };
    socket.send(Message::Close(Some(close))).await.unwrap();
    server.wait_for_calls(0).await;
}

#[tokio::test]
async fn an_order_that_is_being_paid_on_another_call_is_not_paid_twice() {
    let harness = Harness::new().await;
    let mut first = harness.server.connect_call("CA1", &invoice("invoice-7")).await;
    let sid = harness.submit_payment(&mut first, "CA1", "4242").await;
    let mut second = harness.server.connect_call("CA2", &invoice("invoice-7")).await;
    let starts = [Reply::ToolCall("start-capture", "{}"), Reply::Text("I am sorry.")];
    harness.say(&mut second, "I would like to pay.", &starts).await;
    assert!(
        harness.openai.last_input().contains("may have been charged; a person looks it up"),
        "{}",
        harness.openai.last_input()
    );
    harness.post_result("CA1", &sid, &[("Result", "success"), ("ChargeAmount", "25.00")]).await;
    harness.say(&mut second, "And now?", &starts).await;
    assert!(harness.openai.last_input().contains("This was paid on "), "{}", harness.openai.last_input());
    assert_eq!(harness.stand_ins.keys_of("create").len(), 1);
}

#[tokio::test]
async fn after_a_redial_with_an_unknown_result_no_payment_starts() {
    let harness = Harness::new().await;
    let mut socket = harness.server.connect_call("CA1", &invoice("invoice-7")).await;
    let sid = harness.submit_payment(&mut socket, "CA1", "4242").await;
    hang_up(&harness.server, socket).await;
    assert_eq!(harness.wait_for_event(&sid, "unknown").await["callReference"], "invoice-7");
    let mut again = harness.server.connect_call("CA2", &invoice("invoice-7")).await;
    let starts = [Reply::ToolCall("start-capture", "{}"), Reply::Text("I am sorry.")];
    harness.say(&mut again, "I would like to pay.", &starts).await;
    let shown = harness.openai.last_input();
    assert!(shown.contains("For this order already: 25.00 USD was submitted on "), "{shown}");
    assert!(shown.contains("so no second one was begun"), "{shown}");
    assert_eq!(harness.stand_ins.keys_of("create").len(), 1);
}

#[tokio::test]
async fn an_outbound_call_for_a_paid_order_is_refused() {
    let harness = Harness::new().await;
    let mut socket = harness.server.connect_call("CA1", &invoice("order-7")).await;
    let sid = harness.submit_payment(&mut socket, "CA1", "4242").await;
    harness.post_result("CA1", &sid, &[("Result", "success"), ("ChargeAmount", "25.00")]).await;
    let order =
        json!({"properties": {"phoneNumber": "+15550100001", "callReference": "order-7", "amountDue": "25.00"}});
    let answer = harness.server.post_as_operator("/outboundCall", &order).await;
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    let why = answer.text().await.unwrap();
    assert!(why.contains("charged since") && why.contains("payAgain"), "{why}");
}

#[tokio::test]
async fn each_result_is_classified_conservatively() {
    const DECLINED: &str = "the card was declined and nothing was charged";
    const UNKNOWN: &str = "it may have been charged";
    const SUCCEEDED: &str = "the payment of 25.00 USD succeeded";
    for (n, (fields, state, expected)) in [
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
        let harness = Harness::new().await;
        let call = format!("CA{n}");
        let mut socket = harness.server.connect_call(&call, &invoice("invoice-7")).await;
        let sid = harness.submit_payment(&mut socket, &call, "4242").await;
        let shown = harness.post_result(&call, &sid, fields).await;
        assert!(shown.contains(expected), "{fields:?}: {shown}");
        assert_eq!(shown.contains("succeeded"), state == "charged", "{fields:?}: {shown}");
        assert_eq!(harness.payment(&sid).await["state"], state, "{fields:?}");
        harness.wait_for_event(&sid, state).await;
    }
}

#[tokio::test]
async fn a_success_overrides_an_earlier_decline() {
    let harness = Harness::new().await;
    let mut socket = harness.server.connect_call("CA1", &invoice("invoice-7")).await;
    let sid = harness.submit_payment(&mut socket, "CA1", "4242").await;
    let decline = [("Result", "payment-connector-error"), ("PayErrorCode", "64012")];
    harness.post_result("CA1", &sid, &decline).await;
    let shown = harness.post_result("CA1", &sid, &[("Result", "success"), ("PaymentConfirmationCode", "ch_1")]).await;
    assert!(shown.contains("the payment of 25.00 USD succeeded"), "{shown}");
    assert_eq!(harness.wait_for_event(&sid, "charged").await["confirmationCode"], "ch_1");
    let starts = [Reply::ToolCall("start-capture", "{}"), Reply::Text("It is paid.")];
    harness.say(&mut socket, "Then another card.", &starts).await;
    assert_eq!(harness.stand_ins.keys_of("create").len(), 1, "no second payment is created");
}

#[tokio::test]
async fn a_tokenization_without_a_token_is_unknown() {
    let harness = Harness::new().await;
    let mut socket = harness.server.connect_call("CA1", &json!({"callReference": "a", "amountDue": "0"})).await;
    let sid = harness.submit_payment(&mut socket, "CA1", "4242").await;
    let shown =
        harness.post_result("CA1", &sid, &[("Result", "success"), ("PaymentToken", ""), ("ProfileId", "")]).await;
    assert!(!shown.contains("succeeded"), "{shown}");
    assert_eq!(harness.payment(&sid).await["state"], "unknown");
}

#[tokio::test]
async fn a_refused_completion_is_a_decline_after_a_hang_up() {
    let harness = Harness::new().await;
    harness.stand_ins.refuse_completion(Some(64012));
    let mut socket = harness.server.connect_call("CA1", &invoice("invoice-7")).await;
    let sid = harness.submit_payment(&mut socket, "CA1", "4242").await;
    hang_up(&harness.server, socket).await;
    harness.post_callback("CA1", &sid, &[("Result", "caller-hung-up")]).await;
    let payment = harness.payment(&sid).await;
    assert_eq!((&payment["state"], &payment["resultCode"]), (&json!("declined"), &json!(64012)));
    assert_eq!(harness.wait_for_event(&sid, "declined").await["error"]["code"], 64012);
}

#[tokio::test]
async fn card_testing_is_stopped_for_every_kind_of_decline() {
    let harness = Harness::new().await;
    let words = [("Result", "payment-connector-error"), ("PaymentError", "card is declined"), ("PayErrorCode", "")];
    let parameters = |n: usize| json!({"callReference": format!("invoice-{n}"), "amountDue": "25.00"});
    let mut tried = 0;
    for n in 0..8 {
        let call = format!("CA{n}");
        let mut socket = harness.server.connect_call_from("+15550100001", &call, &parameters(n)).await;
        let created = harness.stand_ins.keys_of("create").len();
        harness
            .say(&mut socket, "I would like to pay.", &[Reply::ToolCall("start-capture", "{}"), Reply::Text("So.")])
            .await;
        if harness.stand_ins.keys_of("create").len() == created {
            assert!(harness.openai.last_input().contains("No card payment can be taken on this call any more"));
            break;
        }
        let cancel = [Reply::ToolCall("cancel-capture", "{}"), Reply::Text("Cancelled.")];
        harness.say(&mut socket, "Wait, from the beginning.", &cancel).await;
        let sid = harness.submit_payment(&mut socket, &call, &format!("000{n}")).await;
        harness.post_result(&call, &sid, &words).await;
        tried += 1;
        hang_up(&harness.server, socket).await;
    }
    assert_eq!(tried, 4, "four cards are card testing");
}

#[tokio::test]
async fn processor_texts_are_truncated_and_redacted() {
    let harness = Harness::new().await;
    let mut socket = harness.server.connect_call("CA1", &invoice("invoice-7")).await;
    let sid = harness.submit_payment(&mut socket, "CA1", "4242").await;
    let long = format!("ch_4242424242424242_{}", "x".repeat(5_000));
    let success = [("Result", "success"), ("PaymentConfirmationCode", &*long), ("ProfileId", &*long)];
    harness.post_result("CA1", &sid, &success).await;
    let id = harness.payment(&sid).await["id"].as_str().unwrap().to_owned();
    let whole = harness.server.get_as_operator(&format!("/payments/{id}")).await.text().await.unwrap();
    let event = harness.wait_for_event(&sid, "charged").await.to_string();
    for text in [whole, event] {
        assert!(!text.contains("4242424242424242") && !text.contains(&"x".repeat(65)), "{text}");
    }
}
