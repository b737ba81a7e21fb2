//! Comparisons of exports with ledgers.

mod doubtful_rows;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::payment::{Amount, Currency, PaymentIdGenerator};

const NOON: i64 = 1_795_348_800;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(NOON + minutes * 60).unwrap()
}

fn id(n: u32) -> PaymentId {
    PaymentIdGenerator::new(Uuid::from_u128(n.into())).generate()
}

fn payment(n: u32, state: PaymentState) -> Payment {
    let mut payment = Payment::sample(id(n), state);
    payment.amount = Amount::from_minor(2500, Currency::USD);
    payment.last4 = Some("4242".to_owned());
    payment.submitted_at = Some(at(0));
    payment
}

/// An export with these rows: id, description, amount, last four, minutes after noon, status.
fn export(rows: &[(&str, &str, &str, &str, i64, &str)]) -> Vec<ExportRow> {
    let lines = rows.iter().map(|(id, description, amount, last4, minutes, status)| {
        format!("{id},{description},{},{amount},usd,{last4},{status}\n", at(*minutes))
    });
    let text = format!("id,description,created,amount,currency,last4,status\n{}", lines.collect::<String>());
    read_export(text.as_bytes(), false).unwrap()
}

fn settles(result: &Reconciliation) -> Vec<(PaymentId, SettledOutcome)> {
    result.settlements.iter().map(|settled| (settled.payment_id, settled.outcome)).collect()
}

#[test]
fn unknown_payments_are_settled_by_id_by_code_and_by_card() {
    let mut payments =
        [payment(1, PaymentState::Unknown), payment(2, PaymentState::Unknown), payment(3, PaymentState::Unknown)];
    payments[1].confirmation_code = Some("ch_2".to_owned());
    payments[2].last4 = Some("1881".to_owned());
    let rows = export(&[
        ("ch_1", &format!("order-7 {}", id(1)), "25.00", "4242", 600, "Paid"),
        ("ch_2", "", "25.00", "4242", 600, "declined"),
        ("ch_3", "", "25.00", "1881", 14, "succeeded"),
    ]);
    let result = Reconciliation::compare(&rows, &payments);
    assert_eq!(
        settles(&result),
        [(id(1), SettledOutcome::Charged), (id(2), SettledOutcome::Declined), (id(3), SettledOutcome::Charged)]
    );
    let codes: Vec<_> = result.settlements.iter().map(|settled| settled.confirmation.as_deref()).collect();
    assert_eq!(codes, [Some("ch_1"), None, Some("ch_3")]);
    assert!(result.findings.is_empty() && !result.is_clean());
}

#[test]
fn a_pending_bank_debit_is_settled_or_returned() {
    let payments =
        [payment(1, PaymentState::Pending), payment(2, PaymentState::Pending), payment(3, PaymentState::Pending)];
    let row = |n: u32, status| (["py_0", "py_1", "py_2", "py_3"][n as usize], id(n).to_string(), status);
    let rows = [row(1, "settled"), row(2, "returned"), row(3, "pending")];
    let rows: Vec<_> = rows.iter().map(|(code, id, status)| (*code, id.as_str(), "25.00", "", 0, *status)).collect();
    let result = Reconciliation::compare(&export(&rows), &payments);
    assert_eq!(settles(&result), [(id(1), SettledOutcome::Charged), (id(2), SettledOutcome::Returned)]);
    assert_eq!((result.agreeing_rows, result.findings.len()), (1, 0));
}

