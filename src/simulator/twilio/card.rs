//! The rules by which Twilio accepts or rejects an entry on the keypad.

use super::CaptureField;

/// A card brand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CardBrand {
    /// 13, 16 or 19 digits that begin with 4.
    Visa,
    /// 16 digits, 51 to 55 or 2221 to 2720.
    Mastercard,
    /// 15 digits, 34 or 37; its security code has four.
    Amex,
    /// 16 digits, 6011 or 65; not accepted by default.
    Discover,
}

impl CardBrand {
    /// The value of `PaymentCardType`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Visa => "visa",
            Self::Mastercard => "mastercard",
            Self::Amex => "amex",
            Self::Discover => "discover",
        }
    }

    /// Determines the brand from the first digits.
    pub(crate) fn from_number(number: &str) -> Option<Self> {
        let first = |n: usize| number.get(..n).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
        match () {
            () if first(1) == 4 => Some(Self::Visa),
            () if (51..=55).contains(&first(2)) || (2221..=2720).contains(&first(4)) => Some(Self::Mastercard),
            () if matches!(first(2), 34 | 37) => Some(Self::Amex),
            () if first(4) == 6011 || first(2) == 65 => Some(Self::Discover),
            () => None,
        }
    }

    /// The number of digits at which an entry can end without the hash key.
    pub(crate) fn number_length(self) -> usize {
        if self == Self::Amex { 15 } else { 16 }
    }

    /// The length of the security code.
    pub(crate) fn code_length(self) -> usize {
        if self == Self::Amex { 4 } else { 3 }
    }

    fn accepts_length(self, length: usize) -> bool {
        match self {
            Self::Visa => matches!(length, 13 | 16 | 19),
            Self::Mastercard | Self::Discover => length == 16,
            Self::Amex => length == 15,
        }
    }
}

/// The input that a session accepts.
#[derive(Debug, Clone)]
pub(crate) struct AcceptedInput {
    /// The accepted card types, by their `PaymentCardType`.
    pub card_types: Vec<String>,
    /// The minimum length of a postal code.
    pub postal_code_length: usize,
}

impl Default for AcceptedInput {
    /// Twilio's defaults.
    fn default() -> Self {
        Self { card_types: ["visa", "mastercard", "amex"].map(str::to_owned).into(), postal_code_length: 3 }
    }
}

impl AcceptedInput {
    /// Validates an entry. The error is an `ErrorType`. `brand` is the brand of the card number that was entered
    /// before.
    pub(crate) fn validate(
        &self,
        field: CaptureField,
        entry: &str,
        brand: Option<CardBrand>,
    ) -> Result<(), &'static str> {
        let fine = match field {
            CaptureField::CardNumber => return self.validate_card_number(entry),
            CaptureField::SecurityCode => entry.len() == brand.map_or(3, CardBrand::code_length),
            CaptureField::ExpirationDate => validate_expiry(entry).is_some(),
            CaptureField::PostalCode => entry.len() >= self.postal_code_length,
            CaptureField::BankRoutingNumber => is_routing_number(entry),
            CaptureField::BankAccountNumber => (4..=17).contains(&entry.len()),
            // Matchers are compared with the first entry instead.
            CaptureField::CardNumberMatcher
            | CaptureField::ExpirationDateMatcher
            | CaptureField::SecurityCodeMatcher
            | CaptureField::PostalCodeMatcher => true,
        };
        let error = match field {
            CaptureField::SecurityCode => "invalid-security-code",
            CaptureField::ExpirationDate => "invalid-date",
            CaptureField::PostalCode => "invalid-postal-code",
            CaptureField::BankRoutingNumber => "invalid-bank-routing-number",
            _ => "invalid-bank-account-number",
        };
        if fine { Ok(()) } else { Err(error) }
    }

    fn validate_card_number(&self, entry: &str) -> Result<(), &'static str> {
        match CardBrand::from_number(entry).filter(|brand| brand.accepts_length(entry.len()) && is_luhn_valid(entry)) {
            None => Err("invalid-card-number"),
            Some(brand) if !self.card_types.iter().any(|word| word == brand.as_str()) => Err("invalid-card-type"),
            Some(_) => Ok(()),
        }
    }
}

