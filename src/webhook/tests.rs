//! Tests of the webhook against test receivers, over real sockets.

use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::captured_log::CapturedLog;
use crate::ledger::{CallData, TempDirectory};
use crate::payment::{Field, PaymentCallback, PaymentIdGenerator, PaymentSettings, TwilioResponse, UpdateAction};
use crate::signing::SigningSecrets;

const SECRET: &str = "a-secret-of-the-tests";
const PATIENCE: Duration = Duration::from_secs(8);

/// How a receiver responds to a request.
#[derive(Clone, Copy)]
enum ReceiverBehaviour {
    Status(u16),
    /// The response head does not arrive.
    NoResponse,
    /// The status is 200, and the body has no end.
    EndlessBody,
}

type BehaviourFn = dyn Fn(&str, usize) -> ReceiverBehaviour + Send + Sync;

/// A receiver whose behaviour depends on the body and on the number of earlier requests.
#[derive(Clone)]
struct WebhookReceiver {
    behaviour: Arc<BehaviourFn>,
    received: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

async fn receive(State(business): State<WebhookReceiver>, headers: HeaderMap, body: String) -> Response {
    let count = {
        let mut received = business.received.lock().unwrap();
        received.push((headers, body.clone()));
        received.len()
    };
    match (business.behaviour)(&body, count - 1) {
        ReceiverBehaviour::Status(status) => {
            (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")]).into_response()
        }
        ReceiverBehaviour::NoResponse => std::future::pending().await,
        ReceiverBehaviour::EndlessBody => Body::from_stream(stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, std::convert::Infallible>("."), ()))
        }))
        .into_response(),
    }
}

impl WebhookReceiver {
    async fn spawn(answers: impl Fn(&str, usize) -> ReceiverBehaviour + Send + Sync + 'static) -> (Self, Arc<Webhook>) {
        let business = Self { behaviour: Arc::new(answers), received: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/payments", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/payments", post(receive)).with_state(business.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let secrets = SigningSecrets::new(SECRET.into(), Some("the-secret-before".into()));
        (business, Arc::new(Webhook::new(config::BusinessEndpoint { url, secrets }).unwrap()))
    }

    fn received(&self) -> Vec<(HeaderMap, String)> {
        self.received.lock().unwrap().clone()
    }
}

/// Runs the webhook until the handle is dropped.
fn run(webhook: &Arc<Webhook>, ledger: &Ledger) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(webhook.clone().run(ledger.clone())))
}

/// A ledger with a stored card on each of `calls` calls.
async fn ledger_with_tokens(calls: u32) -> (Ledger, TempDirectory) {
    let directory = TempDirectory::new();
    let ledger = Ledger::open(&directory.file()).await.unwrap();
    for n in 0..calls {
        submit_payment(&ledger, n).await;
        report_success(&ledger, n).await;
    }
    (ledger, directory)
}

async fn submit_payment(ledger: &Ledger, n: u32) {
    let call = CallData::from_sid(format!("CA{n}").parse().unwrap());
    let id = PaymentIdGenerator::new(Uuid::from_u128(n.into())).generate();
    let (key, terms) = (id.create_key(), PaymentSettings::sample_terms());
    let create = crate::payment::CreatePayment { id, idempotency_key: key, charge: None, terms, consent: None };
    let sid: crate::ids::PaymentSid = format!("PK{n}").parse().unwrap();
    ledger.record_create_request(&call, &create).await.unwrap();
    ledger.record_create_response(&create, &TwilioResponse::Created(sid.clone())).await.unwrap();
    for change in [UpdateAction::Capture(Field::CardNumber), UpdateAction::Complete] {
        let (sid, key) = (sid.clone(), id.update_key(change, 1));
        ledger.record_update_request(&call, &crate::payment::UpdatePayment::new(id, sid, key, change)).await.unwrap();
    }
}

