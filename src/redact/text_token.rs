//! Splits a text into numerals and words.

use std::ops::Range;

use super::language::{Compound, DICTIONARY, Meaning};
use super::normalise::{Symbol, normalise, push_letter};

/// A numeral or a word of a text.
pub(super) struct TextToken {
    pub(super) kind: TokenKind,
    /// Its range in the text, in bytes.
    pub(super) byte_range: Range<usize>,
    /// The number of characters between the previous token and this one.
    pub(super) gap: usize,
    /// Whether that gap consists of blanks and hyphens only: `forty two`, `forty-two`.
    pub(super) is_adjacent: bool,
}

pub(super) enum TokenKind {
    /// Consecutive digits, 0 to 9 each.
    Numeral(Vec<u8>),
    /// Consecutive letters, in lower case and without accents.
    Word(String),
}

/// The tokens of a text.
pub(super) struct Tokens {
    pub(super) tokens: Vec<TextToken>,
    /// The start of a character reference at the end that more text may complete.
    pub(super) incomplete_reference: Option<usize>,
}

/// What a word means in the readings that know it.
pub(super) enum WordMeaning {
    Exact(&'static [Meaning]),
    Joined(Vec<Compound>),
}

/// The maximum length of a word, in bytes. The rest of a longer word, which is no number, is dropped to bound the cost.
pub(super) const MAX_WORD_BYTES: usize = 128;

/// The maximum number of letters that stand for digits beside a numeral: `42O2`.
const MAX_LOOK_ALIKES: usize = 4;

impl WordMeaning {
    /// Looks a word up.
    pub(super) fn of(word: &str) -> Self {
        match DICTIONARY.find(word) {
            [] => Self::Joined(Compound::split(word)),
            meanings => Self::Exact(meanings),
        }
    }

    /// Whether it is a number in any reading.
    pub(super) fn is_number(&self) -> bool {
        match self {
            Self::Exact(meanings) => meanings.iter().any(|meaning| meaning.part.is_number()),
            Self::Joined(compounds) => !compounds.is_empty(),
        }
    }
}

/// Splits a text in one pass.
pub(super) fn tokenize(text: &str) -> Tokens {
    let mut tokenizer = Tokenizer { close: true, ..Tokenizer::default() };
    let incomplete_reference = normalise(text, |symbol, place| tokenizer.push(symbol, place));
    tokenizer.end_letters();
    let mut tokens = tokenizer.tokens;
    read_look_alikes(&mut tokens, text);
    Tokens { tokens, incomplete_reference }
}

#[derive(Default)]
struct Tokenizer {
    tokens: Vec<TextToken>,
    /// Letters of a script that has no blanks between words, with the range of each.
    letters: Vec<(char, Range<usize>)>,
    gap: usize,
    close: bool,
    /// Whether the text so far ends with a token.
    ends_with_token: bool,
}

impl Tokenizer {
    fn push(&mut self, symbol: Symbol, place: Range<usize>) {
        match symbol {
            Symbol::Letter(letter) if has_no_blanks(letter) => {
                if self.letters.is_empty() {
                    self.ends_with_token = false;
                }
                return self.letters.push((letter, place));
            }
            // Accents and invisible characters do not end a word.
            Symbol::Mark => {
                if let Some((_, last)) = self.letters.last_mut() {
                    last.end = place.end;
                } else if self.ends_with_token {
                    self.extend_last(place.end);
                }
                return;
            }
            _ => self.end_letters(),
        }
        match symbol {
            Symbol::Digit(digit) => match self.last_token() {
                Some(TextToken { kind: TokenKind::Numeral(digits), byte_range, .. }) => {
                    digits.push(digit);
                    byte_range.end = place.end;
                }
                _ => self.add(TokenKind::Numeral(vec![digit]), place),
            },
            Symbol::Letter(letter) => {
                if !matches!(self.last_token(), Some(TextToken { kind: TokenKind::Word(_), .. })) {
                    self.add(TokenKind::Word(String::new()), place.clone());
                }
                if let Some(TextToken { kind: TokenKind::Word(word), byte_range, .. }) = self.last_token() {
                    if word.len() < MAX_WORD_BYTES {
                        push_letter(word, letter);
                    }
                    byte_range.end = place.end;
                }
            }
            Symbol::Apostrophe if self.ends_with_token => self.extend_last(place.end),
            Symbol::Apostrophe | Symbol::Joiner | Symbol::Other => {
                let is_joiner = symbol == Symbol::Joiner;
                (self.gap, self.close, self.ends_with_token) = (self.gap + 1, self.close && is_joiner, false);
            }
            Symbol::Mark => {}
        }
    }

