//! Refunds and disputes.

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn refund(amount: &str, reference: &str) -> Refund {
    Refund { kind: RefundKind::Refund, amount: amount.to_owned(), reference: reference.to_owned(), at: None }
}

fn dispute(amount: &str, reference: &str) -> Refund {
    Refund { kind: RefundKind::Dispute, ..refund(amount, reference) }
}

async fn charged(desk: &mut Desk, sid: &str) -> PaymentId {
    let id = desk.submitted("25", sid).await;
    desk.told(sid, &CHARGED).await;
    id
}

/// What the business is told of refunds and disputes.
async fn told(desk: &Desk) -> Vec<Value> {
    let mut told = Vec::new();
    while let Some(due) = desk.ledger.due(Timestamp::now(), 9).await.unwrap().pop() {
        told.push(serde_json::from_str(due.body.expose_secret()).unwrap());
        desk.ledger.delivered(&due).await.unwrap();
    }
    told.retain(|body: &Value| !body["refund"].is_null());
    told
}

#[tokio::test]
async fn a_payment_is_refunded_in_parts_and_each_is_told() {
    let mut desk = Desk::new().await;
    let id = charged(&mut desk, "PK1").await;
    let at = Timestamp::from_second(1_790_000_000).unwrap();
    let part = desk.ledger.record_refund(id, &Refund { at: Some(at), ..refund("10", " re_1 ") }).await.unwrap();
    assert_eq!((part.state, part.refunded), (State::Charged, 1000));
    let rest = desk.ledger.record_refund(id, &refund("15.00", "re_2")).await.unwrap();
    assert_eq!((rest.state, rest.refunded), (State::Refunded, 2500));
    assert_eq!(desk.kinds(id).await.iter().filter(|kind| *kind == "refunded").count(), 2);
    let told = told(&desk).await;
    let seen: Vec<_> = told.iter().map(|body| (&body["type"], &body["state"], &body["refundedMinor"])).collect();
    let refunded = &Value::from("payment.refunded");
    assert_eq!(seen, [(refunded, &"charged".into(), &1000.into()), (refunded, &"refunded".into(), &2500.into())]);
    assert_eq!(told[0]["refund"]["reference"], "re_1");
    assert_eq!(told[0]["refund"]["at"], at.to_string());
    assert_ne!(told[0]["eventId"], told[1]["eventId"]);
}

#[tokio::test]
async fn the_same_reference_twice_is_the_same_refund() {
    let mut desk = Desk::new().await;
    let id = charged(&mut desk, "PK1").await;
    for _ in 0..3 {
        assert_eq!(desk.ledger.record_refund(id, &refund("25", "re_1")).await.unwrap().refunded, 2500);
    }
    assert_eq!(told(&desk).await.len(), 1);
    for other in [refund("10", "re_1"), dispute("25", "re_1")] {
        assert!(matches!(desk.ledger.record_refund(id, &other).await, Err(RefundError::OtherRefund)));
    }
}

#[tokio::test]
async fn no_more_is_refunded_than_was_charged_and_nothing_that_was_not() {
    let mut desk = Desk::new().await;
    let id = charged(&mut desk, "PK1").await;
    desk.ledger.record_refund(id, &refund("20", "re_1")).await.unwrap();
    for too_much in [refund("5.01", "re_2"), dispute("6", "dp_1")] {
        let error = desk.ledger.record_refund(id, &too_much).await.unwrap_err();
        assert!(error.to_string().contains("25.00 and 20.00 of it is refunded"), "{error}");
    }
    for bad in [
        refund("0", "re_2"),
        refund("1.005", "re_2"),
        refund("one", "re_2"),
        refund("1", " "),
        refund("1", &"x".repeat(65)),
        Refund { at: Some(Timestamp::now() + SignedDuration::from_hours(2)), ..refund("1", "re_2") },
    ] {
        assert!(desk.ledger.record_refund(id, &bad).await.is_err(), "{bad:?}");
    }
    desk.call = call("CA2");
    desk.call.is_of("order-2");
    let submitted = desk.submitted("25", "PK2").await;
    let error = desk.ledger.record_refund(submitted, &refund("1", "re_1")).await;
    assert!(matches!(error, Err(RefundError::NotCharged(State::Submitted))));
    let nobody = desk.ids.make();
    assert!(matches!(desk.ledger.record_refund(nobody, &refund("1", "re_1")).await, Err(RefundError::NoSuchPayment)));
}

