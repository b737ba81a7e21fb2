//! What an operator writes who has somebody called, read and checked.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::members::{Members, RepeatedNameError};
use crate::payment::{self, BadTerms, contradicted_parameter};
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, has_card_number, is_number_of_a_card, json_has_card_number};
use crate::relay::twiml::{Attributes, is_xml};
use crate::session::{CALL_REFERENCE, RequestData};

/// The longest name of a property, and the longest reference or key, in bytes.
const MAX_NAME: usize = 128;

/// An order to call somebody.
pub(super) struct Order {
    pub(super) to: PhoneNumber,
    pub(super) reference: String,
    order: Option<String>,
    pub(super) context_key: Option<String>,
    pub(super) manifest_key: Option<String>,
    /// What Twilio hands back when the call connects: everything that is a text, a number or a boolean.
    pub(super) parameters: Attributes,
    /// Everything but the number.
    pub(super) data: RequestData,
}

/// Why an order is not carried out. Each is a sentence for the operator.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadOrder {
    #[error(
        "properties.phoneNumber must be a phone number in E.164 form: a plus sign, the country code and the number, such \
         as \"+15550001111\""
    )]
    PhoneNumber,
    #[error("properties.{0} must be a text of 1 to {MAX_NAME} bytes")]
    Text(&'static str),
    #[error("properties.{0} is there twice: send it once")]
    Twice(String),
    #[error("the name of a property must be a text of 1 to {MAX_NAME} bytes, without control characters")]
    Name,
    #[error("properties.{0} holds a character that cannot be sent on, such as a control character")]
    Character(String),
    #[error(
        "properties.{0} looks like a card number: card data must not come in here; the caller enters it on the keypad"
    )]
    CardNumber(String),
    #[error("the name of a property looks like a card number: card data must not come in here")]
    CardNumberAsName,
    #[error("properties.{0}")]
    Terms(#[from] BadTerms),
}

impl Order {
    /// Reads the properties of a call that pays by these settings, unless it says otherwise. A reference is made up where there
    /// is none.
    pub(super) fn read(properties: Members<Value>, payment: &payment::Settings) -> Result<Self, BadOrder> {
        let properties = properties.into_map().map_err(|RepeatedNameError(name)| BadOrder::Twice(name))?;
        let mut properties: Map<String, Value> = properties.into_iter().collect();
        let to = properties.remove("phoneNumber");
        let to = to.as_ref().and_then(Value::as_str).and_then(|text| text.parse().ok());
        let to: PhoneNumber = to.ok_or(BadOrder::PhoneNumber)?;
        // Some card numbers are as long as a phone number may be; no phone number begins as they do and is as long.
        if is_number_of_a_card(to.as_str()) {
            return Err(BadOrder::CardNumber("phoneNumber".to_owned()));
        }
        let reference = text(&properties, CALL_REFERENCE)?;
        let order = text(&properties, "orderReference")?;
        let context_key = text(&properties, "contextKey")?;
        let manifest_key = text(&properties, "manifestKey")?;
        // An amount comes as text: as a number it could have been rounded on its way here.
        text(&properties, "amountDue")?;
        let said = properties.iter().filter(|(_, value)| !value.is_null());
        let said = said.map(|(name, value)| (name.clone(), plain(value))).collect();
        if let Some(name) = contradicted_parameter(&said) {
            return Err(BadOrder::Twice(name.to_owned()));
        }
        payment.terms(&said)?;
        properties.iter().try_for_each(|(name, value)| check(name, value))?;

        let reference = reference.unwrap_or_else(|| Uuid::new_v4().to_string());
        properties.insert(CALL_REFERENCE.to_owned(), Value::String(reference.clone()));
        let parameters = properties.iter().filter_map(|(name, value)| Some((name.clone(), parameter(value)?)));
        let parameters = parameters.collect();
        let data = Private::new(Arc::from(Value::Object(properties).to_string()));
        Ok(Self { to, reference, order, context_key, manifest_key, parameters, data })
    }
}

impl Order {
    /// What the debt is called: `orderReference`, else `callReference`.
    pub(super) fn order_reference(&self) -> &str {
        self.order.as_deref().unwrap_or(&self.reference)
    }
}

/// A value as text: what it says, or its JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A property that has to be a text, if it is there.
fn text(properties: &Map<String, Value>, name: &'static str) -> Result<Option<String>, BadOrder> {
    match properties.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if (1..=MAX_NAME).contains(&text.len()) => Ok(Some(text.clone())),
        Some(_) => Err(BadOrder::Text(name)),
    }
}

fn check(name: &str, value: &Value) -> Result<(), BadOrder> {
    if !(1..=MAX_NAME).contains(&name.len()) || name.chars().any(|c| !is_xml(c) || c.is_control()) {
        return Err(BadOrder::Name);
    }
    if has_card_number(name) {
        return Err(BadOrder::CardNumberAsName);
    }
    if json_has_card_number(value) {
        return Err(BadOrder::CardNumber(name.to_owned()));
    }
    if value.as_str().is_some_and(|text| !text.chars().all(is_xml)) {
        return Err(BadOrder::Character(name.to_owned()));
    }
    Ok(())
}

