//! Tests of refunds and disputes.

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn refund(amount: &str, reference: &str) -> Refund {
    Refund {
        kind: RefundKind::Refund,
        amount: amount.to_owned(),
        reference: reference.to_owned(),
        at: None,
        operator: None,
    }
}

fn dispute(amount: &str, reference: &str) -> Refund {
    Refund { kind: RefundKind::Dispute, ..refund(amount, reference) }
}

async fn charge(test: &mut TestLedger, sid: &str) -> PaymentId {
    let id = test.submit_payment("25", sid).await;
    test.deliver_callback(sid, &CHARGED).await;
    id
}

/// Delivers all outcomes and returns those of refunds and disputes.
async fn deliver_refund_events(test: &TestLedger) -> Vec<Value> {
    let mut told = Vec::new();
    while let Some(due) = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().pop() {
        told.push(serde_json::from_str(due.body.as_ref().unwrap().expose_secret()).unwrap());
        test.ledger.record_delivered(&due).await.unwrap();
    }
    told.retain(|body: &Value| !body["refund"].is_null());
    told
}

#[tokio::test]
async fn each_partial_refund_is_recorded_and_delivered() {
    let mut test = TestLedger::new().await;
    let id = charge(&mut test, "PK1").await;
    let at = Timestamp::from_second(1_790_000_000).unwrap();
    let part = test.ledger.record_refund(id, &Refund { at: Some(at), ..refund("10", " re_1 ") }).await.unwrap();
    assert_eq!((part.state, part.refunded), (PaymentState::Charged, 1000));
    let rest = test.ledger.record_refund(id, &refund("15.00", "re_2")).await.unwrap();
    assert_eq!((rest.state, rest.refunded), (PaymentState::Refunded, 2500));
    assert_eq!(test.event_kinds(id).await.iter().filter(|kind| *kind == "refunded").count(), 2);
    let told = deliver_refund_events(&test).await;
    let seen: Vec<_> = told.iter().map(|body| (&body["type"], &body["state"], &body["refundedMinor"])).collect();
    let refunded = &Value::from("payment.refunded");
    assert_eq!(seen, [(refunded, &"charged".into(), &1000.into()), (refunded, &"refunded".into(), &2500.into())]);
    assert_eq!(told[0]["refund"]["reference"], "re_1");
    assert_eq!(told[0]["refund"]["at"], at.to_string());
    assert_ne!(told[0]["eventId"], told[1]["eventId"]);
}

#[tokio::test]
async fn same_reference_is_the_same_refund() {
    let mut test = TestLedger::new().await;
    let id = charge(&mut test, "PK1").await;
    for _ in 0..3 {
        assert_eq!(test.ledger.record_refund(id, &refund("25", "re_1")).await.unwrap().refunded, 2500);
    }
    assert_eq!(deliver_refund_events(&test).await.len(), 1);
    for other in [refund("10", "re_1"), dispute("25", "re_1")] {
        assert!(matches!(test.ledger.record_refund(id, &other).await, Err(RefundError::ReferenceTaken)));
    }
}

#[tokio::test]
async fn refund_is_limited_to_the_charged_amount() {
    let mut test = TestLedger::new().await;
    let id = charge(&mut test, "PK1").await;
    test.ledger.record_refund(id, &refund("20", "re_1")).await.unwrap();
    for too_much in [refund("5.01", "re_2"), dispute("6", "dp_1")] {
        let error = test.ledger.record_refund(id, &too_much).await.unwrap_err();
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
        assert!(test.ledger.record_refund(id, &bad).await.is_err(), "{bad:?}");
    }
    test.call = call("CA2");
    test.call.set_call_reference("order-2");
    let submitted = test.submit_payment("25", "PK2").await;
    let error = test.ledger.record_refund(submitted, &refund("1", "re_1")).await;
    assert!(matches!(error, Err(RefundError::NotCharged(PaymentState::Submitted))));
    let missing = test.ids.generate();
    assert!(matches!(test.ledger.record_refund(missing, &refund("1", "re_1")).await, Err(RefundError::NoSuchPayment)));
}

