//! The table of number words, sorted for look-ups of words, of their beginnings, and of the words a text begins with.

use std::ops::Range;
use std::sync::LazyLock;

use super::{Languages, NumberGrammar, NumberPart, READINGS};

/// The generated table: a line per language with its tag, its reading, its grammar, whether it joins the words of a
/// number to one, and its words by their role. `*` marks an everyday word of another language.
const WORDS: &str = include_str!("words.txt");

/// All languages. It is built when it is first needed, in a few milliseconds.
pub(in crate::redact) static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| Dictionary::parse(WORDS));

/// What a word means in one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::redact) struct Meaning {
    pub(in crate::redact) reading: u8,
    pub(in crate::redact) part: NumberPart,
    pub(in crate::redact) grammar: NumberGrammar,
    /// The languages of the reading that have the word.
    pub(in crate::redact) languages: Languages,
    /// Whether it is an everyday word of another language, so that it alone is weak evidence.
    pub(in crate::redact) is_weak: bool,
}

/// The words of all languages.
pub(in crate::redact) struct Dictionary {
    /// Sorted by their bytes, with the range of their meanings.
    words: Vec<(&'static str, Range<u32>)>,
    meanings: Vec<Meaning>,
    /// Where the words with each first byte begin; one more for the end.
    by_first_byte: Vec<usize>,
    /// The first three letters of all words that begin with three ASCII letters, as a set of bits.
    beginnings: Vec<u64>,
    /// The languages that join the words of a number to one: `zweiundvierzig`.
    pub(super) joining: Languages,
    by_reading: [Languages; READINGS],
}

impl Dictionary {
    /// Parses the table, which the tests check. Whatever is malformed is left out.
    fn parse(table: &'static str) -> Self {
        let mut entries: Vec<(&'static str, Meaning)> = Vec::new();
        let (mut joining, mut by_reading) = (0, [0; READINGS]);
        for (n, line) in table.lines().enumerate() {
            let mut fields = line.split(' ');
            let mut next = || fields.next().unwrap_or_default();
            let (_tag, reading, grammar, joined) =
                (next(), next().parse::<u8>().unwrap_or(0), parse_grammar(next()), next());
            let languages: Languages = 1 << n;
            by_reading.get_mut(usize::from(reading)).into_iter().for_each(|all| *all |= languages);
            if joined == "joined" {
                joining |= languages;
            }
            for (part, words) in fields.filter_map(|field| field.split_once(':')) {
                let Some(part) = parse_part(part) else { continue };
                entries.extend(words.split(',').map(|word| {
                    let (word, is_weak) = word.strip_suffix('*').map_or((word, false), |word| (word, true));
                    (word, Meaning { reading, part, grammar, languages, is_weak })
                }));
            }
        }
        entries.sort_by(|(word, meaning), (other, of_other)| (word, meaning.reading).cmp(&(other, of_other.reading)));
        let mut dictionary = Self {
            words: Vec::new(),
            meanings: Vec::new(),
            by_first_byte: Vec::new(),
            beginnings: vec![0; BEGINNINGS.div_ceil(64)],
            joining,
            by_reading,
        };
        for (word, meaning) in entries {
            if let Some(beginning) = beginning_of(word) {
                dictionary.beginnings[beginning / 64] |= 1 << (beginning % 64);
            }
            dictionary.add(word, meaning);
        }
        let first = |byte: usize| dictionary.words.partition_point(|(word, _)| usize::from(first_byte(word)) < byte);
        dictionary.by_first_byte = (0..=256).map(first).collect();
        dictionary
    }

    /// Adds a meaning in ascending order of words and readings. Languages of one reading agree on what a word means.
    fn add(&mut self, word: &'static str, meaning: Meaning) {
        let end = u32::try_from(self.meanings.len()).unwrap_or(u32::MAX);
        match (self.words.last_mut(), self.meanings.last_mut()) {
            (Some((last, _)), Some(same)) if *last == word && same.reading == meaning.reading => {
                same.languages |= meaning.languages;
                same.is_weak &= meaning.is_weak;
                if same.part == NumberPart::Filler {
                    same.part = meaning.part;
                }
                return;
            }
            (Some((last, range)), _) if *last == word => range.end = end + 1,
            _ => self.words.push((word, end..end + 1)),
        }
        self.meanings.push(meaning);
    }

    /// The primary language subtags of the table.
    pub(super) fn tags() -> impl Iterator<Item = &'static str> {
        WORDS.lines().filter_map(|line| line.split(' ').next()).filter(|tag| !tag.contains('-'))
    }

    /// The languages with a primary subtag: a language, and how it is written in other letters or spoken elsewhere.
    pub(super) fn languages_with_subtag(primary: &str) -> Languages {
        let tags = WORDS.lines().map(|line| line.split(' ').next().unwrap_or_default()).enumerate();
        let spoken = tags.filter(|(_, tag)| tag.split('-').next() == Some(primary) && !tag.contains("-x-"));
        spoken.fold(0, |all, (n, _)| all | 1 << n)
    }