    fn last_token(&mut self) -> Option<&mut TextToken> {
        self.tokens.last_mut().filter(|_| self.ends_with_token)
    }

    fn extend_last(&mut self, end: usize) {
        if let Some(last) = self.tokens.last_mut() {
            last.byte_range.end = end;
        }
    }

    fn add(&mut self, kind: TokenKind, byte_range: Range<usize>) {
        self.tokens.push(TextToken { kind, byte_range, gap: self.gap, is_adjacent: self.close });
        (self.gap, self.close, self.ends_with_token) = (0, true, true);
    }

    /// Splits the letters of a script without blanks into number words, by longest match, and what is between them.
    fn end_letters(&mut self) {
        if self.letters.is_empty() {
            return;
        }
        let letters = std::mem::take(&mut self.letters);
        let mut word = String::with_capacity(letters.len() * 3);
        let mut starts = Vec::with_capacity(letters.len() + 1);
        for (letter, _) in &letters {
            starts.push(word.len());
            word.push(*letter);
        }
        starts.push(word.len());
        let place = |letters: &[(char, Range<usize>)]| match letters {
            [(_, first), .., (_, last)] => first.start..last.end,
            [(_, only)] => only.clone(),
            [] => 0..0,
        };
        let (mut at, mut other) = (0, 0);
        while at < letters.len() {
            let longest = DICTIONARY.find_beginnings(&word[starts[at]..]).last();
            let end = longest.and_then(|(length, _)| starts.binary_search(&(starts[at] + length)).ok());
            let next = end.and_then(|end| word.get(starts[end]..)).filter(|next| !next.is_empty());
            let is_followed = next.is_some_and(|next| DICTIONARY.find_beginnings(next).next().is_none());
            let Some(end) = end.filter(|end| !(end - at == 1 && is_followed && is_hiragana(letters[at].0))) else {
                at += 1;
                continue;
            };
            self.add_other(&word[starts[other]..starts[at]], place(&letters[other..at]));
            self.add(TokenKind::Word(word[starts[at]..starts[end]].to_owned()), place(&letters[at..end]));
            (at, other) = (end, end);
        }
        // The beginning of a number word may stand at the end of the text.
        let may_begin = |at: &usize| DICTIONARY.has_prefix(&word[starts[*at]..]);
        let begun = (other.max(at.saturating_sub(12))..at).find(may_begin).unwrap_or(at);
        self.add_other(&word[starts[other]..starts[begun]], place(&letters[other..begun]));
        self.add_other(&word[starts[begun]..], place(&letters[begun..]));
        self.ends_with_token = false;
    }

    /// Adds a word that is no number.
    fn add_other(&mut self, word: &str, place: Range<usize>) {
        if !word.is_empty() {
            let kept = (0..=word.len().min(MAX_WORD_BYTES)).rev().find(|end| word.is_char_boundary(*end)).unwrap_or(0);
            self.add(TokenKind::Word(word[..kept].to_owned()), place);
        }
    }
}

/// Whether a letter belongs to a script that is written without blanks between words: Thai, Lao, Burmese, Khmer,
/// Chinese, Japanese.
fn has_no_blanks(letter: char) -> bool {
    letter >= '\u{e00}'
        && matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
            | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
            | '\u{20000}'..='\u{2ffff}')
}

