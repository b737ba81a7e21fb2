//! Prevents a second payment of an order across calls, callers and restarts. The transaction that records a request for
//! a payment decides.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::{AnyExecutor, AssertSqlSafe};

use super::payment::{COLUMNS, find_all, find_by_call, state_list};
use super::text::storable_json;
use super::{
    CallData, EventRecord, Ledger, LedgerError, LedgerRecord, LedgerTransaction, Payment, PaymentState,
    RecordRequestError, event, recordings,
};
use crate::ids::CallSid;
use crate::payment::{
    Amount, AmountDue, ConsentRecord, CreatePayment, NoticeKind, PaymentRecord, PriorPayment, PriorPayments,
    PriorSession, SpokenStatement,
};
use crate::phone_number::PhoneNumber;
use crate::recording::KnownRecording;

/// Most unknown payments of a caller that are returned.
const MAX_UNKNOWN_PAYMENTS: usize = 5;

/// The key of an order: SHA-256, in hex, of its reference as a person sees it.
pub(super) fn order_key(reference: &str) -> String {
    hex::encode(Sha256::digest(normalize_reference(reference)))
}

/// Removes invisible characters, and normalises white space and hyphens.
fn normalize_reference(text: &str) -> String {
    let is_invisible = |c: &char| {
        let format = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}');
        format || (c.is_control() && !c.is_whitespace())
    };
    let plain = |c: char| if matches!(c, '\u{2010}'..='\u{2012}') { '-' } else { c };
    let seen: String = text.chars().filter(|c| !is_invisible(c)).map(plain).collect();
    seen.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The payments of an order that block another one, the newest first.
async fn find_conflicting_by_order(database: impl AnyExecutor<'_>, key: &str) -> Result<Vec<Payment>, LedgerError> {
    let blocking = state_list(PaymentState::blocks_order);
    let query =
        format!("SELECT {COLUMNS} FROM payments WHERE order_key = $1 AND state IN {blocking} ORDER BY seq DESC");
    find_all(sqlx::query(AssertSqlSafe(query)).bind(key), database).await
}

/// The payments of this amount, of a caller or a call, that block another one, the newest first.
async fn find_conflicting_by_amount(
    database: impl AnyExecutor<'_>,
    call: &CallSid,
    caller: Option<&PhoneNumber>,
    amount: Amount,
) -> Result<Vec<Payment>, LedgerError> {
    let blocking = state_list(PaymentState::blocks_order);
    let query = format!(
        "SELECT {COLUMNS} FROM payments WHERE (caller = $1 OR call_sid = $2) AND minor = $3 AND currency = $4 \
         AND state IN {blocking} ORDER BY seq DESC"
    );
    let same = sqlx::query(AssertSqlSafe(query))
        .bind(caller.map(PhoneNumber::as_str))
        .bind(call.as_str())
        .bind(i64::try_from(amount.minor()).unwrap_or(i64::MAX))
        .bind(amount.currency().code().to_owned());
    find_all(same, database).await
}

impl Ledger {
    /// Loads the payments of a call, its order and its caller before the call begins.
    pub async fn load_prior_payments(&self, call: &CallData) -> Result<PriorPayments, LedgerError> {
        let readers = &self.0.readers;
        let on_call = find_by_call(readers, &call.call_sid).await?;
        let statements = self.statements(&call.call_sid).await?;
        let mut known = PriorPayments {
            on_call: on_call.iter().map(to_prior_payment).collect(),
            consented_amount: find_agreed_amount(&statements, &on_call),
            is_disclosed: has_heard(&statements, NoticeKind::Disclosure),
            recording: KnownRecording {
                is_announced: has_heard(&statements, NoticeKind::Recording),
                ..recordings::read_steps(&statements)
            },
            sessions: on_call.iter().filter_map(to_prior_session).collect(),
            ..PriorPayments::default()
        };
        let elsewhere = |payment: &Payment| payment.call_sid != call.call_sid;
        if let Some(key) = call.order_key.as_ref().filter(|_| !self.1.limits.orders.pay_again) {
            known.same_order = find_conflicting_by_order(readers, key)
                .await?
                .iter()
                .find(|payment| elsewhere(payment))
                .map(to_prior_payment);
        }
        if let Some(caller) = &call.caller {
            let query =
                format!("SELECT {COLUMNS} FROM payments WHERE caller = $1 AND state = 'unknown' ORDER BY seq DESC");
            let unknown = find_all(sqlx::query(AssertSqlSafe(query)).bind(caller.as_str().to_owned()), readers).await?;
            let other = |payment: &PriorPayment| Some(*payment) != known.same_order;
            let unknown = unknown.iter().filter(|payment| elsewhere(payment)).map(to_prior_payment).filter(other);
            known.possibly_charged = unknown.take(MAX_UNKNOWN_PAYMENTS).collect();
        }
        Ok(known)
    }

