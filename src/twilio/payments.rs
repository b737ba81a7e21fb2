//! The Payments subresource of a call: create a session, move it on. What became of it comes by status callback only.

use serde::Deserialize;

use super::client::Client;
use super::error::{Cause, Error};
use super::rest::Repeat;
use crate::payment::{Change, Create, Update};
use crate::sid::{CallSid, PaymentSid};

impl Client {
    /// Opens a payment session on the call, which must be in progress. Success means that Twilio accepted the request;
    /// its callback may be here before this answer is.
    pub async fn create_payment(&self, call: &CallSid, create: &Create) -> Result<PaymentSid, Error> {
        let settings = &self.settings;
        let charge = create.charge.map(|amount| (amount.to_string(), amount.currency()));
        let mut form = vec![
            ("IdempotencyKey", create.key.as_str()),
            ("StatusCallback", &self.status_callback),
            ("PaymentConnector", &settings.connector),
            ("PaymentMethod", "credit-card"),
            // Twilio's own default is true for both, and `complete` fails for a field that was not asked for.
            ("SecurityCode", word(settings.security_code)),
            ("PostalCode", word(settings.postal_code)),
        ];
        match &charge {
            Some((amount, currency)) => form.extend([("ChargeAmount", amount.as_str()), ("Currency", currency.code())]),
            None => form.push(("TokenType", settings.token_type.as_str())),
        }
        if let Some(description) = &create.description {
            form.push(("Description", description.reveal()));
        }
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

fn word(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

#[cfg(test)]
mod tests;
