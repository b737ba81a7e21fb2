//! Caps, and card testing.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::payment::{AmountCaps, Caps, CardTesting, Limits};
use crate::phone_number::PhoneNumber;

const DECLINE: [(&str, &str); 2] = [("Result", "payment-connector-error"), ("PayErrorCode", "64008")];

fn caps(wrong_entries: Option<u32>, declines: Option<u32>, payments: Option<u32>, amount: Option<&str>) -> Caps {
    Caps { wrong_entries, declines, payments, amount: amount.map(|text| AmountCaps::Configured(text.parse().unwrap())) }
}

fn only_testing() -> Limits {
    Limits { card_testing: Some(CardTesting::default()), ..Limits::NONE }
}

fn from(caller: &str) -> Option<PhoneNumber> {
    caller.parse().ok()
}

impl Desk {
    async fn within(limits: Limits) -> Self {
        let desk = Self::new().await;
        Self { ledger: desk.ledger.within(limits, Currency::USD), ..desk }
    }

    /// A call of its own for each payment that follows.
    fn on(&mut self, sid: &str) -> &mut Self {
        self.call.sid = sid.parse().unwrap();
        self
    }

    /// Everything that is written is so much older.
    async fn ages(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap();
        for change in [
            "DROP TRIGGER IF EXISTS events_do_not_change".to_owned(),
            format!("UPDATE events SET at = at - {ms}"),
            format!("UPDATE payments SET opened_at = opened_at - {ms}"),
        ] {
            self.executes(&change).await.unwrap();
        }
    }

    async fn wrong(&self, sid: &str, n: u32) {
        let at = format!("2026-08-30T10:00:00.{n:03}Z");
        let entry = [("Capture", "payment-card-number"), ("ErrorType", "invalid-card-number"), ("DateUpdated", &*at)];
        assert_eq!(self.told(sid, &entry).await, Reported::Written);
    }

    /// A payment up to its submission, with a card that ends like this.
    async fn with_card(&mut self, sid: &str, last4: &str) -> PaymentId {
        let id = self.opened("25", sid).await;
        self.does(&update(id, sid, Change::Capture(Field::CardNumber), 1), &Answer::Accepted).await.unwrap();
        let mask = format!("xxxxxxxxxxxx{last4}");
        let entered = [
            ("Capture", "payment-card-number"),
            ("PartialResult", "false"),
            ("Required", ""),
            ("PaymentCardNumber", &*mask),
        ];
        self.told(sid, &entered).await;
        id
    }

    async fn submits(&self, id: PaymentId, sid: &str) -> Result<(), Refused> {
        self.does(&update(id, sid, Change::Complete, 1), &Answer::Accepted).await
    }

    async fn declined(&mut self, sid: &str, last4: &str) -> PaymentId {
        let id = self.with_card(sid, last4).await;
        self.submits(id, sid).await.unwrap();
        self.told(sid, &DECLINE).await;
        assert_eq!(self.state(id).await, State::Declined);
        id
    }

