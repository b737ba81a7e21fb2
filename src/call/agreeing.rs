//! What may be charged on this call: what is due, or what the caller agreed to. The model alone decides on neither.

use std::sync::Arc;

use super::naming::names;
use super::tool::Tool;
use super::wish::{Wanted, Wish};
use super::{Call, words};
use crate::payment::{Amount, BadTerms, Capture, ChargeLimits, Due, Terms};

/// The terms of the call, and what became of them.
pub(super) struct Agreement {
    terms: Result<Arc<Terms>, BadTerms>,
    /// The amount that the model was told to ask for, and where in the history that was.
    asked: Option<(Amount, usize)>,
    /// What was said before this point of the history was about a payment that is over.
    begins: usize,
    /// What the caller agreed to, until it was charged or given up.
    confirmed: Option<Amount>,
    /// Whether the amount that is due was charged.
    paid: Paid,
}

/// Whether an amount was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Paid {
    /// It was not.
    No,
    /// It may have been.
    Perhaps,
    /// It was.
    Yes,
}

impl Agreement {
    pub(super) fn new(terms: Result<Arc<Terms>, BadTerms>) -> Self {
        Self { terms, asked: None, begins: 0, confirmed: None, paid: Paid::No }
    }

    pub(super) fn terms(&self) -> Result<&Arc<Terms>, &BadTerms> {
        self.terms.as_ref()
    }

    /// Takes what `confirm-amount` answered.
    pub(super) fn confirm(&mut self, amount: Amount) {
        self.confirmed = Some(amount);
        self.asked = None;
    }

    /// Money was charged, or may have been.
    pub(super) fn charged(&mut self, amount: Option<Amount>, paid: Paid, now_at: usize) {
        self.given_up(amount, now_at);
        if amount.is_some() {
            self.paid = self.paid.max(paid);
            // Nobody agreed to pay twice, though another amount was talked about meanwhile.
            self.begins = now_at;
        }
    }

    /// The payment was thrown away: another of the same amount has to be agreed anew.
    pub(super) fn given_up(&mut self, amount: Option<Amount>, now_at: usize) {
        if self.confirmed.is_some() && self.confirmed == amount {
            self.confirmed = None;
            self.begins = now_at;
        }
    }
}

impl Call {
    /// Why no payment can start on this call, if none can: what it brought with it cannot be read.
    pub fn bad_terms(&self) -> Option<&BadTerms> {
        self.agreement.terms().err()
    }

    /// By what terms this call pays; or what to tell the model if it cannot.
    pub(super) fn terms(&self) -> Result<&Arc<Terms>, String> {
        self.agreement.terms().map_err(|_| words::refused(words::NO_TERMS))
    }

    /// What a payment that the model wants to start is to charge; or what has to be settled first.
    pub(super) fn charge(&mut self, wanted: Wanted) -> Result<Option<Amount>, String> {
        let due = self.terms()?.due;
        match (due, wanted) {
            (Due::Amount(_), _) if self.agreement.paid == Paid::Yes => Err(words::refused(words::PAID)),
            (Due::Amount(_), _) if self.agreement.paid == Paid::Perhaps => Err(words::refused(words::PERHAPS_PAID)),
            (Due::Amount(due), Wanted::Unsaid) => Ok(Some(due)),
            (Due::Amount(due), Wanted::Amount(amount)) if amount == due => Ok(Some(due)),
            (Due::Amount(due), _) => Err(words::other_amount(due)),
            (Due::Open | Due::Nothing, Wanted::Unsaid | Wanted::Nothing) => Ok(None),
            (Due::Nothing, Wanted::Amount(_)) => Err(words::refused(words::NOTHING_DUE)),
            (Due::Open, Wanted::Amount(amount)) => {
                within(&self.settings.payment.limits, amount)?;
                let confirmed = self.agreement.confirmed == Some(amount);
                if confirmed { Ok(Some(amount)) } else { Err(self.ask_first(amount)) }
            }
        }
    }

    /// Whether the caller can have agreed to the amount: the agent named it, or was told to, and then the caller spoke.
    pub(super) fn confirm_amount(&mut self, amount: Amount) -> Result<Tool, String> {
        match self.terms()?.due {
            Due::Amount(due) if due == amount => return Err(words::amount_is_due(due)),
            Due::Amount(due) => return Err(words::other_amount(due)),
            Due::Nothing => return Err(words::refused(words::NOTHING_DUE)),
            Due::Open => within(&self.settings.payment.limits, amount)?,
        }
        let named = self.history.was_answered_since(self.agreement.begins, |said| names(said, amount));
        let asked = self.agreement.asked.filter(|(asked, _)| *asked == amount);
        let asked = asked.is_some_and(|(_, at)| self.history.was_answered_since(at, |_| true));
        if named || asked { Ok(Tool::ConfirmAmount { amount }) } else { Err(self.ask_first(amount)) }
    }

    /// What to ask the caller before this can be charged.
    fn ask_first(&mut self, amount: Amount) -> String {
        if self.agreement.asked.is_none_or(|(asked, _)| asked != amount) {
            self.agreement.asked = Some((amount, self.history.end()));
        }
        words::ask_first(amount)
    }

    /// The open payment is thrown away at the caller's wish.
    pub(super) fn give_agreement_up(&mut self) {
        let charge = self.payments.open().and_then(Capture::charge);
        self.agreement.given_up(charge, self.history.end());
    }

    /// Reads what the model wants, amounts in the currency of the call.
    pub(super) fn read_wish(&self, name: &str, arguments: &str) -> Result<Wish, String> {
        let configured = self.settings.payment.currency;
        let currency = self.agreement.terms().map_or(configured, |terms| terms.currency);
        Wish::read(name, arguments, &self.settings, currency)
    }
}

fn within(limits: &ChargeLimits, amount: Amount) -> Result<(), String> {
    if limits.allow(amount) { Ok(()) } else { Err(words::out_of_limits(amount, limits)) }
}
