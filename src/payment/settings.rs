//! The payment settings of the server, which are the same for all calls.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use super::method::AVS_NAME;
use super::method::{BankAccountType, CardType, ParseValueError, PaymentMethodName};
use super::{ChargeLimits, Currency, Fields, MaxDue};
use crate::json_members::JsonMembers;
use crate::redact::{Private, redact_card_numbers};

/// The payment settings of the server.
#[derive(Debug, Clone)]
pub struct PaymentSettings {
    /// The unique name of the Pay connector; not its `PC…` SID.
    pub connector: String,
    /// The currency of amounts.
    pub currency: Currency,
    /// The limits on a charge on a call without an `amountDue`.
    pub charge_limits: ChargeLimits,
    /// The maximum `amountDue` of a call.
    pub max_due: MaxDue,
    /// `CALL_PARAMETERS=required`: whether a call without an `amountDue` takes no payment.
    pub due_required: bool,
    /// The type of token that a payment without an amount creates.
    pub token_type: TokenType,
    /// Whether the security code of a card is captured.
    pub security_code: bool,
    /// Whether the postal code of the cardholder is captured.
    pub postal_code: bool,
    /// Defaults that call parameters override.
    pub options: PaymentOptions,
}

#[cfg(test)]
impl PaymentSettings {
    /// Sample settings: cards in US dollars, from 0.50 to 1000.00, with a security code and without a postal code.
    pub(crate) fn sample() -> Self {
        let dollars = |text| super::Amount::parse(text, Currency::USD).unwrap().unwrap();
        Self {
            connector: "Default".to_owned(),
            currency: Currency::USD,
            charge_limits: ChargeLimits::new(dollars("0.50"), dollars("1000")).unwrap(),
            max_due: MaxDue::new("10000".parse().unwrap()),
            due_required: false,
            token_type: TokenType::OneTime,
            security_code: true,
            postal_code: false,
            options: PaymentOptions::default(),
        }
    }

    /// The terms of a call without parameters.
    pub(crate) fn sample_terms() -> std::sync::Arc<super::PaymentTerms> {
        std::sync::Arc::new(Self::sample().parse_terms(&BTreeMap::new()).unwrap())
    }
}

/// `Payments` of serverConfig.json, as far as it is sent to Twilio. Call parameters override it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentOptions {
    /// `method`
    pub method: PaymentMethodName,
    /// `bankAccountType`
    pub bank_account_type: BankAccountType,
    /// `validCardTypes`; empty: Twilio's default.
    pub valid_card_types: Vec<CardType>,
    /// `minPostalCodeLength`: 1 to 20 digits.
    pub min_postal_code_length: Option<u8>,
    /// `requireMatchingInputs`: the fields of a card that are entered twice.
    pub matching_inputs: Fields,
    /// `timeout`; `None`: Twilio's default of 5 s.
    pub timeout: Option<PaymentTimeout>,
    /// `description`
    pub description: Option<PaymentDescription>,
    /// `parameters`
    pub parameters: ProcessorParameters,
    /// `idParameter`; `None`: the payment id is sent in `Description` only.
    pub id_parameter: Option<IdParameter>,
}

/// The name of the member of `Parameter` that sends the payment id to the payment processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdParameter(String);

impl IdParameter {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdParameter {
    type Err = ParseValueError;

    fn from_str(name: &str) -> Result<Self, ParseValueError> {
        let fits =
            (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let is_free = !name.eq_ignore_ascii_case(AVS_NAME);
        (fits && is_free)
            .then(|| Self(name.to_owned()))
            .ok_or(ParseValueError("a name of 1 to 64 letters, digits, dots, dashes and underscores, and not AVSName"))
    }
}

/// The longest `Description`, in characters.
pub(super) const MAX_DESCRIPTION: usize = 512;

/// `Timeout`: the maximum time between two digits, 1 to 600 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentTimeout(u16);

impl PaymentTimeout {
    /// A timeout of 1 to 600 seconds; `None` outside that range.
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        u16::try_from(seconds).ok().filter(|seconds| (1..=600).contains(seconds)).map(Self)
    }

    /// The seconds.
    pub fn seconds(self) -> u16 {
        self.0
    }
}

/// `Description`: the purpose of the payment, as the processor shows it. At most 512 characters, without card numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentDescription(Private<String>);

impl PaymentDescription {
    /// The text in clear, for the request to Twilio.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl FromStr for PaymentDescription {
    type Err = ParseValueError;

