//! Number words, and what stands between them, in the languages that ConversationRelay's callers speak most.
//!
//! Each language is read for itself: `um` is a pause in English and a one in Portuguese, `once` an eleven in Spanish.

mod tables;

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a word does in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// 0 to 99, and the hundreds that are one word: `quinientos`.
    Value(u16),
    /// `hundred`
    Hundred,
    /// `thousand`
    Thousand,
    /// `double`, `triple`
    Repeat(u8),
    /// `and`: joins a number, or is a pause.
    And,
    /// A pause: `um`, `dash`.
    Filler,
}

/// How a language makes numbers, where its ways differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `forty-two`
    Plain,
    /// `zwei und vierzig`
    UnitsFirst,
    /// `soixante-douze`, `quatre-vingt-douze`, `dix-sept`
    Scores,
}

/// The words of one language.
pub(super) struct Language {
    pub(super) way: Way,
    words: HashMap<&'static str, Part>,
    /// Numbers that are everyday words in another language: by themselves they say little.
    weak: &'static [&'static str],
    /// Pieces of words that are numbers only inside longer ones: `ein` in `einundzwanzig`. Empty where words are not joined.
    stems: HashMap<&'static str, Part>,
}

/// All that are read.
pub(super) static LANGUAGES: LazyLock<[Language; 6]> = LazyLock::new(tables::languages);

/// The longest word or stem, in bytes: `dezasseis`, `quatrocentos` and the like.
const MAX_PIECE: usize = 14;

/// The shortest word that is a part of others.
const MIN_PIECE: usize = 3;

impl Language {
    /// What a word, in lower case and without accents, is made of; `None` if that is no number and no pause.
    pub(super) fn read(&self, word: &str) -> Option<Vec<Part>> {
        match self.words.get(word) {
            Some(part) => Some(vec![*part]),
            None if self.stems.is_empty() => None,
            None => self.pieces(word, 0),
        }
    }

    /// Whether a number word is an everyday word in another language.
    pub(super) fn is_weak(&self, word: &str) -> bool {
        self.weak.contains(&word)
    }

    /// Whether letters that follow could make a word of it that can be read.
    pub(super) fn may_become(&self, word: &str) -> bool {
        let begins = |table: &HashMap<&str, Part>| table.keys().any(|known| known.starts_with(word));
        begins(&self.words)
            || begins(&self.stems)
            || (!self.stems.is_empty() && self.beginnings(word).any(|(_, rest)| self.may_become(rest)))
    }

    /// Splits a word into pieces, the longest first. `zweiundvierzig` is three of them.
    fn pieces(&self, word: &str, before: usize) -> Option<Vec<Part>> {
        /// Pieces in the longest number of six digits.
        const MAX_PIECES: usize = 12;
        if word.is_empty() {
            return (before > 1).then(Vec::new);
        }
        if before == MAX_PIECES {
            return None;
        }
        self.beginnings(word).find_map(|(part, rest)| {
            let mut parts = self.pieces(rest, before + 1)?;
            parts.insert(0, part);
            Some(parts)
        })
    }

    /// Each piece that the word begins with, and what follows it.
    fn beginnings<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (Part, &'a str)> {
        let lengths = (MIN_PIECE..=word.len().min(MAX_PIECE)).rev();
        lengths.filter_map(move |length| {
            let (piece, rest) = word.split_at_checked(length)?;
            let part = self.stems.get(piece).or_else(|| self.words.get(piece))?;
            (*part != Part::Filler).then_some((*part, rest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_words_are_taken_apart() {
        let [_, _, german, _, _, italian] = &*LANGUAGES;
        assert_eq!(german.read("zweiundvierzig"), Some(vec![Part::Value(2), Part::And, Part::Value(40)]));
        assert_eq!(italian.read("quarantadue"), Some(vec![Part::Value(40), Part::Value(2)]));
        assert_eq!(italian.read("ventotto"), Some(vec![Part::Value(20), Part::Value(8)]));
        for word in ["ein", "achtung", "zweifel", "vent"] {
            assert_eq!((german.read(word), italian.read(word)), (None, None), "{word}");
        }
    }

    #[test]
    fn no_piece_is_longer_than_is_looked_for() {
        for language in &*LANGUAGES {
            assert!(language.words.keys().chain(language.stems.keys()).all(|word| word.len() <= MAX_PIECE));
        }
    }

    #[test]
    fn a_word_that_no_language_has_takes_no_time() {
        let long = "dreivierdrei".repeat(5);
        for language in &*LANGUAGES {
            assert!(language.read(&(long.clone() + "x")).is_none());
            let _ = language.may_become(&long);
        }
    }
}
