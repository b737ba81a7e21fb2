//! What a session learns of a call that another server had: where the conversation stands, and the payment that is in progress.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{info, warn};

use super::journal::KeptCall;
use crate::call::{Call, CallSettings, ConversationItem, ResumedCall, merge_parameters};
use crate::ledger::{LeftCall, LeftPayment};
use crate::payment::{Capture, PaymentSettings, PaymentTermsError};
use crate::redact::Private;
use crate::relay::Setup;

/// Reads what the last server of a call has left. `None` if nothing of it is known.
pub(super) fn read_left_call(
    left: Option<LeftCall>,
    kept: &KeptCall,
    settings: &CallSettings,
    setup: &Setup,
) -> Option<ResumedCall> {
    let LeftCall { state, items, payment } = left?;
    let items: Vec<_> = items.iter().filter_map(|item| ConversationItem::from_journal(item)).collect();
    let has_open_payment = payment.is_some();
    let parameters = merge_parameters(setup, kept.order.as_deref());
    let payment = payment.and_then(|left| fold_payment(left, &settings.payment, parameters));
    if items.is_empty() && payment.is_none() {
        return None;
    }
    info!(
        event = "call.taken_up",
        items = items.len(),
        has_open_payment,
        payment_taken_up = payment.is_some(),
        "The call goes on where another server left it."
    );
    let state = if state.is_some() { kept.call.clone() } else { Call::initial_state(settings) };
    Some(ResumedCall { state, items, payment, age: kept.age() })
}

/// Folds the payment that the last server of a call had begun. `None` if its terms, or what is recorded of it, do not fit.
fn fold_payment(
    left: LeftPayment,
    settings: &PaymentSettings,
    parameters: BTreeMap<String, String>,
) -> Option<Capture> {
    let LeftPayment { payment, consent, steps, .. } = left;
    let said = [
        ("paymentMethod", Some(&payment.method)),
        ("description", payment.description.as_ref().map(Private::reveal)),
        ("orderReference", payment.order_reference.as_ref().map(Private::reveal)),
        ("callReference", payment.call_reference.as_ref().map(Private::reveal)),
    ];
    let terms = parse_terms(settings, parameters, said, payment.description.is_some());
    let folded = terms.map_err(|error| error.to_string()).and_then(|terms| {
        let folded = Capture::from_steps(payment.id, &Arc::new(terms), payment.amount, consent, steps);
        folded.map_err(|error| error.to_string())
    });
    folded
        .inspect_err(|error| {
            warn!(event = "call.payment_unreadable", %error, "What is recorded of an open payment cannot be gone on with.");
        })
        .ok()
}

/// The terms of a payment: those of its call, with what was recorded of the payment.
fn parse_terms(
    settings: &PaymentSettings,
    mut parameters: BTreeMap<String, String>,
    said: [(&str, Option<&String>); 4],
    has_description: bool,
) -> Result<crate::payment::PaymentTerms, PaymentTermsError> {
    parameters.extend(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone()))));
    let mut terms = settings.parse_terms(&parameters)?;
    if !has_description {
        terms.description = None;
    }
    Ok(terms)
}
