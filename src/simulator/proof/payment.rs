//! Payments: one that goes well, with everything entered on the keypad; and those into which a card number is misplaced.
//!
//! Expiry date, security code, postal code and payment token have twelve digits here: shorter ones stand everywhere by chance,
//! and finding them would mean nothing.

use std::collections::HashMap;

use anyhow::ensure;
use serde_json::json;

use super::attempt::Attempt;
use super::model::Reply;
use super::phone::Phone;
use super::way::Way;
use super::world::PATIENCE;
use crate::redact::CUT;
use crate::simulator::planted::Planted;

/// A payment that is open.
struct Opened {
    sid: String,
    /// What is to be entered, in order, as Twilio has it in `Required`.
    required: Vec<&'static str>,
    /// Twilio's requests before the one for a field.
    asked: usize,
}

/// The tool with which the model asks for a field.
fn tool(field: &str) -> &'static str {
    match field {
        "payment-card-number" => "capture-card",
        "expiration-date" => "capture-expiry-date",
        "security-code" => "capture-security-code",
        _ => "capture-postal-code",
    }
}

/// The caller wants to pay, and is asked for the card.
async fn opens(attempt: &Attempt<'_>, phone: &mut Phone<'_>) -> anyhow::Result<Opened> {
    let outside = &attempt.world.outside;
    let from = outside.count();
    let calls =
        [Reply::calls("start-capture", &json!({"chargeAmount": "0"})), Reply::calls("capture-card", &json!({}))];
    phone.says("I want to pay.", calls.into_iter().chain([Reply::words("Go ahead.")])).await?;
    let (created, asked) = outside.is_asked(from, PATIENCE, super::outside::Asked::is_new).await?;
    let is_card =
        |asked: &super::outside::Asked| asked.form.get("Capture").is_some_and(|field| field == "payment-card-number");
    outside.is_asked(asked, PATIENCE, is_card).await?;
    Ok(Opened { sid: created.payment, required: required(&created.form), asked })
}

fn required(form: &HashMap<String, String>) -> Vec<&'static str> {
    let is_on = |name: &str| form.get(name).is_none_or(|value| value == "true");
    let optional = [("SecurityCode", "security-code"), ("PostalCode", "postal-code")];
    let optional = optional.into_iter().filter(|(name, _)| is_on(name)).map(|(_, field)| field);
    ["payment-card-number", "expiration-date"].into_iter().chain(optional).collect()
}

/// Everything is entered as it should be, and Twilio masks what it masks. The keys reach the server too, which Twilio's
/// documentation does not rule out.
pub async fn succeeds(attempt: &mut Attempt<'_>, phone: &mut Phone<'_>) -> anyhow::Result<()> {
    let world = attempt.world;
    let Opened { sid, mut required, mut asked } = opens(attempt, phone).await?;
    let masked = format!("{}{}", "x".repeat(attempt.planted.number.len() - 4), last_four(&attempt.planted.number));
    while !required.is_empty() {
        let is_field = |asked: &super::outside::Asked| {
            asked.form.get("Capture").is_some_and(|field| required.contains(&field.as_str()))
        };
        let (request, next) = world.outside.is_asked(asked, PATIENCE, is_field).await?;
        asked = next;
        let field = request.form["Capture"].as_str();
        let entered = if field == "payment-card-number" { attempt.planted.number.clone() } else { attempt.secret() };
        phone.presses(&entered).await?;
        required.retain(|other| *other != field);
        let (name, value) = match field {
            "payment-card-number" => ("PaymentCardNumber", masked.as_str()),
            "expiration-date" => ("ExpirationDate", entered.as_str()),
            "security-code" => ("SecurityCode", "xxx"),
            _ => ("PaymentCardPostalCode", entered.as_str()),
        };
        let next = required.first().map_or("finish-capture", |field| tool(field));
        world.model.will([Reply::calls(next, &json!({})), Reply::words("Thank you.")]);
        let left = required.join(",");
        let entry = [("Capture", field), ("PartialResult", "false"), ("Required", &left), (name, value)];
        reports(attempt, &sid, &entry).await?;
        phone.hears().await?;
    }
    let is_complete = |asked: &super::outside::Asked| asked.form.get("Status").is_some_and(|it| it == "complete");
    world.outside.is_asked(asked, PATIENCE, is_complete).await?;
    let token = format!("tok_{}", attempt.secret());
    let result = [
        ("Result", "success"),
        ("PaymentToken", token.as_str()),
        ("PaymentCardNumber", &masked),
        ("PaymentCardType", "visa"),
    ];
    reports(attempt, &sid, &result).await?;
    world.outside.is_told(&token, PATIENCE).await?;
    phone.goes_on().await?;
    Ok(())
}

/// A card number gets where it should not while one is to be entered.
pub async fn is_disturbed(attempt: &Attempt<'_>, phone: &mut Phone<'_>) -> anyhow::Result<()> {
    let Opened { sid, .. } = opens(attempt, phone).await?;
    match attempt.way {
        Way::SpokenDuringACapture => phone.says(&attempt.planted.parts[0], []).await?,
        Way::KeyedDuringACapture => phone.presses(&attempt.planted.number).await?,
        _ => reports_unmasked(attempt, &sid).await?,
    }
    let shown = phone.goes_on().await?;
    ensure!(attempt.way != Way::SpokenDuringACapture || shown.contains(CUT), "nothing was cut from what was said");
    Ok(())
}

/// Twilio should mask what it reports; here it masks nothing, and uses the number for every word that it has.
async fn reports_unmasked(attempt: &Attempt<'_>, sid: &str) -> anyhow::Result<()> {
    let number = attempt.planted.number.as_str();
    let common = [("PaymentCardNumber", number), ("SecurityCode", number)];
    for more in [
        [("Capture", "payment-card-number"), ("PartialResult", "true"), ("BankAccountNumber", number), ("A", number)],
        [("Capture", number), ("Required", number), ("PaymentCardType", number), ("ChargeAmount", number)],
        [("Capture", "postal-code"), ("PaymentCardPostalCode", number), ("ExpirationDate", number), ("B", number)],
        [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", number), ("C", number)],
        [("Result", number), ("PayErrorCode", number), ("PaymentToken", number), ("PaymentError", number)],
    ] {
        reports(attempt, sid, &[&common[..], &more].concat()).await?;
    }
    Ok(())
}

async fn reports(attempt: &Attempt<'_>, sid: &str, more: &[(&str, &str)]) -> anyhow::Result<()> {
    let common = [("CallSid", attempt.call.as_str()), ("Sid", sid)];
    attempt.world.twilio_posts("/payment-status-callback", &[&common[..], more].concat()).await.map(drop)
}

fn last_four(number: &str) -> &str {
    number.get(number.len().saturating_sub(4)..).unwrap_or_default()
}

impl Attempt<'_> {
    /// Twelve digits that must not be found anywhere.
    fn secret(&mut self) -> String {
        let secret = self.digits(12);
        self.secrets.push(Planted { parts: vec![secret.clone()], number: secret.clone() });
        secret
    }
}