#[tokio::test]
async fn a_reference_that_may_be_a_card_number_is_refused() {
    let mut test = TestLedger::new().await;
    let id = charge(&mut test, "PK1").await;
    for reference in ["4242424242424242", "re_4111111111111111", "5555 5555 5555 4444"] {
        let refused = test.ledger.record_refund(id, &refund("5", reference)).await;
        assert!(matches!(refused, Err(RefundError::ReferenceLikeCard)), "without it, all of them would be one refund");
    }
    assert_eq!(test.ledger.payment(id).await.unwrap().unwrap().refunded, 0);
}

#[tokio::test]
async fn dispute_ends_as_charged_or_refunded() {
    let mut test = TestLedger::new().await;
    let id = charge(&mut test, "PK1").await;
    let disputed = test.ledger.record_refund(id, &dispute("25", "dp_1")).await.unwrap();
    assert_eq!((disputed.state, disputed.refunded), (PaymentState::Disputed, 0));
    let won = Settlement {
        outcome: SettledOutcome::Charged,
        confirmation: None,
        note: None,
        is_correction: false,
        operator: None,
    };
    assert_eq!(test.ledger.settle(id, &won).await.unwrap().state, PaymentState::Charged);
    test.ledger.record_refund(id, &dispute("25", "dp_2")).await.unwrap();
    assert_eq!(test.ledger.record_refund(id, &refund("10", "re_1")).await.unwrap().state, PaymentState::Disputed);
    assert_eq!(test.ledger.record_refund(id, &refund("15", "re_2")).await.unwrap().state, PaymentState::Refunded);
    let kinds: Vec<Value> =
        deliver_refund_events(&test).await.into_iter().map(|mut body| body["type"].take()).collect();
    assert_eq!(kinds, ["payment.disputed", "payment.disputed", "payment.refunded", "payment.refunded"]);
}

#[tokio::test]
async fn fully_refunded_order_may_be_paid_again() {
    let mut test = TestLedger::new().await;
    test.call.set_call_reference("order-7");
    let id = charge(&mut test, "PK1").await;
    test.call.call_sid = "CA2".parse().unwrap();
    test.ledger.record_refund(id, &refund("20", "re_1")).await.unwrap();
    assert!(
        matches!(test.request_create("25").await, Err(RecordRequestError::OrderHasPayment(_))),
        "a part is not enough"
    );
    test.ledger.record_refund(id, &refund("5", "re_2")).await.unwrap();
    assert!(test.request_create("25").await.is_ok());
}

#[tokio::test]
async fn settlement_with_a_refund_is_not_corrected() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("25", "PK1").await;
    test.ledger.record_call_ended(&test.call).await.unwrap();
    let settled = Settlement {
        outcome: SettledOutcome::Charged,
        confirmation: None,
        note: None,
        is_correction: false,
        operator: None,
    };
    test.ledger.settle(id, &settled).await.unwrap();
    test.ledger.record_refund(id, &refund("1", "re_1")).await.unwrap();
    let correction = Settlement {
        outcome: SettledOutcome::Declined,
        note: Some("wrong".to_owned()),
        is_correction: true,
        ..settled
    };
    assert!(matches!(test.ledger.settle(id, &correction).await, Err(SettleError::RefundRecorded)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Random refunds and disputes, some with the same reference.
    #[test]
    fn no_sequence_of_refunds_exceeds_the_charge(
        steps in prop::collection::vec((1_u64..3000, 0..6_u8, any::<bool>()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut test = TestLedger::new().await;
            let id = charge(&mut test, "PK1").await;
            for (minor, reference, is_dispute) in steps {
                let amount = Amount::from_minor(minor, Currency::USD).unwrap().to_string();
                let reference = format!("r_{reference}");
                let step = if is_dispute { dispute(&amount, &reference) } else { refund(&amount, &reference) };
                let _ = test.ledger.record_refund(id, &step).await;
                let payment = test.ledger.payment(id).await.unwrap().unwrap();
                assert!(payment.refunded <= 2500);
                assert!(payment.state != PaymentState::Refunded || payment.refunded == 2500);
                assert!(payment.refunded < 2500 || payment.state != PaymentState::Charged);
            }
        });
    }
}
