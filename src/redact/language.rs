//! Number words and filler words in the languages that ConversationRelay's callers speak most.
//!
//! Each language is parsed separately: `um` is a filler in English and 1 in Portuguese; `once` is 11 in Spanish.

mod tables;

use std::collections::HashMap;
use std::sync::LazyLock;

/// The role of a word in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberPart {
    /// 0 to 99, and the hundreds that are one word: `quinientos`.
    Value(u16),
    /// `hundred`
    Hundred,
    /// `thousand`
    Thousand,
    /// `double`, `triple`
    Repeat(u8),
    /// `and`: part of a number, or a filler.
    And,
    /// A filler: `um`, `dash`.
    Filler,
}

/// How a language composes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberGrammar {
    /// `forty-two`
    Plain,
    /// `zwei und vierzig`
    UnitsFirst,
    /// `soixante-douze`, `quatre-vingt-douze`, `dix-sept`
    Vigesimal,
}

/// The words of one language.
pub(super) struct NumberLanguage {
    pub(super) grammar: NumberGrammar,
    words: HashMap<&'static str, NumberPart>,
    /// Number words that are everyday words in another language, so that they alone are weak evidence.
    ambiguous_words: &'static [&'static str],
    /// Stems that are numbers only inside compound words: `ein` in `einundzwanzig`. Empty for languages without
    /// compounds.
    stems: HashMap<&'static str, NumberPart>,
}

/// All supported languages.
pub(super) static LANGUAGES: LazyLock<[NumberLanguage; 6]> = LazyLock::new(tables::languages);

/// The primary language subtags of [`LANGUAGES`].
const PRIMARY_TAGS: [&str; 6] = ["en", "es", "de", "fr", "pt", "it"];

/// Whether number words of a language are recognised. `tag` is a BCP 47 language tag such as `en-US`, in upper or lower
/// case; only its primary language counts. `multi` is no language.
pub fn is_readable_language(tag: &str) -> bool {
    let primary = tag.split(['-', '_']).next().unwrap_or(tag);
    PRIMARY_TAGS.iter().any(|known| known.eq_ignore_ascii_case(primary))
}

/// The longest word or stem, in bytes: `dezasseis`, `quatrocentos` and the like.
const MAX_PIECE: usize = 14;

/// The shortest piece of a compound word, in bytes.
const MIN_PIECE: usize = 3;

impl NumberLanguage {
    /// Parses a word, in lower case and without accents, into its parts; `None` if it is neither a number nor a filler.
    pub(super) fn parse_word(&self, word: &str) -> Option<Vec<NumberPart>> {
        match self.words.get(word) {
            Some(part) => Some(vec![*part]),
            None if self.stems.is_empty() => None,
            None => self.split_compound(word, 0),
        }
    }

    /// Whether a number word is an everyday word in another language.
    pub(super) fn is_ambiguous(&self, word: &str) -> bool {
        self.ambiguous_words.contains(&word)
    }

    /// Whether more letters could complete the text to a known word.
    pub(super) fn is_possible_prefix(&self, word: &str) -> bool {
        let begins = |table: &HashMap<&str, NumberPart>| table.keys().any(|known| known.starts_with(word));
        begins(&self.words)
            || begins(&self.stems)
            || (!self.stems.is_empty() && self.leading_pieces(word).any(|(_, rest)| self.is_possible_prefix(rest)))
    }

    /// Splits a compound word into pieces, trying the longest first. `zweiundvierzig` has three pieces.
    fn split_compound(&self, word: &str, before: usize) -> Option<Vec<NumberPart>> {
        /// Pieces in the longest number of six digits.
        const MAX_PIECES: usize = 12;
        if word.is_empty() {
            return (before > 1).then(Vec::new);
        }
        if before == MAX_PIECES {
            return None;
        }
        self.leading_pieces(word).find_map(|(part, rest)| {
            let mut parts = self.split_compound(rest, before + 1)?;
            parts.insert(0, part);
            Some(parts)
        })
    }

    /// Each piece that the word starts with, and the rest of the word.
    fn leading_pieces<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (NumberPart, &'a str)> {
        let lengths = (MIN_PIECE..=word.len().min(MAX_PIECE)).rev();
        lengths.filter_map(move |length| {
            let (piece, rest) = word.split_at_checked(length)?;
            let part = self.stems.get(piece).or_else(|| self.words.get(piece))?;
            (*part != NumberPart::Filler).then_some((*part, rest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compound_words_are_split() {
        let [_, _, german, _, _, italian] = &*LANGUAGES;
        assert_eq!(
            german.parse_word("zweiundvierzig"),
            Some(vec![NumberPart::Value(2), NumberPart::And, NumberPart::Value(40)])
        );
        assert_eq!(italian.parse_word("quarantadue"), Some(vec![NumberPart::Value(40), NumberPart::Value(2)]));
        assert_eq!(italian.parse_word("ventotto"), Some(vec![NumberPart::Value(20), NumberPart::Value(8)]));
        for word in ["ein", "achtung", "zweifel", "vent"] {
            assert_eq!((german.parse_word(word), italian.parse_word(word)), (None, None), "{word}");
        }
    }

    #[test]
    fn readable_languages_are_found_by_primary_tag() {
        for tag in ["en", "en-US", "PT-br", "de_AT"] {
            assert!(is_readable_language(tag), "{tag}");
        }
        for tag in ["", "multi", "xx-YY", "e", "english"] {
            assert!(!is_readable_language(tag), "{tag}");
        }
    }

    #[test]
    fn no_piece_is_longer_than_the_maximum() {
        for language in &*LANGUAGES {
            assert!(language.words.keys().chain(language.stems.keys()).all(|word| word.len() <= MAX_PIECE));
        }
    }

    #[test]
    fn an_unknown_word_is_rejected_quickly() {
        let long = "dreivierdrei".repeat(5);
        for language in &*LANGUAGES {
            assert!(language.parse_word(&(long.clone() + "x")).is_none());
            let _ = language.is_possible_prefix(&long);
        }
    }
}
