//! What the cells of an export mean: statuses, kinds of rows, modes and refunds.

use super::amount::ExportAmount;
use crate::redact::without_card_numbers;

/// The longest word of an export that is shown, in characters.
const MAX_WORD: usize = 32;

/// What a processor says of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportStatus {
    /// It was paid.
    Paid,
    /// It was not paid.
    Failed,
    /// A bank debit came back.
    Returned,
    /// It was paid and refunded, in whole or in part.
    Refunded,
    /// It was paid, and is disputed.
    Disputed,
    /// It is not known yet.
    Pending,
    /// Another word, or none.
    Other(String),
}

/// What a row records. Only a payment can settle one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowKind {
    /// A charge, or no column says what.
    Payment,
    /// A refund.
    Refund,
    /// A dispute.
    Dispute,
    /// An authorization, a payout, a fee, or a word that is not known.
    Other(String),
}

/// Whether a row is about real money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No column says it.
    Unstated,
    /// It is.
    Live,
    /// It is not.
    Test,
    /// The columns contradict each other, or say neither.
    Unclear,
}

/// How much is refunded, as the columns beside the amount say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowRefund {
    /// No column says it.
    Unstated,
    /// So much, which may be zero.
    Amount(ExportAmount),
    /// Something is refunded, and no column says how much.
    Unspecified,
}

impl ExportStatus {
    /// The status that the columns say, and whether one of them contradicts it. A dispute beside a payment makes it disputed.
    pub(super) fn read_all(texts: &[&str], disputes: &[&str], minor: bool) -> (Self, bool) {
        let statuses: Vec<Self> = texts.iter().map(|text| Self::read(text)).collect();
        let status = statuses.first().cloned().unwrap_or_else(|| Self::read(""));
        // A word that is not known may be the state of an address.
        let is_contradicted = statuses.iter().any(|other| *other != status && !matches!(other, Self::Other(_)));
        let is_disputed = disputes
            .iter()
            .any(|text| says_yes(text) != Some(false) && !ExportAmount::read_cell(text, minor).0.is_zero());
        match status {
            Self::Paid | Self::Other(_) if is_disputed => (Self::Disputed, is_contradicted),
            // What was not paid is not disputed.
            Self::Failed | Self::Returned | Self::Pending => (status, is_contradicted || is_disputed),
            status => (status, is_contradicted),
        }
    }

    fn read(text: &str) -> Self {
        match normalize(text).as_str() {
            "succeeded" | "success" | "successful" | "paid" | "captured" | "settled" | "complete" | "completed" => {
                Self::Paid
            }
            "failed" | "failure" | "declined" => Self::Failed,
            "returned" => Self::Returned,
            "refunded" | "partially refunded" | "partial refund" => Self::Refunded,
            "disputed" | "chargeback" | "charged back" => Self::Disputed,
            "pending" | "processing" => Self::Pending,
            other => Self::Other(shown(other)),
        }
    }
}

impl RowKind {
    /// What the columns say together: whatever is no payment in one of them is none.
    pub(super) fn read_all(texts: &[&str]) -> Self {
        texts.iter().map(|text| Self::read(text)).find(|kind| *kind != Self::Payment).unwrap_or(Self::Payment)
    }

    fn read(text: &str) -> Self {
        match normalize(text).as_str() {
            "" | "charge" | "payment" | "sale" | "capture" | "debit" | "purchase" => Self::Payment,
            "refund" | "refunded" | "partial refund" | "full refund" | "payment refund" | "charge refund" => {
                Self::Refund
            }
            "dispute" | "disputed" | "chargeback" | "charge back" => Self::Dispute,
            other => Self::Other(shown(other)),
        }
    }
}

impl Mode {
    /// Reads a cell; `is_test` says that its column asks for the opposite, `is_vague` that it may hold other words.
    pub(super) fn read(text: &str, is_test: bool, is_vague: bool) -> Self {
        match (normalize(text).as_str(), says_yes(text)) {
            ("live" | "production", _) => Self::Live,
            ("test" | "testing" | "sandbox", _) => Self::Test,
            (_, Some(yes)) if yes != is_test => Self::Live,
            (_, Some(_)) => Self::Test,
            (_, None) if is_vague => Self::Unstated,
            (_, None) => Self::Unclear,
        }
    }

