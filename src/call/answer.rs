//! Whether an utterance is a yes or a no, in all languages that the server's texts have at once.
//!
//! Strict: a yes is made of words of assent and harmless fillers alone. A number, a condition, a question or any word that is
//! not known makes it unclear.

#[cfg(test)]
mod tests;
mod words;

use std::collections::HashMap;

use crate::payment::Consent;

/// Utterances beyond this many words are no answers.
const MAX_WORDS: usize = 60;

/// The words and phrases that are understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lexicon {
    /// By phrase: words in lower case, without accents and apostrophes, a blank between them.
    phrases: HashMap<String, Kind>,
    /// Words in the longest phrase.
    longest: usize,
}

/// What a phrase does in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Assent,
    Refusal,
    /// Turns what follows, or stands at the end, into its opposite: `not`, `don't want to`.
    Negation,
    /// Says nothing: `please`.
    Filler,
    /// Says nothing in a refusal: `the payment`.
    Padding,
    /// Known to be neither: `not sure`.
    Doubt,
    Unknown,
}

impl Lexicon {
    /// A lexicon of word lists: assent and refusal of each language, with commas between the phrases.
    pub(super) fn new<'a>(languages: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut lexicon = Self { phrases: HashMap::new(), longest: 1 };
        for (list, kind) in [
            (words::FILLERS, Kind::Filler),
            (words::PADDING, Kind::Padding),
            (words::NEGATIONS, Kind::Negation),
            (words::DOUBTS, Kind::Doubt),
        ] {
            lexicon.add(list, kind);
        }
        for (assent, refusal) in languages {
            lexicon.add(assent, Kind::Assent);
            lexicon.add(refusal, Kind::Refusal);
        }
        lexicon
    }

    fn add(&mut self, list: &str, kind: Kind) {
        for phrase in list.split(',') {
            let phrase = clauses(phrase).into_iter().flat_map(|clause| clause.words).collect::<Vec<_>>();
            if phrase.is_empty() {
                continue;
            }
            self.longest = self.longest.max(phrase.len());
            self.phrases
                .entry(phrase.join(" "))
                .and_modify(|known| *known = known.or_in_another_language(kind))
                .or_insert(kind);
        }
    }

    /// Judges a whole utterance.
    pub(super) fn judge(&self, utterance: &str) -> Consent {
        let kinds = self.read(utterance);
        let has = |kind| kinds.contains(&kind);
        match (has(Kind::Assent), has(Kind::Refusal)) {
            _ if has(Kind::Doubt) => Consent::Unclear,
            (false, true) => Consent::No,
            (true, false) if !has(Kind::Padding) && !has(Kind::Unknown) => Consent::Yes,
            _ => Consent::Unclear,
        }
    }

    /// Whether an utterance is a refusal and nothing else.
    pub(super) fn is_refusal(&self, utterance: &str) -> bool {
        let kinds = self.read(utterance);
        let harmless = |kind: &Kind| matches!(kind, Kind::Refusal | Kind::Filler | Kind::Padding);
        kinds.contains(&Kind::Refusal) && kinds.iter().all(harmless)
    }

    /// What an utterance is made of. A question is not known to be an answer.
    fn read(&self, utterance: &str) -> Vec<Kind> {
        let clauses = clauses(utterance);
        if clauses.iter().map(|clause| clause.words.len()).sum::<usize>() > MAX_WORDS {
            return vec![Kind::Unknown];
        }
        let kinds = |clause: Clause| {
            if clause.is_question { vec![Kind::Unknown] } else { joined(&self.kinds(&clause.words)) }
        };
        clauses.into_iter().flat_map(kinds).collect()
    }

    /// The phrases of a clause, the longest first.
    fn kinds(&self, words: &[String]) -> Vec<Kind> {
        let mut kinds = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let lengths = (1..=self.longest.min(words.len() - at)).rev();
            let mut known =
                lengths.filter_map(|length| Some((length, *self.phrases.get(&words[at..at + length].join(" "))?)));
            let (length, kind) = known.next().unwrap_or((1, Kind::Unknown));
            kinds.push(kind);
            at += length;
        }
        kinds
    }
}

