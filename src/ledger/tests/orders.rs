//! One order is paid once, over all calls, callers and restarts.

use super::*;
use crate::payment::{Agreed, Consent, KnownPayment, Limits, OrderRules, Purpose};
use crate::redact::Private;

fn limits(pay_again: bool) -> Limits {
    Limits { orders: OrderRules { pay_again, same_again_minutes: 60 }, ..Limits::NONE }
}

impl Desk {
    async fn with_orders(pay_again: bool) -> Self {
        let desk = Self::new().await;
        Self { ledger: desk.ledger.within(limits(pay_again), Currency::USD), ..desk }
    }

    fn on_line(&mut self, sid: &str, caller: &str, reference: Option<&str>) {
        let order_key = reference.map(crate::ledger::orders::order_key);
        let reference = reference.map(|text| Private::new(text.to_owned()));
        let unknown = OnCall::unknown(sid.parse().unwrap());
        self.call = OnCall { caller: caller.parse().ok(), reference, order_key, ..unknown };
    }

    async fn in_the_way(&mut self, charge: &str) -> Option<State> {
        match self.opening(charge).await {
            Ok(_) => None,
            Err(Refused::Order(KnownPayment { state, .. })) => Some(state),
            Err(other) => panic!("{other}"),
        }
    }
}

const ANN: &str = "+15550100001";
const BOB: &str = "+15550100002";

#[tokio::test]
async fn an_order_has_one_payment_over_all_calls_callers_and_restarts() {
    let mut desk = Desk::with_orders(false).await;
    desk.on_line("CA1", ANN, Some("invoice-7"));
    let id = desk.opened("25", "PK1").await;
    desk.on_line("CA2", BOB, Some("invoice-7"));
    assert_eq!(desk.in_the_way("25").await, Some(State::Opened), "on another line");
    for change in [Change::Capture(Field::CardNumber), Change::Complete] {
        desk.does(&update(id, "PK1", change, 1), &Answer::Accepted).await.unwrap();
    }
    assert_eq!(desk.in_the_way("30").await, Some(State::Submitted), "whatever the amount");
    desk.ledger.call_over(&"CA1".parse().unwrap()).await.unwrap();
    let mut desk = desk.restarted().await;
    desk.ledger = desk.ledger.within(limits(false), Currency::USD);
    assert_eq!(desk.in_the_way("25").await, Some(State::Unknown));
    desk.told("PK1", &CHARGED).await;
    assert_eq!(desk.in_the_way("25").await, Some(State::Charged));
    let standing = desk.ledger.standing("invoice-7").await.unwrap().unwrap();
    assert_eq!((standing.state, standing.charge), (State::Charged, Amount::parse("25", Currency::USD).unwrap()));
    assert!(desk.in_the_way("0").await.is_none(), "to store a card is to pay nothing");
    desk.on_line("CA3", ANN, Some("invoice-8"));
    assert_eq!(desk.in_the_way("25").await, None, "another order");
}

