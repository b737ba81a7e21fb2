//! Compares the ledger and the notifications of the business with the bank's bookings.

use serde_json::Value;

use super::{ScenarioCheck, TranscriptChecks, format_amounts};
use crate::simulator::relay::CallDirection;
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::transcript::{LedgerRow, TranscriptEntry, TranscriptEvent};

/// A charge, or a stored card, at the bank.
struct BankBooking<'a> {
    call_number: usize,
    sid: &'a str,
    charge: Option<&'a str>,
}

impl Scenario {
    /// Whether a payment may end in the state `unknown`.
    fn may_leave_unknown(&self) -> bool {
        let unknown = |states: &[&[&str]]| states.last().is_some_and(|last| last.contains(&"unknown"));
        self.expectations.iter().any(|expect| matches!(expect, Expectation::LedgerStates(states) if unknown(states)))
    }

    /// The business's reference of the order of a call.
    fn order_reference(&self, line: usize) -> Option<String> {
        let known = match self.direction {
            CallDirection::Outbound(properties) if line == 1 => properties(),
            _ => serde_json::from_str(self.server_overrides.call_parameters?).ok()?,
        };
        let named = |name: &str| known.get(name).and_then(Value::as_str).map(str::to_owned);
        named("orderReference").or_else(|| named("callReference"))
    }
}

impl<'a> TranscriptChecks<'a> {
    fn bookings(&self) -> Vec<BankBooking<'a>> {
        let booked = |TranscriptEntry { call_number: line, event, .. }: &'a TranscriptEntry| match event {
            TranscriptEvent::BankBooked { sid, charge } => {
                Some(BankBooking { call_number: *line, sid, charge: charge.as_deref() })
            }
            _ => None,
        };
        self.0.iter().filter_map(booked).collect()
    }

    /// The readings of the ledger.
    fn ledger_readings(&self) -> Vec<&'a [LedgerRow]> {
        let look = |entry: &'a TranscriptEntry| match &entry.event {
            TranscriptEvent::LedgerRead { payments } => Some(payments.as_slice()),
            _ => None,
        };
        self.0.iter().filter_map(look).collect()
    }

    /// The notifications of the business: payment and state.
    fn business_notices(&self) -> Vec<(&'a str, &'a str)> {
        let told = |entry: &'a TranscriptEntry| match &entry.event {
            TranscriptEvent::BusinessNotified { payment, state } => Some((payment.as_str(), state.as_str())),
            _ => None,
        };
        self.0.iter().filter_map(told).collect()
    }

    /// Checks that every state in the ledger agrees with the bank, and that no charge is missing.
    pub(super) fn check_ledger_matches_bank(&self, scenario: &Scenario) -> ScenarioCheck {
        let (rows, bookings) = (self.ledger_readings().last().copied().unwrap_or_default(), self.bookings());
        let wrong_row = rows.iter().find(|row| {
            let booked = bookings.iter().find(|booking| row.sid.as_deref() == Some(booking.sid));
            !matches_bank(row, booked)
        });
        let known = |booking: &&BankBooking<'_>| {
            let of = |row: &&LedgerRow| row.sid.as_deref() == Some(booking.sid);
            rows.iter().filter(of).any(|row| row.state != "unknown" || scenario.may_leave_unknown())
        };
        let missing = bookings.iter().find(|booking| !known(booking));
        let broken = match (wrong_row, missing) {
            (Some(row), _) => Some(format!("the ledger says {} of {:?}", row.state, row.amount)),
            (_, Some(booking)) => Some(format!("the ledger does not know a charge of {:?}", booking.charge)),
            _ => None,
        };
        ScenarioCheck::new("the ledger says what the bank did", broken)
    }

    /// Checks that no order is charged twice. Without a reference, the amount identifies the order, because the caller
    /// is always the same.
    pub(super) fn check_no_double_charge(&self, scenario: &Scenario) -> ScenarioCheck {
        let charged: Vec<(Option<String>, &str)> = self
            .bookings()
            .iter()
            .filter_map(|it| Some((scenario.order_reference(it.call_number), it.charge?)))
            .collect();
        let same = |one: &(Option<String>, &str), other: &(Option<String>, &str)| {
            one.0 == other.0 && (one.0.is_some() || one.1 == other.1)
        };
        let twice = charged.iter().enumerate().find(|(at, one)| charged[..*at].iter().any(|other| same(one, other)));
        ScenarioCheck::new(
            "no order is charged twice",
            twice.map(|(_, (order, amount))| format!("{amount} for {order:?}")),
        )
    }

    /// Checks that the business was notified of each state once, and last of the current one.
    pub(super) fn check_business_notified(&self) -> ScenarioCheck {
        let (rows, told) = (self.ledger_readings().last().copied().unwrap_or_default(), self.business_notices());
        let of = |row: &LedgerRow| {
            told.iter().filter(|(payment, _)| *payment == row.id).map(|(_, state)| *state).collect::<Vec<_>>()
        };
        let once = |states: &[&str]| states.iter().enumerate().all(|(at, state)| !states[..at].contains(state));
        let knows = |row: &LedgerRow| of(row).last() == Some(&row.state.as_str()) && once(&of(row));
        let stray = told.iter().any(|(payment, _)| rows.iter().all(|row| row.id != *payment));
        ScenarioCheck::ensure("the business gets each outcome once", rows.iter().all(knows) && !stray, || {
            told.iter().map(|(_, state)| *state).collect::<Vec<_>>().join(", ")
        })
    }

    /// Checks an expectation about the ledger, the bank or the business.
    pub(super) fn check_payment_expectation(&self, expect: Expectation) -> ScenarioCheck {
        match expect {
            Expectation::BankCharges(wanted) => self.check_bank_charges(wanted),
            Expectation::BusinessNotified(states) => self.check_notified_states(states),
            Expectation::CallEndNotified(reason, summary) => self.check_call_end(reason, summary),
            Expectation::OneCallerHears(words, never) => self.check_one_caller_hears(words, never),
            Expectation::LedgerStates(states) => self.check_ledger_states(states),
            _ => ScenarioCheck::new("an expectation about the ledger", Some(format!("{expect:?} is not one"))),
        }
    }

    fn check_ledger_states(&self, wanted: &[&[&str]]) -> ScenarioCheck {
        let states = |rows: &&[LedgerRow]| rows.iter().map(|row| row.state.clone()).collect::<Vec<_>>().join(", ");
        let looks = self.ledger_readings().iter().map(states).collect::<Vec<_>>().join(", then ");
        let wanted = wanted.iter().map(|states| states.join(", ")).collect::<Vec<_>>().join(", then ");
        ScenarioCheck::ensure(format!("the ledger: {wanted}"), looks == wanted, || looks)
    }

    fn check_bank_charges(&self, wanted: &[Option<&str>]) -> ScenarioCheck {
        let charged: Vec<Option<&str>> = self.bookings().iter().map(|booking| booking.charge).collect();
        ScenarioCheck::ensure(format!("the bank: {}", format_amounts(wanted)), charged == wanted, || {
            format_amounts(&charged)
        })
    }

    fn check_notified_states(&self, wanted: &[&str]) -> ScenarioCheck {
        let told: Vec<&str> = self.business_notices().iter().map(|(_, state)| *state).collect();
        ScenarioCheck::ensure(format!("the business gets: {}", wanted.join(", ")), told == wanted, || told.join(", "))
    }

    fn check_call_end(&self, wanted: &str, words: &str) -> ScenarioCheck {
        let told = |entry: &'a TranscriptEntry| match &entry.event {
            TranscriptEvent::CallEndNotified { reason, summary } => Some((reason.as_str(), summary.as_str())),
            _ => None,
        };
        let told: Vec<_> = self.0.iter().filter_map(told).collect();
        let held = matches!(told[..], [(reason, summary)] if reason == wanted && summary.contains(words));
        ScenarioCheck::ensure(format!("the business gets: call.ended ({wanted})"), held, || format!("{told:?}"))
    }

    fn check_one_caller_hears(&self, words: &str, never: &str) -> ScenarioCheck {
        let hears = |line: usize, words: &str| {
            let says = |event: &TranscriptEvent| matches!(event, TranscriptEvent::AgentSaid { text, .. } if text.contains(words));
            self.0.iter().any(|entry| entry.call_number == line && says(&entry.event))
        };
        let lines = self.0.iter().map(|entry| entry.call_number).max().unwrap_or_default();
        let hearing: Vec<usize> = (1..=lines).filter(|line| hears(*line, words)).collect();
        let held = matches!(hearing[..], [line] if !hears(line, never));
        ScenarioCheck::ensure(format!("on one call the agent says “{words}”, and not “{never}”"), held, || {
            format!("on {hearing:?}")
        })
    }
}

