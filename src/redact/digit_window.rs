//! Finds a card number whose digits stand apart: with any words between them, or in several of the last inputs.
//!
//! Between the digits of ordinary sentences there are words too, and one in ten runs of digits passes the Luhn check.
//! So the parts must be whole runs, follow each other, and look as if they were read from one card: parts of one
//! length, or many short ones.

use std::collections::VecDeque;
use std::ops::Range;

use super::card::{MAX_CARD_DIGITS, is_of_known_brand};
use super::digit_run::{DigitGroup, DigitRun, Strength};
use super::run_kind::RunKind;

/// The number of inputs over which digits are counted, the present one included.
pub(super) const WINDOW_INPUTS: u64 = 10;

/// The maximum number of runs that are remembered. A card number has at most 19 parts; the others are skipped ones.
const MAX_PARTS: usize = 64;

/// The longest run that is one part of several. Longer ones are phone numbers, or are found by the runs next to them.
const MAX_PART_DIGITS: usize = 8;

/// A run of so many digits is longer than a phone number.
const MIN_SPLIT_DIGITS: usize = 12;

/// The longest part, and the minimum number of parts, where the parts differ in length.
const MAX_MIXED_DIGITS: usize = 4;
const MIN_MIXED_PARTS: usize = 6;

/// The lengths of parts in which people read a card: digits, pairs, threes, the printed groups, halves.
const EVEN_SIZES: [usize; 5] = [1, 2, 3, 4, 8];

/// The minimum number of parts of one length that are cut although the check digit is wrong, or one is missing: a digit
/// was misheard.
const MIN_PARTS_WITHOUT_CHECK: usize = 4;

/// The runs of the last inputs, as one language reads them.
#[derive(Default)]
pub(super) struct DigitWindow {
    parts: VecDeque<DigitPart>,
}

/// A run of digits in an input.
pub(super) struct DigitPart {
    input: u64,
    byte_range: Range<usize>,
    digits: Vec<u8>,
    /// The number of digits of each group.
    group_sizes: Vec<usize>,
    kind: RunKind,
}

/// A card number that ends in the last run.
pub(super) struct SpreadCard {
    /// All digits.
    pub(super) digits: Vec<u8>,
    /// The digits of each part.
    pub(super) parts: Vec<Vec<u8>>,
    /// The input of the first part.
    pub(super) first_input: u64,
    /// The parts in the present input, as byte ranges.
    pub(super) byte_ranges: Vec<Range<usize>>,
}

impl DigitPart {
    /// Makes a part of these groups of a run, of which there is at least one.
    fn new(run: &DigitRun, groups: &[&DigitGroup], input: u64, offset: usize, kind: RunKind) -> Self {
        let start = groups.first().map_or(0, |group| group.byte_range.start);
        let end = groups.last().map_or(start, |group| group.byte_range.end);
        Self {
            input,
            byte_range: start + offset..end + offset,
            digits: groups.iter().flat_map(|group| run.digits[group.digit_range.clone()].iter().copied()).collect(),
            group_sizes: groups.iter().map(|group| group.digit_range.len()).collect(),
            kind,
        }
    }
}

/// Which runs are parts of one number.
#[derive(Clone, Copy)]
enum Selection {
    /// Every run, up to one that is no part.
    Every,
    /// The same without optional runs.
    WithoutOptional,
    /// The runs of this length; others may stand between them.
    OfLength(usize),
}

enum Step {
    Take,
    Skip,
    Stop,
}

impl DigitWindow {
    /// Adds a run of input number `input`, which starts `offset` bytes into it, and returns the card number that it
    /// completes. With `may_be_off` that may be a number with one digit wrong or missing.
    pub(super) fn push(
        &mut self,
        run: &DigitRun,
        kind: RunKind,
        input: u64,
        offset: usize,
        may_be_off: bool,
    ) -> Option<SpreadCard> {
        while self.parts.front().is_some_and(|part| part.input + WINDOW_INPUTS <= input) {
            self.parts.pop_front();
        }
        // A word beside a number may only sound like one, or be one in another language: `next we have thirty-nine`.
        let is_strong = |group: &&DigitGroup| group.strength == Strength::Strong;
        let strong: Vec<&DigitGroup> = run.groups.iter().filter(is_strong).collect();
        let groups = if strong.is_empty() { run.groups.iter().collect() } else { strong };
        let digits = groups.iter().map(|group| group.digit_range.len()).sum::<usize>();
        // No card begins with a zero, but phone numbers of this length do.
        let is_phone = digits == MIN_SPLIT_DIGITS && run.digits.first() == Some(&0);
        if digits < MIN_SPLIT_DIGITS || is_phone {
            self.push_part(DigitPart::new(run, &groups, input, offset, kind));
            return self.find_last(may_be_off);
        }
        // These are nearly a card number: each may be a part, and others may stand before them.
        let mut found = None;
        for group in groups {
            self.push_part(DigitPart::new(run, &[group], input, offset, kind));
            found = self.find_last(may_be_off).or(found);
        }
        found
    }

    fn push_part(&mut self, part: DigitPart) {
        if self.parts.len() >= MAX_PARTS {
            self.parts.pop_front();
        }
        self.parts.push_back(part);
    }

    /// Returns the card number that ends in the last run.
    fn find_last(&self, may_be_off: bool) -> Option<SpreadCard> {
        let last = self.parts.back().filter(|part| part.kind != RunKind::Measured)?;
        if may_be_off && is_off_card(&last.digits, &last.group_sizes) {
            return Some(SpreadCard::new(&[last]));
        }
        let length = last.digits.len();
        let longer = self.parts.iter().rev().skip(1).map(|part| part.digits.len()).find(|other| *other > length);
        [
            Some(Selection::Every),
            (last.kind == RunKind::Plain).then_some(Selection::WithoutOptional),
            Some(Selection::OfLength(length)),
            longer.map(Selection::OfLength),
        ]
        .into_iter()
        .flatten()
        .find_map(|selection| self.find_selected(selection, may_be_off))
    }

