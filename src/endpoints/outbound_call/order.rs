//! Parses and validates the order for an outbound call.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::call::{CONTEXT_PARAMETERS, MANIFEST_PARAMETERS};
use crate::calling_rules::{CallConsent, ParseConsentError};
use crate::json_members::{DuplicateMemberError, JsonMembers};
use crate::payment::{self, PaymentTermsError, find_contradicted_parameter};
use crate::phone_number::{PhoneNumber, is_emergency_number};
use crate::redact::{Private, has_card_number, is_card_number_of_known_brand, json_has_card_number};
use crate::relay::twiml::{Attributes, is_xml_char};
use crate::session::{CALL_REFERENCE, OutboundCallData};

/// The longest property name, reference or key, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// A validated order for an outbound call.
pub(super) struct OutboundOrder {
    pub(super) to: PhoneNumber,
    pub(super) call_reference: String,
    explicit_order_reference: Option<String>,
    pub(super) context_key: Option<String>,
    pub(super) manifest_key: Option<String>,
    /// The string, number and boolean properties. Twilio returns them as custom parameters when the call connects.
    pub(super) parameters: Attributes,
    /// `timeZone`: that of the person who is called, as a name of the IANA database.
    pub(super) time_zone: Option<String>,
    /// `consent`: on what the person is called.
    pub(super) consent: Option<CallConsent>,
    /// All properties except the phone number and the consent.
    pub(super) data: OutboundCallData,
}

/// Why an order is invalid. The message is for the operator.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseOrderError {
    #[error(
        "properties.phoneNumber must be a phone number in E.164 form: a plus sign, the country code and the number, such \
         as \"+15550001111\""
    )]
    PhoneNumber,
    #[error("properties.phoneNumber is an emergency number, which is never called")]
    EmergencyNumber,
    #[error("properties.{0} must be a string of 1 to {MAX_NAME_BYTES} bytes")]
    InvalidText(&'static str),
    #[error("properties.{0} is given twice: send it once")]
    Repeated(String),
    #[error("the name of a property must be a string of 1 to {MAX_NAME_BYTES} bytes, without control characters")]
    InvalidName,
    #[error("properties.{0} contains a character that is not allowed, such as a control character")]
    InvalidCharacter(String),
    #[error(
        "properties.{0} looks like a card number: card data is not accepted here; the caller enters it on the keypad"
    )]
    CardNumber(String),
    #[error(
        "the properties together look like a card number in parts: card data is not accepted here; the caller enters it on \
         the keypad"
    )]
    CardNumberInParts,
    #[error("the name of a property looks like a card number: card data is not accepted here")]
    CardNumberAsName,
    #[error(transparent)]
    Consent(#[from] ParseConsentError),
    #[error("properties.{0}")]
    Terms(#[from] PaymentTermsError),
}

impl OutboundOrder {
    /// Parses the properties of an order; `payment` supplies the defaults of payment parameters. A missing
    /// `callReference` is generated. A consent was given before `now`.
    pub(super) fn parse(
        properties: JsonMembers<Value>,
        payment: &payment::PaymentSettings,
        now: Timestamp,
    ) -> Result<Self, ParseOrderError> {
        let properties = properties.into_map().map_err(|DuplicateMemberError(name)| ParseOrderError::Repeated(name))?;
        let mut properties: Map<String, Value> = properties.into_iter().collect();
        let to = parse_phone_number(properties.remove("phoneNumber").as_ref())?;
        // Some card numbers fit the E.164 length; no phone number has their prefix and length.
        if is_card_number_of_known_brand(to.as_str()) {
            return Err(ParseOrderError::CardNumber("phoneNumber".to_owned()));
        }
        let call_reference = optional_text(&properties, CALL_REFERENCE)?;
        let explicit_order_reference = optional_text(&properties, "orderReference")?;
        let context_key = take_key(&mut properties, CONTEXT_PARAMETERS)?;
        let manifest_key = take_key(&mut properties, MANIFEST_PARAMETERS)?;
        // An amount must be a string: a JSON number may have been rounded by the client.
        optional_text(&properties, "amountDue")?;
        let values = properties.iter().filter(|(_, value)| !value.is_null());
        let values = values.map(|(name, value)| (name.clone(), to_text(value))).collect();
        if let Some(name) = find_contradicted_parameter(&values) {
            return Err(ParseOrderError::Repeated(name.to_owned()));
        }
        payment.parse_terms(&values)?;
        properties.iter().try_for_each(|(name, value)| check_property(name, value))?;
        let properties = Value::Object(properties);
        if json_has_card_number(&properties) {
            return Err(ParseOrderError::CardNumberInParts);
        }
        let Value::Object(mut properties) = properties else { return Err(ParseOrderError::InvalidName) };
        let time_zone = optional_text(&properties, "timeZone")?;
        let consent = properties.remove("consent").filter(|consent| !consent.is_null());
        let consent = consent.map(|consent| CallConsent::parse(&consent, now)).transpose()?;

        let call_reference = call_reference.unwrap_or_else(|| Uuid::new_v4().to_string());
        properties.insert(CALL_REFERENCE.to_owned(), Value::String(call_reference.clone()));
        let parameters = properties.iter().filter_map(|(name, value)| Some((name.clone(), to_parameter(value)?)));
        let parameters = parameters.collect();
        let data = Private::new(Arc::from(Value::Object(properties).to_string()));
        Ok(Self {
            to,
            call_reference,
            explicit_order_reference,
            context_key,
            manifest_key,
            parameters,
            time_zone,
            consent,
            data,
        })
    }
}

impl OutboundOrder {
    /// Returns the reference of the debt: `orderReference`, else `callReference`.
    pub(super) fn order_reference(&self) -> &str {
        self.explicit_order_reference.as_deref().unwrap_or(&self.call_reference)
    }
}

fn parse_phone_number(value: Option<&Value>) -> Result<PhoneNumber, ParseOrderError> {
    let text = value.and_then(Value::as_str).unwrap_or_default();
    if is_emergency_number(text) {
        return Err(ParseOrderError::EmergencyNumber);
    }
    text.parse().map_err(|_| ParseOrderError::PhoneNumber)
}

/// Returns a string unchanged, and any other value as JSON text.
fn to_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns an optional property that must be a string of 1 to [`MAX_NAME_BYTES`] bytes.
fn optional_text(properties: &Map<String, Value>, name: &'static str) -> Result<Option<String>, ParseOrderError> {
    match properties.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if (1..=MAX_NAME_BYTES).contains(&text.len()) => Ok(Some(text.clone())),
        Some(_) => Err(ParseOrderError::InvalidText(name)),
    }
}

