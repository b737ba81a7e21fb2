//! Tests of velocity limits and of card-testing detection.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::payment::{AmountCaps, CardTestingLimits, VelocityCaps, VelocityLimits};
use crate::phone_number::PhoneNumber;

const DECLINE: [(&str, &str); 2] = [("Result", "payment-connector-error"), ("PayErrorCode", "64008")];

fn caps(
    wrong_entries: Option<u32>,
    declines: Option<u32>,
    payments: Option<u32>,
    amount: Option<&str>,
) -> VelocityCaps {
    VelocityCaps {
        wrong_entries,
        declines,
        payments,
        amount: amount.map(|text| AmountCaps::ConfiguredCurrency(text.parse().unwrap())),
    }
}

fn card_testing_only() -> VelocityLimits {
    VelocityLimits { card_testing: Some(CardTestingLimits::default()), ..VelocityLimits::NONE }
}

fn caller(caller: &str) -> Option<PhoneNumber> {
    caller.parse().ok()
}

impl TestLedger {
    async fn with_limits(limits: VelocityLimits) -> Self {
        let test = Self::new().await;
        Self { ledger: test.ledger.with_limits(limits, Currency::USD), ..test }
    }

    /// Puts the payments that follow on this call.
    fn set_call(&mut self, sid: &str) -> &mut Self {
        self.call.call_sid = sid.parse().unwrap();
        self
    }

    /// Makes all records older.
    async fn age_records(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap();
        let permit = match self.url {
            DatabaseUrl::Sqlite(_) => "DROP TRIGGER IF EXISTS events_do_not_change",
            DatabaseUrl::Postgres(_) => "ALTER TABLE events DISABLE TRIGGER USER",
        };
        for change in [
            permit.to_owned(),
            format!("UPDATE events SET at = at - {ms}"),
            format!("UPDATE payments SET opened_at = opened_at - {ms}"),
        ] {
            self.execute(&change).await.unwrap();
        }
    }

    async fn report_wrong_entry(&self, sid: &str, n: u32) {
        let at = format!("2026-08-30T10:00:00.{n:03}Z");
        let entry = [("Capture", "payment-card-number"), ("ErrorType", "invalid-card-number"), ("DateUpdated", &*at)];
        assert_eq!(self.deliver_callback(sid, &entry).await, RecordOutcome::Written);
    }

    /// A payment before its submission, with a card that ends in these digits.
    async fn enter_card(&mut self, sid: &str, last4: &str) -> PaymentId {
        let id = self.create_session("25", sid).await;
        self.update_session(&update(id, sid, UpdateAction::Capture(Field::CardNumber), 1), &TwilioResponse::Accepted)
            .await
            .unwrap();
        let mask = format!("xxxxxxxxxxxx{last4}");
        let entered = [
            ("Capture", "payment-card-number"),
            ("PartialResult", "false"),
            ("Required", ""),
            ("PaymentCardNumber", &*mask),
        ];
        self.deliver_callback(sid, &entered).await;
        id
    }

    async fn complete_session(&self, id: PaymentId, sid: &str) -> Result<(), RecordRequestError> {
        self.update_session(&update(id, sid, UpdateAction::Complete, 1), &TwilioResponse::Accepted).await
    }

    async fn decline_payment(&mut self, sid: &str, last4: &str) -> PaymentId {
        let id = self.enter_card(sid, last4).await;
        self.complete_session(id, sid).await.unwrap();
        self.deliver_callback(sid, &DECLINE).await;
        assert_eq!(self.state(id).await, PaymentState::Declined);
        id
    }

    /// The limit that blocks another payment.
    async fn exceeded_limit(&mut self, charge: &str) -> Option<String> {
        match self.request_create(charge).await {
            Ok(_) => None,
            Err(RecordRequestError::LimitExceeded(bar)) => Some(bar.to_string()),
            Err(other) => panic!("{other}"),
        }
    }

