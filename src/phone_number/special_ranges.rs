//! Ranges of numbers that cost the caller more than a call to a person: premium rate, shared cost, personal numbers,
//! satellite and international networks.
//!
//! The numbers of these ranges share revenue with those who rent them, which is what toll fraud lives on.

mod national;

use super::north_america;
use national::NATIONAL_RANGES;

/// A kind of range that is refused unless it is allowed explicitly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialRangeKind {
    /// The called party earns from the call.
    PremiumRate,
    /// Caller and called party share the cost.
    SharedCost,
    /// A number that follows a person or a business to any network.
    PersonalNumber,
    /// A satellite telephone.
    Satellite,
    /// A network or service that belongs to no country: UIFN and the like.
    International,
    /// A country that shares `+1` with the United States and Canada.
    SharedCountryCode,
}

/// A special range: its kind, and the digits with which its numbers begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpecialRange {
    pub(super) kind: SpecialRangeKind,
    pub(super) digits: String,
}

/// Codes that belong to no country. Source: ITU-T E.164, list of assigned country codes: 800 UIFN, 808 shared cost, 870
/// Inmarsat SNAC, 878 UPT, 881 global mobile satellite, 882 and 883 international networks, 888 disaster relief, 979
/// international premium rate, 991 international trials.
const INTERNATIONAL_RANGES: &[(&str, SpecialRangeKind)] = &[
    ("800", SpecialRangeKind::International),
    ("808", SpecialRangeKind::SharedCost),
    ("870", SpecialRangeKind::Satellite),
    ("878", SpecialRangeKind::PersonalNumber),
    ("881", SpecialRangeKind::Satellite),
    ("882", SpecialRangeKind::International),
    ("883", SpecialRangeKind::International),
    ("888", SpecialRangeKind::International),
    ("979", SpecialRangeKind::PremiumRate),
    ("991", SpecialRangeKind::International),
];

/// The kinds of the columns of [`NATIONAL_RANGES`].
const NATIONAL_KINDS: [SpecialRangeKind; 3] =
    [SpecialRangeKind::PremiumRate, SpecialRangeKind::SharedCost, SpecialRangeKind::PersonalNumber];

impl SpecialRangeKind {
    /// The kind as words in a sentence: "a … number".
    pub(super) fn as_words(self) -> &'static str {
        match self {
            Self::PremiumRate => "premium-rate number",
            Self::SharedCost => "shared-cost number",
            Self::PersonalNumber => "personal number",
            Self::Satellite => "satellite number",
            Self::International => "number of an international network or service",
            Self::SharedCountryCode => "number of another country that shares +1",
        }
    }
}

impl SpecialRange {
    /// Finds the special range of a number, given by its digits without the plus sign.
    pub(super) fn find(digits: &str) -> Option<Self> {
        if let Some((code, kind)) = INTERNATIONAL_RANGES.iter().find(|(code, _)| digits.starts_with(code)) {
            return Some(Self { kind: *kind, digits: (*code).to_owned() });
        }
        if let Some(national) = digits.strip_prefix('1') {
            return north_america::find_special_range(national);
        }
        let (code, columns) = NATIONAL_RANGES.iter().find(|(code, _)| digits.starts_with(code))?;
        let national = &digits[code.len()..];
        columns.iter().zip(NATIONAL_KINDS).find_map(|(prefixes, kind)| {
            let prefix = prefixes.split_ascii_whitespace().find(|prefix| national.starts_with(prefix))?;
            Some(Self { kind, digits: format!("{code}{prefix}") })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::country_codes::find_country_code;
    use super::*;

    fn find(digits: &str) -> Option<(SpecialRangeKind, String)> {
        SpecialRange::find(digits).map(|range| (range.kind, range.digits))
    }

    #[test]
    fn every_range_of_the_tables_is_found_by_its_own_digits() {
        for (code, kind) in INTERNATIONAL_RANGES {
            assert_eq!(find(&format!("{code}12345678")), Some((*kind, (*code).to_owned())));
        }
        for (code, columns) in NATIONAL_RANGES {
            assert!(find_country_code(code).is_some_and(|(known, _)| known == *code), "{code}");
            assert!(columns.iter().any(|column| !column.is_empty()), "{code}");
            for (column, kind) in columns.iter().zip(NATIONAL_KINDS) {
                for prefix in column.split(' ').filter(|prefix| !prefix.is_empty()) {
                    assert!(prefix.bytes().all(|byte| byte.is_ascii_digit()), "+{code} {prefix}");
                    let found = find(&format!("{code}{prefix}123456"));
                    assert_eq!(found, Some((kind, format!("{code}{prefix}"))), "+{code} {prefix}");
                }
            }
        }
    }

    #[test]
    fn known_ranges_are_special_and_ordinary_numbers_are_not() {
        for (digits, kind) in [
            ("449098790000", SpecialRangeKind::PremiumRate),
            ("448451234567", SpecialRangeKind::PremiumRate),
            ("447012345678", SpecialRangeKind::PersonalNumber),
            ("499001234567", SpecialRangeKind::PremiumRate),
            ("491805123456", SpecialRangeKind::SharedCost),
            ("33899123456", SpecialRangeKind::PremiumRate),
            ("33820123456", SpecialRangeKind::SharedCost),
            ("39899123456", SpecialRangeKind::PremiumRate),
            ("34806123456", SpecialRangeKind::PremiumRate),
            ("37190123456", SpecialRangeKind::PremiumRate),
            ("881612345678", SpecialRangeKind::Satellite),
            ("870773123456", SpecialRangeKind::Satellite),
            ("883120123456", SpecialRangeKind::International),
        ] {
            assert_eq!(find(digits).map(|(kind, _)| kind), Some(kind), "{digits}");
        }
        for digits in [
            "442071838750",
            "447400123456",
            "4930123456",
            "4915112345678",
            "33112345678",
            "33612345678",
            "390612345678",
            "393123456789",
            "34612345678",
            "6561234567",
            "61412345678",
            "8613812345678",
            "15550100001",
        ] {
            assert_eq!(find(digits), None, "{digits}");
        }
    }
}
