//! What a call brings with it about its payment, and what may be charged where it brings nothing.
//!
//! The names are those of the call's parameters, wherever they came from: `amountDue`, `currency`, `description`.

use super::{Amount, BadAmount, BadCurrency, Currency};
use crate::redact::{Private, without_card_numbers};

/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 255;

/// The terms of a call's payments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What is to be charged.
    pub due: Due,
    /// `description`: what the payment is for, as the processor is told it.
    pub description: Option<Private<String>>,
}

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

/// Why the terms of a call cannot be told. No payment may start then: whatever was charged would be a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTerms {
    /// Not an amount of its currency.
    #[error("amountDue {0}: send decimal text in major units, such as \"25.00\"")]
    Amount(BadAmount),
    /// Not a currency.
    #[error("currency: {0}")]
    Currency(#[from] BadCurrency),
    /// What may be charged is known in the server's own currency only.
    #[error("currency is another than CURRENCY, and there is no amountDue: send both, or neither")]
    CurrencyAlone,
    /// Not fit to be sent on.
    #[error(
        "description: send at most {MAX_DESCRIPTION} characters, without control characters and without a card number"
    )]
    Description,
}

impl Terms {
    /// Reads the terms among the parameters of a call. `parameter` tells the value of one, as text; a parameter that is
    /// there is read strictly, an empty `amountDue` too. `configured` is what amounts are in where no currency is named.
    pub fn read(parameter: impl Fn(&str) -> Option<String>, configured: Currency) -> Result<Self, BadTerms> {
        let currency = parameter("currency").map_or(Ok(configured), |text| text.parse())?;
        let due = match parameter("amountDue") {
            Some(text) => match Amount::parse(&text, currency).map_err(BadTerms::Amount)? {
                Some(amount) => Due::Amount(amount),
                None => Due::Nothing,
            },
            None if currency != configured => return Err(BadTerms::CurrencyAlone),
            None => Due::Open,
        };
        let description =
            parameter("description").filter(|text| !text.trim().is_empty()).map(description).transpose()?;
        Ok(Self { due, description })
    }

    /// What amounts on this call are in.
    pub fn currency(&self, configured: Currency) -> Currency {
        if let Due::Amount(amount) = self.due { amount.currency() } else { configured }
    }
}

fn description(text: String) -> Result<Private<String>, BadTerms> {
    let fits = text.chars().count() <= MAX_DESCRIPTION && !text.chars().any(char::is_control);
    (fits && without_card_numbers(&text) == text).then_some(Private::new(text)).ok_or(BadTerms::Description)
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

    fn read(parameters: &[(&str, &str)]) -> Result<Terms, BadTerms> {
        let get = |name: &str| parameters.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        Terms::read(get, Currency::USD)
    }

    fn amount(text: &str, currency: &str) -> Amount {
        Amount::parse(text, currency.parse().unwrap()).unwrap().unwrap()
    }

    #[test]
    fn an_amount_due_is_of_the_currency_that_comes_with_it() {
        assert_eq!(read(&[]).unwrap().due, Due::Open);
        assert_eq!(read(&[("amountDue", "25")]).unwrap().due, Due::Amount(amount("25.00", "USD")));
        assert_eq!(read(&[("amountDue", "0.00")]).unwrap().due, Due::Nothing);
        let yen = read(&[("amountDue", "1500"), ("currency", "jpy")]).unwrap();
        assert_eq!(
            (yen.due, yen.currency(Currency::USD)),
            (Due::Amount(amount("1500", "JPY")), "JPY".parse().unwrap())
        );
        assert_eq!(read(&[("currency", "USD")]).unwrap().currency(Currency::USD), Currency::USD);
    }

    #[test]
    fn what_is_broken_is_never_taken_for_nothing() {
        for amount in ["", " ", "25,00", "$25", "1e3", "-1", "25.005", "1000000", "null"] {
            assert!(matches!(read(&[("amountDue", amount)]), Err(BadTerms::Amount(_))), "{amount:?}");
        }
        assert!(matches!(read(&[("amountDue", "1.5"), ("currency", "JPY")]), Err(BadTerms::Amount(_))));
        assert!(matches!(read(&[("amountDue", "1"), ("currency", "dollars")]), Err(BadTerms::Currency(_))));
        assert_eq!(read(&[("currency", "EUR")]), Err(BadTerms::CurrencyAlone));
        for text in ["4242 4242 4242 4242", "a\nb", "é".repeat(256).as_str()] {
            assert_eq!(read(&[("description", text)]), Err(BadTerms::Description), "{text}");
        }
    }

    #[test]
    fn a_description_is_kept_and_not_printed() {
        let terms = read(&[("description", "Invoice 7 for Ann")]).unwrap();
        assert_eq!(terms.description.as_ref().unwrap().reveal(), "Invoice 7 for Ann");
        assert!(!format!("{terms:?}").contains("Ann"));
        assert_eq!(read(&[("description", " ")]).unwrap().description, None);
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
        fn no_parameters_panic(due in "[0-9.]{0,9}|\\PC{0,9}", currency in "[A-Z]{3}|\\PC{0,5}", about in "\\PC{0,40}") {
            let _ = read(&[("amountDue", &due), ("currency", &currency), ("description", &about)]);
        }
    }
}
