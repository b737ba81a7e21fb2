//! How this server takes payments, as far as it is the same for all calls.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use super::method::{BadWord, BankAccountType, CardType, MethodName};
use super::terms::AVS_NAME;
use super::{ChargeLimits, Currency, Fields, MaxDue};
use crate::members::Members;
use crate::redact::{Private, without_card_numbers};

/// What every payment of this server has in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The unique name of the Pay connector; not its `PC…` SID.
    pub connector: String,
    /// What amounts are in.
    pub currency: Currency,
    /// What may be charged on a call that does not say what is due.
    pub limits: ChargeLimits,
    /// The most that a call may bring as due.
    pub max_due: MaxDue,
    /// Whether a call that does not say what is due takes no payment: `CALL_PARAMETERS=required`.
    pub due_required: bool,
    /// What a payment without an amount leaves behind.
    pub token_type: TokenType,
    /// Whether the security code of a card is asked for.
    pub security_code: bool,
    /// Whether the postal code of a card's holder is asked for.
    pub postal_code: bool,
    /// What a call may choose otherwise.
    pub options: Options,
}

#[cfg(test)]
impl Settings {
    /// Cards, in US dollars, 0.50 to 1000.00 of them, with a security code and without a postal code.
    pub(crate) fn sample() -> Self {
        let dollars = |text| super::Amount::parse(text, Currency::USD).unwrap().unwrap();
        Self {
            connector: "Default".to_owned(),
            currency: Currency::USD,
            limits: ChargeLimits::new(dollars("0.50"), dollars("1000")).unwrap(),
            max_due: MaxDue::new("10000".parse().unwrap()),
            due_required: false,
            token_type: TokenType::OneTime,
            security_code: true,
            postal_code: false,
            options: Options::default(),
        }
    }

    /// What a call pays by that says nothing.
    pub(crate) fn sample_terms() -> std::sync::Arc<super::Terms> {
        std::sync::Arc::new(Self::sample().terms(&BTreeMap::new()).unwrap())
    }
}

/// `Payments` of serverConfig.json, as far as Twilio is told of it. The parameters of a call go before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `method`
    pub method: MethodName,
    /// `bankAccountType`
    pub bank_account_type: BankAccountType,
    /// `validCardTypes`; none: those that Twilio takes by itself.
    pub valid_card_types: Vec<CardType>,
    /// `minPostalCodeLength`: 1 to 20 digits.
    pub min_postal_code_length: Option<u8>,
    /// `requireMatchingInputs`: the fields of a card that are entered twice.
    pub matching: Fields,
    /// `timeout`; without one Twilio waits for 5 s.
    pub timeout: Option<Timeout>,
    /// `description`
    pub description: Option<Description>,
    /// `parameters`
    pub parameters: Parameters,
    /// `idParameter`; without one the id stands in `Description` alone.
    pub id_parameter: Option<IdParameter>,
}

/// The name of the member of `Parameter` that tells the payment processor the id of the payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdParameter(String);

impl IdParameter {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdParameter {
    type Err = BadWord;

    fn from_str(name: &str) -> Result<Self, BadWord> {
        let fits =
            (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let is_free = !name.eq_ignore_ascii_case(AVS_NAME);
        (fits && is_free)
            .then(|| Self(name.to_owned()))
            .ok_or(BadWord("a name of 1 to 64 letters, digits, dots, dashes and underscores, and not AVSName"))
    }
}

/// The longest `Description`, in characters.
pub(super) const MAX_DESCRIPTION: usize = 512;

/// `Timeout`: how many seconds the caller may let pass between two digits, 1 to 600.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(u16);

impl Timeout {
    /// A time from 1 to 600 s.
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        u16::try_from(seconds).ok().filter(|seconds| (1..=600).contains(seconds)).map(Self)
    }

