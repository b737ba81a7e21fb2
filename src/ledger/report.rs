//! Lists of payments for people and spreadsheets, without tokens and callers.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::{Payment, PaymentState};
use crate::payment::Currency;
use crate::redact::escape_control_characters;

/// Payments as a table for a terminal, with the totals charged and refunded in each currency.
#[derive(Debug)]
pub struct PaymentsTable<'a>(pub &'a [Payment]);

/// Payments as CSV (RFC 4180), with a header line.
#[derive(Debug)]
pub struct PaymentsCsv<'a>(pub &'a [Payment]);

impl fmt::Display for PaymentsTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "no payments");
        }
        writeln!(
            f,
            "{:20}  {:9}  {:>14}  {:4}  {:36}  {:34}  {:20}  REFERENCE",
            "OPENED", "STATE", "AMOUNT", "CARD", "ID", "CALL", "CONFIRMATION"
        )?;
        for payment in self.0 {
            let line = format!(
                "{:20}  {:9}  {:>14}  {:4}  {:36}  {:34}  {:20}  {}",
                to_whole_seconds(payment.opened_at),
                payment.state,
                amount_text(payment),
                or_dash(payment.last4.as_deref()),
                payment.id,
                payment.call_sid.as_str(),
                or_dash(payment.confirmation_code.as_deref().or(payment.result.as_deref())),
                payment.call_reference.as_ref().map_or("", |reference| reference.reveal().as_str()),
            );
            // A reference must not contain terminal escapes or line breaks.
            writeln!(f, "{}", escape_control_characters(line.trim_end()))?;
        }
        let of = |state| self.0.iter().filter(move |payment| payment.state == state);
        let counts: Vec<String> = PaymentState::ALL
            .into_iter()
            .map(|state| (state, of(state).count()))
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        write!(f, "\n{}", counts.join(", "))?;
        let charged = of(PaymentState::Charged).filter_map(|payment| payment.amount);
        write_sums(f, "charged", charged.map(|amount| (amount.currency(), amount.minor())))?;
        let refunded = self.0.iter().filter_map(|payment| Some((payment.amount?.currency(), payment.refunded)));
        write_sums(f, "refunded", refunded.filter(|(_, minor)| *minor > 0))?;
        writeln!(f)
    }
}

/// Writes the sum of each currency.
fn write_sums(f: &mut fmt::Formatter<'_>, what: &str, amounts: impl Iterator<Item = (Currency, u64)>) -> fmt::Result {
    let mut sums: BTreeMap<String, (Currency, u64)> = BTreeMap::new();
    for (currency, minor) in amounts {
        sums.entry(currency.to_string()).or_insert((currency, 0)).1 += minor;
    }
    for (code, (currency, minor)) in sums {
        write!(f, "; {what} {} {code}", currency.format_minor(minor))?;
    }
    Ok(())
}

impl fmt::Display for PaymentsCsv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "id,state,opened_at,submitted_at,ended_at,call_sid,payment_sid,call_reference,description,amount,minor,currency,\
             method,last4,confirmation_code,profile_id,result,result_code,order_reference,live,refunded_minor,result_text\r"
        )?;
        for payment in self.0 {
            let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let amount = payment.amount;
            let fields = [
                payment.id.to_string(),
                payment.state.to_string(),
                payment.opened_at.to_string(),
                time(payment.submitted_at),
                time(payment.ended_at),
                payment.call_sid.to_string(),
                payment.payment_sid.as_ref().map(ToString::to_string).unwrap_or_default(),
                payment.call_reference.as_ref().map(|text| text.reveal().clone()).unwrap_or_default(),
                payment.description.as_ref().map(|text| text.reveal().clone()).unwrap_or_default(),
                amount.map(|amount| amount.to_string()).unwrap_or_default(),
                amount.map(|amount| amount.minor().to_string()).unwrap_or_default(),
                amount.map(|amount| amount.currency().to_string()).unwrap_or_default(),
                payment.method.clone(),
                text(&payment.last4),
                text(&payment.confirmation_code),
                text(&payment.profile_id),
                text(&payment.result),
                payment.result_code.map(|code| code.to_string()).unwrap_or_default(),
                payment.order_reference.as_ref().map(|text| text.reveal().clone()).unwrap_or_default(),
                payment.live.to_string(),
                payment.refunded.to_string(),
                text(&payment.result_text),
            ];
            writeln!(f, "{}\r", fields.map(|field| quote_csv_field(&field)).join(","))?;
        }
        Ok(())
    }
}

/// The amount to charge. Twilio does not report it for a session that this ledger did not create.
fn amount_text(payment: &Payment) -> String {
    match payment.amount {
        Some(amount) => format!("{amount:?}"),
        None if payment.state == PaymentState::Charged => "not known".to_owned(),
        None => "store a card".to_owned(),
    }
}

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

fn to_whole_seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// Escapes control characters, quotes a CSV field where needed, and marks a formula as text for spreadsheets with a
/// leading `'`.
fn quote_csv_field(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let field = escape_control_characters(field);
    let field = if formula { format!("'{field}") } else { field.into_owned() };
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_text_for_every_spreadsheet() {
        for (field, written) in [
            ("order-7", "order-7"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("two\nlines, \u{1b}[2J", "\"two\\nlines, \\u{1b}[2J\""),
        ] {
            assert_eq!(quote_csv_field(field), written);
        }
    }

    #[test]
    fn sums_have_the_decimals_of_their_currency() {}
}
