//! Money as integers of minor units. No float ever touches it.

use std::fmt;
use std::str::FromStr;

/// An ISO 4217 currency, with the number of decimals that its minor unit has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

/// The most decimals that a currency has: four, those of CLF and UYW.
pub(super) const MAX_EXPONENT: u8 = 4;

/// A text that is not the code of a currency in which money can be charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is a three-letter ISO 4217 code such as USD, of money in use today")]
pub struct BadCurrency;

impl Currency {
    /// US dollars.
    pub const USD: Self = Self { code: *b"USD", exponent: 2 };

    /// The upper-case ISO code.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("???")
    }

    /// Decimals of the minor unit: 2 for most, 0 for yen, 3 for dinars, 4 at most.
    pub fn exponent(self) -> u32 {
        self.exponent.into()
    }

    /// A currency as it was written down with an amount. It may have left ISO 4217's list since, and its decimals stay
    /// those of that time.
    pub fn recorded(code: &str, exponent: u32) -> Result<Self, BadCurrency> {
        let code: [u8; 3] = code.as_bytes().try_into().map_err(|_| BadCurrency)?;
        let exponent = u8::try_from(exponent).ok().filter(|exponent| *exponent <= MAX_EXPONENT).ok_or(BadCurrency)?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self { code, exponent }).ok_or(BadCurrency)
    }
}

/// Reads a code in any case. A code that is not on ISO 4217's list is refused, and so is one that is no money in use: metals,
/// units of account and test codes, and currencies that were withdrawn.
impl FromStr for Currency {
    type Err = BadCurrency;

    fn from_str(text: &str) -> Result<Self, BadCurrency> {
        let listed = iso_currency::Currency::from_code(&text.trim().to_ascii_uppercase()).ok_or(BadCurrency)?;
        // The crate takes the bolívar for withdrawn, since VED is beside it. ISO lists both.
        let is_withdrawn = listed.is_superseded().is_some() && listed != iso_currency::Currency::VES;
        if listed.is_special() || is_withdrawn {
            return Err(BadCurrency);
        }
        Self::recorded(listed.code(), listed.exponent().ok_or(BadCurrency)?.into())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount to charge: above zero and below 1,000,000 major units, as Twilio's `ChargeAmount` demands.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: u64,
    currency: Currency,
}

/// Why a text is not an amount that can be charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// Not plain decimal text.
    #[error("not a plain decimal number such as 25.00")]
    NotDecimal,
    /// More decimals than the currency has.
    #[error("{0} has {decimals} decimals at most", decimals = .0.exponent())]
    TooManyDecimals(Currency),
    /// 1,000,000 or more.
    #[error("must be below 1,000,000")]
    TooLarge,
}

impl Amount {
    /// Reads decimal text in major units, such as `25`, `25.5` or `25.00`. Zero is no amount to charge: `None`.
    pub fn parse(text: &str, currency: Currency) -> Result<Option<Self>, BadAmount> {
        let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.trim().ends_with('.') {
            return Err(BadAmount::NotDecimal);
        }
        let decimals = currency.exponent() as usize;
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > decimals {
            return Err(BadAmount::TooManyDecimals(currency));
        }
        let whole = whole.trim_start_matches('0');
        if whole.len() > 6 {
            return Err(BadAmount::TooLarge);
        }
        let minor = format!("0{whole}{fraction:0<decimals$}").parse().map_err(|_| BadAmount::NotDecimal)?;
        Ok((minor > 0).then_some(Self { minor, currency }))
    }

    /// An amount of so many minor units (cents), if it can be charged.
    pub fn from_minor(minor: u64, currency: Currency) -> Option<Self> {
        let limit = 1_000_000 * 10_u64.pow(currency.exponent());
        (1..limit).contains(&minor).then_some(Self { minor, currency })
    }

    /// The amount in minor units (cents).
    pub fn minor(self) -> u64 {
        self.minor
    }

    /// The currency of the amount.
    pub fn currency(self) -> Currency {
        self.currency
    }
}

