//! Records Twilio's status callbacks before they are answered: each once, in whatever order and however often it is
//! delivered. Key presses are not recorded.

use secrecy::ExposeSecret;
use uuid::Uuid;

use super::payment::{PaymentKey, find_by_call};
use super::text::storable;
use super::{
    Alert, CallData, Ledger, LedgerError, LedgerEvent, LedgerRecord, LedgerTransaction, Payment, PaymentState, tokens,
};
use crate::payment::{
    CallbackKind, Last4, PaymentCallback, PaymentIdGenerator, PaymentOutcome, PaymentRecord, PaymentSessionResult,
    ResultKind, UpdateAction,
};

/// How often an entry of a payment was recorded, and how many entries the server has asked for.
pub(super) const COUNT_ENTRIES: &str = "SELECT (SELECT count(*) FROM events WHERE payment_id = $1 AND delivery = $2), \
     (SELECT count(DISTINCT idempotency_key) FROM events WHERE payment_id = $1 AND kind = 'asking' \
     AND change NOT IN ($3, $4))";

/// The result of recording a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It was written.
    Written,
    /// It could not be written now. It is buffered, and written as soon as possible.
    Buffered,
    /// It was written before, or contains nothing to write.
    Unchanged,
    /// It belongs to no payment of this ledger.
    UnknownPayment,
}

impl Ledger {
    /// Records a callback, or buffers it until it can be written.
    pub async fn record_callback(&self, status: &PaymentCallback) -> Result<RecordOutcome, LedgerError> {
        if matches!(status.kind, CallbackKind::EntryInProgress { .. }) {
            return Ok(RecordOutcome::Unchanged);
        }
        self.write_or_buffer(LedgerRecord::Callback(Box::new(status.clone()))).await
    }
}

pub(super) async fn write_callback(
    writing: &mut LedgerTransaction,
    status: &PaymentCallback,
) -> Result<RecordOutcome, LedgerError> {
    let Some(mut payment) = writing.find_callback_payment(status).await? else {
        return Ok(RecordOutcome::UnknownPayment);
    };
    let learnt = writing.set_payment_sid(&mut payment, &status.payment_sid).await?;
    let known = writing.payment_record(&payment).await?;
    let outcome = match &status.kind {
        CallbackKind::Ended(ending) => Some(PaymentOutcome::from_session_result(ending, &known.intent)),
        _ => None,
    };
    let event = callback_event(status, outcome);
    let appended = match &event {
        Some(event) => writing.append_callback_event(&payment, event, status).await?,
        None => false,
    };
    if let (Some(LedgerEvent::FieldEntered { last4: Some(last4), .. }), true) = (&event, appended) {
        writing.set_last4(&payment, *last4).await?;
    }
    if let (CallbackKind::Ended(ending), Some(outcome), true) = (&status.kind, outcome, appended) {
        writing.apply_result(&mut payment, known, ending, outcome).await?;
    }
    Ok(if learnt || appended { RecordOutcome::Written } else { RecordOutcome::Unchanged })
}

impl LedgerTransaction {
    /// Finds the payment of a callback. A callback may arrive before the response that contains the SID of its session.
    async fn find_callback_payment(&mut self, status: &PaymentCallback) -> Result<Option<Payment>, LedgerError> {
        if let Some(known) = self.find_payment(PaymentKey::Sid(&status.payment_sid)).await? {
            return Ok(Some(known));
        }
        if status.claims_success() {
            // A payment without a known session was not submitted and cannot succeed, so the success belongs to none of
            // them. Money may have moved: it is recorded as a payment of its own.
            return self.insert_found_session(status).await.map(Some);
        }
        let of_call = find_by_call(&mut self.transaction, &status.call_sid).await?;
        Ok(of_call
            .into_iter()
            .rev()
            .find(|payment| payment.payment_sid.is_none() && status.may_confirm(payment.amount)))
    }

    /// Appends the event of a callback, unless an equal callback was recorded before.
    ///
    /// `DateUpdated` tells two equal wrong entries apart. If Twilio sends none, the second one follows a further request
    /// to capture a field: a repeated delivery can count again only where the server has asked for another entry.
    async fn append_callback_event(
        &mut self,
        payment: &Payment,
        event: &LedgerEvent<'_>,
        status: &PaymentCallback,
    ) -> Result<bool, LedgerError> {
        let dated = status.digest.to_string();
        let is_entry = matches!(status.kind, CallbackKind::EntryEnded { .. } | CallbackKind::WrongEntry { .. });
        if status.date_updated.is_some() || !is_entry {
            return self.append_event(payment, event, Some(&dated)).await;
        }
        let known = sqlx::query_as(COUNT_ENTRIES)
            .bind(payment.id.to_string())
            .bind(dated.clone())
            .bind(UpdateAction::Complete.as_str())
            .bind(UpdateAction::Cancel.as_str());
        let (recorded, capture_requests): (i64, i64) = known.fetch_one(&mut self.transaction).await?;
        if recorded > 0 {
            return Ok(false);
        }
        self.append_event(payment, event, Some(&format!("{dated} {capture_requests}"))).await
    }

