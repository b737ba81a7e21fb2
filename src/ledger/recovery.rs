//! Payments that an earlier server or a broken session left open, and the requests to cancel them.

use std::sync::Arc;

use super::event::ReportedTo;
use super::{CallData, Ledger, LedgerError, LedgerRecord, LedgerTransaction, Payment, PaymentState, payment};
use crate::call_claim::CallClaim;
use crate::ids::{CallSid, PaymentSid};
use crate::payment::{
    Amount, CreatePayment, PaymentId, PaymentSettings, PaymentTermsError, UpdateAction, UpdatePayment,
};
use crate::redact::Private;
use crate::server_id::ServerId;

/// The number of requests to cancel a payment, of which each may have been sent more than once.
pub(super) const COUNT_CANCELS: &str = "SELECT count(DISTINCT idempotency_key) FROM events WHERE payment_id = $1 AND kind = 'asking' AND change = 'cancel'";

/// The data of the first request of a payment.
pub(super) const FIRST_REQUEST: &str =
    "SELECT data FROM events WHERE payment_id = $1 AND kind = 'opening' ORDER BY id LIMIT 1";

/// A payment whose session may still be open at Twilio. It was not submitted.
#[derive(Debug, Clone)]
pub struct OrphanedPayment {
    id: PaymentId,
    /// The call.
    pub call: CallData,
    /// The SID of the session, if it is known.
    pub payment_sid: Option<PaymentSid>,
    charge: Option<Amount>,
    method: String,
    description: Option<Private<String>>,
    /// The number of the cancel request: that of the last one, or 1.
    cancel_attempt: u32,
    /// Why it is abandoned.
    reason: &'static str,
    /// The server to which Twilio reports on it, where several share the ledger. A request that is repeated has to be the same.
    pub(crate) reported_to: Option<ServerId>,
}

impl OrphanedPayment {
    /// Builds the create request again, with its idempotency key: Twilio answers with the SID of the session and opens
    /// no second one. Terms that the ledger does not store are taken from `settings`; fails if they do not fit. The
    /// description is that of the first request, whatever the settings are now.
    pub fn create_request(&self, settings: &PaymentSettings) -> Result<CreatePayment, PaymentTermsError> {
        let said = [
            ("paymentMethod", Some(&self.method)),
            ("description", self.description.as_ref().map(Private::reveal)),
            ("orderReference", self.call.order_reference.as_ref().map(Private::reveal)),
            ("callReference", self.call.call_reference.as_ref().map(Private::reveal)),
        ];
        let said = said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone())));
        let mut terms = settings.parse_terms(&said.collect())?;
        if self.description.is_none() {
            terms.description = None;
        }
        let terms = Arc::new(terms);
        Ok(CreatePayment {
            id: self.id,
            idempotency_key: self.id.create_key(),
            charge: self.charge,
            terms,
            consent: None,
        })
    }

    /// Builds the request to cancel the session. An earlier one is repeated with its key.
    pub fn cancel_request(&self, sid: PaymentSid) -> UpdatePayment {
        let key = self.id.update_key(UpdateAction::Cancel, self.cancel_attempt);
        UpdatePayment::new(self.id, sid, key, UpdateAction::Cancel)
    }
}

