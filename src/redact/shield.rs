//! What is heard in one conversation, without card numbers: also one that comes in parts, an input at a time.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use serde::de::IgnoredAny;

use super::card::{MAX_CARD_DIGITS, has_card_number, is_of_a_brand};
use super::json::ShieldedJson;
use super::scan::{Reading, Run, readings};
use super::{cut, cut_places};

/// So many inputs without a digit end a number that comes in parts.
const MAX_PAUSE: u64 = 3;

/// Fewer digits than this say nothing about a card, where they were not said as a part of it.
const TELLING: usize = 4;

/// Digits before a card number that are no part of it: `one`, `number two`.
const MAX_STRAY: usize = 2;

/// After so many digits in a row that are no card number a digit or two may be its end, whatever else is said: `and a two, that's
/// it`. Shorter ones are often telephone numbers.
const NEARLY: usize = 13;

/// How long most card numbers are.
const USUAL: RangeInclusive<usize> = 15..=16;

/// How many digits of a card stand beside its number: a security code, an expiry date, both.
const BESIDE: RangeInclusive<usize> = 3..=8;

/// Which digits are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Card numbers.
    Cards,
    /// Any run of three digits too, and so also dates such as `12/27`: while a card is being captured, any of them may be a
    /// part of it.
    Runs,
}

/// Remembers what could be the beginning of a card number.
#[derive(Default)]
pub struct Shield {
    inputs: u64,
    /// One for each language, since each reads digits of its own.
    parts: Vec<VecDeque<Part>>,
}

/// An input that can be passed on.
pub struct Heard {
    /// What is left of it.
    pub text: String,
    /// Whether something was cut.
    pub was_cut: bool,
    /// Card numbers that it completed or held: parts of them may stand in earlier inputs, and are to be cut there.
    pub cards: Vec<Card>,
}

/// A card number that was heard. It is kept only until what stands of it elsewhere is cut.
pub struct Card {
    digits: Vec<u8>,
    /// The runs of earlier inputs that it is made of.
    parts: Vec<Vec<u8>>,
    /// Over how many inputs before this one it came.
    inputs: u64,
}

/// A run of digits that was heard.
struct Part {
    input: u64,
    /// Where it stood in that input.
    place: Range<usize>,
    groups: Vec<Vec<u8>>,
}

impl Shield {
    /// Takes an input.
    pub fn hear(&mut self, text: &str, strictness: Strictness) -> Heard {
        self.inputs += 1;
        let readings = readings(text);
        self.parts.resize_with(readings.len(), VecDeque::new);
        let (mut places, mut cards) = (Vec::new(), Vec::new());
        for (parts, reading) in self.parts.iter_mut().zip(&readings) {
            for run in &reading.runs {
                let nearly = parts.back().is_some_and(Part::is_nearly_a_card);
                let ends = nearly || may_be_part(run, reading);
                let card = if ends { completed(parts, run, self.inputs) } else { None };
                let card = card.or_else(|| whole(run));
                if card.is_some() || (strictness == Strictness::Runs && run.is_long()) {
                    places.push(run.place());
                }
                if let Some(card) = card {
                    places.extend(
                        parts.iter().filter(|part| card.began_with(part, self.inputs)).map(|part| part.place.clone()),
                    );
                    cards.push(card);
                }
                if may_be_part(run, reading) {
                    remember(parts, run, self.inputs);
                }
            }
            if parts.back().is_some_and(|part| self.inputs - part.input > MAX_PAUSE) {
                parts.clear();
            }
        }
        let text = cut_places(text, places);
        Heard { was_cut: matches!(text, Cow::Owned(_)), text: text.into_owned(), cards }
    }
}

/// The card number that stands in a run.
fn whole(run: &Run) -> Option<Card> {
    has_card_number(run).then(|| Card { digits: run.digits.clone(), parts: Vec::new(), inputs: 0 })
}

/// The card number that ends in this run and began in an earlier one. It begins where a run began, or after a stray word such
/// as the `one` of `this one`; nothing follows it but what stands beside it on the card. Windows that are any wider would find
/// card numbers in phone numbers and amounts, by chance.
fn completed(parts: &VecDeque<Part>, run: &Run, input: u64) -> Option<Card> {
    for (at, part) in parts.iter().enumerate() {
        let before: Vec<u8> = parts.iter().skip(at).flat_map(|part| part.groups.concat()).collect();
        let stray = part.groups.iter().scan(0, |digits, group| {
            *digits += group.len();
            Some(*digits)
        });
        for from in [0].into_iter().chain(stray.take_while(|digits| *digits <= MAX_STRAY)) {
            let mut digits = before[from..].to_vec();
            for group in &run.groups {
                digits.extend_from_slice(&run.digits[group.digits.clone()]);
                if digits.len() > MAX_CARD_DIGITS {
                    break;
                }
                let after = run.digits.len() - group.digits.end;
                let ends = after == 0 || (BESIDE.contains(&after) && USUAL.contains(&digits.len()));
                if ends && is_of_a_brand(&digits) {
                    let parts = parts.iter().skip(at).map(|part| part.groups.concat()).collect();
                    return Some(Card { digits, parts, inputs: input - part.input });
                }
            }
        }
    }
    None
}

/// A digit or two are a part of a card only if nothing else was said: `two cards` is none.
fn may_be_part(run: &Run, reading: &Reading) -> bool {
    run.digits.len() > MAX_STRAY || reading.strangers == 0
}

