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
    /// Debiting the caller's bank account: `Compliance.achAuthorization`.
    BankDebit(Amount),
    /// Storing the card or the account for later charges: `Compliance.storedCard`.
    StoredCard,
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
    /// The statement as spoken, but with `{name}` in place of the payer's name: what is recorded cannot be erased.
    pub text: String,
    /// The SHA-256 of the whole statement as spoken, in hexadecimal.
    pub sha256: String,
    /// The language of the statement, as a BCP 47 code.
    pub language: String,
    /// The version of the text; see [`text_version`].
    pub text_version: String,
    /// The answer.
    pub answer: ConsentAnswer,
}

/// A statement that the server says whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpokenStatement {
    /// The statement as spoken.
    pub text: String,
    /// The statement with `{name}` in place of the payer's name.
    pub recorded_text: String,
    /// The language of the statement, as a BCP 47 code.
    pub language: String,
    /// The version of the text; see [`text_version`].
    pub text_version: String,
}

impl SpokenStatement {
    /// Adds the caller's answer.
    pub fn into_record(self, purpose: ConsentPurpose, answer: ConsentAnswer) -> ConsentRecord {
        let Self { text, recorded_text, language, text_version } = self;
        ConsentRecord { purpose, sha256: text_sha256(&text), text: recorded_text, language, text_version, answer }
    }
}

/// What a statement that needs no answer tells the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// That the agent is a machine: `Compliance.disclosure`.
    Disclosure,
    /// That the call is recorded: `Recording.announcement`.
    Recording,
}

impl NoticeKind {
    /// The purpose of the statement in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disclosure => "disclosure",
            Self::Recording => "recording",
        }
    }
}

impl ConsentPurpose {
    /// The value stored in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Charge(_) => "charge",
            Self::ChargeAgain(_) => "charge-again",
            Self::SubmitOpenPayment => "go-on",
            Self::BankDebit(_) => "bank-debit",
            Self::StoredCard => "stored-card",
        }
    }

    /// The amount that the statement names.
    pub fn amount(self) -> Option<Amount> {
        match self {
            Self::Charge(amount) | Self::ChargeAgain(amount) | Self::BankDebit(amount) => Some(amount),
            Self::SubmitOpenPayment | Self::StoredCard => None,
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

/// The SHA-256 of a text, in hexadecimal.
pub fn text_sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
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
