//! `Payments.Limits` of `serverConfig.json`. A missing key means the default; `null` removes a cap.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::assets::de::{text, whole};
use crate::payment::{self, AmountCaps, Currency};

/// The minutes of a week.
const MINUTES_PER_WEEK: u32 = 7 * 24 * 60;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::assets) struct LimitsSection {
    per_call: CapsSection,
    #[serde(rename = "perCallerIn24Hours")]
    per_caller: CapsSection,
    unverified_caller: CapsSection,
    per_hour: CapsSection,
    card_testing: LimitSetting<CardTestingSection>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct CapsSection {
    wrong_entries: LimitSetting<Count>,
    declines: LimitSetting<Count>,
    payments: LimitSetting<Count>,
    amount: LimitSetting<AmountCapsValue>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CardTestingSection {
    declines: WholeNumber<2, 1_000>,
    cards: WholeNumber<2, 1_000>,
    minutes: WholeNumber<1, MINUTES_PER_WEEK>,
    block_minutes: WholeNumber<1, MINUTES_PER_WEEK>,
}

type Count = WholeNumber<1, 1_000_000>;

impl Default for CardTestingSection {
    fn default() -> Self {
        let payment::CardTestingLimits { declines, cards, window, block_duration: block } =
            payment::CardTestingLimits::default();
        let minutes = |time: Duration| WholeNumber(u32::try_from(time.as_secs() / 60).unwrap_or(MINUTES_PER_WEEK));
        Self {
            declines: WholeNumber(declines),
            cards: WholeNumber(cards),
            minutes: minutes(window),
            block_minutes: minutes(block),
        }
    }
}

impl LimitsSection {
    /// Converts the section into velocity limits, with the default for every missing key.
    pub(in crate::assets) fn into_limits(self) -> payment::VelocityLimits {
        let default = payment::VelocityLimits::default();
        payment::VelocityLimits {
            per_call: self.per_call.into_caps(default.per_call),
            per_caller: self.per_caller.into_caps(default.per_caller),
            unverified_caller: self.unverified_caller.into_caps(default.unverified_caller),
            per_hour: self.per_hour.into_caps(default.per_hour),
            card_testing: self.card_testing.resolve(default.card_testing, CardTestingSection::into_card_testing),
            orders: default.orders,
        }
    }
}

impl CapsSection {
    fn into_caps(self, default: payment::VelocityCaps) -> payment::VelocityCaps {
        let count = |named: LimitSetting<Count>, default| named.resolve(default, |WholeNumber(most)| most);
        payment::VelocityCaps {
            wrong_entries: count(self.wrong_entries, default.wrong_entries),
            declines: count(self.declines, default.declines),
            payments: count(self.payments, default.payments),
            amount: self.amount.resolve(default.amount, |AmountCapsValue(most)| most),
        }
    }
}

impl CardTestingSection {
    fn into_card_testing(self) -> payment::CardTestingLimits {
        let Self {
            declines: WholeNumber(declines),
            cards: WholeNumber(cards),
            minutes: WholeNumber(window),
            block_minutes: WholeNumber(block),
        } = self;
        let minutes = |minutes: u32| Duration::from_secs(60 * u64::from(minutes));
        payment::CardTestingLimits { declines, cards, window: minutes(window), block_duration: minutes(block) }
    }
}

/// The value of a key.
#[derive(Default)]
pub(super) enum LimitSetting<T> {
    /// The key is missing: the default applies.
    #[default]
    Unset,
    /// `null`: there is no cap.
    Unlimited,
    Value(T),
}

impl<T> LimitSetting<T> {
    pub(super) fn resolve<U>(self, default: Option<U>, read: impl FnOnce(T) -> U) -> Option<U> {
        match self {
            Self::Unset => default,
            Self::Unlimited => None,
            Self::Value(named) => Some(read(named)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for LimitSetting<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(json)?.map_or(Self::Unlimited, Self::Value))
    }
}

/// Caps on amounts: decimal text in `CURRENCY`, or an object with decimal text per currency.
struct AmountCapsValue(AmountCaps);

impl<'de> Deserialize<'de> for AmountCapsValue {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct AmountCapsVisitor;

        impl<'de> Visitor<'de> for AmountCapsVisitor {
            type Value = AmountCaps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "decimal text such as \"5000.00\", or such a text for each currency: {\"USD\": \"5000.00\"}",
                )
            }

            fn visit_str<E: Error>(self, amount: &str) -> Result<AmountCaps, E> {
                amount.parse().map(AmountCaps::ConfiguredCurrency).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AmountCaps, A::Error> {
                let mut caps = BTreeMap::new();
                while let Some(CurrencyCode(currency)) = map.next_key()? {
                    let AmountCapValue(cap) = map.next_value()?;
                    if caps.insert(currency, cap).is_some() {
                        return Err(A::Error::custom(format!("{currency} appears twice")));
                    }
                }
                if caps.is_empty() {
                    return Err(A::Error::custom("expected at least one currency; null removes the cap"));
                }
                Ok(AmountCaps::PerCurrency(Arc::new(caps)))
            }
        }

        json.deserialize_any(AmountCapsVisitor).map(Self)
    }
}

/// A currency code.
struct CurrencyCode(Currency);

impl<'de> Deserialize<'de> for CurrencyCode {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let read = |code: &str| code.parse().map(Self).map_err(|bad: payment::ParseCurrencyError| bad.to_string());
        text(json, "the code of a currency, such as USD", read)
    }
}

