//! Records the requests to Twilio before they are sent, and its responses.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::orders::order_key;
use super::payment::REFUSED;
use super::payment::{PaymentKey, find_by_call};
use super::text::storable;
use super::{
    Ledger, LedgerError, LedgerEvent, LedgerRecord, LedgerTransaction, Payment, PaymentState, RecordRequestError,
};
use crate::call_claim::{CallClaim, ClaimState};
use crate::ids::{CallSid, PaymentSid};
use crate::payment::{
    CallerAttestation, CreatePayment, DebtReferences, IdempotencyKey, PaymentId, PaymentTerms, SubmissionRefusal,
    TwilioResponse, UpdateAction, UpdatePayment, find_parameter_value, sanitize_reference,
};
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::relay::Setup;

/// `PaymentMethod` of a payment that this ledger did not start.
const DEFAULT_METHOD: &str = "credit-card";

/// The number of requests of a payment with an idempotency key.
pub(super) const COUNT_REQUESTS: &str =
    "SELECT count(*) FROM events WHERE payment_id = $1 AND kind IN ('opening', 'asking') AND idempotency_key = $2";

/// The data of a call that its payments are recorded with.
#[derive(Debug, Clone)]
pub struct CallData {
    /// The SID of the call.
    pub call_sid: CallSid,
    /// The caller's number, if it can be called.
    pub caller: Option<PhoneNumber>,
    /// What the caller's network attests about the number; `None` if it is unknown.
    pub attestation: Option<CallerAttestation>,
    /// The business's reference for the call: the custom parameter `callReference`.
    pub call_reference: Option<Private<String>>,
    /// The business's reference for the order, if it differs: the custom parameter `orderReference`.
    pub order_reference: Option<Private<String>>,
    /// The key of the order: see [`order_key`].
    pub(super) order_key: Option<String>,
    /// The claim of this server to the call, where several servers share the ledger.
    pub(crate) claim: Option<CallClaim>,
}

impl CallData {
    /// Reads the data of a call from its `setup` message.
    pub fn from_setup(setup: &Setup) -> Self {
        Self::from_parameters(setup.call_sid.clone(), setup.caller(), setup.custom_parameters.reveal())
    }

    /// The data of a call with these parameters.
    pub(crate) fn from_parameters(sid: CallSid, caller: Option<PhoneNumber>, given: &BTreeMap<String, String>) -> Self {
        let call = Self { caller, ..Self::from_sid(sid) };
        call.with_references(
            find_parameter_value(given, "callReference"),
            find_parameter_value(given, "orderReference"),
        )
    }

    /// Reads the data of a call from the properties of its order, as the text of a JSON object.
    pub fn from_order(sid: CallSid, properties: &str) -> Self {
        let properties: BTreeMap<String, Value> = serde_json::from_str(properties).unwrap_or_default();
        let texts = properties.into_iter().filter_map(|(name, value)| match value {
            Value::String(text) => Some((name, text)),
            _ => None,
        });
        Self::from_parameters(sid, None, &texts.collect())
    }

    /// The data for a payment with these terms: the references are those of the debt, if a tool of the business named
    /// it during the call.
    pub fn with_debt_of(&self, terms: &PaymentTerms) -> Self {
        let text = |reference: &Option<Private<String>>| reference.as_ref().map(|text| text.reveal().clone());
        let Some(DebtReferences { call, order }) = &terms.debt else { return self.clone() };
        self.clone().with_references(text(call).as_deref(), text(order).as_deref())
    }

    fn with_references(self, call: Option<&str>, order: Option<&str>) -> Self {
        // From the whole text: truncation must not give two orders one key.
        let whole = [order, call].into_iter().flatten().find(|text| !text.trim().is_empty());
        Self {
            call_reference: call.and_then(sanitize_reference),
            order_reference: order.and_then(sanitize_reference),
            order_key: whole.map(order_key),
            ..self
        }
    }

    /// Whether this server knows that another one has the call.
    pub(crate) fn has_moved(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.state() == ClaimState::Lost)
    }

    /// A call of which only the SID is known.
    pub fn from_sid(sid: CallSid) -> Self {
        Self {
            call_sid: sid,
            caller: None,
            attestation: None,
            call_reference: None,
            order_reference: None,
            order_key: None,
            claim: None,
        }
    }
}

