//! Finds a card number whose digits stand apart: with any words between them, or in several of the last inputs.
//!
//! Between the digits of ordinary sentences there are words too, and one in ten runs of digits passes the Luhn check.
//! So the parts must be whole runs, follow each other, and look as if they were read from one card: parts of one
//! length, parts that end where the printed groups end, or many short ones.

use std::collections::VecDeque;
use std::ops::Range;

use super::card::{MAX_CARD_DIGITS, is_of_known_brand};
use super::digit_run::{DigitGroup, DigitRun, Strength};
use super::part_digits::{PartDigits, ends_with_printed_groups, is_even, is_of_major_brand, major_brand_length};
use super::run_kind::RunKind;

/// The number of inputs over which digits are counted, the present one included.
pub(super) const WINDOW_INPUTS: u64 = 10;

/// The maximum number of runs that are remembered. A card number has at most 19 parts; the others are skipped ones.
const MAX_PARTS: usize = 64;

/// The longest run that is one part of several.
const MAX_PART_DIGITS: usize = 15;

/// The maximum number of parts of any length, and the length from which on a part is not short.
const MAX_FREE_PARTS: usize = 5;
const MIN_FREE_DIGITS: usize = 3;

/// A run of so many digits is longer than a phone number.
const MIN_SPLIT_DIGITS: usize = 12;

/// The longest part, and the minimum number of parts, where the parts differ in length.
const MAX_MIXED_DIGITS: usize = 4;
const MIN_MIXED_PARTS: usize = 6;

/// The minimum number of parts of one length that are cut although the check digit is wrong, or one is missing: a digit
/// was misheard.
const MIN_PARTS_WITHOUT_CHECK: usize = 4;

/// The runs of the last inputs, as one language reads them.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct DigitWindow {
    parts: VecDeque<DigitPart>,
}

/// A run of digits in an input.
#[derive(Clone, PartialEq, Eq)]
struct DigitPart {
    input: u64,
    byte_range: Range<usize>,
    /// The digits, unless they are more than a card number has.
    digits: Option<PartDigits>,
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

/// Which runs are parts of one number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Selection {
    /// Every run, up to one that is no part.
    Every,
    /// The same without optional runs.
    WithoutOptional,
    /// The runs of this length; others may stand between them.
    OfLength(usize),
}

enum Step<'a> {
    Take(&'a PartDigits),
    Skip,
    Stop,
}

/// The parts that a selection takes, from the last one backwards.
struct TakenParts<'a> {
    /// The last part comes first.
    parts: [Option<(&'a DigitPart, &'a PartDigits)>; MAX_CARD_DIGITS],
    count: usize,
    /// All digits in order, at the end of the array.
    digits: [u8; MAX_CARD_DIGITS],
    digit_count: usize,
}

