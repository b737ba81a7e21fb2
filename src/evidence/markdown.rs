//! Evidence as Markdown for people.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::describe::{describe_attestation, describe_state};
use super::report::PaymentEvidence;
use crate::redact::escape_control_characters;

/// How every document begins.
pub(super) const TITLE: &str = "# Evidence of payment ";

impl PaymentEvidence {
    /// Returns the whole evidence as Markdown.
    pub(super) fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write_markdown(&mut text);
        text
    }

    fn write_markdown(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "{TITLE}{}\n", self.id)?;
        writeln!(
            text,
            "All that the ledger has about this payment, at {}. Times are UTC. The ledger never contains a card number, an expiry \
             date, a security code or a postal code; payment tokens are left out.\n",
            self.written_at
        )?;
        let written_by = format!("crelay-payments {}, by {}", self.version, code(&self.command));
        write_table(text, &[("written with", written_by), ("ledger", escape(&self.ledger))])?;
        self.write_payment(text)?;
        self.write_call(text)?;
        self.write_chronology(text)?;
        self.write_webhook_events(text)
    }

    fn write_payment(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## What was paid\n")?;
        let member = |name: &str| show(&self.payment[name]);
        let amount = match (&self.payment["amount"], &self.payment["currency"]) {
            (Value::String(amount), Value::String(currency)) => format!("{} {}", escape(amount), escape(currency)),
            _ => "none: the card or account was to be stored, or the amount is not known".to_owned(),
        };
        let is_live = self.payment["live"] == Value::Bool(true);
        write_table(
            text,
            &[
                ("amount", amount),
                ("state", format!("{}: {}", self.state, describe_state(self.state))),
                ("mode", if is_live { "live: real money" } else { "test: no real money" }.to_owned()),
                ("method", member("method")),
                ("last digits", member("last4")),
                ("confirmation code of the processor", member("confirmationCode")),
                ("refunded, in minor units", member("refundedMinor")),
                ("reference of the order", member("orderReference")),
                ("reference of the call", member("callReference")),
                ("description", member("description")),
                ("Twilio's payment session", member("paymentSid")),
                ("Twilio's result", member("result")),
                ("error code", member("resultCode")),
                ("error text", member("resultText")),
                ("profile of the stored card", member("profileId")),
                ("opened", member("openedAt")),
                ("submitted", member("submittedAt")),
                ("ended", member("endedAt")),
            ],
        )
    }

    fn write_call(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## The call\n")?;
        let call = &self.call;
        let unknown = || "not in the ledger".to_owned();
        let attestation = call.attestation.as_deref().map(|name| escape(&describe_attestation(name)));
        write_table(
            text,
            &[
                ("call SID", escape(&call.call_sid)),
                ("direction", call.direction.as_deref().map_or_else(unknown, escape)),
                ("caller's number", call.caller.as_deref().map_or_else(unknown, escape)),
                ("attestation of the number (STIR/SHAKEN)", attestation.unwrap_or_else(unknown)),
            ],
        )
    }

    fn write_chronology(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "## Chronology\n\nThe statements are those of the whole call. The SHA-256 is that of the text as it was spoken.\n"
        )?;
        writeln!(text, "| time | what happened |\n| --- | --- |")?;
        for entry in &self.chronology {
            let hash = entry.sha256.as_ref().map(|hash| format!(" SHA-256 `{hash}`.")).unwrap_or_default();
            writeln!(text, "| {} | {}{hash} |", entry.at, escape(&entry.words))?;
        }
        text.write_char('\n')
    }

    fn write_webhook_events(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "## What the business was told\n")?;
        if self.webhook_events.is_empty() {
            return writeln!(text, "Nothing: no event about this payment was written.\n");
        }
        writeln!(
            text,
            "| event | id | written | accepted by the business | failed attempts |\n| --- | --- | --- | --- | ---: |"
        )?;
        for told in &self.webhook_events {
            let kind = match &told.event["type"] {
                Value::String(kind) => escape(kind),
                _ => show(&told.event["state"]),
            };
            let accepted = told.accepted_at.map_or_else(|| "not yet".to_owned(), |at| at.to_string());
            let (id, written) = (show(&told.event["eventId"]), told.written_at);
            writeln!(text, "| {kind} | {id} | {written} | {accepted} | {} |", told.failed_attempts)?;
        }
        text.write_char('\n')
    }
}

/// Writes a table of names and values. A value that is empty is left out.
fn write_table(text: &mut String, rows: &[(&str, String)]) -> fmt::Result {
    writeln!(text, "| | |\n| --- | --- |")?;
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(text, "| {name} | {value} |")?;
    }
    text.write_char('\n')
}

/// A text or a number of the JSON for a cell; empty if there is none.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// Escapes a text so that Markdown shows it as it is, on one line.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in escape_control_characters(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' | '~') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A text as inline code.
fn code(text: &str) -> String {
    format!("`{}`", escape_control_characters(text).replace('`', "'").replace('|', "\\|"))
}
