//! The webhook against receivers of our own, over real sockets.

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
use crate::ledger::{Directory, OnCall};
use crate::payment::{Answer, Change, Field, Ids, Settings, Status};
use crate::signing::Secrets;

const SECRET: &str = "a-secret-of-the-tests";
const PATIENCE: Duration = Duration::from_secs(8);

/// What a receiver does with a request.
#[derive(Clone, Copy)]
enum Answering {
    Status(u16),
    /// The head of the answer does not come.
    Hangs,
    /// The head says 200, and the body has no end.
    Drips,
}

type Answers = dyn Fn(&str, usize) -> Answering + Send + Sync;

/// A receiver whose answer depends on the body and on how many requests came before.
#[derive(Clone)]
struct Business {
    answers: Arc<Answers>,
    received: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

async fn receive(State(business): State<Business>, headers: HeaderMap, body: String) -> Response {
    let count = {
        let mut received = business.received.lock().unwrap();
        received.push((headers, body.clone()));
        received.len()
    };
    match (business.answers)(&body, count - 1) {
        Answering::Status(status) => {
            (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")]).into_response()
        }
        Answering::Hangs => std::future::pending().await,
        Answering::Drips => Body::from_stream(stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, std::convert::Infallible>("."), ()))
        }))
        .into_response(),
    }
}

impl Business {
    async fn answering(answers: impl Fn(&str, usize) -> Answering + Send + Sync + 'static) -> (Self, Arc<Webhook>) {
        let business = Self { answers: Arc::new(answers), received: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/payments", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/payments", post(receive)).with_state(business.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let secrets = Secrets::new(SECRET.into(), Some("the-secret-before".into()));
        (business, Arc::new(Webhook::new(config::Business { url, secrets }).unwrap()))
    }

    fn received(&self) -> Vec<(HeaderMap, String)> {
        self.received.lock().unwrap().clone()
    }
}

/// A webhook that delivers as long as the value lives.
fn run(webhook: &Arc<Webhook>, ledger: &Ledger) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(webhook.clone().run(ledger.clone())))
}

/// A ledger in which a card was stored on each of these calls.
async fn ledger(calls: u32) -> (Ledger, Directory) {
    let directory = Directory::new();
    let ledger = Ledger::open(&directory.file()).await.unwrap();
    for n in 0..calls {
        submit(&ledger, n).await;
        succeed(&ledger, n).await;
    }
    (ledger, directory)
}

async fn submit(ledger: &Ledger, n: u32) {
    let call = OnCall::unknown(format!("CA{n}").parse().unwrap());
    let id = Ids::new(Uuid::from_u128(n.into())).make();
    let (key, terms) = (id.create_key(), Settings::sample_terms());
    let create = crate::payment::Create { id, key, charge: None, terms, agreed: None };
    let sid: crate::sid::PaymentSid = format!("PK{n}").parse().unwrap();
    ledger.opening(&call, &create).await.unwrap();
    ledger.created(&create, &Answer::Created(sid.clone())).await.unwrap();
    for change in [Change::Capture(Field::CardNumber), Change::Complete] {
        let (sid, key) = (sid.clone(), id.change_key(change, 1));
        ledger.asking(&call, &crate::payment::Update { id, sid, key, change, given_up: None }).await.unwrap();
    }
}

async fn succeed(ledger: &Ledger, n: u32) {
    let form = [
        ("CallSid", format!("CA{n}")),
        ("Sid", format!("PK{n}")),
        ("Result", "success".to_owned()),
        ("PaymentToken", format!("tok_{n}")),
    ];
    let form = form.map(|(name, value)| (name.to_owned(), value));
    ledger.reported(&Status::from_form(&form).unwrap()).await.unwrap();
}

/// Polls until it is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waits = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn waiting(ledger: &Ledger) -> u64 {
    ledger.backlog().await.unwrap().waiting
}

