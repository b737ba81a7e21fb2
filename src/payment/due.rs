//! What is to be charged on a call, and what may be where the call does not say.
//!
//! The names are those of the call's parameters, wherever they came from: `amountDue` and `currency`.

use std::collections::BTreeMap;
use std::fmt;

use super::{Amount, AmountCap, BadAmount, BadAmountCap, BadCurrency, Currency};

/// What a call is to charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The call says nothing: caller and agent agree on an amount, or on none.
    Open,
    /// This amount and no other.
    Amount(Amount),
    /// `amountDue` is 0: nothing is charged, the card is stored.
    Nothing,
}

/// Why it cannot be told what is due. No payment may start then: whatever was charged would be a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDue {
    /// Not an amount of its currency.
    #[error("amountDue {0}: send decimal text in major units, such as \"25.00\"")]
    Amount(BadAmount),
    /// Not a currency.
    #[error("currency: {0}")]
    Currency(#[from] BadCurrency),
    /// What may be charged is known in the server's own currency only.
    #[error("currency is another than CURRENCY, and there is no amountDue: send both, or neither")]
    CurrencyAlone,
    /// More than [`MaxDue`] allows.
    #[error(
        "amountDue is more than MAX_DUE: send major units, such as \"25.00\" for 2500 cents; or raise MAX_DUE if so much can be due"
    )]
    TooMuch,
    /// The call is to say what is due, and does not.
    #[error("CALL_PARAMETERS=required, and neither CALL_PARAMETERS_URL nor an order says what is due (amountDue)")]
    Unsaid,
}

impl Due {
    /// Reads the two parameters. What is there is read strictly, an empty `amountDue` too; `configured` is what amounts are in
    /// where no currency is named.
    pub fn read(
        amount_due: Option<&str>,
        currency: Option<&str>,
        configured: Currency,
        most: &MaxDue,
    ) -> Result<Self, BadDue> {
        let currency = currency.map_or(Ok(configured), str::parse)?;
        match amount_due {
            Some(text) => match Amount::parse(text, currency).map_err(BadDue::Amount)? {
                None => Ok(Self::Nothing),
                Some(due) if most.allows(due) => Ok(Self::Amount(due)),
                Some(_) => Err(BadDue::TooMuch),
            },
            None if currency != configured => Err(BadDue::CurrencyAlone),
            None => Ok(Self::Open),
        }
    }
}

/// `MAX_DUE`: the most that a call may bring as due. `Display` writes it as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxDue {
    /// In every currency that has none of its own.
    any: AmountCap,
    own: BTreeMap<Currency, AmountCap>,
}

/// A text that is not `MAX_DUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMaxDue {
    /// Not a number.
    #[error("has something in it that is no amount above 0")]
    Amount(#[from] BadAmountCap),
    /// Not a currency.
    #[error("has something after an amount that is not the code of a currency in use")]
    Currency(#[from] BadCurrency),
    /// More decimals than the currency has.
    #[error("has an amount with more decimals than its currency has")]
    TooManyDecimals,
    /// Two numbers for one currency, or two without a currency.
    #[error("has two amounts for the same currency")]
    Twice,
}

impl MaxDue {
    /// The same number of major units in every currency.
    pub fn new(any: AmountCap) -> Self {
        Self { any, own: BTreeMap::new() }
    }

    /// Reads amounts with commas between them, such as `10000.00, 9000 EUR, 1500000 JPY`. The one without a currency counts in
    /// every currency that is not named; `default` is that one where there is none.
    pub fn read(text: &str, default: AmountCap) -> Result<Self, BadMaxDue> {
        let (mut any, mut own) = (None, BTreeMap::new());
        for entry in text.split(',') {
            let mut words = entry.split_whitespace();
            let cap: AmountCap = words.next().unwrap_or_default().parse()?;
            let twice = match (words.next(), words.next()) {
                (None, _) => any.replace(cap).is_some(),
                (Some(code), None) => {
                    let currency: Currency = code.parse()?;
                    if !cap.is_of(currency) {
                        return Err(BadMaxDue::TooManyDecimals);
                    }
                    own.insert(currency, cap).is_some()
                }
                (Some(_), Some(_)) => return Err(BadCurrency.into()),
            };
            if twice {
                return Err(BadMaxDue::Twice);
            }
        }
        Ok(Self { any: any.unwrap_or(default), own })
    }

    /// Whether so much may be due.
    pub fn allows(&self, due: Amount) -> bool {
        self.own.get(&due.currency()).unwrap_or(&self.any).allows(due.minor(), due.currency())
    }
}

impl fmt::Display for MaxDue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.any.fmt(f)?;
        self.own.iter().try_for_each(|(currency, cap)| write!(f, ", {cap} {currency}"))
    }
}