impl Ledger {
    /// Records a request to create a session. The request may be sent only after this has succeeded.
    ///
    /// All checks run in the transaction that records the request.
    pub async fn record_create_request(
        &self,
        call: &CallData,
        create: &CreatePayment,
    ) -> Result<(), RecordRequestError> {
        match Box::pin(self.try_create_request(call, create)).await {
            Err(refused) if refused.is_conflict() => Box::pin(self.try_create_request(call, create)).await,
            done => done,
        }
    }

    async fn try_create_request(&self, call: &CallData, create: &CreatePayment) -> Result<(), RecordRequestError> {
        let mut writing = self.begin_decision().await?;
        self.track_refused_write(write_create_request(&mut writing, call, create).await)?;
        Ok(writing.commit().await?)
    }

    /// Records Twilio's response to a request to create a session.
    pub async fn record_create_response(
        &self,
        create: &CreatePayment,
        answer: &TwilioResponse,
    ) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::CreateResponse(Box::new(create.clone()), answer.clone())).await.map(drop)
    }

    /// Records a request to update a session. A submission may be sent only after this has succeeded.
    pub async fn record_update_request(
        &self,
        call: &CallData,
        update: &UpdatePayment,
    ) -> Result<(), RecordRequestError> {
        if update.action == UpdateAction::Cancel {
            return self.record_cancel_request(call, update).await;
        }
        match Box::pin(self.try_update_request(call, update)).await {
            Err(refused) if refused.is_conflict() => Box::pin(self.try_update_request(call, update)).await,
            done => done,
        }
    }

    /// Records a request to cancel a session, unless another server has the call. Nothing else prevents it.
    async fn record_cancel_request(&self, call: &CallData, update: &UpdatePayment) -> Result<(), RecordRequestError> {
        if call.claim.is_some() && self.0.database.is_remote() {
            match Box::pin(self.try_update_request(call, update)).await {
                Ok(()) => return Ok(()),
                Err(RecordRequestError::Elsewhere) => return Err(RecordRequestError::Elsewhere),
                // Without the ledger nobody knows whose session it is: perhaps that of the call's new owner.
                Err(_) if update.needs_claim => return Err(RecordRequestError::Elsewhere),
                Err(_) => {}
            }
        }
        // What is buffered is sent to Twilio now, whoever has the call when it is written.
        let call = CallData { claim: None, ..call.clone() };
        Ok(self.write_or_buffer(LedgerRecord::CancelRequest(call, Box::new(update.clone()))).await.map(drop)?)
    }

    async fn try_update_request(&self, call: &CallData, update: &UpdatePayment) -> Result<(), RecordRequestError> {
        let mut writing = self.begin_decision().await?;
        let asked = self.track_refused_write(write_update_request(&mut writing, call, update).await);
        // A request that a limit blocks is recorded, too.
        if matches!(asked, Ok(()) | Err(RecordRequestError::LimitExceeded(_))) {
            writing.commit().await?;
        }
        asked
    }

    /// Records Twilio's response to an update.
    pub async fn record_update_response(
        &self,
        update: &UpdatePayment,
        answer: &TwilioResponse,
    ) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::UpdateResponse(Box::new(update.clone()), answer.clone())).await.map(drop)
    }

    /// Records the end of a call, and abandons its open payments. A submitted payment is unknown until its result
    /// arrives.
    pub async fn record_call_ended(&self, call: &CallData) -> Result<(), LedgerError> {
        let payments = find_by_call(&self.0.readers, &call.call_sid).await;
        if call.claim.is_none()
            && payments.is_ok_and(|payments| !payments.iter().any(|payment| payment.state.is_in_progress()))
        {
            return Ok(());
        }
        self.write_or_buffer(LedgerRecord::CallEnded(call.clone())).await.map(drop)
    }
}