#[tokio::test]
async fn a_card_number_in_a_reference_is_cut() {
    let mut desk = Desk::new().await;
    let id = charged(&mut desk, "PK1").await;
    desk.ledger.record_refund(id, &refund("5", "4242424242424242")).await.unwrap();
    let told = told(&desk).await;
    assert!(!told[0].to_string().contains("4242424242424242"), "{}", told[0]);
}

#[tokio::test]
async fn a_dispute_is_won_or_given_in_to() {
    let mut desk = Desk::new().await;
    let id = charged(&mut desk, "PK1").await;
    let disputed = desk.ledger.record_refund(id, &dispute("25", "dp_1")).await.unwrap();
    assert_eq!((disputed.state, disputed.refunded), (State::Disputed, 0));
    let won = Settlement { verdict: Verdict::Charged, confirmation: None, note: None, corrects: false };
    assert_eq!(desk.ledger.settle(id, &won).await.unwrap().state, State::Charged);
    desk.ledger.record_refund(id, &dispute("25", "dp_2")).await.unwrap();
    assert_eq!(desk.ledger.record_refund(id, &refund("10", "re_1")).await.unwrap().state, State::Disputed);
    assert_eq!(desk.ledger.record_refund(id, &refund("15", "re_2")).await.unwrap().state, State::Refunded);
    let kinds: Vec<Value> = told(&desk).await.into_iter().map(|mut body| body["type"].take()).collect();
    assert_eq!(kinds, ["payment.disputed", "payment.disputed", "payment.refunded", "payment.refunded"]);
}

#[tokio::test]
async fn an_order_that_was_wholly_refunded_may_be_paid_again() {
    let mut desk = Desk::new().await;
    desk.call.is_of("order-7");
    let id = charged(&mut desk, "PK1").await;
    desk.call.sid = "CA2".parse().unwrap();
    desk.ledger.record_refund(id, &refund("20", "re_1")).await.unwrap();
    assert!(matches!(desk.opening("25").await, Err(Refused::Order(_))), "a part is not enough");
    desk.ledger.record_refund(id, &refund("5", "re_2")).await.unwrap();
    assert!(desk.opening("25").await.is_ok());
}

#[tokio::test]
async fn a_settlement_is_not_corrected_once_a_refund_is_recorded() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("25", "PK1").await;
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    let settled = Settlement { verdict: Verdict::Charged, confirmation: None, note: None, corrects: false };
    desk.ledger.settle(id, &settled).await.unwrap();
    desk.ledger.record_refund(id, &refund("1", "re_1")).await.unwrap();
    let correction =
        Settlement { verdict: Verdict::Declined, note: Some("wrong".to_owned()), corrects: true, ..settled };
    assert!(matches!(desk.ledger.settle(id, &correction).await, Err(NotSettled::Refunded)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is recorded, however often.
    #[test]
    fn no_order_of_refunds_gives_back_more_than_was_charged(
        steps in prop::collection::vec((1_u64..3000, 0..6_u8, any::<bool>()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut desk = Desk::new().await;
            let id = charged(&mut desk, "PK1").await;
            for (minor, reference, is_dispute) in steps {
                let amount = Amount::from_minor(minor, Currency::USD).unwrap().to_string();
                let reference = format!("r_{reference}");
                let step = if is_dispute { dispute(&amount, &reference) } else { refund(&amount, &reference) };
                let _ = desk.ledger.record_refund(id, &step).await;
                let payment = desk.ledger.payment(id).await.unwrap().unwrap();
                assert!(payment.refunded <= 2500);
                assert!(payment.state != State::Refunded || payment.refunded == 2500);
                assert!(payment.refunded < 2500 || payment.state != State::Charged);
            }
        });
    }
}
