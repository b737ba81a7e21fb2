//! Which numbers the server calls and sends text messages to: `OUTBOUND_ALLOWED`.
//!
//! Toll fraud makes a server call or text numbers that earn from it. So it reaches only the numbers that the business
//! has to do with: by default those of its own country, without the ranges that cost more.

use std::fmt;
use std::str::FromStr;

use super::country_codes::find_country_code;
use super::special_ranges::{SpecialRange, SpecialRangeKind};
use super::{PhoneNumber, north_america};

/// The shortest national number, in digits. Shorter ones are emergency numbers and other short codes.
const MIN_NATIONAL_DIGITS: usize = 4;

/// The first digits of numbers: `+1`, `+4930`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberPrefix(Box<str>);

/// The text is not the beginning of numbers in E.164 form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a list of prefixes in E.164 form")]
pub struct ParseNumberPrefixError;

/// The numbers that may be called and texted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedDestinations {
    /// The prefixes of `OUTBOUND_ALLOWED`; empty if it is not set.
    listed: Vec<NumberPrefix>,
    /// The country of the server's own number.
    home: HomeCountry,
}

/// The country of a number: its country code, and its countries by ISO 3166-1.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HomeCountry {
    /// `None` if the number belongs to no country.
    code: Option<&'static str>,
    countries: &'static str,
}

/// Why a number is not called or texted. The message is for the operator, and names no more than the range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// An emergency number or another short code, with or without a country code.
    #[error("emergency numbers and other short numbers are never called, nor numbers that no country has")]
    NotDialable,
    /// A range that costs more, which no entry of `OUTBOUND_ALLOWED` names.
    #[error(
        "+{digits}… is a {}, which is refused unless OUTBOUND_ALLOWED names the range: add +{digits} to it if it is \
         meant to be called",
        .kind.as_words()
    )]
    SpecialRange {
        /// What kind of range it is.
        kind: SpecialRangeKind,
        /// The first digits of its numbers.
        digits: String,
    },
    /// No entry of `OUTBOUND_ALLOWED` allows the number.
    #[error(
        "numbers that begin with +{code} are not among those that this server calls: add +{code} to OUTBOUND_ALLOWED"
    )]
    NotAllowed {
        /// The country code, or the first three digits.
        code: String,
    },
}

impl AllowedDestinations {
    /// Creates the rule from `OUTBOUND_ALLOWED` and `FROM_NUMBER`. Without a list, the country of `from` is allowed.
    pub fn new(listed: Vec<NumberPrefix>, from: &PhoneNumber) -> Self {
        Self { listed, home: HomeCountry::of(from) }
    }

    /// Checks a number. Emergency and short numbers are always refused; a range that costs more unless an entry of the list
    /// names it, or a part of it; any other number unless an entry of the list covers it.
    pub fn check(&self, number: &PhoneNumber) -> Result<(), DestinationError> {
        let digits = digits_of(number);
        if !is_dialable(digits) {
            return Err(DestinationError::NotDialable);
        }
        let covers = |prefix: &&NumberPrefix| digits.starts_with(&*prefix.0);
        if let Some(range) = SpecialRange::find(digits) {
            let is_named = self.listed.iter().filter(covers).any(|prefix| prefix.0.len() >= range.digits.len());
            let is_home = range.kind == SpecialRangeKind::SharedCountryCode && HomeCountry::of(number) == self.home;
            if !is_named && !is_home {
                return Err(DestinationError::SpecialRange { kind: range.kind, digits: range.digits });
            }
        }
        let is_allowed = if self.listed.is_empty() {
            self.home.code.is_some_and(|code| digits.starts_with(code))
        } else {
            self.listed.iter().any(|prefix| covers(&prefix))
        };
        if is_allowed { Ok(()) } else { Err(DestinationError::NotAllowed { code: country_code_of(digits) }) }
    }
}

/// What is allowed, as a sentence without its end.
impl fmt::Display for AllowedDestinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.listed.as_slice(), self.home.code) {
            ([], Some(code)) => {
                write!(f, "numbers that begin with +{code} ({}), the country of FROM_NUMBER", self.home.countries)
            }
            ([], None) => f.write_str("no numbers, since FROM_NUMBER belongs to no country: set OUTBOUND_ALLOWED"),
            (listed, _) => {
                f.write_str("numbers that begin with ")?;
                for (at, prefix) in listed.iter().enumerate() {
                    write!(f, "{}+{}", if at == 0 { "" } else { ", " }, prefix.0)?;
                }
                Ok(())
            }
        }
    }
}