/// What can stand in a `<Parameter>`.
fn parameter(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Nothing of what it is about.
impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Order")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{BadAmount, BadDue};
    use proptest::prelude::*;
    use serde_json::json;

    fn read(properties: &Value) -> Result<Order, BadOrder> {
        read_text(&properties.to_string())
    }

    fn read_text(properties: &str) -> Result<Order, BadOrder> {
        Order::read(serde_json::from_str(properties).unwrap(), &payment::Settings::sample())
    }

    #[test]
    fn an_order_becomes_parameters_and_data_without_the_number() {
        let order = read(&json!({
            "phoneNumber": "+15550100001", "callReference": "order-7", "contextKey": "PaymentContext",
            "amount": 25.5, "vip": true, "note": null, "items": [{"name": "Tea & cake"}],
        }))
        .unwrap();
        assert_eq!(format!("{order:?}"), "Order");
        assert_eq!((order.to.as_str(), order.reference.as_str()), ("+15550100001", "order-7"));
        assert_eq!((order.context_key.as_deref(), order.manifest_key), (Some("PaymentContext"), None));
        let mut parameters: Vec<_> = order.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        parameters.sort();
        assert_eq!(parameters, ["amount=25.5", "callReference=order-7", "contextKey=PaymentContext", "vip=true"]);
        let data: Value = serde_json::from_str(order.data.reveal()).unwrap();
        assert_eq!(data["items"][0]["name"], "Tea & cake");
        assert!(data.get("phoneNumber").is_none());
    }

    #[test]
    fn a_reference_is_made_up_where_there_is_none() {
        let order = read(&json!({"phoneNumber": "+15550100001"})).unwrap();
        assert!(order.reference.parse::<Uuid>().is_ok());
        assert_eq!(order.parameters, [("callReference".to_owned(), order.reference)]);
    }

    #[test]
    fn card_data_does_not_come_in_however_it_is_written() {
        for value in
            [json!("4242 4242 4242 4242"), json!(4_242_424_242_424_242_u64), json!({"a": ["x 4242-4242-4242-4242"]})]
        {
            let refused = read(&json!({"phoneNumber": "+15550100001", "note": value})).unwrap_err();
            assert_eq!(refused, BadOrder::CardNumber("note".to_owned()), "{value}");
            assert!(!refused.to_string().contains("4242"));
        }
        let called = read(&json!({"phoneNumber": "+378282246310005"})).unwrap_err();
        assert_eq!(called, BadOrder::CardNumber("phoneNumber".to_owned()));
        let named = read(&json!({"phoneNumber": "+15550100001", "4242424242424242": "note"})).unwrap_err();
        assert!(!named.to_string().contains("4242"), "{named}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (properties, why) in [
            (json!({}), BadOrder::PhoneNumber),
            (json!({"phoneNumber": "5550100001"}), BadOrder::PhoneNumber),
            (json!({"phoneNumber": 15_550_100_001_u64}), BadOrder::PhoneNumber),
            (json!({"phoneNumber": "+15550100001", "callReference": 7}), BadOrder::Text("callReference")),
            (json!({"phoneNumber": "+15550100001", "contextKey": ""}), BadOrder::Text("contextKey")),
            (json!({"phoneNumber": "+15550100001", "amountDue": 25.1}), BadOrder::Text("amountDue")),
            (
                json!({"phoneNumber": "+15550100001", "amountDue": "25,10"}),
                BadTerms::from(BadDue::Amount(BadAmount::NotDecimal)).into(),
            ),
            (json!({"phoneNumber": "+15550100001", "amountDue": "250000"}), BadTerms::from(BadDue::TooMuch).into()),
            (
                json!({"phoneNumber": "+15550100001", "amountDue": "25", "amount_due": "250"}),
                BadOrder::Twice("amountDue".to_owned()),
            ),
            (json!({"phoneNumber": "+15550100001", "amountDue": {"value": "25"}}), BadOrder::Text("amountDue")),
            (json!({"phoneNumber": "+15550100001", "amountDue": true}), BadOrder::Text("amountDue")),
            (json!({"phoneNumber": "+15550100001", "currency": "EUR"}), BadTerms::from(BadDue::CurrencyAlone).into()),
            (json!({"phoneNumber": "+15550100001", "a": "\u{1}"}), BadOrder::Character("a".to_owned())),
            (json!({"phoneNumber": "+15550100001", "": 1}), BadOrder::Name),
        ] {
            assert_eq!(read(&properties).unwrap_err(), why, "{properties}");
        }
    }

    #[test]
    fn a_property_that_is_there_twice_is_refused() {
        let refused =
            read_text(r#"{"phoneNumber": "+15550100001", "amountDue": "25", "amountDue": "250"}"#).unwrap_err();
        assert_eq!(refused, BadOrder::Twice("amountDue".to_owned()));
    }

    proptest! {
        #[test]
        fn no_properties_panic(text in ".{0,40}", name in ".{0,20}") {
            let _ = read(&json!({"phoneNumber": text}));
            let _ = read(&json!({"phoneNumber": "+15550100001", "callReference": text, name: text}));
        }
    }
}
