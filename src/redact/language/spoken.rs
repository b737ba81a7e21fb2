//! What a caller's language says about words that are no number words but begin like one.

use super::{DICTIONARY, Dictionary, Languages};
use crate::redact::text_token::WordMeaning;

/// The beginnings of inflected forms, ordinals and nouns for digits which begin like no number word: a line per language,
/// with its tag.
const STEMS: &str = include_str!("stems.txt");

/// Words by which callers stop or refuse, although they begin like a number word or are one in another language.
const KEPT_WORDS: [&str; 9] = ["ei", "nee", "stop", "stopp", "стоп", "nein", "nao", "nie", "nem"];

/// The minimum number of letters of a number word that begins other words: `nine`, but not `on`.
const MIN_LETTERS: usize = 3;

/// The same of a word that is an everyday word of another language.
const MIN_WEAK_LETTERS: usize = 4;

/// The same of syllables of Hangul.
const MIN_SYLLABLES: usize = 2;

/// Letters that Arabic and Hebrew put before a word: `and`, `the`, `in`, `to`, `that`, `from`.
const PROCLITICS: &str = "والفبکهוהבלמשכ";

/// The maximum number of these letters before a word.
const MAX_PROCLITICS: usize = 3;

/// The language in which a caller speaks, with its forms in Latin letters.
pub(in crate::redact) struct SpokenLanguage {
    is_english: bool,
    languages: Languages,
    stems: Vec<&'static str>,
}

impl SpokenLanguage {
    /// The language of a BCP 47 tag. A language that is not in the table has no number words.
    pub(in crate::redact) fn of(tag: &str) -> Self {
        let primary = super::known_subtag(tag);
        let is_spoken = |line: &&str| {
            let known = line.split(' ').next().unwrap_or_default();
            known.split('-').next() == Some(primary.as_str()) && !known.contains("-x-")
        };
        let stems = STEMS.lines().filter(is_spoken).flat_map(|line| line.split(' ').skip(1)).collect();
        Self { is_english: primary == "en", languages: Dictionary::languages_with_subtag(&primary), stems }
    }

    /// Whether a word, in lower case and without accents, may mean a digit.
    pub(in crate::redact) fn may_be_number(&self, word: &str) -> bool {
        let is_own = DICTIONARY.find(word).iter().any(|it| it.part.is_number() && it.languages & self.languages != 0);
        let is_foreign = || !self.is_english && WordMeaning::of(word).is_number();
        is_own || (!KEPT_WORDS.contains(&word) && (is_foreign() || self.begins_number(word)))
    }

    /// Whether a word begins like a number word.
    fn begins_number(&self, word: &str) -> bool {
        let proclitics = word.chars().take(MAX_PROCLITICS).take_while(|c| PROCLITICS.contains(*c));
        let starts = proclitics.scan(0, |at, c| {
            *at += c.len_utf8();
            Some(*at)
        });
        [0].into_iter().chain(starts).any(|start| self.begins_number_here(&word[start..]))
    }

    fn begins_number_here(&self, word: &str) -> bool {
        self.stems.iter().any(|stem| word.starts_with(stem))
            || (is_hangul(word) && self.syllables_of_numbers(word) >= MIN_SYLLABLES)
            || self.beginnings(word).any(|(length, is_weak)| {
                word[..length].chars().count() >= if is_weak { MIN_WEAK_LETTERS } else { MIN_LETTERS }
            })
    }

    /// The number words that a word begins with, shortest first: their length in bytes, and whether they are weak.
    fn beginnings(&self, word: &str) -> impl Iterator<Item = (usize, bool)> {
        DICTIONARY.find_beginnings(word).filter_map(|(length, meanings)| {
            let mut numbers =
                meanings.iter().filter(|it| it.part.is_number() && it.languages & self.languages != 0).peekable();
            numbers.peek().is_some().then(|| (length, numbers.all(|it| it.is_weak)))
        })
    }

    /// The number of syllables at the beginning of a word that are number words.
    fn syllables_of_numbers(&self, word: &str) -> usize {
        let mut at = 0;
        while let Some((length, _)) = self.beginnings(&word[at..]).last() {
            at += length;
        }
        word[..at].chars().count()
    }
}

fn is_hangul(word: &str) -> bool {
    word.starts_with(|c| matches!(c, '\u{ac00}'..='\u{d7a3}'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::normalise::fold_word;

    #[test]
    fn the_stems_are_well_formed() {
        for line in STEMS.lines() {
            let (tag, stems) = line.split_once(' ').unwrap();
            assert!(Dictionary::reading_of(tag).is_some(), "{tag}");
            for stem in stems.split(' ') {
                assert_eq!(fold_word(stem), stem, "{tag}");
                let min = if is_hangul(stem) { MIN_SYLLABLES } else { MIN_LETTERS };
                assert!(stem.chars().count() >= min, "{tag} {stem}");
            }
        }
    }

    #[test]
    fn words_of_other_languages_only_count_whole() {
        let may_be_number = |tag: &str, word: &str| SpokenLanguage::of(tag).may_be_number(word);
        assert!(may_be_number("de-DE", "vierte") && !may_be_number("fr-FR", "vierte"));
        assert!(may_be_number("fr-FR", "vier") && may_be_number("hi-IN", "paanch") && may_be_number("hi", "nao"));
        assert!(may_be_number("no-NO", "ei") && !may_be_number("fi-FI", "ei") && !may_be_number("pt-PT", "nao"));
    }
}