    fn from_str(text: &str) -> Result<Self, ParseValueError> {
        let text = text.trim();
        let fits = (1..=MAX_DESCRIPTION).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && redact_card_numbers(text) == text;
        fits.then(|| Self(Private::new(text.to_owned())))
            .ok_or(ParseValueError("a text of 1 to 512 characters without a card number"))
    }
}

/// `Parameter`: names and texts for the payment processor, a flat JSON object. `Debug` does not print them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessorParameters(Private<BTreeMap<String, String>>);

/// The maximum number of parameters.
const MAX_PARAMETERS: usize = 50;

/// The longest name and the longest value of a parameter, in bytes.
const MAX_PARAMETER_BYTES: usize = 1_000;

impl ProcessorParameters {
    /// Parameters with these names and values; `None` if there are too many, or one is too long or has no name.
    pub fn new(values: BTreeMap<String, String>) -> Option<Self> {
        let fits = |(name, value): (&String, &String)| {
            (1..=MAX_PARAMETER_BYTES).contains(&name.len()) && value.len() <= MAX_PARAMETER_BYTES
        };
        (values.len() <= MAX_PARAMETERS && values.iter().all(fits)).then(|| Self(Private::new(values)))
    }

    /// Parses a JSON object whose members are strings, numbers and booleans. All values become strings.
    pub fn from_json(json: &str) -> Option<Self> {
        let text = |(name, value)| match value {
            Value::String(text) => Some((name, text)),
            Value::Number(_) | Value::Bool(_) => Some((name, value.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let members: JsonMembers<Value> = serde_json::from_str(json).ok()?;
        Self::new(members.into_map().ok()?.into_iter().map(text).collect::<Option<_>>()?)
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.reveal().get(name).map(String::as_str)
    }

    /// Removes a parameter.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        let mut all = self.0.into_inner();
        all.remove(name);
        Self(Private::new(all))
    }

    /// Sets parameters, replacing those with the same names.
    #[must_use]
    pub fn with(self, values: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut all = self.0.into_inner();
        all.extend(values);
        Self(Private::new(all))
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.0.reveal().is_empty()
    }

    /// The names and values in clear, for the request to Twilio.
    pub fn reveal(&self) -> &BTreeMap<String, String> {
        self.0.reveal()
    }
}

/// `TokenType` of a payment that stores a card instead of charging it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// Good for one charge.
    OneTime,
    /// Good for any number of charges.
    Reusable,
    /// A payment method of the processor (Stripe only).
    PaymentMethod,
}

impl TokenType {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneTime => "one-time",
            Self::Reusable => "reusable",
            Self::PaymentMethod => "payment-method",
        }
    }
}

/// The text is not a token type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one-time, reusable or payment-method")]
pub struct ParseTokenTypeError;

impl FromStr for TokenType {
    type Err = ParseTokenTypeError;

    fn from_str(text: &str) -> Result<Self, ParseTokenTypeError> {
        [Self::OneTime, Self::Reusable, Self::PaymentMethod]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(ParseTokenTypeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_twilios_or_narrower() {
        assert_eq!(PaymentTimeout::from_seconds(600).map(PaymentTimeout::seconds), Some(600));
        assert!(PaymentTimeout::from_seconds(0).is_none() && PaymentTimeout::from_seconds(601).is_none());
        assert_eq!(" Invoice 1042 ".parse::<PaymentDescription>().unwrap().reveal(), "Invoice 1042");
        assert!(
            "".parse::<PaymentDescription>().is_err() && "4242 4242 4242 4242".parse::<PaymentDescription>().is_err()
        );
        assert!(ProcessorParameters::new(BTreeMap::from([(String::new(), "x".to_owned())])).is_none());
        for json in ["", "[]", "{\"a\":1,\"a\":2}", "{\"a\":{}}", "{\"a\":null}", "{\"\":1}"] {
            assert!(ProcessorParameters::from_json(json).is_none(), "{json}");
        }
        assert!(ProcessorParameters::new((0..51).map(|n| (n.to_string(), String::new())).collect()).is_none());
    }

    #[test]
    fn debug_does_not_print_processor_parameters() {
        let parameters = ProcessorParameters::default().with([("MerchantAccountId".to_owned(), "hush".to_owned())]);
        assert_eq!(parameters.get("MerchantAccountId"), Some("hush"));
        assert!(!format!("{parameters:?}").contains("hush"));
    }
}
