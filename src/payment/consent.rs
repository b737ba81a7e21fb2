//! Consent records: the statement that the server read to the caller, and the caller's answer.

use sha2::{Digest as _, Sha256};

use super::Amount;

/// What a statement asks consent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentPurpose {
    /// Charging this amount.
    Charge(Amount),
    /// Charging this amount although the same amount was paid shortly before.
    ChargeAgain(Amount),
    /// Submitting the open payment after the caller said something that was not answered.
    SubmitOpenPayment,
}

/// The caller's answer to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentAnswer {
    /// A yes.
    Yes,
    /// A no.
    No,
    /// Neither.
    Unclear,
}

/// A statement that was spoken to its end and answered. The ledger stores it without the caller's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRecord {
    /// What consent was asked for.
    pub purpose: ConsentPurpose,
    /// The statement as spoken.
    pub text: String,
    /// The language of the statement, as a BCP 47 code.
    pub language: String,
    /// The version of the text; see [`text_version`].
    pub text_version: String,
    /// The answer.
    pub answer: ConsentAnswer,
}

/// A statement that was spoken to its end and needs no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpokenStatement {
    /// The statement as spoken.
    pub text: String,
    /// The language of the statement, as a BCP 47 code.
    pub language: String,
    /// The version of the text; see [`text_version`].
    pub text_version: String,
}

impl ConsentPurpose {
    /// The value stored in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Charge(_) => "charge",
            Self::ChargeAgain(_) => "charge-again",
            Self::SubmitOpenPayment => "go-on",
        }
    }

    /// The amount that the statement names.
    pub fn amount(self) -> Option<Amount> {
        match self {
            Self::Charge(amount) | Self::ChargeAgain(amount) => Some(amount),
            Self::SubmitOpenPayment => None,
        }
    }
}

impl ConsentAnswer {
    /// The value stored in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unclear => "unclear",
        }
    }
}

/// The version of a text before its placeholders are filled in: the first eight hexadecimal digits of its SHA-256.
pub fn text_version(template: &str) -> String {
    hex::encode(&Sha256::digest(template)[..4])
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