impl DigitPart {
    /// Makes a part of these groups of a run, of which there is at least one.
    fn new<'a>(
        run: &DigitRun,
        groups: impl Iterator<Item = &'a DigitGroup> + Clone,
        input: u64,
        offset: usize,
        kind: RunKind,
    ) -> Self {
        let start = groups.clone().next().map_or(0, |group| group.byte_range.start);
        let end = groups.clone().last().map_or(start, |group| group.byte_range.end);
        let digits = PartDigits::new(groups.map(|group| &run.digits[group.digit_range.clone()]));
        Self { input, byte_range: start + offset..end + offset, digits, kind }
    }
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
        self.forget_before(input);
        // A word beside a number may only sound like one, or be one in another language: `next we have thirty-nine`.
        let is_strong = |group: &&DigitGroup| group.strength == Strength::Strong;
        let has_strong = run.groups.iter().any(|group| is_strong(&group));
        let groups = run.groups.iter().filter(|group| !has_strong || is_strong(group));
        let mut sizes = groups.clone().map(|group| group.digit_range.len());
        // Digits that are read one by one would make parts of anything.
        if sizes.clone().sum::<usize>() < MIN_SPLIT_DIGITS || sizes.all(|size| size == 1) {
            self.push_part(DigitPart::new(run, groups, input, offset, kind));
            return self.find_last(may_be_off);
        }
        // These are nearly a card number: each may be a part, and others may stand before them.
        let mut found = None;
        for group in groups {
            self.push_part(DigitPart::new(run, [group].into_iter(), input, offset, kind));
            found = self.find_last(may_be_off).or(found);
        }
        found
    }

    /// Forgets the runs of inputs that no longer count in input number `input`.
    pub(super) fn forget_before(&mut self, input: u64) {
        while self.parts.front().is_some_and(|part| part.input + WINDOW_INPUTS <= input) {
            self.parts.pop_front();
        }
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
        let digits = last.digits.as_ref()?;
        if may_be_off && is_off_card(digits.digits(), || digits.group_sizes()) {
            return Some(SpreadCard::new([last].into_iter(), digits.digits()));
        }
        let length = digits.len();
        let lengths = || self.parts.iter().rev().skip(1).map(|part| part.digits.as_ref().map(PartDigits::len));
        let longer = lengths().flatten().find(|other| *other > length);
        let are_uniform = lengths().all(|other| other == Some(length));
        let has_optional = self.parts.iter().any(|part| part.kind == RunKind::Optional);
        [
            Some(Selection::Every),
            (has_optional && last.kind == RunKind::Plain).then_some(Selection::WithoutOptional),
            (!are_uniform).then_some(Selection::OfLength(length)),
            longer.map(Selection::OfLength),
        ]
        .into_iter()
        .flatten()
        .find_map(|selection| self.find_selected(selection, may_be_off))
    }

    /// Takes parts from the last one backwards, until they are a card number or too long. A number with a wrong or missing
    /// digit counts if no parts are one without.
    fn find_selected(&self, selection: Selection, may_be_off: bool) -> Option<SpreadCard> {
        let mut taken = TakenParts::default();
        let mut off = None;
        for part in self.parts.iter().rev() {
            match selection.apply_to(part, taken.count == 0) {
                Step::Skip => {}
                Step::Stop => break,
                Step::Take(digits) => {
                    if !taken.push(part, digits) {
                        break;
                    }
                    match taken.find_card(selection) {
                        Some(Check::Passed) => return Some(taken.to_card()),
                        Some(Check::Failed) if may_be_off && off.is_none() => off = Some(taken.to_card()),
                        _ => {}
                    }
                }
            }
        }
        off
    }
}

/// Whether the check digit of a number fits.
enum Check {
    Passed,
    Failed,
}

impl Selection {
    fn apply_to(self, part: &DigitPart, is_last: bool) -> Step<'_> {
        let is_measured = part.kind == RunKind::Measured;
        match (self, &part.digits) {
            (Self::OfLength(_), Some(digits)) if is_last => Step::Take(digits),
            (Self::OfLength(wanted), Some(digits)) if digits.len() == wanted && !is_measured => Step::Take(digits),
            (Self::OfLength(_), _) => Step::Skip,
            (Self::WithoutOptional, _) if part.kind == RunKind::Optional => Step::Skip,
            (_, Some(digits)) if !is_measured && is_part(digits) => Step::Take(digits),
            _ => Step::Stop,
        }
    }

    /// Whether the parts follow each other.
    fn is_sequence(self) -> bool {
        !matches!(self, Self::OfLength(_))
    }
}

impl Default for TakenParts<'_> {
    fn default() -> Self {
        Self { parts: [None; MAX_CARD_DIGITS], count: 0, digits: [0; MAX_CARD_DIGITS], digit_count: 0 }
    }
}

impl<'a> TakenParts<'a> {
    /// Puts a part before the others, and returns whether all together are no longer than a card number.
    fn push(&mut self, part: &'a DigitPart, digits: &'a PartDigits) -> bool {
        let end = MAX_CARD_DIGITS - self.digit_count;
        let (Some(start), Some(place)) = (end.checked_sub(digits.len()), self.parts.get_mut(self.count)) else {
            return false;
        };
        *place = Some((part, digits));
        self.digits[start..end].copy_from_slice(digits.digits());
        self.digit_count += digits.len();
        self.count += 1;
        true
    }

