//! The fields of a card that are collected, and sets of them.

use std::fmt;

/// A field that the caller enters on the keypad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The card number.
    CardNumber,
    /// The security code: three digits, four on American Express.
    SecurityCode,
    /// The expiry date as four digits, month and year.
    ExpirationDate,
    /// The postal code of the card's holder.
    PostalCode,
}

impl Field {
    /// All of them, in the order in which they are asked for.
    pub const ALL: [Self; 4] = [Self::CardNumber, Self::SecurityCode, Self::ExpirationDate, Self::PostalCode];

    /// The value of `Capture` on the wire.
    pub fn wire(self) -> &'static str {
        match self {
            Self::CardNumber => "payment-card-number",
            Self::SecurityCode => "security-code",
            Self::ExpirationDate => "expiration-date",
            Self::PostalCode => "postal-code",
        }
    }

    /// The tool that asks for it.
    pub fn tool(self) -> &'static str {
        match self {
            Self::CardNumber => "capture-card",
            Self::SecurityCode => "capture-security-code",
            Self::ExpirationDate => "capture-expiry-date",
            Self::PostalCode => "capture-postal-code",
        }
    }

    /// Reads either spelling that `Capture` and `Required` are known to use: `expiration-date`, `ExpirationDate`.
    pub fn from_wire(text: &str) -> Option<Self> {
        let key: String = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        match key.as_str() {
            "paymentcardnumber" | "cardnumber" => Some(Self::CardNumber),
            "securitycode" => Some(Self::SecurityCode),
            "expirationdate" => Some(Self::ExpirationDate),
            "postalcode" | "paymentcardpostalcode" => Some(Self::PostalCode),
            _ => None,
        }
    }
}

/// The field in the words of a conversation.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CardNumber => "card number",
            Self::SecurityCode => "security code",
            Self::ExpirationDate => "expiry date",
            Self::PostalCode => "postal code",
        })
    }
}

/// A set of fields.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields(u8);

impl Fields {
    /// Puts a field in.
    pub fn insert(&mut self, field: Field) {
        self.0 |= 1 << field as u8;
    }

    /// Takes a field out.
    pub fn remove(&mut self, field: Field) {
        self.0 &= !(1 << field as u8);
    }

    /// Whether the field is in.
    pub fn contains(self, field: Field) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// Those that are in `self` and not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The fields in the order in which they are asked for.
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

/// The fields as a conversation would list them: `security code, expiry date`, or `nothing`.
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
