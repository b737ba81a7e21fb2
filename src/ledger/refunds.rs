//! Refunds and disputes, as the operator records them.

use jiff::{SignedDuration, Timestamp};

use super::outbox::{self, RefundData};
use super::payment::Find;
use super::{Error, Event, Ledger, Payment, State, Writing, decimal};
use crate::payment::{Amount, BadAmount, PaymentId};
use crate::redact::without_card_numbers;

/// The longest reference, in characters.
const MAX_REFERENCE: usize = 64;

/// How far the clock of the operator's machine may be ahead.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);

/// What happened to money that was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundKind {
    /// It was given back.
    Refund,
    /// The payer disputes it.
    Dispute,
}

/// A refund or a dispute.
#[derive(Debug, Clone)]
pub struct Refund {
    /// Which of the two.
    pub kind: RefundKind,
    /// Decimal text in the payment's currency.
    pub amount: String,
    /// What the processor calls it; the same reference is the same refund.
    pub reference: String,
    /// When it happened; now, if that is not known.
    pub at: Option<Timestamp>,
}

/// Why a refund or a dispute is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// There is no such payment.
    #[error("no payment has this id")]
    NoSuchPayment,
    /// It is no amount above zero.
    #[error("the amount is {0}")]
    BadAmount(BadAmount),
    /// Zero.
    #[error("the amount is zero: it has to be above")]
    NoAmount,
    /// It is empty or too long.
    #[error("the reference has from 1 to {MAX_REFERENCE} characters")]
    BadReference,
    /// It has not happened yet.
    #[error("the time is in the future")]
    InFuture,
    /// Nothing was charged.
    #[error("the payment is {0}: only what was charged can be refunded or disputed")]
    NotCharged(State),
    /// Another server's payment, of which Twilio told no amount.
    #[error("the amount of the payment is not known, so no part of it can be refunded")]
    AmountUnknown,
    /// More than there is.
    #[error("the payment was charged with {charged} and {} of it is refunded: the rest is less than this amount", decimal(*.refunded, .charged.currency()))]
    TooMuch {
        /// What was charged.
        charged: Amount,
        /// What is refunded, in minor units.
        refunded: u64,
    },
    /// The reference stands for another refund.
    #[error("another refund or dispute of this payment is recorded under this reference")]
    OtherRefund,
    /// It could not be written.
    #[error(transparent)]
    Unwritten(#[from] Error),
}

impl From<sqlx::Error> for RefundError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unwritten(error.into())
    }
}

impl RefundKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Dispute => "dispute",
        }
    }

    /// What happened to the payment, as its events say it.
    pub(super) fn happened(self) -> &'static str {
        match self {
            Self::Refund => "refunded",
            Self::Dispute => "disputed",
        }
    }
}

impl Ledger {
    /// Records a refund or a dispute. One that is recorded before, under the same reference, is not recorded again.
    pub async fn record_refund(&self, id: PaymentId, refund: &Refund) -> Result<Payment, RefundError> {
        let reference = without_card_numbers(refund.reference.trim()).into_owned();
        if !(1..=MAX_REFERENCE).contains(&reference.chars().count()) {
            return Err(RefundError::BadReference);
        }
        let mut writing = self.write().await?;
        let at = refund.at.unwrap_or(writing.now);
        if at > writing.now.checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX) {
            return Err(RefundError::InFuture);
        }
        let mut payment = writing.find(Find::Id(id)).await?.ok_or(RefundError::NoSuchPayment)?;
        let charged = payment.amount.ok_or(match payment.state {
            State::Charged | State::Disputed => RefundError::AmountUnknown,
            state => RefundError::NotCharged(state),
        })?;
        let amount = Amount::parse(&refund.amount, charged.currency()).map_err(RefundError::BadAmount)?;
        let amount = amount.ok_or(RefundError::NoAmount)?;
        if writing.is_recorded(id, refund.kind, &reference, amount).await? {
            return Ok(payment);
        }
        check(&payment, charged, amount)?;
        let data = RefundData { amount: amount.to_string(), minor: amount.minor(), reference, at };
        writing.insert_refund(&mut payment, refund.kind, data).await?;
        writing.commit().await?;
        Ok(payment)
    }
}

/// Whether the amount can be refunded or disputed.
fn check(payment: &Payment, charged: Amount, amount: Amount) -> Result<(), RefundError> {
    if !matches!(payment.state, State::Charged | State::Refunded | State::Disputed) {
        return Err(RefundError::NotCharged(payment.state));
    }
    let refunded = payment.refunded;
    let rest = charged.minor().saturating_sub(refunded);
    if amount.minor() > rest { Err(RefundError::TooMuch { charged, refunded }) } else { Ok(()) }
}

impl Writing {
    async fn is_recorded(
        &mut self,
        id: PaymentId,
        kind: RefundKind,
        reference: &str,
        amount: Amount,
    ) -> Result<bool, RefundError> {
        let recorded: Option<(String, i64)> =
            sqlx::query_as("SELECT kind, minor FROM refunds WHERE payment_id = ? AND reference = ?")
                .bind(id.to_string())
                .bind(reference)
                .fetch_optional(&mut *self.transaction)
                .await?;
        match recorded {
            None => Ok(false),
            Some((of, minor)) if of == kind.as_str() && minor.unsigned_abs() == amount.minor() => Ok(true),
            Some(_) => Err(RefundError::OtherRefund),
        }
    }

    async fn insert_refund(
        &mut self,
        payment: &mut Payment,
        kind: RefundKind,
        refund: RefundData,
    ) -> Result<(), RefundError> {
        let minor = i64::try_from(refund.minor).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO refunds (payment_id, kind, reference, minor, at, recorded_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(payment.id.to_string())
        .bind(kind.as_str())
        .bind(&refund.reference)
        .bind(minor)
        .bind(refund.at.as_millisecond())
        .bind(self.now.as_millisecond())
        .execute(&mut *self.transaction)
        .await?;
        self.append(payment, &Event::Refunded { kind, refund: &refund }, None).await?;
        if kind == RefundKind::Refund {
            payment.refunded += refund.minor;
            sqlx::query("UPDATE payments SET refunded = refunded + ? WHERE id = ?")
                .bind(minor)
                .bind(payment.id.to_string())
                .execute(&mut *self.transaction)
                .await?;
        }
        let is_whole = payment.amount.is_some_and(|charged| payment.refunded >= charged.minor());
        let next = match kind {
            RefundKind::Dispute => State::Disputed,
            RefundKind::Refund if is_whole => State::Refunded,
            RefundKind::Refund => payment.state,
        };
        if next != payment.state {
            self.change_state(payment, next).await?;
        }
        self.outcome = true;
        outbox::put_refund(self, payment, kind.happened(), refund).await?;
        Ok(())
    }
}
