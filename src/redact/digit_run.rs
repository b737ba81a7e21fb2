//! Digits that stand together in a text, and how sure it is that they were meant as digits.

use std::ops::Range;

use super::card::{CardEvidence, evidence, has_card_number};
use super::language::{Languages, MISHEARD};

/// How sure it is that a number was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// A numeral, or a number word of the language that is spoken.
    Strong,
    /// Words that are everyday words in another language, or sound like number words: `fire` is 4 in Danish, `for` is
    /// what a speech recogniser may hear of `four`.
    Weak,
}

/// Digits with only blanks, punctuation and filler words between them.
#[derive(Default, PartialEq, Eq)]
pub(super) struct DigitRun {
    /// 0 to 9 each.
    pub(super) digits: Vec<u8>,
    /// The numbers in the run: `4242`, or `forty-two`.
    pub(super) groups: Vec<DigitGroup>,
    /// Whether the run may be no number at all: its words are everyday words, and nothing else says which language is
    /// spoken.
    pub(super) is_ambiguous: bool,
}

/// The digits of one number.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct DigitGroup {
    /// Their range in the digits of the run.
    pub(super) digit_range: Range<usize>,
    /// Their range in the text, in bytes.
    pub(super) byte_range: Range<usize>,
    pub(super) strength: Strength,
}

/// What the number words of a run say about its language.
#[derive(Default, PartialEq, Eq)]
pub(super) struct WordEvidence {
    strong: usize,
    weak: usize,
    /// The languages that lack one of the words.
    missing: Languages,
}

/// So many number words in a row of one language are no coincidence, though each is an everyday word of another.
const MIN_WEAK_WORDS: usize = 4;

impl WordEvidence {
    /// Adds a number word.
    pub(super) fn add(&mut self, is_weak: bool, languages: Languages) {
        *(if is_weak { &mut self.weak } else { &mut self.strong }) += 1;
        self.missing |= !languages;
    }

    /// Whether the words show that their language is spoken.
    fn shows_language(&self) -> bool {
        self.strong > 0 || (self.weak >= MIN_WEAK_WORDS && self.missing != Languages::MAX)
    }
}

impl DigitGroup {
    fn is_weak(&self) -> bool {
        self.strength == Strength::Weak
    }
}

impl DigitRun {
    /// The range of the run in the text, in bytes.
    pub(super) fn byte_range(&self) -> Range<usize> {
        let from = self.groups.first().map_or(0, |group| group.byte_range.start);
        from..self.groups.last().map_or(from, |group| group.byte_range.end)
    }

    /// Adds a number.
    pub(super) fn push(&mut self, digits: &[u8], byte_range: Range<usize>, strength: Strength) {
        let from = self.digits.len();
        self.digits.extend_from_slice(digits);
        self.groups.push(DigitGroup { digit_range: from..self.digits.len(), byte_range, strength });
    }

    /// Removes the last number if it is one digit, and returns the digit and its range in the text.
    pub(super) fn pop_digit(&mut self) -> Option<(u8, Range<usize>)> {
        let last = self.groups.pop_if(|group| group.digit_range.len() == 1)?;
        Some((self.digits.pop()?, last.byte_range))
    }

    /// Decides which weak numbers count, and adds the resulting runs to `runs`.
    pub(super) fn settle(mut self, words: &WordEvidence, reading: usize, runs: &mut Vec<Self>) {
        if !self.groups.iter().any(DigitGroup::is_weak) {
            return runs.push(self);
        }
        if reading == MISHEARD {
            // A card number of its own does not take the everyday words beside it along.
            let [before, within, after] = self.split_weak_ends();
            if has_card_number(&within) {
                return runs.extend([before, within, after].into_iter().filter(|run| !run.groups.is_empty()));
            }
            let weak =
                self.groups.iter().filter(|group| group.is_weak()).map(|group| group.digit_range.len()).sum::<usize>();
            self.is_ambiguous = self.digits.len() < weak * 3;
            return runs.push(self);
        }
        if words.shows_language() {
            self.groups.iter_mut().for_each(|group| group.strength = Strength::Strong);
            return runs.push(self);
        }
        if evidence(&self.digits) == CardEvidence::KnownBrand {
            return runs.push(self);
        }
        // Without such evidence they end a run as any other word does.
        let mut from = 0;
        while from < self.groups.len() {
            let rest = &self.groups[from..];
            let same = rest.iter().take_while(|group| group.strength == rest[0].strength).count();
            runs.push(self.part(from..from + same));
            from += same;
        }
    }

    /// The weak numbers before the first strong one, what is between it and the last strong one, and the weak numbers
    /// after that.
    fn split_weak_ends(&self) -> [Self; 3] {
        let is_strong = |group: &DigitGroup| !group.is_weak();
        let from = self.groups.iter().position(is_strong).unwrap_or(self.groups.len());
        let to = self.groups.iter().rposition(is_strong).map_or(from, |last| last + 1);
        [self.part(0..from), self.part(from..to), self.part(to..self.groups.len())]
    }

    /// Copies some of its groups.
    pub(super) fn part(&self, groups: Range<usize>) -> Self {
        let mut part = Self::default();
        for group in &self.groups[groups] {
            part.push(&self.digits[group.digit_range.clone()], group.byte_range.clone(), group.strength);
        }
        part.is_ambiguous = part.groups.iter().all(DigitGroup::is_weak);
        part
    }
}
