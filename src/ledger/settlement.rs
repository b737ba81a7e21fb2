//! Records the outcome of a payment that an operator looked up at the processor.

use std::str::FromStr;

use sqlx::AssertSqlSafe;

use super::payment::PaymentKey;
use super::text::storable;
use super::{Ledger, LedgerError, LedgerEvent, LedgerTransaction, Payment, PaymentState, SettleError};
use crate::config::OperatorName;
use crate::payment::PaymentId;
use crate::redact::redact_card_numbers;

/// Longest confirmation code or note, in characters. The rest is cut.
const MAX_TEXT_CHARS: usize = 256;

/// The outcome of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettledOutcome {
    /// The amount was charged, or a bank debit is settled.
    Charged,
    /// The card was stored.
    Tokenized,
    /// The processor declined it.
    Declined,
    /// Nothing was charged or stored.
    Cancelled,
    /// A bank debit was returned.
    Returned,
}

/// A text that is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an outcome is charged, tokenized, declined, cancelled or returned")]
pub struct ParseSettledOutcomeError;

/// An operator's settlement of a payment.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The outcome.
    pub outcome: SettledOutcome,
    /// The processor's confirmation code.
    pub confirmation: Option<String>,
    /// The reason, or the source of the outcome.
    pub note: Option<String>,
    /// Whether it corrects an earlier settlement. A correction needs a note.
    pub is_correction: bool,
    /// Whose token the request had; `None` for the command line.
    pub operator: Option<OperatorName>,
}

impl SettledOutcome {
    /// The name of the outcome.
    pub fn as_str(self) -> &'static str {
        self.state().as_str()
    }

    fn state(self) -> PaymentState {
        match self {
            Self::Charged => PaymentState::Charged,
            Self::Tokenized => PaymentState::Tokenized,
            Self::Declined => PaymentState::Declined,
            Self::Cancelled => PaymentState::Cancelled,
            Self::Returned => PaymentState::Returned,
        }
    }
}

impl FromStr for SettledOutcome {
    type Err = ParseSettledOutcomeError;

    fn from_str(text: &str) -> Result<Self, ParseSettledOutcomeError> {
        let all = [Self::Charged, Self::Tokenized, Self::Declined, Self::Cancelled, Self::Returned];
        all.into_iter().find(|verdict| verdict.state().as_str() == text).ok_or(ParseSettledOutcomeError)
    }
}

impl Ledger {
    /// Settles a payment that is unknown, pending or disputed, or a charged bank debit that was returned; or corrects
    /// an earlier settlement. A success that Twilio reported is never overridden.
    pub async fn settle(&self, id: PaymentId, settlement: &Settlement) -> Result<Payment, SettleError> {
        let text = |text: &Option<String>| {
            let text: String =
                redact_card_numbers(storable(text.as_deref()?).trim()).chars().take(MAX_TEXT_CHARS).collect();
            Some(text).filter(|text| !text.is_empty())
        };
        let (confirmation, note) = (text(&settlement.confirmation), text(&settlement.note));
        let next = settlement.outcome.state();
        let mut writing = self.begin_write().await?;
        writing.lock_call_of(id).await?;
        let mut payment = writing.find_payment(PaymentKey::Id(id)).await?.ok_or(SettleError::NoSuchPayment)?;
        let corrects = if settlement.is_correction {
            writing.check_correction(&payment, next, note.as_deref()).await?;
            Some(payment.state)
        } else {
            writing.check_settlement(&payment, next).await?;
            None
        };
        // If a settlement is corrected to an outcome without success, its confirmation code is wrong as well.
        let keeps_code = corrects.is_none() || !next.is_without_success();
        writing.set_confirmation_code(&mut payment, confirmation.clone(), keeps_code).await?;
        let settled = LedgerEvent::Settled {
            outcome: next,
            confirmation: confirmation.as_deref(),
            note: note.as_deref(),
            corrects,
            operator: settlement.operator.as_ref(),
        };
        writing.append_event(&payment, &settled, None).await?;
        writing.set_state(&mut payment, next).await?;
        writing.commit().await?;
        Ok(payment)
    }
}