#[tokio::test]
async fn what_ended_without_a_charge_makes_room_for_another_payment_of_the_order() {
    let mut desk = Desk::with_orders(false).await;
    desk.on_line("CA1", ANN, Some("invoice-7"));
    desk.submitted("25", "PK1").await;
    desk.told("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    desk.on_line("CA2", ANN, Some("invoice-7"));
    assert_eq!(desk.in_the_way("25").await, None);
}

#[tokio::test]
async fn a_payment_is_not_submitted_once_an_earlier_one_of_its_order_has_succeeded_after_all() {
    for reference in [Some("invoice-7"), None] {
        let mut desk = Desk::with_orders(false).await;
        desk.on_line("CA1", ANN, reference);
        desk.submitted("25", "PK1").await;
        desk.told("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
        let second = desk.opened("25", "PK2").await;
        desk.does(&update(second, "PK2", Change::Capture(Field::CardNumber), 1), &Answer::Accepted).await.unwrap();
        desk.told("PK1", &CHARGED).await;
        let refused = desk.does(&update(second, "PK2", Change::Complete, 1), &Answer::Accepted).await.unwrap_err();
        assert!(matches!(refused, Refused::Order(KnownPayment { state: State::Charged, .. })), "{refused}");
    }
}

#[test]
fn what_is_cut_from_a_reference_makes_no_two_orders_one() {
    let key = |reference: &str| {
        let setup =
            format!(r#"{{"type":"setup","callSid":"CA1","customParameters":{{"callReference":"{reference}"}}}}"#);
        let Ok(crate::relay::Incoming::Setup(setup)) = crate::relay::Incoming::parse(&setup) else { panic!() };
        OnCall::new(&setup).order_key
    };
    let long = "x".repeat(300);
    assert_ne!(key(&format!("{long}1")), key(&format!("{long}2")));
    assert_ne!(key("4242424242424242"), key("5555555555554444"), "they only look like card numbers");
    assert_eq!(key(" 7 "), key("7"));
    assert_eq!(key(" "), None);
}

#[tokio::test]
async fn where_references_repeat_the_caller_and_the_amount_are_the_order() {
    let mut desk = Desk::with_orders(true).await;
    desk.on_line("CA1", ANN, Some("customer-7"));
    desk.submitted("25", "PK1").await;
    desk.told("PK1", &CHARGED).await;
    desk.on_line("CA2", BOB, Some("customer-7"));
    assert_eq!(desk.in_the_way("25").await, None, "another caller");
    assert_eq!(desk.ledger.standing("customer-7").await.unwrap(), None);
    desk.on_line("CA3", ANN, Some("customer-7"));
    assert!(matches!(desk.opening("25").await, Err(Refused::PaidBefore { .. })));
    assert_eq!(desk.in_the_way("26").await, None, "another amount");
}

#[tokio::test]
async fn the_same_amount_of_the_same_caller_needs_a_yes_to_pay_again() {
    let mut desk = Desk::with_orders(false).await;
    desk.on_line("CA1", ANN, None);
    desk.submitted("25", "PK1").await;
    desk.told("PK1", &CHARGED).await;
    desk.on_line("CA2", ANN, None);
    let refused = desk.opening("25").await.unwrap_err();
    let amount = Amount::parse("25", Currency::USD).unwrap().unwrap();
    assert!(matches!(refused, Refused::PaidBefore { amount: paid, minutes: 0 } if paid == amount), "{refused}");
    let agreed = |purpose, consent| {
        let (text, language, version) = ("Again?".to_owned(), "en-US".to_owned(), "00000000".to_owned());
        Some(Agreed { purpose, text, language, version, consent })
    };
    for (agreed, opens) in [
        (agreed(Purpose::Charge(amount), Consent::Yes), false),
        (agreed(Purpose::ChargeAgain(amount), Consent::No), false),
        (agreed(Purpose::ChargeAgain(amount), Consent::Yes), true),
    ] {
        let id = desk.ids.make();
        let create = Create { id, key: id.create_key(), charge: Some(amount), terms: desk.terms.clone(), agreed };
        assert_eq!(desk.ledger.opening(&desk.call, &create).await.is_ok(), opens, "{:?}", create.agreed);
        if opens {
            assert_eq!(desk.kinds(id).await, ["agreed", "opening"], "the evidence is in the ledger");
        }
    }
}

#[tokio::test]
async fn a_caller_without_a_reference_has_one_payment_of_an_amount_that_is_not_over() {
    let mut desk = Desk::with_orders(false).await;
    desk.on_line("CA1", ANN, None);
    desk.submitted("25", "PK1").await;
    desk.on_line("CA2", ANN, None);
    assert_eq!(desk.in_the_way("25").await, Some(State::Submitted));
    desk.ledger.call_over(&"CA1".parse().unwrap()).await.unwrap();
    assert_eq!(desk.in_the_way("25").await, Some(State::Unknown));
    let known = desk.ledger.known(&desk.call).await.unwrap();
    assert!(matches!(known.unknown[..], [KnownPayment { state: State::Unknown, .. }]), "and it is told on every call");
    desk.on_line("CA3", BOB, None);
    assert_eq!(desk.in_the_way("25").await, None);
}

#[tokio::test]
async fn a_call_that_outlives_its_server_is_told_what_was_charged_and_what_was_agreed() {
    let mut desk = Desk::with_orders(false).await;
    desk.on_line("CA1", ANN, None);
    let amount = Amount::parse("25", Currency::USD).unwrap().unwrap();
    let (text, language, version) = ("That is 25 dollars.".to_owned(), "en-US".to_owned(), "00000000".to_owned());
    let yes = Agreed { purpose: Purpose::Charge(amount), text, language, version, consent: Consent::Yes };
    desk.ledger.record_statement(&desk.call, &yes).await.unwrap();
    let mut desk = desk.restarted().await;
    assert_eq!(desk.ledger.known(&desk.call).await.unwrap().agreed, Some(amount));
    desk.submitted("25", "PK1").await;
    let mut desk = desk.restarted().await;
    desk.ledger.take_stock().await.unwrap();
    desk.told("PK1", &CHARGED).await;
    let known = desk.ledger.known(&desk.call).await.unwrap();
    assert!(matches!(known.on_call[..], [KnownPayment { state: State::Charged, .. }]), "{known:?}");
    assert_eq!(known.agreed, None, "the yes was used");
    desk.ledger = desk.ledger.within(limits(false), Currency::USD);
    assert!(
        matches!(desk.opening("25").await, Err(Refused::PaidBefore { .. })),
        "nothing is charged twice for one yes"
    );
}

#[tokio::test]
async fn of_two_calls_at_the_same_moment_one_begins_the_payment() {
    let mut desk = Desk::with_orders(false).await;
    let mut begin = Vec::new();
    for n in 0..8 {
        desk.on_line(&format!("CA{n}"), if n % 2 == 0 { ANN } else { BOB }, Some("invoice-7"));
        let id = desk.ids.make();
        let charge = Amount::parse("25", Currency::USD).unwrap();
        let create = Create { id, key: id.create_key(), charge, terms: desk.terms.clone(), agreed: None };
        let (ledger, call) = (desk.ledger.clone(), desk.call.clone());
        begin.push(tokio::spawn(async move { ledger.opening(&call, &create).await.is_ok() }));
    }
    let mut opened = 0;
    for task in begin {
        opened += u32::from(task.await.unwrap());
    }
    assert_eq!(opened, 1);
}

#[test]
fn two_ways_to_write_one_reference_are_one_order() {
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
async fn a_call_that_comes_back_without_its_reference_keeps_its_order() {
    let mut desk = Desk::with_orders(false).await;
    desk.on_line("CA1", ANN, Some("invoice-7"));
    let id = desk.opened("25", "PK1").await;
    desk.does(&update(id, "PK1", Change::Cancel, 1), &Answer::Accepted).await.unwrap();
    desk.on_line("CA1", ANN, None);
    desk.opened("25", "PK2").await;
    desk.on_line("CA2", BOB, Some("invoice-7"));
    assert_eq!(desk.in_the_way("25").await, Some(State::Opened));
}
