//! Reading payments, and what happened to them.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row as _, Sqlite, SqliteExecutor};

use super::{Error, Ledger, State};
use crate::payment::{Amount, Currency, Intent, MethodName, Outcome, PaymentId};
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::sid::{CallSid, PaymentSid};

/// A payment as the ledger has it. The token is not in it.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Which.
    pub id: PaymentId,
    /// Where it stands.
    pub state: State,
    /// The call.
    pub call: CallSid,
    /// Twilio's SID of the session, once it is known.
    pub sid: Option<PaymentSid>,
    /// The caller's number, where it is one that can be called.
    pub caller: Option<PhoneNumber>,
    /// What the business calls the call: `callReference`.
    pub reference: Option<Private<String>>,
    /// What the business calls the debt, where that is another word: `orderReference`.
    pub order_reference: Option<Private<String>>,
    /// What tells its order from another, if it has a reference.
    pub(super) order_key: Option<String>,
    /// What it is paid for.
    pub description: Option<Private<String>>,
    /// What is charged; `None`: the card is tokenized.
    pub amount: Option<Amount>,
    /// How much of it is refunded, in minor units.
    pub refunded: u64,
    /// Twilio's `PaymentMethod`.
    pub method: String,
    /// The last four digits of the card.
    pub last4: Option<String>,
    /// `PaymentConfirmationCode`.
    pub confirmation: Option<String>,
    /// Whether the ledger holds a token that is yet to be delivered.
    pub holds_token: bool,
    /// `ProfileId`.
    pub profile: Option<String>,
    /// Twilio's `Result`.
    pub result: Option<String>,
    /// `PayErrorCode`, or the code with which Twilio refused to open a session.
    pub result_code: Option<u32>,
    /// What Twilio and the processor said of it: at most 500 characters without card numbers.
    pub result_text: Option<String>,
    /// Real money; `false` where the connector is in test mode.
    pub live: bool,
    /// When it was first asked for.
    pub opened_at: Timestamp,
    /// When it was last submitted; `None` if Twilio certainly refused that.
    pub submitted_at: Option<Timestamp>,
    /// When its outcome came.
    pub ended_at: Option<Timestamp>,
}

/// One thing that happened to a payment.
#[derive(Debug, Serialize)]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: String,
    /// More of it.
    pub data: Box<RawValue>,
}

/// Which payments are meant, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// Opened then or later.
    pub since: Option<Timestamp>,
    /// Standing there.
    pub state: Option<State>,
    /// Behind this one.
    pub after: Option<PaymentId>,
    /// So many at most.
    pub limit: u32,
}

/// How a payment is found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Find<'a> {
    Id(PaymentId),
    Sid(&'a PaymentSid),
}

pub(super) const COLUMNS: &str = "id, state, call_sid, payment_sid, caller, call_reference, order_reference, order_key, description, minor, currency, \
     exponent, refunded, method, \
     last4, confirmation, token IS NOT NULL AS holds_token, profile, result, result_code, result_text, live, opened_at, submitted_at, ended_at";

pub(super) async fn find(database: impl SqliteExecutor<'_>, which: Find<'_>) -> Result<Option<Payment>, Error> {
    let (column, value) = match which {
        Find::Id(id) => ("id", id.to_string()),
        Find::Sid(sid) => ("payment_sid", sid.as_str().to_owned()),
    };
    let query = format!("SELECT {COLUMNS} FROM payments WHERE {column} = ?");
    let row = sqlx::query(&query).bind(value).fetch_optional(database).await?;
    row.as_ref().map(read).transpose()
}

/// The payments of a call, oldest first.
pub(super) async fn of_call(database: impl SqliteExecutor<'_>, call: &CallSid) -> Result<Vec<Payment>, Error> {
    let query = format!("SELECT {COLUMNS} FROM payments WHERE call_sid = ? ORDER BY seq");
    let rows = sqlx::query(&query).bind(call.as_str()).fetch_all(database).await?;
    rows.iter().map(read).collect()
}

/// The payments that a query over [`COLUMNS`] finds.
pub(super) async fn find_all<'q>(
    query: Query<'q, Sqlite, SqliteArguments<'q>>,
    database: impl SqliteExecutor<'_>,
) -> Result<Vec<Payment>, Error> {
    query.fetch_all(database).await?.iter().map(read).collect()
}

pub(super) async fn list(database: impl SqliteExecutor<'_>, filter: &Filter) -> Result<Vec<Payment>, Error> {
    let query = format!(
        "SELECT {COLUMNS} FROM payments WHERE opened_at >= ?1 AND (?2 IS NULL OR state = ?2) \
         AND seq > coalesce((SELECT seq FROM payments WHERE id = ?3), 0) ORDER BY seq LIMIT ?4"
    );
    let rows = sqlx::query(&query)
        .bind(filter.since.map_or(0, Timestamp::as_millisecond))
        .bind(filter.state.map(State::as_str))
        .bind(filter.after.map(|id| id.to_string()))
        .bind(filter.limit)
        .fetch_all(database)
        .await?;
    rows.iter().map(read).collect()
}

