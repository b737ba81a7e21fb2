//! What the text beside and within a run of digits says about it: that it is an amount, a time, a date, a phone number,
//! or perhaps no number at all.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_normalization::char::is_combining_mark;

use super::digit_run::{DigitGroup, DigitRun, Strength};

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
    // Everyday words of other languages may stand beside the number: `to` is 2 in Danish, and `is` in Polish.
    let mut strong = run.groups.iter().filter(|group| group.strength == Strength::Strong);
    let range = match (strong.next(), strong.next_back()) {
        (Some(first), last) => first.byte_range.start..last.unwrap_or(first).byte_range.end,
        (None, _) => run.byte_range(),
    };
    let (before, after) = (&text[..range.start], &text[range.end..]);
    let sign_before = before.trim_end().chars().next_back().is_some_and(|c| c == '+' || is_currency_sign(c));
    let sign_after = after.trim_start().chars().next().is_some_and(|c| is_currency_sign(c) || "%°".contains(c));
    let is_numeral = text[..range.end].ends_with(char::is_numeric);
    // `5th`, `3pm`; a longer number with a particle is a number.
    let mut suffix = after.chars().take(MAX_UNIT_CHARS).skip_while(|c| c.is_alphabetic());
    let has_suffix = is_numeral
        && run.digits.len() <= MAX_SUFFIXED_DIGITS
        && after.starts_with(char::is_alphabetic)
        && !suffix.next().is_some_and(char::is_numeric);
    sign_before || sign_after || has_suffix || MEASURES.are_before(after) || MEASURES.are_after(before)
}

/// Whether the words before a run name it as a number of something else than a card: `my order is`.
pub(super) fn is_named_otherwise(run: &DigitRun, text: &str) -> bool {
    let start = run.byte_range().start;
    let before = &text[text.floor_char_boundary(start.saturating_sub(MAX_NAME_BYTES))..start];
    let before = before.rsplit(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let mut names = before.take(MAX_NAME_DISTANCE).map(str::to_lowercase);
    names.any(|word| OTHER_NAMES.contains(word.as_str()))
}

/// How many words a number may stand after its name: `order number, I think, is`.
const MAX_NAME_DISTANCE: usize = 5;

/// The same in bytes.
const MAX_NAME_BYTES: usize = 128;

/// What has long numbers besides cards. Each is no part of the name of a card.
static OTHER_NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("run_kind/names.txt").lines().flat_map(|line| line.split_whitespace().skip(1)).collect()
});

/// The most digits of a number to which any letters may be joined as a unit.
const MAX_SUFFIXED_DIGITS: usize = 2;

/// The longest unit, in characters. What is longer is not looked at, so that the work does not grow with the text.
const MAX_UNIT_CHARS: usize = 24;

/// Words that say that a number is an amount, a time, an age or a quantity.
#[derive(Default)]
struct Measures {
    before: HashSet<&'static str>,
    after: HashSet<&'static str>,
    /// The beginnings of words after a number, where words have endings or no blanks between them.
    beginnings: Vec<&'static str>,
}

static MEASURES: LazyLock<Measures> = LazyLock::new(|| Measures::parse(include_str!("run_kind/units.txt")));

impl Measures {
    fn parse(table: &'static str) -> Self {
        let mut measures = Self::default();
        for (place, words) in table.lines().filter_map(|line| line.split_once(' ')?.1.split_once(": ")) {
            for word in words.split(' ') {
                if place != "after" {
                    measures.before.insert(word);
                }
                match word.strip_suffix('*') {
                    _ if place == "before" => {}
                    Some(beginning) => measures.beginnings.push(beginning),
                    None => _ = measures.after.insert(word),
                }
            }
        }
        measures
    }

    /// Whether a text that follows a number begins with a unit.
    fn are_before(&self, text: &str) -> bool {
        let word: String = text.trim_start().chars().take_while(|c| is_letter(*c)).take(MAX_UNIT_CHARS).collect();
        let word = word.to_lowercase();
        self.after.contains(word.as_str()) || self.beginnings.iter().any(|beginning| word.starts_with(beginning))
    }

    /// Whether a text that stands before a number ends with one of the words.
    fn are_after(&self, text: &str) -> bool {
        let text = text.trim_end();
        let start = text.char_indices().rev().take_while(|(_, c)| is_letter(*c)).take(MAX_UNIT_CHARS).last();
        start.is_some_and(|(start, _)| self.before.contains(text[start..].to_lowercase().as_str()))
    }
}

/// Whether a character is part of a word, as vowel signs of Indian scripts and Thai are.
fn is_letter(c: char) -> bool {
    c.is_alphabetic() || is_combining_mark(c)
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
            "42 złotych",
            "42 euroja",
            "42 वर्ष",
            "四十二円を払い",
            "42人で",
            "42세이고",
            "tháng 12",
            "jam 4",
            "saat 4",
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
            "4242 yearling",
            "4242 和",
        ] {
            assert_eq!(kind(text), RunKind::Plain, "{text}");
        }
        assert_eq!(kind("this one is it"), RunKind::Optional);
    }
}