    /// The parts in order.
    fn parts(&self) -> impl Iterator<Item = (&'a DigitPart, &'a PartDigits)> + Clone + '_ {
        self.parts[..self.count].iter().rev().flatten().copied()
    }

    /// All digits in order.
    fn digits(&self) -> &[u8] {
        &self.digits[MAX_CARD_DIGITS - self.digit_count..]
    }

    fn run_sizes(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        self.parts().map(|(_, digits)| digits.len())
    }

    fn group_sizes(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        self.parts().flat_map(|(_, digits)| digits.group_sizes())
    }

    fn pair_sizes(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        self.parts().flat_map(|(_, digits)| digits.pair_sizes())
    }

    /// Whether parts of these sizes, which follow each other, are enough like those of a card: few parts of which at most
    /// one is short, many short ones, or the groups that are printed on a card of 14 digits. What few parts of 14 digits
    /// make is a phone number and a year too often.
    fn has_sequence_sizes(&self, optional: usize) -> bool {
        let short = self.run_sizes().filter(|size| *size < MIN_FREE_DIGITS).count();
        let are_few = self.count <= MAX_FREE_PARTS && short <= 1 && optional == 0 && self.digit_count > 14;
        let are_many = self.count >= MIN_MIXED_PARTS && self.run_sizes().all(|size| size <= MAX_MIXED_DIGITS);
        are_few
            || are_many
            || ends_with_printed_groups(self.run_sizes())
            || ends_with_printed_groups(self.group_sizes())
    }

    fn to_card(&self) -> SpreadCard {
        SpreadCard::new(self.parts().map(|(part, _)| part), self.digits())
    }

    /// Returns whether the parts are read from one card, and whether its check digit fits.
    fn find_card(&self, selection: Selection) -> Option<Check> {
        let digits = self.digits();
        // What most digits fail comes first.
        let length = major_brand_length(digits);
        if self.count < 2 || (length != Some(digits.len()) && length != Some(digits.len() + 1)) {
            return None;
        }
        let optional = self.parts().filter(|(part, _)| part.kind == RunKind::Optional).count();
        if optional * 2 > self.count {
            return None;
        }
        if is_of_major_brand(digits) && is_of_known_brand(digits) {
            let is_even = is_even(self.run_sizes()) || is_even(self.group_sizes()) || is_even(self.pair_sizes());
            let follows = selection.is_sequence() && self.has_sequence_sizes(optional);
            return (is_even || follows).then_some(Check::Passed);
        }
        let is_off = optional == 0
            && selection.is_sequence()
            && (is_off_card(digits, || self.run_sizes())
                || (self.group_sizes().any(|size| size > 1) && is_off_card(digits, || self.group_sizes())));
        is_off.then_some(Check::Failed)
    }
}

/// Whether a run may be one part of several by its length and its groups.
fn is_part(digits: &PartDigits) -> bool {
    let is_by_digits = || digits.len() >= MIN_SPLIT_DIGITS && digits.group_sizes().all(|size| size == 1);
    digits.len() <= MAX_PART_DIGITS || digits.is_in_printed_groups() || is_by_digits()
}

/// Whether digits in parts of these sizes are a card number with one digit wrong or missing.
fn is_off_card<Sizes: Iterator<Item = usize>>(digits: &[u8], sizes: impl Fn() -> Sizes) -> bool {
    let length = major_brand_length(digits);
    (length == Some(digits.len()) || length == Some(digits.len() + 1))
        && sizes().count() >= MIN_PARTS_WITHOUT_CHECK
        && is_even(sizes())
}

impl SpreadCard {
    fn new<'a>(parts: impl Iterator<Item = &'a DigitPart>, digits: &[u8]) -> Self {
        let parts: Vec<&DigitPart> = parts.collect();
        let input = parts.last().map_or(0, |part| part.input);
        let digits_of = |part: &&DigitPart| part.digits.map_or_else(Vec::new, |digits| digits.digits().to_vec());
        Self {
            digits: digits.to_vec(),
            parts: parts.iter().map(digits_of).collect(),
            first_input: parts.first().map_or(input, |part| part.input),
            byte_ranges: parts.iter().filter(|part| part.input == input).map(|part| part.byte_range.clone()).collect(),
        }
    }
}