    /// The seconds.
    pub fn seconds(self) -> u16 {
        self.0
    }
}

/// `Description`: what the payment is for, as the processor is to show it. At most 512 characters, no card number in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description(Private<String>);

impl Description {
    /// The text, for the one who has to send it.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl FromStr for Description {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let text = text.trim();
        let fits = (1..=MAX_DESCRIPTION).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && without_card_numbers(text) == text;
        fits.then(|| Self(Private::new(text.to_owned())))
            .ok_or(BadWord("a text of 1 to 512 characters without a card number"))
    }
}

/// `Parameter`: names and texts for the payment processor, a JSON object of one level. `Debug` prints nothing of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(Private<BTreeMap<String, String>>);

/// How many parameters there may be.
const MAX_PARAMETERS: usize = 50;

/// The longest name and the longest value of a parameter, in bytes.
const MAX_PARAMETER: usize = 1_000;

impl Parameters {
    /// Parameters with these names and values; none if there are too many, or one is too long or without a name.
    pub fn new(values: BTreeMap<String, String>) -> Option<Self> {
        let fits = |(name, value): (&String, &String)| {
            (1..=MAX_PARAMETER).contains(&name.len()) && value.len() <= MAX_PARAMETER
        };
        (values.len() <= MAX_PARAMETERS && values.iter().all(fits)).then(|| Self(Private::new(values)))
    }

    /// Parameters from a JSON object whose members are texts, numbers and booleans; all become texts.
    pub fn from_json(json: &str) -> Option<Self> {
        let text = |(name, value)| match value {
            Value::String(text) => Some((name, text)),
            Value::Number(_) | Value::Bool(_) => Some((name, value.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let members: Members<Value> = serde_json::from_str(json).ok()?;
        Self::new(members.into_map().ok()?.into_iter().map(text).collect::<Option<_>>()?)
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.reveal().get(name).map(String::as_str)
    }

    /// All but one.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        let mut all = self.0.into_inner();
        all.remove(name);
        Self(Private::new(all))
    }

    /// Sets parameters, in place of those of the same names.
    #[must_use]
    pub fn with(self, values: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut all = self.0.into_inner();
        all.extend(values);
        Self(Private::new(all))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.reveal().is_empty()
    }

    /// The names and values, for the one who has to send them.
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
    /// A payment method of the processor's own (Stripe only).
    PaymentMethod,
}

impl TokenType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneTime => "one-time",
            Self::Reusable => "reusable",
            Self::PaymentMethod => "payment-method",
        }
    }
}

/// A text that is none of the token types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one-time, reusable or payment-method")]
pub struct BadTokenType;

impl FromStr for TokenType {
    type Err = BadTokenType;

    fn from_str(text: &str) -> Result<Self, BadTokenType> {
        [Self::OneTime, Self::Reusable, Self::PaymentMethod]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(BadTokenType)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_twilios_or_narrower() {
        assert_eq!(Timeout::from_seconds(600).map(Timeout::seconds), Some(600));
        assert!(Timeout::from_seconds(0).is_none() && Timeout::from_seconds(601).is_none());
        assert_eq!(" Invoice 1042 ".parse::<Description>().unwrap().reveal(), "Invoice 1042");
        assert!("".parse::<Description>().is_err() && "4242 4242 4242 4242".parse::<Description>().is_err());
        assert!(Parameters::new(BTreeMap::from([(String::new(), "x".to_owned())])).is_none());
        for json in ["", "[]", "{\"a\":1,\"a\":2}", "{\"a\":{}}", "{\"a\":null}", "{\"\":1}"] {
            assert!(Parameters::from_json(json).is_none(), "{json}");
        }
        assert!(Parameters::new((0..51).map(|n| (n.to_string(), String::new())).collect()).is_none());
    }

    #[test]
    fn what_goes_to_the_processor_is_not_shown() {
        let parameters = Parameters::default().with([("MerchantAccountId".to_owned(), "hush".to_owned())]);
        assert_eq!(parameters.get("MerchantAccountId"), Some("hush"));
        assert!(!format!("{parameters:?}").contains("hush"));
    }
}
