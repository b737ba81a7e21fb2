//! Reads payments and their events.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyExecutor, AssertSqlSafe, Row as _};

use super::{Ledger, LedgerError, PaymentState};
use crate::ids::{CallSid, PaymentSid};
use crate::payment::{Amount, Currency, PaymentId, PaymentIntent, PaymentMethodName, SubmissionRefusal};
use crate::phone_number::PhoneNumber;
use crate::redact::Private;

/// A payment in the ledger, without its token.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// Its state.
    pub state: PaymentState,
    /// The SID of the call.
    pub call_sid: CallSid,
    /// Twilio's SID of the payment session, once it is known.
    pub payment_sid: Option<PaymentSid>,
    /// The caller's number, if it can be called.
    pub caller: Option<PhoneNumber>,
    /// The business's reference for the call: `callReference`.
    pub call_reference: Option<Private<String>>,
    /// The business's reference for the order, if it differs: `orderReference`.
    pub order_reference: Option<Private<String>>,
    /// The key of its order, if it has a reference.
    pub(super) order_key: Option<String>,
    /// What the payment is for.
    pub description: Option<Private<String>>,
    /// The amount to charge. `None` if the card is tokenized.
    pub amount: Option<Amount>,
    /// The total of all refunds, in minor units.
    pub refunded: u64,
    /// Twilio's `PaymentMethod`.
    pub method: String,
    /// The last four digits of the card.
    pub last4: Option<String>,
    /// `PaymentConfirmationCode`.
    pub confirmation_code: Option<String>,
    /// Whether the ledger holds a token that is not delivered yet.
    pub holds_token: bool,
    /// `ProfileId`.
    pub profile_id: Option<String>,
    /// Twilio's `Result`.
    pub result: Option<String>,
    /// `PayErrorCode`, or the error code with which Twilio refused a request.
    pub result_code: Option<u32>,
    /// The error texts of Twilio and the processor: at most 500 characters without card numbers.
    pub result_text: Option<String>,
    /// Whether real money moves. `false` if the connector is in test mode.
    pub live: bool,
    /// When its session was first requested.
    pub opened_at: Timestamp,
    /// When it was last submitted. `None` if Twilio certainly refused that.
    pub submitted_at: Option<Timestamp>,
    /// When its outcome was recorded.
    pub ended_at: Option<Timestamp>,
}

/// An entry in the history of a payment or a call.
#[derive(Debug, Serialize)]
pub struct EventRecord {
    /// When it happened.
    pub at: Timestamp,
    /// The kind of event.
    pub kind: String,
    /// The data of the event.
    pub data: Box<RawValue>,
}

/// Selects payments, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct PaymentFilter {
    /// Opened at this time or later.
    pub since: Option<Timestamp>,
    /// In this state.
    pub state: Option<PaymentState>,
    /// After this payment.
    pub after: Option<PaymentId>,
    /// The maximum number of payments to return.
    pub limit: u32,
}

/// What a payment is found by.
#[derive(Debug, Clone, Copy)]
pub(super) enum PaymentKey<'a> {
    Id(PaymentId),
    Sid(&'a PaymentSid),
}

pub(super) const COLUMNS: &str = "id, state, call_sid, payment_sid, caller, call_reference, order_reference, order_key, description, minor, currency, \
     exponent, refunded, method, \
     last4, confirmation, CASE WHEN token IS NULL THEN 0 ELSE 1 END AS holds_token, profile, result, result_code, result_text, live, opened_at, submitted_at, ended_at";

/// The states to which the predicate applies, as an SQL list.
pub(super) fn state_list(applies: impl Fn(PaymentState) -> bool) -> String {
    let states = PaymentState::ALL.into_iter().filter(|state| applies(*state));
    format!("({})", states.map(|state| format!("'{state}'")).collect::<Vec<_>>().join(", "))
}

