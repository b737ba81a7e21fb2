//! Finds runs of digits in a text, written as numerals or in number words of a language.
//!
//! A text is split into tokens once. Then each reading, which is a group of languages without conflicting words, finds
//! its own runs, since the same word may be a number in one language and a filler in another.

use std::ops::Range;

use super::card::{MAX_CARD_DIGITS, has_card_number};
use super::digit_run::{DigitGroup, Strength, WordEvidence};
use super::language::{Compound, DICTIONARY, Languages, NumberGrammar, NumberPart, READINGS};
use super::spoken_number::SpokenNumber;
use super::text_token::{TextToken, TokenKind, WordMeaning, tokenize};

pub(super) use super::digit_run::DigitRun;

/// The maximum number of characters between two digits of a run that are neither letters nor digits: blanks, dashes,
/// dots.
const MAX_GAP: usize = 8;

/// The maximum number of filler words between two digits of a run: `um, and then`.
const MAX_FILLERS: usize = 4;

/// The longest word that [`is_plain`] looks at, in bytes.
const MAX_PLAIN_WORD: usize = 32;

/// The runs that one reading finds in a text.
pub(super) struct LanguageScan {
    /// All runs in order.
    pub(super) runs: Vec<DigitRun>,
    /// The start of the run that more text could continue, if there is one. It is among the runs if it has digits
    /// already.
    pub(super) open_run_start: Option<usize>,
    /// Whether that run is more than one everyday word, so that it should not be passed on before it is complete.
    pub(super) is_open_run_likely: bool,
    /// The number of words that are neither numbers nor fillers.
    pub(super) other_words: usize,
    /// Whether any word or numeral is a number, or a part of one, also if no run came of it.
    pub(super) has_numbers: bool,
}

/// A run of more digits than these contains all digits of a card and others before it.
const MAX_OPEN_DIGITS: usize = 48;

impl LanguageScan {
    /// A text of so many words, none of which means anything.
    fn plain(other_words: usize, incomplete_reference: Option<usize>) -> Self {
        Self {
            runs: Vec::new(),
            open_run_start: incomplete_reference,
            is_open_run_likely: true,
            other_words,
            has_numbers: false,
        }
    }

    /// Whether a run has more digits than [`MAX_OPEN_DIGITS`].
    #[cfg(any(fuzzing, test))]
    pub(super) fn has_long_run(&self) -> bool {
        self.runs.iter().any(|run| run.digits.len() > MAX_OPEN_DIGITS)
    }

    /// Ends the open run before the digits at its end that may begin a card number, if it is longer than any; or ends all
    /// of it, if it contains one.
    pub(super) fn shorten_open_run(&mut self) {
        let Some(start) = self.open_run_start else { return };
        let is_open = |run: &mut DigitRun| run.byte_range().start >= start && run.digits.len() > MAX_OPEN_DIGITS;
        let Some(run) = self.runs.pop_if(is_open) else { return };
        if has_card_number(&run) {
            self.open_run_start = None;
            return self.runs.push(run);
        }
        let count = run.groups.len();
        let kept = |group: &&DigitGroup| run.digits.len() - group.digit_range.start <= MAX_CARD_DIGITS;
        let kept = run.groups.iter().rev().take_while(kept).count();
        if kept == 0 {
            // One numeral is no shorter than it is.
            return self.runs.push(run);
        }
        let rest = run.part(count - kept..count);
        self.runs.push(run.part(0..count - kept));
        self.open_run_start = Some(rest.byte_range().start);
        self.runs.push(rest);
    }
}