#[tokio::test]
async fn an_outcome_is_delivered_signed_with_its_token_and_then_never_again() {
    let (business, webhook) = Business::answering(|_, _| Answering::Status(200)).await;
    let (ledger, _directory) = ledger(1).await;
    let _running = run(&webhook, &ledger);
    until("delivered", async || waiting(&ledger).await == 0).await;
    let [(headers, body)] = &business.received()[..] else { panic!() };
    assert!(body.contains(r#""state":"tokenized""#) && body.contains(r#""paymentToken":"tok_0""#), "{body}");
    assert_eq!(headers["content-type"], "application/json");
    let timestamp: u64 = headers["x-crelay-timestamp"].to_str().unwrap().parse().unwrap();
    assert!(Timestamp::now().as_second().unsigned_abs().abs_diff(timestamp) < 60);
    let signatures = headers["x-crelay-signature"].to_str().unwrap();
    assert_eq!(signatures.split(',').count(), 2);
    for secret in [SECRET, "the-secret-before"] {
        assert!(Secrets::from(secret).verify(timestamp, body.as_bytes(), signatures), "{secret}");
    }
}

#[tokio::test]
async fn what_is_not_accepted_is_kept_and_no_redirect_is_followed() {
    let (business, webhook) =
        Business::answering(|_, before| Answering::Status([500, 302, 404].get(before).copied().unwrap_or(200))).await;
    let (ledger, _directory) = ledger(1).await;
    let _running = run(&webhook, &ledger);
    for attempts in 1..=3 {
        until("refused", async || {
            let due = ledger.due(Timestamp::now() + LONGEST_WAIT, 9).await.unwrap();
            due.len() == 1 && due[0].attempts == attempts
        })
        .await;
        assert_eq!(business.received().len(), attempts as usize);
        let next = ledger.next_due(Timestamp::now()).await.unwrap();
        assert!(next.is_some_and(|next| next > Timestamp::now()), "not at once: {next:?}");
        ledger.deliver_now().await.unwrap();
    }
    until("accepted", async || waiting(&ledger).await == 0).await;
    assert_eq!(business.received().len(), 4);
}

#[tokio::test]
async fn receivers_that_hang_or_drip_delay_no_other_outcome() {
    for slow in [Answering::Hangs, Answering::Drips] {
        let is_slow = |body: &str| (0..20).any(|n| body.contains(&format!("\"callSid\":\"CA{n}\"")));
        let (business, webhook) =
            Business::answering(move |body, _| if is_slow(body) { slow } else { Answering::Status(200) }).await;
        let (ledger, _directory) = ledger(40).await;
        let _running = run(&webhook, &ledger);
        until("the others are delivered", async || waiting(&ledger).await <= 20).await;
        submit(&ledger, 99).await;
        succeed(&ledger, 99).await;
        until("a later one is received", async || business.received().iter().any(|(_, body)| body.contains("CA99")))
            .await;
        if matches!(slow, Answering::Drips) {
            until("the body is not waited for", async || waiting(&ledger).await == 0).await;
        }
    }
}

#[tokio::test]
async fn the_events_of_one_payment_stay_in_order() {
    let (business, webhook) =
        Business::answering(|_, before| if before == 0 { Answering::Hangs } else { Answering::Status(200) }).await;
    let directory = Directory::new();
    let ledger = Ledger::open(&directory.file()).await.unwrap();
    submit(&ledger, 1).await;
    ledger.call_over(&"CA1".parse().unwrap()).await.unwrap();
    let running = run(&webhook, &ledger);
    until("the first is in flight", async || business.received().len() == 1).await;
    succeed(&ledger, 1).await;
    submit(&ledger, 2).await;
    succeed(&ledger, 2).await;
    until("another payment's is received", async || business.received().iter().any(|(_, body)| body.contains("CA2")))
        .await;
    assert!(!business.received().iter().any(|(_, body)| body.contains("tok_1")), "the later one has to wait");
    // As a restart: the attempt in flight is lost, and made again.
    drop(running);
    let _running = run(&webhook, &ledger);
    until("all are delivered", async || waiting(&ledger).await == 0).await;
    let of_the_first: Vec<String> =
        business.received().into_iter().map(|(_, body)| body).filter(|body| body.contains("CA1")).collect();
    let unknown = of_the_first.iter().rposition(|body| body.contains("unknown")).unwrap();
    let stored = of_the_first.iter().position(|body| body.contains("tok_1")).unwrap();
    assert!(unknown < stored, "{of_the_first:?}");
}

#[tokio::test]
async fn an_outcome_whose_acceptance_cannot_be_written_is_not_posted_again_and_again() {
    let (business, webhook) = Business::answering(|_, _| Answering::Status(200)).await;
    let (ledger, directory) = ledger(1).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.file());
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::Executor::execute(&mut other, "BEGIN IMMEDIATE").await.unwrap();
    let _running = run(&webhook, &ledger);
    until("received", async || business.received().len() == 1).await;
    // The ledger waits for two seconds for the other, and the outbox is read every five.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(business.received().len(), 1);
    sqlx::Executor::execute(&mut other, "ROLLBACK").await.unwrap();
    until("written", async || waiting(&ledger).await == 0).await;
    assert_eq!(business.received().len(), 1);
}

#[tokio::test]
async fn an_outcome_that_waits_for_more_than_an_hour_is_an_alarm_once_an_hour() {
    let log = CapturedLog::begin();
    let (ledger, directory) = ledger(2).await;
    let mut alarmed = None;
    check_backlog(&ledger, &mut alarmed).await;
    assert_eq!(log.count("ERROR", "webhook.backlog"), 0);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.file());
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let older = "UPDATE outbox SET written_at = written_at - 3601000 WHERE id = 1";
    sqlx::Executor::execute(&mut other, older).await.unwrap();
    check_backlog(&ledger, &mut alarmed).await;
    check_backlog(&ledger, &mut alarmed).await;
    assert_eq!(log.count("ERROR", "webhook.backlog"), 1);
    tokio::time::pause();
    tokio::time::advance(BACKLOG_REPEAT).await;
    tokio::time::resume();
    check_backlog(&ledger, &mut alarmed).await;
    assert_eq!(log.count("ERROR", "webhook.backlog"), 2);
}

#[test]
fn waits_grow_to_an_hour_and_differ() {
    let (least, most) = (Uuid::nil(), Uuid::max());
    let longest = Duration::try_from(LONGEST_WAIT).unwrap();
    assert_eq!(wait(0, most), Duration::from_secs(2));
    for attempts in 0..40 {
        let (short, long) = (wait(attempts, least), wait(attempts, most));
        assert!(short >= long / 2 && short < long && long <= longest, "{attempts}");
    }
    assert_eq!(wait(u32::MAX, most), longest);
}
