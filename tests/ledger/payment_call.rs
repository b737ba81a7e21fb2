//! A payment call from the first word to the outcome, on servers that may die, with the stand-ins for Twilio, the model and the
//! business.

use std::time::Duration;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RelayClient};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::server::{SOCKET_URL, Server};
use super::server_process::ServerProcess;
use super::stand_ins::{Checkpoint, FIELDS, StandIns};

pub(crate) const CALL: &str = "CA1";

/// How long a recovery may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// The path of the payment status callback where one server has the ledger.
pub(crate) const CALLBACK: &str = "/payment-status-callback";

/// The state of the payment if its server has a fault at a checkpoint.
pub(crate) const STATES_AFTER_A_FAULT: [(Checkpoint, &str); 11] = [
    (Checkpoint::CreateReceived, "abandoned"),
    (Checkpoint::Opened, "abandoned"),
    (Checkpoint::CaptureReceived(0), "abandoned"),
    (Checkpoint::Entered(0), "abandoned"),
    (Checkpoint::CaptureReceived(1), "abandoned"),
    (Checkpoint::Entered(1), "abandoned"),
    (Checkpoint::CaptureReceived(2), "abandoned"),
    (Checkpoint::CompleteReceived, "unknown"),
    (Checkpoint::Submitted, "unknown"),
    (Checkpoint::ResultReported, "charged"),
    (Checkpoint::Delivered, "charged"),
];

