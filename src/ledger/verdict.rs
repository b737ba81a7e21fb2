//! What the operator says became of a payment that is unknown.

use std::str::FromStr;

use super::payment::Find;
use super::{Event, Ledger, NotSettled, Payment, State};
use crate::payment::PaymentId;
use crate::redact::without_card_numbers;

/// The longest code or note that is kept, in characters.
const MAX_TEXT: usize = 256;

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The amount was charged.
    Charged,
    /// The card was stored.
    Tokenized,
    /// The processor said no.
    Declined,
    /// Nothing was done.
    Cancelled,
}

/// A text that is no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an outcome is charged, tokenized, declined or cancelled")]
pub struct BadVerdict;

/// The operator's word, and what goes with it. `Debug` shows the verdict alone.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The word.
    pub verdict: Verdict,
    /// The processor's confirmation code.
    pub confirmation: Option<String>,
    /// Why, or who found out how.
    pub note: Option<String>,
}

impl Verdict {
    fn state(self) -> State {
        match self {
            Self::Charged => State::Charged,
            Self::Tokenized => State::Tokenized,
            Self::Declined => State::Declined,
            Self::Cancelled => State::Cancelled,
        }
    }
}

impl FromStr for Verdict {
    type Err = BadVerdict;

    fn from_str(text: &str) -> Result<Self, BadVerdict> {
        let all = [Self::Charged, Self::Tokenized, Self::Declined, Self::Cancelled];
        all.into_iter().find(|verdict| verdict.state().as_str() == text).ok_or(BadVerdict)
    }
}

impl Ledger {
    /// Settles a payment that is unknown, and no other. It cannot be taken back, unless Twilio reports a success after all.
    pub async fn settle(&self, id: PaymentId, settlement: &Settlement) -> Result<Payment, NotSettled> {
        let text = |text: &Option<String>| {
            let text: String = without_card_numbers(text.as_deref()?.trim()).chars().take(MAX_TEXT).collect();
            Some(text).filter(|text| !text.is_empty())
        };
        let (confirmation, note) = (text(&settlement.confirmation), text(&settlement.note));
        let next = settlement.verdict.state();
        let mut writing = self.write().await?;
        let mut payment = writing.find(Find::Id(id)).await?.ok_or(NotSettled::NoSuchPayment)?;
        if payment.state != State::Unknown {
            return Err(NotSettled::NotUnknown(payment.state));
        }
        let charges = payment.amount.is_some();
        if next == (if charges { State::Tokenized } else { State::Charged }) {
            return Err(NotSettled::Mismatch { charges });
        }
        writing.confirm(&mut payment, confirmation).await?;
        let settled = Event::Settled { outcome: next.as_str(), note: note.as_deref() };
        writing.append(&payment, &settled, None).await?;
        writing.advance(&mut payment, next).await?;
        writing.commit().await?;
        Ok(payment)
    }
}

impl super::Writing {
    async fn confirm(&mut self, payment: &mut Payment, confirmation: Option<String>) -> Result<(), super::Error> {
        sqlx::query("UPDATE payments SET confirmation = coalesce(?, confirmation) WHERE id = ?")
            .bind(&confirmation)
            .bind(payment.id.to_string())
            .execute(&mut *self.transaction)
            .await?;
        payment.confirmation = confirmation.or(payment.confirmation.take());
        Ok(())
    }
}
