//! One order is paid once, over all calls, callers and restarts. The transaction that records a request for a payment decides.

use std::fmt::Write as _;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::SqliteExecutor;

use super::payment::{COLUMNS, find_all, of_call};
use super::{Error, Ledger, OnCall, Payment, Record, Refused, State, Writing, event};
use crate::payment::{Agreed, Amount, Create, Currency, Due, Known, KnownPayment};
use crate::phone_number::PhoneNumber;
use crate::sid::CallSid;

/// How many unknown payments of a caller are told of.
const MAX_UNKNOWN: usize = 5;

/// States in which a payment stands in the way of another one of the same order, as SQL has them.
const IN_THE_WAY: &str = "('opened', 'capturing', 'submitted', 'pending', 'charged', 'unknown', 'disputed')";

/// What tells one order from another: SHA-256, in hex, of what a person sees of its reference.
pub(super) fn order_key(reference: &str) -> String {
    Sha256::digest(as_seen(reference).as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A text without what nobody sees, and with one way to write a space and a hyphen.
fn as_seen(text: &str) -> String {
    let is_invisible = |c: &char| {
        let format = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
        format || (c.is_control() && !c.is_whitespace())
    };
    let plain = |c: char| if matches!(c, '\u{2010}'..='\u{2012}') { '-' } else { c };
    let seen: String = text.chars().filter(|c| !is_invisible(c)).map(plain).collect();
    seen.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The payments of an order that stand in the way of another one, the newest first.
async fn of_order(database: impl SqliteExecutor<'_>, key: &str) -> Result<Vec<Payment>, Error> {
    let query =
        format!("SELECT {COLUMNS} FROM payments WHERE order_key = ? AND state IN {IN_THE_WAY} ORDER BY seq DESC");
    find_all(sqlx::query(&query).bind(key), database).await
}

/// The payments of a caller, or of a call, of this amount that stand in the way of another one, the newest first.
async fn of_amount(
    database: impl SqliteExecutor<'_>,
    call: &CallSid,
    caller: Option<&PhoneNumber>,
    amount: Amount,
) -> Result<Vec<Payment>, Error> {
    let query = format!(
        "SELECT {COLUMNS} FROM payments WHERE (caller = ?1 OR call_sid = ?2) AND minor = ?3 AND currency = ?4 \
         AND state IN {IN_THE_WAY} ORDER BY seq DESC"
    );
    let same = sqlx::query(&query)
        .bind(caller.map(PhoneNumber::as_str))
        .bind(call.as_str())
        .bind(i64::try_from(amount.minor()).unwrap_or(i64::MAX))
        .bind(amount.currency().code().to_owned());
    find_all(same, database).await
}

impl Ledger {
    /// What there is of a call, its order and its caller before the call begins.
    pub async fn known(&self, call: &OnCall) -> Result<Known, Error> {
        let readers = &self.0.readers;
        let on_call = of_call(readers, &call.sid).await?;
        let agreed = self.agreed_on(call, &on_call).await?;
        let mut known = Known { on_call: on_call.iter().map(known_payment).collect(), agreed, ..Known::default() };
        let elsewhere = |payment: &Payment| payment.call != call.sid;
        if let Some(key) = call.order_key.as_ref().filter(|_| !self.1.limits.orders.pay_again) {
            known.order = of_order(readers, key).await?.iter().find(|payment| elsewhere(payment)).map(known_payment);
        }
        if let Some(caller) = &call.caller {
            let query =
                format!("SELECT {COLUMNS} FROM payments WHERE caller = ? AND state = 'unknown' ORDER BY seq DESC");
            let unknown = find_all(sqlx::query(&query).bind(caller.as_str().to_owned()), readers).await?;
            let other = |payment: &KnownPayment| Some(*payment) != known.order;
            let unknown = unknown.iter().filter(|payment| elsewhere(payment)).map(known_payment).filter(other);
            known.unknown = unknown.take(MAX_UNKNOWN).collect();
        }
        Ok(known)
    }

    /// The payment that stands in the way of another one of this reference, if one does.
    pub async fn standing(&self, reference: &str) -> Result<Option<KnownPayment>, Error> {
        if self.1.limits.orders.pay_again {
            return Ok(None);
        }
        Ok(of_order(&self.0.readers, &order_key(reference)).await?.first().map(known_payment))
    }

    /// Records a statement of the server's that the caller answered on this call.
    pub async fn record_statement(&self, call: &OnCall, agreed: &Agreed) -> Result<(), Error> {
        self.record(Record::Statement(call.sid.clone(), Box::new(agreed.clone()))).await.map(drop)
    }

    /// The amount of the last yes on a call, if no payment was begun after it.
    async fn agreed_on(&self, call: &OnCall, payments: &[Payment]) -> Result<Option<Amount>, Error> {
        let query = "SELECT at, json_extract(data, '$.minor'), json_extract(data, '$.currency'), json_extract(data, '$.answer') \
             FROM call_events WHERE call_sid = ? AND kind = 'statement' AND json_extract(data, '$.minor') IS NOT NULL \
             ORDER BY id DESC LIMIT 1";
        let last: Option<(i64, i64, String, String)> =
            sqlx::query_as(query).bind(call.sid.as_str()).fetch_optional(&self.0.readers).await?;
        let Some((at, minor, currency, answer)) = last else { return Ok(None) };
        let used = payments.iter().any(|payment| payment.opened_at.as_millisecond() >= at);
        let amount = || Amount::from_minor(minor.unsigned_abs(), currency.parse::<Currency>().ok()?);
        Ok((answer == "yes" && !used).then(amount).flatten())
    }
}

pub(super) async fn record_statement(writing: &mut Writing, call: &CallSid, agreed: &Agreed) -> Result<(), Error> {
    sqlx::query("INSERT INTO call_events (call_sid, at, kind, data) VALUES (?, ?, 'statement', ?)")
        .bind(call.as_str())
        .bind(writing.now.as_millisecond())
        .bind(event::agreed_data(agreed).to_string())
        .execute(&mut *writing.transaction)
        .await?;
    Ok(())
}

impl Writing {
    /// The call with the order of its earlier payment, where the socket that asks was not told of one.
    pub(super) async fn with_known_order(&mut self, call: &OnCall) -> Result<OnCall, Error> {
        let mut call = call.clone();
        if call.order_key.is_none() {
            let earlier = of_call(&mut *self.transaction, &call.sid).await?;
            if let Some(earlier) = earlier.into_iter().find(|payment| payment.order_key.is_some()) {
                call.reference = call.reference.or(earlier.reference);
                call.order_key = earlier.order_key;
            }
        }
        Ok(call)
    }

    /// Whether another payment may begin on the call for the order. An older one of the call that was given up is put away.
    pub(super) async fn check_order(&mut self, call: &OnCall, create: &Create) -> Result<(), Refused> {
        if self.ledger.is_recovering(&call.sid) {
            return Err(Refused::Recovering);
        }
        for mut older in of_call(&mut *self.transaction, &call.sid).await? {
            match older.state {
                State::Submitted | State::Unknown => return Err(Refused::Unsettled),
                // The call may have outlived the server, or the socket, that charged it and knew.
                State::Charged | State::Pending | State::Disputed if matches!(create.terms.due, Due::Amount(_)) => {
                    return Err(Refused::Paid);
                }
                State::Opened | State::Capturing => self.give_up(&mut older, "another was begun").await?,
                _ => {}
            }
        }
        match call.order_key.as_ref().filter(|_| !self.ledger.1.limits.orders.pay_again) {
            Some(key) => self.check_reference(key, create).await,
            None => self.check_same_again(call, create).await,
        }
    }

    async fn check_reference(&mut self, key: &str, create: &Create) -> Result<(), Refused> {
        // To store a card is to pay nothing: only what is not over stands in its way.
        let in_the_way = |payment: &&Payment| create.charge.is_some() || !is_over(payment);
        match of_order(&mut *self.transaction, key).await?.iter().find(in_the_way) {
            Some(payment) => Err(Refused::Order(known_payment(payment))),
            None => Ok(()),
        }
    }

    /// Without a reference the order is the caller, or the call, with the amount.
    async fn check_same_again(&mut self, call: &OnCall, create: &Create) -> Result<(), Refused> {
        let within = i64::from(self.ledger.1.limits.orders.same_again_minutes);
        let Some(amount) = create.charge.filter(|_| within > 0) else { return Ok(()) };
        let same = of_amount(&mut *self.transaction, &call.sid, call.caller.as_ref(), amount).await?;
        if let Some(payment) = same.iter().find(|payment| !is_over(payment)) {
            return Err(Refused::Order(known_payment(payment)));
        }
        let ago = |payment: &Payment| self.now.duration_since(at(payment)).as_mins();
        match same.iter().map(ago).find(|ago| *ago < within) {
            Some(ago) if !create.is_again() => {
                Err(Refused::PaidBefore { amount, minutes: u32::try_from(ago).unwrap_or_default() })
            }
            _ => Ok(()),
        }
    }

    /// Whether a payment may still be submitted: an earlier one of the order may have succeeded after all since this one was begun.
    pub(super) async fn check_submission(&mut self, payment: &Payment) -> Result<(), Refused> {
        let Some(amount) = payment.amount else { return Ok(()) };
        let orders = self.ledger.1.limits.orders;
        let mut others = match payment.order_key.as_ref().filter(|_| !orders.pay_again) {
            Some(key) => of_order(&mut *self.transaction, key).await?,
            None if orders.same_again_minutes == 0 => Vec::new(),
            None => of_amount(&mut *self.transaction, &payment.call, payment.caller.as_ref(), amount).await?,
        };
        let since = |other: &Payment| other.ended_at.is_some_and(|ended| ended >= payment.opened_at);
        others.retain(|other| other.id != payment.id && !other.state.is_open() && (since(other) || !is_over(other)));
        match others.first() {
            Some(other) => Err(Refused::Order(known_payment(other))),
            None => Ok(()),
        }
    }
}

/// Whether money moved, and nothing more is expected.
fn is_over(payment: &Payment) -> bool {
    matches!(payment.state, State::Charged | State::Pending | State::Disputed)
}

fn known_payment(payment: &Payment) -> KnownPayment {
    KnownPayment { state: payment.state, charge: payment.amount, at: at(payment) }
}

fn at(payment: &Payment) -> Timestamp {
    payment.ended_at.unwrap_or(payment.opened_at)
}
