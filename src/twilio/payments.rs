//! The Payments subresource of a call: create a session, move it on. What became of it comes by status callback only.

use std::borrow::Cow;

use serde::Deserialize;

use super::client::Client;
use super::error::{Cause, Error};
use super::rest::Repeat;
use crate::payment::{Change, Create, Field, Method, Update};
use crate::sid::{CallSid, PaymentSid};

impl Client {
    /// Opens a payment session on the call, which must be in progress. Success means that Twilio accepted the request;
    /// its callback may be here before this answer is.
    pub async fn create_payment(&self, call: &CallSid, create: &Create) -> Result<PaymentSid, Error> {
        let mut form = vec![
            ("IdempotencyKey", Cow::from(create.key.as_str())),
            ("StatusCallback", Cow::from(&self.status_callback)),
        ];
        form.extend(terms(create));
        match create.charge {
            Some(amount) => {
                form.push(("ChargeAmount", amount.to_string().into()));
                form.push(("Currency", amount.currency().code().to_owned().into()));
            }
            None => form.push(("TokenType", create.terms.token_type.as_str().into())),
        }
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        let body = self.post(&["Calls", call.as_str(), "Payments.json"], &form, Repeat::Freely).await?;
        let created: Created = serde_json::from_slice(&body).map_err(|_| Error::Unknown(Cause::Unreadable))?;
        Ok(created.sid)
    }

    /// Asks the payment session to collect a field, to submit what was collected, or to throw it away. Success means
    /// that Twilio accepted the request, not that any of it happened.
    pub async fn update_payment(&self, call: &CallSid, update: &Update) -> Result<(), Error> {
        let change = match update.change {
            Change::Capture(field) => ("Capture", field.wire()),
            Change::Complete => ("Status", "complete"),
            Change::Cancel => ("Status", "cancel"),
        };
        let form = [("IdempotencyKey", update.key.as_str()), ("StatusCallback", &self.status_callback), change];
        let payment = format!("{}.json", update.sid);
        self.post(&["Calls", call.as_str(), "Payments", &payment], &form, Repeat::Freely).await?;
        Ok(())
    }
}

/// What is needed of the answer to a create; all else in it is known.
#[derive(Deserialize)]
struct Created {
    sid: PaymentSid,
}

/// What a create says of the terms, but for the amount.
fn terms(create: &Create) -> Vec<(&'static str, Cow<'_, str>)> {
    let terms = &create.terms;
    let mut form: Vec<(&str, Cow<'_, str>)> =
        vec![("PaymentConnector", Cow::from(&terms.connector)), ("PaymentMethod", terms.method.name().wire().into())];
    match &terms.method {
        Method::Card(card) => {
            // Twilio's own default is true for both, and `complete` fails for a field that was not asked for.
            form.push(("SecurityCode", word(card.security_code).into()));
            form.push(("PostalCode", word(card.postal_code).into()));
            form.extend(card.min_postal_code_length.map(|length| ("MinPostalCodeLength", length.to_string().into())));
            if !card.valid_types.is_empty() {
                let types: Vec<&str> = card.valid_types.iter().map(|card| card.wire()).collect();
                form.push(("ValidCardTypes", types.join(" ").into()));
            }
            if !card.matching.is_empty() {
                let fields: Vec<&str> = card.matching.iter().map(Field::wire).collect();
                form.push(("RequireMatchingInputs", fields.join(",").into()));
            }
        }
        Method::AchDebit { account_type, .. } => {
            form.push(("BankAccountType", account_type.wire().into()));
            form.push(("SecurityCode", word(false).into()));
            form.push(("PostalCode", word(false).into()));
        }
    }
    form.extend(terms.timeout.map(|timeout| ("Timeout", timeout.seconds().to_string().into())));
    form.push(("Description", terms.description(create.id).into()));
    form.extend(terms.parameter(create.id).map(|json| ("Parameter", json.into())));
    form
}

fn word(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

#[cfg(test)]
mod tests;
