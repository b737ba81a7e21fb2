//! What the server asked the caller in its own words, and how the caller answered: the evidence of a consent.

use sha2::{Digest as _, Sha256};

use super::Amount;

/// What a statement asks the caller for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To charge this amount.
    Charge(Amount),
    /// To charge this amount, though the same was paid a little while ago.
    ChargeAgain(Amount),
    /// To submit the payment that is open, after words that were not answered.
    GoOn,
}

/// How a caller answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// A yes.
    Yes,
    /// A no.
    No,
    /// Neither.
    Unclear,
}

/// A statement that was said whole and answered. It goes into the ledger; the caller's own words do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// What was asked for.
    pub purpose: Purpose,
    /// The statement as it was said.
    pub text: String,
    /// The language it was said in, as a BCP 47 code.
    pub language: String,
    /// Which version of the text: see [`text_version`].
    pub version: String,
    /// The answer.
    pub consent: Consent,
}

impl Purpose {
    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Charge(_) => "charge",
            Self::ChargeAgain(_) => "charge-again",
            Self::GoOn => "go-on",
        }
    }

    /// The amount that was named.
    pub fn amount(self) -> Option<Amount> {
        match self {
            Self::Charge(amount) | Self::ChargeAgain(amount) => Some(amount),
            Self::GoOn => None,
        }
    }
}

impl Consent {
    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unclear => "unclear",
        }
    }
}

/// The version of a text with its placeholders still in it: the first eight hexadecimal digits of its SHA-256.
pub fn text_version(template: &str) -> String {
    let digest = Sha256::digest(template.as_bytes());
    digest.iter().take(4).fold(String::new(), |version, byte| format!("{version}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_text_is_another_version() {
        assert_eq!(text_version(""), "e3b0c442");
        assert_ne!(text_version("That is {amount}."), text_version("That is {amount}!"));
    }
}
