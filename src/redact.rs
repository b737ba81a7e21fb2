//! What must never be written down: values that print nothing, and digits that are cut out of speech.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;

/// Something a caller said or entered, or that was said to a caller. `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Private<T>(T);

impl<T> Private<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one who has to use it.
    pub fn reveal(&self) -> &T {
        &self.0
    }

    /// The value, given up.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}

/// What stands where digits were cut out.
pub const CUT: &str = "[digits removed]";

/// Cuts every card number out of a text: 13 to 19 digits that pass the Luhn check, with whatever stands between them that
/// is neither letter nor digit, also as a part of a longer run that begins and ends with a group of it. Phone numbers, dates
/// and amounts survive.
pub fn without_card_numbers(text: &str) -> Cow<'_, str> {
    cut(text, |run| {
        let groups = run.groups();
        let begins_card = |(at, (from, _)): (usize, &(usize, usize))| {
            let ends = groups[at..].iter().map(|(_, to)| *to).take_while(|to| to - from <= MAX_CARD_DIGITS);
            ends.into_iter().any(|to| is_card_number(&run.digits[*from..to]))
        };
        groups.iter().enumerate().any(begins_card).then_some(0..run.digits.len())
    })
}

/// Cuts every run of three digits or more, and dates of two numbers such as `12/27`: while a card is being captured, any of
/// them may be a part of it.
pub fn without_digit_runs(text: &str) -> Cow<'_, str> {
    cut(text, |run| (run.digits.len() >= 3).then_some(0..run.digits.len()))
}

/// ISO/IEC 7812 allows no more.
const MAX_CARD_DIGITS: usize = 19;

/// Digits with nothing but separators between them.
#[derive(Default)]
struct Run {
    digits: Vec<u8>,
    /// Where each digit stands in the text, and where it ends.
    places: Vec<(usize, usize)>,
}

impl Run {
    /// The digits that stand together: where each group begins and ends.
    fn groups(&self) -> Vec<(usize, usize)> {
        let mut groups = Vec::new();
        let mut from = 0;
        for at in 1..=self.places.len() {
            if at == self.places.len() || self.places[at - 1].1 != self.places[at].0 {
                groups.push((from, at));
                from = at;
            }
        }
        groups
    }
}

/// Replaces the digits that `find` names of each run.
fn cut(text: &str, find: impl Fn(&Run) -> Option<Range<usize>>) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut done = 0;
    for run in runs(text) {
        if let Some(digits) = find(&run) {
            kept.push_str(&text[done..run.places[digits.start].0]);
            kept.push_str(CUT);
            done = run.places[digits.end - 1].1;
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(&text[done..]);
    Cow::Owned(kept)
}

/// How much may stand between two digits of a run: ", ", " - ", an em dash between blanks.
const MAX_GAP: usize = 3;

fn runs(text: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut run = Run::default();
    let mut gap = 0;
    for (at, c) in text.char_indices() {
        if let Some(digit) = digit(c) {
            run.digits.push(digit);
            run.places.push((at, at + c.len_utf8()));
            gap = 0;
            continue;
        }
        gap += 1;
        if (c.is_alphanumeric() || gap > MAX_GAP) && !run.digits.is_empty() {
            runs.push(std::mem::take(&mut run));
        }
    }
    runs.push(run);
    runs.retain(|run| !run.digits.is_empty());
    runs
}

/// The digit that a character is, in the scripts that speech recognisers write: ASCII, full-width, Arabic-Indic, Devanagari.
fn digit(c: char) -> Option<u8> {
    let zeros = ['0', '\u{ff10}', '\u{660}', '\u{6f0}', '\u{966}'];
    let value = zeros.iter().find_map(|zero| (c as u32).checked_sub(*zero as u32).filter(|value| *value < 10))?;
    u8::try_from(value).ok()
}

fn is_card_number(digits: &[u8]) -> bool {
    (13..=MAX_CARD_DIGITS).contains(&digits.len()) && luhn(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(n, digit)| {
            let digit = u32::from(*digit);
            if n % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_spoken_card_number_is_cut_and_the_sentence_stays() {
        for number in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "4242-4242-4242-4242",
            "4, 2, 4, 2, 4, 2, 4, 2, 4, 2, 4, 2, 4, 2, 4, 2",
        ] {
            let said = format!("It is {number}, cancel my other one.");
            assert_eq!(without_card_numbers(&said), format!("It is {CUT}, cancel my other one."));
        }
    }

    #[test]
    fn phone_numbers_dates_and_amounts_survive() {
        for said in [
            "Call +1 415 867 5309 on 12/05/2026",
            "I owe 1,234.56 dollars",
            "Call 415 867 5309 or 415 867 5310 after 5",
            "My order is 4242424242424241",
            "no digits",
        ] {
            assert_eq!(without_card_numbers(said), said);
        }
    }

    #[test]
    fn during_a_capture_short_runs_go_too_and_counts_stay() {
        assert_eq!(without_digit_runs("I have 2 cards, code 123"), format!("I have 2 cards, code {CUT}"));
        assert_eq!(without_digit_runs("it expires 12/27"), format!("it expires {CUT}"));
        assert_eq!(without_digit_runs("4 2 4 2 please"), format!("{CUT} please"));
    }

    #[test]
    fn private_values_print_nothing() {
        assert_eq!(format!("{:?}", Private::new("4242")), "[private]");
    }

    proptest! {
        #[test]
        fn no_run_of_three_digits_is_left(said in "\\PC{0,80}") {
            let cut = without_digit_runs(&said);
            prop_assert!(!cut.as_bytes().windows(3).any(|run| run.iter().all(u8::is_ascii_digit)));
        }
    }
}