    /// The reading of a language.
    #[cfg(test)]
    pub(in crate::redact) fn reading_of(tag: &str) -> Option<usize> {
        let line = WORDS.lines().find(|line| line.split(' ').next() == Some(tag))?;
        line.split(' ').nth(1)?.parse().ok()
    }

    /// The languages of a reading.
    pub(in crate::redact) fn languages_of(&self, reading: usize) -> Languages {
        self.by_reading.get(reading).copied().unwrap_or(0)
    }

    /// The meanings of a word, in lower case and without accents: one per reading that knows it.
    pub(in crate::redact) fn find(&self, word: &str) -> &[Meaning] {
        let bucket = self.with_first_byte(first_byte(word));
        match self.words[bucket.clone()].binary_search_by(|(known, _)| (*known).cmp(word)) {
            Ok(at) => self.meanings_of(bucket.start + at),
            Err(_) => &[],
        }
    }

    /// The words that a text begins with, shortest first: their lengths in bytes, and their meanings.
    pub(in crate::redact) fn find_beginnings<'a, 't>(
        &'a self,
        text: &'t str,
    ) -> impl Iterator<Item = (usize, &'a [Meaning])> + use<'a, 't> {
        let mut range = self.with_first_byte(first_byte(text));
        (1..=text.len())
            .map_while(move |length| {
                if length > 1 {
                    range = self.narrow(range.clone(), length - 1, text.as_bytes()[length - 1]);
                }
                (!range.is_empty()).then(|| {
                    let is_word = self.words[range.start].0.len() == length;
                    (length, if is_word { self.meanings_of(range.start) } else { &[] })
                })
            })
            .filter(|(_, meanings)| !meanings.is_empty())
    }

    /// Whether a text neither is nor begins a word, nor begins with one of at least `min_length` bytes. The first letters
    /// of most texts show it.
    pub(super) fn is_foreign(&self, text: &str, min_length: usize) -> bool {
        if let Some(beginning) = beginning_of(text).filter(|_| min_length >= 3)
            && self.beginnings[beginning / 64] & 1 << (beginning % 64) == 0
        {
            return true;
        }
        let mut range = self.with_first_byte(first_byte(text));
        for (at, byte) in text.bytes().enumerate().skip(1) {
            if range.is_empty() {
                return true;
            }
            if at >= min_length && self.words[range.start].0.len() == at {
                return false;
            }
            range = self.narrow(range, at, byte);
        }
        range.is_empty()
    }

    /// Whether a word begins with a text.
    pub(in crate::redact) fn has_prefix(&self, prefix: &str) -> bool {
        let from = self.words.partition_point(|(word, _)| *word < prefix);
        self.words.get(from).is_some_and(|(word, _)| word.starts_with(prefix))
    }

    /// The languages in which more letters complete a text to a number word or filler.
    pub(super) fn languages_with_prefix(&self, prefix: &str) -> Languages {
        /// So many words begin like this that nearly all languages have one.
        const MANY: usize = 400;
        let from = self.words.partition_point(|(word, _)| *word < prefix);
        let words = self.words[from..].iter().take_while(|(word, _)| word.starts_with(prefix)).take(MANY);
        let (mut languages, mut count) = (0, 0);
        for (_, range) in words {
            count += 1;
            languages |= self.meanings_in(range).iter().fold(0, |all, meaning| all | meaning.languages);
        }
        if count == MANY { Languages::MAX } else { languages }
    }

    fn with_first_byte(&self, byte: u8) -> Range<usize> {
        self.by_first_byte[usize::from(byte)]..self.by_first_byte[usize::from(byte) + 1]
    }

    /// The words of a range, which agree up to `at`, that have this byte there.
    fn narrow(&self, range: Range<usize>, at: usize, byte: u8) -> Range<usize> {
        let words = &self.words[range.clone()];
        let byte_of = |word: &str| word.as_bytes().get(at).copied();
        let from = words.partition_point(|(word, _)| byte_of(word) < Some(byte));
        let to = from + words[from..].partition_point(|(word, _)| byte_of(word) == Some(byte));
        range.start + from..range.start + to
    }

    fn meanings_of(&self, word: usize) -> &[Meaning] {
        self.meanings_in(&self.words[word].1)
    }

