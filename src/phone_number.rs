//! Phone numbers in E.164 form: to whom calls and messages go, and from whom they come.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A phone number in E.164 form. `Debug` prints nothing of it, since it says who somebody is.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct PhoneNumber(Box<str>);

/// A text that is not a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a phone number is in E.164 form: a plus sign, the country code and the number, such as +15550001111")]
pub struct BadPhoneNumber;

/// What networks put in the place of a number that is withheld: ANONYMOUS, BLOCKED, RESTRICTED, UNAVAILABLE and UNKNOWN, as
/// a telephone's keys spell them. They have the form of a number, and many callers have them in common.
const WITHHELD: [&str; 5] = ["+266696687", "+2562533", "+7378742833", "+86282452253", "+8656696"];

impl PhoneNumber {
    /// Whether it is no number, but the word for one that the caller withholds.
    pub fn is_withheld(&self) -> bool {
        WITHHELD.contains(&self.as_str())
    }

    /// The number: a plus sign and 7 to 15 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PhoneNumber {
    type Err = BadPhoneNumber;

    /// A plus sign, a country code and a number: 7 to 15 digits, the first of them no zero.
    fn from_str(text: &str) -> Result<Self, BadPhoneNumber> {
        let digits = text.strip_prefix('+').ok_or(BadPhoneNumber)?;
        let fits = (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        fits.then(|| Self(text.into())).ok_or(BadPhoneNumber)
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = BadPhoneNumber;

    fn try_from(text: String) -> Result<Self, BadPhoneNumber> {
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
            assert_eq!(text.parse::<PhoneNumber>(), Err(BadPhoneNumber), "{text}");
        }
    }

    #[test]
    fn a_word_spelled_on_the_keys_is_nobodys_number() {
        assert!("+266696687".parse::<PhoneNumber>().unwrap().is_withheld());
        assert!(!"+15550001111".parse::<PhoneNumber>().unwrap().is_withheld());
    }

    #[test]
    fn debug_shows_nothing_of_it() {
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