/// Plain decimal text in major units with all the decimals of the currency, as it goes over the wire: `25.00`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exponent = self.currency.exponent();
        let unit = 10_u64.pow(exponent);
        write!(f, "{}", self.minor / unit)?;
        if exponent > 0 {
            write!(f, ".{:0width$}", self.minor % unit, width = exponent as usize)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(text: &str) -> Result<Option<Amount>, BadAmount> {
        Amount::parse(text, Currency::USD)
    }

    #[test]
    fn decimal_text_becomes_minor_units_and_wire_text() {
        for (text, minor, wire) in [
            ("25", 2500, "25.00"),
            ("25.5", 2550, "25.50"),
            (" 0.01 ", 1, "0.01"),
            ("999999.99", 99_999_999, "999999.99"),
            ("1.100", 110, "1.10"),
        ] {
            let amount = usd(text).unwrap().unwrap();
            assert_eq!((amount.minor(), amount.to_string().as_str()), (minor, wire));
        }
    }

    #[test]
    fn zero_is_nothing_to_charge() {
        assert_eq!(usd("0"), Ok(None));
        assert_eq!(usd("0.00"), Ok(None));
    }

    #[test]
    fn the_currency_decides_on_decimals() {
        assert_eq!(usd("1.005"), Err(BadAmount::TooManyDecimals(Currency::USD)));
        let yen = "JPY".parse().unwrap();
        assert_eq!(Amount::parse("1500", yen).unwrap().unwrap().to_string(), "1500");
        assert_eq!(Amount::parse("1500.5", yen), Err(BadAmount::TooManyDecimals(yen)));
        let dinar = "kwd".parse().unwrap();
        assert_eq!(Amount::parse("1.005", dinar).unwrap().unwrap().to_string(), "1.005");
    }

    #[test]
    fn a_currency_is_money_on_the_list_of_iso_4217() {
        for (code, exponent) in
            [("usd", 2), (" EUR ", 2), ("JPY", 0), ("ISK", 0), ("BHD", 3), ("CLF", 4), ("VES", 2), ("MGA", 2)]
        {
            assert_eq!(code.parse::<Currency>().map(Currency::exponent), Ok(exponent), "{code}");
        }
        for code in ["QQQ", "XAU", "XXX", "XTS", "XDR", "HRK", "DEM", "US", "USDX", "U$D", "", "ＵＳＤ", "978"] {
            assert_eq!(code.parse::<Currency>(), Err(BadCurrency), "{code}");
        }
        assert_eq!("USD".parse(), Ok(Currency::USD));
    }

    #[test]
    fn a_currency_that_left_the_list_is_read_where_it_was_written_down() {
        let old = Currency::recorded("QQQ", 2).unwrap();
        assert_eq!(format!("{:?}", Amount::from_minor(2_500, old).unwrap()), "25.00 QQQ");
        assert_eq!(Currency::recorded("USD", 2), Ok(Currency::USD));
        for (code, exponent) in [("qqq", 2), ("QQ", 2), ("QQQQ", 2), ("", 0), ("Q\u{e9}", 2), ("USD", 5)] {
            assert_eq!(Currency::recorded(code, exponent), Err(BadCurrency), "{code}");
        }
    }

    #[test]
    fn what_is_not_plain_decimal_text_is_refused() {
        for text in
            ["", ".", ".5", "5.", "-1", "+1", "1e3", "$5", "1,000", "1 000", "1_000", "1.000,00", "NaN", "true", "١"]
        {
            assert_eq!(usd(text), Err(BadAmount::NotDecimal), "{text}");
        }
        assert_eq!(usd("1000000"), Err(BadAmount::TooLarge));
        assert_eq!(Amount::from_minor(100_000_000, Currency::USD), None);
        assert_eq!(Amount::from_minor(0, Currency::USD), None);
    }

    proptest! {
        #[test]
        fn no_code_panics_and_each_is_as_it_is_recorded(code in "[A-Za-z]{3}|\\PC{0,5}", exponent in 0_u32..9) {
            if let Ok(currency) = code.parse::<Currency>() {
                prop_assert_eq!(Currency::recorded(currency.code(), currency.exponent()), Ok(currency));
                prop_assert!(Amount::parse("999999", currency).unwrap().is_some());
            }
            let _ = Currency::recorded(&code, exponent);
        }

        #[test]
        fn no_text_panics_and_what_is_read_is_written_the_same(text in "\\PC{0,12}", minor in 1_u64..99_999_999) {
            let _ = usd(&text);
            let amount = Amount { minor, currency: Currency::USD };
            prop_assert_eq!(usd(&amount.to_string()), Ok(Some(amount)));
            prop_assert_eq!(Amount::from_minor(minor, Currency::USD), Some(amount));
        }
    }
}
