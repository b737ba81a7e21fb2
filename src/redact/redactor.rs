//! Removes card numbers from the inputs of one conversation, also a number that is spread over several inputs.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::{Range, RangeInclusive};

use serde::de::IgnoredAny;

use super::card::{MAX_CARD_DIGITS, has_card_number, is_of_known_brand};
use super::json::RedactedJson;
use super::scan::{DigitRun, LanguageScan, scan_text};
use super::{redact_ranges, redact_runs};

/// The maximum number of inputs without digits between two parts of a card number.
const MAX_INPUTS_WITHOUT_DIGITS: u64 = 3;

/// The minimum number of digits that count as part of a card number where they were not given as a part of it.
const MIN_PARTIAL_DIGITS: usize = 4;

/// The maximum number of digits before a card number that are not part of it: `one`, `number two`.
const MAX_STRAY_DIGITS: usize = 2;

/// After a run of at least this many digits that is no card number, one or two digits may complete it whatever the
/// other words: `and a two, that's it`. Shorter runs are often phone numbers.
const NEARLY_CARD_DIGITS: usize = 13;

/// The lengths of most card numbers.
const USUAL_CARD_LENGTHS: RangeInclusive<usize> = 15..=16;

/// How many digits of a card may follow its number: a security code, an expiry date or both.
const DIGITS_BESIDE_NUMBER: RangeInclusive<usize> = 3..=8;

/// Which digits are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactionPolicy {
    /// Card numbers only.
    CardNumbers,
    /// Also any run of three or more digits, including dates such as `12/27`: during a capture, any of them may be card
    /// data.
    AnyDigitRun,
}

/// Redacts the inputs of a conversation, and remembers runs that may be the start of a card number.
#[derive(Default)]
pub struct Redactor {
    inputs: u64,
    /// One list per language, since each finds different runs.
    runs_by_language: Vec<VecDeque<EarlierRun>>,
}

/// A redacted input.
pub struct Redacted {
    /// The remaining text.
    pub text: String,
    /// Whether anything was removed.
    pub was_redacted: bool,
    /// The card numbers that the input contained or completed. The calling function removes their parts from earlier
    /// inputs.
    pub cards: Vec<DetectedCard>,
}

/// A detected card number. It is kept only until its parts are removed from other texts.
pub struct DetectedCard {
    digits: Vec<u8>,
    /// The runs of earlier inputs that are parts of it.
    parts: Vec<Vec<u8>>,
    /// How many inputs before this one it started.
    earlier_inputs: u64,
}

/// A run of digits of an earlier input.
struct EarlierRun {
    input: u64,
    /// Its range in that input, in bytes.
    byte_range: Range<usize>,
    groups: Vec<Vec<u8>>,
}

impl Redactor {
    /// Redacts an input.
    pub fn redact(&mut self, text: &str, policy: RedactionPolicy) -> Redacted {
        self.inputs += 1;
        let readings = scan_text(text);
        self.runs_by_language.resize_with(readings.len(), VecDeque::new);
        let (mut places, mut cards) = (Vec::new(), Vec::new());
        for (parts, reading) in self.runs_by_language.iter_mut().zip(&readings) {
            for run in &reading.runs {
                let nearly = parts.back().is_some_and(EarlierRun::is_nearly_card);
                let ends = nearly || is_possible_part(run, reading);
                let card = if ends { find_completed_card(parts, run, self.inputs) } else { None };
                let card = card.or_else(|| find_whole_card(run));
                if card.is_some() || (policy == RedactionPolicy::AnyDigitRun && run.is_long()) {
                    places.push(run.byte_range());
                }
                if let Some(card) = card {
                    places.extend(
                        parts
                            .iter()
                            .filter(|part| card.includes_run(part, self.inputs))
                            .map(|part| part.byte_range.clone()),
                    );
                    cards.push(card);
                }
                if is_possible_part(run, reading) {
                    remember_run(parts, run, self.inputs);
                }
            }
            if parts.back().is_some_and(|part| self.inputs - part.input > MAX_INPUTS_WITHOUT_DIGITS) {
                parts.clear();
            }
        }
        let text = redact_ranges(text, places);
        Redacted { was_redacted: matches!(text, Cow::Owned(_)), text: text.into_owned(), cards }
    }
}

/// Returns the card number that a run contains.
fn find_whole_card(run: &DigitRun) -> Option<DetectedCard> {
    has_card_number(run).then(|| DetectedCard { digits: run.digits.clone(), parts: Vec::new(), earlier_inputs: 0 })
}

