//! The fields of a card or a bank account that are collected, and sets of them.

use std::fmt;

/// A field that the caller enters on the keypad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The card number.
    CardNumber,
    /// The card number once more: `RequireMatchingInputs` asks for it.
    CardNumberMatcher,
    /// The security code: three digits, four on American Express.
    SecurityCode,
    /// The security code once more.
    SecurityCodeMatcher,
    /// The expiry date as four digits, month and year.
    ExpirationDate,
    /// The expiry date once more.
    ExpirationDateMatcher,
    /// The postal code of the card's holder.
    PostalCode,
    /// The postal code once more.
    PostalCodeMatcher,
    /// The number of the bank: nine digits.
    BankRoutingNumber,
    /// The number of the account at that bank.
    BankAccountNumber,
}

impl Field {
    /// All fields, in the order in which they are captured.
    pub const ALL: [Self; 10] = [
        Self::CardNumber,
        Self::CardNumberMatcher,
        Self::SecurityCode,
        Self::SecurityCodeMatcher,
        Self::ExpirationDate,
        Self::ExpirationDateMatcher,
        Self::PostalCode,
        Self::PostalCodeMatcher,
        Self::BankRoutingNumber,
        Self::BankAccountNumber,
    ];

    /// The matcher of this field, where Twilio has one: the field that repeats it.
    pub fn matcher(self) -> Option<Self> {
        match self {
            Self::CardNumber => Some(Self::CardNumberMatcher),
            Self::SecurityCode => Some(Self::SecurityCodeMatcher),
            Self::ExpirationDate => Some(Self::ExpirationDateMatcher),
            Self::PostalCode => Some(Self::PostalCodeMatcher),
            _ => None,
        }
    }

    /// The field that this matcher repeats, or the field itself if it is not a matcher.
    pub fn base_field(self) -> Self {
        Self::ALL.into_iter().find(|field| field.matcher() == Some(self)).unwrap_or(self)
    }

    /// Whether the field repeats another one.
    pub fn is_matcher(self) -> bool {
        self.base_field() != self
    }

    /// The value of `Capture` on the wire.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::CardNumber => "payment-card-number",
            Self::CardNumberMatcher => "payment-card-number-matcher",
            Self::SecurityCode => "security-code",
            Self::SecurityCodeMatcher => "security-code-matcher",
            Self::ExpirationDate => "expiration-date",
            Self::ExpirationDateMatcher => "expiration-date-matcher",
            Self::PostalCode => "postal-code",
            Self::PostalCodeMatcher => "postal-code-matcher",
            Self::BankRoutingNumber => "bank-routing-number",
            Self::BankAccountNumber => "bank-account-number",
        }
    }

    /// The tool that captures the field. A field and its matcher share one tool, which captures the missing one.
    pub fn tool_name(self) -> &'static str {
        match self {
            Self::CardNumber | Self::CardNumberMatcher => "capture-card",
            Self::SecurityCode | Self::SecurityCodeMatcher => "capture-security-code",
            Self::ExpirationDate | Self::ExpirationDateMatcher => "capture-expiry-date",
            Self::PostalCode | Self::PostalCodeMatcher => "capture-postal-code",
            Self::BankRoutingNumber => "capture-bank-routing-number",
            Self::BankAccountNumber => "capture-bank-account-number",
        }
    }

    /// Parses either spelling that `Capture` and `Required` are known to use: `expiration-date`, `ExpirationDate`.
    pub fn from_wire(text: &str) -> Option<Self> {
        let key: String = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        if let Some(first) = key.strip_suffix("matcher") {
            return Self::from_wire(first)?.matcher();
        }
        match key.as_str() {
            "paymentcardnumber" | "cardnumber" => Some(Self::CardNumber),
            "securitycode" => Some(Self::SecurityCode),
            "expirationdate" => Some(Self::ExpirationDate),
            "postalcode" | "paymentcardpostalcode" => Some(Self::PostalCode),
            "bankroutingnumber" => Some(Self::BankRoutingNumber),
            "bankaccountnumber" => Some(Self::BankAccountNumber),
            _ => None,
        }
    }
}

/// The field's name in conversation.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CardNumber => "card number",
            Self::CardNumberMatcher => "repeated card number",
            Self::SecurityCode => "security code",
            Self::SecurityCodeMatcher => "repeated security code",
            Self::ExpirationDate => "expiry date",
            Self::ExpirationDateMatcher => "repeated expiry date",
            Self::PostalCode => "postal code",
            Self::PostalCodeMatcher => "repeated postal code",
            Self::BankRoutingNumber => "bank routing number",
            Self::BankAccountNumber => "bank account number",
        })
    }
}

/// A set of fields.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields(u16);

impl Fields {
    /// Adds a field.
    pub fn insert(&mut self, field: Field) {
        self.0 |= 1 << field as u8;
    }

    /// Removes a field.
    pub fn remove(&mut self, field: Field) {
        self.0 &= !(1 << field as u8);
    }

    /// Whether the set contains the field.
    pub fn contains(self, field: Field) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// The fields that are in `self` and not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields in the order in which they are captured.
    pub fn iter(self) -> impl Iterator<Item = Field> {
        Field::ALL.into_iter().filter(move |field| self.contains(*field))
    }
}

impl FromIterator<Field> for Fields {
    fn from_iter<I: IntoIterator<Item = Field>>(fields: I) -> Self {
        let mut set = Self::default();
        fields.into_iter().for_each(|field| set.insert(field));
        set
    }
}

/// The fields listed for a conversation: `security code, expiry date`, or `nothing`.
impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        for (n, field) in self.iter().enumerate() {
            write!(f, "{}{field}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_parsed_in_both_spellings() {
        for field in Field::ALL {
            assert_eq!(Field::from_wire(field.wire_name()), Some(field));
        }
        assert_eq!(Field::from_wire("BankRoutingNumber"), Some(Field::BankRoutingNumber));
        assert_eq!(Field::from_wire("PaymentCardNumberMatcher"), Some(Field::CardNumberMatcher));
        // Twilio has no matcher for a bank account.
        for unknown in ["bank-account-number-matcher", "matcher", "", "payment-card-number-matcher-matcher"] {
            assert_eq!(Field::from_wire(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_matcher_shares_the_tool_of_its_field_and_directly_follows_it() {
        for (at, field) in Field::ALL.into_iter().enumerate() {
            let Some(matcher) = field.matcher() else { continue };
            assert_eq!(
                (matcher.base_field(), matcher.tool_name(), Field::ALL[at + 1]),
                (field, field.tool_name(), matcher)
            );
            assert!(matcher.is_matcher() && !field.is_matcher());
        }
    }
}
