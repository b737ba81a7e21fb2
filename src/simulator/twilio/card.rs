//! What a caller enters on the keypad, and the rules by which Twilio takes or refuses it.

/// A field that Twilio collects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The card number.
    CardNumber,
    /// Month and year.
    ExpirationDate,
    /// CVC.
    SecurityCode,
    /// The postal code of the card's holder.
    PostalCode,
}

impl Field {
    /// All that are played here.
    pub const ALL: [Self; 4] = [Self::CardNumber, Self::ExpirationDate, Self::SecurityCode, Self::PostalCode];

    /// The value of `Capture`.
    pub fn kebab(self) -> &'static str {
        match self {
            Self::CardNumber => "payment-card-number",
            Self::ExpirationDate => "expiration-date",
            Self::SecurityCode => "security-code",
            Self::PostalCode => "postal-code",
        }
    }

    /// The name of the form field, and the other spelling of `Required`.
    pub fn pascal(self) -> &'static str {
        match self {
            Self::CardNumber => "PaymentCardNumber",
            Self::ExpirationDate => "ExpirationDate",
            Self::SecurityCode => "SecurityCode",
            Self::PostalCode => "PaymentCardPostalCode",
        }
    }

    /// The field in plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::CardNumber => "card number",
            Self::ExpirationDate => "expiry date",
            Self::SecurityCode => "security code",
            Self::PostalCode => "postal code",
        }
    }
}

/// A kind of card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brand {
    /// 13, 16 or 19 digits that begin with 4.
    Visa,
    /// 16 digits, 51 to 55 or 2221 to 2720.
    Mastercard,
    /// 15 digits, 34 or 37; its security code has four.
    Amex,
    /// Known, but not among the cards that are taken unless asked for.
    Discover,
}

impl Brand {
    /// The word in `PaymentCardType`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Visa => "visa",
            Self::Mastercard => "mastercard",
            Self::Amex => "amex",
            Self::Discover => "discover",
        }
    }

    /// The brand that the first digits tell.
    pub fn of(number: &str) -> Option<Self> {
        let first = |n: usize| number.get(..n).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
        match () {
            () if first(1) == 4 => Some(Self::Visa),
            () if (51..=55).contains(&first(2)) || (2221..=2720).contains(&first(4)) => Some(Self::Mastercard),
            () if matches!(first(2), 34 | 37) => Some(Self::Amex),
            () if first(4) == 6011 || first(2) == 65 => Some(Self::Discover),
            () => None,
        }
    }

    /// How long the number is at most; the entry of one that is this long is over without the hash key.
    pub fn number_length(self) -> usize {
        if self == Self::Amex { 15 } else { 16 }
    }

    /// How long the security code is.
    pub fn code_length(self) -> usize {
        if self == Self::Amex { 4 } else { 3 }
    }

    fn takes(self, length: usize) -> bool {
        match self {
            Self::Visa => matches!(length, 13 | 16 | 19),
            Self::Mastercard | Self::Discover => length == 16,
            Self::Amex => length == 15,
        }
    }
}

/// Twilio's verdict on an entry: fine, or an `ErrorType`. `brand` is that of the card number that stands already.
pub fn verdict(field: Field, entry: &str, brand: Option<Brand>) -> Result<(), &'static str> {
    match field {
        Field::CardNumber => match Brand::of(entry) {
            Some(brand) if brand.takes(entry.len()) && luhn(entry) => {
                if brand == Brand::Discover {
                    Err("invalid-card-type")
                } else {
                    Ok(())
                }
            }
            _ => Err("invalid-card-number"),
        },
        Field::SecurityCode => {
            let length = brand.map_or(3, Brand::code_length);
            if entry.len() == length { Ok(()) } else { Err("invalid-security-code") }
        }
        Field::ExpirationDate => expiry(entry).ok_or("invalid-date"),
        Field::PostalCode => {
            if entry.len() >= 3 {
                Ok(())
            } else {
                Err("invalid-postal-code")
            }
        }
    }
}

/// The clock of the stand-in stands in August 2026, so that a card never expires under a test.
const NOW: (u32, u32) = (2026, 8);

fn expiry(entry: &str) -> Option<()> {
    let (month, year) = (entry.len() == 4).then(|| entry.split_at(2))?;
    let (month, year): (u32, u32) = (month.parse().ok()?, 2000 + year.parse::<u32>().ok()?);
    ((1..=12).contains(&month) && (year, month) >= NOW).then_some(())
}

fn luhn(number: &str) -> bool {
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

    #[test]
    fn a_card_number_needs_a_brand_its_length_and_the_check_digit() {
        for number in ["4242424242424242", "5555555555554444", "2223003122003222", "378282246310005", "4222222222222"] {
            assert_eq!(verdict(Field::CardNumber, number, None), Ok(()), "{number}");
        }
        for number in ["4242424242424241", "42424242", "9999999999999995", "37828224631000"] {
            assert_eq!(verdict(Field::CardNumber, number, None), Err("invalid-card-number"), "{number}");
        }
        assert_eq!(verdict(Field::CardNumber, "6011111111111117", None), Err("invalid-card-type"));
    }

    #[test]
    fn the_brand_decides_how_long_the_security_code_is() {
        assert_eq!(verdict(Field::SecurityCode, "123", Some(Brand::Visa)), Ok(()));
        assert_eq!(verdict(Field::SecurityCode, "123", Some(Brand::Amex)), Err("invalid-security-code"));
        assert_eq!(verdict(Field::SecurityCode, "1234", Some(Brand::Amex)), Ok(()));
    }

    #[test]
    fn an_expiry_date_is_a_month_that_is_not_over() {
        for (entry, fine) in [("0826", true), ("1229", true), ("0726", false), ("1329", false), ("129", false)] {
            assert_eq!(verdict(Field::ExpirationDate, entry, None).is_ok(), fine, "{entry}");
        }
    }
}
