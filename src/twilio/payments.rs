//! The Payments subresource of a call: creates and updates payment sessions. Their results arrive by status callback
//! only.

use std::borrow::Cow;

use serde::Deserialize;

use super::client::TwilioClient;
use super::error::{TwilioError, UnknownOutcomeCause};
use super::rest::RetryPolicy;
use crate::ids::{CallSid, PaymentSid};
use crate::payment::{CreatePayment, Field, PaymentMethod, UpdateAction, UpdatePayment};
use crate::telemetry::TwilioOperation;

/// The path of the payment status callback.
pub(crate) const PAYMENT_STATUS_CALLBACK: &str = "/payment-status-callback";

impl TwilioClient {
    /// Creates a payment session on the call, which must be in progress. Success means that Twilio accepted the
    /// request. Its callback may arrive before the response.
    pub async fn create_payment(&self, call: &CallSid, create: &CreatePayment) -> Result<PaymentSid, TwilioError> {
        let mut form = vec![
            ("IdempotencyKey", Cow::from(create.idempotency_key.as_str())),
            ("StatusCallback", Cow::from(&self.status_callback)),
        ];
        form.extend(terms_form(create));
        match create.charge {
            Some(amount) => {
                form.push(("ChargeAmount", amount.to_string().into()));
                form.push(("Currency", amount.currency().code().to_owned().into()));
            }
            None => form.push(("TokenType", create.terms.token_type.as_str().into())),
        }
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        let body = self
            .post(
                TwilioOperation::CreatePayment,
                &["Calls", call.as_str(), "Payments.json"],
                &form,
                RetryPolicy::Always,
            )
            .await?;
        let created: CreatedPayment =
            serde_json::from_slice(&body).map_err(|_| TwilioError::Unknown(UnknownOutcomeCause::UnreadableResponse))?;
        Ok(created.sid)
    }

    /// Asks the payment session to capture a field, to complete, or to cancel. Success means that Twilio accepted the
    /// request, not that it was carried out.
    pub async fn update_payment(&self, call: &CallSid, update: &UpdatePayment) -> Result<(), TwilioError> {
        let change = match update.action {
            UpdateAction::Capture(field) => ("Capture", field.wire_name()),
            UpdateAction::Complete => ("Status", "complete"),
            UpdateAction::Cancel => ("Status", "cancel"),
        };
        let form =
            [("IdempotencyKey", update.idempotency_key.as_str()), ("StatusCallback", &self.status_callback), change];
        let payment = format!("{}.json", update.payment_sid);
        self.post(
            TwilioOperation::UpdatePayment,
            &["Calls", call.as_str(), "Payments", &payment],
            &form,
            RetryPolicy::Always,
        )
        .await?;
        Ok(())
    }
}

/// The used member of the response to a create request; the others are known.
#[derive(Deserialize)]
struct CreatedPayment {
    sid: PaymentSid,
}

/// The parameters of a create request for the terms, except for the amount.
fn terms_form(create: &CreatePayment) -> Vec<(&'static str, Cow<'_, str>)> {
    let terms = &create.terms;
    let mut form: Vec<(&str, Cow<'_, str>)> =
        vec![("PaymentConnector", Cow::from(&terms.connector)), ("PaymentMethod", terms.method.name().as_str().into())];
    match &terms.method {
        PaymentMethod::Card(card) => {
            // Twilio's default is true for both, and `complete` fails if a field was not captured.
            form.push(("SecurityCode", bool_text(card.security_code).into()));
            form.push(("PostalCode", bool_text(card.postal_code).into()));
            form.extend(card.min_postal_code_length.map(|length| ("MinPostalCodeLength", length.to_string().into())));
            if !card.valid_types.is_empty() {
                let types: Vec<&str> = card.valid_types.iter().map(|card| card.as_str()).collect();
                form.push(("ValidCardTypes", types.join(" ").into()));
            }
            if !card.matching_inputs.is_empty() {
                let fields: Vec<&str> = card.matching_inputs.iter().map(Field::wire_name).collect();
                form.push(("RequireMatchingInputs", fields.join(",").into()));
            }
        }
        PaymentMethod::AchDebit { account_type, .. } => {
            form.push(("BankAccountType", account_type.as_str().into()));
            form.push(("SecurityCode", bool_text(false).into()));
            form.push(("PostalCode", bool_text(false).into()));
        }
    }
    form.extend(terms.timeout.map(|timeout| ("Timeout", timeout.seconds().to_string().into())));
    form.push(("Description", terms.wire_description(create.id).into()));
    form.extend(terms.wire_parameter(create.id).map(|json| ("Parameter", json.into())));
    form
}

fn bool_text(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

#[cfg(test)]
mod tests;
