//! What a caller enters on the keypad, and the rules by which Twilio takes or refuses it.

/// A field that Twilio collects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The card number.
    CardNumber,
    /// The card number once more.
    CardNumberMatcher,
    /// Month and year.
    ExpirationDate,
    /// Month and year once more.
    ExpirationDateMatcher,
    /// CVC.
    SecurityCode,
    /// CVC once more.
    SecurityCodeMatcher,
    /// The postal code of the card's holder.
    PostalCode,
    /// The postal code once more.
    PostalCodeMatcher,
    /// The number of the bank.
    BankRoutingNumber,
    /// The number of the account.
    BankAccountNumber,
}

impl Field {
    /// All that are played here.
    pub const ALL: [Self; 10] = [
        Self::CardNumber,
        Self::CardNumberMatcher,
        Self::ExpirationDate,
        Self::ExpirationDateMatcher,
        Self::SecurityCode,
        Self::SecurityCodeMatcher,
        Self::PostalCode,
        Self::PostalCodeMatcher,
        Self::BankRoutingNumber,
        Self::BankAccountNumber,
    ];

    /// The field that is entered to match this one.
    pub fn matcher(self) -> Option<Self> {
        match self {
            Self::CardNumber => Some(Self::CardNumberMatcher),
            Self::ExpirationDate => Some(Self::ExpirationDateMatcher),
            Self::SecurityCode => Some(Self::SecurityCodeMatcher),
            Self::PostalCode => Some(Self::PostalCodeMatcher),
            _ => None,
        }
    }

    /// The field that this one has to match, if it has to.
    pub fn matches(self) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.matcher() == Some(self))
    }

    /// The value of `Capture`.
    pub fn kebab(self) -> &'static str {
        match self {
            Self::CardNumber => "payment-card-number",
            Self::CardNumberMatcher => "payment-card-number-matcher",
            Self::ExpirationDate => "expiration-date",
            Self::ExpirationDateMatcher => "expiration-date-matcher",
            Self::SecurityCode => "security-code",
            Self::SecurityCodeMatcher => "security-code-matcher",
            Self::PostalCode => "postal-code",
            Self::PostalCodeMatcher => "postal-code-matcher",
            Self::BankRoutingNumber => "bank-routing-number",
            Self::BankAccountNumber => "bank-account-number",
        }
    }

    /// The name of the form field, and the other spelling of `Required`.
    pub fn pascal(self) -> &'static str {
        match self {
            Self::CardNumber => "PaymentCardNumber",
            Self::CardNumberMatcher => "PaymentCardNumberMatcher",
            Self::ExpirationDate => "ExpirationDate",
            Self::ExpirationDateMatcher => "ExpirationDateMatcher",
            Self::SecurityCode => "SecurityCode",
            Self::SecurityCodeMatcher => "SecurityCodeMatcher",
            Self::PostalCode => "PaymentCardPostalCode",
            Self::PostalCodeMatcher => "PaymentCardPostalCodeMatcher",
            Self::BankRoutingNumber => "BankRoutingNumber",
            Self::BankAccountNumber => "BankAccountNumber",
        }
    }

    /// The field in plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::CardNumber => "card number",
            Self::CardNumberMatcher => "same card number",
            Self::ExpirationDate => "expiry date",
            Self::ExpirationDateMatcher => "same expiry date",
            Self::SecurityCode => "security code",
            Self::SecurityCodeMatcher => "same security code",
            Self::PostalCode => "postal code",
            Self::PostalCodeMatcher => "same postal code",
            Self::BankRoutingNumber => "routing number",
            Self::BankAccountNumber => "account number",
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
    /// 16 digits, 6011 or 65; not among the cards that are taken unless asked for.
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

/// What a session takes of each field.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The words of the card types that are taken.
    pub card_types: Vec<String>,
    /// How many digits a postal code has at least.
    pub postal_code_length: usize,
}

