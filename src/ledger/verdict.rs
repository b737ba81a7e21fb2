//! How a payment ended, as the operator says after a look at the processor.

use std::str::FromStr;

use super::payment::Find;
use super::{Error, Event, Ledger, NotSettled, Payment, State, Writing};
use crate::payment::PaymentId;
use crate::redact::without_card_numbers;

/// The longest code or note that is kept, in characters.
const MAX_TEXT: usize = 256;

/// How a payment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The amount was charged; a bank debit is settled.
    Charged,
    /// The card was stored.
    Tokenized,
    /// The processor said no.
    Declined,
    /// Nothing was done.
    Cancelled,
    /// A bank debit came back.
    Returned,
}

/// A text that is no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an outcome is charged, tokenized, declined, cancelled or returned")]
pub struct BadVerdict;

/// The operator's word, and what goes with it. `Debug` shows the verdict alone.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The word.
    pub verdict: Verdict,
    /// The processor's confirmation code.
    pub confirmation: Option<String>,
    /// Why, or how it was found out.
    pub note: Option<String>,
    /// Whether it corrects an earlier settlement, which needs a note.
    pub corrects: bool,
}

impl Verdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        self.state().as_str()
    }

    fn state(self) -> State {
        match self {
            Self::Charged => State::Charged,
            Self::Tokenized => State::Tokenized,
            Self::Declined => State::Declined,
            Self::Cancelled => State::Cancelled,
            Self::Returned => State::Returned,
        }
    }
}

impl FromStr for Verdict {
    type Err = BadVerdict;

    fn from_str(text: &str) -> Result<Self, BadVerdict> {
        let all = [Self::Charged, Self::Tokenized, Self::Declined, Self::Cancelled, Self::Returned];
        all.into_iter().find(|verdict| verdict.state().as_str() == text).ok_or(BadVerdict)
    }
}

impl Ledger {
    /// Settles a payment that is unknown, pending or disputed, or a charged bank debit that came back; or corrects what an operator settled before. What Twilio
    /// reported as a success is never overridden.
    pub async fn settle(&self, id: PaymentId, settlement: &Settlement) -> Result<Payment, NotSettled> {
        let text = |text: &Option<String>| {
            let text: String = without_card_numbers(text.as_deref()?.trim()).chars().take(MAX_TEXT).collect();
            Some(text).filter(|text| !text.is_empty())
        };
        let (confirmation, note) = (text(&settlement.confirmation), text(&settlement.note));
        let next = settlement.verdict.state();
        let mut writing = self.write().await?;
        let mut payment = writing.find(Find::Id(id)).await?.ok_or(NotSettled::NoSuchPayment)?;
        let corrects = if settlement.corrects {
            writing.check_correction(&payment, next, note.as_deref()).await?;
            Some(payment.state)
        } else {
            writing.check_settlement(&payment, next).await?;
            None
        };
        // The code of a settlement that is corrected to no success is wrong as well.
        let keeps_code = corrects.is_none() || !next.is_without_success();
        writing.confirm(&mut payment, confirmation, keeps_code).await?;
        let settled = Event::Settled { outcome: next, note: note.as_deref(), corrects };
        writing.append(&payment, &settled, None).await?;
        writing.set_state(&mut payment, next).await?;
        writing.commit().await?;
        Ok(payment)
    }
}

impl Writing {
    /// Whether a payment can be settled like this.
    async fn check_settlement(&mut self, payment: &Payment, next: State) -> Result<(), NotSettled> {
        match (payment.state, next) {
            // A bank debit comes back weeks after it was settled: its settlement was right.
            (State::Unknown, _) | (State::Charged, State::Returned) => self.check_intent(payment, next).await,
            (State::Pending, State::Charged | State::Returned) | (State::Disputed, State::Charged) => Ok(()),
            (State::Pending | State::Disputed, _) => Err(NotSettled::NotFrom(payment.state, next)),
            (state, _) => Err(NotSettled::NotUnknown(state)),
        }
    }

    /// Whether a payment that was to do this can end like that. Of one that was not begun here nobody knows what it was to do.
    async fn check_intent(&mut self, payment: &Payment, next: State) -> Result<(), NotSettled> {
        let intent = payment.intent();
        let charges = intent.charge.is_some();
        match next {
            State::Charged if !charges && !self.has_event(payment, "kind = 'found'").await? => {
                Err(NotSettled::Mismatch { charges })
            }
            State::Tokenized if charges => Err(NotSettled::Mismatch { charges }),
            State::Returned if !(charges && intent.bank_debit) => Err(NotSettled::NotBankDebit),
            _ => Ok(()),
        }
    }

    /// Whether an earlier settlement of a payment can be corrected to this.
    async fn check_correction(&mut self, payment: &Payment, next: State, note: Option<&str>) -> Result<(), NotSettled> {
        if note.is_none() {
            return Err(NotSettled::NoNote);
        }
        if !self.has_event(payment, "kind = 'settled'").await? {
            return Err(NotSettled::NeverSettled(payment.state));
        }
        if payment.refunded > 0 || matches!(payment.state, State::Refunded | State::Disputed) {
            return Err(NotSettled::Refunded);
        }
        if payment.state == next {
            return Err(NotSettled::NotFrom(payment.state, next));
        }
        self.check_intent(payment, next).await?;
        // An older version wrote no outcome.
        let succeeded = "kind = 'ended' AND coalesce(json_extract(data, '$.outcome') = 'succeeded', \
                         json_extract(data, '$.result') = 'success')";
        let succeeded = self.has_event(payment, succeeded).await?;
        // A bank debit that was accepted is settled later, or comes back.
        let after_success = payment.intent().bank_debit && matches!(next, State::Charged | State::Returned);
        if succeeded && !after_success { Err(NotSettled::Reported) } else { Ok(()) }
    }

    async fn has_event(&mut self, payment: &Payment, which: &'static str) -> Result<bool, Error> {
        let query = format!("SELECT EXISTS (SELECT 1 FROM events WHERE payment_id = ? AND {which})");
        let found = sqlx::query_scalar(&query).bind(payment.id.to_string());
        Ok(found.fetch_one(&mut *self.transaction).await?)
    }

    /// Notes a confirmation code; without one the code that is there stays, if it may.
    async fn confirm(&mut self, payment: &mut Payment, code: Option<String>, keeps_code: bool) -> Result<(), Error> {
        let before = payment.confirmation.take().filter(|_| keeps_code);
        payment.confirmation = code.or(before);
        sqlx::query("UPDATE payments SET confirmation = ? WHERE id = ?")
            .bind(&payment.confirmation)
            .bind(payment.id.to_string())
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }
}
