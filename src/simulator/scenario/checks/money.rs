//! What the ledger and the business say of payments, held against what the bank did.

use serde_json::Value;

use super::{Check, Tape, amounts};
use crate::simulator::scenario::{Begins, Expect, Scenario};
use crate::simulator::tape::{Entry, Event, Row};

/// A charge of the bank's, or a card that it stored.
struct Booking<'a> {
    line: usize,
    sid: &'a str,
    charge: Option<&'a str>,
}

impl Scenario {
    /// Whether a payment may be unknown in the end.
    fn leaves_unknown(&self) -> bool {
        let unknown = |states: &[&[&str]]| states.last().is_some_and(|last| last.contains(&"unknown"));
        self.expect.iter().any(|expect| matches!(expect, Expect::Ledger(states) if unknown(states)))
    }

    /// What the business calls the debt of a call.
    fn order(&self, line: usize) -> Option<String> {
        let known = match self.begins {
            Begins::OperatorCalls(properties) if line == 1 => properties(),
            _ => serde_json::from_str(self.server.business?).ok()?,
        };
        let named = |name: &str| known.get(name).and_then(Value::as_str).map(str::to_owned);
        named("orderReference").or_else(|| named("callReference"))
    }
}

impl<'a> Tape<'a> {
    fn bookings(&self) -> Vec<Booking<'a>> {
        let booked = |Entry { line, event, .. }: &'a Entry| match event {
            Event::Booked { sid, charge } => Some(Booking { line: *line, sid, charge: charge.as_deref() }),
            _ => None,
        };
        self.0.iter().filter_map(booked).collect()
    }

    /// What the ledger said, each time that it was looked at.
    fn looks(&self) -> Vec<&'a [Row]> {
        let look = |entry: &'a Entry| match &entry.event {
            Event::Ledger { payments } => Some(payments.as_slice()),
            _ => None,
        };
        self.0.iter().filter_map(look).collect()
    }

    /// The states that the business was told of, each with its payment.
    fn told(&self) -> Vec<(&'a str, &'a str)> {
        let told = |entry: &'a Entry| match &entry.event {
            Event::Told { payment, state } => Some((payment.as_str(), state.as_str())),
            _ => None,
        };
        self.0.iter().filter_map(told).collect()
    }

    /// No state is claimed that the bank does not hold, and no charge of the bank's is missing.
    pub(super) fn ledger_agrees_with_bank(&self, scenario: &Scenario) -> Check {
        let (rows, bookings) = (self.looks().last().copied().unwrap_or_default(), self.bookings());
        let wrong_row = rows.iter().find(|row| {
            let booked = bookings.iter().find(|booking| row.sid.as_deref() == Some(booking.sid));
            !is_true(row, booked)
        });
        let known = |booking: &&Booking<'_>| {
            let of = |row: &&Row| row.sid.as_deref() == Some(booking.sid);
            rows.iter().filter(of).any(|row| row.state != "unknown" || scenario.leaves_unknown())
        };
        let missing = bookings.iter().find(|booking| !known(booking));
        let broken = match (wrong_row, missing) {
            (Some(row), _) => Some(format!("the ledger says {} of {:?}", row.state, row.amount)),
            (_, Some(booking)) => Some(format!("the ledger does not know a charge of {:?}", booking.charge)),
            _ => None,
        };
        Check::new("the ledger says what the bank did", broken)
    }

    /// Without a reference the order is the caller, who is always the same here, and the amount.
    pub(super) fn no_order_is_charged_twice(&self, scenario: &Scenario) -> Check {
        let charged: Vec<(Option<String>, &str)> =
            self.bookings().iter().filter_map(|it| Some((scenario.order(it.line), it.charge?))).collect();
        let same = |one: &(Option<String>, &str), other: &(Option<String>, &str)| {
            one.0 == other.0 && (one.0.is_some() || one.1 == other.1)
        };
        let twice = charged.iter().enumerate().find(|(at, one)| charged[..*at].iter().any(|other| same(one, other)));
        Check::new("no order is charged twice", twice.map(|(_, (order, amount))| format!("{amount} for {order:?}")))
    }

    /// The business was told of every state of a payment that it is to know, once, and last of the one that it is in.
    pub(super) fn business_knows(&self) -> Check {
        let (rows, told) = (self.looks().last().copied().unwrap_or_default(), self.told());
        let of = |row: &Row| {
            told.iter().filter(|(payment, _)| *payment == row.id).map(|(_, state)| *state).collect::<Vec<_>>()
        };
        let once = |states: &[&str]| states.iter().enumerate().all(|(at, state)| !states[..at].contains(state));
        let knows = |row: &Row| of(row).last() == Some(&row.state.as_str()) && once(&of(row));
        let stray = told.iter().any(|(payment, _)| rows.iter().all(|row| row.id != *payment));
        Check::that("the business is told of each outcome once", rows.iter().all(knows) && !stray, || {
            told.iter().map(|(_, state)| *state).collect::<Vec<_>>().join(", ")
        })
    }

    /// What has to hold of money in a scenario.
    pub(super) fn expect_of_money(&self, expect: Expect) -> Check {
        match expect {
            Expect::Charges(wanted) => self.charges(wanted),
            Expect::TellsBusiness(states) => self.tells_business(states),
            Expect::OneHears(words, never) => self.one_hears(words, never),
            Expect::Ledger(states) => self.ledger(states),
            _ => Check::new("an expectation of money", Some(format!("{expect:?} is none"))),
        }
    }

    fn ledger(&self, wanted: &[&[&str]]) -> Check {
        let states = |rows: &&[Row]| rows.iter().map(|row| row.state.clone()).collect::<Vec<_>>().join(", ");
        let looks = self.looks().iter().map(states).collect::<Vec<_>>().join(", then ");
        let wanted = wanted.iter().map(|states| states.join(", ")).collect::<Vec<_>>().join(", then ");
        Check::that(format!("the ledger: {wanted}"), looks == wanted, || looks)
    }

    fn charges(&self, wanted: &[Option<&str>]) -> Check {
        let charged: Vec<Option<&str>> = self.bookings().iter().map(|booking| booking.charge).collect();
        Check::that(format!("the bank: {}", amounts(wanted)), charged == wanted, || amounts(&charged))
    }

    fn tells_business(&self, wanted: &[&str]) -> Check {
        let told: Vec<&str> = self.told().iter().map(|(_, state)| *state).collect();
        Check::that(format!("the business is told: {}", wanted.join(", ")), told == wanted, || told.join(", "))
    }

    fn one_hears(&self, words: &str, never: &str) -> Check {
        let hears = |line: usize, words: &str| {
            let says = |event: &Event| matches!(event, Event::AgentSaid { text, .. } if text.contains(words));
            self.0.iter().any(|entry| entry.line == line && says(&entry.event))
        };
        let lines = self.0.iter().map(|entry| entry.line).max().unwrap_or_default();
        let hearing: Vec<usize> = (1..=lines).filter(|line| hears(*line, words)).collect();
        let held = matches!(hearing[..], [line] if !hears(line, never));
        Check::that(format!("on one call the agent says “{words}”, and not “{never}”"), held, || {
            format!("on {hearing:?}")
        })
    }
}