impl Default for Taken {
    /// What Twilio takes where nothing else is asked for.
    fn default() -> Self {
        Self { card_types: ["visa", "mastercard", "amex"].map(str::to_owned).into(), postal_code_length: 3 }
    }
}

impl Taken {
    /// Twilio's verdict on an entry: fine, or an `ErrorType`. `brand` is that of the card number that stands already.
    pub fn verdict(&self, field: Field, entry: &str, brand: Option<Brand>) -> Result<(), &'static str> {
        let fine = match field {
            Field::CardNumber => return self.card(entry),
            Field::SecurityCode => entry.len() == brand.map_or(3, Brand::code_length),
            Field::ExpirationDate => expiry(entry).is_some(),
            Field::PostalCode => entry.len() >= self.postal_code_length,
            Field::BankRoutingNumber => is_routing_number(entry),
            Field::BankAccountNumber => (4..=17).contains(&entry.len()),
            // They are held against what was entered first.
            Field::CardNumberMatcher
            | Field::ExpirationDateMatcher
            | Field::SecurityCodeMatcher
            | Field::PostalCodeMatcher => true,
        };
        let error = match field {
            Field::SecurityCode => "invalid-security-code",
            Field::ExpirationDate => "invalid-date",
            Field::PostalCode => "invalid-postal-code",
            Field::BankRoutingNumber => "invalid-bank-routing-number",
            _ => "invalid-bank-account-number",
        };
        if fine { Ok(()) } else { Err(error) }
    }

    fn card(&self, entry: &str) -> Result<(), &'static str> {
        match Brand::of(entry).filter(|brand| brand.takes(entry.len()) && luhn(entry)) {
            None => Err("invalid-card-number"),
            Some(brand) if !self.card_types.iter().any(|word| word == brand.word()) => Err("invalid-card-type"),
            Some(_) => Ok(()),
        }
    }
}

/// Nine digits, whose check sum has the weights 3, 7 and 1.
fn is_routing_number(entry: &str) -> bool {
    let weighted = |(digit, weight): (u8, u32)| u32::from(digit - b'0') * weight;
    let sum: u32 = entry.bytes().zip([3, 7, 1].into_iter().cycle()).map(weighted).sum();
    entry.len() == 9 && sum > 0 && sum.is_multiple_of(10)
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

    fn verdict(field: Field, entry: &str, brand: Option<Brand>) -> Result<(), &'static str> {
        Taken::default().verdict(field, entry, brand)
    }

    #[test]
    fn a_card_number_needs_a_brand_its_length_and_the_check_digit() {
        for number in ["4242424242424242", "5555555555554444", "2223003122003222", "378282246310005", "4222222222222"] {
            assert_eq!(verdict(Field::CardNumber, number, None), Ok(()), "{number}");
        }
        for number in ["4242424242424241", "42424242", "9999999999999995", "37828224631000"] {
            assert_eq!(verdict(Field::CardNumber, number, None), Err("invalid-card-number"), "{number}");
        }
        assert_eq!(verdict(Field::CardNumber, "6011111111111117", None), Err("invalid-card-type"));
        let taken = Taken { card_types: vec!["discover".to_owned()], ..Taken::default() };
        assert_eq!(taken.verdict(Field::CardNumber, "6011111111111117", None), Ok(()));
        assert_eq!(taken.verdict(Field::CardNumber, "4242424242424242", None), Err("invalid-card-type"));
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

    #[test]
    fn a_routing_number_has_nine_digits_and_a_check_sum() {
        for number in ["110000000", "011000015", "111000025"] {
            assert_eq!(verdict(Field::BankRoutingNumber, number, None), Ok(()), "{number}");
        }
        for number in ["110000001", "11000000", "000000000", ""] {
            assert_eq!(verdict(Field::BankRoutingNumber, number, None), Err("invalid-bank-routing-number"), "{number}");
        }
        assert_eq!(verdict(Field::BankAccountNumber, "12", None), Err("invalid-bank-account-number"));
    }
}
