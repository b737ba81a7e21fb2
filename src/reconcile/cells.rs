//! Parses the cells of an export: statuses, kinds of rows, modes and refunds.

use super::amount::ExportAmount;
use crate::redact::redact_card_numbers;

/// The longest value of an export that is printed, in characters.
const MAX_WORD_CHARS: usize = 32;

/// The processor's status of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportStatus {
    /// It was paid.
    Paid,
    /// It was not paid.
    Failed,
    /// A bank debit was returned.
    Returned,
    /// It was paid and refunded, in whole or in part.
    Refunded,
    /// It was paid and is disputed.
    Disputed,
    /// The result is not known yet.
    Pending,
    /// Another value, or none.
    Other(String),
}

/// What a row records. Only the row of a payment can settle one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowKind {
    /// A charge, or not stated.
    Payment,
    /// A refund.
    Refund,
    /// A dispute.
    Dispute,
    /// An authorization, a payout, a fee, or an unknown value.
    Other(String),
}

/// Whether a row is from live or test mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportMode {
    /// No column states it.
    Unstated,
    /// Live mode: real money.
    Live,
    /// Test mode.
    Test,
    /// The columns contradict each other, or have unknown values.
    Unclear,
}

/// The refunded amount, by the columns next to the amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowRefund {
    /// No column states it.
    Unstated,
    /// This amount, which may be zero.
    Amount(ExportAmount),
    /// An unspecified amount.
    Unspecified,
}

impl ExportStatus {
    /// Combines the status columns; also returns whether one of them contradicts the status. A dispute makes a paid
    /// charge disputed.
    pub(super) fn read_all(texts: &[&str], disputes: &[&str], minor: bool) -> (Self, bool) {
        let statuses: Vec<Self> = texts.iter().map(|text| Self::read(text)).collect();
        let status = statuses.first().cloned().unwrap_or_else(|| Self::read(""));
        // An unknown value may be the state of an address.
        let is_contradicted = statuses.iter().any(|other| *other != status && !matches!(other, Self::Other(_)));
        let is_disputed = disputes
            .iter()
            .any(|text| parse_yes_no(text) != Some(false) && !ExportAmount::read_cell(text, minor).0.is_zero());
        match status {
            Self::Paid | Self::Other(_) if is_disputed => (Self::Disputed, is_contradicted),
            // An unpaid charge cannot be disputed.
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
            other => Self::Other(sanitize_word(other)),
        }
    }
}

impl RowKind {
    /// Combines the columns: a row is a payment only if no column says otherwise.
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
            other => Self::Other(sanitize_word(other)),
        }
    }
}

impl ExportMode {
    /// Parses a cell. `is_test`: the column states test mode, not live mode. `is_vague`: it may hold unrelated values.
    pub(super) fn read(text: &str, is_test: bool, is_vague: bool) -> Self {
        match (normalize(text).as_str(), parse_yes_no(text)) {
            ("live" | "production", _) => Self::Live,
            ("test" | "testing" | "sandbox", _) => Self::Test,
            (_, Some(yes)) if yes != is_test => Self::Live,
            (_, Some(_)) => Self::Test,
            (_, None) if is_vague => Self::Unstated,
            (_, None) => Self::Unclear,
        }
    }

    /// Combines the columns.
    pub(super) fn combine(all: &[Self]) -> Self {
        let mut stated = all.iter().copied().filter(|mode| *mode != Self::Unstated);
        let first = stated.next().unwrap_or(Self::Unstated);
        if stated.all(|mode| mode == first) { first } else { Self::Unclear }
    }

    /// Whether the mode does not contradict that of a payment.
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
    /// Combines the columns: an amount above zero, else an unspecified amount, else zero.
    pub(super) fn read_all(texts: &[&str], minor: bool) -> Self {
        let mut all = texts.iter().map(|text| Self::read(text, minor)).collect::<Vec<_>>();
        let weight = |refund: &Self| match refund {
            Self::Amount(amount) if amount.is_zero() => 1,
            Self::Amount(ExportAmount::Unreadable) | Self::Unspecified => 2,
            Self::Amount(_) => 3,
            Self::Unstated => 0,
        };
        // `max_by_key` returns the last maximum; reversed, the column of the amount precedes that of a flag.
        all.reverse();
        all.into_iter().max_by_key(weight).unwrap_or(Self::Unstated)
    }

    fn read(text: &str, minor: bool) -> Self {
        // "1" and "0" are also amounts, with the same meaning.
        match (ExportAmount::read_refund(text, minor), parse_yes_no(text)) {
            (ExportAmount::Unreadable, Some(false)) => Self::Amount(ExportAmount::Minor(0)),
            (ExportAmount::Unreadable, _) => Self::Unspecified,
            (amount, _) => Self::Amount(amount),
        }
    }

    /// The refund of a separate refund row, by its amount.
    pub(super) fn from_row_amount(text: &str, minor: bool) -> Self {
        Self::read(text, minor)
    }

    /// Whether anything is refunded, as far as can be read.
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

/// Parses a cell with yes or no.
pub(super) fn parse_yes_no(text: &str) -> Option<bool> {
    match normalize(text).as_str() {
        "true" | "t" | "yes" | "y" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "0" | "none" | "null" => Some(false),
        _ => None,
    }
}

/// Normalizes a name: lower case, words separated by one space. `Created_at (UTC)` becomes `created at utc`.
pub(super) fn normalize(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Truncates a value for output and removes card numbers, since columns may be shifted.
fn sanitize_word(word: &str) -> String {
    redact_card_numbers(word).chars().take(MAX_WORD_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Currency;

    #[test]
    fn refunds_are_amounts_of_either_sign_or_flags() {
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