impl HomeCountry {
    fn of(number: &PhoneNumber) -> Self {
        let digits = digits_of(number);
        if let Some(national) = digits.strip_prefix('1') {
            return Self { code: Some("1"), countries: north_america::find_country(national) };
        }
        match find_country_code(digits) {
            Some((code, countries)) => Self { code: Some(code), countries },
            None => Self { code: None, countries: "" },
        }
    }
}

impl FromStr for NumberPrefix {
    type Err = ParseNumberPrefixError;

    /// Parses a plus sign and 1 to 15 digits, of which the first is not zero.
    fn from_str(text: &str) -> Result<Self, ParseNumberPrefixError> {
        let digits = text.strip_prefix('+').ok_or(ParseNumberPrefixError)?;
        let fits = (1..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        fits.then(|| Self(digits.into())).ok_or(ParseNumberPrefixError)
    }
}

/// The emergency numbers that are in use anywhere. Source: ITU-T E.161.1 and the national numbering plans.
const EMERGENCY_NUMBERS: &str = "000 100 101 102 103 104 108 110 111 112 113 114 115 116 117 118 119 120 122 123 128 130 131 132 \
                                 133 144 155 158 190 191 192 193 194 197 198 199 911 912 988 990 991 992 993 994 995 997 998 999";

/// Whether a text is an emergency number, as it is dialled or after a country code. Such numbers are too short to be a
/// [`PhoneNumber`].
pub(crate) fn is_emergency_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_emergency = |digits: &str| EMERGENCY_NUMBERS.split(' ').any(|known| known == digits);
    let national = match find_country_code(digits) {
        Some((code, _)) => &digits[code.len()..],
        None => digits.strip_prefix('1').unwrap_or(digits),
    };
    is_emergency(digits) || is_emergency(national) || is_emergency(national.trim_start_matches('0'))
}

fn digits_of(number: &PhoneNumber) -> &str {
    number.as_str().trim_start_matches('+')
}

/// Whether a number could be that of a person or a business: its national part is long enough, trunk prefixes apart.
fn is_dialable(digits: &str) -> bool {
    if let Some(national) = digits.strip_prefix('1') {
        return north_america::is_dialable(national);
    }
    let national = match find_country_code(digits) {
        Some((code, _)) => &digits[code.len()..],
        // Codes of no country have three digits.
        None if SpecialRange::find(digits).is_some() => &digits[3..],
        None => return false,
    };
    national.trim_start_matches('0').len() >= MIN_NATIONAL_DIGITS
}