    fn meanings_in(&self, range: &Range<u32>) -> &[Meaning] {
        let index = |at: u32| usize::try_from(at).unwrap_or(0);
        &self.meanings[index(range.start)..index(range.end)]
    }
}

/// The number of beginnings of three ASCII letters.
const BEGINNINGS: usize = 26 * 26 * 26;

/// The number of the first three letters of a word in lower case, if they are ASCII.
fn beginning_of(word: &str) -> Option<usize> {
    let letters = word.as_bytes().get(..3)?;
    let is_plain = letters.iter().all(u8::is_ascii_lowercase);
    is_plain.then(|| letters.iter().fold(0, |number, letter| 26 * number + usize::from(letter - b'a')))
}

fn first_byte(word: &str) -> u8 {
    word.as_bytes().first().copied().unwrap_or(0)
}

fn parse_grammar(name: &str) -> NumberGrammar {
    match name {
        "open-ten" => NumberGrammar::OpenTen,
        "units-first" => NumberGrammar::UnitsFirst,
        "placed-zero" => NumberGrammar::PlacedZero,
        "vigesimal" => NumberGrammar::Vigesimal,
        _ => NumberGrammar::Plain,
    }
}

fn parse_part(name: &str) -> Option<NumberPart> {
    Some(match name {
        "ten" => NumberPart::Ten,
        "teen" => NumberPart::Teen,
        "hundred" => NumberPart::Power(100),
        "thousand" => NumberPart::Power(1_000),
        "and" => NumberPart::And,
        "filler" => NumberPart::Filler,
        _ => match (name.strip_prefix('x'), name.strip_prefix('p')) {
            (Some(times), _) => NumberPart::Repeat(times.parse().ok()?),
            (_, Some(digit)) => NumberPart::Plural(digit.parse().ok()?),
            _ => match name.strip_prefix("e") {
                Some(power) => NumberPart::Power(10_u32.checked_pow(power.parse().ok()?)?),
                None => NumberPart::Value(name.parse().ok()?),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::normalise::fold_word;

    #[test]
    fn the_table_is_well_formed() {
        assert!(WORDS.lines().count() < 128);
        for line in WORDS.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            assert!(fields[1].parse::<usize>().unwrap() < READINGS, "{line}");
            let is_plain = parse_grammar(fields[2]) == NumberGrammar::Plain;
            assert_eq!(is_plain, fields[2] == "plain", "{line}");
            for field in &fields[4..] {
                let (part, words) = field.split_once(':').unwrap();
                assert!(parse_part(part).is_some(), "{field}");
                for word in words.split(',') {
                    let word = word.trim_end_matches('*');
                    assert_eq!(fold_word(word), word, "{line}");
                }
            }
        }
    }

    #[test]
    fn the_table_contains_every_addition() {
        let additions = include_str!("generator/additions.txt").lines().filter(|line| !line.starts_with('#'));
        let mut tags = Vec::new();
        for line in additions {
            let mut fields = line.split(' ');
            let tag = fields.next().unwrap();
            assert!(!tags.contains(&tag), "{tag} has two lines");
            tags.push(tag);
            let reading = Dictionary::reading_of(tag).unwrap();
            for (part, words) in fields.skip(2).map(|field| field.split_once(':').unwrap()) {
                let part = parse_part(part).unwrap();
                for word in words.split(',') {
                    let found = DICTIONARY.find(&fold_word(word)).iter().find(|it| usize::from(it.reading) == reading);
                    let is_there = found.is_some_and(|it| it.part == part || !part.is_number());
                    assert!(is_there, "{tag} {word} is {found:?}: run generate.mjs");
                }
            }
        }
    }

    #[test]
    fn every_language_has_all_digits() {
        for line in WORDS.lines() {
            for digit in 0..10 {
                assert!(line.contains(&format!(" {digit}:")), "{digit}: {line}");
            }
        }
    }

    #[test]
    fn languages_of_a_reading_agree_on_every_word() {
        let dictionary = &*DICTIONARY;
        for line in WORDS.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let reading: u8 = fields[1].parse().unwrap();
            for (part, words) in fields[4..].iter().map(|field| field.split_once(':').unwrap()) {
                let part = parse_part(part).unwrap();
                for word in words.split(',').map(|word| word.trim_end_matches('*')) {
                    let found = dictionary.find(word).iter().find(|meaning| meaning.reading == reading).unwrap();
                    if part.is_number() {
                        assert_eq!((found.part, found.grammar), (part, parse_grammar(fields[2])), "{word}");
                    } else {
                        assert!(!found.part.is_number(), "{word}");
                    }
                }
            }
        }
    }

    #[test]
    fn words_are_found_by_their_beginnings() {
        let dictionary = &*DICTIONARY;
        let lengths = |text| dictionary.find_beginnings(text).map(|(length, _)| length).collect::<Vec<_>>();
        assert!(lengths("zweiundvierzigx").ends_with(&[4, 14]), "{:?}", lengths("zweiundvierzigx"));
        assert!(lengths("").is_empty() && lengths("qqq").is_empty() && dictionary.find("").is_empty());
        assert!(dictionary.languages_with_prefix("fort") & 1 == 1 && dictionary.languages_with_prefix("qqq") == 0);
    }
}
