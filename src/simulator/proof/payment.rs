//! The payments of the proof: one that succeeds, with everything entered on the keypad, and those during which a card
//! number reaches the server.
//!
//! Expiry date, security code, postal code and payment token have twelve digits here, because shorter ones occur in any
//! output by chance.

use std::collections::HashMap;

use anyhow::ensure;
use serde_json::json;

use super::case::ProofCase;
use super::harness::TIMEOUT;
use super::model::ModelReply;
use super::relay_client::RelayClient;
use super::vector::LeakVector;
use crate::redact::REDACTED;
use crate::simulator::proof::card_samples::CardSample;

/// An open payment.
struct OpenPayment {
    sid: String,
    /// The fields to enter, in order, by the names that Twilio uses in `Required`.
    required_fields: Vec<&'static str>,
    /// The number of the next payment request to wait for.
    next_request: usize,
}

/// The tool that captures a field.
fn tool_for_field(field: &str) -> &'static str {
    match field {
        "payment-card-number" => "capture-card",
        "expiration-date" => "capture-expiry-date",
        "security-code" => "capture-security-code",
        _ => "capture-postal-code",
    }
}

/// Opens a payment and waits until the card number is requested.
async fn open_payment(case: &ProofCase<'_>, client: &mut RelayClient<'_>) -> anyhow::Result<OpenPayment> {
    let stand_ins = &case.harness.stand_ins;
    let from = stand_ins.request_count();
    let calls = [
        ModelReply::tool_call("start-capture", &json!({"chargeAmount": "0"})),
        ModelReply::tool_call("capture-card", &json!({})),
    ];
    client.say("I want to pay.", calls.into_iter().chain([ModelReply::from_words("Go ahead.")])).await?;
    let (created, next_request) =
        stand_ins.wait_for_request(from, TIMEOUT, super::stand_ins::TwilioRequest::is_create).await?;
    let is_card = |request: &super::stand_ins::TwilioRequest| {
        request.form.get("Capture").is_some_and(|field| field == "payment-card-number")
    };
    stand_ins.wait_for_request(next_request, TIMEOUT, is_card).await?;
    Ok(OpenPayment { sid: created.payment_sid, required_fields: required_fields(&created.form), next_request })
}

fn required_fields(form: &HashMap<String, String>) -> Vec<&'static str> {
    let is_on = |name: &str| form.get(name).is_none_or(|value| value == "true");
    let optional = [("SecurityCode", "security-code"), ("PostalCode", "postal-code")];
    let optional = optional.into_iter().filter(|(name, _)| is_on(name)).map(|(_, field)| field);
    ["payment-card-number", "expiration-date"].into_iter().chain(optional).collect()
}

/// Runs a payment that succeeds, with the callbacks masked as Twilio masks them. The DTMF frames are sent to the server
/// too, which Twilio's documentation does not rule out.
pub async fn run_successful_payment(case: &mut ProofCase<'_>, client: &mut RelayClient<'_>) -> anyhow::Result<()> {
    let harness = case.harness;
    let OpenPayment { sid, mut required_fields, mut next_request } = open_payment(case, client).await?;
    let masked = format!("{}{}", "x".repeat(case.sample.number.len() - 4), last_four(&case.sample.number));
    while !required_fields.is_empty() {
        let is_field = |request: &super::stand_ins::TwilioRequest| {
            request.form.get("Capture").is_some_and(|field| required_fields.contains(&field.as_str()))
        };
        let (request, next) = harness.stand_ins.wait_for_request(next_request, TIMEOUT, is_field).await?;
        next_request = next;
        let field = request.form["Capture"].as_str();
        let entered = if field == "payment-card-number" { case.sample.number.clone() } else { case.new_secret() };
        client.press_keys(&entered).await?;
        required_fields.retain(|other| *other != field);
        let (name, value) = match field {
            "payment-card-number" => ("PaymentCardNumber", masked.as_str()),
            "expiration-date" => ("ExpirationDate", entered.as_str()),
            "security-code" => ("SecurityCode", "xxx"),
            _ => ("PaymentCardPostalCode", entered.as_str()),
        };
        let next = required_fields.first().map_or("finish-capture", |field| tool_for_field(field));
        harness.model.set_replies([ModelReply::tool_call(next, &json!({})), ModelReply::from_words("Thank you.")]);
        let remaining = required_fields.join(",");
        let entry = [("Capture", field), ("PartialResult", "false"), ("Required", &remaining), (name, value)];
        report(case, &sid, &entry).await?;
        client.wait_for_speech().await?;
    }
    let is_complete =
        |request: &super::stand_ins::TwilioRequest| request.form.get("Status").is_some_and(|it| it == "complete");
    harness.stand_ins.wait_for_request(next_request, TIMEOUT, is_complete).await?;
    let token = format!("tok_{}", case.new_secret());
    let result = [
        ("Result", "success"),
        ("PaymentToken", token.as_str()),
        ("PaymentCardNumber", &masked),
        ("PaymentCardType", "visa"),
    ];
    report(case, &sid, &result).await?;
    harness.stand_ins.wait_for_token(&token, TIMEOUT).await?;
    client.run_probe_turn().await?;
    Ok(())
}

/// Sends the card number to the server by another way than the keypad while the card is to be entered.
pub async fn run_disturbed_payment(case: &ProofCase<'_>, client: &mut RelayClient<'_>) -> anyhow::Result<()> {
    let OpenPayment { sid, .. } = open_payment(case, client).await?;
    match case.vector {
        LeakVector::SpokenDuringACapture => client.say(&case.sample.parts[0], []).await?,
        LeakVector::KeyedDuringACapture => client.press_keys(&case.sample.number).await?,
        _ => report_unmasked(case, &sid).await?,
    }
    let shown = client.run_probe_turn().await?;
    ensure!(
        case.vector != LeakVector::SpokenDuringACapture || shown.contains(REDACTED),
        "nothing was redacted from the caller's speech"
    );
    Ok(())
}

/// Posts callbacks in which no field is masked and the card number is the value of every field.
async fn report_unmasked(case: &ProofCase<'_>, sid: &str) -> anyhow::Result<()> {
    let number = case.sample.number.as_str();
    let common = [("PaymentCardNumber", number), ("SecurityCode", number)];
    for more in [
        [("Capture", "payment-card-number"), ("PartialResult", "true"), ("BankAccountNumber", number), ("A", number)],
        [("Capture", number), ("Required", number), ("PaymentCardType", number), ("ChargeAmount", number)],
        [("Capture", "postal-code"), ("PaymentCardPostalCode", number), ("ExpirationDate", number), ("B", number)],
        [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", number), ("C", number)],
        [("Result", number), ("PayErrorCode", number), ("PaymentToken", number), ("PaymentError", number)],
    ] {
        report(case, sid, &[&common[..], &more].concat()).await?;
    }
    Ok(())
}

async fn report(case: &ProofCase<'_>, sid: &str, more: &[(&str, &str)]) -> anyhow::Result<()> {
    let common = [("CallSid", case.call_sid.as_str()), ("Sid", sid)];
    case.harness.post_as_twilio("/payment-status-callback", &[&common[..], more].concat()).await.map(drop)
}

fn last_four(number: &str) -> &str {
    number.get(number.len().saturating_sub(4)..).unwrap_or_default()
}

impl ProofCase<'_> {
    /// Generates twelve digits that must not occur in any output.
    fn new_secret(&mut self) -> String {
        let secret = self.random_digits(12);
        self.secrets.push(CardSample { parts: vec![secret.clone()], number: secret.clone() });
        secret
    }
}
