//! What may be charged on this call: the amount due, or an amount to which the caller said yes. The model alone cannot
//! authorize a charge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::consent_question::ConsentQuestion;
use super::tool_request::RequestedCharge;
use super::{Call, prompts};
use crate::payment::{
    Amount, AmountDue, Capture, ChargeLimits, ConsentAnswer, ConsentPurpose, ConsentRecord, Currency, PaymentTerms,
    PaymentTermsError,
};
use crate::redact::Private;

/// How long the caller's yes is valid.
const CONSENT_VALIDITY: Duration = Duration::from_secs(600);

/// The payment terms of the call, and the amounts to which the caller agreed.
pub(super) struct ChargeAuthorization {
    /// The parameters that the call began with.
    parameters: Private<BTreeMap<String, String>>,
    terms: Result<Arc<PaymentTerms>, PaymentTermsError>,
    /// The amount that may be charged, until it is charged or revoked.
    confirmed: Option<ConsentedAmount>,
    /// The amount that may be charged again although the same amount was paid a few minutes ago.
    confirmed_again: Option<ConsentedAmount>,
    /// Whether anything was charged on this call. An amount due is charged only if nothing was.
    due_status: ChargeStatus,
}

/// Whether an amount was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChargeStatus {
    /// It was not charged.
    NotCharged,
    /// It may have been charged.
    PossiblyCharged,
    /// It was charged.
    Charged,
}

/// An amount to which the caller said yes.
struct ConsentedAmount {
    amount: Amount,
    agreed: Option<ConsentRecord>,
    expires_at: Instant,
}

impl ConsentedAmount {
    fn covers(&self, amount: Amount, now: Instant) -> bool {
        self.amount == amount && now < self.expires_at
    }
}

impl ChargeAuthorization {
    pub(super) fn new(
        parameters: BTreeMap<String, String>,
        terms: Result<Arc<PaymentTerms>, PaymentTermsError>,
    ) -> Self {
        let parameters = Private::new(parameters);
        Self { parameters, terms, confirmed: None, confirmed_again: None, due_status: ChargeStatus::NotCharged }
    }

    /// The parameters that the call began with.
    pub(super) fn parameters(&self) -> &BTreeMap<String, String> {
        self.parameters.reveal()
    }

    /// Whether anything was charged on this call.
    pub(super) fn due_status(&self) -> ChargeStatus {
        self.due_status
    }

    /// Replaces the terms, since the business named what is due. A yes of the caller stays only if it was to exactly this
    /// amount of this debt.
    pub(super) fn replace_terms(&mut self, terms: Result<Arc<PaymentTerms>, PaymentTermsError>) {
        let is_same_debt = match (&self.terms, &terms) {
            (Ok(before), Ok(after)) => {
                before.amount_due == AmountDue::Unspecified || before.reference == after.reference
            }
            _ => false,
        };
        let due = terms.as_ref().ok().map(|terms| terms.amount_due);
        let is_other = |yes: &mut ConsentedAmount| !is_same_debt || due != Some(AmountDue::Amount(yes.amount));
        self.confirmed.take_if(is_other);
        self.confirmed_again.take_if(is_other);
        self.terms = terms;
    }

    pub(super) fn terms(&self) -> Result<&Arc<PaymentTerms>, &PaymentTermsError> {
        self.terms.as_ref()
    }

    /// The amount to which the caller said yes, while that is valid.
    fn confirmed_amount(&self, now: Instant) -> Option<Amount> {
        self.confirmed.as_ref().filter(|yes| yes.covers(yes.amount, now)).map(|yes| yes.amount)
    }

    /// The evidence for a charge: the yes to charging the amount again, if there is one, else the first yes to it.
    pub(super) fn evidence(&self, amount: Amount, now: Instant) -> Option<ConsentRecord> {
        let yes = [&self.confirmed_again, &self.confirmed].into_iter().flatten().find(|yes| yes.covers(amount, now))?;
        yes.agreed.clone()
    }

    /// Records a charge and revokes the caller's yes to its amount.
    pub(super) fn record_charge(&mut self, amount: Option<Amount>, paid: ChargeStatus) {
        self.revoke(amount);
        if amount.is_some() {
            self.due_status = self.due_status.max(paid);
        }
    }

    /// Revokes the caller's yes to an amount: a further payment of it needs a new yes.
    pub(super) fn revoke(&mut self, amount: Option<Amount>) {
        self.confirmed.take_if(|yes| Some(yes.amount) == amount);
        self.confirmed_again.take_if(|yes| Some(yes.amount) == amount);
    }
}

impl Call {
    /// The error in the payment parameters of this call, if they are invalid. No payment can start then.
    pub(crate) fn terms_error(&self) -> Option<&PaymentTermsError> {
        self.authorization.terms().err()
    }

    /// The payment terms of this call. The error is a tool output.
    pub(super) fn terms(&self) -> Result<&Arc<PaymentTerms>, String> {
        self.authorization.terms().map_err(|_| prompts::refusal(prompts::INVALID_TERMS))
    }

