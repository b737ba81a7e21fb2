//! Money as integers of minor units, never as floating point.

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

/// The text is not the code of a currency that can be charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is the three-letter ISO 4217 code of a currency in use, such as USD")]
pub struct ParseCurrencyError;

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

    /// Whether the sign, such as `$`, is that of the currency or a part of it: `HK$`.
    pub(crate) fn has_sign(self, sign: char) -> bool {
        iso_currency::Currency::from_code(self.code()).is_some_and(|listed| listed.symbol().symbol.contains(sign))
    }

    /// Formats minor units as decimal text in major units, with all decimals of the currency. A sum may exceed the
    /// largest amount.
    pub fn format_minor(self, minor: u64) -> String {
        let (unit, decimals) = (10_u64.pow(self.exponent()), usize::from(self.exponent));
        let whole = minor / unit;
        if decimals == 0 { whole.to_string() } else { format!("{whole}.{:0decimals$}", minor % unit) }
    }

    /// A currency as recorded with an amount. ISO 4217 may have withdrawn it since; the recorded decimals are kept.
    pub fn from_record(code: &str, exponent: u32) -> Result<Self, ParseCurrencyError> {
        let code: [u8; 3] = code.as_bytes().try_into().map_err(|_| ParseCurrencyError)?;
        let exponent =
            u8::try_from(exponent).ok().filter(|exponent| *exponent <= MAX_EXPONENT).ok_or(ParseCurrencyError)?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self { code, exponent }).ok_or(ParseCurrencyError)
    }
}

/// Parses a code in any case. Refuses codes that ISO 4217 does not list or that are not money in use: metals, units of
/// account, test codes and withdrawn currencies.
impl FromStr for Currency {
    type Err = ParseCurrencyError;

    fn from_str(text: &str) -> Result<Self, ParseCurrencyError> {
        let listed = iso_currency::Currency::from_code(&text.trim().to_ascii_uppercase()).ok_or(ParseCurrencyError)?;
        // The crate treats the bolívar (VES) as withdrawn because of VED. ISO 4217 lists both.
        let is_withdrawn = listed.is_superseded().is_some() && listed != iso_currency::Currency::VES;
        if listed.is_special() || is_withdrawn {
            return Err(ParseCurrencyError);
        }
        Self::from_record(listed.code(), listed.exponent().ok_or(ParseCurrencyError)?.into())
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
pub enum ParseAmountError {
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
    /// Parses decimal text in major units, such as `25`, `25.5` or `25.00`. Returns `None` for zero.
    pub fn parse(text: &str, currency: Currency) -> Result<Option<Self>, ParseAmountError> {
        let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.trim().ends_with('.') {
            return Err(ParseAmountError::NotDecimal);
        }
        let decimals = currency.exponent() as usize;
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > decimals {
            return Err(ParseAmountError::TooManyDecimals(currency));
        }
        let whole = whole.trim_start_matches('0');
        if whole.len() > 6 {
            return Err(ParseAmountError::TooLarge);
        }
        let minor = format!("0{whole}{fraction:0<decimals$}").parse().map_err(|_| ParseAmountError::NotDecimal)?;
        Ok((minor > 0).then_some(Self { minor, currency }))
    }

    /// An amount from minor units (cents); `None` outside the range that can be charged.
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

/// Decimal text in major units with all decimals of the currency, as on the wire: `25.00`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.currency.format_minor(self.minor))
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

    fn usd(text: &str) -> Result<Option<Amount>, ParseAmountError> {
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
        assert_eq!(usd("1.005"), Err(ParseAmountError::TooManyDecimals(Currency::USD)));
        let yen = "JPY".parse().unwrap();
        assert_eq!(Amount::parse("1500", yen).unwrap().unwrap().to_string(), "1500");
        assert_eq!(Amount::parse("1500.5", yen), Err(ParseAmountError::TooManyDecimals(yen)));
        let dinar = "kwd".parse().unwrap();
        assert_eq!(Amount::parse("1.005", dinar).unwrap().unwrap().to_string(), "1.005");
    }

    #[test]
    fn only_iso_4217_currencies_in_use_are_accepted() {
        for (code, exponent) in
            [("usd", 2), (" EUR ", 2), ("JPY", 0), ("ISK", 0), ("BHD", 3), ("CLF", 4), ("VES", 2), ("MGA", 2)]
        {
            assert_eq!(code.parse::<Currency>().map(Currency::exponent), Ok(exponent), "{code}");
        }
        for code in ["QQQ", "XAU", "XXX", "XTS", "XDR", "HRK", "DEM", "US", "USDX", "U$D", "", "ＵＳＤ", "978"] {
            assert_eq!(code.parse::<Currency>(), Err(ParseCurrencyError), "{code}");
        }
        assert_eq!("USD".parse(), Ok(Currency::USD));
    }

    #[test]
    fn a_withdrawn_currency_is_read_from_a_record() {
        let old = Currency::from_record("QQQ", 2).unwrap();
        assert_eq!(format!("{:?}", Amount::from_minor(2_500, old).unwrap()), "25.00 QQQ");
        assert_eq!(Currency::from_record("USD", 2), Ok(Currency::USD));
        for (code, exponent) in [("qqq", 2), ("QQ", 2), ("QQQQ", 2), ("", 0), ("Q\u{e9}", 2), ("USD", 5)] {
            assert_eq!(Currency::from_record(code, exponent), Err(ParseCurrencyError), "{code}");
        }
    }

    #[test]
    fn text_that_is_not_plain_decimal_is_refused() {
        for text in
            ["", ".", ".5", "5.", "-1", "+1", "1e3", "$5", "1,000", "1 000", "1_000", "1.000,00", "NaN", "true", "١"]
        {
            assert_eq!(usd(text), Err(ParseAmountError::NotDecimal), "{text}");
        }
        assert_eq!(usd("1000000"), Err(ParseAmountError::TooLarge));
        assert_eq!(Amount::from_minor(100_000_000, Currency::USD), None);
        assert_eq!(Amount::from_minor(0, Currency::USD), None);
    }

    #[test]
    fn minor_units_are_formatted_with_all_decimals() {
        let currency = |code: &str| code.parse::<Currency>().unwrap();
        assert_eq!(currency("USD").format_minor(123_456), "1234.56");
        assert_eq!(currency("JPY").format_minor(1500), "1500");
        assert_eq!(currency("KWD").format_minor(1005), "1.005");
    }

    proptest! {
        #[test]
        fn no_code_panics_and_parsed_codes_survive_recording(code in "[A-Za-z]{3}|\\PC{0,5}", exponent in 0_u32..9) {
            if let Ok(currency) = code.parse::<Currency>() {
                prop_assert_eq!(Currency::from_record(currency.code(), currency.exponent()), Ok(currency));
                prop_assert!(Amount::parse("999999", currency).unwrap().is_some());
            }
            let _ = Currency::from_record(&code, exponent);
        }

        #[test]
        fn no_text_panics_and_amounts_round_trip(text in "\\PC{0,12}", minor in 1_u64..99_999_999) {
            let _ = usd(&text);
            let amount = Amount { minor, currency: Currency::USD };
            prop_assert_eq!(usd(&amount.to_string()), Ok(Some(amount)));
            prop_assert_eq!(Amount::from_minor(minor, Currency::USD), Some(amount));
        }
    }
}