#[test]
fn ambiguous_payments_and_rows_are_not_matched() {
    let payments = [payment(1, PaymentState::Unknown), payment(2, PaymentState::Charged)];
    let one = export(&[("ch_1", "", "25.00", "4242", 1, "paid")]);
    let result = Reconciliation::compare(&one, &payments);
    assert!(result.settlements.is_empty());
    assert_eq!(result.findings, [ReconciliationFinding::Ambiguous { line: 2 }]);
    let two = export(&[("ch_1", "", "25.00", "4242", 1, "paid"), ("ch_2", "", "25.00", "4242", 2, "failed")]);
    let result = Reconciliation::compare(&two, &payments[..1]);
    assert_eq!(
        result.findings,
        [ReconciliationFinding::Ambiguous { line: 2 }, ReconciliationFinding::Ambiguous { line: 3 }]
    );
    let named = id(1).to_string();
    let twice = export(&[("ch_1", &named, "25.00", "4242", 1, "paid"), ("ch_2", &named, "25.00", "4242", 2, "paid")]);
    assert!(Reconciliation::compare(&twice, &payments).settlements.is_empty());
    let both = format!("{} {}", id(1), id(2));
    let result = Reconciliation::compare(&export(&[("ch_1", &both, "25.00", "4242", 1, "paid")]), &payments);
    assert_eq!(result.findings, [ReconciliationFinding::Ambiguous { line: 2 }]);
}

#[test]
fn another_time_card_amount_or_currency_does_not_match() {
    let payments = [payment(1, PaymentState::Unknown)];
    for row in [
        ("ch_1", "", "25.00", "4242", 16, "paid"),
        ("ch_1", "", "25.00", "4243", 0, "paid"),
        ("ch_1", "", "25.01", "4242", 0, "paid"),
    ] {
        let result = Reconciliation::compare(&export(&[row]), &payments);
        assert_eq!(
            result.findings,
            [
                ReconciliationFinding::RowWithoutPayment { line: 2 },
                ReconciliationFinding::PaymentNotInExport { payment: id(1), state: PaymentState::Unknown }
            ]
        );
    }
    let mut euros = export(&[("ch_1", "", "25.00", "4242", 0, "paid")]);
    euros[0].currency = "EUR".parse().ok();
    assert!(Reconciliation::compare(&euros, &payments).settlements.is_empty());
}

#[test]
fn disagreements_are_reported_and_settle_nothing() {
    let of = |state, status, amount| {
        let named = id(1).to_string();
        let rows = export(&[("ch_1", &named, amount, "4242", 0, status)]);
        let result = Reconciliation::compare(&rows, &[payment(1, state)]);
        assert!(result.settlements.is_empty(), "{state} {status}");
        result.findings
    };
    for (state, status) in [
        (PaymentState::Charged, "failed"),
        (PaymentState::Charged, "refunded"),
        (PaymentState::Charged, "disputed"),
        (PaymentState::Declined, "paid"),
        (PaymentState::Cancelled, "paid"),
        (PaymentState::Abandoned, "refunded"),
        (PaymentState::Unknown, "refunded"),
        (PaymentState::Returned, "paid"),
    ] {
        assert!(
            matches!(of(state, status, "25.00")[..], [ReconciliationFinding::Disagreement { .. }]),
            "{state} {status}"
        );
    }
    for (state, status) in
        [(PaymentState::Charged, "paid"), (PaymentState::Unknown, "paid"), (PaymentState::Unknown, "failed")]
    {
        for amount in ["2500.00", "-25.00", ""] {
            assert!(
                matches!(of(state, status, amount)[..], [ReconciliationFinding::AmountMismatch { .. }]),
                "{state} {amount}"
            );
        }
    }
    assert!(matches!(of(PaymentState::Unknown, "on hold", "25.00")[..], [ReconciliationFinding::Unsettled { .. }]));
    for (state, status) in [
        (PaymentState::Charged, "paid"),
        (PaymentState::Refunded, "refunded"),
        (PaymentState::Disputed, "chargeback"),
        (PaymentState::Declined, "failed"),
    ] {
        assert_eq!(of(state, status, "25.00"), [], "{state} {status}");
    }
}

#[test]
fn payments_outside_the_days_of_the_export_are_not_reported() {
    let mut payments = [payment(1, PaymentState::Charged), payment(2, PaymentState::Charged)];
    payments[1].submitted_at = Some(at(-36 * 60));
    let rows = export(&[("ch_9", "", "9.00", "1111", 0, "failed")]);
    assert_eq!(
        Reconciliation::compare(&rows, &payments).findings,
        [ReconciliationFinding::PaymentNotInExport { payment: id(1), state: PaymentState::Charged }]
    );
}

