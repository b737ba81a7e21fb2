//! Upper bounds on amounts, in major units: one number, or one per currency.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::amount::MAX_EXPONENT;
use super::{Amount, Currency};

/// An upper bound on an amount: a decimal number of major units of whatever currency it is compared with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AmountCap {
    /// The bound in units of 10⁻⁴. Every amount of every currency is a whole number of these.
    ten_thousandths: u64,
}

/// The text is not a cap on amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a decimal number above 0 and below 10^12, such as \"5000.00\"")]
pub struct ParseAmountCapError;

/// The maximum total charged in each currency. A currency without a cap may not be charged at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmountCaps {
    /// A cap in the server's currency (`CURRENCY`); other currencies have none.
    ConfiguredCurrency(AmountCap),
    /// A cap for each of these currencies.
    PerCurrency(Arc<BTreeMap<Currency, AmountCap>>),
}

impl AmountCaps {
    /// The cap of a currency. `configured` is the server's currency (`CURRENCY`).
    pub fn cap_for(&self, currency: Currency, configured: Currency) -> Option<AmountCap> {
        match self {
            Self::ConfiguredCurrency(cap) => (currency == configured).then_some(*cap),
            Self::PerCurrency(caps) => caps.get(&currency).copied(),
        }
    }
}

impl AmountCap {
    /// Whether an amount in minor units of a currency is within the cap.
    pub fn allows(self, minor: u64, currency: Currency) -> bool {
        let unit = 10_u64.pow(u32::from(MAX_EXPONENT).saturating_sub(currency.exponent()));
        minor.checked_mul(unit).is_some_and(|parts| parts <= self.ten_thousandths)
    }

    /// A cap of ten times an amount.
    pub fn ten_times(amount: Amount) -> Self {
        let unit = 10_u64.pow(u32::from(MAX_EXPONENT).saturating_sub(amount.currency().exponent()));
        Self { ten_thousandths: amount.minor().saturating_mul(unit).saturating_mul(10) }
    }

    /// Whether the cap has no more decimals than the currency.
    pub fn is_exact_in(self, currency: Currency) -> bool {
        self.ten_thousandths.is_multiple_of(10_u64.pow(u32::from(MAX_EXPONENT).saturating_sub(currency.exponent())))
    }
}

impl FromStr for AmountCap {
    type Err = ParseAmountCapError;

    fn from_str(text: &str) -> Result<Self, ParseAmountCapError> {
        let decimals = usize::from(MAX_EXPONENT);
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |part: &str, most| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole, 12) || !digits(fraction, decimals) {
            return Err(ParseAmountCapError);
        }
        let parts = format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| ParseAmountCapError)?;
        (parts > 0).then_some(Self { ten_thousandths: parts }).ok_or(ParseAmountCapError)
    }
}

/// Decimal text: a whole number, or at least two decimals.
impl fmt::Display for AmountCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = 10_u64.pow(MAX_EXPONENT.into());
        write!(f, "{}", self.ten_thousandths / unit)?;
        match format!("{:0width$}", self.ten_thousandths % unit, width = usize::from(MAX_EXPONENT))
            .trim_end_matches('0')
        {
            "" => Ok(()),
            decimals => write!(f, ".{decimals:0<2}"),
        }
    }
}

impl fmt::Debug for AmountCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn a_cap_on_amounts_is_exact_in_every_currency() {
        let cap: AmountCap = "100.50".parse().unwrap();
        for (code, most) in [("USD", 10_050), ("JPY", 100), ("KWD", 100_500), ("CLF", 1_005_000)] {
            let currency = currency(code);
            assert!(cap.allows(most, currency) && !cap.allows(most + 1, currency), "{currency}");
        }
        assert!(!cap.allows(u64::MAX, Currency::USD));
        for bad in ["", ".", "0", "0.00", "-1", "1e3", "5,000", "1.", ".5", "1.00001", "1000000000000", "1 "] {
            assert_eq!(bad.parse::<AmountCap>(), Err(ParseAmountCapError), "{bad}");
        }
    }

    #[test]
    fn a_cap_is_displayed_as_configured() {
        for text in ["100.50", "0.01", "1500000", "0.0001"] {
            assert_eq!(text.parse::<AmountCap>().unwrap().to_string(), text);
        }
        let charge = Amount::parse("1000", currency("JPY")).unwrap().unwrap();
        assert_eq!(AmountCap::ten_times(charge).to_string(), "10000");
    }

    #[test]
    fn a_currency_without_a_cap_of_its_own_has_none() {
        let (dollars, euros) = (Currency::USD, currency("EUR"));
        let cap: AmountCap = "30".parse().unwrap();
        let one = AmountCaps::ConfiguredCurrency(cap);
        assert_eq!((one.cap_for(dollars, dollars), one.cap_for(euros, dollars)), (Some(cap), None));
        let each = AmountCaps::PerCurrency(Arc::new(BTreeMap::from([(euros, cap)])));
        assert_eq!((each.cap_for(dollars, dollars), each.cap_for(euros, dollars)), (None, Some(cap)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9.]{0,18}|\\PC{0,12}") {
            if let Ok(cap) = text.parse::<AmountCap>() {
                prop_assert_eq!(cap.to_string().parse(), Ok(cap));
            }
        }
    }
}