/// The model's replies in an undisturbed payment call.
pub(crate) const REPLIES: [ModelReply; 10] = [
    ModelReply::tool_call("start-capture", r#"{"chargeAmount":"25.00"}"#),
    ModelReply::tool_call("capture-card", "{}"),
    ModelReply::text("Please enter the card number."),
    ModelReply::tool_call("capture-security-code", "{}"),
    ModelReply::text("And the code."),
    ModelReply::tool_call("capture-expiry-date", "{}"),
    ModelReply::text("And the date."),
    ModelReply::tool_call("finish-capture", "{}"),
    ModelReply::text("One moment."),
    ModelReply::text("All set."),
];

/// A payment call with the stand-ins for Twilio, the model and the business.
pub(crate) struct PaymentCall {
    pub(crate) stand_ins: StandIns,
    pub(crate) openai: QueuedOpenAi,
    /// The caller's number. `None`: it is withheld.
    pub(crate) number: Option<&'static str>,
}

impl PaymentCall {
    pub(crate) async fn start(stop_at: Option<Checkpoint>) -> Self {
        Self {
            stand_ins: StandIns::start(stop_at).await,
            openai: QueuedOpenAi::start(&REPLIES).await.unwrap(),
            number: None,
        }
    }

    /// Runs the call from beginning to end on a server. What Twilio reports goes `to` another one, perhaps, at the paths that
    /// `path` makes of those that the server asked for. Adds the callbacks that were answered with 2xx to `answered`.
    pub(crate) async fn run_call(
        &self,
        on: &Server,
        to: &Server,
        path: impl Fn(&str) -> String,
        answered: &mut Vec<String>,
    ) -> reqwest::Result<()> {
        let mut socket = match self.number {
            Some(number) => {
                let parameters = json!({"callReference": "order-7", "amountDue": "25.00"});
                on.connect_call_from(number, CALL, &parameters).await
            }
            None => connect_call(on).await,
        };
        socket.say("I would like to pay 25 dollars.").await.unwrap();
        self.stand_ins.wait_until("opened", |received| !received.twilio_requests.is_empty()).await;
        let sid = self.stand_ins.received(|received| received.twilio_requests[0].0.clone());
        post_callback(
            to,
            &path(&self.stand_ins.callback_path()),
            &sid,
            "exists",
            &[("ChargeAmount", "25.00")],
            answered,
        )
        .await?;
        self.stand_ins
            .wait_until("asked for a field", |received| {
                received.twilio_requests.iter().any(|(_, what, _)| what == FIELDS[0])
            })
            .await;
        self.stand_ins.reach(Checkpoint::Opened).await;
        for (at, field) in FIELDS.into_iter().enumerate() {
            self.stand_ins
                .wait_until("asked for a field", |received| {
                    received.twilio_requests.iter().any(|(_, what, _)| what == field)
                })
                .await;
            self.openai.wait_for_requests(3 + 2 * at).await.unwrap();
            let required = FIELDS[at + 1..].join(",");
            let entered = [("Capture", field), ("PartialResult", "false"), ("Required", &required)];
            post_callback(to, &path(&self.stand_ins.callback_path()), &sid, field, &entered, answered).await?;
            self.stand_ins.reach(Checkpoint::Entered(at)).await;
        }
        self.stand_ins
            .wait_until("completed", |received| received.twilio_requests.iter().any(|(_, what, _)| what == "complete"))
            .await;
        // Twilio reports nothing of what it has not yet responded to, if it stops there.
        self.stand_ins.reach(Checkpoint::CompleteReceived).await;
        // The server may or may not have read the response by now.
        self.stand_ins.reach(Checkpoint::Submitted).await;
        post_success(to, &path(&self.stand_ins.callback_path()), &sid, answered).await?;
        self.stand_ins.reach(Checkpoint::ResultReported).await;
        self.stand_ins.accept_events();
        self.stand_ins.wait_until("delivered", |received| !received.events.is_empty()).await;
        self.stand_ins.reach(Checkpoint::Delivered).await;
        Ok(())
    }

    /// The caller, whose call has been connected anew, does not give up: enters what Twilio is asked for, and what it has not
    /// reported yet, until the payment is charged. Twilio reports to this server.
    pub(crate) async fn finish_call(&self, running: &ServerProcess, answered: &mut Vec<String>) {
        let server = &running.server;
        self.stand_ins.accept_events();
        let finish = async {
            loop {
                let (sid, next) = self.stand_ins.received(|received| {
                    let asked = |what: &str| received.twilio_requests.iter().any(|(_, asked, _)| asked == what);
                    let field = FIELDS.into_iter().find(|field| !answered.iter().any(|done| done == field));
                    let next = field.or((!answered.iter().any(|done| done == "result")).then_some("complete"));
                    let sid = received.twilio_requests.first().map(|(sid, ..)| sid.clone());
                    (sid, next.filter(|next| asked(next)))
                });
                match (sid, next) {
                    (Some(sid), Some("complete")) => {
                        post_success(server, &self.stand_ins.callback_path(), &sid, answered).await.unwrap();
                    }
                    (Some(sid), Some(field)) => {
                        let at = FIELDS.iter().position(|known| *known == field).unwrap();
                        let required = FIELDS[at + 1..].join(",");
                        let entered = [("Capture", field), ("PartialResult", "false"), ("Required", &required)];
                        let path = self.stand_ins.callback_path();
                        post_callback(server, &path, &sid, field, &entered, answered).await.unwrap();
                    }
                    _ if answered.iter().any(|done| done == "result") => return,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let finished = tokio::time::timeout(PATIENCE, finish).await;
        let asked = self.stand_ins.received(|received| received.twilio_requests.clone());
        if finished.is_err() {
            let all: Value = server.get_as_operator("/payments").await.json().await.unwrap();
            for payment in all["payments"].as_array().unwrap() {
                println!("{}", read_payment(server, payment["id"].as_str().unwrap()).await);
            }
        }
        assert!(finished.is_ok(), "{answered:?}: {asked:?}\n{}", running.log());
    }

    /// Checks the only payment after its caller has finished it: it was charged once, all that Twilio got is in the ledger, and
    /// nothing was cancelled.
    pub(crate) async fn check_finished(&self, server: &Server, answered: &[String]) {
        let all: Value = server.get_as_operator("/payments").await.json().await.unwrap();
        let payments = all["payments"].as_array().unwrap();
        assert_eq!(payments.len(), 1, "{all}");
        let payment = read_payment(server, payments[0]["id"].as_str().unwrap()).await;
        assert_eq!(payment["state"], "charged", "{payment}");
        self.check_records(&payment, answered);
        let keys = ["create", "complete", "cancel"].map(|what| self.stand_ins.keys_of(what).len());
        assert_eq!(keys, [1, 1, 0], "{payment}");
        self.stand_ins
            .wait_until("delivered", |received| received.events.iter().any(|event| event["state"] == "charged"))
            .await;
    }

    /// Waits until a payment has this state.
    pub(crate) async fn wait_for_state(&self, server: &Server, state: &str) {
        let waits = async {
            loop {
                let found = server.get_as_operator(&format!("/payments?state={state}")).await;
                let found: Value = found.json().await.unwrap();
                if found["payments"].as_array().is_some_and(|payments| !payments.is_empty()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("no payment is {state}"));
    }

    /// Checks that every request that Twilio received, and every callback that was answered with 2xx, is in the ledger.
    fn check_records(&self, payment: &Value, answered: &[String]) {
        let events = payment["events"].as_array().unwrap();
        let written: Vec<&str> = events.iter().filter_map(|event| event["data"]["key"].as_str()).collect();
        for (_, what, key) in self.stand_ins.received(|received| received.twilio_requests.clone()) {
            assert!(written.contains(&key.as_str()), "{what} under {key} is not in {payment}");
        }
        for what in answered {
            let is_it = |event: &Value| match what.as_str() {
                "exists" => event["kind"] == "opened",
                "result" => event["kind"] == "ended",
                field => event["kind"] == "entered" && event["data"]["field"] == field,
            };
            assert!(events.iter().any(is_it), "{what} was accepted and is not in {payment}");
        }
    }

    /// Checks the ledger and the stand-ins after the restart. Returns the state of the payment after recovery.
    pub(crate) async fn check_recovery(&self, server: &Server, answered: &[String]) -> String {
        self.stand_ins.accept_events();
        let all: Value = server.get_as_operator("/payments").await.json().await.unwrap();
        let payments = all["payments"].as_array().unwrap();
        let asked = self.stand_ins.received(|received| received.twilio_requests.clone());
        let Some(payment) = payments.first() else {
            assert!(
                asked.is_empty() && answered.is_empty(),
                "Twilio received requests, and the ledger is empty: {asked:?}"
            );
            return "none".to_owned();
        };
        assert_eq!(payments.len(), 1, "{all}");
        let id = payment["id"].as_str().unwrap();
        let before = self.settle_after_recovery(server, id).await;
        let payment = read_payment(server, id).await;

        self.check_records(&payment, answered);
        let events = payment["events"].as_array().unwrap();
        assert!(self.stand_ins.keys_of("complete").len() <= 1 && self.stand_ins.keys_of("create").len() <= 1);
        // A payment is cancelled at Twilio if and only if it was not submitted.
        let submitted = events.iter().any(|event| event["data"]["change"] == "complete");
        assert_eq!(self.stand_ins.keys_of("cancel").is_empty(), submitted, "{payment}");
        // The final state is delivered to the business.
        let last = payment["state"].clone();
        self.stand_ins
            .wait_until("delivered", |received| received.events.iter().any(|event| event["state"] == last))
            .await;
        let of_payment = |event: &&Value| event["type"] != "call.ended";
        self.stand_ins.received(|received| {
            assert!(received.events.iter().filter(of_payment).all(|event| event["id"] == id && event["minor"] == 2500));
        });
        before
    }

    /// Waits for the state of the payment after recovery. An unknown one is then settled by a late result or by the
    /// operator.
    async fn settle_after_recovery(&self, server: &Server, id: &str) -> String {
        let waits = async {
            loop {
                let payment = read_payment(server, id).await;
                if !["opened", "capturing", "submitted"].contains(&payment["state"].as_str().unwrap()) {
                    return payment;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let payment = tokio::time::timeout(PATIENCE, waits).await.expect("nothing stays open or submitted");
        let state = payment["state"].as_str().unwrap().to_owned();
        if state == "unknown" {
            let sid = payment["paymentSid"].as_str().unwrap();
            if self.stand_ins.keys_of("complete").is_empty() {
                let word = json!({"outcome": "cancelled", "note": "Twilio never saw it"});
                let answer = server.post_as_operator(&format!("/payments/{id}/settle"), &word).await;
                assert_eq!(answer.status(), StatusCode::OK);
            } else {
                post_success(server, &self.stand_ins.callback_path(), sid, &mut Vec::new()).await.unwrap();
                post_success(server, &self.stand_ins.callback_path(), sid, &mut Vec::new()).await.unwrap();
                assert_eq!(read_payment(server, id).await["state"], "charged");
            }
        }
        state
    }
}

/// What a model replies that takes a payment: the next step, by the state of the payment in the request, whatever was before.
pub(crate) fn reply_to_state(request: &Value) -> ModelReply {
    const STEPS: [(&str, &str); 3] = [
        ("card number", "capture-card"),
        ("security code", "capture-security-code"),
        ("expiry date", "capture-expiry-date"),
    ];
    let input: Vec<String> = request["input"].as_array().unwrap().iter().map(Value::to_string).collect();
    // What was refused is not tried again before the caller says something.
    let since = input.iter().rev().take_while(|item| !item.contains(r#""role":"user""#));
    if since.into_iter().any(|item| item.contains(r#"{\"success\":false"#)) {
        return ModelReply::text("One moment.");
    }
    let last = input.last().unwrap();
    let Some((_, state)) = last.split_once("Payment in progress: ") else {
        let is_begun = input.iter().any(|item| item.contains(r#""name":"start-capture""#));
        let start = ModelReply::tool_call("start-capture", r#"{"chargeAmount":"25.00"}"#);
        return if is_begun { ModelReply::text("All set.") } else { start };
    };
    if !state.starts_with("nothing is being entered") {
        return ModelReply::text("One moment.");
    }
    let missing = state.split_once("Still needed: ").unwrap().1;
    let step = STEPS.into_iter().find(|(field, _)| missing.contains(field));
    ModelReply::tool_call(step.map_or("finish-capture", |(_, tool)| tool), "{}")
}

pub(crate) async fn connect_call(server: &Server) -> RelayClient {
    server.connect_call(CALL, &json!({"callReference": "order-7", "amountDue": "25.00"})).await
}

/// Gives the call, which is live, a new socket.
pub(crate) async fn reconnect_call(server: &Server) -> RelayClient {
    let setup = server.setup_frame(CALL, &json!({"callReference": "order-7", "amountDue": "25.00"})).await;
    let mut socket = server.open_socket(Some(&server.signature(SOCKET_URL, &[]))).await.unwrap();
    socket.send(&setup).await.unwrap();
    socket
}

pub(crate) async fn post_callback(
    server: &Server,
    path: &str,
    sid: &str,
    what: &str,
    fields: &[(&str, &str)],
    answered: &mut Vec<String>,
) -> reqwest::Result<()> {
    let form = [&[("CallSid", CALL), ("Sid", sid)], fields].concat();
    if server.try_post_as_twilio(path, &form).await?.status().is_success() {
        answered.push(what.to_owned());
    }
    Ok(())
}

pub(crate) async fn post_success(
    server: &Server,
    path: &str,
    sid: &str,
    answered: &mut Vec<String>,
) -> reqwest::Result<()> {
    let success = [
        ("Result", "success"),
        ("PaymentConfirmationCode", "ch_1"),
        ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
        ("ChargeAmount", "25.00"),
    ];
    post_callback(server, path, sid, "result", &success, answered).await
}

pub(crate) async fn read_payment(server: &Server, id: &str) -> Value {
    server.get_as_operator(&format!("/payments/{id}")).await.json().await.unwrap()
}