fn country_code_of(digits: &str) -> String {
    match find_country_code(digits) {
        Some((code, _)) => code.to_owned(),
        None if digits.starts_with('1') => "1".to_owned(),
        None => digits.chars().take(3).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allowed(listed: &str, from: &str) -> AllowedDestinations {
        let listed = listed.split(',').filter(|it| !it.is_empty()).map(|it| it.parse().unwrap()).collect();
        AllowedDestinations::new(listed, &from.parse().unwrap())
    }

    fn check(rule: &AllowedDestinations, number: &str) -> Result<(), DestinationError> {
        rule.check(&number.parse().unwrap())
    }

    #[test]
    fn without_a_list_the_country_of_the_servers_number_is_allowed() {
        let american = allowed("", "+15550100002");
        assert_eq!(check(&american, "+15550100001"), Ok(()));
        assert_eq!(check(&american, "+14165550100"), Ok(()));
        assert_eq!(check(&american, "+4930123456"), Err(DestinationError::NotAllowed { code: "49".to_owned() }));
        let german = allowed("", "+4930123456");
        assert_eq!(check(&german, "+4915112345678"), Ok(()));
        assert_eq!(check(&german, "+15550100001"), Err(DestinationError::NotAllowed { code: "1".to_owned() }));
        assert_eq!(check(&german, "+43123456789"), Err(DestinationError::NotAllowed { code: "43".to_owned() }));
    }

    #[test]
    fn a_range_that_costs_more_is_allowed_only_by_its_own_entry() {
        for (number, digits) in [
            ("+19005550100", "1900"),
            ("+12129765010", "1212976"),
            ("+18765550100", "1876"),
            ("+15005550100", "1500"),
            ("+449098790000", "449"),
            ("+499001234567", "49900"),
            ("+491805123456", "49180"),
            ("+33899123456", "3389"),
            ("+39899123456", "3989"),
            ("+881612345678", "881"),
            ("+870773123456", "870"),
            ("+882123456789", "882"),
            ("+883120123456", "883"),
            ("+80012345678", "800"),
            ("+80812345678", "808"),
            ("+878101234567", "878"),
            ("+979123456789", "979"),
        ] {
            let wide = allowed("+1,+44,+49,+33,+39,+8,+9", "+15550100002");
            assert!(
                matches!(check(&wide, number), Err(DestinationError::SpecialRange { digits: found, .. }) if found == digits),
                "{number}: {:?}",
                check(&wide, number)
            );
            assert_eq!(check(&allowed(&format!("+{digits}"), "+15550100002"), number), Ok(()), "{number}");
            let message = check(&wide, number).unwrap_err().to_string();
            assert!(message.contains(&format!("add +{digits} to it")) && !message.contains(number), "{message}");
        }
    }

    #[test]
    fn another_country_of_plus_one_is_allowed_to_its_own_numbers() {
        let jamaican = allowed("", "+18765550100");
        assert_eq!(check(&jamaican, "+16585550100"), Ok(()));
        assert_eq!(check(&jamaican, "+12125550100"), Ok(()));
        assert!(check(&jamaican, "+18095550100").is_err());
        assert!(check(&jamaican, "+19005550100").is_err());
    }

    #[test]
    fn emergency_and_short_numbers_are_refused_whatever_is_listed() {
        let all = allowed("+1,+2,+3,+4,+5,+6,+7,+8,+9,+1911,+19115550,+999", "+15550100002");
        for number in [
            "+1911911",
            "+19115550100",
            "+12129115550",
            "+9991234567",
            "+35800112",
            "+44000999",
            "+2101234567",
            "+800112",
        ] {
            let Ok(number) = number.parse::<PhoneNumber>() else { continue };
            assert_eq!(all.check(&number), Err(DestinationError::NotDialable), "{}", number.as_str());
        }
        // These are too short to be numbers at all.
        for number in ["112", "911", "999", "+112", "+1911", "+1112", "+44999", "+49110", "+49112"] {
            assert!(number.parse::<PhoneNumber>().is_err() && is_emergency_number(number), "{number}");
        }
        for number in ["555", "", "+", "+15550100001", "+49", "é"] {
            assert!(!is_emergency_number(number), "{number}");
        }
    }

    #[test]
    fn a_list_replaces_the_default() {
        let rule = allowed("+4930,+33", "+15550100002");
        assert_eq!(check(&rule, "+4930123456"), Ok(()));
        assert_eq!(check(&rule, "+33612345678"), Ok(()));
        assert_eq!(check(&rule, "+4989123456"), Err(DestinationError::NotAllowed { code: "49".to_owned() }));
        assert_eq!(check(&rule, "+15550100001"), Err(DestinationError::NotAllowed { code: "1".to_owned() }));
        assert_eq!(rule.to_string(), "numbers that begin with +4930, +33");
        assert_eq!(
            allowed("", "+4930123456").to_string(),
            "numbers that begin with +49 (DE), the country of FROM_NUMBER"
        );
    }

    #[test]
    fn a_prefix_is_a_plus_sign_and_digits() {
        for text in ["+1", "+49", "+4930", "+123456789012345"] {
            assert!(text.parse::<NumberPrefix>().is_ok(), "{text}");
        }
        for text in ["", "+", "1", "+0", "+49 30", "+1234567890123456", "49*"] {
            assert_eq!(text.parse::<NumberPrefix>(), Err(ParseNumberPrefixError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_judged_without_a_panic(digits in "[1-9][0-9]{6,14}") {
            let number: PhoneNumber = format!("+{digits}").parse().unwrap();
            let _ = allowed("", "+15550100002").check(&number);
            let _ = allowed("+1,+8,+99", "+881612345678").check(&number);
        }
    }
}