/// The cap for one currency, as decimal text.
struct AmountCapValue(payment::AmountCap);

impl<'de> Deserialize<'de> for AmountCapValue {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let read = |amount: &str| amount.parse().map(Self).map_err(|bad: payment::ParseAmountCapError| bad.to_string());
        text(json, "decimal text such as \"5000.00\"", read)
    }
}

/// An integer from `MIN` to `MAX`.
pub(super) struct WholeNumber<const MIN: u32, const MAX: u32>(pub(super) u32);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for WholeNumber<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        whole::<MIN, MAX, D>(json).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::file::AssetFile;

    fn read(text: &str) -> Result<payment::VelocityLimits, String> {
        let file = AssetFile { label: "serverConfig.json".to_owned(), text: text.to_owned() };
        file.parse_json::<LimitsSection>().map(|(limits, _)| limits.into_limits()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_missing_key_means_the_default_and_null_removes_a_cap() {
        let default = payment::VelocityLimits::default();
        assert_eq!(read("{}"), Ok(default.clone()));
        let limits = read(
            r#"{"perCall": {"payments": 2, "declines": null, "amount": "500.00"}, "perHour": {"amount": "20000"},
                "unverifiedCaller": {"declines": 1, "payments": null},
                "cardTesting": {"minutes": 30}}"#,
        )
        .unwrap();
        let dollars = |amount: &str| Some(AmountCaps::ConfiguredCurrency(amount.parse().unwrap()));
        let per_call =
            payment::VelocityCaps { payments: Some(2), declines: None, amount: dollars("500"), ..default.per_call };
        assert_eq!((limits.per_call, limits.per_caller), (per_call, default.per_caller));
        assert_eq!(limits.per_hour, payment::VelocityCaps { amount: dollars("20000"), ..default.per_hour });
        let unverified = payment::VelocityCaps { declines: Some(1), payments: None, ..default.unverified_caller };
        assert_eq!(limits.unverified_caller, unverified);
        let testing = payment::CardTestingLimits { window: Duration::from_secs(1_800), ..Default::default() };
        assert_eq!(limits.card_testing, Some(testing));
        assert_eq!(read(r#"{"cardTesting": null}"#).unwrap().card_testing, None);
    }

    #[test]
    fn a_cap_on_amounts_may_have_one_value_per_currency() {
        let limits = read(r#"{"perHour": {"amount": {"USD": "5000.00", "eur": "4000"}}}"#).unwrap();
        let Some(caps) = limits.per_hour.amount else { panic!() };
        let of = |code: &str| caps.cap_for(code.parse().unwrap(), Currency::USD).map(|cap| cap.to_string());
        assert_eq!((of("USD"), of("EUR"), of("JPY")), (Some("5000".to_owned()), Some("4000".to_owned()), None));
    }

    #[test]
    fn an_invalid_limit_is_rejected_with_its_position() {
        for (text, what) in [
            (
                "{\"perCall\": {\n\"payments\": 0}}",
                "serverConfig.json:2: invalid value: integer `0`, expected a whole number from 1",
            ),
            (
                "{\"perHour\": {\"amount\": 500}}",
                "serverConfig.json:1: invalid type: integer `500`, expected decimal text",
            ),
            ("{\"perHour\": {\"amount\": \"5,000\"}}", "serverConfig.json:1: expected a decimal number above 0"),
            ("{\"perHour\": {\"amount\": {\"QQQ\": \"5\"}}}", "serverConfig.json:1: a currency is the three-letter"),
            ("{\"perHour\": {\"amount\": {\"USD\": 5}}}", "integer `5`, expected decimal text"),
            ("{\"perHour\": {\"amount\": {\"USD\": \"5\", \"usd\": \"6\"}}}", "USD appears twice"),
            ("{\"perHour\": {\"amount\": {}}}", "expected at least one currency"),
            ("{\"cardTesting\": {\"declines\": 1}}", "integer `1`, expected a whole number from 2 to 1000"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