    /// Which cap speaks against another payment.
    async fn barred(&mut self, charge: &str) -> Option<String> {
        match self.opening(charge).await {
            Ok(_) => None,
            Err(Refused::Barred(bar)) => Some(bar.to_string()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn alerts(&self) -> Vec<String> {
        let alerts = "SELECT json_extract(data, '$.seen') FROM events WHERE kind = 'card-testing' ORDER BY id";
        sqlx::query_scalar(alerts).fetch_all(&self.ledger.0.readers).await.unwrap()
    }
}

/// The same caps in each scope: that of the call, of the caller, of the hour.
fn each_scope(caps: Caps) -> [(Limits, &'static str); 3] {
    [
        (Limits { per_call: caps.clone(), ..Limits::NONE }, "perCall"),
        (Limits { per_caller: caps.clone(), ..Limits::NONE }, "perCallerIn24Hours"),
        (Limits { per_hour: caps, ..Limits::NONE }, "perHour"),
    ]
}

/// What is beyond the reach of a scope: another call, another caller, another hour.
async fn out_of_reach(desk: &mut Desk, scope: &str) {
    match scope {
        "perCall" => drop(desk.on("CA2")),
        "perCallerIn24Hours" => desk.call.caller = from("+15550100002"),
        _ => desk.ages(Duration::from_secs(3_601)).await,
    }
}

#[tokio::test]
async fn no_more_payments_are_begun_than_may_be() {
    for (limits, scope) in each_scope(caps(None, None, Some(2), None)) {
        let mut desk = Desk::within(limits).await;
        for _ in 0..2 {
            desk.opening("25").await.unwrap();
        }
        assert_eq!(desk.barred("25").await, Some(format!("{scope}.payments")));
        assert_eq!(desk.barred("25").await, Some(format!("{scope}.payments")));
        out_of_reach(&mut desk, scope).await;
        assert_eq!(desk.barred("25").await, None, "{scope}");
    }
}

#[tokio::test]
async fn no_more_is_charged_than_may_be_and_what_came_to_nothing_does_not_count() {
    for (limits, scope) in each_scope(caps(None, None, None, Some("50.00"))) {
        let mut desk = Desk::within(limits).await;
        let cancelled = desk.opened("50", "PK1").await;
        desk.told("PK1", &[("Result", "transaction-cancelled")]).await;
        assert_eq!(desk.state(cancelled).await, State::Cancelled);
        desk.submitted("30", "PK2").await;
        desk.told("PK2", &CHARGED).await;
        assert_eq!(desk.barred("20.01").await, Some(format!("{scope}.amount")));
        assert_eq!(desk.barred("0").await, None, "nothing is charged where a card is stored");
        assert_eq!(desk.barred("20").await, None, "to the cent");
        out_of_reach(&mut desk, scope).await;
        assert_eq!(desk.barred("50").await, None, "{scope}");
    }
}

/// A cap on amounts in each of these currencies.
fn each_currency(caps: &[(&str, &str)]) -> Caps {
    let each = caps.iter().map(|(code, most)| (code.parse().unwrap(), most.parse().unwrap())).collect();
    Caps { amount: Some(AmountCaps::Each(Arc::new(each))), ..Caps::default() }
}

impl Desk {
    /// A payment of so much, such as `25 EUR`.
    async fn opening_of(&mut self, money: &str) -> Result<Create, Refused> {
        let (amount, code) = money.split_once(' ').unwrap();
        let id = self.ids.make();
        let charge = Amount::parse(amount, code.parse().unwrap()).unwrap();
        let create = Create { id, key: id.create_key(), charge, terms: self.terms.clone(), agreed: None };
        self.ledger.opening(&self.call, &create).await.map(|()| create)
    }

    /// A payment of so much, charged; or why it was refused.
    async fn charges(&mut self, n: usize, money: &str) -> Result<(), String> {
        let sid = format!("PK{n}");
        let create = self.opening_of(money).await.map_err(|refused| refused.to_string())?;
        self.ledger.created(&create, &Answer::Created(sid.parse().unwrap())).await.unwrap();
        self.does(&update(create.id, &sid, Change::Capture(Field::CardNumber), 1), &Answer::Accepted).await.unwrap();
        self.submits(create.id, &sid).await.unwrap();
        self.told(&sid, &CHARGED).await;
        assert_eq!(self.state(create.id).await, State::Charged);
        Ok(())
    }
}

#[tokio::test]
async fn euros_do_not_pass_a_cap_of_dollars() {
    let limits = Limits { per_hour: caps(None, None, None, Some("30")), ..Limits::NONE };
    let mut desk = Desk::within(limits).await;
    desk.charges(1, "25 USD").await.unwrap();
    let refused = desk.charges(2, "9000 EUR").await.unwrap_err();
    assert!(refused.contains("perHour.amount"), "{refused}");
    assert!(desk.charges(3, "1 EUR").await.is_err(), "there is no cap for euros, and there is a cap");
    desk.charges(4, "5 USD").await.unwrap();
}

#[tokio::test]
async fn what_is_charged_in_each_currency_counts_against_its_own_cap() {
    for (limits, scope) in each_scope(each_currency(&[("USD", "50"), ("EUR", "40.00"), ("JPY", "5000")])) {
        let mut desk = Desk::within(limits).await;
        desk.charges(1, "50 USD").await.unwrap();
        desk.charges(2, "40 EUR").await.unwrap();
        desk.charges(3, "4999 JPY").await.unwrap();
        for more in ["0.01 USD", "0.01 EUR", "2 JPY", "1 GBP"] {
            let refused = desk.charges(4, more).await.unwrap_err();
            assert!(refused.contains(&format!("{scope}.amount")), "{more}: {refused}");
        }
        desk.charges(5, "1 JPY").await.unwrap();
    }
}

#[tokio::test]
async fn after_so_many_declines_nothing_is_begun_or_submitted() {
    for (limits, scope) in each_scope(caps(None, Some(2), None, None)) {
        let mut desk = Desk::within(limits).await;
        desk.declined("PK1", "0001").await;
        // The other call of the same caller submits first.
        desk.on(if scope == "perCall" { "CA1" } else { "CA2" });
        desk.declined("PK2", "0002").await;
        desk.on("CA1");
        assert_eq!(desk.barred("25").await, Some(format!("{scope}.declines")));
        out_of_reach(&mut desk, scope).await;
        assert_eq!(desk.barred("25").await, None, "{scope}");
    }
}

#[tokio::test]
async fn a_submission_waits_for_no_decline_that_would_pass_the_cap() {
    let mut desk = Desk::within(Limits { per_caller: caps(None, Some(2), None, None), ..Limits::NONE }).await;
    desk.declined("PK1", "0001").await;
    let second = desk.on("CA2").with_card("PK2", "0002").await;
    let third = desk.on("CA3").with_card("PK3", "0003").await;
    desk.submits(second, "PK2").await.unwrap();
    let refused = desk.submits(third, "PK3").await.unwrap_err();
    assert!(matches!(&refused, Refused::Barred(bar) if bar.to_string() == "perCallerIn24Hours.declines"));
    assert_eq!(
        (desk.state(third).await, desk.kinds(third).await.pop().unwrap()),
        (State::Capturing, "barred".to_owned())
    );
    desk.submits(second, "PK2").await.expect("the same request once more is no other");
    desk.told("PK2", &CHARGED).await;
    desk.submits(third, "PK3").await.expect("it was not declined");
}

#[tokio::test]
async fn after_so_many_wrong_entries_nothing_is_entered_or_begun() {
    for (limits, scope) in each_scope(caps(Some(2), None, None, None)) {
        let mut desk = Desk::within(limits).await;
        let id = desk.opened("25", "PK1").await;
        let card = |n| update(id, "PK1", Change::Capture(Field::CardNumber), n);
        desk.does(&card(1), &Answer::Accepted).await.unwrap();
        desk.wrong("PK1", 1).await;
        desk.does(&card(2), &Answer::Accepted).await.expect("one more may be");
        desk.wrong("PK1", 2).await;
        let refused = desk.does(&card(3), &Answer::Accepted).await.unwrap_err();
        assert!(matches!(&refused, Refused::Barred(bar) if bar.to_string() == format!("{scope}.wrongEntries")));
        let cancel = Update { given_up: Some("a guard"), ..update(id, "PK1", Change::Cancel, 1) };
        desk.does(&cancel, &Answer::Accepted).await.unwrap();
        desk.told("PK1", &[("Result", "transaction-cancelled")]).await;
        assert_eq!(desk.state(id).await, State::Abandoned, "and why stands there");
        assert_eq!(desk.barred("25").await, Some(format!("{scope}.wrongEntries")));
        out_of_reach(&mut desk, scope).await;
        assert_eq!(desk.barred("25").await, None, "{scope}");
    }
}

#[tokio::test]
async fn a_day_later_a_caller_begins_anew_and_one_without_a_number_has_no_day() {
    let mut desk = Desk::within(Limits { per_caller: caps(None, None, Some(1), None), ..Limits::NONE }).await;
    desk.opening("25").await.unwrap();
    desk.ages(Duration::from_secs(24 * 3_600 - 5)).await;
    assert!(desk.barred("25").await.is_some());
    desk.ages(Duration::from_secs(6)).await;
    assert_eq!(desk.barred("25").await, None);
    desk.call.caller = None;
    for _ in 0..3 {
        assert_eq!(desk.barred("25").await, None);
    }
}

#[tokio::test]
async fn many_declines_of_one_caller_block_the_caller_for_a_while_and_are_told_once() {
    let mut desk = Desk::within(only_testing()).await;
    for n in 0..5 {
        assert_eq!(desk.alerts().await, [""; 0]);
        desk.on(&format!("CA{n}")).declined(&format!("PK{n}"), "4242").await;
    }
    assert_eq!(desk.alerts().await, ["declines-of-one-caller", "one-last-four"]);
    desk.on("CA9");
    assert_eq!(desk.barred("25").await.as_deref(), Some("cardTesting"));
    desk.call.caller = from("+15550100002");
    assert_eq!(desk.barred("25").await, None);
    desk.call.caller = from("+15550100001");
    desk.ages(Duration::from_secs(3_601)).await;
    desk.declined("PK9", "4242").await;
    assert_eq!(desk.alerts().await.len(), 2, "that was long ago");
}

#[tokio::test]
async fn many_cards_of_one_caller_block_the_caller() {
    let mut desk = Desk::within(only_testing()).await;
    for (n, last4) in ["0001", "0002", "0003"].iter().enumerate() {
        desk.declined(&format!("PK{n}"), last4).await;
    }
    let open = desk.on("CA2").with_card("PK7", "0004").await;
    assert_eq!(desk.alerts().await, [""; 0]);
    let id = desk.on("CA1").with_card("PK8", "0005").await;
    // Twilio may also say so by refusing to complete.
    let refused = Answer::Refused { code: Some(64012), reason: "declined" };
    desk.does(&update(id, "PK8", Change::Complete, 1), &refused).await.unwrap();
    assert_eq!(desk.alerts().await, ["cards-of-one-caller"]);
    desk.on("CA3");
    assert_eq!(desk.barred("25").await.as_deref(), Some("cardTesting"));
    let submitted = desk.submits(open, "PK7").await;
    assert!(
        matches!(submitted, Err(Refused::Barred(Bar::CardTesting))),
        "what was open before is not submitted either"
    );
}

#[tokio::test]
async fn many_declines_of_cards_that_end_alike_block_those_cards_whoever_calls() {
    let mut desk = Desk::within(only_testing()).await;
    for n in 0..5 {
        desk.call.caller = (n > 0).then(|| format!("+1555010010{n}").parse().unwrap());
        desk.on(&format!("CA{n}")).declined(&format!("PK{n}"), "4242").await;
    }
    assert_eq!(desk.alerts().await, ["one-last-four"]);
    desk.on("CA6").call.caller = None;
    let like_those = desk.with_card("PK6", "4242").await;
    assert!(matches!(desk.submits(like_those, "PK6").await, Err(Refused::Barred(Bar::CardTesting))));
    let other = desk.on("CA7").with_card("PK7", "4243").await;
    desk.submits(other, "PK7").await.unwrap();
    desk.ages(Duration::from_secs(3_601)).await;
    desk.submits(like_those, "PK6").await.unwrap();
}

#[tokio::test]
async fn card_testing_is_an_alert_that_names_the_call_and_not_the_caller() {
    let ((log, _logging), mut desk) = (logs(), Desk::within(only_testing()).await);
    for (n, last4) in ["0001", "0002", "0001", "0002"].into_iter().enumerate() {
        desk.on(&format!("CA{n}")).declined(&format!("PK{n}"), last4).await;
    }
    desk.on("CA4").declined("PK4", "0003").await;
    let log = log.text();
    let alerts: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    let [alert] = alerts[..] else { panic!("{log}") };
    let fields = r#"event="payment.card_testing" call=CA4 seen=many declines of one caller"#;
    assert!(alert.contains(fields), "{alert}");
    assert!(!log.contains("5550100001"));
}

#[tokio::test]
async fn every_card_that_was_submitted_and_did_not_succeed_counts_whatever_words_came() {
    for words in [
        &[("Result", "payment-connector-error"), ("PayErrorCode", "64001")][..],
        &[
            ("Result", "payment-connector-error"),
            ("PaymentError", "card is declined"),
            ("ConnectorError", "card_declined"),
        ],
        &[("Result", "internal-error")],
        &[("Result", "a-word-of-2031")],
    ] {
        let mut desk = Desk::within(Limits { per_caller: caps(None, Some(1), None, None), ..Limits::NONE }).await;
        desk.submitted("25", "PK1").await;
        desk.told("PK1", words).await;
        desk.on("CA2");
        assert_eq!(desk.barred("25").await, Some("perCallerIn24Hours.declines".to_owned()), "{words:?}");
    }
    let mut desk = Desk::within(Limits { per_caller: caps(None, Some(1), None, None), ..Limits::NONE }).await;
    desk.submitted("25", "PK1").await;
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    desk.on("CA2");
    assert_eq!(desk.barred("25").await, Some("perCallerIn24Hours.declines".to_owned()), "no result came");
    desk.told("PK1", &[("Result", "success"), ("ChargeAmount", "25.00")]).await;
    assert_eq!(desk.barred("25").await, None, "it succeeded after all");
}

#[tokio::test]
async fn cards_that_are_declined_in_words_alone_are_seen_as_card_testing() {
    let mut desk = Desk::within(Limits::default()).await;
    let words = [("Result", "payment-connector-error"), ("PaymentError", "card is declined"), ("PayErrorCode", "")];
    for n in 0..4 {
        let sid = format!("PK{n}");
        let id = desk.on(&format!("CA{n}")).with_card(&sid, &format!("000{n}")).await;
        desk.submits(id, &sid).await.unwrap();
        desk.told(&sid, &words).await;
        assert_eq!(desk.state(id).await, State::Declined);
    }
    assert_eq!(desk.alerts().await, ["cards-of-one-caller"]);
    assert!(desk.on("CA9").barred("26").await.is_some());
}

/// A step of somebody's: on one of three calls of two callers.
#[derive(Debug, Clone, Copy)]
enum Step {
    Starts { call: usize, dollars: u64 },
    Submits { call: usize },
    Ends { call: usize, declined: bool },
    Cancels { call: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..3_usize, 1..40_u64).prop_map(|(call, dollars)| Step::Starts { call, dollars }),
        (0..3_usize).prop_map(|call| Step::Submits { call }),
        (0..3_usize, prop::bool::weighted(0.7)).prop_map(|(call, declined)| Step::Ends { call, declined }),
        (0..3_usize).prop_map(|call| Step::Cancels { call }),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_order_of_starts_and_declines_passes_a_cap(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let limits = Limits {
                per_call: caps(None, Some(2), Some(4), Some("60")),
                per_caller: caps(None, Some(3), Some(6), Some("80")),
                per_hour: caps(None, Some(4), Some(8), Some("100")),
                ..Limits::NONE
            };
            let mut desk = Desk::within(limits).await;
            let mut open: [Option<(PaymentId, String)>; 3] = [const { None }; 3];
            for (n, step) in steps.into_iter().enumerate() {
                let (Step::Starts { call, .. } | Step::Submits { call } | Step::Ends { call, .. } | Step::Cancels { call }) = step;
                desk.on(&format!("CA{call}")).call.caller = from(["+15550100001", "+15550100001", "+15550100002"][call]);
                match (step, open[call].clone()) {
                    (Step::Starts { dollars, .. }, None) => {
                        if let Ok(create) = desk.opening(&dollars.to_string()).await {
                            let sid = format!("PK{n}");
                            desk.ledger.created(&create, &Answer::Created(sid.parse().unwrap())).await.unwrap();
                            let card = update(create.id, &sid, Change::Capture(Field::CardNumber), 1);
                            desk.does(&card, &Answer::Accepted).await.unwrap();
                            open[call] = Some((create.id, sid));
                        }
                    }
                    (Step::Submits { .. }, Some((id, sid))) => drop(desk.submits(id, &sid).await),
                    (Step::Ends { declined, .. }, Some((id, sid))) if desk.state(id).await == State::Submitted => {
                        desk.told(&sid, if declined { &DECLINE[..] } else { &CHARGED[..] }).await;
                        open[call] = None;
                    }
                    (Step::Cancels { .. }, Some((id, sid))) if desk.state(id).await != State::Submitted => {
                        desk.told(&sid, &[("Result", "transaction-cancelled")]).await;
                        open[call] = None;
                    }
                    _ => {}
                }
            }
            let all = Filter { since: None, state: None, after: None, limit: 99 };
            let all = desk.ledger.payments(&all).await.unwrap();
            let is = |payment: &Payment, call: &str| payment.call.as_str() == call;
            for (those, declines, payments, dollars) in [
                (all.iter().filter(|it| is(it, "CA0")).collect::<Vec<_>>(), 2, 4, 60),
                (all.iter().filter(|it| is(it, "CA0") || is(it, "CA1")).collect(), 3, 6, 80),
                (all.iter().collect(), 4, 8, 100),
            ] {
                let declined = those.iter().filter(|payment| payment.state == State::Declined).count();
                let charged = those.iter().filter(|payment| payment.state == State::Charged);
                let minor: u64 = charged.map(|payment| payment.amount.unwrap().minor()).sum();
                assert!(declined <= declines && those.len() <= payments && minor <= dollars * 100, "{those:?}");
            }
        });
    }

    #[test]
    fn no_order_of_charges_passes_the_cap_of_any_currency(
        charges in prop::collection::vec((prop::sample::select(&["USD", "EUR", "JPY", "GBP"][..]), 1..40_u64), 0..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let most = [("USD", "60"), ("EUR", "45.50"), ("JPY", "30")];
            let mut desk = Desk::within(Limits { per_hour: each_currency(&most), ..Limits::NONE }).await;
            let mut charged = std::collections::BTreeMap::from([("USD", 0), ("EUR", 0), ("JPY", 0), ("GBP", 0)]);
            let most = std::collections::BTreeMap::from([("USD", 60), ("EUR", 45), ("JPY", 30), ("GBP", 0)]);
            for (n, (code, major)) in charges.into_iter().enumerate() {
                let fits = charged[code] + major <= most[code];
                desk.on(&format!("CA{n}")).call.caller = from(&format!("+1555010{n:04}"));
                assert_eq!(desk.charges(n, &format!("{major} {code}")).await.is_ok(), fits, "{major} {code} after {charged:?}");
                *charged.get_mut(code).unwrap() += if fits { major } else { 0 };
            }
        });
    }
}
