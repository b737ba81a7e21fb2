//! Splits a text into numerals and words.

use std::ops::Range;

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

/// The maximum length of a word, in bytes. The rest of a longer word, which is no number, is dropped to bound the cost.
const MAX_WORD: usize = 64;

/// Splits a text in one pass.
pub(super) fn tokenize(text: &str) -> Vec<TextToken> {
    let mut tokens: Vec<TextToken> = Vec::new();
    let (mut gap, mut close, mut ends_with_token) = (0, true, false);
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let kind = match digit_value(c) {
            Some(digit) => Some(TokenKind::Numeral(vec![digit])),
            None if c.is_alphabetic() || is_combining_mark(c) || c.is_numeric() => {
                Some(TokenKind::Word(fold_letter(c)))
            }
            // An apostrophe inside a word: `that's`.
            None if matches!(c, '\'' | '\u{2019}') && ends_with_token => Some(TokenKind::Word(String::new())),
            None => None,
        };
        let Some(kind) = kind else {
            (gap, close, ends_with_token) = (gap + 1, close && is_joiner(c), false);
            continue;
        };
        let last = tokens.last_mut().filter(|_| ends_with_token);
        match (last, kind) {
            (Some(TextToken { kind: TokenKind::Numeral(digits), byte_range: place, .. }), TokenKind::Numeral(more)) => {
                digits.extend(more);
                place.end = end;
            }
            (Some(TextToken { kind: TokenKind::Word(word), byte_range: place, .. }), TokenKind::Word(more)) => {
                if word.len() < MAX_WORD {
                    word.push_str(&more);
                }
                place.end = end;
            }
            (_, kind) => tokens.push(TextToken { kind, byte_range: at..end, gap, is_adjacent: close }),
        }
        (gap, close, ends_with_token) = (0, true, true);
    }
    tokens
}

/// The value of a digit in the scripts that speech recognition writes: ASCII, full-width, Arabic-Indic, Devanagari.
fn digit_value(c: char) -> Option<u8> {
    let zeros = ['0', '\u{ff10}', '\u{660}', '\u{6f0}', '\u{966}'];
    let value = zeros.iter().find_map(|zero| (c as u32).checked_sub(*zero as u32).filter(|value| *value < 10))?;
    u8::try_from(value).ok()
}

fn is_joiner(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '\u{2010}' | '\u{2011}')
}

/// Whether a character is a combining accent.
fn is_combining_mark(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn fold_letter(c: char) -> String {
    let letter = match c.to_lowercase().next().unwrap_or(c) {
        'á' | 'à' | 'â' | 'ä' | 'ã' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        'ß' => return "ss".to_owned(),
        mark if is_combining_mark(mark) => return String::new(),
        letter => letter,
    };
    letter.to_string()
}
