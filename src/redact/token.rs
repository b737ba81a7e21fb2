//! A text as numerals and words, whatever stands between them.

use std::ops::Range;

/// A piece of a text that means something.
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Its bytes in the text.
    pub(super) place: Range<usize>,
    /// Characters between the token before and this one.
    pub(super) gap: usize,
    /// Nothing but blanks and hyphens stand in that gap: `forty two`, `forty-two`.
    pub(super) close: bool,
}

pub(super) enum Kind {
    /// Digits that stand together, 0 to 9 each.
    Numeral(Vec<u8>),
    /// Letters that stand together, in lower case, without accents.
    Word(String),
}

/// Words beyond this length are no numbers: what follows is not read, so that no text costs more than its length.
const MAX_WORD: usize = 64;

/// Reads a text from its beginning to its end, once.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let (mut gap, mut close, mut ends_with_token) = (0, true, false);
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let kind = match digit(c) {
            Some(digit) => Some(Kind::Numeral(vec![digit])),
            None if c.is_alphabetic() || is_mark(c) || c.is_numeric() => Some(Kind::Word(folded(c))),
            // What is pronounced: `that's`.
            None if matches!(c, '\'' | '\u{2019}') && ends_with_token => Some(Kind::Word(String::new())),
            None => None,
        };
        let Some(kind) = kind else {
            (gap, close, ends_with_token) = (gap + 1, close && is_thin(c), false);
            continue;
        };
        let last = tokens.last_mut().filter(|_| ends_with_token);
        match (last, kind) {
            (Some(Token { kind: Kind::Numeral(digits), place, .. }), Kind::Numeral(more)) => {
                digits.extend(more);
                place.end = end;
            }
            (Some(Token { kind: Kind::Word(word), place, .. }), Kind::Word(more)) => {
                if word.len() < MAX_WORD {
                    word.push_str(&more);
                }
                place.end = end;
            }
            (_, kind) => tokens.push(Token { kind, place: at..end, gap, close }),
        }
        (gap, close, ends_with_token) = (0, true, true);
    }
    tokens
}

/// The digit that a character is, in the scripts that speech recognisers write: ASCII, full-width, Arabic-Indic, Devanagari.
fn digit(c: char) -> Option<u8> {
    let zeros = ['0', '\u{ff10}', '\u{660}', '\u{6f0}', '\u{966}'];
    let value = zeros.iter().find_map(|zero| (c as u32).checked_sub(*zero as u32).filter(|value| *value < 10))?;
    u8::try_from(value).ok()
}

fn is_thin(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '\u{2010}' | '\u{2011}')
}

/// An accent that stands beside its letter.
fn is_mark(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn folded(c: char) -> String {
    let letter = match c.to_lowercase().next().unwrap_or(c) {
        'á' | 'à' | 'â' | 'ä' | 'ã' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        'ß' => return "ss".to_owned(),
        mark if is_mark(mark) => return String::new(),
        letter => letter,
    };
    letter.to_string()
}