    /// What the columns say together.
    pub(super) fn of_all(all: &[Self]) -> Self {
        let mut stated = all.iter().copied().filter(|mode| *mode != Self::Unstated);
        let first = stated.next().unwrap_or(Self::Unstated);
        if stated.all(|mode| mode == first) { first } else { Self::Unclear }
    }

    /// Whether it does not contradict a payment.
    pub fn fits(self, is_live: bool) -> bool {
        match self {
            Self::Unstated => true,
            Self::Live => is_live,
            Self::Test => !is_live,
            Self::Unclear => false,
        }
    }
}

impl RowRefund {
    /// What the columns say together: an amount above zero, else that something is refunded, else zero.
    pub(super) fn read_all(texts: &[&str], minor: bool) -> Self {
        let mut all = texts.iter().map(|text| Self::read(text, minor)).collect::<Vec<_>>();
        let weight = |refund: &Self| match refund {
            Self::Amount(amount) if amount.is_zero() => 1,
            Self::Amount(ExportAmount::Unreadable) | Self::Unspecified => 2,
            Self::Amount(_) => 3,
            Self::Unstated => 0,
        };
        // The first of the heaviest: the column of the amount stands before that of a flag.
        all.reverse();
        all.into_iter().max_by_key(weight).unwrap_or(Self::Unstated)
    }

    fn read(text: &str, minor: bool) -> Self {
        // "1" and "0" are amounts as well, and say the same.
        match (ExportAmount::read_refund(text, minor), says_yes(text)) {
            (ExportAmount::Unreadable, Some(false)) => Self::Amount(ExportAmount::Minor(0)),
            (ExportAmount::Unreadable, _) => Self::Unspecified,
            (amount, _) => Self::Amount(amount),
        }
    }

    /// The refund that a row of its own records, by its amount.
    pub(super) fn of_row(text: &str, minor: bool) -> Self {
        Self::read(text, minor)
    }

    /// Whether something is refunded, as far as can be read.
    pub fn is_any(&self) -> bool {
        match self {
            Self::Unstated => false,
            Self::Amount(amount) => !amount.is_zero(),
            Self::Unspecified => true,
        }
    }
}

impl std::fmt::Display for ExportStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Returned => "returned",
            Self::Refunded => "refunded",
            Self::Disputed => "disputed",
            Self::Pending => "pending",
            Self::Other(word) if word.is_empty() => "nothing",
            Self::Other(word) => return write!(f, "{word:?}"),
        })
    }
}

impl std::fmt::Display for RowKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Payment => "a payment",
            Self::Refund => "a refund",
            Self::Dispute => "a dispute",
            Self::Other(word) => return write!(f, "{word:?}"),
        })
    }
}

/// Whether a cell says yes or no.
pub(super) fn says_yes(text: &str) -> Option<bool> {
    match normalize(text).as_str() {
        "true" | "t" | "yes" | "y" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "0" | "none" | "null" => Some(false),
        _ => None,
    }
}

/// A name in lower case, its words separated by one space: `Created_at (UTC)` is `created at utc`.
pub(super) fn normalize(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// A word of an export as it can be shown: columns may be out of place.
fn shown(word: &str) -> String {
    without_card_numbers(word).chars().take(MAX_WORD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Currency;

    #[test]
    fn refunds_are_amounts_of_either_sign_or_a_word() {
        let read = |texts: &[&str]| RowRefund::read_all(texts, false);
        for text in ["10.00", "-10.00", "(10.00)", "-$10.00", "$-10.00", "$10.00"] {
            let RowRefund::Amount(amount) = read(&[text]) else { panic!("{text}") };
            assert_eq!(amount.minor_in(Currency::USD), Some(1000), "{text}");
        }
        for texts in [&[][..], &["0"], &["0.00", "false"], &["no"]] {
            assert!(!read(texts).is_any(), "{texts:?}");
        }
        for texts in [&["true"][..], &["0.00", "true"], &["2026-11-22"], &["ten"], &["0", "10.00"]] {
            assert!(read(texts).is_any(), "{texts:?}");
        }
    }
}