impl Kind {
    /// What a phrase is that means `self` in one list and `other` in another. It never becomes an assent.
    fn or_in_another_language(self, other: Self) -> Self {
        match (self, other) {
            (known, other) if known == other => known,
            (Self::Padding | Self::Filler, Self::Refusal) | (Self::Refusal, Self::Padding | Self::Filler) => {
                Self::Refusal
            }
            (Self::Filler, Self::Assent | Self::Padding) | (Self::Padding, Self::Filler) => Self::Filler,
            (Self::Padding, Self::Assent) => Self::Padding,
            _ => Self::Doubt,
        }
    }
}

/// Reads negations. What they turn may have fillers before it; alone with fillers a negation is a refusal, as in `please don't`.
fn joined(kinds: &[Kind]) -> Vec<Kind> {
    let says_nothing = |kind: &Kind| matches!(kind, Kind::Filler | Kind::Padding);
    let mut joined = Vec::new();
    let mut at = 0;
    while at < kinds.len() {
        let (kind, rest) = (kinds[at], &kinds[at + 1..]);
        let next = rest.iter().position(|kind| !says_nothing(kind));
        let (kind, taken) = match (kind, next.map(|next| (rest[next], next))) {
            // "don't stop" is no refusal, and "not okay" is one.
            (Kind::Negation, Some((Kind::Refusal | Kind::Negation, next))) => (Kind::Doubt, next + 1),
            (Kind::Negation, Some((Kind::Assent, next))) => (Kind::Refusal, next + 1),
            (Kind::Negation, None) if joined.iter().all(says_nothing) => (Kind::Refusal, 0),
            // "absolutely not"
            (Kind::Assent, Some((Kind::Negation, 0))) if rest[1..].iter().all(says_nothing) => (Kind::Refusal, 1),
            (Kind::Negation, _) => (Kind::Unknown, 0),
            (kind, _) => (kind, 0),
        };
        joined.push(kind);
        at += 1 + taken;
    }
    joined
}

/// What stands between two marks of punctuation.
struct Clause {
    words: Vec<String>,
    is_question: bool,
}

/// Splits a text at its punctuation, its words in lower case and without accents and apostrophes.
fn clauses(text: &str) -> Vec<Clause> {
    let mut clauses = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in text.chars().chain(['.']) {
        match c {
            '\'' | '\u{2019}' | '\u{2018}' | '`' | '\u{300}'..='\u{36f}' => {}
            _ if c.is_alphanumeric() => word.extend(folded(c)),
            _ => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                let is_question = matches!(c, '?' | '\u{37e}' | '\u{61f}' | '\u{ff1f}');
                let joins = c.is_whitespace() || matches!(c, '-' | '\u{2010}' | '\u{2011}');
                if is_question || !joins && !words.is_empty() {
                    clauses.push(Clause { words: std::mem::take(&mut words), is_question });
                }
            }
        }
    }
    clauses
}

fn folded(c: char) -> impl Iterator<Item = char> {
    let mut lower = c.to_lowercase();
    let first = lower.next().unwrap_or(c);
    let (letter, second) = match first {
        'á' | 'à' | 'â' | 'ä' | 'ã' => ('a', None),
        'é' | 'è' | 'ê' | 'ë' => ('e', None),
        'í' | 'ì' | 'î' | 'ï' => ('i', None),
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' => ('o', None),
        'ú' | 'ù' | 'û' | 'ü' => ('u', None),
        'ç' => ('c', None),
        'ñ' => ('n', None),
        'ß' => ('s', Some('s')),
        letter => (letter, None),
    };
    std::iter::once(letter).chain(second).chain(lower)
}
