//! Classifies the caller's answer to a question as yes, no or unclear, in all languages of the server's texts at once.
//!
//! The rule is strict: a yes consists of assent phrases and fillers only. A number, a condition, a question or any
//! unknown word makes the answer unclear.

mod phrases;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::payment::ConsentAnswer;

/// The maximum number of words in an answer. A longer utterance is unclear.
const MAX_WORDS: usize = 60;

/// The known words and phrases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConsentLexicon {
    /// The kind of each phrase: words in lower case, without accents and apostrophes, separated by a space.
    phrases: HashMap<String, PhraseKind>,
    /// The number of words in the longest phrase.
    longest_phrase: usize,
}

/// The role of a phrase in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PhraseKind {
    Assent,
    Refusal,
    /// Negates the phrase that follows it, or the one before it at the end of a clause: `not`, `don't want to`.
    Negation,
    /// Has no meaning in any answer: `please`.
    Filler,
    /// Has no meaning in a refusal: `the payment`.
    Padding,
    /// Neither assent nor refusal: `not sure`.
    Doubt,
    Unknown,
}

impl ConsentLexicon {
    /// Builds a lexicon from the assent and refusal phrases of each language, separated by commas.
    pub(super) fn new<'a>(languages: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut lexicon = Self { phrases: HashMap::new(), longest_phrase: 1 };
        for (list, kind) in [
            (phrases::FILLERS, PhraseKind::Filler),
            (phrases::PADDING, PhraseKind::Padding),
            (phrases::NEGATIONS, PhraseKind::Negation),
            (phrases::DOUBTS, PhraseKind::Doubt),
        ] {
            lexicon.add_phrases(list, kind);
        }
        for (assent, refusal) in languages {
            lexicon.add_phrases(assent, PhraseKind::Assent);
            lexicon.add_phrases(refusal, PhraseKind::Refusal);
        }
        lexicon
    }

    fn add_phrases(&mut self, list: &str, kind: PhraseKind) {
        for phrase in list.split(',') {
            let phrase = split_clauses(phrase).into_iter().flat_map(|clause| clause.words).collect::<Vec<_>>();
            if phrase.is_empty() {
                continue;
            }
            self.longest_phrase = self.longest_phrase.max(phrase.len());
            self.phrases.entry(phrase.join(" ")).and_modify(|known| *known = known.merge(kind)).or_insert(kind);
        }
    }

    /// Classifies a complete utterance.
    pub(super) fn classify_answer(&self, utterance: &str) -> ConsentAnswer {
        let kinds = self.classify_phrases(utterance);
        let has = |kind| kinds.contains(&kind);
        match (has(PhraseKind::Assent), has(PhraseKind::Refusal)) {
            _ if has(PhraseKind::Doubt) => ConsentAnswer::Unclear,
            (false, true) => ConsentAnswer::No,
            (true, false) if !has(PhraseKind::Padding) && !has(PhraseKind::Unknown) => ConsentAnswer::Yes,
            _ => ConsentAnswer::Unclear,
        }
    }

    /// Whether an utterance is a refusal and contains nothing else.
    pub(super) fn is_refusal(&self, utterance: &str) -> bool {
        let kinds = self.classify_phrases(utterance);
        let harmless =
            |kind: &PhraseKind| matches!(kind, PhraseKind::Refusal | PhraseKind::Filler | PhraseKind::Padding);
        kinds.contains(&PhraseKind::Refusal) && kinds.iter().all(harmless)
    }

    /// Returns the kinds of the phrases in an utterance. A question counts as unknown.
    fn classify_phrases(&self, utterance: &str) -> Vec<PhraseKind> {
        let clauses = split_clauses(utterance);
        if clauses.iter().map(|clause| clause.words.len()).sum::<usize>() > MAX_WORDS {
            return vec![PhraseKind::Unknown];
        }
        let kinds = |clause: AnswerClause| {
            if clause.is_question {
                vec![PhraseKind::Unknown]
            } else {
                apply_negations(&self.classify_words(&clause.words))
            }
        };
        clauses.into_iter().flat_map(kinds).collect()
    }

    /// Splits a clause into known phrases, preferring the longest match, and returns their kinds.
    fn classify_words(&self, words: &[String]) -> Vec<PhraseKind> {
        let mut kinds = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let lengths = (1..=self.longest_phrase.min(words.len() - at)).rev();
            let mut known =
                lengths.filter_map(|length| Some((length, *self.phrases.get(&words[at..at + length].join(" "))?)));
            let (length, kind) = known.next().unwrap_or((1, PhraseKind::Unknown));
            kinds.push(kind);
            at += length;
        }
        kinds
    }
}

impl PhraseKind {
    /// Merges the kinds of a phrase that is in several lists. Different kinds never merge to an assent.
    fn merge(self, other: Self) -> Self {
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

/// Applies negations to the phrases they negate, across fillers. A negation alone or with fillers is a refusal: `please
/// don't`.
fn apply_negations(kinds: &[PhraseKind]) -> Vec<PhraseKind> {
    let says_nothing = |kind: &PhraseKind| matches!(kind, PhraseKind::Filler | PhraseKind::Padding);
    let mut joined = Vec::new();
    let mut at = 0;
    while at < kinds.len() {
        let (kind, rest) = (kinds[at], &kinds[at + 1..]);
        let next = rest.iter().position(|kind| !says_nothing(kind));
        let (kind, taken) = match (kind, next.map(|next| (rest[next], next))) {
            // "don't stop" is not a refusal, but "not okay" is one.
            (PhraseKind::Negation, Some((PhraseKind::Refusal | PhraseKind::Negation, next))) => {
                (PhraseKind::Doubt, next + 1)
            }
            (PhraseKind::Negation, Some((PhraseKind::Assent, next))) => (PhraseKind::Refusal, next + 1),
            (PhraseKind::Negation, None) if joined.iter().all(says_nothing) => (PhraseKind::Refusal, 0),
            // "absolutely not"
            (PhraseKind::Assent, Some((PhraseKind::Negation, 0))) if rest[1..].iter().all(says_nothing) => {
                (PhraseKind::Refusal, 1)
            }
            (PhraseKind::Negation, _) => (PhraseKind::Unknown, 0),
            (kind, _) => (kind, 0),
        };
        joined.push(kind);
        at += 1 + taken;
    }
    joined
}

/// The words between two punctuation marks.
pub(super) struct AnswerClause {
    pub(super) words: Vec<String>,
    pub(super) is_question: bool,
}

/// Splits a text at its punctuation. The words are in lower case, without accents and apostrophes.
pub(super) fn split_clauses(text: &str) -> Vec<AnswerClause> {
    let mut clauses = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in text.chars().chain(['.']) {
        match c {
            '\'' | '\u{2019}' | '\u{2018}' | '`' | '\u{300}'..='\u{36f}' => {}
            _ if c.is_alphanumeric() => word.extend(fold_char(c)),
            _ => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                let is_question = matches!(c, '?' | '\u{37e}' | '\u{61f}' | '\u{ff1f}');
                let joins = c.is_whitespace() || matches!(c, '-' | '\u{2010}' | '\u{2011}');
                if is_question || !joins && !words.is_empty() {
                    clauses.push(AnswerClause { words: std::mem::take(&mut words), is_question });
                }
            }
        }
    }
    clauses
}

fn fold_char(c: char) -> impl Iterator<Item = char> {
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
