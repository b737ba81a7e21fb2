//! Phone numbers in E.164 form, of callers and recipients.

mod country_codes;
mod destinations;
mod north_america;
mod special_ranges;
mod time_zones;

pub(crate) use destinations::is_emergency_number;
pub use destinations::{AllowedDestinations, DestinationError, NumberPrefix, ParseNumberPrefixError};
pub use special_ranges::SpecialRangeKind;
pub(crate) use time_zones::find_time_zones;

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A phone number in E.164 form. `Debug` does not print it, since it identifies a person.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct PhoneNumber(Box<str>);

/// The text is not a phone number in E.164 form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a phone number is in E.164 form: a plus sign, the country code and the number, such as +15550001111")]
pub struct ParsePhoneNumberError;

/// The values that networks send in place of a withheld number: ANONYMOUS, BLOCKED, RESTRICTED, UNAVAILABLE and
/// UNKNOWN, spelled on the keypad. They have the form of a number, and many callers share them.
const WITHHELD_NUMBERS: [&str; 5] = ["+266696687", "+2562533", "+7378742833", "+86282452253", "+8656696"];

impl PhoneNumber {
    /// Parses a number as networks and gateways may spell it: with blanks, hyphens, dots, slashes or brackets between its
    /// digits, percent-encoded, or as a `tel:` URI. The plus sign must be there: without it the country is not known.
    pub(crate) fn from_spelling(text: &str) -> Option<Self> {
        let compact = compact_number(text);
        compact.strip_prefix("tel:").unwrap_or(&compact).parse().ok()
    }

    /// Whether the value stands for a withheld number.
    pub fn is_withheld(&self) -> bool {
        WITHHELD_NUMBERS.contains(&self.as_str())
    }

    /// The number with its beginning and its last two digits only, so that an operator recognises it.
    pub fn masked(&self) -> String {
        format!("{} ··· {}", &self.0[..3], &self.0[self.0.len() - 2..])
    }

    /// The number: a plus sign and 7 to 15 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Removes what is no part of a number from its spelling, and writes letters in lower case.
pub(crate) fn compact_number(text: &str) -> String {
    let text = text.to_ascii_lowercase().replace("%2b", "+").replace("%20", " ");
    text.chars().filter(|c| !(c.is_whitespace() || "-./()".contains(*c))).collect()
}

impl FromStr for PhoneNumber {
    type Err = ParsePhoneNumberError;

    /// Parses a plus sign and 7 to 15 digits, of which the first is not zero.
    fn from_str(text: &str) -> Result<Self, ParsePhoneNumberError> {
        let digits = text.strip_prefix('+').ok_or(ParsePhoneNumberError)?;
        let fits = (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        fits.then(|| Self(text.into())).ok_or(ParsePhoneNumberError)
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = ParsePhoneNumberError;

    fn try_from(text: String) -> Result<Self, ParsePhoneNumberError> {
        text.parse()
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[phone number]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_e164() {
        for text in ["+15550001111", "+442071838750", "+6561234567"] {
            assert_eq!(text.parse::<PhoneNumber>().unwrap().as_str(), text);
        }
        for text in ["15550001111", "+1 555 000 1111", "+05550001111", "+1555", "+1555000111122223", "+", ""] {
            assert_eq!(text.parse::<PhoneNumber>(), Err(ParsePhoneNumberError), "{text}");
        }
    }

    #[test]
    fn a_number_with_a_plus_sign_may_be_spelled_in_other_ways() {
        for text in ["+1 555 000 1111", " +1 (555) 000-1111", "%2B1%20555.000.1111", "tel:+1-555-000-1111"] {
            assert_eq!(PhoneNumber::from_spelling(text).unwrap().as_str(), "+15550001111", "{text}");
        }
        for text in ["15550001111", "sip:+15550001111@example.com", "+1555000111a", "", "anonymous"] {
            assert_eq!(PhoneNumber::from_spelling(text), None, "{text}");
        }
    }

    #[test]
    fn a_word_spelled_on_the_keypad_is_a_withheld_number() {
        assert!("+266696687".parse::<PhoneNumber>().unwrap().is_withheld());
        assert!(!"+15550001111".parse::<PhoneNumber>().unwrap().is_withheld());
    }

    #[test]
    fn a_masked_number_has_four_of_its_digits() {
        for (number, masked) in [("+15550001234", "+15 ··· 34"), ("+1234567", "+12 ··· 67")] {
            assert_eq!(number.parse::<PhoneNumber>().unwrap().masked(), masked);
        }
    }

    #[test]
    fn debug_does_not_print_the_number() {
        assert_eq!(format!("{:?}", "+15550001111".parse::<PhoneNumber>().unwrap()), "[phone number]");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_accepted_is_kept(text in "\\+?[0-9\\PC]{0,18}") {
            if let Ok(number) = text.parse::<PhoneNumber>() {
                prop_assert_eq!(number.as_str(), text);
            }
        }
    }
}
