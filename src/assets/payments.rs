//! `Payments` of `serverConfig.json`: when a payment stands still, and what Twilio is told of every payment.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::json::{seconds, text, whole};
use super::limits::Limits;
use super::relay::Text;
use super::texts::Languages;
use crate::call;
use crate::payment::{
    self, BankAccountType, CardType, Description, Field, IdParameter, MATCHING, MethodName, Options, OrderRules,
    Timeout,
};

/// The section.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Payments {
    #[serde(deserialize_with = "seconds::<1, 3600, _>")]
    pub(super) stall_seconds: Duration,
    flow: Flow,
    confirm: Confirm,
    texts: Languages,
    #[serde(rename = "Limits")]
    limits: Limits,
    pay_again: bool,
    #[serde(deserialize_with = "whole::<0, 10_080, _>")]
    same_again_minutes: u32,
    #[serde(deserialize_with = "word")]
    method: MethodName,
    #[serde(deserialize_with = "word")]
    bank_account_type: BankAccountType,
    valid_card_types: Vec<Card>,
    #[serde(deserialize_with = "from_one::<20, _>")]
    min_postal_code_length: Option<u32>,
    require_matching_inputs: Vec<Matching>,
    #[serde(deserialize_with = "from_one::<600, _>")]
    timeout: Option<u32>,
    #[serde(deserialize_with = "some_word")]
    description: Option<Description>,
    parameters: Parameters,
    #[serde(deserialize_with = "some_word")]
    id_parameter: Option<IdParameter>,
    /// `dtmf` is all that Twilio takes, and what it takes without a word.
    #[serde(rename = "input", deserialize_with = "dtmf")]
    _input: (),
}

/// Who leads through a payment.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
enum Flow {
    #[default]
    Assistant,
    Guided,
}

/// Which amounts the server asks the caller for a yes to.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
enum Confirm {
    /// Those that do not come from the business.
    #[default]
    UnlessDue,
    /// All.
    Always,
}

impl Default for Payments {
    fn default() -> Self {
        Self {
            stall_seconds: Duration::from_secs(60),
            flow: Flow::default(),
            confirm: Confirm::default(),
            texts: Languages::default(),
            limits: Limits::default(),
            pay_again: OrderRules::default().pay_again,
            same_again_minutes: OrderRules::default().same_again_minutes,
            method: MethodName::default(),
            bank_account_type: BankAccountType::default(),
            valid_card_types: Vec::new(),
            min_postal_code_length: None,
            require_matching_inputs: Vec::new(),
            timeout: None,
            description: None,
            parameters: Parameters::default(),
            id_parameter: None,
            _input: (),
        }
    }
}

impl Payments {
    /// What the server says by itself.
    pub(super) fn texts(&self) -> call::Guide {
        call::Guide::new(self.texts.0.clone())
    }

    /// Whether the server leads through a payment by itself.
    pub(super) fn is_guided(&self) -> bool {
        matches!(self.flow, Flow::Guided)
    }

    /// Whether the server asks for a yes to amounts that are due, too.
    pub(super) fn confirms_due(&self) -> bool {
        matches!(self.confirm, Confirm::Always)
    }

    /// How much is let through, and which payments are one debt.
    pub(super) fn limits(self) -> payment::Limits {
        let orders = OrderRules { pay_again: self.pay_again, same_again_minutes: self.same_again_minutes };
        payment::Limits { orders, ..self.limits.read() }
    }

    /// What Twilio is told.
    pub(super) fn options(&self) -> Options {
        Options {
            method: self.method,
            bank_account_type: self.bank_account_type,
            valid_card_types: self.valid_card_types.iter().map(|Card(card)| *card).collect(),
            min_postal_code_length: self.min_postal_code_length.and_then(|length| u8::try_from(length).ok()),
            matching: self.require_matching_inputs.iter().map(|Matching(field)| *field).collect(),
            timeout: self.timeout.and_then(Timeout::from_seconds),
            description: self.description.clone(),
            parameters: self.parameters.0.clone(),
            id_parameter: self.id_parameter.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Card(#[serde(deserialize_with = "word")] CardType);

#[derive(Deserialize)]
#[serde(transparent)]
struct Matching(#[serde(deserialize_with = "matching")] Field);

/// One word of a vocabulary.
fn word<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(json: D) -> Result<T, D::Error> {
    text(json, "a word", |word| word.parse().map_err(|bad: T::Err| bad.to_string()))
}

fn some_word<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(json: D) -> Result<Option<T>, D::Error> {
    word(json).map(Some)
}

fn matching<'de, D: Deserializer<'de>>(json: D) -> Result<Field, D::Error> {
    text(json, "a field of a card", |word| payment::matching(word).ok_or_else(|| MATCHING.to_owned()))
}

fn dtmf<'de, D: Deserializer<'de>>(json: D) -> Result<(), D::Error> {
    text(json, "dtmf", |word| if word == "dtmf" { Ok(()) } else { Err("must be dtmf".to_owned()) })
}

/// A whole number from 1 to `MAX`.
fn from_one<'de, const MAX: u32, D: Deserializer<'de>>(json: D) -> Result<Option<u32>, D::Error> {
    whole::<1, MAX, D>(json).map(Some)
}

/// A JSON object of one level: texts, numbers and booleans, which go to the processor as texts.
#[derive(Default)]
struct Parameters(payment::Parameters);

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, Text>::deserialize(json)?;
        let values = values.into_iter().map(|(name, Text(value))| (name, value)).collect();
        let too_long = || de::Error::custom("expected at most 50 parameters of at most 1,000 bytes, each with a name");
        payment::Parameters::new(values).map(Self).ok_or_else(too_long)
    }
}