/// Whether a text surely has no digits in any reading, whatever follows it: ASCII without numerals and character references,
/// whose words mean nothing, and whose last word begins nothing. Most of what is said is such a text, and one look at each
/// letter shows it.
pub(super) fn is_plain(text: &str) -> bool {
    let (mut word, mut length) = ([0; MAX_PLAIN_WORD], 0);
    for (at, byte) in text.bytes().chain([b' ']).enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' if length < MAX_PLAIN_WORD => {
                word[length] = byte.to_ascii_lowercase();
                length += 1;
            }
            // It may stand inside a word.
            b'\'' => {}
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'&' | 0x80.. => return false,
            _ => {
                let word = std::str::from_utf8(&word[..std::mem::take(&mut length)]).unwrap_or_default();
                let is_complete = at < text.len();
                let means_nothing = || is_complete && Compound::means_nothing(word) || Compound::is_foreign(word);
                if !word.is_empty() && !means_nothing() {
                    return false;
                }
            }
        }
    }
    true
}

/// Finds the runs of a text, one list per reading.
pub(super) fn find_runs(text: &str) -> Vec<Vec<DigitRun>> {
    scan_text(text).into_iter().map(|reading| reading.runs).collect()
}

/// Parses a text that may be continued, once per reading; always the same number of readings in the same order.
pub(super) fn scan_text(text: &str) -> Vec<LanguageScan> {
    let tokenized = tokenize(text);
    // Most words mean nothing in any reading. The readers begin at the first that means something, or that may.
    let (mut readers, mut plain_words) = (Vec::new(), 0);
    for (n, token) in tokenized.tokens.iter().enumerate() {
        if token.gap > MAX_GAP {
            readers.iter_mut().for_each(RunReader::finish_run);
        }
        match &token.kind {
            TokenKind::Numeral(digits) => {
                for reader in begin_readers(&mut readers, plain_words) {
                    reader.push_numeral(digits, &token.byte_range);
                }
            }
            TokenKind::Word(word) => {
                if readers.is_empty() && Compound::is_foreign(word) {
                    plain_words += 1;
                    continue;
                }
                let is_last = n + 1 == tokenized.tokens.len() && token.byte_range.end == text.len();
                // The word may be incomplete.
                let continuable = if is_last { Compound::languages_with_prefix(word) } else { 0 };
                let readers = begin_readers(&mut readers, plain_words);
                push_word(readers, &WordMeaning::of(word), token, continuable);
            }
        }
        for reader in &mut readers {
            if reader.fillers > MAX_FILLERS {
                reader.finish_run();
            }
        }
    }
    if readers.is_empty() {
        let plain = || LanguageScan::plain(plain_words, tokenized.incomplete_reference);
        return std::iter::repeat_with(plain).take(READINGS).collect();
    }
    let trailing = tokenized.tokens.last().map_or(text, |token| &text[token.byte_range.end..]);
    let is_open = trailing.chars().take(MAX_GAP + 1).count() <= MAX_GAP;
    readers.into_iter().map(|reader| reader.finish(is_open, tokenized.incomplete_reference)).collect()
}

/// The readers of a text that has begun with so many words without a meaning.
fn begin_readers(readers: &mut Vec<RunReader>, plain_words: usize) -> &mut [RunReader] {
    if readers.is_empty() {
        readers.extend((0..READINGS).map(|reading| RunReader { other_words: plain_words, ..RunReader::new(reading) }));
    }
    readers
}

/// Passes a word to each reading with its meaning there.
fn push_word(readers: &mut [RunReader], meaning: &WordMeaning, token: &TextToken, continuable: Languages) {
    match meaning {
        WordMeaning::Exact(meanings) => {
            let mut meanings = meanings.iter().peekable();
            for reader in readers {
                match meanings.next_if(|meaning| usize::from(meaning.reading) == reader.reading) {
                    Some(meaning) => {
                        let word = Word {
                            parts: std::slice::from_ref(&meaning.part),
                            grammar: meaning.grammar,
                            languages: meaning.languages,
                            is_weak: meaning.is_weak,
                        };
                        reader.push_word(&word, token);
                    }
                    None => reader.push_other(continuable),
                }
            }
        }
        WordMeaning::Joined(compounds) => {
            for reader in readers {
                match compounds.iter().find(|compound| usize::from(compound.reading) == reader.reading) {
                    Some(compound) => {
                        let word = Word {
                            parts: &compound.parts,
                            grammar: compound.grammar,
                            languages: compound.languages,
                            is_weak: compound.is_weak,
                        };
                        reader.push_word(&word, token);
                    }
                    None => reader.push_other(continuable),
                }
            }
        }
    }
}