    async fn card_testing_alerts(&self) -> Vec<String> {
        let alerts = "SELECT data FROM events WHERE kind = 'card-testing' ORDER BY id";
        let alerts: Vec<String> = sqlx::query_scalar(alerts).fetch_all(&self.ledger.0.readers).await.unwrap();
        let seen = |data: &String| serde_json::from_str::<serde_json::Value>(data).unwrap()["seen"].as_str().unwrap().to_owned();
        alerts.iter().map(seen).collect()
    }
}

/// The same caps in each scope: call, caller and hour.
fn each_scope(caps: VelocityCaps) -> [(VelocityLimits, &'static str); 3] {
    [
        (VelocityLimits { per_call: caps.clone(), ..VelocityLimits::NONE }, "perCall"),
        (VelocityLimits { per_caller: caps.clone(), ..VelocityLimits::NONE }, "perCallerIn24Hours"),
        (VelocityLimits { per_hour: caps, ..VelocityLimits::NONE }, "perHour"),
    ]
}

/// Leaves the scope: another call, another caller, another hour.
async fn leave_scope(test: &mut TestLedger, scope: &str) {
    match scope {
        "perCall" => drop(test.set_call("CA2")),
        "perCallerIn24Hours" => test.call.caller = caller("+15550100002"),
        _ => test.age_records(Duration::from_secs(3_601)).await,
    }
}

#[tokio::test]
async fn payments_cap_blocks_further_payments() {
    for (limits, scope) in each_scope(caps(None, None, Some(2), None)) {
        let mut test = TestLedger::with_limits(limits).await;
        for _ in 0..2 {
            test.request_create("25").await.unwrap();
        }
        assert_eq!(test.exceeded_limit("25").await, Some(format!("{scope}.payments")));
        assert_eq!(test.exceeded_limit("25").await, Some(format!("{scope}.payments")));
        leave_scope(&mut test, scope).await;
        assert_eq!(test.exceeded_limit("25").await, None, "{scope}");
    }
}

#[tokio::test]
async fn amount_cap_ignores_payments_without_success() {
    for (limits, scope) in each_scope(caps(None, None, None, Some("50.00"))) {
        let mut test = TestLedger::with_limits(limits).await;
        let cancelled = test.create_session("50", "PK1").await;
        test.deliver_callback("PK1", &[("Result", "transaction-cancelled")]).await;
        assert_eq!(test.state(cancelled).await, PaymentState::Cancelled);
        test.submit_payment("30", "PK2").await;
        test.deliver_callback("PK2", &CHARGED).await;
        assert_eq!(test.exceeded_limit("20.01").await, Some(format!("{scope}.amount")));
        assert_eq!(test.exceeded_limit("0").await, None, "nothing is charged where a card is stored");
        assert_eq!(test.exceeded_limit("20").await, None, "to the cent");
        leave_scope(&mut test, scope).await;
        assert_eq!(test.exceeded_limit("50").await, None, "{scope}");
    }
}

/// An amount cap in each of these currencies.
fn each_currency(caps: &[(&str, &str)]) -> VelocityCaps {
    let each = caps.iter().map(|(code, most)| (code.parse().unwrap(), most.parse().unwrap())).collect();
    VelocityCaps { amount: Some(AmountCaps::PerCurrency(Arc::new(each))), ..VelocityCaps::default() }
}

impl TestLedger {
    /// Requests a payment of an amount such as `25 EUR`.
    async fn request_create_of(&mut self, money: &str) -> Result<CreatePayment, RecordRequestError> {
        let (amount, code) = money.split_once(' ').unwrap();
        let id = self.ids.generate();
        let charge = Amount::parse(amount, code.parse().unwrap()).unwrap();
        let create =
            CreatePayment { id, idempotency_key: id.create_key(), charge, terms: self.terms.clone(), consent: None };
        self.ledger.record_create_request(&self.call, &create).await.map(|()| create)
    }

    /// Charges an amount, or returns why it was refused.
    async fn charge(&mut self, n: usize, money: &str) -> Result<(), String> {
        let sid = format!("PK{n}");
        let create = self.request_create_of(money).await.map_err(|refused| refused.to_string())?;
        self.ledger.record_create_response(&create, &TwilioResponse::Created(sid.parse().unwrap())).await.unwrap();
        self.update_session(
            &update(create.id, &sid, UpdateAction::Capture(Field::CardNumber), 1),
            &TwilioResponse::Accepted,
        )
        .await
        .unwrap();
        self.complete_session(create.id, &sid).await.unwrap();
        self.deliver_callback(&sid, &CHARGED).await;
        assert_eq!(self.state(create.id).await, PaymentState::Charged);
        Ok(())
    }
}

#[tokio::test]
async fn euros_do_not_pass_a_cap_in_dollars() {
    let limits = VelocityLimits { per_hour: caps(None, None, None, Some("30")), ..VelocityLimits::NONE };
    let mut test = TestLedger::with_limits(limits).await;
    test.charge(1, "25 USD").await.unwrap();
    let refused = test.charge(2, "9000 EUR").await.unwrap_err();
    assert!(refused.contains("perHour.amount"), "{refused}");
    assert!(test.charge(3, "1 EUR").await.is_err(), "a cap in dollars allows no euros");
    test.charge(4, "5 USD").await.unwrap();
}

#[tokio::test]
async fn each_currency_counts_against_its_own_cap() {
    for (limits, scope) in each_scope(each_currency(&[("USD", "50"), ("EUR", "40.00"), ("JPY", "5000")])) {
        let mut test = TestLedger::with_limits(limits).await;
        test.charge(1, "50 USD").await.unwrap();
        test.charge(2, "40 EUR").await.unwrap();
        test.charge(3, "4999 JPY").await.unwrap();
        for more in ["0.01 USD", "0.01 EUR", "2 JPY", "1 GBP"] {
            let refused = test.charge(4, more).await.unwrap_err();
            assert!(refused.contains(&format!("{scope}.amount")), "{more}: {refused}");
        }
        test.charge(5, "1 JPY").await.unwrap();
    }
}

#[tokio::test]
async fn declines_cap_blocks_new_payments() {
    for (limits, scope) in each_scope(caps(None, Some(2), None, None)) {
        let mut test = TestLedger::with_limits(limits).await;
        test.decline_payment("PK1", "0001").await;
        // Another call of the same caller submits first.
        test.set_call(if scope == "perCall" { "CA1" } else { "CA2" });
        test.decline_payment("PK2", "0002").await;
        test.set_call("CA1");
        assert_eq!(test.exceeded_limit("25").await, Some(format!("{scope}.declines")));
        leave_scope(&mut test, scope).await;
        assert_eq!(test.exceeded_limit("25").await, None, "{scope}");
    }
}

#[tokio::test]
async fn open_submissions_count_against_the_declines_cap() {
    let mut test =
        TestLedger::with_limits(VelocityLimits { per_caller: caps(None, Some(2), None, None), ..VelocityLimits::NONE })
            .await;
    test.decline_payment("PK1", "0001").await;
    let second = test.set_call("CA2").enter_card("PK2", "0002").await;
    let third = test.set_call("CA3").enter_card("PK3", "0003").await;
    test.complete_session(second, "PK2").await.unwrap();
    let refused = test.complete_session(third, "PK3").await.unwrap_err();
    assert!(
        matches!(&refused, RecordRequestError::LimitExceeded(bar) if bar.to_string() == "perCallerIn24Hours.declines")
    );
    assert_eq!(
        (test.state(third).await, test.event_kinds(third).await.pop().unwrap()),
        (PaymentState::Capturing, "barred".to_owned())
    );
    test.complete_session(second, "PK2").await.expect("a repeated request does not count again");
    test.deliver_callback("PK2", &CHARGED).await;
    test.complete_session(third, "PK3").await.expect("the other one was not declined");
}

#[tokio::test]
async fn wrong_entries_cap_blocks_entries_and_new_payments() {
    for (limits, scope) in each_scope(caps(Some(2), None, None, None)) {
        let mut test = TestLedger::with_limits(limits).await;
        let id = test.create_session("25", "PK1").await;
        let card = |n| update(id, "PK1", UpdateAction::Capture(Field::CardNumber), n);
        test.update_session(&card(1), &TwilioResponse::Accepted).await.unwrap();
        test.report_wrong_entry("PK1", 1).await;
        test.update_session(&card(2), &TwilioResponse::Accepted).await.expect("below the cap");
        test.report_wrong_entry("PK1", 2).await;
        let refused = test.update_session(&card(3), &TwilioResponse::Accepted).await.unwrap_err();
        assert!(
            matches!(&refused, RecordRequestError::LimitExceeded(bar) if bar.to_string() == format!("{scope}.wrongEntries"))
        );
        let cancel = UpdatePayment { abandon_reason: Some("a limit"), ..update(id, "PK1", UpdateAction::Cancel, 1) };
        test.update_session(&cancel, &TwilioResponse::Accepted).await.unwrap();
        test.deliver_callback("PK1", &[("Result", "transaction-cancelled")]).await;
        assert_eq!(test.state(id).await, PaymentState::Abandoned, "with the reason in its events");
        assert_eq!(test.exceeded_limit("25").await, Some(format!("{scope}.wrongEntries")));
        leave_scope(&mut test, scope).await;
        assert_eq!(test.exceeded_limit("25").await, None, "{scope}");
    }
}

#[tokio::test]
async fn caller_limits_end_after_a_day_and_need_a_number() {
    let mut test =
        TestLedger::with_limits(VelocityLimits { per_caller: caps(None, None, Some(1), None), ..VelocityLimits::NONE })
            .await;
    test.request_create("25").await.unwrap();
    test.age_records(Duration::from_secs(24 * 3_600 - 5)).await;
    assert!(test.exceeded_limit("25").await.is_some());
    test.age_records(Duration::from_secs(6)).await;
    assert_eq!(test.exceeded_limit("25").await, None);
    test.call.caller = None;
    for _ in 0..3 {
        assert_eq!(test.exceeded_limit("25").await, None);
    }
}

#[tokio::test]
async fn many_declines_of_one_caller_block_the_caller_and_alert_once() {
    let mut test = TestLedger::with_limits(card_testing_only()).await;
    for n in 0..5 {
        assert_eq!(test.card_testing_alerts().await, [""; 0]);
        test.set_call(&format!("CA{n}")).decline_payment(&format!("PK{n}"), "4242").await;
    }
    assert_eq!(test.card_testing_alerts().await, ["declines-of-one-caller", "one-last-four"]);
    test.set_call("CA9");
    assert_eq!(test.exceeded_limit("25").await.as_deref(), Some("cardTesting"));
    test.call.caller = caller("+15550100002");
    assert_eq!(test.exceeded_limit("25").await, None);
    test.call.caller = caller("+15550100001");
    test.age_records(Duration::from_secs(3_601)).await;
    test.decline_payment("PK9", "4242").await;
    assert_eq!(test.card_testing_alerts().await.len(), 2, "the earlier declines are outside the window");
}

#[tokio::test]
async fn many_cards_of_one_caller_block_the_caller() {
    let mut test = TestLedger::with_limits(card_testing_only()).await;
    for (n, last4) in ["0001", "0002", "0003"].iter().enumerate() {
        test.decline_payment(&format!("PK{n}"), last4).await;
    }
    let open = test.set_call("CA2").enter_card("PK7", "0004").await;
    assert_eq!(test.card_testing_alerts().await, [""; 0]);
    let id = test.set_call("CA1").enter_card("PK8", "0005").await;
    // Twilio may also decline by refusing the completion.
    let refused = TwilioResponse::Refused { code: Some(64012), reason: "declined" };
    test.update_session(&update(id, "PK8", UpdateAction::Complete, 1), &refused).await.unwrap();
    assert_eq!(test.card_testing_alerts().await, ["cards-of-one-caller"]);
    test.set_call("CA3");
    assert_eq!(test.exceeded_limit("25").await.as_deref(), Some("cardTesting"));
    let submitted = test.complete_session(open, "PK7").await;
    assert!(
        matches!(submitted, Err(RecordRequestError::LimitExceeded(LimitExceeded::CardTesting))),
        "an open payment is not submitted either"
    );
}

#[tokio::test]
async fn many_declines_of_the_same_last_four_block_those_cards_for_any_caller() {
    let mut test = TestLedger::with_limits(card_testing_only()).await;
    for n in 0..5 {
        test.call.caller = (n > 0).then(|| format!("+1555010010{n}").parse().unwrap());
        test.set_call(&format!("CA{n}")).decline_payment(&format!("PK{n}"), "4242").await;
    }
    assert_eq!(test.card_testing_alerts().await, ["one-last-four"]);
    test.set_call("CA6").call.caller = None;
    let like_those = test.enter_card("PK6", "4242").await;
    assert!(matches!(
        test.complete_session(like_those, "PK6").await,
        Err(RecordRequestError::LimitExceeded(LimitExceeded::CardTesting))
    ));
    let other = test.set_call("CA7").enter_card("PK7", "4243").await;
    test.complete_session(other, "PK7").await.unwrap();
    test.age_records(Duration::from_secs(3_601)).await;
    test.complete_session(like_those, "PK6").await.unwrap();
}

#[tokio::test]
async fn card_testing_alert_names_the_call_and_not_the_caller() {
    let ((log, _logging), mut test) = (capture_log(), TestLedger::with_limits(card_testing_only()).await);
    for (n, last4) in ["0001", "0002", "0001", "0002"].into_iter().enumerate() {
        test.set_call(&format!("CA{n}")).decline_payment(&format!("PK{n}"), last4).await;
    }
    test.set_call("CA4").decline_payment("PK4", "0003").await;
    let log = log.text();
    let alerts: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    let [alert] = alerts[..] else { panic!("{log}") };
    let fields = r#"event="payment.card_testing" call_sid=CA4 pattern=many declines of one caller"#;
    assert!(alert.contains(fields), "{alert}");
    assert!(!log.contains("5550100001"));
}

#[tokio::test]
async fn every_submitted_card_without_success_counts_with_any_result() {
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
        let mut test = TestLedger::with_limits(VelocityLimits {
            per_caller: caps(None, Some(1), None, None),
            ..VelocityLimits::NONE
        })
        .await;
        test.submit_payment("25", "PK1").await;
        test.deliver_callback("PK1", words).await;
        test.set_call("CA2");
        assert_eq!(test.exceeded_limit("25").await, Some("perCallerIn24Hours.declines".to_owned()), "{words:?}");
    }
    let mut test =
        TestLedger::with_limits(VelocityLimits { per_caller: caps(None, Some(1), None, None), ..VelocityLimits::NONE })
            .await;
    test.submit_payment("25", "PK1").await;
    test.ledger.record_call_ended(&test.call).await.unwrap();
    test.set_call("CA2");
    assert_eq!(test.exceeded_limit("25").await, Some("perCallerIn24Hours.declines".to_owned()), "no result came");
    test.deliver_callback("PK1", &[("Result", "success"), ("ChargeAmount", "25.00")]).await;
    assert_eq!(test.exceeded_limit("25").await, None, "it succeeded after all");
}

