//! `Payments` of `serverConfig.json`: the stall timeout, the guided flow, the limits, and the options of every payment
//! request.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::limits::LimitsSection;
use super::relay::ScalarText;
use super::texts::TextsByLanguage;
use crate::assets::de::{seconds, text, whole};
use crate::call;
use crate::payment::{
    self, BankAccountType, CardType, EXPECTED_MATCHING_INPUT, Field, IdParameter, OrderRules, PaymentDescription,
    PaymentMethodName, PaymentOptions, PaymentTimeout,
};

/// The section `Payments`.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::assets) struct PaymentsSection {
    #[serde(deserialize_with = "seconds::<1, 3600, _>")]
    pub(in crate::assets) stall_seconds: Duration,
    flow: PaymentFlow,
    confirm: AmountConfirmation,
    texts: TextsByLanguage,
    #[serde(rename = "Limits")]
    limits: LimitsSection,
    pay_again: bool,
    #[serde(deserialize_with = "whole::<0, 10_080, _>")]
    same_again_minutes: u32,
    #[serde(deserialize_with = "from_str")]
    method: PaymentMethodName,
    #[serde(deserialize_with = "from_str")]
    bank_account_type: BankAccountType,
    valid_card_types: Vec<CardTypeValue>,
    #[serde(deserialize_with = "positive::<20, _>")]
    min_postal_code_length: Option<u32>,
    require_matching_inputs: Vec<MatchingInput>,
    #[serde(deserialize_with = "positive::<600, _>")]
    timeout: Option<u32>,
    #[serde(deserialize_with = "optional_from_str")]
    description: Option<PaymentDescription>,
    parameters: ProcessorParametersValue,
    #[serde(deserialize_with = "optional_from_str")]
    id_parameter: Option<IdParameter>,
    /// `dtmf` is the only input that Twilio supports, and its default.
    #[serde(rename = "input", deserialize_with = "dtmf")]
    _input: (),
}

/// Whether the model or the server asks for the payment fields.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
enum PaymentFlow {
    #[default]
    Assistant,
    Guided,
}

/// Which amounts the caller has to confirm to the server.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
enum AmountConfirmation {
    /// Amounts that do not come from the business.
    #[default]
    UnlessDue,
    /// All amounts.
    Always,
}

impl Default for PaymentsSection {
    fn default() -> Self {
        Self {
            stall_seconds: Duration::from_secs(60),
            flow: PaymentFlow::default(),
            confirm: AmountConfirmation::default(),
            texts: TextsByLanguage::default(),
            limits: LimitsSection::default(),
            pay_again: OrderRules::default().pay_again,
            same_again_minutes: OrderRules::default().same_again_minutes,
            method: PaymentMethodName::default(),
            bank_account_type: BankAccountType::default(),
            valid_card_types: Vec::new(),
            min_postal_code_length: None,
            require_matching_inputs: Vec::new(),
            timeout: None,
            description: None,
            parameters: ProcessorParametersValue::default(),
            id_parameter: None,
            _input: (),
        }
    }
}

impl PaymentsSection {
    /// The texts that the server speaks itself.
    pub(in crate::assets) fn texts(&self) -> call::LocalizedTexts {
        call::LocalizedTexts::new(self.texts.0.clone())
    }

    /// Whether the server, not the model, asks for the payment fields.
    pub(in crate::assets) fn is_guided(&self) -> bool {
        matches!(self.flow, PaymentFlow::Guided)
    }

    /// Whether the caller has to confirm amounts due, too.
    pub(in crate::assets) fn confirms_due(&self) -> bool {
        matches!(self.confirm, AmountConfirmation::Always)
    }

    /// Converts the section into velocity limits and duplicate-payment rules.
    pub(in crate::assets) fn into_limits(self) -> payment::VelocityLimits {
        let orders = OrderRules { pay_again: self.pay_again, same_again_minutes: self.same_again_minutes };
        payment::VelocityLimits { orders, ..self.limits.into_limits() }
    }

    /// Converts the section into the options of a payment request.
    pub(in crate::assets) fn to_options(&self) -> PaymentOptions {
        PaymentOptions {
            method: self.method,
            bank_account_type: self.bank_account_type,
            valid_card_types: self.valid_card_types.iter().map(|CardTypeValue(card)| *card).collect(),
            min_postal_code_length: self.min_postal_code_length.and_then(|length| u8::try_from(length).ok()),
            matching_inputs: self.require_matching_inputs.iter().map(|MatchingInput(field)| *field).collect(),
            timeout: self.timeout.and_then(PaymentTimeout::from_seconds),
            description: self.description.clone(),
            parameters: self.parameters.0.clone(),
            id_parameter: self.id_parameter.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct CardTypeValue(#[serde(deserialize_with = "from_str")] CardType);

#[derive(Deserialize)]
#[serde(transparent)]
struct MatchingInput(#[serde(deserialize_with = "matching")] Field);

/// Deserializes a string with `FromStr`.
fn from_str<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(json: D) -> Result<T, D::Error> {
    text(json, "a string", |word| word.parse().map_err(|bad: T::Err| bad.to_string()))
}

fn optional_from_str<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(json: D) -> Result<Option<T>, D::Error> {
    from_str(json).map(Some)
}

fn matching<'de, D: Deserializer<'de>>(json: D) -> Result<Field, D::Error> {
    text(json, "a field of a card", |word| {
        payment::parse_matching_input(word).ok_or_else(|| EXPECTED_MATCHING_INPUT.to_owned())
    })
}

fn dtmf<'de, D: Deserializer<'de>>(json: D) -> Result<(), D::Error> {
    text(json, "dtmf", |word| if word == "dtmf" { Ok(()) } else { Err("must be dtmf".to_owned()) })
}

/// Deserializes an integer from 1 to `MAX`.
fn positive<'de, const MAX: u32, D: Deserializer<'de>>(json: D) -> Result<Option<u32>, D::Error> {
    whole::<1, MAX, D>(json).map(Some)
}

/// A flat JSON object. Strings, numbers and booleans all go to the processor as strings.
#[derive(Default)]
struct ProcessorParametersValue(payment::ProcessorParameters);

impl<'de> Deserialize<'de> for ProcessorParametersValue {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, ScalarText>::deserialize(json)?;
        let values = values.into_iter().map(|(name, ScalarText(value))| (name, value)).collect();
        let too_long = || de::Error::custom("expected at most 50 parameters of at most 1,000 bytes, each with a name");
        payment::ProcessorParameters::new(values).map(Self).ok_or_else(too_long)
    }
}