/// A word as one reading understands it.
struct Word<'a> {
    parts: &'a [NumberPart],
    grammar: NumberGrammar,
    languages: Languages,
    is_weak: bool,
}

struct RunReader {
    reading: usize,
    runs: Vec<DigitRun>,
    run: DigitRun,
    number: Option<SpokenNumber>,
    /// The factor of `double` or `triple`, and its position in the text, in bytes.
    repeat: Option<(u8, usize)>,
    /// The number of filler words since the last digit.
    fillers: usize,
    other_words: usize,
    has_numbers: bool,
    words: WordEvidence,
}

impl RunReader {
    fn new(reading: usize) -> Self {
        Self {
            reading,
            runs: Vec::new(),
            run: DigitRun::default(),
            number: None,
            repeat: None,
            fillers: 0,
            other_words: 0,
            has_numbers: false,
            words: WordEvidence::default(),
        }
    }

    fn finish(mut self, is_open: bool, incomplete_reference: Option<usize>) -> LanguageScan {
        let begun = self.open_run_start().filter(|_| is_open);
        let numbers = self.run.groups.len() + usize::from(self.number.is_some());
        let is_weak = self.run.groups.iter().all(|group| group.strength == Strength::Weak)
            && self.number.as_ref().is_none_or(|number| number.is_weak);
        let is_one_weak_word = numbers == 1 && is_weak && self.repeat.is_none();
        self.finish_run();
        LanguageScan {
            runs: self.runs,
            open_run_start: begun.into_iter().chain(incomplete_reference).min(),
            is_open_run_likely: !is_one_weak_word || incomplete_reference.is_some(),
            other_words: self.other_words,
            has_numbers: self.has_numbers,
        }
    }

    /// The start of the run that is being parsed.
    fn open_run_start(&self) -> Option<usize> {
        let run = self.run.groups.first().map(|group| group.byte_range.start);
        let number = self.number.as_ref().map(|number| number.byte_range.start);
        run.or(number).or(self.repeat.map(|(_, at)| at))
    }

    fn push_numeral(&mut self, digits: &[u8], place: &Range<usize>) {
        self.has_numbers = true;
        self.finish_number();
        self.fillers = 0;
        match self.repeat.take() {
            Some((times, from)) if digits.len() <= 2 => {
                self.run.push(&digits.repeat(times.into()), from..place.end, Strength::Strong);
            }
            _ => self.run.push(digits, place.clone(), Strength::Strong),
        }
    }

    /// Ends the run at a word that is neither a number nor a filler, unless it is the beginning of one.
    fn push_other(&mut self, continuable: Languages) {
        if continuable & DICTIONARY.languages_of(self.reading) == 0 {
            self.other_words += 1;
            self.finish_run();
        }
    }

    fn push_word(&mut self, word: &Word<'_>, token: &TextToken) {
        if word.parts.iter().any(|part| part.is_number()) {
            self.has_numbers = true;
            self.words.add(word.is_weak, word.languages);
        }
        for (n, part) in word.parts.iter().enumerate() {
            // The parts of one word form one number.
            self.push_part(*part, word, token.is_adjacent || n > 0, &token.byte_range);
        }
    }

    fn push_part(&mut self, part: NumberPart, word: &Word<'_>, close: bool, place: &Range<usize>) {
        if part.is_number() {
            self.fillers = 0;
        }
        match part {
            NumberPart::Value(value) => self.push_value(value.into(), word, close, place),
            NumberPart::Ten => self.push_ten(word, close, place),
            NumberPart::Teen => self.push_teen(word, close, place),
            NumberPart::Power(power) => self.push_multiplier(power, word, place),
            NumberPart::Plural(digit) => self.push_plural(digit, word, close, place),
            NumberPart::Repeat(times) => {
                self.finish_number();
                self.repeat = Some((times, place.start));
            }
            NumberPart::And => {
                self.fillers += 1;
                if let Some(number) = &mut self.number {
                    number.push_and();
                }
            }
            NumberPart::Filler => {
                self.fillers += 1;
                self.finish_number();
            }
        }
    }