#[tokio::test]
async fn declines_without_an_error_code_count_as_card_testing() {
    let mut test = TestLedger::with_limits(VelocityLimits::default()).await;
    let words = [("Result", "payment-connector-error"), ("PaymentError", "card is declined"), ("PayErrorCode", "")];
    for n in 0..4 {
        let sid = format!("PK{n}");
        let id = test.set_call(&format!("CA{n}")).enter_card(&sid, &format!("000{n}")).await;
        test.complete_session(id, &sid).await.unwrap();
        test.deliver_callback(&sid, &words).await;
        assert_eq!(test.state(id).await, PaymentState::Declined);
    }
    assert_eq!(test.card_testing_alerts().await, ["cards-of-one-caller"]);
    assert!(test.set_call("CA9").exceeded_limit("26").await.is_some());
}

/// A step on one of three calls of two callers.
#[derive(Debug, Clone, Copy)]
enum VelocityStep {
    Start { call: usize, dollars: u64 },
    Submit { call: usize },
    End { call: usize, declined: bool },
    Cancel { call: usize },
}

fn velocity_steps() -> impl Strategy<Value = Vec<VelocityStep>> {
    let step = prop_oneof![
        (0..3_usize, 1..40_u64).prop_map(|(call, dollars)| VelocityStep::Start { call, dollars }),
        (0..3_usize).prop_map(|call| VelocityStep::Submit { call }),
        (0..3_usize, prop::bool::weighted(0.7)).prop_map(|(call, declined)| VelocityStep::End { call, declined }),
        (0..3_usize).prop_map(|call| VelocityStep::Cancel { call }),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_sequence_of_payments_and_declines_passes_a_cap(steps in velocity_steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let limits = VelocityLimits {
                per_call: caps(None, Some(2), Some(4), Some("60")),
                per_caller: caps(None, Some(3), Some(6), Some("80")),
                per_hour: caps(None, Some(4), Some(8), Some("100")),
                ..VelocityLimits::NONE
            };
            let mut test = TestLedger::with_limits(limits).await;
            let mut open: [Option<(PaymentId, String)>; 3] = [const { None }; 3];
            for (n, step) in steps.into_iter().enumerate() {
                let (VelocityStep::Start { call, .. } | VelocityStep::Submit { call } | VelocityStep::End { call, .. } | VelocityStep::Cancel { call }) = step;
                test.set_call(&format!("CA{call}")).call.caller = caller(["+15550100001", "+15550100001", "+15550100002"][call]);
                match (step, open[call].clone()) {
                    (VelocityStep::Start { dollars, .. }, None) => {
                        if let Ok(create) = test.request_create(&dollars.to_string()).await {
                            let sid = format!("PK{n}");
                            test.ledger.record_create_response(&create, &TwilioResponse::Created(sid.parse().unwrap())).await.unwrap();
                            let card = update(create.id, &sid, UpdateAction::Capture(Field::CardNumber), 1);
                            test.update_session(&card, &TwilioResponse::Accepted).await.unwrap();
                            open[call] = Some((create.id, sid));
                        }
                    }
                    (VelocityStep::Submit { .. }, Some((id, sid))) => drop(test.complete_session(id, &sid).await),
                    (VelocityStep::End { declined, .. }, Some((id, sid))) if test.state(id).await == PaymentState::Submitted => {
                        test.deliver_callback(&sid, if declined { &DECLINE[..] } else { &CHARGED[..] }).await;
                        open[call] = None;
                    }
                    (VelocityStep::Cancel { .. }, Some((id, sid))) if test.state(id).await != PaymentState::Submitted => {
                        test.deliver_callback(&sid, &[("Result", "transaction-cancelled")]).await;
                        open[call] = None;
                    }
                    _ => {}
                }
            }
            let all = PaymentFilter { since: None, state: None, after: None, limit: 99 };
            let all = test.ledger.payments(&all).await.unwrap();
            let is = |payment: &Payment, call: &str| payment.call_sid.as_str() == call;
            for (those, declines, payments, dollars) in [
                (all.iter().filter(|it| is(it, "CA0")).collect::<Vec<_>>(), 2, 4, 60),
                (all.iter().filter(|it| is(it, "CA0") || is(it, "CA1")).collect(), 3, 6, 80),
                (all.iter().collect(), 4, 8, 100),
            ] {
                let declined = those.iter().filter(|payment| payment.state == PaymentState::Declined).count();
                let charged = those.iter().filter(|payment| payment.state == PaymentState::Charged);
                let minor: u64 = charged.map(|payment| payment.amount.unwrap().minor()).sum();
                assert!(declined <= declines && those.len() <= payments && minor <= dollars * 100, "{those:?}");
            }
        });
    }

    #[test]
    fn no_sequence_of_charges_passes_the_cap_of_any_currency(
        charges in prop::collection::vec((prop::sample::select(&["USD", "EUR", "JPY", "GBP"][..]), 1..40_u64), 0..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let most = [("USD", "60"), ("EUR", "45.50"), ("JPY", "30")];
            let mut test = TestLedger::with_limits(VelocityLimits { per_hour: each_currency(&most), ..VelocityLimits::NONE }).await;
            let mut charged = std::collections::BTreeMap::from([("USD", 0), ("EUR", 0), ("JPY", 0), ("GBP", 0)]);
            let most = std::collections::BTreeMap::from([("USD", 60), ("EUR", 45), ("JPY", 30), ("GBP", 0)]);
            for (n, (code, major)) in charges.into_iter().enumerate() {
                let fits = charged[code] + major <= most[code];
                test.set_call(&format!("CA{n}")).call.caller = caller(&format!("+1555010{n:04}"));
                assert_eq!(test.charge(n, &format!("{major} {code}")).await.is_ok(), fits, "{major} {code} after {charged:?}");
                *charged.get_mut(code).unwrap() += if fits { major } else { 0 };
            }
        });
    }
}