    /// The payment that blocks another one with this reference, if any.
    pub async fn find_conflicting_payment(&self, reference: &str) -> Result<Option<PriorPayment>, LedgerError> {
        if self.1.limits.orders.pay_again {
            return Ok(None);
        }
        Ok(find_conflicting_by_order(&self.0.readers, &order_key(reference)).await?.first().map(to_prior_payment))
    }

    /// Records a statement of the server and the caller's answer.
    pub async fn record_statement(&self, call: &CallData, agreed: &ConsentRecord) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::Statement(call.call_sid.clone(), Box::new(agreed.clone()))).await.map(drop)
    }

    /// Records that the caller of a call has heard a notice. Each is recorded once for each call.
    pub async fn record_notice(
        &self,
        call: &CallData,
        kind: NoticeKind,
        heard: &SpokenStatement,
    ) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::Notice(call.call_sid.clone(), kind, Box::new(heard.clone()))).await.map(drop)
    }
}

/// Whether the caller has heard a notice of this kind.
fn has_heard(statements: &[EventRecord], kind: NoticeKind) -> bool {
    statements.iter().any(|statement| event::is_notice(statement.data.get(), kind))
}

/// The amount that the caller agreed to last on a call, if no payment was started after that.
fn find_agreed_amount(statements: &[EventRecord], payments: &[Payment]) -> Option<Amount> {
    let with_amount = |statement: &EventRecord| Some((statement.at, event::StatementOfAmount::parse(&statement.data)?));
    let (at, statement) = statements.iter().rev().find_map(with_amount)?;
    let used = payments.iter().any(|payment| payment.opened_at >= at);
    statement.agreed_amount().filter(|_| !used)
}

pub(super) async fn write_statement(
    writing: &mut LedgerTransaction,
    call: &CallSid,
    agreed: &ConsentRecord,
) -> Result<(), LedgerError> {
    write_statement_event(writing, call, event::statement_data(agreed)).await
}

pub(super) async fn write_notice(
    writing: &mut LedgerTransaction,
    call: &CallSid,
    kind: NoticeKind,
    heard: &SpokenStatement,
) -> Result<(), LedgerError> {
    let known = sqlx::query_scalar("SELECT data FROM call_events WHERE call_sid = $1 AND kind = 'statement'");
    let known: Vec<String> = known.bind(call.as_str()).fetch_all(&mut writing.transaction).await?;
    if known.iter().any(|data| event::is_notice(data, kind)) {
        return Ok(());
    }
    write_statement_event(writing, call, event::notice_data(kind, heard)).await
}

async fn write_statement_event(
    writing: &mut LedgerTransaction,
    call: &CallSid,
    data: serde_json::Value,
) -> Result<(), LedgerError> {
    write_call_event(writing, call, STATEMENT, data).await
}

/// The kind of the statements on a call.
const STATEMENT: &str = "statement";

pub(super) async fn write_call_event(
    writing: &mut LedgerTransaction,
    call: &CallSid,
    kind: &'static str,
    data: serde_json::Value,
) -> Result<(), LedgerError> {
    sqlx::query("INSERT INTO call_events (call_sid, at, kind, data) VALUES ($1, $2, $3, $4)")
        .bind(call.as_str())
        .bind(writing.now.as_millisecond())
        .bind(kind)
        .bind(storable_json(data))
        .execute(&mut writing.transaction)
        .await?;
    Ok(())
}

impl LedgerTransaction {
    /// Returns the call with the order of its earlier payment, if the current WebSocket session has received none.
    pub(super) async fn with_known_order(&mut self, call: &CallData) -> Result<CallData, LedgerError> {
        let mut call = call.clone();
        if call.order_key.is_none() {
            let earlier = find_by_call(&mut self.transaction, &call.call_sid).await?;
            if let Some(earlier) = earlier.into_iter().find(|payment| payment.order_key.is_some()) {
                call.call_reference = call.call_reference.or(earlier.call_reference);
                call.order_key = earlier.order_key;
            }
        }
        Ok(call)
    }

