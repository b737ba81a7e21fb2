//! Redaction: values that `Debug` does not print, and removal of card numbers from text.
//!
//! Text is parsed into runs of digits, written as numerals or in words; redaction decides per run.
//!
#![doc = include_str!("redact/README.md")]

mod bounded;
mod card;
#[cfg(test)]
mod corpus;
mod digit_run;
mod digit_window;
mod json;
mod language;
mod normalise;
mod number_forms;
mod part_digits;
mod private;
mod redactor;
mod run_kind;
mod scan;
mod spoken_number;
mod stream;
mod text_token;

use std::borrow::Cow;
use std::ops::Range;

pub use bounded::{bound_party, bound_text, escape_control_characters};
pub use json::{RedactedJson, join_scalars, json_has_card_number, redact_json};
pub use language::is_readable_language;
pub use private::Private;
pub use redactor::{CardParts, DetectedCard, Redacted, RedactionPolicy, Redactor};
pub use stream::{StreamRedactor, StreamedText};

use scan::DigitRun;

/// The replacement for removed digits.
pub const REDACTED: &str = "[digits removed]";

/// Removes every run of digits that contains a card number: 13 to 19 digits by their length and check digit, in numerals or
/// words, with blanks, punctuation or filler words between them. Phone numbers, dates and amounts stay.
pub fn redact_card_numbers(text: &str) -> Cow<'_, str> {
    redact_runs(text, card::has_card_number)
}

/// Whether a text contains a card number.
pub fn has_card_number(text: &str) -> bool {
    windows(text).any(|(_, window)| scan::find_runs(window).iter().flatten().any(card::has_card_number))
}

/// Whether all digits of a text together are a card number of a known brand.
pub fn is_card_number_of_known_brand(text: &str) -> bool {
    card::is_of_known_brand(&digits_of(text))
}

/// Whether some of the digits of a text, in a row, are a card number of a known brand.
pub(crate) fn hides_card_number_of_known_brand(text: &str) -> bool {
    let digits = digits_of(text);
    let begins_card = |at: usize| {
        let mut lengths = card::MIN_CARD_DIGITS..=card::MAX_CARD_DIGITS;
        lengths.any(|length| digits.get(at..at + length).is_some_and(card::is_of_known_brand))
    };
    (0..digits.len()).any(begins_card)
}

fn digits_of(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect()
}

/// Removes the runs for which `unwanted` is true.
fn redact_runs(text: &str, unwanted: impl Fn(&DigitRun) -> bool) -> Cow<'_, str> {
    let mut places = Vec::new();
    for (start, window) in windows(text) {
        let runs = scan::find_runs(window).into_iter().flatten().filter(&unwanted).map(|run| run.byte_range());
        places.extend(runs.map(|place| place.start + start..place.end + start));
    }
    redact_ranges(text, places)
}

/// The parts in which a text is read, with where they begin, so that the memory that this takes does not grow with the
/// text. Each overlaps with the next by more than a card number is long. Those without digits are left out.
fn windows(text: &str) -> impl Iterator<Item = (usize, &str)> {
    const STEP: usize = 3 * 1024;
    const OVERLAP: usize = 1024;
    let count = text.len().saturating_sub(OVERLAP).div_ceil(STEP).max(1);
    let windows = (0..count).map(move |n| {
        let start = text.floor_char_boundary(n * STEP);
        let end = if n + 1 == count { text.len() } else { text.floor_char_boundary((n + 1) * STEP + OVERLAP) };
        (start, &text[start..end])
    });
    windows.filter(|(_, window)| !scan::is_plain(window))
}

/// Removes these byte ranges. They may overlap, since languages differ on where a run ends.
fn redact_ranges(text: &str, mut places: Vec<Range<usize>>) -> Cow<'_, str> {
    if places.is_empty() {
        return Cow::Borrowed(text);
    }
    places.sort_by_key(|place| place.start);
    let mut kept = String::with_capacity(text.len());
    let mut done = 0;
    for place in places {
        if place.start >= done {
            kept.push_str(&text[done..place.start]);
            kept.push_str(REDACTED);
        }
        done = done.max(place.end);
    }
    kept.push_str(&text[done..]);
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests;
