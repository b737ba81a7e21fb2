//! What may be charged on this call: what is due, or what the caller said yes to. The model alone decides on neither.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::statement::Statement;
use super::wish::{Wanted, Wish};
use super::{Call, words};
use crate::payment::{Agreed, Amount, BadTerms, Capture, ChargeLimits, Consent, Due, Purpose, Terms};

/// How long a yes holds.
const YES_HOLDS: Duration = Duration::from_secs(600);

/// The terms of the call, and what the caller agreed to.
pub(super) struct Agreement {
    terms: Result<Arc<Terms>, BadTerms>,
    /// The amount that may be charged, until it was charged or given up.
    confirmed: Option<Yes>,
    /// The amount that may be charged though the same was paid a few minutes ago.
    again: Option<Yes>,
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

/// A yes of the caller's.
struct Yes {
    amount: Amount,
    agreed: Option<Agreed>,
    until: Instant,
}

impl Yes {
    fn covers(&self, amount: Amount, now: Instant) -> bool {
        self.amount == amount && now < self.until
    }
}

impl Agreement {
    pub(super) fn new(terms: Result<Arc<Terms>, BadTerms>) -> Self {
        Self { terms, confirmed: None, again: None, paid: Paid::No }
    }

    pub(super) fn terms(&self) -> Result<&Arc<Terms>, &BadTerms> {
        self.terms.as_ref()
    }

    /// The amount that the caller said yes to, while that holds.
    fn confirmed(&self, now: Instant) -> Option<Amount> {
        self.confirmed.as_ref().filter(|yes| yes.covers(yes.amount, now)).map(|yes| yes.amount)
    }

    /// The evidence for a charge: the yes to paying it again, if there is one, else the yes to paying it.
    pub(super) fn evidence(&self, amount: Amount, now: Instant) -> Option<Agreed> {
        let yes = [&self.again, &self.confirmed].into_iter().flatten().find(|yes| yes.covers(amount, now))?;
        yes.agreed.clone()
    }

    /// Takes note that money was charged: the yes to the amount is used up.
    pub(super) fn charged(&mut self, amount: Option<Amount>, paid: Paid) {
        self.given_up(amount);
        if amount.is_some() {
            self.paid = self.paid.max(paid);
        }
    }

    /// The payment was thrown away: another of the same amount has to be agreed anew.
    pub(super) fn given_up(&mut self, amount: Option<Amount>) {
        self.confirmed.take_if(|yes| Some(yes.amount) == amount);
        self.again.take_if(|yes| Some(yes.amount) == amount);
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
    pub(super) fn charge(&self, wanted: Wanted) -> Result<Option<Amount>, String> {
        let due = self.terms()?.due;
        let confirmed = self.agreement.confirmed(self.now);
        match (due, wanted) {
            (Due::Amount(_), _) if self.agreement.paid == Paid::Yes => Err(words::refused(words::PAID)),
            (Due::Amount(_), _) if self.agreement.paid == Paid::Perhaps => Err(words::refused(words::PERHAPS_PAID)),
            (Due::Amount(due), Wanted::Amount(other)) if other != due => Err(words::other_amount(due)),
            (Due::Amount(due), Wanted::Nothing) => Err(words::other_amount(due)),
            (Due::Amount(due), _) if self.settings.confirm_due && confirmed != Some(due) => Err(words::ask_first(due)),
            (Due::Amount(due), _) => Ok(Some(due)),
            (Due::Nothing, Wanted::Unsaid | Wanted::Nothing) | (Due::Open, Wanted::Nothing) => Ok(None),
            (Due::Nothing, Wanted::Amount(_)) => Err(words::refused(words::NOTHING_DUE)),
            (Due::Open, Wanted::Unsaid) => confirmed.map(Some).ok_or_else(|| words::refused(words::NOTHING_AGREED)),
            (Due::Open, Wanted::Amount(amount)) => {
                within(&self.settings.payment.limits, amount)?;
                if confirmed == Some(amount) { Ok(Some(amount)) } else { Err(words::ask_first(amount)) }
            }
        }
    }

    /// Has the server ask the caller for a yes to the amount, or to the amount due where none is given. Returns the tool's answer.
    pub(super) fn confirm_amount(&mut self, amount: Option<Amount>) -> Result<String, String> {
        let amount = match (self.terms()?.due, amount) {
            (Due::Amount(_), _) if self.agreement.paid == Paid::Yes => return Err(words::refused(words::PAID)),
            (Due::Amount(_), _) if self.agreement.paid == Paid::Perhaps => {
                return Err(words::refused(words::PERHAPS_PAID));
            }
            (Due::Amount(due), Some(other)) if other != due => return Err(words::other_amount(due)),
            (Due::Amount(due), _) if !self.settings.confirm_due => return Err(words::amount_is_due(due)),
            (Due::Amount(due), _) => due,
            (Due::Nothing, _) => return Err(words::refused(words::NOTHING_DUE)),
            (Due::Open, None) => return Err(words::refused(words::NO_AMOUNT)),
            (Due::Open, Some(amount)) => {
                within(&self.settings.payment.limits, amount)?;
                amount
            }
        };
        if self.payments.is_open() {
            return Err(words::refused(words::PAYMENT_IS_OPEN));
        }
        self.may_state()?;
        self.agreement.confirmed = None;
        self.agreement.again = None;
        self.state(Statement::confirm_amount(amount));
        Ok(words::caller_is_asked(amount))
    }

    /// Whether the caller would hear a statement and could answer it.
    fn may_state(&self) -> Result<(), String> {
        match () {
            () if self.listening => Err(words::refused(words::NOT_WHILE_LISTENING)),
            () if self.farewell.is_some() => Err(words::refused(words::NOT_WHILE_LEAVING)),
            () => Ok(()),
        }
    }

    /// Has the server ask the caller whether to charge an amount again that was paid a few minutes ago. Returns the tool's answer.
    pub(super) fn ask_to_pay_again(&mut self, amount: Amount, minutes: u32) -> String {
        if let Err(refusal) = self.may_state() {
            return refusal;
        }
        self.state(Statement::pay_again(amount, minutes));
        words::caller_is_asked_again(amount, minutes)
    }

    /// The caller answered what the server asked about an amount.
    pub(super) fn amount_answered(&mut self, purpose: Purpose, answer: Consent, agreed: Option<Agreed>) {
        let Some(amount) = purpose.amount() else { return };
        let yes = Yes { amount, agreed, until: self.now + YES_HOLDS };
        match (answer, purpose) {
            (Consent::Yes, Purpose::ChargeAgain(_)) => self.agreement.again = Some(yes),
            (Consent::Yes, _) => self.agreement.confirmed = Some(yes),
            (Consent::No | Consent::Unclear, _) => self.agreement.given_up(Some(amount)),
        }
        self.note(words::answered(purpose, amount, answer));
        self.turn.owed = true;
    }

    /// The open payment is thrown away at the caller's wish.
    pub(super) fn give_agreement_up(&mut self) {
        let charge = self.payments.open().and_then(Capture::charge);
        self.agreement.given_up(charge);
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
