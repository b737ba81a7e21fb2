//! Tests that an order is paid once across calls, callers and restarts.

use super::*;
use crate::payment::{
    ConsentAnswer, ConsentPurpose, ConsentRecord, NoticeKind, OrderRules, PriorPayment, SpokenStatement, VelocityLimits,
};
use crate::redact::Private;

fn limits(pay_again: bool) -> VelocityLimits {
    VelocityLimits { orders: OrderRules { pay_again, same_again_minutes: 60 }, ..VelocityLimits::NONE }
}

impl TestLedger {
    async fn with_orders(pay_again: bool) -> Self {
        let test = Self::new().await;
        Self { ledger: test.ledger.with_limits(limits(pay_again), Currency::USD), ..test }
    }

    fn set_call_and_order(&mut self, sid: &str, caller: &str, reference: Option<&str>) {
        let order_key = reference.map(crate::ledger::orders::order_key);
        let reference = reference.map(|text| Private::new(text.to_owned()));
        let unknown = CallData::from_sid(sid.parse().unwrap());
        self.call = CallData { caller: caller.parse().ok(), call_reference: reference, order_key, ..unknown };
    }

    async fn blocking_state(&mut self, charge: &str) -> Option<PaymentState> {
        match self.request_create(charge).await {
            Ok(_) => None,
            Err(RecordRequestError::OrderHasPayment(PriorPayment { state, .. })) => Some(state),
            Err(other) => panic!("{other}"),
        }
    }
}

const ANN: &str = "+15550100001";
const BOB: &str = "+15550100002";

#[tokio::test]
async fn order_has_one_payment_across_calls_callers_and_restarts() {
    let mut test = TestLedger::with_orders(false).await;
    test.set_call_and_order("CA1", ANN, Some("invoice-7"));
    let id = test.create_session("25", "PK1").await;
    test.set_call_and_order("CA2", BOB, Some("invoice-7"));
    assert_eq!(test.blocking_state("25").await, Some(PaymentState::Opened), "on another line");
    for change in [UpdateAction::Capture(Field::CardNumber), UpdateAction::Complete] {
        test.update_session(&update(id, "PK1", change, 1), &TwilioResponse::Accepted).await.unwrap();
    }
    assert_eq!(test.blocking_state("30").await, Some(PaymentState::Submitted), "whatever the amount");
    test.ledger.record_call_ended(&CallData::from_sid("CA1".parse().unwrap())).await.unwrap();
    let mut test = test.restart().await;
    test.ledger = test.ledger.with_limits(limits(false), Currency::USD);
    assert_eq!(test.blocking_state("25").await, Some(PaymentState::Unknown));
    test.deliver_callback("PK1", &CHARGED).await;
    assert_eq!(test.blocking_state("25").await, Some(PaymentState::Charged));
    let standing = test.ledger.find_conflicting_payment("invoice-7").await.unwrap().unwrap();
    assert_eq!((standing.state, standing.charge), (PaymentState::Charged, Amount::parse("25", Currency::USD).unwrap()));
    assert!(test.blocking_state("0").await.is_none(), "storing a card charges nothing");
    test.set_call_and_order("CA3", ANN, Some("invoice-8"));
    assert_eq!(test.blocking_state("25").await, None, "another order");
}

#[tokio::test]
async fn payment_without_a_charge_does_not_block_the_order() {
    let mut test = TestLedger::with_orders(false).await;
    test.set_call_and_order("CA1", ANN, Some("invoice-7"));
    test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    test.set_call_and_order("CA2", ANN, Some("invoice-7"));
    assert_eq!(test.blocking_state("25").await, None);
}