/// Keeps a run that the next one could go on with. Even a card number may be the beginning of another, since one in ten
/// passes the check before its end.
fn remember(parts: &mut VecDeque<Part>, run: &Run, input: u64) {
    if run.digits.len() > MAX_CARD_DIGITS {
        return parts.clear();
    }
    let groups = run.groups.iter().map(|group| run.digits[group.digits.clone()].to_vec()).collect();
    parts.push_back(Part { input, place: run.place(), groups });
    let later = |parts: &VecDeque<Part>| parts.iter().skip(1).map(Part::len).sum::<usize>();
    while later(parts) >= MAX_CARD_DIGITS - 1 {
        parts.pop_front();
    }
}

impl Part {
    fn len(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    fn is_nearly_a_card(&self) -> bool {
        self.len() >= NEARLY && !is_of_a_brand(&self.groups.concat())
    }
}

impl Card {
    /// Over how many inputs before this one it came: none, if it came whole.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Cuts what stands of this card in a text; `said` is whether the text is one of the inputs over which it came.
    pub fn cut_from<'a>(&self, text: &'a str, said: bool) -> Cow<'a, str> {
        cut(text, |run| self.is_part(&run.digits, said))
    }

    /// The same, of JSON.
    pub fn cut_from_json(&self, json: &mut ShieldedJson) {
        json.cut(|text| match self.cut_from(text, false) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => {
                let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                Some(if is_json { text } else { "{}".to_owned() })
            }
        });
    }

    /// Whether it is made of this part, and that stands in the same input as its end.
    fn began_with(&self, part: &Part, input: u64) -> bool {
        part.input == input && self.parts.contains(&part.groups.concat())
    }

    fn is_part(&self, run: &[u8], said: bool) -> bool {
        let is_within = || self.digits.windows(run.len()).any(|part| part == run);
        (said && self.parts.iter().any(|part| part == run)) || (run.len() >= TELLING && is_within())
    }
}

/// Nothing of what was heard.
impl fmt::Debug for Shield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shield({} inputs)", self.inputs)
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Heard(was_cut: {})", self.was_cut)
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Card")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::CUT;
    use proptest::prelude::*;

    /// What each input becomes, once those after it are known.
    fn heard(inputs: &[&str]) -> Vec<String> {
        let mut shield = Shield::default();
        let mut kept: Vec<String> = Vec::new();
        for input in inputs {
            let heard = shield.hear(input, Strictness::Cards);
            for card in &heard.cards {
                let since = kept.len() - usize::try_from(card.inputs()).unwrap();
                for (at, text) in kept.iter_mut().enumerate() {
                    *text = card.cut_from(text, at >= since).into_owned();
                }
            }
            assert_eq!(heard.was_cut, heard.text != *input);
            kept.push(heard.text);
        }
        kept
    }

    #[test]
    fn a_number_in_parts_is_cut_from_all_of_them() {
        for parts in [
            &["it is 4242 4242", "4242 4242"][..],
            &["four two four two four two four two", "and then forty-two forty-two 4242, got it?"],
            &["4242 42", "um", "42 4242", "wait a second", "the last four are 4242"],
            &["4", "2", "4", "2", "4", "2", "4", "2", "4", "2", "4", "2", "4", "2", "4", "2"],
            &["3782", "822463", "10005 and 1227"],
            &["one 4242 4242", "4242 4242 123"],
            &["cuatro dos cuatro dos cuatro dos", "cuatro dos 4242 4242"],
            &["it is 4242 4242, are you writing, 4242 4242"],
            &["5105 1051 0510 510", "zero, that's it"],
            &["5105 1051 0510 51", "and it ends with 00"],
            &["it is 4242, are you writing? 4242", "4242 yes, and the rest is 4242"],
        ] {
            let kept = heard(parts);
            assert!(!kept.concat().contains(|c: char| c.is_ascii_digit()), "{kept:?}");
            assert!(!["forty", "two", "dos"].iter().any(|word| kept.concat().contains(word)), "{kept:?}");
        }
    }

    #[test]
    fn a_number_that_is_said_again_is_cut_where_it_was_begun() {
        let kept = heard(&["it is 4242 4242", "sorry: 4242 4242 4242 4242"]);
        assert_eq!(kept, [format!("it is {CUT}"), format!("sorry: {CUT}")]);
    }

    #[test]
    fn numbers_that_are_no_card_are_left_alone() {
        for inputs in [
            &["call 415 867 5309", "my order is 1234", "I owe 25.00", "two cards", "90210"][..],
            &["it is 4242 4242", "yes", "no", "hm", "well then", "4242 4242"],
            &["4242 4242", "4242 4241"],
            &["call me at +44 20 7946 0958", "one moment, please"],
            &["5105 1051 0510 510", "one moment, please"],
            &["call 415 867 5309 or 415 867 5310", "or 650 555 0100, order 90210"],
        ] {
            assert_eq!(heard(inputs), inputs);
        }
    }

    #[test]
    fn a_part_that_was_cut_still_tells() {
        let mut shield = Shield::default();
        assert!(!shield.hear("4242 4242", Strictness::Cards).was_cut);
        assert_eq!(shield.hear("4242 42", Strictness::Runs).text, CUT);
        let last = shield.hear("42", Strictness::Runs);
        assert_eq!((last.text.as_str(), last.cards[0].inputs()), (CUT, 2));
    }

    proptest! {
        #[test]
        fn no_part_of_a_card_stays_wherever_it_is_split(
            splits in prop::collection::vec(1_usize..16, 1..4), inputs in prop::sample::select(vec![" ", "uh ", "and "]),
        ) {
            let mut splits: Vec<usize> = splits;
            splits.sort_unstable();
            splits.dedup();
            let number = "5105105105105100";
            let bounds: Vec<usize> = [vec![0], splits, vec![16]].concat();
            let parts: Vec<String> = bounds.windows(2).map(|part| format!("{inputs}{}", &number[part[0]..part[1]])).collect();
            let kept = heard(&parts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert!(!kept.concat().contains(|c: char| c.is_ascii_digit()), "{kept:?}");
        }
    }
}