async fn write_create_request(
    writing: &mut LedgerTransaction,
    call: &CallData,
    create: &CreatePayment,
) -> Result<(), RecordRequestError> {
    let call = &call.with_debt_of(&create.terms);
    writing.lock_call(&call.call_sid).await?;
    writing.check_claim(&call.call_sid, call.claim.as_ref()).await?;
    let payment = if let Some(asked_before) = writing.find_payment(PaymentKey::Id(create.id)).await? {
        asked_before
    } else {
        let call = writing.with_known_order(call).await?;
        writing.lock_limits(call.order_key.as_deref(), call.caller.as_ref(), None).await?;
        writing.check_order(&call, create).await?;
        writing.check_start_limits(&call, create).await?;
        let payment = writing.insert_payment(&call, create.id, Some(create), None).await?;
        if let Some(attestation) = call.attestation {
            writing.append_event(&payment, &LedgerEvent::CallerAttested { attestation }, None).await?;
        }
        if let Some(agreed) = &create.consent {
            writing.append_event(&payment, &LedgerEvent::StatementAgreed { agreed }, None).await?;
        }
        payment
    };
    // With one server there is one URL to which Twilio reports.
    let server = call.claim.as_ref().filter(|_| writing.transaction.is_remote()).map(CallClaim::server);
    let requested = LedgerEvent::CreateRequested { key: &create.idempotency_key, server };
    writing.append_event(&payment, &requested, None).await?;
    Ok(())
}

pub(super) async fn write_create_response(
    writing: &mut LedgerTransaction,
    create: &CreatePayment,
    answer: &TwilioResponse,
) -> Result<(), LedgerError> {
    let Some(mut payment) = writing.find_payment(PaymentKey::Id(create.id)).await? else { return Ok(()) };
    let received = LedgerEvent::ResponseReceived { to: "create", key: &create.idempotency_key, answer };
    writing.append_event(&payment, &received, None).await?;
    let sent_before = writing.count_requests(&payment, &create.idempotency_key).await? > 1;
    match answer.clone().resolve(sent_before) {
        TwilioResponse::Created(sid) => drop(writing.set_payment_sid(&mut payment, &sid).await?),
        // A callback has confirmed the session.
        _ if payment.payment_sid.is_some() => {}
        TwilioResponse::Refused { code, .. } => {
            writing.set_result(&mut payment, "not-created", code, None).await?;
            writing.advance(&mut payment, PaymentState::Failed).await?;
        }
        TwilioResponse::Gone => drop(writing.advance(&mut payment, PaymentState::Abandoned).await?),
        TwilioResponse::Accepted | TwilioResponse::Unknown => {}
    }
    Ok(())
}

async fn write_update_request(
    writing: &mut LedgerTransaction,
    call: &CallData,
    update: &UpdatePayment,
) -> Result<(), RecordRequestError> {
    writing.lock_call(&call.call_sid).await?;
    writing.check_claim(&call.call_sid, call.claim.as_ref()).await?;
    let mut payment = match writing.find_updated_payment(update).await? {
        Some(payment) => payment,
        // A session that this ledger did not request is recorded, to be cancelled.
        None if update.action == UpdateAction::Cancel => {
            let payment = writing.insert_payment(call, update.id, None, Some(&update.payment_sid)).await?;
            let found = LedgerEvent::SessionFound { sid: &update.payment_sid, charge: None };
            writing.append_event(&payment, &found, None).await?;
            payment
        }
        None => return Err(RecordRequestError::NotSubmittable),
    };
    writing.set_payment_sid(&mut payment, &update.payment_sid).await?;
    let repeats = update.action == UpdateAction::Complete && !payment.state.may_become(PaymentState::Submitted);
    writing.lock_limits(payment.order_key.as_deref(), payment.caller.as_ref(), payment.last4.as_deref()).await?;
    if !repeats && let Err(refused) = writing.check_update_limits(&payment, update.action).await {
        if let RecordRequestError::LimitExceeded(bar) = refused {
            writing.append_event(&payment, &LedgerEvent::LimitExceeded { bar, change: update.action }, None).await?;
        }
        return Err(refused);
    }
    match update.action {
        UpdateAction::Capture(_) if payment.state == PaymentState::Opened => {
            writing.advance(&mut payment, PaymentState::Capturing).await?;
        }
        // The same submission may be repeated with its key. One with another key is refused.
        UpdateAction::Complete if repeats => {
            let is_open = payment.state == PaymentState::Submitted;
            if !is_open || writing.count_requests(&payment, &update.idempotency_key).await? == 0 {
                return Err(RecordRequestError::NotSubmittable);
            }
        }
        UpdateAction::Complete => {
            writing.check_submission(&payment).await?;
            writing.set_state(&mut payment, PaymentState::Submitted).await?;
            writing.clear_refusal(&mut payment).await?;
            if let Some(language) = &update.receipt_language {
                writing.await_receipt(&payment, language).await?;
            }
        }
        UpdateAction::Capture(_) | UpdateAction::Cancel => {}
    }
    if let Some(why) = update.abandon_reason {
        writing.abandon(&mut payment, why).await?;
    }
    if let Some(authorization) = update.authorization.as_deref().filter(|_| !repeats) {
        writing.append_event(&payment, &LedgerEvent::Authorized { authorization }, None).await?;
    }
    let asking = LedgerEvent::UpdateRequested { change: update.action, key: &update.idempotency_key };
    writing.append_event(&payment, &asking, None).await?;
    Ok(())
}