    /// Returns what a payment may charge; `None` stores the card. The error is a tool output that says what has to
    /// happen first.
    pub(super) fn authorize_charge(&self, requested: RequestedCharge) -> Result<Option<Amount>, String> {
        let due = self.terms()?.amount_due;
        let confirmed = self.authorization.confirmed_amount(self.now);
        match (due, requested) {
            (AmountDue::Amount(_), _) if self.authorization.due_status == ChargeStatus::Charged => {
                Err(prompts::refusal(prompts::DUE_ALREADY_PAID))
            }
            (AmountDue::Amount(_), _) if self.authorization.due_status == ChargeStatus::PossiblyCharged => {
                Err(prompts::refusal(prompts::DUE_POSSIBLY_PAID))
            }
            (AmountDue::Amount(due), RequestedCharge::Amount(other)) if other != due => {
                Err(prompts::amount_differs_from_due(due))
            }
            (AmountDue::Amount(due), RequestedCharge::Zero) => Err(prompts::amount_differs_from_due(due)),
            (AmountDue::Amount(due), _) if self.settings.confirm_due && confirmed != Some(due) => {
                Err(prompts::confirmation_required(due))
            }
            (AmountDue::Amount(due), _) => Ok(Some(due)),
            (AmountDue::Zero, RequestedCharge::Unspecified | RequestedCharge::Zero)
            | (AmountDue::Unspecified, RequestedCharge::Zero) => Ok(None),
            (AmountDue::Zero, RequestedCharge::Amount(_)) => Err(prompts::refusal(prompts::NOTHING_DUE)),
            (AmountDue::Unspecified, RequestedCharge::Unspecified) => {
                confirmed.map(Some).ok_or_else(|| prompts::refusal(prompts::NO_AMOUNT_AGREED))
            }
            (AmountDue::Unspecified, RequestedCharge::Amount(amount)) => {
                check_limits(&self.settings.payment.charge_limits, amount)?;
                if confirmed == Some(amount) { Ok(Some(amount)) } else { Err(prompts::confirmation_required(amount)) }
            }
        }
    }

    /// Makes the server ask the caller for a yes to the amount, or to the amount due if none is given. Returns the tool
    /// output.
    pub(super) fn confirm_amount(&mut self, amount: Option<Amount>) -> Result<String, String> {
        let amount = match (self.terms()?.amount_due, amount) {
            (AmountDue::Amount(_), _) if self.authorization.due_status == ChargeStatus::Charged => {
                return Err(prompts::refusal(prompts::DUE_ALREADY_PAID));
            }
            (AmountDue::Amount(_), _) if self.authorization.due_status == ChargeStatus::PossiblyCharged => {
                return Err(prompts::refusal(prompts::DUE_POSSIBLY_PAID));
            }
            (AmountDue::Amount(due), Some(other)) if other != due => return Err(prompts::amount_differs_from_due(due)),
            (AmountDue::Amount(due), _) if !self.settings.confirm_due => {
                return Err(prompts::no_confirmation_needed(due));
            }
            (AmountDue::Amount(due), _) => due,
            (AmountDue::Zero, _) => return Err(prompts::refusal(prompts::NOTHING_DUE)),
            (AmountDue::Unspecified, None) => return Err(prompts::refusal(prompts::NO_AMOUNT)),
            (AmountDue::Unspecified, Some(amount)) => {
                check_limits(&self.settings.payment.charge_limits, amount)?;
                amount
            }
        };
        if self.payments.is_open() {
            return Err(prompts::refusal(prompts::PAYMENT_IS_OPEN));
        }
        self.check_can_ask()?;
        self.authorization.confirmed = None;
        self.authorization.confirmed_again = None;
        self.ask_question(ConsentQuestion::confirm_amount(amount));
        Ok(prompts::caller_is_asked(amount))
    }

    /// Checks that the caller would hear a question and can answer it. The error is a tool output.
    pub(super) fn check_can_ask(&self) -> Result<(), String> {
        match () {
            () if self.listen_only => Err(prompts::refusal(prompts::NOT_WHILE_LISTENING)),
            () if self.phase.is_closing() => Err(prompts::refusal(prompts::NOT_WHILE_CLOSING)),
            () => Ok(()),
        }
    }

    /// Makes the server ask the caller whether to charge an amount again that was paid `minutes` ago. Returns the tool
    /// output.
    pub(super) fn ask_to_pay_again(&mut self, amount: Amount, minutes: u32) -> String {
        if let Err(refusal) = self.check_can_ask() {
            return refusal;
        }
        self.ask_question(ConsentQuestion::pay_again(amount, minutes));
        prompts::caller_is_asked_again(amount, minutes)
    }

    /// Applies the caller's answer to a question about an amount.
    pub(super) fn apply_amount_answer(
        &mut self,
        purpose: ConsentPurpose,
        answer: ConsentAnswer,
        agreed: Option<ConsentRecord>,
    ) {
        let Some(amount) = purpose.amount() else { return };
        let yes = ConsentedAmount { amount, agreed, expires_at: self.now + CONSENT_VALIDITY };
        match (answer, purpose) {
            (ConsentAnswer::Yes, ConsentPurpose::ChargeAgain(_)) => self.authorization.confirmed_again = Some(yes),
            (ConsentAnswer::Yes, _) => self.authorization.confirmed = Some(yes),
            (ConsentAnswer::No | ConsentAnswer::Unclear, _) => self.authorization.revoke(Some(amount)),
        }
        self.note(prompts::amount_answer(purpose, amount, answer));
        self.turn.owe_response();
    }

    /// Revokes the caller's yes to the charge of the open payment.
    pub(super) fn revoke_consent(&mut self) {
        let charge = self.payments.open().and_then(Capture::charge);
        self.authorization.revoke(charge);
    }

    /// The currency of the call.
    pub(super) fn currency(&self) -> Currency {
        self.authorization.terms().map_or(self.settings.payment.currency, |terms| terms.currency)
    }
}

fn check_limits(limits: &ChargeLimits, amount: Amount) -> Result<(), String> {
    if limits.allows(amount) { Ok(()) } else { Err(prompts::out_of_limits(amount, limits)) }
}
