//! The payments of the proof: one that succeeds, with everything entered on the keypad, and those during which a card
//! number reaches the server.
//!
//! Expiry date, security code, postal code and payment token have twelve digits here, because shorter ones occur in any
//! output by chance.

use anyhow::ensure;
use reqwest::StatusCode;

use super::call::ProofCall;
use super::case::ProofCase;
use super::harness::TIMEOUT;
use super::vector::LeakVector;
use crate::redact::REDACTED;
use crate::simulator::card_samples::CardSample;
use crate::simulator::{ModelReply, PaymentsRequest, TwilioRequest, TwilioRequestKind};

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
async fn open_payment(case: &ProofCase<'_>, call: &mut ProofCall<'_>) -> anyhow::Result<OpenPayment> {
    let twilio = &case.harness.twilio;
    let from = twilio.requests().len();
    let calls = [
        ModelReply::ToolCall("start-capture".into(), r#"{"chargeAmount":"0"}"#.into()),
        ModelReply::tool_call("capture-card", "{}"),
    ];
    call.say("I want to pay.", calls.into_iter().chain([ModelReply::text("Go ahead.")])).await?;
    let is_create = |request: &TwilioRequest| request.kind == TwilioRequestKind::Payments(PaymentsRequest::Create);
    let (created, next_request) = twilio.wait_for_request(from, is_create).await?;
    let is_card = |request: &TwilioRequest| request.field("Capture") == Some("payment-card-number");
    twilio.wait_for_request(next_request, is_card).await?;
    Ok(OpenPayment { required_fields: required_fields(&created), sid: created.sid, next_request })
}

fn required_fields(create: &TwilioRequest) -> Vec<&'static str> {
    let is_on = |name: &str| create.field(name).is_none_or(|value| value == "true");
    let optional = [("SecurityCode", "security-code"), ("PostalCode", "postal-code")];
    let optional = optional.into_iter().filter(|(name, _)| is_on(name)).map(|(_, field)| field);
    ["payment-card-number", "expiration-date"].into_iter().chain(optional).collect()
}

/// Runs a payment that succeeds, with the callbacks masked as Twilio masks them. The DTMF frames are sent to the server
/// too, which Twilio's documentation does not rule out.
pub(super) async fn run_successful_payment(case: &mut ProofCase<'_>, call: &mut ProofCall<'_>) -> anyhow::Result<()> {
    let harness = case.harness;
    let OpenPayment { sid, mut required_fields, mut next_request } = open_payment(case, call).await?;
    let masked = format!("{}{}", "x".repeat(case.sample.number.len() - 4), last_four(&case.sample.number));
    while !required_fields.is_empty() {
        let is_field =
            |request: &TwilioRequest| request.field("Capture").is_some_and(|field| required_fields.contains(&field));
        let (request, next) = harness.twilio.wait_for_request(next_request, is_field).await?;
        next_request = next;
        let field = request.field("Capture").unwrap_or_default();
        let entered = if field == "payment-card-number" { case.sample.number.clone() } else { case.new_secret() };
        call.client.press_keys(&entered).await?;
        required_fields.retain(|other| *other != field);
        let (name, value) = match field {
            "payment-card-number" => ("PaymentCardNumber", masked.as_str()),
            "expiration-date" => ("ExpirationDate", entered.as_str()),
            "security-code" => ("SecurityCode", "xxx"),
            _ => ("PaymentCardPostalCode", entered.as_str()),
        };
        let next = required_fields.first().map_or("finish-capture", |field| tool_for_field(field));
        harness.model.set_replies([ModelReply::tool_call(next, "{}"), ModelReply::text("Thank you.")]);
        let remaining = required_fields.join(",");
        let entry = [("Capture", field), ("PartialResult", "false"), ("Required", &remaining), (name, value)];
        report(case, &sid, &entry).await?;
        call.client.wait_for_speech().await?;
    }
    let is_complete = |request: &TwilioRequest| request.field("Status") == Some("complete");
    harness.twilio.wait_for_request(next_request, is_complete).await?;
    let token = format!("tok_{}", case.new_secret());
    let result = [
        ("Result", "success"),
        ("PaymentToken", token.as_str()),
        ("PaymentCardNumber", &masked),
        ("PaymentCardType", "visa"),
    ];
    report(case, &sid, &result).await?;
    harness.business.wait_for_token(&token, TIMEOUT).await?;
    call.run_probe_turn().await?;
    Ok(())
}

/// Sends the card number to the server by another way than the keypad while the card is to be entered.
pub(super) async fn run_disturbed_payment(case: &ProofCase<'_>, call: &mut ProofCall<'_>) -> anyhow::Result<()> {
    let OpenPayment { sid, .. } = open_payment(case, call).await?;
    match case.vector {
        LeakVector::SpokenDuringACapture | LeakVector::SpokenAmongWordsDuringACapture => {
            call.say(&case.sample.parts[0], []).await?;
        }
        LeakVector::KeyedDuringACapture => call.client.press_keys(&case.sample.number).await?,
        _ => report_unmasked(case, &sid).await?,
    }
    let shown = call.run_probe_turn().await?;
    let is_spoken =
        matches!(case.vector, LeakVector::SpokenDuringACapture | LeakVector::SpokenAmongWordsDuringACapture);
    ensure!(!is_spoken || shown.contains(REDACTED), "nothing was redacted from the caller's speech");
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
    let result = [("Result", "success"), ("PaymentConfirmationCode", number), ("ProfileId", number)];
    report(case, sid, &[&common[..], &result].concat()).await?;
    // A card number is no SID.
    for (path, form) in [
        ("/payment-status-callback", [("CallSid", case.call_sid.as_str()), ("Sid", number)]),
        ("/payment-status-callback", [("CallSid", number), ("Sid", sid)]),
        ("/connectConversationRelay", [("CallSid", number), ("From", number)]),
        ("/twilioStatusCallback", [("CallSid", number), ("CallStatus", number)]),
    ] {
        let (status, _) = case.harness.send_as_twilio(path, &form).await?;
        ensure!(status == StatusCode::BAD_REQUEST, "{path} returned {status} for a SID that is a card number");
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