/// What may be charged where a call does not say what is due: `MIN_CHARGE` and `MAX_CHARGE`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargeLimits {
    least: Amount,
    most: Amount,
}

/// The limits leave no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("MIN_CHARGE is more than MAX_CHARGE")]
pub struct NothingBetween;

impl ChargeLimits {
    /// From `least` to `most`, which are of one currency.
    pub fn new(least: Amount, most: Amount) -> Result<Self, NothingBetween> {
        let limits = Self { least, most };
        limits.allow(most).then_some(limits).ok_or(NothingBetween)
    }

    /// Whether this may be charged.
    pub fn allow(&self, amount: Amount) -> bool {
        let one_currency = amount.currency() == self.least.currency() && amount.currency() == self.most.currency();
        one_currency && (self.least.minor()..=self.most.minor()).contains(&amount.minor())
    }

    /// The least that may be charged.
    pub fn least(&self) -> Amount {
        self.least
    }

    /// The most that may be charged.
    pub fn most(&self) -> Amount {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(amount_due: Option<&str>, currency: Option<&str>) -> Result<Due, BadDue> {
        Due::read(amount_due, currency, Currency::USD, &MaxDue::new("999999.99".parse().unwrap()))
    }

    fn amount(text: &str, currency: &str) -> Amount {
        Amount::parse(text, currency.parse().unwrap()).unwrap().unwrap()
    }

    #[test]
    fn an_amount_due_is_of_the_currency_that_comes_with_it() {
        assert_eq!(read(None, None), Ok(Due::Open));
        assert_eq!(read(Some("25"), None), Ok(Due::Amount(amount("25.00", "USD"))));
        assert_eq!(read(Some("0.00"), None), Ok(Due::Nothing));
        assert_eq!(read(Some("1500"), Some("jpy")), Ok(Due::Amount(amount("1500", "JPY"))));
        assert_eq!(read(None, Some("USD")), Ok(Due::Open));
    }

    #[test]
    fn what_is_broken_is_never_taken_for_nothing() {
        for amount in
            ["", " ", "25,00", "1,000.00", "$25", "1e3", "-1", "25.005", "1000000", "null", "true", "{}", "25.00 USD"]
        {
            assert!(matches!(read(Some(amount), None), Err(BadDue::Amount(_))), "{amount:?}");
        }
        assert!(matches!(read(Some("1.5"), Some("JPY")), Err(BadDue::Amount(_))));
        assert!(matches!(read(Some("1"), Some("dollars")), Err(BadDue::Currency(_))));
        assert_eq!(read(None, Some("EUR")), Err(BadDue::CurrencyAlone));
    }

    #[test]
    fn no_more_is_due_than_may_be_in_the_currency_that_comes_with_it() {
        let most = MaxDue::read("10000.00, 9000 EUR,1500000 jpy", "1".parse().unwrap()).unwrap();
        assert_eq!(most.to_string(), "10000, 9000 EUR, 1500000 JPY");
        let read = |due, currency| Due::read(Some(due), Some(currency), Currency::USD, &most);
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
            assert!(fits || read(due, currency) == Err(BadDue::TooMuch), "{due} {currency}");
        }
        let euros = MaxDue::read("9000 EUR", "50".parse().unwrap()).unwrap();
        assert!(euros.allows(amount("50", "USD")) && !euros.allows(amount("50.01", "USD")));
        assert!(euros.allows(amount("9000", "EUR")));
    }

    #[test]
    fn a_bound_on_what_is_due_is_read_strictly() {
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
            assert!(MaxDue::read(text, "1".parse().unwrap()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn limits_bound_one_currency_and_leave_something() {
        let limits = ChargeLimits::new(amount("0.50", "USD"), amount("1000", "USD")).unwrap();
        for (text, allowed) in [("0.49", false), ("0.50", true), ("1000.00", true), ("1000.01", false)] {
            assert_eq!(limits.allow(amount(text, "USD")), allowed, "{text}");
        }
        assert!(!limits.allow(amount("25", "EUR")));
        assert_eq!(ChargeLimits::new(amount("2", "USD"), amount("1", "USD")), Err(NothingBetween));
        assert!(ChargeLimits::new(amount("2", "USD"), amount("2", "USD")).is_ok());
    }

    proptest! {
        #[test]
        fn no_bound_panics_and_each_is_read_as_it_is_written(text in "[0-9A-Z., ]{0,24}|\\PC{0,9}") {
            let default = "7".parse().unwrap();
            if let Ok(most) = MaxDue::read(&text, default) {
                prop_assert_eq!(MaxDue::read(&most.to_string(), default), Ok(most));
            }
        }

        #[test]
        fn no_parameters_panic(due in "[0-9.]{0,9}|\\PC{0,9}", currency in "[A-Z]{3}|\\PC{0,5}") {
            let _ = read(Some(&due), Some(&currency));
        }
    }
}