/// Whether a letter is a syllable of Japanese that is more often a particle or a part of another word than a number: `に`.
fn is_hiragana(letter: char) -> bool {
    matches!(letter, '\u{3041}'..='\u{3096}')
}

/// Reads the letters O, l and I as digits where they touch digits and no other letters do: `42O2`, but not `4k4l2m3`.
fn read_look_alikes(tokens: &mut Vec<TextToken>, text: &str) {
    let is_numeral = |token: &TextToken| matches!(token.kind, TokenKind::Numeral(_));
    let mut found = false;
    let touch = |left: &TextToken, right: &TextToken| left.byte_range.end == right.byte_range.start;
    for together in tokens.chunk_by_mut(touch) {
        let digits = |token: &TextToken| look_alike_digits(token, text);
        if together.len() > 1 && together.iter().all(|token| is_numeral(token) || digits(token).is_some()) {
            for token in together.iter_mut().filter(|token| !is_numeral(token)) {
                token.kind = TokenKind::Numeral(digits(token).unwrap_or_default());
                found = true;
            }
        }
    }
    if !found {
        return;
    }
    // Numerals that touch are one.
    let mut joined: Vec<TextToken> = Vec::with_capacity(tokens.len());
    for token in tokens.drain(..) {
        match (joined.last_mut(), token.kind) {
            (Some(TextToken { kind: TokenKind::Numeral(digits), byte_range, .. }), TokenKind::Numeral(more))
                if byte_range.end == token.byte_range.start =>
            {
                digits.extend(more);
                byte_range.end = token.byte_range.end;
            }
            (_, kind) => joined.push(TextToken { kind, ..token }),
        }
    }
    *tokens = joined;
}

/// The digits that a short word looks like, if each of its letters looks like one.
fn look_alike_digits(token: &TextToken, text: &str) -> Option<Vec<u8>> {
    let digit = |c: char| match c {
        'O' | 'o' => Some(0),
        'l' | 'I' => Some(1),
        _ => None,
    };
    let word = text.get(token.byte_range.clone()).filter(|word| word.len() <= MAX_LOOK_ALIKES)?;
    word.chars().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let kind = |token: &TextToken| match &token.kind {
            TokenKind::Numeral(digits) => digits.iter().map(u8::to_string).collect(),
            TokenKind::Word(word) => word.clone(),
        };
        tokenize(text).tokens.iter().map(kind).collect()
    }

    #[test]
    fn letters_beside_digits_are_digits() {
        assert_eq!(read("42O2 l24I o 4l, 1st 4ooool"), ["4202", "1241", "o", "41", "1", "st", "4", "ooool"]);
        assert_eq!(read("7k4l2m3"), ["7", "k", "4", "l", "2", "m", "3"], "letters between digits");
    }

    #[test]
    fn words_without_blanks_are_split_by_longest_match() {
        assert_eq!(read("我的号码是四二四二"), ["我的号码是", "四", "二", "四", "二"]);
        assert_eq!(read("สี่สองสี่สอง"), ["สี่", "สอง", "สี่", "สอง"]);
        assert_eq!(read("ប្រាំពីរ"), ["ប្រាំពីរ"]);
        assert_eq!(read("4二two"), ["4", "二", "two"]);
        assert_eq!(read("四二に電話"), ["四", "二", "に電話"]);
        assert_eq!(read("よんに、よんによん"), ["よん", "に", "よん", "に", "よん"]);
    }

    #[test]
    fn a_token_contains_its_marks() {
        let text = "4\u{fe0f}\u{20e3}2\u{fe0f}\u{20e3}";
        assert_eq!(tokenize(text).tokens[0].byte_range, 0..text.len());
        assert_eq!(tokenize("&#52;&#50").tokens[0].byte_range, 0..9);
    }
}