impl Ledger {
    /// The payments that are meant.
    pub async fn payments(&self, filter: &Filter) -> Result<Vec<Payment>, Error> {
        list(&self.0.readers, filter).await
    }

    /// How many payments stand there.
    pub async fn count(&self, state: State) -> Result<u64, Error> {
        let count = sqlx::query_scalar("SELECT count(*) FROM payments WHERE state = ?").bind(state.as_str());
        let count: i64 = count.fetch_one(&self.0.readers).await?;
        Ok(count.unsigned_abs())
    }

    /// A payment, if there is one of this id.
    pub async fn payment(&self, id: PaymentId) -> Result<Option<Payment>, Error> {
        find(&self.0.readers, Find::Id(id)).await
    }

    /// What happened to a payment, in order.
    pub async fn history(&self, id: PaymentId) -> Result<Vec<Happened>, Error> {
        self.happened("SELECT at, kind, data FROM events WHERE payment_id = ? ORDER BY id", &id.to_string()).await
    }

    /// What the server asked on a call, and how the caller answered, in order.
    pub async fn statements(&self, call: &CallSid) -> Result<Vec<Happened>, Error> {
        self.happened("SELECT at, kind, data FROM call_events WHERE call_sid = ? ORDER BY id", call.as_str()).await
    }

    async fn happened(&self, query: &str, of: &str) -> Result<Vec<Happened>, Error> {
        let rows = sqlx::query(query).bind(of).fetch_all(&self.0.readers).await?;
        let happened = |row: &SqliteRow| {
            let data = RawValue::from_string(row.try_get("data")?).map_err(|_| Error::Unreadable("an event's data"))?;
            Ok(Happened { at: time(row.try_get("at")?)?, kind: row.try_get("kind")?, data })
        };
        rows.iter().map(happened).collect()
    }
}

/// `result` of a payment whose submission Twilio refused.
pub(super) const REFUSED: &str = "refused";

impl Payment {
    /// What its outcome depends on.
    pub(super) fn intent(&self) -> Intent {
        Intent { charge: self.amount, bank_debit: self.is_bank_debit(), submitted: self.submitted_at.is_some() }
    }

    /// Whether it is paid from a bank account, so that it can come back.
    pub fn is_bank_debit(&self) -> bool {
        self.method == MethodName::AchDebit.wire()
    }

    /// How it ends if it is given up now, where its last submission was refused.
    pub(super) fn refusal(&self) -> Option<Outcome> {
        (self.result.as_deref() == Some(REFUSED)).then(|| Outcome::of_refusal(self.result_code))
    }
}

fn read(row: &SqliteRow) -> Result<Payment, Error> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let maybe = |column: &str| row.try_get::<Option<String>, _>(column);
    let times = |column: &str| row.try_get::<Option<i64>, _>(column);
    let amount = match (row.try_get::<Option<i64>, _>("minor")?, maybe("currency")?) {
        (Some(minor), Some(currency)) => {
            // It may have left the list of currencies since: what was charged in it is read all the same.
            let currency = Currency::recorded(&currency, row.try_get("exponent")?);
            let currency = currency.map_err(|_| Error::Unreadable("a currency"))?;
            let amount = u64::try_from(minor).ok().and_then(|minor| Amount::from_minor(minor, currency));
            Some(amount.ok_or(Error::Unreadable("an amount"))?)
        }
        _ => None,
    };
    Ok(Payment {
        id: text("id")?.parse().map_err(|_| Error::Unreadable("an id"))?,
        state: text("state")?.parse().map_err(|_| Error::Unreadable("a state"))?,
        call: text("call_sid")?.parse().map_err(|_| Error::Unreadable("the SID of a call"))?,
        sid: maybe("payment_sid")?
            .map(|sid| sid.parse())
            .transpose()
            .map_err(|_| Error::Unreadable("the SID of a payment"))?,
        caller: maybe("caller")?.and_then(|number| number.parse().ok()),
        reference: maybe("call_reference")?.map(Private::new),
        order_reference: maybe("order_reference")?.map(Private::new),
        order_key: maybe("order_key")?,
        description: maybe("description")?.map(Private::new),
        amount,
        refunded: row.try_get::<i64, _>("refunded")?.unsigned_abs(),
        method: text("method")?,
        last4: maybe("last4")?,
        confirmation: maybe("confirmation")?,
        holds_token: row.try_get("holds_token")?,
        profile: maybe("profile")?,
        result: maybe("result")?,
        result_code: row.try_get("result_code")?,
        result_text: maybe("result_text")?,
        live: row.try_get("live")?,
        opened_at: time(row.try_get("opened_at")?)?,
        submitted_at: times("submitted_at")?.map(time).transpose()?,
        ended_at: times("ended_at")?.map(time).transpose()?,
    })
}

fn time(millisecond: i64) -> Result<Timestamp, Error> {
    Timestamp::from_millisecond(millisecond).map_err(|_| Error::Unreadable("a time"))
}