/// Returns the card number that ends in this run and started in an earlier one. It starts where a run starts, or after
/// a stray word such as the `one` of `this one`, and only other digits of the card may follow it. Wider windows would
/// find card numbers in phone numbers and amounts by chance.
fn find_completed_card(parts: &VecDeque<EarlierRun>, run: &DigitRun, input: u64) -> Option<DetectedCard> {
    for (at, part) in parts.iter().enumerate() {
        let before: Vec<u8> = parts.iter().skip(at).flat_map(|part| part.groups.concat()).collect();
        let stray = part.groups.iter().scan(0, |digits, group| {
            *digits += group.len();
            Some(*digits)
        });
        for from in [0].into_iter().chain(stray.take_while(|digits| *digits <= MAX_STRAY_DIGITS)) {
            let mut digits = before[from..].to_vec();
            for group in &run.groups {
                digits.extend_from_slice(&run.digits[group.digit_range.clone()]);
                if digits.len() > MAX_CARD_DIGITS {
                    break;
                }
                let after = run.digits.len() - group.digit_range.end;
                let ends =
                    after == 0 || (DIGITS_BESIDE_NUMBER.contains(&after) && USUAL_CARD_LENGTHS.contains(&digits.len()));
                if ends && is_of_known_brand(&digits) {
                    let parts = parts.iter().skip(at).map(|part| part.groups.concat()).collect();
                    return Some(DetectedCard { digits, parts, earlier_inputs: input - part.input });
                }
            }
        }
    }
    None
}

/// Whether a run may be part of a card number. One or two digits are only if the input has no other words, unlike `two
/// cards`.
fn is_possible_part(run: &DigitRun, reading: &LanguageScan) -> bool {
    run.digits.len() > MAX_STRAY_DIGITS || reading.other_words == 0
}

/// Remembers a run that the next one may continue. A complete card number is remembered too, since one in ten numbers
/// passes the Luhn check before its end.
fn remember_run(parts: &mut VecDeque<EarlierRun>, run: &DigitRun, input: u64) {
    if run.digits.len() > MAX_CARD_DIGITS {
        return parts.clear();
    }
    let groups = run.groups.iter().map(|group| run.digits[group.digit_range.clone()].to_vec()).collect();
    parts.push_back(EarlierRun { input, byte_range: run.byte_range(), groups });
    let later = |parts: &VecDeque<EarlierRun>| parts.iter().skip(1).map(EarlierRun::len).sum::<usize>();
    while later(parts) >= MAX_CARD_DIGITS - 1 {
        parts.pop_front();
    }
}

impl EarlierRun {
    fn len(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    fn is_nearly_card(&self) -> bool {
        self.len() >= NEARLY_CARD_DIGITS && !is_of_known_brand(&self.groups.concat())
    }
}

impl DetectedCard {
    /// How many inputs before this one it started: 0 if it was in one input.
    pub fn earlier_inputs(&self) -> u64 {
        self.earlier_inputs
    }

    /// Removes the parts of this card number from a text; `said` is whether the text is one of the inputs that it came
    /// from.
    pub fn redact_from<'a>(&self, text: &'a str, said: bool) -> Cow<'a, str> {
        redact_runs(text, |run| self.is_part(&run.digits, said))
    }

    /// Removes the parts of this card number from JSON.
    pub fn redact_from_json(&self, json: &mut RedactedJson) {
        json.update(|text| match self.redact_from(text, false) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => {
                let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                Some(if is_json { text } else { "{}".to_owned() })
            }
        });
    }

    /// Whether this run is part of the card number and in the same input as its end.
    fn includes_run(&self, part: &EarlierRun, input: u64) -> bool {
        part.input == input && self.parts.contains(&part.groups.concat())
    }

    fn is_part(&self, run: &[u8], said: bool) -> bool {
        let is_within = || self.digits.windows(run.len()).any(|part| part == run);
        (said && self.parts.iter().any(|part| part == run)) || (run.len() >= MIN_PARTIAL_DIGITS && is_within())
    }
}

/// Prints the number of inputs, not their text.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} inputs)", self.inputs)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redacted(was_redacted: {})", self.was_redacted)
    }
}

impl fmt::Debug for DetectedCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DetectedCard")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::REDACTED;
    use proptest::prelude::*;

    /// The inputs after redaction of all of them.
    fn heard(inputs: &[&str]) -> Vec<String> {
        let mut redactor = Redactor::default();
        let mut kept: Vec<String> = Vec::new();
        for input in inputs {
            let heard = redactor.redact(input, RedactionPolicy::CardNumbers);
            for card in &heard.cards {
                let since = kept.len() - usize::try_from(card.earlier_inputs()).unwrap();
                for (at, text) in kept.iter_mut().enumerate() {
                    *text = card.redact_from(text, at >= since).into_owned();
                }
            }
            assert_eq!(heard.was_redacted, heard.text != *input);
            kept.push(heard.text);
        }
        kept
    }

    #[test]
    fn a_card_number_in_parts_is_removed_from_all_inputs() {
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
    fn a_repeated_card_number_is_removed_where_it_was_started() {
        let kept = heard(&["it is 4242 4242", "sorry: 4242 4242 4242 4242"]);
        assert_eq!(kept, [format!("it is {REDACTED}"), format!("sorry: {REDACTED}")]);
    }

    #[test]
    fn other_numbers_stay() {
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
    fn a_removed_part_still_counts() {
        let mut redactor = Redactor::default();
        assert!(!redactor.redact("4242 4242", RedactionPolicy::CardNumbers).was_redacted);
        assert_eq!(redactor.redact("4242 42", RedactionPolicy::AnyDigitRun).text, REDACTED);
        let last = redactor.redact("42", RedactionPolicy::AnyDigitRun);
        assert_eq!((last.text.as_str(), last.cards[0].earlier_inputs()), (REDACTED, 2));
    }

    proptest! {
        #[test]
        fn no_part_of_a_card_number_stays_wherever_it_is_split(
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
