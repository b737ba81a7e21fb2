//! Words that mean a digit only by their form: cases, ordinals, nouns for a digit, endings that are glued to a number
//! word. Outside a capture many of them are everyday words; during one, every word that begins like a number word of the
//! language that is spoken is removed.

use std::ops::Range;

use super::language::SpokenLanguage;
use super::text_token::{TextToken, TokenKind, tokenize};
use super::{REDACTED, Redacted, RedactionPolicy, Redactor, redact_ranges};

impl Redactor {
    /// Redacts what a caller says during a capture in a language, given as a BCP 47 tag: every digit, every number word,
    /// and every word that begins like one.
    pub fn redact_during_capture(&mut self, text: &str, language: &str) -> Redacted {
        let language = SpokenLanguage::of(language);
        // Everyday words that are numbers in another language are judged one by one below.
        let mut redacted = self.redact(text, RedactionPolicy::EveryDigit);
        let mut removed = 0;
        let parts = redacted.text.split(REDACTED).map(|part| {
            let places = number_forms(part, &language);
            removed += places.len();
            redact_ranges(part, places).into_owned()
        });
        redacted.text = parts.collect::<Vec<_>>().join(REDACTED);
        redacted.digits_removed += removed;
        redacted
    }
}

/// The ranges of the words of a text that begin like a number word, in bytes.
fn number_forms(text: &str, language: &SpokenLanguage) -> Vec<Range<usize>> {
    let tokens = tokenize(text).tokens.into_iter();
    tokens.filter(|token| is_form(token, text, language)).map(|token| token.byte_range).collect()
}

fn is_form(token: &TextToken, text: &str, language: &SpokenLanguage) -> bool {
    let TokenKind::Word(word) = &token.kind else { return true };
    // An article or a pronoun may stand before an apostrophe: `l'otto`.
    let after = || text[token.byte_range.clone()].rsplit_once(['\'', '\u{2018}', '\u{2019}']).map(|(_, after)| after);
    language.may_be_number(word) || after().is_some_and(|after| !number_forms(after, language).is_empty())
}