#[tokio::test]
async fn payment_is_not_submitted_after_a_late_success_of_its_order() {
    for reference in [Some("invoice-7"), None] {
        let mut test = TestLedger::with_orders(false).await;
        test.set_call_and_order("CA1", ANN, reference);
        test.submit_payment("25", "PK1").await;
        test.deliver_callback("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
        let second = test.create_session("25", "PK2").await;
        test.update_session(
            &update(second, "PK2", UpdateAction::Capture(Field::CardNumber), 1),
            &TwilioResponse::Accepted,
        )
        .await
        .unwrap();
        test.deliver_callback("PK1", &CHARGED).await;
        let refused = test
            .update_session(&update(second, "PK2", UpdateAction::Complete, 1), &TwilioResponse::Accepted)
            .await
            .unwrap_err();
        assert!(
            matches!(refused, RecordRequestError::OrderHasPayment(PriorPayment { state: PaymentState::Charged, .. })),
            "{refused}"
        );
    }
}

#[test]
fn truncated_references_keep_different_order_keys() {
    let key = |reference: &str| {
        let setup =
            format!(r#"{{"type":"setup","callSid":"CA1","customParameters":{{"callReference":"{reference}"}}}}"#);
        let Ok(crate::relay::IncomingFrame::Setup(setup)) = crate::relay::IncomingFrame::parse(&setup) else {
            panic!()
        };
        CallData::from_setup(&setup).order_key
    };
    let long = "x".repeat(300);
    assert_ne!(key(&format!("{long}1")), key(&format!("{long}2")));
    assert_ne!(key("4242424242424242"), key("5555555555554444"), "two references that look like card numbers");
    assert_eq!(key(" 7 "), key("7"));
    assert_eq!(key(" "), None);
}

#[tokio::test]
async fn with_repeating_references_caller_and_amount_identify_the_order() {
    let mut test = TestLedger::with_orders(true).await;
    test.set_call_and_order("CA1", ANN, Some("customer-7"));
    test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &CHARGED).await;
    test.set_call_and_order("CA2", BOB, Some("customer-7"));
    assert_eq!(test.blocking_state("25").await, None, "another caller");
    assert_eq!(test.ledger.find_conflicting_payment("customer-7").await.unwrap(), None);
    test.set_call_and_order("CA3", ANN, Some("customer-7"));
    assert!(matches!(test.request_create("25").await, Err(RecordRequestError::RecentlyPaid { .. })));
    assert_eq!(test.blocking_state("26").await, None, "another amount");
}

#[tokio::test]
async fn same_amount_of_the_same_caller_needs_consent_to_pay_again() {
    let mut test = TestLedger::with_orders(false).await;
    test.set_call_and_order("CA1", ANN, None);
    test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &CHARGED).await;
    test.set_call_and_order("CA2", ANN, None);
    let refused = test.request_create("25").await.unwrap_err();
    let amount = Amount::parse("25", Currency::USD).unwrap().unwrap();
    assert!(
        matches!(refused, RecordRequestError::RecentlyPaid { amount: paid, minutes: 0 } if paid == amount),
        "{refused}"
    );
    let agreed = |purpose, consent| {
        let (question, language, version) = ("Again?".to_owned(), "en-US".to_owned(), "00000000".to_owned());
        Some(ConsentRecord { purpose, sha256: crate::payment::text_sha256(&question), text: question, language, text_version: version, answer: consent })
    };
    for (agreed, opens) in [
        (agreed(ConsentPurpose::Charge(amount), ConsentAnswer::Yes), false),
        (agreed(ConsentPurpose::ChargeAgain(amount), ConsentAnswer::No), false),
        (agreed(ConsentPurpose::ChargeAgain(amount), ConsentAnswer::Yes), true),
    ] {
        let id = test.ids.generate();
        let create = CreatePayment {
            id,
            idempotency_key: id.create_key(),
            charge: Some(amount),
            terms: test.terms.clone(),
            consent: agreed,
        };
        assert_eq!(test.ledger.record_create_request(&test.call, &create).await.is_ok(), opens, "{:?}", create.consent);
        if opens {
            assert_eq!(test.event_kinds(id).await, ["agreed", "opening"], "the consent is in the ledger");
        }
    }
}