/// Whether the bank did what the ledger says of a payment.
fn is_true(row: &Row, booked: Option<&Booking<'_>>) -> bool {
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

    fn tape(events: Vec<Event>) -> Vec<Entry> {
        events.into_iter().map(|event| Entry { at: Duration::ZERO, line: 1, event }).collect()
    }

    fn booked(sid: &str) -> Event {
        Event::Booked { sid: sid.to_owned(), charge: Some("25.00".to_owned()) }
    }

    fn ledger(state: &str, amount: &str) -> Event {
        let row = Row {
            id: "1".to_owned(),
            sid: Some("PK1".to_owned()),
            state: state.to_owned(),
            amount: Some(amount.to_owned()),
        };
        Event::Ledger { payments: vec![row] }
    }

    fn happy_path() -> Scenario {
        crate::simulator::scenario::all().swap_remove(0)
    }

    #[test]
    fn what_the_bank_does_not_hold_is_found() {
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
            let tape = tape(events);
            let check = Tape(&tape).ledger_agrees_with_bank(&happy_path());
            assert_eq!(check.broken.is_none(), holds, "{tape:?}");
        }
        let twice = tape(vec![booked("PK1"), booked("PK2")]);
        assert!(Tape(&twice).no_order_is_charged_twice(&happy_path()).broken.is_some());
    }
}
