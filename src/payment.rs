//! One payment on a call, by card or from a bank account: amounts, fields, Twilio's callbacks and the state machine.
//!
//! Pure: no I/O, no clock, no logging. Wire facts are those of Twilio's Payments resource.

mod amount;
mod amount_cap;
mod amount_due;
mod business_due;
mod callback;
mod callback_digest;
mod caller_attestation;
mod capture;
mod consent;
mod field;
#[cfg(any(fuzzing, test))]
mod fuzzing;
mod id;
mod left_callback;
mod log_entry;
mod method;
mod outcome;
mod parameter_names;
mod prior_payments;
mod record;
mod recorded_step;
mod response;
mod settings;
mod state;
mod terms;
mod velocity_limits;

pub use amount::{Amount, Currency, ParseAmountError, ParseCurrencyError};
pub use amount_cap::{AmountCap, AmountCaps, ParseAmountCapError};
pub use amount_due::{AmountDue, AmountDueError, ChargeLimits, ChargeLimitsError, MaxDue, ParseMaxDueError};
pub use business_due::{BusinessDue, ParseBusinessDueError};
pub use callback::{
    CallbackKind, EntryError, Last4, ParseCallbackError, ParseEntryError, PaymentCallback, PaymentSessionResult,
    ResultKind,
};
pub use callback_digest::{CallbackDigest, CallbackDigester};
pub use caller_attestation::{CallerAttestation, ParseCallerAttestationError};
pub use capture::{CallbackEffect, Capture, CaptureStage, InvalidTransition, RequestKind};
#[cfg(test)]
pub(crate) use capture::{RestoreCaptureError, lives};
pub use consent::{
    ConsentAnswer, ConsentPurpose, ConsentRecord, NoticeKind, SpokenStatement, text_sha256, text_version,
};
pub use field::{Field, Fields};
#[cfg(any(fuzzing, test))]
pub use fuzzing::check_payment_callback;
pub use id::{IdempotencyKey, ParsePaymentIdError, PaymentId, PaymentIdGenerator};
pub(crate) use left_callback::{read_left_callback, write_left_callback};
pub use log_entry::PaymentLogEntry;
pub use method::{AvsName, BankAccountType, CardTerms, CardType, ParseValueError, PaymentMethod, PaymentMethodName};
pub(crate) use outcome::{PaymentIntent, is_charge_amount, is_decline_code};
pub use outcome::{PaymentOutcome, UnknownReason};
pub use parameter_names::{
    PAYMENT_PARAMETERS, find_contradicted_parameter, find_parameter_value, find_similar_parameter,
};
pub use prior_payments::{OrderRules, PriorPayment, PriorPayments, PriorSession};
pub(crate) use record::PaymentRecord;
pub(crate) use recorded_step::{EntryReport, RecordedStep};
pub(crate) use response::SubmissionRefusal;
pub use response::TwilioResponse;
pub use settings::{
    IdParameter, ParseTokenTypeError, PaymentDescription, PaymentOptions, PaymentSettings, PaymentTimeout,
    ProcessorParameters, TokenType,
};
pub use state::{ParseStateError, PaymentState};
pub use terms::{
    DebtReferences, EXPECTED_MATCHING_INPUT, PaymentTerms, PaymentTermsError, parse_matching_input, sanitize_reference,
};
pub use velocity_limits::{
    CardTestingLimits, CardTestingPattern, DeclineCounts, LimitKind, LimitScope, ReachedLimit, VelocityCaps,
    VelocityCounts, VelocityLimits,
};

use std::fmt;
use std::sync::Arc;

use crate::ids::PaymentSid;

/// A request to create a payment session on the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePayment {
    /// The payment.
    pub id: PaymentId,
    /// The key of this logical request.
    pub idempotency_key: IdempotencyKey,
    /// The amount to charge; `None` tokenizes the card or account.
    pub charge: Option<Amount>,
    /// The payment terms of the call.
    pub terms: Arc<PaymentTerms>,
    /// The caller's consent to this amount, where it was asked for.
    pub consent: Option<ConsentRecord>,
}

impl CreatePayment {
    /// Whether the caller consented to pay the same amount again.
    pub fn is_repeat_charge(&self) -> bool {
        let again = |agreed: &ConsentRecord| matches!(agreed.purpose, ConsentPurpose::ChargeAgain(amount) if Some(amount) == self.charge);
        self.consent.as_ref().is_some_and(|agreed| agreed.answer == ConsentAnswer::Yes && again(agreed))
    }
}

/// A request to update a payment session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePayment {
    /// The payment.
    pub id: PaymentId,
    /// The session.
    pub payment_sid: PaymentSid,
    /// The key of this logical request.
    pub idempotency_key: IdempotencyKey,
    /// The action to request.
    pub action: UpdateAction,
    /// The caller's authorisation to submit the payment, if it needs one. The ledger records it with the request.
    pub authorization: Option<Box<ConsentRecord>>,
    /// Why the server gives up the payment, if it does. The ledger records it whatever Twilio responds.
    pub abandon_reason: Option<&'static str>,
    /// Whether it is sent only if this server certainly has the call: where several share the ledger, another one may have gone
    /// on with the session, or have requested it.
    pub needs_claim: bool,
    /// The language, as a BCP 47 code, of the receipt that the caller gets if this submission succeeds. `None` for none.
    pub receipt_language: Option<String>,
}

impl UpdatePayment {
    /// An update that does nothing but `action`.
    pub fn new(id: PaymentId, payment_sid: PaymentSid, idempotency_key: IdempotencyKey, action: UpdateAction) -> Self {
        Self {
            id,
            payment_sid,
            idempotency_key,
            action,
            authorization: None,
            abandon_reason: None,
            needs_claim: false,
            receipt_language: None,
        }
    }
}

/// The action of an update: exactly one of `Capture` and `Status` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateAction {
    /// Collect this field from the keypad.
    Capture(Field),
    /// Submit what was collected: `Status=complete`.
    Complete,
    /// Discard what was collected: `Status=cancel`.
    Cancel,
}

impl UpdateAction {
    /// The value of `Capture`, or of `Status`, on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capture(field) => field.wire_name(),
            Self::Complete => "complete",
            Self::Cancel => "cancel",
        }
    }

    /// Parses what [`as_str`](Self::as_str) returns.
    pub(crate) fn from_wire(text: &str) -> Option<Self> {
        match text {
            "complete" => Some(Self::Complete),
            "cancel" => Some(Self::Cancel),
            field => Field::from_wire(field).map(Self::Capture),
        }
    }
}

impl fmt::Display for UpdateAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