/// Payments with few different values, so that many are equal.
fn payments() -> impl Strategy<Value = Vec<Payment>> {
    let one = (
        prop::sample::select(&PaymentState::ALL[..]),
        prop::sample::select(&[2500_u64, 2501][..]),
        prop::sample::select(&["4242", "1881"][..]),
        0..40_i64,
        prop::option::of(0..4_u32),
    );
    prop::collection::vec(one, 0..6).prop_map(|all| {
        let make = |(n, (state, minor, last4, minutes, code)): (usize, (PaymentState, u64, &str, i64, Option<u32>))| {
            let mut payment = payment(u32::try_from(n).unwrap(), state);
            payment.amount = Amount::from_minor(minor, Currency::USD);
            payment.last4 = Some(last4.to_owned());
            payment.submitted_at = Some(at(minutes));
            payment.confirmation_code = code.map(|code| format!("ch_{code}"));
            payment
        };
        all.into_iter().enumerate().map(make).collect()
    })
}

fn rows() -> impl Strategy<Value = Vec<ExportRow>> {
    let one = (
        0..6_u32,
        prop::option::of(0..8_u32),
        prop::sample::select(&["25.00", "25.01", "x"][..]),
        prop::sample::select(&["4242", "1881", ""][..]),
        0..40_i64,
        prop::sample::select(&["paid", "failed", "returned", "refunded", "pending", ""][..]),
    );
    prop::collection::vec(one, 0..6).prop_map(|rows| {
        let texts: Vec<_> = rows
            .into_iter()
            .map(|(code, named, amount, last4, minutes, status)| {
                let named = named.map_or_else(String::new, |n| id(n).to_string());
                (format!("ch_{code}"), named, amount, last4, minutes, status)
            })
            .collect();
        let rows: Vec<_> = texts
            .iter()
            .map(|(code, named, amount, last4, minutes, status)| {
                (code.as_str(), named.as_str(), *amount, *last4, *minutes, *status)
            })
            .collect();
        export(&rows)
    })
}

/// Whether a row may belong to a payment, by a simple search over all payments.
fn may_be(row: &ExportRow, payment: &Payment, payments: &[Payment]) -> bool {
    let names = |payment: &Payment| {
        row.ids.contains(&payment.id)
            || payment.confirmation_code.as_ref().is_some_and(|code| row.confirmations.contains(code))
    };
    let amount = payment.amount.unwrap();
    let fits = row.amount.minor_in(Currency::USD) == Some(amount.minor())
        && row.last4 == payment.last4
        && row.at.is_some_and(|at| (at.as_second() - payment.submitted_at.unwrap().as_second()).abs() <= 15 * 60);
    if payments.iter().any(names) { names(payment) } else { fits }
}

proptest! {
    #[test]
    fn an_ambiguous_match_settles_nothing(payments in payments(), rows in rows()) {
        let result = Reconciliation::compare(&rows, &payments);
        let lines: Vec<u64> = result.findings.iter().filter_map(|finding| match finding {
            ReconciliationFinding::Ambiguous { line } => Some(*line),
            _ => None,
        }).collect();
        let mut settled = Vec::new();
        for settlement in &result.settlements {
            prop_assert!(!lines.contains(&settlement.line) && !settled.contains(&settlement.payment_id));
            settled.push(settlement.payment_id);
            let payment = payments.iter().find(|payment| payment.id == settlement.payment_id).unwrap();
            let row = rows.iter().find(|row| row.line == settlement.line).unwrap();
            prop_assert!(matches!(payment.state, PaymentState::Unknown | PaymentState::Pending));
            prop_assert!(may_be(row, payment, &payments));
            prop_assert_eq!(payments.iter().filter(|other| may_be(row, other, &payments)).count(), 1);
            prop_assert_eq!(rows.iter().filter(|other| may_be(other, payment, &payments)).count(), 1);
            prop_assert_eq!(row.amount.minor_in(Currency::USD), payment.amount.map(Amount::minor));
        }
    }
}