/// Records a request to cancel a session. Only an error of the ledger prevents it.
pub(super) async fn write_cancel_request(
    writing: &mut LedgerTransaction,
    call: &CallData,
    update: &UpdatePayment,
) -> Result<(), LedgerError> {
    match write_update_request(writing, call, update).await {
        Err(RecordRequestError::Ledger(error)) => Err(error),
        _ => Ok(()),
    }
}

pub(super) async fn write_update_response(
    writing: &mut LedgerTransaction,
    update: &UpdatePayment,
    answer: &TwilioResponse,
) -> Result<(), LedgerError> {
    let Some(mut payment) = writing.find_updated_payment(update).await? else { return Ok(()) };
    let (to, key) = (update.action.as_str(), &update.idempotency_key);
    writing.append_event(&payment, &LedgerEvent::ResponseReceived { to, key, answer }, None).await?;
    // An accepted request is not a result: that arrives in a callback.
    if update.action != UpdateAction::Complete || payment.state != PaymentState::Submitted {
        return Ok(());
    }
    let sent_before = writing.count_requests(&payment, &update.idempotency_key).await? > 1;
    match answer.clone().resolve(sent_before) {
        TwilioResponse::Refused { code, .. } => {
            writing.revert_submission(&mut payment, Some(SubmissionRefusal { code })).await
        }
        TwilioResponse::Gone => writing.revert_submission(&mut payment, None).await,
        TwilioResponse::Created(_) | TwilioResponse::Accepted | TwilioResponse::Unknown => Ok(()),
    }
}

/// Abandons the open payments of a call that is over, and forgets who has it. Returns `false`, and does nothing, if another
/// server has it.
pub(super) async fn write_call_ended(writing: &mut LedgerTransaction, call: &CallData) -> Result<bool, LedgerError> {
    if writing.has_moved(call).await? {
        return Ok(false);
    }
    for mut payment in find_by_call(&mut writing.transaction, &call.call_sid).await? {
        writing.abandon(&mut payment, "the call ended").await?;
    }
    if call.claim.is_some() {
        writing.remove_call(&call.call_sid).await?;
    }
    Ok(true)
}

impl LedgerTransaction {
    /// Clears the refusal of an earlier submission.
    async fn clear_refusal(&mut self, payment: &mut Payment) -> Result<(), LedgerError> {
        if payment.refusal().is_some() {
            payment.result = None;
            sqlx::query("UPDATE payments SET result = NULL, result_code = NULL, result_text = NULL WHERE id = $1")
                .bind(payment.id.to_string())
                .execute(&mut self.transaction)
                .await?;
        }
        Ok(())
    }

    /// Reverts a submission that Twilio certainly did not accept.
    async fn revert_submission(
        &mut self,
        payment: &mut Payment,
        refusal: Option<SubmissionRefusal>,
    ) -> Result<(), LedgerError> {
        self.advance(payment, PaymentState::Capturing).await?;
        sqlx::query("UPDATE payments SET submitted_at = NULL WHERE id = $1")
            .bind(payment.id.to_string())
            .execute(&mut self.transaction)
            .await?;
        payment.submitted_at = None;
        let Some(refusal) = refusal else { return Ok(()) };
        self.set_result(payment, REFUSED, refusal.code, None).await?;
        if refusal.is_of_card() { self.record_card_failed(payment, refusal.code, true).await } else { Ok(()) }
    }