    /// Checks whether another payment may start for the call and the order. Abandons the open payments of the call.
    pub(super) async fn check_order(
        &mut self,
        call: &CallData,
        create: &CreatePayment,
    ) -> Result<(), RecordRequestError> {
        if self.ledger.is_recovering(&call.call_sid) {
            return Err(RecordRequestError::Recovering);
        }
        for mut older in find_by_call(&mut self.transaction, &call.call_sid).await? {
            match older.state {
                PaymentState::Submitted | PaymentState::Unknown => return Err(RecordRequestError::EarlierUnsettled),
                // The call may have outlived the server or the WebSocket that knew of the charge.
                state if state.holds_money() && matches!(create.terms.amount_due, AmountDue::Amount(_)) => {
                    return Err(RecordRequestError::AlreadyPaid);
                }
                state if state.is_open() => self.abandon(&mut older, "another was begun").await?,
                _ => {}
            }
        }
        match call.order_key.as_ref().filter(|_| !self.ledger.1.limits.orders.pay_again) {
            Some(key) => self.check_reference(key, create).await,
            None => self.check_repeat_payment(call, create).await,
        }
    }

    async fn check_reference(&mut self, key: &str, create: &CreatePayment) -> Result<(), RecordRequestError> {
        // Storing a card charges nothing: only a payment without a result blocks it.
        let in_the_way = |payment: &&Payment| create.charge.is_some() || !payment.state.holds_money();
        match find_conflicting_by_order(&mut self.transaction, key).await?.iter().find(in_the_way) {
            Some(payment) => Err(RecordRequestError::OrderHasPayment(to_prior_payment(payment))),
            None => Ok(()),
        }
    }

    /// Checks for a repeated payment without a reference: the same amount on the call or of the caller.
    async fn check_repeat_payment(
        &mut self,
        call: &CallData,
        create: &CreatePayment,
    ) -> Result<(), RecordRequestError> {
        let within = i64::from(self.ledger.1.limits.orders.same_again_minutes);
        let Some(amount) = create.charge.filter(|_| within > 0) else { return Ok(()) };
        let same =
            find_conflicting_by_amount(&mut self.transaction, &call.call_sid, call.caller.as_ref(), amount).await?;
        if let Some(payment) = same.iter().find(|payment| !payment.state.holds_money()) {
            return Err(RecordRequestError::OrderHasPayment(to_prior_payment(payment)));
        }
        let ago = |payment: &Payment| self.now.duration_since(ended_or_opened_at(payment)).as_mins();
        match same.iter().map(ago).find(|ago| *ago < within) {
            Some(ago) if !create.is_repeat_charge() => {
                Err(RecordRequestError::RecentlyPaid { amount, minutes: u32::try_from(ago).unwrap_or_default() })
            }
            _ => Ok(()),
        }
    }

    /// Checks that no earlier payment of the order has succeeded since this payment was started.
    pub(super) async fn check_submission(&mut self, payment: &Payment) -> Result<(), RecordRequestError> {
        let Some(amount) = payment.amount else { return Ok(()) };
        let orders = self.ledger.1.limits.orders;
        let mut others = match payment.order_key.as_ref().filter(|_| !orders.pay_again) {
            Some(key) => find_conflicting_by_order(&mut self.transaction, key).await?,
            None if orders.same_again_minutes == 0 => Vec::new(),
            None => {
                find_conflicting_by_amount(&mut self.transaction, &payment.call_sid, payment.caller.as_ref(), amount)
                    .await?
            }
        };
        let since = |other: &Payment| other.ended_at.is_some_and(|ended| ended >= payment.opened_at);
        others.retain(|other| {
            other.id != payment.id && !other.state.is_open() && (since(other) || !other.state.holds_money())
        });
        match others.first() {
            Some(other) => Err(RecordRequestError::OrderHasPayment(to_prior_payment(other))),
            None => Ok(()),
        }
    }
}

fn to_prior_payment(payment: &Payment) -> PriorPayment {
    PriorPayment { state: payment.state, charge: payment.amount, at: ended_or_opened_at(payment) }
}

/// The session of an earlier payment. Whether a success of it is doubted matters to the ledger alone.
fn to_prior_session(payment: &Payment) -> Option<PriorSession> {
    let intent = payment.intent();
    Some(PriorSession {
        sid: payment.payment_sid.clone()?,
        record: PaymentRecord { state: payment.state, intent, has_doubtful_success: false },
        by_bank_account: intent.bank_debit,
    })
}

fn ended_or_opened_at(payment: &Payment) -> Timestamp {
    payment.ended_at.unwrap_or(payment.opened_at)
}