impl Ledger {
    /// Finds the payments that the broken session of a call left open. Submitted payments become unknown. Payments that may be
    /// open at Twilio are returned, to be cancelled; no payment starts on the call until
    /// [`finish_recovery`](Self::finish_recovery).
    pub async fn recover_open_payments_of(
        &self,
        call: &CallSid,
        claim: Option<&CallClaim>,
    ) -> Result<Vec<OrphanedPayment>, LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.lock_call(call).await?;
        self.orphan_payments_of(writing, call, "the session broke", claim).await
    }

    /// Leaves the open payments of a call to whoever has claimed it, and commits.
    pub(super) async fn orphan_payments_of(
        &self,
        mut writing: LedgerTransaction,
        call: &CallSid,
        why: &'static str,
        claim: Option<&CallClaim>,
    ) -> Result<Vec<OrphanedPayment>, LedgerError> {
        let mut open = payment::find_by_call(&mut writing.transaction, call).await?;
        open.retain(|payment| payment.state.is_in_progress());
        self.orphan_payments(writing, open, why, claim).await
    }

    /// Leaves open payments of a call to whoever has claimed it, and commits.
    pub(super) async fn orphan_payments(
        &self,
        mut writing: LedgerTransaction,
        open: Vec<Payment>,
        why: &'static str,
        claim: Option<&CallClaim>,
    ) -> Result<Vec<OrphanedPayment>, LedgerError> {
        let mut left = Vec::new();
        for mut payment in open {
            if payment.state == PaymentState::Submitted {
                writing.abandon(&mut payment, why).await?;
            } else {
                let mut orphaned = writing.orphaned_payment(payment, why).await?;
                orphaned.call.claim = claim.cloned();
                left.push(orphaned);
            }
        }
        writing.commit().await?;
        self.0
            .recovering
            .send_modify(|open| open.extend(left.iter().map(|left| (left.call.call_sid.clone(), left.id))));
        Ok(left)
    }

    /// Abandons an orphaned payment after it was cancelled, or could not be.
    pub async fn finish_recovery(&self, left: &OrphanedPayment) -> Result<(), LedgerError> {
        let written = self.write_or_buffer(LedgerRecord::RecoveryFinished(Box::new(left.clone()))).await.map(drop);
        self.0.recovering.send_modify(|open| {
            open.remove(&(left.call.call_sid.clone(), left.id));
        });
        written
    }

    /// Waits until the recovery of the call's payments is finished.
    pub async fn wait_until_recovered(&self, call: &CallSid) {
        // The sender lives as long as this ledger does.
        let _ = self.0.recovering.subscribe().wait_for(|left| left.iter().all(|(of, _)| of != call)).await;
    }

    pub(super) fn is_recovering(&self, call: &CallSid) -> bool {
        self.0.recovering.borrow().iter().any(|(of, _)| of == call)
    }
}

pub(super) async fn write_recovery_finished(
    writing: &mut LedgerTransaction,
    left: &OrphanedPayment,
) -> Result<(), LedgerError> {
    if let Some(mut payment) = writing.find_payment(payment::PaymentKey::Id(left.id)).await? {
        writing.abandon(&mut payment, left.reason).await?;
    }
    Ok(())
}

impl LedgerTransaction {
    async fn orphaned_payment(&mut self, payment: Payment, why: &'static str) -> Result<OrphanedPayment, LedgerError> {
        let asked: i64 =
            sqlx::query_scalar(COUNT_CANCELS).bind(payment.id.to_string()).fetch_one(&mut self.transaction).await?;
        let reported_to = self.read_reporting_server(&payment).await?;
        let call = CallData {
            call_sid: payment.call_sid.clone(),
            caller: payment.caller.clone(),
            attestation: None,
            call_reference: payment.call_reference.clone(),
            order_reference: payment.order_reference.clone(),
            order_key: payment.order_key.clone(),
            claim: None,
        };
        let Payment { id, payment_sid: sid, amount, method, description, .. } = payment;
        Ok(OrphanedPayment {
            id,
            call,
            payment_sid: sid,
            charge: amount,
            method,
            description,
            cancel_attempt: u32::try_from(asked).unwrap_or(u32::MAX).max(1),
            reason: why,
            reported_to,
        })
    }

    /// Reads to which server Twilio reports on a payment, where several share the ledger.
    pub(super) async fn read_reporting_server(&mut self, payment: &Payment) -> Result<Option<ServerId>, LedgerError> {
        let first_request = sqlx::query_scalar(FIRST_REQUEST).bind(payment.id.to_string());
        let first_request: Option<String> = first_request.fetch_optional(&mut self.transaction).await?;
        Ok(first_request.and_then(|data| ReportedTo::parse(&data)))
    }
}