pub(super) async fn find_payment(
    database: impl AnyExecutor<'_>,
    which: PaymentKey<'_>,
) -> Result<Option<Payment>, LedgerError> {
    let (column, value) = match which {
        PaymentKey::Id(id) => ("id", id.to_string()),
        PaymentKey::Sid(sid) => ("payment_sid", sid.as_str().to_owned()),
    };
    let query = format!("SELECT {COLUMNS} FROM payments WHERE {column} = $1");
    let row = sqlx::query(AssertSqlSafe(query)).bind(value).fetch_optional(database).await?;
    row.as_ref().map(read_payment).transpose()
}

/// The payments of a call, oldest first.
pub(super) async fn find_by_call(database: impl AnyExecutor<'_>, call: &CallSid) -> Result<Vec<Payment>, LedgerError> {
    let query = format!("SELECT {COLUMNS} FROM payments WHERE call_sid = $1 ORDER BY seq");
    let rows = sqlx::query(AssertSqlSafe(query)).bind(call.as_str()).fetch_all(database).await?;
    rows.iter().map(read_payment).collect()
}

/// The payments that a query over [`COLUMNS`] finds.
pub(super) async fn find_all<'q>(
    query: Query<'q, Any, AnyArguments>,
    database: impl AnyExecutor<'_>,
) -> Result<Vec<Payment>, LedgerError> {
    query.fetch_all(database).await?.iter().map(read_payment).collect()
}

pub(super) async fn list_payments(
    database: impl AnyExecutor<'_>,
    filter: &PaymentFilter,
) -> Result<Vec<Payment>, LedgerError> {
    let query = format!(
        "SELECT {COLUMNS} FROM payments WHERE opened_at >= $1 AND ($2 IS NULL OR state = $2) \
         AND seq > coalesce((SELECT seq FROM payments WHERE id = $3), 0) ORDER BY seq LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(filter.since.map_or(0, Timestamp::as_millisecond))
        .bind(filter.state.map(PaymentState::as_str))
        .bind(filter.after.map(|id| id.to_string()))
        .bind(i64::from(filter.limit))
        .fetch_all(database)
        .await?;
    rows.iter().map(read_payment).collect()
}

impl Ledger {
    /// The payments that the filter selects.
    pub async fn payments(&self, filter: &PaymentFilter) -> Result<Vec<Payment>, LedgerError> {
        list_payments(&self.0.readers, filter).await
    }

    /// Number of payments in a state.
    pub async fn count_payments(&self, state: PaymentState) -> Result<u64, LedgerError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM payments WHERE state = $1").bind(state.as_str());
        let count: i64 = count.fetch_one(&self.0.readers).await?;
        Ok(count.unsigned_abs())
    }

    /// The payment with this id, if any.
    pub async fn payment(&self, id: PaymentId) -> Result<Option<Payment>, LedgerError> {
        find_payment(&self.0.readers, PaymentKey::Id(id)).await
    }

    /// The events of a payment, in order.
    pub async fn events(&self, id: PaymentId) -> Result<Vec<EventRecord>, LedgerError> {
        read_history(&self.0.readers, READ_EVENTS, &id.to_string()).await
    }

    /// The statements of the server on a call and the caller's answers, in order.
    pub async fn statements(&self, call: &CallSid) -> Result<Vec<EventRecord>, LedgerError> {
        read_history(&self.0.readers, READ_STATEMENTS, call.as_str()).await
    }
}

/// Reads the events of a payment.
pub(super) const READ_EVENTS: &str = "SELECT at, kind, data FROM events WHERE payment_id = $1 ORDER BY id";

/// Reads the statements on a call.
pub(super) const READ_STATEMENTS: &str = "SELECT at, kind, data FROM call_events WHERE call_sid = $1 ORDER BY id";

