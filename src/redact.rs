//! What must never be written down: values that print nothing, and digits that are cut out of speech.

use std::borrow::Cow;
use std::fmt;

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

/// Cuts every card number out of a text: 13 to 19 digits, with single spaces, dots or dashes between them, that pass the
/// Luhn check. Phone numbers, dates and amounts survive.
pub fn without_card_numbers(text: &str) -> Cow<'_, str> {
    cut_runs(text, |digits| (13..=19).contains(&digits.len()) && luhn(digits))
}

/// Cuts every run of three digits or more: while a card is being captured, any of them may be a part of it.
pub fn without_digit_runs(text: &str) -> Cow<'_, str> {
    cut_runs(text, |digits| digits.len() >= 3)
}

fn cut_runs(text: &str, cut: impl Fn(&[u8]) -> bool) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut done = 0;
    let mut from = 0;
    while let Some(start) = text[from..].find(|c: char| c.is_ascii_digit()).map(|at| from + at) {
        let (end, digits) = digit_run(&text[start..]);
        let end = start + end;
        if cut(&digits) {
            kept.push_str(&text[done..start]);
            kept.push_str(CUT);
            done = end;
        }
        from = end;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    kept.push_str(&text[done..]);
    Cow::Owned(kept)
}

/// The run of digits that `text` begins with, single separators allowed between digits: where it ends, and its digits.
fn digit_run(text: &str) -> (usize, Vec<u8>) {
    let mut digits = Vec::new();
    let mut end = 0;
    let mut separated = false;
    for (at, c) in text.char_indices() {
        if c.is_ascii_digit() {
            digits.push(text.as_bytes()[at] - b'0');
            end = at + 1;
            separated = false;
        } else if matches!(c, ' ' | '-' | '.' | ',') && !separated {
            separated = true;
        } else if separated && c == ' ' {
            // ", " and ". " stand between digits that are read out one by one.
        } else {
            break;
        }
    }
    (end, digits)
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
            "My order is 4242424242424241",
            "no digits",
        ] {
            assert_eq!(without_card_numbers(said), said);
        }
    }

    #[test]
    fn during_a_capture_short_runs_go_too_and_counts_stay() {
        assert_eq!(without_digit_runs("I have 2 cards, code 123"), format!("I have 2 cards, code {CUT}"));
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