/// Returns the key of an asset, given under either of these names, and leaves it in the properties under the first one.
fn take_key(
    properties: &mut Map<String, Value>,
    [name, alias]: [&'static str; 2],
) -> Result<Option<String>, ParseOrderError> {
    let key = match optional_text(properties, name)? {
        Some(key) => Some(key),
        None => optional_text(properties, alias)?,
    };
    properties.remove(alias);
    if let Some(key) = &key {
        properties.insert(name.to_owned(), Value::String(key.clone()));
    }
    Ok(key)
}

fn check_property(name: &str, value: &Value) -> Result<(), ParseOrderError> {
    if !(1..=MAX_NAME_BYTES).contains(&name.len()) || name.chars().any(|c| !is_xml_char(c) || c.is_control()) {
        return Err(ParseOrderError::InvalidName);
    }
    if has_card_number(name) {
        return Err(ParseOrderError::CardNumberAsName);
    }
    if json_has_card_number(value) {
        return Err(ParseOrderError::CardNumber(name.to_owned()));
    }
    if value.as_str().is_some_and(|text| !text.chars().all(is_xml_char)) {
        return Err(ParseOrderError::InvalidCharacter(name.to_owned()));
    }
    Ok(())
}

/// Returns the value for a `<Parameter>`; `None` if it is not a string, number or boolean.
fn to_parameter(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Shows no content.
impl fmt::Debug for OutboundOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutboundOrder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{AmountDueError, ParseAmountError};
    use proptest::prelude::*;
    use serde_json::json;

    fn read(properties: &Value) -> Result<OutboundOrder, ParseOrderError> {
        read_text(&properties.to_string())
    }

    fn read_text(properties: &str) -> Result<OutboundOrder, ParseOrderError> {
        let now = "2026-11-28T12:00:00Z".parse().unwrap();
        OutboundOrder::parse(serde_json::from_str(properties).unwrap(), &payment::PaymentSettings::sample(), now)
    }

    #[test]
    fn an_order_gives_parameters_and_data_without_the_phone_number() {
        let order = read(&json!({
            "phoneNumber": "+15550100001", "callReference": "order-7", "contextKey": "PaymentContext",
            "amount": 25.5, "vip": true, "note": null, "items": [{"name": "Tea & cake"}],
        }))
        .unwrap();
        assert_eq!(format!("{order:?}"), "OutboundOrder");
        assert_eq!((order.to.as_str(), order.call_reference.as_str()), ("+15550100001", "order-7"));
        assert_eq!((order.context_key.as_deref(), order.manifest_key), (Some("PaymentContext"), None));
        let mut parameters: Vec<_> = order.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        parameters.sort();
        assert_eq!(parameters, ["amount=25.5", "callReference=order-7", "contextKey=PaymentContext", "vip=true"]);
        let data: Value = serde_json::from_str(order.data.reveal()).unwrap();
        assert_eq!(data["items"][0]["name"], "Tea & cake");
        assert!(data.get("phoneNumber").is_none());
    }

    #[test]
    fn the_consent_is_not_for_the_agent() {
        let consent = json!({"kind": "web-form", "at": "2026-11-01T09:30:00Z", "reference": "form-17"});
        let order =
            read(&json!({"phoneNumber": "+15550100001", "timeZone": "America/New_York", "consent": consent})).unwrap();
        assert_eq!(order.time_zone.as_deref(), Some("America/New_York"));
        assert_eq!(order.consent.unwrap().kind, "web-form");
        assert!(!order.data.reveal().contains("form-17"), "{}", order.data.reveal());
        let wrong = read(&json!({"phoneNumber": "+15550100001", "consent": true})).unwrap_err();
        assert_eq!(wrong, ParseConsentError.into());
        let card = json!({"kind": "x", "at": "2026-11-01T09:30:00Z", "reference": "4242 4242 4242 4242"});
        let error = read(&json!({"phoneNumber": "+15550100001", "consent": card})).unwrap_err();
        assert_eq!(error, ParseOrderError::CardNumber("consent".to_owned()));
    }

    #[test]
    fn a_missing_reference_is_generated() {
        let order = read(&json!({"phoneNumber": "+15550100001"})).unwrap();
        assert!(order.call_reference.parse::<Uuid>().is_ok());
        assert_eq!(order.parameters, [("callReference".to_owned(), order.call_reference)]);
    }

    #[test]
    fn card_data_does_not_come_in_however_it_is_written() {
        for value in
            [json!("4242 4242 4242 4242"), json!(4_242_424_242_424_242_u64), json!({"a": ["x 4242-4242-4242-4242"]})]
        {
            let error = read(&json!({"phoneNumber": "+15550100001", "note": value})).unwrap_err();
            assert_eq!(error, ParseOrderError::CardNumber("note".to_owned()), "{value}");
            assert!(!error.to_string().contains("4242"));
        }
        for parts in [
            json!({"first": "4242 4242", "second": "4242 4242"}),
            json!({"a": "it is 4242", "b": "then 4242", "c": "4242", "d": "and 4242 at last"}),
        ] {
            let mut properties = parts;
            properties["phoneNumber"] = json!("+15550100001");
            assert_eq!(read(&properties).unwrap_err(), ParseOrderError::CardNumberInParts, "{properties}");
        }
        for note in
            [json!("4242a4242b4242c4242"), json!({"n1": 4242, "n2": "4242", "n3": [4242], "n4": "ends with 4242"})]
        {
            let within = read(&json!({"phoneNumber": "+15550100001", "note": note})).unwrap_err();
            assert_eq!(within, ParseOrderError::CardNumber("note".to_owned()));
        }
        let called = read(&json!({"phoneNumber": "+378282246310005"})).unwrap_err();
        assert_eq!(called, ParseOrderError::CardNumber("phoneNumber".to_owned()));
        let named = read(&json!({"phoneNumber": "+15550100001", "4242424242424242": "note"})).unwrap_err();
        assert!(!named.to_string().contains("4242"), "{named}");
    }

    #[test]
    fn ordinary_numbers_beside_each_other_come_in() {
        for properties in [
            json!({"phoneNumber": "+15550100001", "orderReference": "42424242", "customerPhone": "42424242"}),
            json!({"phoneNumber": "+15550100001", "callReference": "4242424242", "orderReference": "424243", "zip": "42424"}),
            json!({"phoneNumber": "+15550100001", "items": [{"id": 4242, "n": 1}, {"id": 4242, "n": 2}, {"id": 4242}, {"id": 4242}]}),
            json!({"phoneNumber": "+15550100001", "dueDate": "2026-12-01", "invoice": "4242", "year": 4242, "amountDue": "42.42"}),
        ] {
            assert!(read(&properties).is_ok(), "{properties}");
        }
    }

    #[test]
    fn the_error_names_the_invalid_property() {
        for (properties, why) in [
            (json!({}), ParseOrderError::PhoneNumber),
            (json!({"phoneNumber": "911"}), ParseOrderError::EmergencyNumber),
            (json!({"phoneNumber": "+1911"}), ParseOrderError::EmergencyNumber),
            (json!({"phoneNumber": "5550100001"}), ParseOrderError::PhoneNumber),
            (json!({"phoneNumber": 15_550_100_001_u64}), ParseOrderError::PhoneNumber),
            (json!({"phoneNumber": "+15550100001", "callReference": 7}), ParseOrderError::InvalidText("callReference")),
            (json!({"phoneNumber": "+15550100001", "contextKey": ""}), ParseOrderError::InvalidText("contextKey")),
            (json!({"phoneNumber": "+15550100001", "amountDue": 25.1}), ParseOrderError::InvalidText("amountDue")),
            (
                json!({"phoneNumber": "+15550100001", "amountDue": "25,10"}),
                PaymentTermsError::from(AmountDueError::Amount(ParseAmountError::NotDecimal)).into(),
            ),
            (
                json!({"phoneNumber": "+15550100001", "amountDue": "250000"}),
                PaymentTermsError::from(AmountDueError::AboveMaxDue).into(),
            ),
            (
                json!({"phoneNumber": "+15550100001", "amountDue": "25", "amount_due": "250"}),
                ParseOrderError::Repeated("amountDue".to_owned()),
            ),
            (
                json!({"phoneNumber": "+15550100001", "amountDue": {"value": "25"}}),
                ParseOrderError::InvalidText("amountDue"),
            ),
            (json!({"phoneNumber": "+15550100001", "amountDue": true}), ParseOrderError::InvalidText("amountDue")),
            (
                json!({"phoneNumber": "+15550100001", "currency": "EUR"}),
                PaymentTermsError::from(AmountDueError::CurrencyWithoutAmount).into(),
            ),
            (json!({"phoneNumber": "+15550100001", "a": "\u{1}"}), ParseOrderError::InvalidCharacter("a".to_owned())),
            (json!({"phoneNumber": "+15550100001", "": 1}), ParseOrderError::InvalidName),
        ] {
            assert_eq!(read(&properties).unwrap_err(), why, "{properties}");
        }
    }

    #[test]
    fn a_repeated_property_is_rejected() {
        let error = read_text(r#"{"phoneNumber": "+15550100001", "amountDue": "25", "amountDue": "250"}"#).unwrap_err();
        assert_eq!(error, ParseOrderError::Repeated("amountDue".to_owned()));
    }

    proptest! {
        #[test]
        fn no_properties_panic(text in ".{0,40}", name in ".{0,20}") {
            let _ = read(&json!({"phoneNumber": text}));
            let _ = read(&json!({"phoneNumber": "+15550100001", "callReference": text, name: text}));
        }
    }
}