    /// Stores the last digits of the card before the result arrives. A payment that stays unknown is matched with the
    /// processor's records by them.
    async fn set_last4(&mut self, payment: &Payment, last4: Last4) -> Result<(), LedgerError> {
        sqlx::query("UPDATE payments SET last4 = $1 WHERE id = $2")
            .bind(last4.to_string())
            .bind(payment.id.to_string())
            .execute(&mut self.transaction)
            .await?;
        Ok(())
    }

    async fn insert_found_session(&mut self, status: &PaymentCallback) -> Result<Payment, LedgerError> {
        let call = CallData::from_sid(status.call_sid.clone());
        let id = PaymentIdGenerator::new(Uuid::new_v4()).generate();
        let payment = self.insert_payment(&call, id, None, Some(&status.payment_sid)).await?;
        let found = LedgerEvent::SessionFound { sid: &status.payment_sid, charge: status.charge_amount.as_deref() };
        self.append_event(&payment, &found, None).await?;
        Ok(payment)
    }

    async fn apply_result(
        &mut self,
        payment: &mut Payment,
        known: PaymentRecord,
        ending: &PaymentSessionResult,
        outcome: PaymentOutcome,
    ) -> Result<(), LedgerError> {
        let next = known.after_outcome(outcome);
        let succeeded = outcome == PaymentOutcome::Succeeded;
        let first_success = succeeded && payment.result.as_deref() != Some(ResultKind::Success.as_str());
        let first_word = known.state == PaymentState::Unknown && payment.result.is_none();
        if next == known && !first_success && !first_word {
            return Ok(());
        }
        self.write_result(payment, ending).await?;
        if succeeded {
            self.record_card_recovered(payment).await?;
        } else if known.intent.submitted && !self.is_counted_as_failed(payment).await? {
            self.record_card_failed(payment, ending.error_code, false).await?;
        }
        let (id, call, before) = (payment.id, payment.call_sid.clone(), known.state);
        match outcome.doubtful_success() {
            Some(doubt) if next != known => self.alerts.push(Alert::DoubtfulSuccess { id, call, doubt }),
            _ if succeeded && next != known && before.is_final() => {
                self.alerts.push(Alert::LateSuccess { id, call, before });
            }
            _ => {}
        }
        if next.state != before {
            self.set_state(payment, next.state).await
        } else if succeeded {
            // An operator has settled the payment before. Its confirmation code or token is still reported to the
            // business.
            self.enqueue_outcome(payment).await
        } else {
            Ok(())
        }
    }

    /// What is known of a payment.
    pub(super) async fn payment_record(&mut self, payment: &Payment) -> Result<PaymentRecord, LedgerError> {
        let has_doubtful_success = self.has_doubtful_success(payment).await?;
        Ok(PaymentRecord { state: payment.state, intent: payment.intent(), has_doubtful_success })
    }

    /// Whether Twilio reported a contradicted success of the payment.
    async fn has_doubtful_success(&mut self, payment: &Payment) -> Result<bool, LedgerError> {
        self.has_event(payment, "kind = 'ended' AND doubtful = 1").await
    }

    async fn write_result(&mut self, payment: &mut Payment, ending: &PaymentSessionResult) -> Result<(), LedgerError> {
        // A refusal that explains how the payment ended is kept.
        if payment.refusal().is_none() || ending.result == ResultKind::Success {
            self.set_result(payment, ending.result.as_str(), ending.error_code, ending.error_text().as_deref()).await?;
        }
        let id = payment.id.to_string();
        let keys = self.ledger.0.sealing_keys.get();
        let seal = |token: &str| keys.map_or_else(|| token.to_owned(), |keys| keys.seal(tokens::place(&id), token));
        let token = ending.payment_token.as_ref().map(|token| seal(&storable(token.expose_secret())));
        sqlx::query(
            "UPDATE payments SET last4 = coalesce($1, last4), confirmation = coalesce($2, confirmation), token = coalesce($3, token), \
             profile = coalesce($4, profile) WHERE id = $5",
        )
        .bind(ending.last4.map(|last4| last4.to_string()))
        .bind(ending.confirmation_code.as_deref().map(storable))
        .bind(token)
        .bind(ending.profile_id.as_deref().map(storable))
        .bind(id)
        .execute(&mut self.transaction)
        .await?;
        let written = self.find_payment(PaymentKey::Id(payment.id)).await?;
        *payment = written.ok_or(LedgerError::Unreadable("a row that was just written"))?;
        Ok(())
    }
}

fn callback_event(status: &PaymentCallback, outcome: Option<PaymentOutcome>) -> Option<LedgerEvent<'_>> {
    match &status.kind {
        CallbackKind::EntryInProgress { .. } | CallbackKind::SessionExists => None,
        CallbackKind::EntryEnded { field, has_value: present } => {
            let entered = LedgerEvent::FieldEntered { field: *field, last4: status.last4, callback: status };
            status.is_field_captured(*field, *present).then_some(entered)
        }
        CallbackKind::WrongEntry { field, error } => {
            Some(LedgerEvent::EntryRejected { field: *field, error, callback: status })
        }
        CallbackKind::Ended(ending) => Some(LedgerEvent::SessionEnded { ending, outcome: outcome? }),
    }
}
