//! The amount due on a call, and the limits on charges where the call has none.
//!
//! The call parameters are `amountDue` and `currency`, whatever their source.

use std::collections::BTreeMap;
use std::fmt;

use super::{Amount, AmountCap, Currency, ParseAmountCapError, ParseAmountError, ParseCurrencyError};

/// The amount due on a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountDue {
    /// The call has no `amountDue`: caller and agent agree on an amount, or on none.
    Unspecified,
    /// Exactly this amount is charged.
    Amount(Amount),
    /// `amountDue` is 0: nothing is charged, the card is stored.
    Zero,
}

/// Why the amount due is not known. No payment may start then, since any amount would be a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountDueError {
    /// Not an amount of its currency.
    #[error("amountDue {0}: send decimal text in major units, such as \"25.00\"")]
    Amount(ParseAmountError),
    /// Not a currency.
    #[error("currency: {0}")]
    Currency(#[from] ParseCurrencyError),
    /// A currency other than the server's came without an amount. Charge limits exist in the server's currency only.
    #[error("currency differs from CURRENCY and amountDue is missing: send both, or neither")]
    CurrencyWithoutAmount,
    /// More than [`MaxDue`] allows.
    #[error(
        "amountDue is more than MAX_DUE: send major units, such as \"25.00\" for 2500 cents; or raise MAX_DUE if so much can be due"
    )]
    AboveMaxDue,
    /// The call must have an amount due and has none.
    #[error("CALL_PARAMETERS=required, and neither CALL_PARAMETERS_URL nor an order has sent amountDue")]
    Missing,
}

impl AmountDue {
    /// Parses the two parameters strictly: an empty `amountDue` is an error. `configured` is the currency where none is
    /// given.
    pub fn parse(
        amount_due: Option<&str>,
        currency: Option<&str>,
        configured: Currency,
        max_due: &MaxDue,
    ) -> Result<Self, AmountDueError> {
        let currency = currency.map_or(Ok(configured), str::parse)?;
        match amount_due {
            Some(text) => match Amount::parse(text, currency).map_err(AmountDueError::Amount)? {
                None => Ok(Self::Zero),
                Some(due) if max_due.allows(due) => Ok(Self::Amount(due)),
                Some(_) => Err(AmountDueError::AboveMaxDue),
            },
            None if currency != configured => Err(AmountDueError::CurrencyWithoutAmount),
            None => Ok(Self::Unspecified),
        }
    }
}

/// `MAX_DUE`: the maximum `amountDue` of a call. `Display` writes it as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxDue {
    /// The cap in every currency that has none of its own.
    default_cap: AmountCap,
    caps_by_currency: BTreeMap<Currency, AmountCap>,
}

/// Why a text is not a valid `MAX_DUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseMaxDueError {
    /// Not a number.
    #[error("contains a value that is not an amount above 0")]
    Amount(#[from] ParseAmountCapError),
    /// Not a currency.
    #[error("has an amount that is not followed by a comma or the code of a currency in use")]
    Currency(#[from] ParseCurrencyError),
    /// More decimals than the currency has.
    #[error("has an amount with more decimals than its currency has")]
    TooManyDecimals,
    /// Two numbers for one currency, or two without a currency.
    #[error("has two amounts for the same currency")]
    DuplicateCurrency,
}

impl MaxDue {
    /// A cap of the same number of major units in every currency.
    pub fn new(any: AmountCap) -> Self {
        Self { default_cap: any, caps_by_currency: BTreeMap::new() }
    }

    /// Parses comma-separated amounts, such as `10000.00, 9000 EUR, 1500000 JPY`. The amount without a currency applies
    /// to every currency that is not named; `default` applies if there is none.
    pub fn parse(text: &str, default: AmountCap) -> Result<Self, ParseMaxDueError> {
        let (mut any, mut own) = (None, BTreeMap::new());
        for entry in text.split(',') {
            let mut words = entry.split_whitespace();
            let cap: AmountCap = words.next().unwrap_or_default().parse()?;
            let twice = match (words.next(), words.next()) {
                (None, _) => any.replace(cap).is_some(),
                (Some(code), None) => {
                    let currency: Currency = code.parse()?;
                    if !cap.is_exact_in(currency) {
                        return Err(ParseMaxDueError::TooManyDecimals);
                    }
                    own.insert(currency, cap).is_some()
                }
                (Some(_), Some(_)) => return Err(ParseCurrencyError.into()),
            };
            if twice {
                return Err(ParseMaxDueError::DuplicateCurrency);
            }
        }
        Ok(Self { default_cap: any.unwrap_or(default), caps_by_currency: own })
    }

    /// Whether this amount may be due.
    pub fn allows(&self, due: Amount) -> bool {
        self.caps_by_currency.get(&due.currency()).unwrap_or(&self.default_cap).allows(due.minor(), due.currency())
    }
}

impl fmt::Display for MaxDue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.default_cap.fmt(f)?;
        self.caps_by_currency.iter().try_for_each(|(currency, cap)| write!(f, ", {cap} {currency}"))
    }
}

/// The limits on a charge without an `amountDue`: `MIN_CHARGE` and `MAX_CHARGE`, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargeLimits {
    min: Amount,
    max: Amount,
}

/// No amount is within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("MIN_CHARGE is more than MAX_CHARGE")]
pub struct ChargeLimitsError;

