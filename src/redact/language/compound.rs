//! Splits words that are joined of number words: `zweiundvierzig`, `fourtwofourtwo`.

use super::{DICTIONARY, Languages, Meaning, NumberGrammar, NumberPart};

/// The number words of a joined word, in one reading.
pub(in crate::redact) struct Compound {
    pub(in crate::redact) reading: u8,
    pub(in crate::redact) grammar: NumberGrammar,
    pub(in crate::redact) parts: Vec<NumberPart>,
    pub(in crate::redact) languages: Languages,
    pub(in crate::redact) is_weak: bool,
}

/// The shortest piece of a joined word, in bytes. A shorter one counts only if it is one letter of another script.
const MIN_PIECE: usize = 3;

/// Pieces in the longest card number that is written as one word.
const MAX_PIECES: usize = 24;

/// Languages that do not join number words are written so only by mistake, or to hide a number. Fewer pieces are an
/// ordinary word by chance.
const MIN_PIECES_UNUSUAL: usize = 4;

/// Attempts before a word is taken for an ordinary one: it bounds the cost of words that are nearly a number.
const MAX_ATTEMPTS: usize = 200;

impl Compound {
    /// Splits a word into number words of one language; one result per reading. Empty if it is no number.
    pub(in crate::redact) fn split(word: &str) -> Vec<Self> {
        let mut search = Search { word, attempts: 0, pieces: Vec::new() };
        let Some(languages) = search.split_from(0, Languages::MAX) else { return Vec::new() };
        search.into_compounds(languages)
    }

    /// Whether a word means nothing, alone or joined, whatever letters follow.
    pub(in crate::redact) fn is_foreign(word: &str) -> bool {
        DICTIONARY.is_foreign(word, if word.is_ascii() { MIN_PIECE } else { 1 })
    }

    /// Whether a word surely means nothing, alone or joined, as it is: it is too short to be joined of two.
    pub(in crate::redact) fn means_nothing(word: &str) -> bool {
        word.is_ascii() && word.len() < 2 * MIN_PIECE && DICTIONARY.find(word).is_empty()
    }

    /// The languages in which more letters could complete a word to a joined number.
    pub(in crate::redact) fn languages_with_prefix(word: &str) -> Languages {
        let mut search = Search { word, attempts: 0, pieces: Vec::new() };
        search.find_prefix_from(0, Languages::MAX)
    }
}

struct Search<'a> {
    word: &'a str,
    attempts: usize,
    /// The pieces so far: where each ends, and its meanings.
    pieces: Vec<(usize, &'static [Meaning])>,
}

impl Search<'_> {
    /// Splits the rest of the word, trying the longest pieces first, and returns the languages of all pieces.
    fn split_from(&mut self, at: usize, languages: Languages) -> Option<Languages> {
        if at == self.word.len() {
            let joining = languages & DICTIONARY.joining;
            return match self.pieces.len() {
                0 | 1 => None,
                count if count >= MIN_PIECES_UNUSUAL => Some(languages),
                _ if joining != 0 => Some(joining),
                _ => None,
            };
        }
        for (end, meanings, shared) in self.pieces_at(at, languages) {
            if self.attempts >= MAX_ATTEMPTS || self.pieces.len() >= MAX_PIECES {
                return None;
            }
            self.attempts += 1;
            self.pieces.push((end, meanings));
            if let Some(languages) = self.split_from(end, shared) {
                return Some(languages);
            }
            self.pieces.pop();
        }
        None
    }

    fn find_prefix_from(&mut self, at: usize, languages: Languages) -> Languages {
        let mut found = DICTIONARY.languages_with_prefix(&self.word[at..]) & languages;
        for (end, _, shared) in self.pieces_at(at, languages) {
            if self.attempts >= MAX_ATTEMPTS || end == self.word.len() {
                continue;
            }
            self.attempts += 1;
            found |= self.find_prefix_from(end, shared);
        }
        found
    }

    /// The number words of these languages that the rest of the word begins with, longest first: where they end, their
    /// meanings, and the languages that have them.
    fn pieces_at(&self, at: usize, languages: Languages) -> Vec<(usize, &'static [Meaning], Languages)> {
        let rest = &self.word[at..];
        let dictionary: &'static _ = &*DICTIONARY;
        let mut pieces: Vec<_> = dictionary
            .find_beginnings(rest)
            .filter(|(length, _)| *length >= MIN_PIECE || !rest.is_ascii())
            .filter_map(|(length, meanings)| {
                let parts = meanings.iter().filter(|meaning| meaning.part != NumberPart::Filler);
                let shared = parts.fold(0, |all, meaning| all | meaning.languages) & languages;
                (shared != 0).then_some((at + length, meanings, shared))
            })
            .collect();
        pieces.reverse();
        pieces
    }

    fn into_compounds(self, languages: Languages) -> Vec<Compound> {
        let is_meant = |meaning: &&Meaning| meaning.languages & languages != 0;
        let Some((_, first)) = self.pieces.first() else { return Vec::new() };
        let compound = |reading: u8| {
            let chosen = self
                .pieces
                .iter()
                .map(|(_, meanings)| meanings.iter().filter(is_meant).find(|meaning| meaning.reading == reading));
            let chosen: Vec<&Meaning> = chosen.collect::<Option<_>>()?;
            let numbers = || chosen.iter().filter(|meaning| meaning.part.is_number());
            let starts = [0].into_iter().chain(self.pieces.iter().map(|(end, _)| *end));
            let lengths = self.pieces.iter().zip(starts).map(|((end, _), start)| end - start);
            let letters: usize =
                chosen.iter().zip(lengths).filter(|(it, _)| it.part.is_number()).map(|(_, it)| it).sum();
            // Up to three numbers of one syllable are an everyday word more often than a number: `이사`, `사는`.
            let is_short = numbers().count() < MIN_PIECES_UNUSUAL && letters <= numbers().count() * MIN_PIECE;
            (numbers().next().is_some()).then(|| Compound {
                reading,
                grammar: chosen[0].grammar,
                parts: chosen.iter().map(|meaning| meaning.part).collect(),
                languages: chosen.iter().fold(languages, |all, meaning| all & meaning.languages),
                is_weak: is_short || numbers().all(|meaning| meaning.is_weak),
            })
        };
        first.iter().filter(is_meant).filter_map(|meaning| compound(meaning.reading)).collect()
    }
}