/// Whether the entry has nine digits and a valid checksum with the weights 3, 7 and 1.
fn is_routing_number(entry: &str) -> bool {
    let weighted = |(digit, weight): (u8, u32)| u32::from(digit - b'0') * weight;
    let sum: u32 = entry.bytes().zip([3, 7, 1].into_iter().cycle()).map(weighted).sum();
    entry.len() == 9 && sum > 0 && sum.is_multiple_of(10)
}

/// The simulated year and month. It is fixed so that test cards do not expire.
const SIMULATED_MONTH: (u32, u32) = (2026, 8);

fn validate_expiry(entry: &str) -> Option<()> {
    let (month, year) = (entry.len() == 4).then(|| entry.split_at(2))?;
    let (month, year): (u32, u32) = (month.parse().ok()?, 2000 + year.parse::<u32>().ok()?);
    ((1..=12).contains(&month) && (year, month) >= SIMULATED_MONTH).then_some(())
}

fn is_luhn_valid(number: &str) -> bool {
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| match u32::from(digit - b'0') << (place % 2) {
            doubled if doubled > 9 => doubled - 9,
            digit => digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(field: CaptureField, entry: &str, brand: Option<CardBrand>) -> Result<(), &'static str> {
        AcceptedInput::default().validate(field, entry, brand)
    }

    #[test]
    fn a_card_number_needs_a_brand_its_length_and_the_check_digit() {
        for number in ["4242424242424242", "5555555555554444", "2223003122003222", "378282246310005", "4222222222222"] {
            assert_eq!(verdict(CaptureField::CardNumber, number, None), Ok(()), "{number}");
        }
        for number in ["4242424242424241", "42424242", "9999999999999995", "37828224631000"] {
            assert_eq!(verdict(CaptureField::CardNumber, number, None), Err("invalid-card-number"), "{number}");
        }
        assert_eq!(verdict(CaptureField::CardNumber, "6011111111111117", None), Err("invalid-card-type"));
        let taken = AcceptedInput { card_types: vec!["discover".to_owned()], ..AcceptedInput::default() };
        assert_eq!(taken.validate(CaptureField::CardNumber, "6011111111111117", None), Ok(()));
        assert_eq!(taken.validate(CaptureField::CardNumber, "4242424242424242", None), Err("invalid-card-type"));
    }

    #[test]
    fn the_brand_decides_how_long_the_security_code_is() {
        assert_eq!(verdict(CaptureField::SecurityCode, "123", Some(CardBrand::Visa)), Ok(()));
        assert_eq!(verdict(CaptureField::SecurityCode, "123", Some(CardBrand::Amex)), Err("invalid-security-code"));
        assert_eq!(verdict(CaptureField::SecurityCode, "1234", Some(CardBrand::Amex)), Ok(()));
    }

    #[test]
    fn an_expiry_date_is_a_month_that_is_not_over() {
        for (entry, fine) in [("0826", true), ("1229", true), ("0726", false), ("1329", false), ("129", false)] {
            assert_eq!(verdict(CaptureField::ExpirationDate, entry, None).is_ok(), fine, "{entry}");
        }
    }

    #[test]
    fn a_routing_number_has_nine_digits_and_a_check_sum() {
        for number in ["110000000", "011000015", "111000025"] {
            assert_eq!(verdict(CaptureField::BankRoutingNumber, number, None), Ok(()), "{number}");
        }
        for number in ["110000001", "11000000", "000000000", ""] {
            assert_eq!(
                verdict(CaptureField::BankRoutingNumber, number, None),
                Err("invalid-bank-routing-number"),
                "{number}"
            );
        }
        assert_eq!(verdict(CaptureField::BankAccountNumber, "12", None), Err("invalid-bank-account-number"));
    }
}