#[tokio::test]
async fn without_a_reference_an_unfinished_payment_blocks_the_same_amount() {
    let mut test = TestLedger::with_orders(false).await;
    test.set_call_and_order("CA1", ANN, None);
    test.submit_payment("25", "PK1").await;
    test.set_call_and_order("CA2", ANN, None);
    assert_eq!(test.blocking_state("25").await, Some(PaymentState::Submitted));
    test.ledger.record_call_ended(&CallData::from_sid("CA1".parse().unwrap())).await.unwrap();
    assert_eq!(test.blocking_state("25").await, Some(PaymentState::Unknown));
    let known = test.ledger.load_prior_payments(&test.call).await.unwrap();
    assert!(
        matches!(known.possibly_charged[..], [PriorPayment { state: PaymentState::Unknown, .. }]),
        "it is returned for every call"
    );
    test.set_call_and_order("CA3", BOB, None);
    assert_eq!(test.blocking_state("25").await, None);
}

#[tokio::test]
async fn charges_and_consent_of_a_call_survive_a_restart() {
    let mut test = TestLedger::with_orders(false).await;
    test.set_call_and_order("CA1", ANN, None);
    let amount = Amount::parse("25", Currency::USD).unwrap().unwrap();
    let (question, language, version) = ("That is 25 dollars.".to_owned(), "en-US".to_owned(), "00000000".to_owned());
    let yes = ConsentRecord {
        purpose: ConsentPurpose::Charge(amount),
        text: question,
        sha256: crate::payment::text_sha256("as spoken"),
        language,
        text_version: version,
        answer: ConsentAnswer::Yes,
    };
    test.ledger.record_statement(&test.call, &yes).await.unwrap();
    let mut test = test.restart().await;
    assert_eq!(test.ledger.load_prior_payments(&test.call).await.unwrap().consented_amount, Some(amount));
    test.submit_payment("25", "PK1").await;
    let mut test = test.restart().await;
    test.ledger.orphan_all_payments().await;
    test.deliver_callback("PK1", &CHARGED).await;
    let known = test.ledger.load_prior_payments(&test.call).await.unwrap();
    assert!(matches!(known.on_call[..], [PriorPayment { state: PaymentState::Charged, .. }]), "{known:?}");
    assert_eq!(known.consented_amount, None, "the consent was used");
    test.ledger = test.ledger.with_limits(limits(false), Currency::USD);
    assert!(
        matches!(test.request_create("25").await, Err(RecordRequestError::RecentlyPaid { .. })),
        "one consent allows one charge"
    );
}

#[tokio::test]
async fn a_disclosure_is_recorded_once_for_each_call() {
    let mut test = TestLedger::with_orders(false).await;
    let heard = SpokenStatement {
        text: "This is the assistant of \"Acme\".".to_owned(),
        recorded_text: "This is the assistant of \"Acme\".".to_owned(),
        language: "en-US".to_owned(),
        text_version: "00000000".to_owned(),
    };
    for call in ["CA1", "CA2"] {
        test.set_call_and_order(call, ANN, None);
        assert!(!test.ledger.load_prior_payments(&test.call).await.unwrap().is_disclosed);
        for _ in 0..2 {
            test.ledger.record_notice(&test.call, NoticeKind::Disclosure, &heard).await.unwrap();
        }
        let mut restarted = test.restart().await;
        restarted.set_call_and_order(call, ANN, None);
        let known = restarted.ledger.load_prior_payments(&restarted.call).await.unwrap();
        assert!(known.is_disclosed && known.is_empty());
        let statements = restarted.ledger.statements(&restarted.call.call_sid).await.unwrap();
        let [statement] = &statements[..] else { panic!("{} statements", statements.len()) };
        assert_eq!(statement.kind, "statement");
        let data: serde_json::Value = serde_json::from_str(statement.data.get()).unwrap();
        assert_eq!((&data["purpose"], &data["text"]), (&"disclosure".into(), &heard.text.as_str().into()));
        assert_eq!((&data["language"], &data["version"]), (&"en-US".into(), &"00000000".into()));
        assert!(data["answer"].is_null(), "it needs no answer");
        test = restarted;
    }
}