    /// Abandons a payment that has no outcome. A submitted one becomes unknown.
    pub(super) async fn abandon(&mut self, payment: &mut Payment, why: &'static str) -> Result<(), LedgerError> {
        let next = self.payment_record(payment).await?.after_abandonment().state;
        if next != payment.state {
            self.append_event(payment, &LedgerEvent::Abandoned { why }, None).await?;
            self.set_state(payment, next).await?;
            // Until a result arrives, the card counts as failed.
            if next == PaymentState::Unknown && !self.is_counted_as_failed(payment).await? {
                self.record_card_failed(payment, None, false).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn insert_payment(
        &mut self,
        call: &CallData,
        id: PaymentId,
        create: Option<&CreatePayment>,
        sid: Option<&PaymentSid>,
    ) -> Result<Payment, LedgerError> {
        let charge = create.and_then(|create| create.charge);
        let terms = create.map(|create| &*create.terms);
        let description = terms.and_then(|terms| terms.description.as_ref());
        let minor = charge.map(|amount| i64::try_from(amount.minor()).expect("amounts are below 10^9 minor units"));
        let text = |text: Option<&Private<String>>| text.map(|text| storable(text.reveal()));
        sqlx::query(
            "INSERT INTO payments (id, state, call_sid, payment_sid, caller, call_reference, order_reference, \
             order_key, description, minor, currency, exponent, method, live, opened_at) \
             VALUES ($1, 'opened', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(id.to_string())
        .bind(call.call_sid.as_str())
        .bind(sid.map(PaymentSid::as_str))
        .bind(call.caller.as_ref().map(PhoneNumber::as_str))
        .bind(text(call.call_reference.as_ref()))
        .bind(text(call.order_reference.as_ref()))
        .bind(call.order_key.clone())
        .bind(description.map(|text| storable(text.reveal())))
        .bind(minor)
        .bind(charge.map(|amount| amount.currency().code().to_owned()))
        .bind(charge.map(|amount| i64::from(amount.currency().exponent())))
        .bind(terms.map_or(DEFAULT_METHOD, |terms| terms.method.name().as_str()))
        .bind(i64::from(self.ledger.0.live.load(Ordering::Relaxed)))
        .bind(self.now.as_millisecond())
        .execute(&mut self.transaction)
        .await?;
        self.reached_states.push(PaymentState::Opened);
        self.find_payment(PaymentKey::Id(id)).await?.ok_or(LedgerError::Unreadable("a row that was just written"))
    }

    /// Finds the payment of an update: by its id, or by its session if this ledger did not create that.
    async fn find_updated_payment(&mut self, update: &UpdatePayment) -> Result<Option<Payment>, LedgerError> {
        match self.find_payment(PaymentKey::Id(update.id)).await? {
            Some(payment) => Ok(Some(payment)),
            None => self.find_payment(PaymentKey::Sid(&update.payment_sid)).await,
        }
    }

    /// Stores the SID of the session if it was not known. Returns whether it did.
    pub(super) async fn set_payment_sid(
        &mut self,
        payment: &mut Payment,
        sid: &PaymentSid,
    ) -> Result<bool, LedgerError> {
        if payment.payment_sid.is_some() || self.find_payment(PaymentKey::Sid(sid)).await?.is_some() {
            return Ok(false);
        }
        sqlx::query("UPDATE payments SET payment_sid = $1 WHERE id = $2")
            .bind(sid.as_str())
            .bind(payment.id.to_string())
            .execute(&mut self.transaction)
            .await?;
        payment.payment_sid = Some(sid.clone());
        self.append_event(payment, &LedgerEvent::SessionCreated { sid }, None).await?;
        Ok(true)
    }

    /// Number of requests with this idempotency key.
    async fn count_requests(&mut self, payment: &Payment, key: &IdempotencyKey) -> Result<i64, LedgerError> {
        let asked = sqlx::query_scalar(COUNT_REQUESTS).bind(payment.id.to_string()).bind(key.as_str());
        Ok(asked.fetch_one(&mut self.transaction).await?)
    }

    /// Stores Twilio's result, its error code and its error text.
    pub(super) async fn set_result(
        &mut self,
        payment: &mut Payment,
        word: &str,
        code: Option<u32>,
        text: Option<&str>,
    ) -> Result<(), LedgerError> {
        payment.result = Some(word.to_owned());
        payment.result_code = code;
        payment.result_text = text.map(storable);
        sqlx::query("UPDATE payments SET result = $1, result_code = $2, result_text = $3 WHERE id = $4")
            .bind(word)
            .bind(code.map(i64::from))
            .bind(payment.result_text.clone())
            .bind(payment.id.to_string())
            .execute(&mut self.transaction)
            .await?;
        Ok(())
    }
}