async fn report_success(ledger: &Ledger, n: u32) {
    let form = [
        ("CallSid", format!("CA{n}")),
        ("Sid", format!("PK{n}")),
        ("Result", "success".to_owned()),
        ("PaymentToken", format!("tok_{n}")),
    ];
    let form = form.map(|(name, value)| (name.to_owned(), value));
    ledger
        .record_callback(
            &PaymentCallback::from_form(&form, &crate::payment::CallbackDigester::new(&"12345".into())).unwrap(),
        )
        .await
        .unwrap();
}

/// Polls until the condition holds.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waits = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn count_waiting(ledger: &Ledger) -> u64 {
    ledger.backlog().await.unwrap().waiting
}

#[tokio::test]
async fn outcome_is_delivered_once_signed_with_its_token() {
    let (business, webhook) = WebhookReceiver::spawn(|_, _| ReceiverBehaviour::Status(200)).await;
    let (ledger, _directory) = ledger_with_tokens(1).await;
    let _running = run(&webhook, &ledger);
    until("delivered", async || count_waiting(&ledger).await == 0).await;
    let [(headers, body)] = &business.received()[..] else { panic!() };
    assert!(body.contains(r#""state":"tokenized""#) && body.contains(r#""paymentToken":"tok_0""#), "{body}");
    assert_eq!(headers["content-type"], "application/json");
    let timestamp: u64 = headers["x-crelay-timestamp"].to_str().unwrap().parse().unwrap();
    assert!(Timestamp::now().as_second().unsigned_abs().abs_diff(timestamp) < 60);
    let signatures = headers["x-crelay-signature"].to_str().unwrap();
    assert_eq!(signatures.split(',').count(), 2);
    for secret in [SECRET, "the-secret-before"] {
        assert!(SigningSecrets::from(secret).verify(timestamp, body.as_bytes(), signatures), "{secret}");
    }
}

#[tokio::test]
async fn rejected_outcome_is_kept_and_no_redirect_is_followed() {
    let (business, webhook) = WebhookReceiver::spawn(|_, before| {
        ReceiverBehaviour::Status([500, 302, 404].get(before).copied().unwrap_or(200))
    })
    .await;
    let (ledger, _directory) = ledger_with_tokens(1).await;
    let _running = run(&webhook, &ledger);
    for attempts in 1..=3 {
        until("refused", async || {
            let due = ledger.due_deliveries(Timestamp::now() + MAX_RETRY_DELAY, 9).await.unwrap();
            due.len() == 1 && due[0].attempts == attempts
        })
        .await;
        assert_eq!(business.received().len(), attempts as usize);
        let next = ledger.next_delivery_at(Timestamp::now()).await.unwrap();
        assert!(next.is_some_and(|next| next > Timestamp::now()), "not at once: {next:?}");
        ledger.make_deliveries_due().await.unwrap();
    }
    until("accepted", async || count_waiting(&ledger).await == 0).await;
    assert_eq!(business.received().len(), 4);
}

#[tokio::test]
async fn slow_receivers_delay_no_other_payment() {
    for slow in [ReceiverBehaviour::NoResponse, ReceiverBehaviour::EndlessBody] {
        let is_slow = |body: &str| (0..20).any(|n| body.contains(&format!("\"callSid\":\"CA{n}\"")));
        let (business, webhook) =
            WebhookReceiver::spawn(move |body, _| if is_slow(body) { slow } else { ReceiverBehaviour::Status(200) })
                .await;
        let (ledger, _directory) = ledger_with_tokens(40).await;
        let _running = run(&webhook, &ledger);
        until("the others are delivered", async || count_waiting(&ledger).await <= 20).await;
        submit_payment(&ledger, 99).await;
        report_success(&ledger, 99).await;
        until("a later one is received", async || business.received().iter().any(|(_, body)| body.contains("CA99")))
            .await;
        if matches!(slow, ReceiverBehaviour::EndlessBody) {
            until("the body is not read", async || count_waiting(&ledger).await == 0).await;
        }
    }
}

#[tokio::test]
async fn events_of_one_payment_stay_in_order() {
    let (business, webhook) = WebhookReceiver::spawn(|_, before| {
        if before == 0 { ReceiverBehaviour::NoResponse } else { ReceiverBehaviour::Status(200) }
    })
    .await;
    let directory = TempDirectory::new();
    let ledger = Ledger::open(&directory.file()).await.unwrap();
    submit_payment(&ledger, 1).await;
    ledger.record_call_ended(&CallData::from_sid("CA1".parse().unwrap())).await.unwrap();
    let running = run(&webhook, &ledger);
    until("the first is in flight", async || business.received().len() == 1).await;
    report_success(&ledger, 1).await;
    submit_payment(&ledger, 2).await;
    report_success(&ledger, 2).await;
    until("another payment's is received", async || business.received().iter().any(|(_, body)| body.contains("CA2")))
        .await;
    assert!(!business.received().iter().any(|(_, body)| body.contains("tok_1")), "the later one has to wait");
    // As on a restart: the attempt in flight is lost and repeated.
    drop(running);
    let _running = run(&webhook, &ledger);
    until("all are delivered", async || count_waiting(&ledger).await == 0).await;
    let of_the_first: Vec<String> =
        business.received().into_iter().map(|(_, body)| body).filter(|body| body.contains("CA1")).collect();
    let unknown = of_the_first.iter().rposition(|body| body.contains("unknown")).unwrap();
    let stored = of_the_first.iter().position(|body| body.contains("tok_1")).unwrap();
    assert!(unknown < stored, "{of_the_first:?}");
}

#[tokio::test]
async fn outcome_is_not_posted_repeatedly_while_its_acceptance_cannot_be_written() {
    let (business, webhook) = WebhookReceiver::spawn(|_, _| ReceiverBehaviour::Status(200)).await;
    let (ledger, directory) = ledger_with_tokens(1).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.file());
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::Executor::execute(&mut other, "BEGIN IMMEDIATE").await.unwrap();
    let _running = run(&webhook, &ledger);
    until("received", async || business.received().len() == 1).await;
    // The ledger waits two seconds for the lock, and the outbox is read every five.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(business.received().len(), 1);
    sqlx::Executor::execute(&mut other, "ROLLBACK").await.unwrap();
    until("written", async || count_waiting(&ledger).await == 0).await;
    assert_eq!(business.received().len(), 1);
}

#[tokio::test]
async fn backlog_older_than_an_hour_is_an_alarm_once_an_hour() {
    let log = CapturedLog::start();
    let (ledger, directory) = ledger_with_tokens(2).await;
    let mut alarmed = None;
    check_backlog(&ledger, &mut alarmed).await;
    assert_eq!(log.count_events("ERROR", "webhook.backlog"), 0);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.file());
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let older = "UPDATE outbox SET written_at = written_at - 3601000 WHERE id = 1";
    sqlx::Executor::execute(&mut other, older).await.unwrap();
    check_backlog(&ledger, &mut alarmed).await;
    check_backlog(&ledger, &mut alarmed).await;
    assert_eq!(log.count_events("ERROR", "webhook.backlog"), 1);
    tokio::time::pause();
    tokio::time::advance(BACKLOG_ALARM_INTERVAL).await;
    tokio::time::resume();
    check_backlog(&ledger, &mut alarmed).await;
    assert_eq!(log.count_events("ERROR", "webhook.backlog"), 2);
}

#[test]
fn retry_delays_grow_to_an_hour_and_differ() {
    let (least, most) = (Uuid::nil(), Uuid::max());
    let longest = Duration::try_from(MAX_RETRY_DELAY).unwrap();
    assert_eq!(retry_delay(0, most), Duration::from_secs(2));
    for attempts in 0..40 {
        let (short, long) = (retry_delay(attempts, least), retry_delay(attempts, most));
        assert!(short >= long / 2 && short < long && long <= longest, "{attempts}");
    }
    assert_eq!(retry_delay(u32::MAX, most), longest);
}
