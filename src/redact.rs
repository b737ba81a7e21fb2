//! What must never be written down: values that print nothing, and digits that are cut out of what was said.
//!
//! A text is read into runs of digits, whatever they are written as; everything here decides about runs.

mod card;
mod json;
mod language;
mod number;
mod private;
mod scan;
mod shield;
mod stream;
mod token;

use std::borrow::Cow;
use std::ops::Range;

pub use json::{ShieldedJson, json_has_card_number, json_without_card_numbers};
pub use private::Private;
pub use shield::{Card, Heard, Shield, Strictness};
pub use stream::Stream;

use scan::Run;

/// What stands where digits were cut out.
pub const CUT: &str = "[digits removed]";

/// Cuts every run of digits that holds a card number: 13 to 19 digits that pass the Luhn check, in numerals or words, with
/// pauses between them. Phone numbers, dates and amounts survive.
pub fn without_card_numbers(text: &str) -> Cow<'_, str> {
    cut(text, card::has_card_number)
}

/// Whether there is a card number in a text.
pub fn has_card_number(text: &str) -> bool {
    scan::runs(text).iter().flatten().any(card::has_card_number)
}

/// Whether the digits of a text, all of them, are the number of a known brand's card.
pub fn is_number_of_a_card(text: &str) -> bool {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    card::is_of_a_brand(&digits)
}

/// Cuts the runs that `unwanted` names.
fn cut(text: &str, unwanted: impl Fn(&Run) -> bool) -> Cow<'_, str> {
    let unwanted = scan::runs(text).into_iter().flatten().filter(unwanted).map(|run| run.place());
    cut_places(text, unwanted.collect())
}

/// Cuts these places. They may overlap, since languages differ on where a run ends.
fn cut_places(text: &str, mut places: Vec<Range<usize>>) -> Cow<'_, str> {
    if places.is_empty() {
        return Cow::Borrowed(text);
    }
    places.sort_by_key(|place| place.start);
    let mut kept = String::with_capacity(text.len());
    let mut done = 0;
    for place in places {
        if place.start >= done {
            kept.push_str(&text[done..place.start]);
            kept.push_str(CUT);
        }
        done = done.max(place.end);
    }
    kept.push_str(&text[done..]);
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests;
