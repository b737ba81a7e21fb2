//! Records the refunds and disputes that operators enter.

use jiff::{SignedDuration, Timestamp};

use super::outbox::{self, RefundData};
use super::payment::PaymentKey;
use super::text::storable;
use super::{EventKind, Ledger, LedgerError, LedgerEvent, LedgerTransaction, Payment, PaymentState};
use crate::config::OperatorName;
use crate::payment::{Amount, ParseAmountError, PaymentId};
use crate::redact::has_card_number;

/// The longest reference, in characters.
const MAX_REFERENCE: usize = 64;

/// How far the clock of the operator's machine may be ahead.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);

/// A refund or a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundKind {
    /// The money was returned to the payer.
    Refund,
    /// The payer disputes the charge.
    Dispute,
}

/// A refund or a dispute, as an operator enters it.
#[derive(Debug, Clone)]
pub struct Refund {
    /// Refund or dispute.
    pub kind: RefundKind,
    /// Decimal text in the payment's currency.
    pub amount: String,
    /// The processor's reference. The same reference is the same refund.
    pub reference: String,
    /// When it happened. `None` means now.
    pub at: Option<Timestamp>,
    /// Whose token the request had; `None` for the command line.
    pub operator: Option<OperatorName>,
}

/// A refund or a dispute that was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// No payment has this id.
    #[error("no payment has this id")]
    NoSuchPayment,
    /// The amount cannot be parsed.
    #[error("the amount is {0}")]
    InvalidAmount(ParseAmountError),
    /// The amount is zero.
    #[error("the amount is zero: it has to be above zero")]
    ZeroAmount,
    /// The reference is empty or too long.
    #[error("the reference has from 1 to {MAX_REFERENCE} characters")]
    InvalidReference,
    /// The reference contains what may be a card number, which is not stored: without it, two references could not be told
    /// apart.
    #[error("the reference may be a card number, which is not recorded: use the processor's id of the refund")]
    ReferenceLikeCard,
    /// The time is in the future.
    #[error("the time is in the future")]
    TimeInFuture,
    /// The payment is not charged.
    #[error("the payment is {0}: only what was charged can be refunded or disputed")]
    NotCharged(PaymentState),
    /// This ledger did not start the payment, and Twilio did not report its amount.
    #[error("the amount of the payment is not known, so no part of it can be refunded")]
    AmountUnknown,
    /// The amount exceeds what is left to refund.
    #[error("the payment was charged with {charged} and {} of it is refunded: the rest is less than this amount", .charged.currency().format_minor(*.refunded))]
    AmountTooLarge {
        /// The amount charged.
        charged: Amount,
        /// The total of the refunds so far, in minor units.
        refunded: u64,
    },
    /// The reference belongs to another refund or dispute.
    #[error("another refund or dispute of this payment is recorded under this reference")]
    ReferenceTaken,
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<sqlx::Error> for RefundError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl RefundKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Refund => "refund",
            Self::Dispute => "dispute",
        }
    }

    /// The kind of the event. Its name is also the last part of the webhook event type.
    pub(super) fn event_kind(self) -> EventKind {
        match self {
            Self::Refund => EventKind::Refunded,
            Self::Dispute => EventKind::Disputed,
        }
    }
}

impl Ledger {
    /// Records a refund or a dispute. One with the same reference is recorded once.
    pub async fn record_refund(&self, id: PaymentId, refund: &Refund) -> Result<Payment, RefundError> {
        let reference = storable(refund.reference.trim());
        if !(1..=MAX_REFERENCE).contains(&reference.chars().count()) {
            return Err(RefundError::InvalidReference);
        }
        if has_card_number(&reference) {
            return Err(RefundError::ReferenceLikeCard);
        }
        let mut writing = self.begin_write().await?;
        let at = refund.at.unwrap_or(writing.now);
        if at > writing.now.checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX) {
            return Err(RefundError::TimeInFuture);
        }
        writing.lock_call_of(id).await?;
        let mut payment = writing.find_payment(PaymentKey::Id(id)).await?.ok_or(RefundError::NoSuchPayment)?;
        let charged = payment.amount.ok_or(match payment.state {
            PaymentState::Charged | PaymentState::Disputed => RefundError::AmountUnknown,
            state => RefundError::NotCharged(state),
        })?;
        let amount = Amount::parse(&refund.amount, charged.currency()).map_err(RefundError::InvalidAmount)?;
        let amount = amount.ok_or(RefundError::ZeroAmount)?;
        if writing.is_recorded(id, refund.kind, &reference, amount).await? {
            return Ok(payment);
        }
        check_refundable(&payment, charged, amount)?;
        let data = RefundData { amount: amount.to_string(), minor: amount.minor(), reference, at };
        writing.insert_refund(&mut payment, refund, data).await?;
        writing.commit().await?;
        Ok(payment)
    }
}

/// Checks that the amount can be refunded or disputed.
fn check_refundable(payment: &Payment, charged: Amount, amount: Amount) -> Result<(), RefundError> {
    if !matches!(payment.state, PaymentState::Charged | PaymentState::Refunded | PaymentState::Disputed) {
        return Err(RefundError::NotCharged(payment.state));
    }
    let refunded = payment.refunded;
    let rest = charged.minor().saturating_sub(refunded);
    if amount.minor() > rest { Err(RefundError::AmountTooLarge { charged, refunded }) } else { Ok(()) }
}

impl LedgerTransaction {
    async fn is_recorded(
        &mut self,
        id: PaymentId,
        kind: RefundKind,
        reference: &str,
        amount: Amount,
    ) -> Result<bool, RefundError> {
        let recorded: Option<(String, i64)> =
            sqlx::query_as("SELECT kind, minor FROM refunds WHERE payment_id = $1 AND reference = $2")
                .bind(id.to_string())
                .bind(reference)
                .fetch_optional(&mut self.transaction)
                .await?;
        match recorded {
            None => Ok(false),
            Some((of, minor)) if of == kind.as_str() && minor.unsigned_abs() == amount.minor() => Ok(true),
            Some(_) => Err(RefundError::ReferenceTaken),
        }
    }

    async fn insert_refund(
        &mut self,
        payment: &mut Payment,
        entered: &Refund,
        refund: RefundData,
    ) -> Result<(), RefundError> {
        let kind = entered.kind;
        let minor = i64::try_from(refund.minor).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO refunds (payment_id, kind, reference, minor, at, recorded_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(payment.id.to_string())
        .bind(kind.as_str())
        .bind(&refund.reference)
        .bind(minor)
        .bind(refund.at.as_millisecond())
        .bind(self.now.as_millisecond())
        .execute(&mut self.transaction)
        .await?;
        self.append_event(
            payment,
            &LedgerEvent::Refunded { kind, refund: &refund, operator: entered.operator.as_ref() },
            None,
        )
        .await?;
        if kind == RefundKind::Refund {
            payment.refunded += refund.minor;
            sqlx::query("UPDATE payments SET refunded = refunded + $1 WHERE id = $2")
                .bind(minor)
                .bind(payment.id.to_string())
                .execute(&mut self.transaction)
                .await?;
        }
        let is_whole = payment.amount.is_some_and(|charged| payment.refunded >= charged.minor());
        let next = match kind {
            RefundKind::Dispute => PaymentState::Disputed,
            RefundKind::Refund if is_whole => PaymentState::Refunded,
            RefundKind::Refund => payment.state,
        };
        if next != payment.state {
            self.change_state(payment, next).await?;
        }
        self.has_outcome = true;
        outbox::enqueue_refund(self, payment, kind.event_kind().as_str(), refund).await?;
        Ok(())
    }
}
