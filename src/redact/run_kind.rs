//! What the text beside and within a run of digits says about it: that it is an amount, a time, a date, a phone number,
//! or perhaps no number at all.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::digit_run::{DigitGroup, DigitRun};

/// The kind of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunKind {
    /// Digits that may be a part of any number.
    Plain,
    /// Perhaps no number: the `one` of `this one`.
    Optional,
    /// An amount, a time, a date, a phone number or an ordinal.
    Measured,
}

impl RunKind {
    /// Determines the kind of a run of this text.
    pub(super) fn of(run: &DigitRun, text: &str) -> Self {
        if is_written_as_measure(run, text) || is_measured_by_text(run, text) {
            return Self::Measured;
        }
        let is_word = text.get(run.byte_range()).is_some_and(|run| run.chars().all(char::is_alphabetic));
        if is_word && (run.digits == [1] || run.is_ambiguous) { Self::Optional } else { Self::Plain }
    }
}

/// Whether the groups of a run are written as a date, a time, an amount or a phone number.
fn is_written_as_measure(run: &DigitRun, text: &str) -> bool {
    if !(2..=MAX_MEASURE_GROUPS).contains(&run.groups.len()) {
        return false;
    }
    let sizes: Vec<usize> = run.groups.iter().map(|group| group.digit_range.len()).collect();
    // One character may be two digits, with nothing between them.
    let gap = |pair: &[DigitGroup]| text.get(pair[0].byte_range.end..pair[1].byte_range.start).unwrap_or_default();
    let gaps = run.groups.windows(2).map(gap);
    let gaps: Vec<&str> = gaps.collect();
    let are = |signs: &[&str]| gaps.iter().all(|gap| signs.contains(gap));
    let are_numerals = text[run.byte_range()].chars().all(|c| !c.is_alphabetic());
    let years = sizes.iter().filter(|size| **size == 4).count();
    let are_short = sizes.iter().all(|size| *size <= 2 || *size == 4);
    let is_date = are_numerals
        && are_short
        && match sizes.len() {
            2 => years == 0 && are(&["/", ":"]),
            3 => years <= 1 && (are(&["/", ".", ":"]) || (years == 1 && are(&["-"]))),
            _ => false,
        };
    let is_amount = are(&[".", ","]) && sizes.last() == Some(&2) && sizes.len() <= 4 && sizes[0] <= 4;
    let is_phone = are_numerals && matches!(sizes.as_slice(), [3, 3, 4] | [1, 3, 3, 4]);
    // An amount or a date beside another number: `12,50 € 5/3/2024`.
    let is_beside_measure =
        gaps.iter().any(|gap| gap.contains(is_currency_sign)) || gaps.windows(2).any(|gaps| gaps == ["/", "/"]);
    is_date || is_amount || is_phone || is_beside_measure
}

/// The most groups of an amount and a date side by side.
const MAX_MEASURE_GROUPS: usize = 8;

fn is_currency_sign(c: char) -> bool {
    "$€£¥₹₽₩₺₫฿".contains(c)
}

/// Whether what stands beside a run makes it an amount, a time, a date, a phone number or an ordinal.
fn is_measured_by_text(run: &DigitRun, text: &str) -> bool {
    let range = run.byte_range();
    let (before, after) = (&text[..range.start], &text[range.end..]);
    let sign_before = before.trim_end().chars().next_back().is_some_and(|c| c == '+' || is_currency_sign(c));
    let sign_after = after
        .trim_start()
        .chars()
        .next()
        .is_some_and(|c| is_currency_sign(c) || "%°".contains(c) || UNIT_SIGNS.contains(c));
    let is_numeral = text[..range.end].ends_with(char::is_numeric);
    let suffix = after.trim_start_matches(char::is_alphabetic);
    let has_suffix = is_numeral && suffix.len() < after.len() && !suffix.starts_with(char::is_numeric);
    let is_one_of = |words: &HashSet<&str>, word: Option<&str>| {
        word.is_some_and(|word| words.contains(word) || words.contains(word.to_lowercase().as_str()))
    };
    let next = after.split(|c: char| !c.is_alphabetic()).find(|word| !word.is_empty());
    let next = next.filter(|word| after.trim_start().starts_with(word));
    let previous = before.trim_end().rsplit(|c: char| !c.is_alphabetic()).next();
    sign_before
        || sign_after
        || has_suffix
        || is_one_of(&UNITS, next)
        || is_one_of(&DATES, next)
        || is_one_of(&DATES, previous)
}

/// Whether the words before a run name it as a number of something else than a card: `my order is`.
pub(super) fn is_named_otherwise(run: &DigitRun, text: &str) -> bool {
    let before = text[..run.byte_range().start].rsplit(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let mut names = before.take(MAX_NAME_DISTANCE).map(str::to_lowercase);
    names.any(|word| OTHER_NAMES.contains(word.as_str()))
}

/// How many words a number may stand after its name: `order number, I think, is`.
const MAX_NAME_DISTANCE: usize = 5;

/// What has long numbers besides cards. Each is no part of the name of a card.
static OTHER_NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| words_of(include_str!("run_kind/names.txt")));

/// Units.
static UNITS: LazyLock<HashSet<&str>> = LazyLock::new(|| words_of(include_str!("run_kind/units.txt")));

/// Names of months, and words before a date, a time or a year.
static DATES: LazyLock<HashSet<&str>> = LazyLock::new(|| words_of(include_str!("run_kind/dates.txt")));

/// Units of scripts that are written without blanks.
const UNIT_SIGNS: &str = "年月日円圓元块塊毛歳岁歲時时点點分人枚张張号號番室楼階回本個个名天周週";

/// The words of a table, a line per language after its tag. A language that is missing loses no card number by it.
fn words_of(table: &'static str) -> HashSet<&'static str> {
    table.lines().flat_map(|line| line.split_whitespace().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::scan::find_runs;

    #[test]
    fn amounts_times_dates_and_phone_numbers_are_measured() {
        let kind = |text: &str| RunKind::of(&find_runs(text)[0][0], text);
        for text in [
            "$25",
            "25 €",
            "10:30",
            "12/05",
            "12.5.2026",
            "25.00",
            "1,234.56",
            "5th of",
            "3pm",
            "44 years old",
            "20%",
            "415 867 5309",
            "+44 20 7946 0958",
            "May 5",
            "5 May",
            "twenty dollars",
        ] {
            assert_eq!(kind(text), RunKind::Measured, "{text}");
        }
        for text in [
            "I see 44 on it",
            "digit 4 is",
            "4242, and",
            "4242 4242 12/27",
            "4242-4242",
            "4242x4242",
            "42",
            "may I say 4",
        ] {
            assert_eq!(kind(text), RunKind::Plain, "{text}");
        }
        assert_eq!(kind("this one is it"), RunKind::Optional);
    }
}