#[tokio::test]
async fn of_simultaneous_calls_one_starts_the_payment() {
    let mut test = TestLedger::with_orders(false).await;
    let mut begin = Vec::new();
    for n in 0..8 {
        test.set_call_and_order(&format!("CA{n}"), if n % 2 == 0 { ANN } else { BOB }, Some("invoice-7"));
        let id = test.ids.generate();
        let charge = Amount::parse("25", Currency::USD).unwrap();
        let create =
            CreatePayment { id, idempotency_key: id.create_key(), charge, terms: test.terms.clone(), consent: None };
        let (ledger, call) = (test.ledger.clone(), test.call.clone());
        begin.push(tokio::spawn(async move { ledger.record_create_request(&call, &create).await.is_ok() }));
    }
    let mut opened = 0;
    for task in begin {
        opened += u32::from(task.await.unwrap());
    }
    assert_eq!(opened, 1);
}

#[test]
fn spellings_of_one_reference_are_one_order() {
    let key = crate::ledger::orders::order_key;
    for other in [" inv 7", "inv  7", "inv\u{a0}7", "in\u{200b}v 7", "\u{feff}inv 7\u{0}"] {
        assert_eq!(key(other), key("inv 7"), "{other:?}");
    }
    assert_eq!(key("inv\u{2011}7"), key("inv-7"));
    for other in ["inv 8", "INV 7", "inv7", "inv-7"] {
        assert_ne!(key(other), key("inv 7"), "{other:?}");
    }
}

#[tokio::test]
async fn reconnected_call_without_its_reference_keeps_its_order() {
    let mut test = TestLedger::with_orders(false).await;
    test.set_call_and_order("CA1", ANN, Some("invoice-7"));
    let id = test.create_session("25", "PK1").await;
    test.update_session(&update(id, "PK1", UpdateAction::Cancel, 1), &TwilioResponse::Accepted).await.unwrap();
    test.set_call_and_order("CA1", ANN, None);
    test.create_session("25", "PK2").await;
    test.set_call_and_order("CA2", BOB, Some("invoice-7"));
    assert_eq!(test.blocking_state("25").await, Some(PaymentState::Opened));
}

#[tokio::test]
async fn the_order_that_a_tool_of_the_business_names_during_the_call_is_paid_once_too() {
    let mut test = TestLedger::with_orders(false).await;
    test.set_call_and_order("CA1", ANN, Some("invoice-7"));
    let named = |references: &str| {
        let answer = format!(r#"{{"amountDue":"25","description":"Invoice",{references}}}"#);
        let due = crate::payment::BusinessDue::parse(&answer).unwrap().unwrap();
        let settings = crate::payment::PaymentSettings::sample();
        std::sync::Arc::new(settings.parse_terms_with_due(&std::collections::BTreeMap::new(), &due).unwrap())
    };
    test.terms = named(r#""callReference":"call-8","orderReference":"invoice-8""#);
    let id = test.create_session("25", "PK1").await;
    let payment = test.ledger.payment(id).await.unwrap().unwrap();
    let shown = |reference: Option<Private<String>>| reference.map(Private::into_inner);
    assert_eq!(shown(payment.call_reference).as_deref(), Some("call-8"));
    assert_eq!(shown(payment.order_reference).as_deref(), Some("invoice-8"));
    test.set_call_and_order("CA2", BOB, Some("invoice-8"));
    test.terms = crate::payment::PaymentSettings::sample_terms();
    assert_eq!(
        test.blocking_state("25").await,
        Some(PaymentState::Opened),
        "another call for the order that was named"
    );
    test.set_call_and_order("CA3", BOB, Some("invoice-9"));
    test.terms = named(r#""orderReference":"invoice-8 ""#);
    assert_eq!(test.blocking_state("25").await, Some(PaymentState::Opened), "named on another call");
    test.terms = named(r#""orderReference":"invoice-10""#);
    assert_eq!(test.blocking_state("25").await, None, "another order");
}
