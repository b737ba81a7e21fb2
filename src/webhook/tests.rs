//! The webhook against a business of our own, over real sockets.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

use super::*;
use crate::ledger::{Directory, OnCall};
use crate::payment::{Answer, Change, Field, Ids, Settings, Status};
use crate::signing::Secrets;

const SECRET: &str = "a-secret-of-the-tests";

/// A business that answers with these, one after the other, and then 200.
#[derive(Clone, Default)]
struct Business {
    answers: Arc<Mutex<Vec<u16>>>,
    told: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

async fn take(
    State(business): State<Business>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    business.told.lock().unwrap().push((headers, body));
    let mut answers = business.answers.lock().unwrap();
    let answer = if answers.is_empty() { 200 } else { answers.remove(0) };
    (StatusCode::from_u16(answer).unwrap(), [("location", "/elsewhere")])
}

impl Business {
    async fn answering(answers: &[u16]) -> (Self, Webhook) {
        let business = Self { answers: Arc::new(Mutex::new(answers.to_vec())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/payments", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/payments", post(take)).with_state(business.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = config::Business { url, secrets: SECRET.into() };
        (business, Webhook::new(config).unwrap())
    }

    fn told(&self) -> Vec<(HeaderMap, String)> {
        self.told.lock().unwrap().clone()
    }
}

/// A ledger in which a card was stored on each of these calls.
async fn ledger(calls: u32) -> (Ledger, Directory) {
    let directory = Directory::new();
    let ledger = Ledger::open(&directory.file()).await.unwrap();
    for n in 0..calls {
        let sid = format!("CA{n}");
        let call = OnCall::unknown(sid.parse().unwrap());
        let id = Ids::new(Uuid::from_u128(n.into())).make();
        let (key, terms) = (id.create_key(), Settings::sample_terms());
        let create = crate::payment::Create { id, key, charge: None, terms, agreed: None };
        ledger.opening(&call, &create).await.unwrap();
        let payment = format!("PK{n}");
        ledger.created(&create, &Answer::Created(payment.parse().unwrap())).await.unwrap();
        let complete = crate::payment::Update {
            id,
            sid: payment.parse().unwrap(),
            key: id.change_key(Change::Complete, 1),
            change: Change::Complete,
            given_up: None,
        };
        let card = Change::Capture(Field::CardNumber);
        let capture = crate::payment::Update { key: id.change_key(card, 1), change: card, ..complete.clone() };
        for update in [&capture, &complete] {
            ledger.asking(&call, update).await.unwrap();
        }
        let form =
            [("CallSid", sid), ("Sid", payment), ("Result", "success".into()), ("PaymentToken", format!("tok_{n}"))];
        let form = form.map(|(name, value)| (name.to_owned(), value));
        ledger.reported(&Status::from_form(&form).unwrap()).await.unwrap();
    }
    (ledger, directory)
}

#[tokio::test]
async fn an_outcome_is_delivered_signed_with_its_token_and_then_never_again() {
    let (business, webhook) = Business::answering(&[]).await;
    let (ledger, _directory) = ledger(1).await;
    webhook.round(&ledger).await.unwrap();
    webhook.round(&ledger).await.unwrap();
    let [(headers, body)] = &business.told()[..] else { panic!() };
    assert!(body.contains(r#""state":"tokenized""#) && body.contains(r#""paymentToken":"tok_0""#), "{body}");
    assert_eq!(headers["content-type"], "application/json");
    let timestamp: u64 = headers["x-crelay-timestamp"].to_str().unwrap().parse().unwrap();
    assert!(Timestamp::now().as_second().unsigned_abs().abs_diff(timestamp) < 60);
    assert_eq!(headers["x-crelay-signature"], Secrets::from(SECRET).sign(timestamp, body.as_bytes()));
    assert_eq!(ledger.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn what_is_not_taken_is_kept_and_no_redirect_is_followed() {
    let (business, webhook) = Business::answering(&[500, 302, 404]).await;
    let (ledger, _directory) = ledger(1).await;
    for attempts in 1..=3 {
        webhook.round(&ledger).await.unwrap();
        assert_eq!(business.told().len(), attempts);
        let due = ledger.next_due().await.unwrap().expect("it is kept");
        assert!(due > Timestamp::now(), "not at once");
        let [again] = &ledger.due(due, 9).await.unwrap()[..] else { panic!() };
        ledger.postponed(again, Timestamp::now() - SignedDuration::from_secs(1)).await.unwrap();
    }
    webhook.round(&ledger).await.unwrap();
    assert_eq!((business.told().len(), ledger.next_due().await.unwrap()), (4, None));
}

#[tokio::test]
async fn many_outcomes_go_out_and_one_that_is_refused_holds_no_other_back() {
    let (business, webhook) = Business::answering(&[503]).await;
    let (ledger, _directory) = ledger(12).await;
    webhook.round(&ledger).await.unwrap();
    assert_eq!(business.told().len(), 12);
    let hour = Timestamp::now() + SignedDuration::from_hours(1);
    assert_eq!(ledger.due(hour, 99).await.unwrap().len(), 1);
}

#[test]
fn waits_grow_to_an_hour_and_differ() {
    let (least, most) = (Uuid::nil(), Uuid::max());
    assert_eq!(wait(0, most), Duration::from_secs(2));
    for attempts in 0..40 {
        let (short, long) = (wait(attempts, least), wait(attempts, most));
        assert!(short >= long / 2 && short < long && long <= LONGEST_WAIT, "{attempts}");
    }
    assert_eq!(wait(u32::MAX, most), LONGEST_WAIT);
}
