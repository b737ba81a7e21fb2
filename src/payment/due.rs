//! What is to be charged on a call, and what may be where the call does not say.
//!
//! The names are those of the call's parameters, wherever they came from: `amountDue` and `currency`.

use super::{Amount, BadAmount, BadCurrency, Currency};

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
}

impl Due {
    /// Reads the two parameters. What is there is read strictly, an empty `amountDue` too; `configured` is what amounts are in
    /// where no currency is named.
    pub fn read(amount_due: Option<&str>, currency: Option<&str>, configured: Currency) -> Result<Self, BadDue> {
        let currency = currency.map_or(Ok(configured), str::parse)?;
        match amount_due {
            Some(text) => {
                Ok(Amount::parse(text, currency).map_err(BadDue::Amount)?.map_or(Self::Nothing, Self::Amount))
            }
            None if currency != configured => Err(BadDue::CurrencyAlone),
            None => Ok(Self::Open),
        }
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
        Due::read(amount_due, currency, Currency::USD)
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
        for amount in ["", " ", "25,00", "$25", "1e3", "-1", "25.005", "1000000", "null"] {
            assert!(matches!(read(Some(amount), None), Err(BadDue::Amount(_))), "{amount:?}");
        }
        assert!(matches!(read(Some("1.5"), Some("JPY")), Err(BadDue::Amount(_))));
        assert!(matches!(read(Some("1"), Some("dollars")), Err(BadDue::Currency(_))));
        assert_eq!(read(None, Some("EUR")), Err(BadDue::CurrencyAlone));
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
        fn no_parameters_panic(due in "[0-9.]{0,9}|\\PC{0,9}", currency in "[A-Z]{3}|\\PC{0,5}") {
            let _ = read(Some(&due), Some(&currency));
        }
    }
}
