//! Amounts of an export, and the currencies named in their cells.

use crate::payment::{Amount, Currency};

/// The signs that are recognised. Each may stand for several currencies.
const SIGNS: [char; 4] = ['$', '€', '£', '¥'];

/// The amount of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportAmount {
    /// Decimal text in major units.
    Major(String),
    /// Minor units.
    Minor(u64),
    /// There is no column, or its text is not an amount.
    Unreadable,
}

/// The currency that the cell of an amount names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CurrencySign {
    /// By its code: `26.00 EUR`.
    Code(Currency),
    /// By a sign, which may stand for several: `$26.00`.
    Sign(char),
}

impl ExportAmount {
    /// Parses a cell with an amount and possibly a currency. An unknown currency makes the amount unreadable.
    pub(super) fn read_cell(text: &str, minor: bool) -> (Self, Option<CurrencySign>) {
        let is_number = |c: char| c.is_ascii_digit() || ".,-()".contains(c);
        let from = text.find(is_number).unwrap_or(text.len());
        let to = text.rfind(is_number).map_or(from, |last| last + 1);
        let marks = [text[..from].trim(), text[to..].trim()];
        let mut signs = marks.iter().filter(|mark| !mark.is_empty()).map(|mark| CurrencySign::read(mark));
        let sign = match (signs.next(), signs.next()) {
            (None, _) => None,
            (Some(Some(one)), None) => Some(one),
            (Some(Some(one)), Some(Some(other))) if one.agrees_with(other) => Some(one),
            _ => return (Self::Unreadable, None),
        };
        (Self::read(&text[from..to], minor), sign)
    }

    fn read(text: &str, minor: bool) -> Self {
        if minor {
            return text.parse().map_or(Self::Unreadable, Self::Minor);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut groups = whole.split(',');
        let first = groups.next().unwrap_or_default();
        // "1,234.56" and no other commas: "25,00" may be 25 or 2500.
        let grouped = !whole.contains(',') || ((1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let whole = whole.replace(',', "");
        if !grouped || whole.is_empty() || !digits(&whole) || !digits(fraction) {
            return Self::Unreadable;
        }
        Self::Major(if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") })
    }

    /// Parses the amount of a refund, which many exports write as negative.
    pub(super) fn read_refund(text: &str, minor: bool) -> Self {
        let bracketed = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
        let text = bracketed.or_else(|| text.strip_prefix('-')).unwrap_or(text);
        let (amount, sign) = Self::read_cell(text.trim(), minor);
        // "€-10.00"
        match (&amount, text.find('-')) {
            (Self::Unreadable, Some(_)) if sign.is_some() => Self::read_cell(&text.replacen('-', "", 1), minor).0,
            _ => amount,
        }
    }

    /// The amount in a currency, in minor units, if it is above zero.
    pub fn minor_in(&self, currency: Currency) -> Option<u64> {
        self.minor_or_zero_in(currency).filter(|minor| *minor > 0)
    }

    /// The amount in a currency, in minor units.
    pub fn minor_or_zero_in(&self, currency: Currency) -> Option<u64> {
        match self {
            Self::Major(text) => Amount::parse(text, currency).ok().map(|amount| amount.map_or(0, Amount::minor)),
            Self::Minor(minor) => Some(*minor),
            Self::Unreadable => None,
        }
    }

    /// Whether two amounts are equal, regardless of trailing zeros: `25` and `25.00`.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let bare = |text: &str| {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            (whole.trim_start_matches('0').to_owned(), fraction.trim_end_matches('0').to_owned())
        };
        match (self, other) {
            (Self::Major(one), Self::Major(other)) => bare(one) == bare(other),
            (Self::Minor(one), Self::Minor(other)) => one == other,
            _ => false,
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.is_same(&Self::Major("0".to_owned())) || *self == Self::Minor(0)
    }
}

impl CurrencySign {
    fn read(text: &str) -> Option<Self> {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(sign), None) => SIGNS.contains(&sign).then_some(Self::Sign(sign)),
            _ => text.parse().ok().map(Self::Code),
        }
    }

    /// Whether it may stand for a currency.
    pub fn may_be(self, currency: Currency) -> bool {
        match self {
            Self::Code(code) => code == currency,
            Self::Sign(sign) => currency.has_sign(sign),
        }
    }

    fn agrees_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Code(code), sign) | (sign, Self::Code(code)) => sign.may_be(code),
            (one, other) => one == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, minor: bool) -> ExportAmount {
        ExportAmount::read_cell(text, minor).0
    }

    #[test]
    fn ambiguous_amounts_are_unreadable() {
        for (text, minor) in [("25", 2500), ("$1,234.5", 123_450), ("1,234,567.00", 0), ("0.10", 10)] {
            assert_eq!(read(text, false).minor_in(Currency::USD).unwrap_or(0), minor, "{text}");
        }
        for text in ["25,00", "1,23", "-25.00", "(25.00)", "25.00.00", "25.001", "", "1e3", ",250"] {
            assert_eq!(read(text, false).minor_in(Currency::USD), None, "{text}");
        }
        assert_eq!(read("2500", true).minor_in(Currency::USD), Some(2500));
        assert_eq!(read("25.00", true), ExportAmount::Unreadable);
    }

    #[test]
    fn a_currency_in_the_cell_is_parsed_or_makes_the_amount_unreadable() {
        let euro: Currency = "EUR".parse().unwrap();
        for (text, is_dollar, is_euro) in [
            ("€26.00", false, true),
            ("26.00 €", false, true),
            ("26.00 EUR", false, true),
            ("eur 26.00", false, true),
            ("€26.00 EUR", false, true),
            ("$26.00", true, false),
            ("$26.00 USD", true, false),
        ] {
            let (amount, sign) = ExportAmount::read_cell(text, false);
            assert_eq!(amount.minor_in(euro), Some(2600), "{text}");
            let sign = sign.unwrap();
            assert_eq!((sign.may_be(Currency::USD), sign.may_be(euro)), (is_dollar, is_euro), "{text}");
        }
        for text in ["₿26.00", "US$26.00", "26.00 coins", "€26.00 USD", "€26.00 £", "26.00 XAU", "EUR"] {
            assert_eq!(read(text, false), ExportAmount::Unreadable, "{text}");
        }
    }
}