#[tokio::test]
async fn a_caller_whose_number_is_not_verified_has_tighter_caps() {
    use crate::payment::CallerAttestation::{Full, Gateway, Partial, Unsigned};
    let limits = VelocityLimits { unverified_caller: caps(Some(1), None, Some(2), None), ..VelocityLimits::NONE };
    for (n, attestation) in [None, Some(Full), Some(Partial)].into_iter().enumerate() {
        let mut test = TestLedger::with_limits(limits.clone()).await;
        test.call.attestation = attestation;
        for payment in 0..3 {
            test.set_call(&format!("CA{n}{payment}"));
            assert_eq!(test.exceeded_limit("25").await, None, "{attestation:?}");
        }
    }
    for attestation in [Gateway, Unsigned] {
        for number in [caller("+15550100001"), None] {
            let mut test = TestLedger::with_limits(limits.clone()).await;
            (test.call.attestation, test.call.caller) = (Some(attestation), number.clone());
            let id = test.enter_card("PK1", "4242").await;
            assert_eq!(test.event_kinds(id).await[0], "caller-attested");
            test.report_wrong_entry("PK1", 2).await;
            let capture = update(id, "PK1", UpdateAction::Capture(Field::SecurityCode), 2);
            let refused = test.update_session(&capture, &TwilioResponse::Accepted).await.unwrap_err();
            let RecordRequestError::LimitExceeded(limit) = refused else { panic!("{refused}") };
            assert_eq!(limit.to_string(), "unverifiedCaller.wrongEntries");
        }
        let mut test = TestLedger::with_limits(limits.clone()).await;
        test.call.attestation = Some(attestation);
        for n in 0..2 {
            test.set_call(&format!("CA{n}"));
            assert_eq!(test.exceeded_limit("25").await, None);
        }
        test.set_call("CA3");
        assert_eq!(test.exceeded_limit("25").await.as_deref(), Some("unverifiedCaller.payments"));
        test.call.attestation = Some(Full);
        assert_eq!(test.exceeded_limit("25").await, None, "the caller's own network has verified the number");
    }
}
