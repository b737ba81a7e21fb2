//! `Payments.Limits` of serverConfig.json. What is not named has its default; `null` lifts a cap.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::json::{text, whole};
use crate::payment::{self, AmountCaps, Currency};

/// Minutes in a week.
const WEEK: u32 = 7 * 24 * 60;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Limits {
    per_call: Caps,
    #[serde(rename = "perCallerIn24Hours")]
    per_caller: Caps,
    per_hour: Caps,
    card_testing: Named<CardTesting>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Caps {
    wrong_entries: Named<Count>,
    declines: Named<Count>,
    payments: Named<Count>,
    amount: Named<Total>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CardTesting {
    declines: Whole<2, 1_000>,
    cards: Whole<2, 1_000>,
    minutes: Whole<1, WEEK>,
    block_minutes: Whole<1, WEEK>,
}

type Count = Whole<1, 1_000_000>;

impl Default for CardTesting {
    fn default() -> Self {
        let payment::CardTesting { declines, cards, window, block } = payment::CardTesting::default();
        let minutes = |time: Duration| Whole(u32::try_from(time.as_secs() / 60).unwrap_or(WEEK));
        Self { declines: Whole(declines), cards: Whole(cards), minutes: minutes(window), block_minutes: minutes(block) }
    }
}

impl Limits {
    /// What holds, with the defaults where nothing is named.
    pub(super) fn read(self) -> payment::Limits {
        let default = payment::Limits::default();
        payment::Limits {
            per_call: self.per_call.over(default.per_call),
            per_caller: self.per_caller.over(default.per_caller),
            per_hour: self.per_hour.over(default.per_hour),
            card_testing: self.card_testing.or(default.card_testing, CardTesting::read),
            orders: default.orders,
        }
    }
}

impl Caps {
    fn over(self, default: payment::Caps) -> payment::Caps {
        let count = |named: Named<Count>, default| named.or(default, |Whole(most)| most);
        payment::Caps {
            wrong_entries: count(self.wrong_entries, default.wrong_entries),
            declines: count(self.declines, default.declines),
            payments: count(self.payments, default.payments),
            amount: self.amount.or(default.amount, |Total(most)| most),
        }
    }
}

impl CardTesting {
    fn read(self) -> payment::CardTesting {
        let Self {
            declines: Whole(declines),
            cards: Whole(cards),
            minutes: Whole(window),
            block_minutes: Whole(block),
        } = self;
        let minutes = |minutes: u32| Duration::from_secs(60 * u64::from(minutes));
        payment::CardTesting { declines, cards, window: minutes(window), block: minutes(block) }
    }
}

/// What stands at a key.
#[derive(Default)]
enum Named<T> {
    /// The key is not there.
    #[default]
    Not,
    /// `null`.
    Lifted,
    As(T),
}

impl<T> Named<T> {
    fn or<U>(self, default: Option<U>, read: impl FnOnce(T) -> U) -> Option<U> {
        match self {
            Self::Not => default,
            Self::Lifted => None,
            Self::As(named) => Some(read(named)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(json)?.map_or(Self::Lifted, Self::As))
    }
}

/// Decimal text, which is in `CURRENCY`; or an object with decimal text for each currency.
struct Total(AmountCaps);

impl<'de> Deserialize<'de> for Total {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = AmountCaps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "decimal text such as \"5000.00\", or such a text for each currency: {\"USD\": \"5000.00\"}",
                )
            }

            fn visit_str<E: Error>(self, amount: &str) -> Result<AmountCaps, E> {
                amount.parse().map(AmountCaps::Configured).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AmountCaps, A::Error> {
                let mut caps = BTreeMap::new();
                while let Some(Code(currency)) = map.next_key()? {
                    let Cap(cap) = map.next_value()?;
                    if caps.insert(currency, cap).is_some() {
                        return Err(A::Error::custom(format!("{currency} is there twice")));
                    }
                }
                if caps.is_empty() {
                    return Err(A::Error::custom("expected a currency at least; null lifts the cap"));
                }
                Ok(AmountCaps::Each(Arc::new(caps)))
            }
        }

        json.deserialize_any(Either).map(Self)
    }
}

/// The code of a currency.
struct Code(Currency);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let read = |code: &str| code.parse().map(Self).map_err(|bad: payment::BadCurrency| bad.to_string());
        text(json, "the code of a currency, such as USD", read)
    }
}

/// The cap of one currency.
struct Cap(payment::AmountCap);

impl<'de> Deserialize<'de> for Cap {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        let read = |amount: &str| amount.parse().map(Self).map_err(|bad: payment::BadAmountCap| bad.to_string());
        text(json, "decimal text such as \"5000.00\"", read)
    }
}

/// A whole number from `MIN` to `MAX`.
struct Whole<const MIN: u32, const MAX: u32>(u32);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        whole::<MIN, MAX, D>(json).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::file::File;
    use crate::assets::json;

    fn read(text: &str) -> Result<payment::Limits, String> {
        let file = File { label: "serverConfig.json".to_owned(), text: text.to_owned() };
        json::parse::<Limits>(&file).map(|(limits, _)| limits.read()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_named_has_its_default_and_null_lifts_a_cap() {
        let default = payment::Limits::default();
        assert_eq!(read("{}"), Ok(default.clone()));
        let limits = read(
            r#"{"perCall": {"payments": 2, "declines": null, "amount": "500.00"}, "perHour": {"amount": "20000"},
                "cardTesting": {"minutes": 30}}"#,
        )
        .unwrap();
        let dollars = |amount: &str| Some(AmountCaps::Configured(amount.parse().unwrap()));
        let per_call = payment::Caps { payments: Some(2), declines: None, amount: dollars("500"), ..default.per_call };
        assert_eq!((limits.per_call, limits.per_caller), (per_call, default.per_caller));
        assert_eq!(limits.per_hour, payment::Caps { amount: dollars("20000"), ..default.per_hour });
        let testing = payment::CardTesting { window: Duration::from_secs(1_800), ..Default::default() };
        assert_eq!(limits.card_testing, Some(testing));
        assert_eq!(read(r#"{"cardTesting": null}"#).unwrap().card_testing, None);
    }

    #[test]
    fn a_cap_on_amounts_may_be_one_for_each_currency() {
        let limits = read(r#"{"perHour": {"amount": {"USD": "5000.00", "eur": "4000"}}}"#).unwrap();
        let Some(caps) = limits.per_hour.amount else { panic!() };
        let of = |code: &str| caps.of(code.parse().unwrap(), Currency::USD).map(|cap| cap.to_string());
        assert_eq!((of("USD"), of("EUR"), of("JPY")), (Some("5000".to_owned()), Some("4000".to_owned()), None));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_its_place() {
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
            ("{\"perHour\": {\"amount\": {\"QQQ\": \"5\"}}}", "serverConfig.json:1: a currency is a three-letter"),
            ("{\"perHour\": {\"amount\": {\"USD\": 5}}}", "integer `5`, expected decimal text"),
            ("{\"perHour\": {\"amount\": {\"USD\": \"5\", \"usd\": \"6\"}}}", "USD is there twice"),
            ("{\"perHour\": {\"amount\": {}}}", "expected a currency at least"),
            ("{\"cardTesting\": {\"declines\": 1}}", "integer `1`, expected a whole number from 2 to 1000"),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.contains(what), "{told}");
        }
    }
}