    /// Adds a number word to the current number, or starts a new number with it.
    fn push_value(&mut self, value: u32, word: &Word<'_>, close: bool, place: &Range<usize>) {
        let way = word.grammar;
        match &mut self.number {
            Some(number) if number.accepts(value, way, close) => {
                number.add(value, way, place.end);
                number.is_weak &= word.is_weak;
            }
            _ => self.begin_number(SpokenNumber::new(value, way), word, place),
        }
    }

    fn push_ten(&mut self, word: &Word<'_>, close: bool, place: &Range<usize>) {
        let Some(number) = &mut self.number else { return self.begin_number(SpokenNumber::ten(), word, place) };
        if close && number.try_multiply_by_ten(place.end) {
            return;
        }
        // `百十`: ten after hundreds.
        if number.accepts(10, NumberGrammar::OpenTen, close) {
            number.add(10, NumberGrammar::OpenTen, place.end);
        } else {
            self.begin_number(SpokenNumber::ten(), word, place);
        }
    }

    fn push_teen(&mut self, word: &Word<'_>, close: bool, place: &Range<usize>) {
        if !(close && self.number.as_mut().is_some_and(|number| number.try_add_ten(place.end))) {
            self.begin_number(SpokenNumber::new(10, word.grammar), word, place);
        }
    }

    fn push_multiplier(&mut self, by: u32, word: &Word<'_>, place: &Range<usize>) {
        if !self.number.as_mut().is_some_and(|number| number.try_multiply(by, place.end)) {
            self.begin_number(SpokenNumber::new(by, word.grammar), word, place);
        }
    }

    /// Repeats a digit as often as the number before it says: `four ones`, `4 ones`.
    fn push_plural(&mut self, digit: u8, word: &Word<'_>, close: bool, place: &Range<usize>) {
        if close && self.number.as_mut().is_some_and(|number| number.try_count(digit, place.end)) {
            return;
        }
        let counted = if close && self.number.is_none() { self.run.pop_digit() } else { None };
        match counted {
            Some((count @ 2.., from)) => {
                self.run.push(&[digit].repeat(count.into()), from.start..place.end, Strength::Strong);
            }
            Some((count, from)) => {
                self.run.push(&[count], from, Strength::Strong);
                self.begin_number(SpokenNumber::new(digit.into(), word.grammar), word, place);
            }
            None => self.begin_number(SpokenNumber::new(digit.into(), word.grammar), word, place),
        }
    }

    fn begin_number(&mut self, mut number: SpokenNumber, word: &Word<'_>, place: &Range<usize>) {
        self.finish_number();
        number.byte_range = place.clone();
        number.is_weak = word.is_weak;
        if let Some((times, from)) = self.repeat.take() {
            number.repeat_count = times;
            number.byte_range.start = from;
        }
        self.number = Some(number);
    }

    fn finish_number(&mut self) {
        if let Some(number) = self.number.take() {
            let strength = if number.is_weak { Strength::Weak } else { Strength::Strong };
            self.run.push(&number.digits(), number.byte_range, strength);
        }
    }

    fn finish_run(&mut self) {
        self.finish_number();
        self.repeat = None;
        self.fillers = 0;
        if !self.run.groups.is_empty() {
            let words = std::mem::take(&mut self.words);
            std::mem::take(&mut self.run).settle(&words, self.reading, &mut self.runs);
        } else if self.words != WordEvidence::default() {
            self.words = WordEvidence::default();
        }
    }
}

#[cfg(test)]
mod tests;