    /// Takes parts from the last one backwards, until they are a card number or too long.
    fn find_selected(&self, selection: Selection, may_be_off: bool) -> Option<SpreadCard> {
        let mut taken: Vec<&DigitPart> = Vec::new();
        let mut count = 0;
        for part in self.parts.iter().rev() {
            match selection.apply_to(part, taken.is_empty()) {
                Step::Skip => continue,
                Step::Stop => break,
                Step::Take => {}
            }
            taken.insert(0, part);
            count += part.digits.len();
            if count > MAX_CARD_DIGITS {
                break;
            }
            if taken.len() > 1 && is_spread_card(&taken, selection, may_be_off) {
                return Some(SpreadCard::new(&taken));
            }
        }
        None
    }
}

impl DigitPart {
    /// Whether the digits stand in groups of four, as on a card.
    fn is_in_printed_groups(&self) -> bool {
        self.group_sizes.iter().all(|size| *size == 4)
    }
}

impl Selection {
    fn apply_to(self, part: &DigitPart, is_last: bool) -> Step {
        let length = part.digits.len();
        match self {
            Self::OfLength(_) if is_last => Step::Take,
            Self::OfLength(wanted) if length == wanted && part.kind != RunKind::Measured => Step::Take,
            Self::OfLength(_) => Step::Skip,
            Self::WithoutOptional if part.kind == RunKind::Optional => Step::Skip,
            _ if (length > MAX_PART_DIGITS && !part.is_in_printed_groups()) || part.kind == RunKind::Measured => {
                Step::Stop
            }
            Self::Every | Self::WithoutOptional => Step::Take,
        }
    }
}

/// Whether parts are read from one card.
fn is_spread_card(parts: &[&DigitPart], selection: Selection, may_be_off: bool) -> bool {
    let optional = parts.iter().filter(|part| part.kind == RunKind::Optional).count();
    if optional * 2 > parts.len() {
        return false;
    }
    let digits = parts.iter().map(|part| part.digits.as_slice()).collect::<Vec<_>>().concat();
    let run_sizes: Vec<usize> = parts.iter().map(|part| part.digits.len()).collect();
    let group_sizes = parts.iter().map(|part| part.group_sizes.as_slice()).collect::<Vec<_>>().concat();
    let is_even = is_even(&run_sizes) || is_even(&group_sizes);
    if is_of_major_brand(&digits) && is_of_known_brand(&digits) {
        let is_mixed = parts.len() >= MIN_MIXED_PARTS && run_sizes.iter().all(|size| *size <= MAX_MIXED_DIGITS);
        return is_even || (is_mixed && !matches!(selection, Selection::OfLength(_)));
    }
    let is_sequence = !matches!(selection, Selection::OfLength(_));
    may_be_off
        && optional == 0
        && is_sequence
        && (is_off_card(&digits, &run_sizes) || is_off_card(&digits, &group_sizes))
}

/// Whether digits in parts of these sizes are a card number with one digit wrong or missing.
fn is_off_card(digits: &[u8], sizes: &[usize]) -> bool {
    let with_one_more = || is_of_major_brand(&[digits, &[0]].concat());
    sizes.len() >= MIN_PARTS_WITHOUT_CHECK && is_even(sizes) && (is_of_major_brand(digits) || with_one_more())
}

/// Whether sizes are all the same, except that the last one of three or more may be less.
pub(super) fn is_even(sizes: &[usize]) -> bool {
    let Some((last, rest)) = sizes.split_last() else { return false };
    rest.first().is_some_and(|first| {
        let ends = last == first || (last < first && rest.len() > 1);
        EVEN_SIZES.contains(first) && ends && rest.iter().all(|size| size == first)
    })
}

/// Whether digits have a prefix of one of the large brands and the length of nearly all of its cards. The check digit
/// does not count.
pub(super) fn is_of_major_brand(digits: &[u8]) -> bool {
    let prefix = digits.iter().take(4).fold(0, |value, digit| value * 10 + u32::from(*digit));
    match digits.len() {
        14 => matches!(prefix, 3000..=3059 | 3600..=3699 | 3800..=3999),
        15 => matches!(prefix, 3400..=3499 | 3700..=3799),
        16 => matches!(
            prefix,
            4000..=4999 | 5100..=5599 | 2221..=2720 | 6011 | 6440..=6599 | 6200..=6299 | 3528..=3589
        ),
        _ => false,
    }
}

impl SpreadCard {
    fn new(parts: &[&DigitPart]) -> Self {
        let input = parts.last().map_or(0, |part| part.input);
        Self {
            digits: parts.iter().flat_map(|part| part.digits.iter().copied()).collect(),
            parts: parts.iter().map(|part| part.digits.clone()).collect(),
            first_input: parts.first().map_or(input, |part| part.input),
            byte_ranges: parts.iter().filter(|part| part.input == input).map(|part| part.byte_range.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_size_may_be_less() {
        assert!(is_even(&[4, 4, 4, 4]) && is_even(&[3, 3, 3, 3, 3, 1]) && is_even(&[8, 8]));
        assert!(!is_even(&[10, 6]) && !is_even(&[5, 5, 5]) && !is_even(&[8, 6]));
        assert!(!is_even(&[4, 4, 2, 4]) && !is_even(&[2, 4]) && !is_even(&[]));
    }
}