pub(super) async fn read_history(
    database: impl AnyExecutor<'_>,
    query: &'static str,
    of: &str,
) -> Result<Vec<EventRecord>, LedgerError> {
    let rows = sqlx::query(query).bind(of.to_owned()).fetch_all(database).await?;
    let happened = |row: &AnyRow| {
        let data =
            RawValue::from_string(row.try_get("data")?).map_err(|_| LedgerError::Unreadable("an event's data"))?;
        Ok(EventRecord { at: read_timestamp(row.try_get("at")?)?, kind: row.try_get("kind")?, data })
    };
    rows.iter().map(happened).collect()
}

/// `result` of a payment whose submission Twilio refused.
pub(super) const REFUSED: &str = "refused";

impl Payment {
    /// The facts that its outcome depends on.
    pub(super) fn intent(&self) -> PaymentIntent {
        PaymentIntent {
            charge: self.amount,
            bank_debit: self.is_bank_debit(),
            submitted: self.submitted_at.is_some(),
            refusal: self.refusal(),
        }
    }

    /// Whether it is paid from a bank account, so that it can be returned.
    pub fn is_bank_debit(&self) -> bool {
        self.method == PaymentMethodName::AchDebit.as_str()
    }

    /// The refusal of its last submission, if that was refused.
    pub(super) fn refusal(&self) -> Option<SubmissionRefusal> {
        (self.result.as_deref() == Some(REFUSED)).then_some(SubmissionRefusal { code: self.result_code })
    }
}

fn read_payment(row: &AnyRow) -> Result<Payment, LedgerError> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let maybe = |column: &str| row.try_get::<Option<String>, _>(column);
    let times = |column: &str| row.try_get::<Option<i64>, _>(column);
    let amount = match (row.try_get::<Option<i64>, _>("minor")?, maybe("currency")?) {
        (Some(minor), Some(currency)) => {
            let exponent = u32::try_from(row.try_get::<i64, _>("exponent")?).unwrap_or(u32::MAX);
            // The currency may have been removed from the list since: its amounts are still read.
            let currency = Currency::from_record(&currency, exponent);
            let currency = currency.map_err(|_| LedgerError::Unreadable("a currency"))?;
            let amount = u64::try_from(minor).ok().and_then(|minor| Amount::from_minor(minor, currency));
            Some(amount.ok_or(LedgerError::Unreadable("an amount"))?)
        }
        _ => None,
    };
    Ok(Payment {
        id: text("id")?.parse().map_err(|_| LedgerError::Unreadable("an id"))?,
        state: text("state")?.parse().map_err(|_| LedgerError::Unreadable("a state"))?,
        call_sid: CallSid::from_stored(text("call_sid")?),
        payment_sid: maybe("payment_sid")?.map(PaymentSid::from_stored),
        caller: maybe("caller")?.and_then(|number| number.parse().ok()),
        call_reference: maybe("call_reference")?.map(Private::new),
        order_reference: maybe("order_reference")?.map(Private::new),
        order_key: maybe("order_key")?,
        description: maybe("description")?.map(Private::new),
        amount,
        refunded: row.try_get::<i64, _>("refunded")?.unsigned_abs(),
        method: text("method")?,
        last4: maybe("last4")?,
        confirmation_code: maybe("confirmation")?,
        holds_token: row.try_get::<i64, _>("holds_token")? != 0,
        profile_id: maybe("profile")?,
        result: maybe("result")?,
        result_code: row.try_get::<Option<i64>, _>("result_code")?.and_then(|code| u32::try_from(code).ok()),
        result_text: maybe("result_text")?,
        live: row.try_get::<i64, _>("live")? != 0,
        opened_at: read_timestamp(row.try_get("opened_at")?)?,
        submitted_at: times("submitted_at")?.map(read_timestamp).transpose()?,
        ended_at: times("ended_at")?.map(read_timestamp).transpose()?,
    })
}

pub(super) fn read_timestamp(millisecond: i64) -> Result<Timestamp, LedgerError> {
    Timestamp::from_millisecond(millisecond).map_err(|_| LedgerError::Unreadable("a time"))
}