/// Whether the bank's booking agrees with the ledger.
fn matches_bank(row: &LedgerRow, booked: Option<&BankBooking<'_>>) -> bool {
    match (row.state.as_str(), booked) {
        ("charged" | "pending", Some(booking)) => booking.charge.is_some() && booking.charge == row.amount.as_deref(),
        ("tokenized", Some(booking)) => booking.charge.is_none() && row.amount.is_none(),
        ("declined" | "failed" | "cancelled" | "abandoned", None) | ("unknown", _) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn transcript_of(events: Vec<TranscriptEvent>) -> Vec<TranscriptEntry> {
        events.into_iter().map(|event| TranscriptEntry { at: Duration::ZERO, call_number: 1, event }).collect()
    }

    fn booked(sid: &str) -> TranscriptEvent {
        TranscriptEvent::BankBooked { sid: sid.to_owned(), charge: Some("25.00".to_owned()) }
    }

    fn ledger(state: &str, amount: &str) -> TranscriptEvent {
        let row = LedgerRow {
            id: "1".to_owned(),
            sid: Some("PK1".to_owned()),
            state: state.to_owned(),
            amount: Some(amount.to_owned()),
        };
        TranscriptEvent::LedgerRead { payments: vec![row] }
    }

    fn happy_path() -> Scenario {
        crate::simulator::scenario::all().swap_remove(0)
    }

    #[test]
    fn a_state_that_disagrees_with_the_bank_is_found() {
        for (events, holds) in [
            (vec![booked("PK1"), ledger("charged", "25.00")], true),
            (vec![ledger("declined", "25.00")], true),
            (vec![ledger("unknown", "25.00")], true),
            (vec![ledger("charged", "25.00")], false),
            (vec![booked("PK1"), ledger("charged", "26.00")], false),
            (vec![booked("PK1"), ledger("declined", "25.00")], false),
            (vec![booked("PK1"), ledger("unknown", "25.00")], false),
            (vec![booked("PK2"), ledger("declined", "25.00")], false),
            (vec![ledger("submitted", "25.00")], false),
        ] {
            let transcript = transcript_of(events);
            let check = TranscriptChecks(&transcript).check_ledger_matches_bank(&happy_path());
            assert_eq!(check.failure.is_none(), holds, "{transcript:?}");
        }
        let twice = transcript_of(vec![booked("PK1"), booked("PK2")]);
        assert!(TranscriptChecks(&twice).check_no_double_charge(&happy_path()).failure.is_some());
    }
}