impl ChargeLimits {
    /// Limits from `min` to `max`, which have the same currency.
    pub fn new(min: Amount, max: Amount) -> Result<Self, ChargeLimitsError> {
        let limits = Self { min, max };
        limits.allows(max).then_some(limits).ok_or(ChargeLimitsError)
    }

    /// Whether this may be charged.
    pub fn allows(&self, amount: Amount) -> bool {
        let one_currency = amount.currency() == self.min.currency() && amount.currency() == self.max.currency();
        one_currency && (self.min.minor()..=self.max.minor()).contains(&amount.minor())
    }

    /// The minimum charge.
    pub fn min(&self) -> Amount {
        self.min
    }

    /// The maximum charge.
    pub fn max(&self) -> Amount {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(amount_due: Option<&str>, currency: Option<&str>) -> Result<AmountDue, AmountDueError> {
        AmountDue::parse(amount_due, currency, Currency::USD, &MaxDue::new("999999.99".parse().unwrap()))
    }

    fn amount(text: &str, currency: &str) -> Amount {
        Amount::parse(text, currency.parse().unwrap()).unwrap().unwrap()
    }

    #[test]
    fn amount_due_has_the_currency_that_is_sent_with_it() {
        assert_eq!(read(None, None), Ok(AmountDue::Unspecified));
        assert_eq!(read(Some("25"), None), Ok(AmountDue::Amount(amount("25.00", "USD"))));
        assert_eq!(read(Some("0.00"), None), Ok(AmountDue::Zero));
        assert_eq!(read(Some("1500"), Some("jpy")), Ok(AmountDue::Amount(amount("1500", "JPY"))));
        assert_eq!(read(None, Some("USD")), Ok(AmountDue::Unspecified));
    }

    #[test]
    fn invalid_amounts_are_errors_and_not_zero() {
        for amount in
            ["", " ", "25,00", "1,000.00", "$25", "1e3", "-1", "25.005", "1000000", "null", "true", "{}", "25.00 USD"]
        {
            assert!(matches!(read(Some(amount), None), Err(AmountDueError::Amount(_))), "{amount:?}");
        }
        assert!(matches!(read(Some("1.5"), Some("JPY")), Err(AmountDueError::Amount(_))));
        assert!(matches!(read(Some("1"), Some("dollars")), Err(AmountDueError::Currency(_))));
        assert_eq!(read(None, Some("EUR")), Err(AmountDueError::CurrencyWithoutAmount));
    }

    #[test]
    fn max_due_applies_in_the_currency_of_the_amount() {
        let most = MaxDue::parse("10000.00, 9000 EUR,1500000 jpy", "1".parse().unwrap()).unwrap();
        assert_eq!(most.to_string(), "10000, 9000 EUR, 1500000 JPY");
        let read = |due, currency| AmountDue::parse(Some(due), Some(currency), Currency::USD, &most);
        for (due, currency, fits) in [
            ("10000", "USD", true),
            ("10000.01", "USD", false),
            ("250000", "USD", false),
            ("9000.00", "EUR", true),
            ("9000.01", "EUR", false),
            ("999999", "JPY", true),
            ("10000", "GBP", true),
            ("10000.01", "GBP", false),
            ("10000.001", "KWD", false),
            ("0", "USD", true),
        ] {
            assert_eq!(read(due, currency).is_ok(), fits, "{due} {currency}");
            assert!(fits || read(due, currency) == Err(AmountDueError::AboveMaxDue), "{due} {currency}");
        }
        let euros = MaxDue::parse("9000 EUR", "50".parse().unwrap()).unwrap();
        assert!(euros.allows(amount("50", "USD")) && !euros.allows(amount("50.01", "USD")));
        assert!(euros.allows(amount("9000", "EUR")));
    }

    #[test]
    fn max_due_is_parsed_strictly() {
        for text in [
            "",
            ",",
            "10,",
            "10 USD EUR",
            "10 QQQ",
            "USD 10",
            "0",
            "-1",
            "1e3",
            "10 JPY 5",
            "10.5 JPY",
            "10.005 USD",
            "1, 2",
            "1 USD, 2 usd",
            "$5",
            "10USD",
        ] {
            assert!(MaxDue::parse(text, "1".parse().unwrap()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn charge_limits_apply_to_one_currency_and_are_not_empty() {
        let limits = ChargeLimits::new(amount("0.50", "USD"), amount("1000", "USD")).unwrap();
        for (text, allowed) in [("0.49", false), ("0.50", true), ("1000.00", true), ("1000.01", false)] {
            assert_eq!(limits.allows(amount(text, "USD")), allowed, "{text}");
        }
        assert!(!limits.allows(amount("25", "EUR")));
        assert_eq!(ChargeLimits::new(amount("2", "USD"), amount("1", "USD")), Err(ChargeLimitsError));
        assert!(ChargeLimits::new(amount("2", "USD"), amount("2", "USD")).is_ok());
    }

    proptest! {
        #[test]
        fn no_max_due_panics_and_each_round_trips(text in "[0-9A-Z., ]{0,24}|\\PC{0,9}") {
            let default = "7".parse().unwrap();
            if let Ok(most) = MaxDue::parse(&text, default) {
                prop_assert_eq!(MaxDue::parse(&most.to_string(), default), Ok(most));
            }
        }

        #[test]
        fn no_parameters_panic(due in "[0-9.]{0,9}|\\PC{0,9}", currency in "[A-Z]{3}|\\PC{0,5}") {
            let _ = read(Some(&due), Some(&currency));
        }
    }
}
