//! A callback as it is left for another server: what a call has to hear of it, and nothing of a card.

use serde::{Deserialize, Serialize};

use super::{CallbackDigest, CallbackDigester, PaymentCallback};
use crate::redact::redact_card_numbers;

/// The fields whose values are kept. Of all others is kept that they have one.
const KEPT: [&str; 16] = [
    "CallSid",
    "Sid",
    "DateUpdated",
    "Required",
    "Capture",
    "PartialResult",
    "ErrorType",
    "Result",
    "PayErrorCode",
    "PaymentError",
    "ConnectorError",
    "PaymentConfirmationCode",
    "ProfileId",
    "PaymentCardType",
    "ChargeAmount",
    "Currency",
];

/// The fields whose masks show the last digits.
const MASKED: [&str; 2] = ["PaymentCardNumber", "BankAccountNumber"];

/// The value of a field that has one which is not kept.
const PRESENT: &str = "x";

#[derive(Serialize, Deserialize)]
struct LeftCallback {
    /// The digest of the callback as it came, by which a repeated one is recognised.
    digest: String,
    form: Vec<(String, String)>,
}

/// Writes a callback, which came as this form, for another server.
pub(crate) fn write_left_callback(callback: &PaymentCallback, form: &[(String, String)]) -> String {
    let kept = |(name, value): &(String, String)| {
        let is_kept = KEPT.contains(&&**name) || name.to_ascii_lowercase().starts_with("payconnector");
        let value = match callback.last4 {
            _ if value.trim().is_empty() => String::new(),
            Some(last4) if MASKED.contains(&&**name) => format!("xxxxxxxx{last4}"),
            _ if is_kept => redact_card_numbers(value).into_owned(),
            _ => PRESENT.to_owned(),
        };
        (name.clone(), value)
    };
    let left = LeftCallback { digest: callback.digest.to_string(), form: form.iter().map(kept).collect() };
    serde_json::to_string(&left).expect("texts always serialise")
}

/// Reads a callback that another server has written. `None` if another version wrote it otherwise.
pub(crate) fn read_left_callback(text: &str, digester: &CallbackDigester) -> Option<PaymentCallback> {
    let left: LeftCallback = serde_json::from_str(text).ok()?;
    let digest: CallbackDigest = left.digest.parse().ok()?;
    let callback = PaymentCallback::from_form(&left.form, digester).ok()?;
    Some(PaymentCallback { digest, ..callback })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digester() -> CallbackDigester {
        CallbackDigester::new(&"12345".into())
    }

    fn form(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let sids = [("CallSid", "CA1"), ("Sid", "PK1")];
        sids.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_call_hears_the_same_of_a_callback_that_was_left_for_it() {
        for fields in [
            &[][..],
            &[
                ("Capture", "payment-card-number"),
                ("PartialResult", "false"),
                ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
            ],
            &[("Capture", "expiration-date"), ("PartialResult", "false"), ("ExpirationDate", "1228"), ("Required", "")],
            &[("Capture", "security-code"), ("PartialResult", "false"), ("SecurityCode", "xxx")],
            &[
                ("Capture", "postal-code"),
                ("ErrorType", "invalid-postal-code"),
                ("DateUpdated", "2026-11-28T01:02:03Z"),
            ],
            &[("Result", "success"), ("PaymentConfirmationCode", "ch_1"), ("ChargeAmount", "25.00")],
            &[("Result", "success"), ("PaymentToken", "tok_1"), ("ProfileId", "p1")],
            &[("Result", "payment-connector-error"), ("PayErrorCode", "64008"), ("PayConnector_status", "declined")],
        ] {
            let form = form(fields);
            let callback = PaymentCallback::from_form(&form, &digester()).unwrap();
            let left = read_left_callback(&write_left_callback(&callback, &form), &digester()).unwrap();
            let heard = |callback: &PaymentCallback| {
                let PaymentCallback { required, charge_amount, card_type, last4, date_updated, .. } = callback;
                format!("{:?}", (&callback.kind, required, charge_amount, card_type, last4, date_updated))
            };
            assert_eq!(heard(&left), heard(&callback));
            assert!(left.digest == callback.digest);
        }
    }

    #[test]
    fn nothing_of_a_card_is_left() {
        let form = form(&[
            ("Capture", "payment-card-number"),
            ("PaymentCardNumber", "4242424242424242"),
            ("SecurityCode", "987"),
            ("ExpirationDate", "1228"),
            ("PaymentCardPostalCode", "94105"),
            ("BankRoutingNumber", "110000000"),
            ("PaymentToken", "tok_hush"),
            ("PaymentError", "card 4242 4242 4242 4242 was refused"),
            ("Anything", "else-hush"),
        ]);
        let callback = PaymentCallback::from_form(&form, &digester()).unwrap();
        let written = write_left_callback(&callback, &form);
        for secret in ["424242", "4242 4242", "987", "1228", "94105", "110000000", "hush"] {
            let without_digest = written.split_once("form").unwrap().1;
            assert!(!without_digest.contains(secret), "{secret}: {written}");
        }
    }
}