/// Finds an event of a payment by a condition that begins with its kind.
pub(super) fn find_event(which: &str) -> String {
    format!("SELECT 1 FROM events WHERE payment_id = $1 AND {which} LIMIT 1")
}

impl LedgerTransaction {
    /// Checks that a payment can be settled like this.
    async fn check_settlement(&mut self, payment: &Payment, next: PaymentState) -> Result<(), SettleError> {
        match (payment.state, next) {
            // A bank debit can be returned weeks after it was settled correctly.
            (PaymentState::Unknown, _) | (PaymentState::Charged, PaymentState::Returned) => {
                self.check_intent(payment, next).await
            }
            (PaymentState::Pending, PaymentState::Charged | PaymentState::Returned)
            | (PaymentState::Disputed, PaymentState::Charged) => Ok(()),
            (PaymentState::Pending | PaymentState::Disputed, _) => {
                Err(SettleError::InvalidTransition(payment.state, next))
            }
            (state, _) => Err(SettleError::NotSettleable(state)),
        }
    }

    /// Checks that the outcome fits the purpose of the payment. That is not known for a payment that this ledger did
    /// not start.
    async fn check_intent(&mut self, payment: &Payment, next: PaymentState) -> Result<(), SettleError> {
        let intent = payment.intent();
        let charges = intent.charge.is_some();
        match next {
            PaymentState::Charged if !charges && !self.has_event(payment, "kind = 'found'").await? => {
                Err(SettleError::WrongPurpose { charges })
            }
            PaymentState::Tokenized if charges => Err(SettleError::WrongPurpose { charges }),
            PaymentState::Returned if !(charges && intent.bank_debit) => Err(SettleError::NotBankDebit),
            _ => Ok(()),
        }
    }

    /// Checks that an earlier settlement of a payment can be corrected to this.
    async fn check_correction(
        &mut self,
        payment: &Payment,
        next: PaymentState,
        note: Option<&str>,
    ) -> Result<(), SettleError> {
        if note.is_none() {
            return Err(SettleError::NoteMissing);
        }
        if !self.has_event(payment, "kind = 'settled'").await? {
            return Err(SettleError::NeverSettled(payment.state));
        }
        if payment.refunded > 0 || matches!(payment.state, PaymentState::Refunded | PaymentState::Disputed) {
            return Err(SettleError::RefundRecorded);
        }
        if payment.state == next {
            return Err(SettleError::InvalidTransition(payment.state, next));
        }
        self.check_intent(payment, next).await?;
        // Older versions wrote no outcome.
        let succeeded = "kind = 'ended' AND coalesce(outcome = 'succeeded', result = 'success')";
        let succeeded = self.has_event(payment, succeeded).await?;
        // An accepted bank debit is settled later, or returned.
        let after_success =
            payment.intent().bank_debit && matches!(next, PaymentState::Charged | PaymentState::Returned);
        if succeeded && !after_success { Err(SettleError::SuccessReported) } else { Ok(()) }
    }

    pub(super) async fn has_event(&mut self, payment: &Payment, which: &'static str) -> Result<bool, LedgerError> {
        let found = sqlx::query(AssertSqlSafe(find_event(which))).bind(payment.id.to_string());
        Ok(found.fetch_optional(&mut self.transaction).await?.is_some())
    }

    /// Stores a confirmation code. Without a new one the present code stays if `keeps_code`.
    async fn set_confirmation_code(
        &mut self,
        payment: &mut Payment,
        code: Option<String>,
        keeps_code: bool,
    ) -> Result<(), LedgerError> {
        let before = payment.confirmation_code.take().filter(|_| keeps_code);
        payment.confirmation_code = code.or(before);
        sqlx::query("UPDATE payments SET confirmation = $1 WHERE id = $2")
            .bind(payment.confirmation_code.clone())
            .bind(payment.id.to_string())
            .execute(&mut self.transaction)
            .await?;
        Ok(())
    }
}
