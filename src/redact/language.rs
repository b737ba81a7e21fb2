//! Number words and filler words of the languages that ConversationRelay transcribes.
//!
//! `words.txt` is generated from CLDR's spell-out rules by `generator/generate.mjs`. Languages in which no word means
//! different things share a *reading*, so that a text is read ten times and not eighty: `um` is a filler in English and
//! 1 in Portuguese; `once` is 11 in Spanish.

mod compound;
mod dictionary;
mod spoken;

pub(super) use compound::Compound;
pub(super) use dictionary::{DICTIONARY, Dictionary, Meaning};
pub(super) use spoken::SpokenLanguage;

/// How often a text is read.
pub(super) const READINGS: usize = 10;

/// The reading of English as it is misheard: `for for ate five to`. Its words are everyday words, so they count only
/// together with other evidence.
pub(super) const MISHEARD: usize = READINGS - 1;

/// A set of languages, by their order in the table.
pub(super) type Languages = u128;

/// The role of a word in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberPart {
    /// 0 to 99, and the hundreds that are one word: `quinientos`.
    Value(u16),
    /// `puluh`, `十`: ten times the number before it, or ten.
    Ten,
    /// `belas`: ten more than the number before it.
    Teen,
    /// `hundred`, `thousand`, `lakh`, `million`: so many times the number before it, or so many.
    Power(u32),
    /// `double`, `triple`
    Repeat(u8),
    /// `ones`, after a number that says how many: `four ones`.
    Plural(u8),
    /// `and`: part of a number, or a filler.
    And,
    /// A filler: `um`, `dash`.
    Filler,
}

impl NumberPart {
    /// Whether the word alone says that a number is meant.
    pub(super) fn is_number(self) -> bool {
        !matches!(self, Self::And | Self::Filler)
    }
}

/// How a language composes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum NumberGrammar {
    /// `forty-two`
    #[default]
    Plain,
    /// `on iki`: also 12 is composed.
    OpenTen,
    /// `zwei und vierzig`
    UnitsFirst,
    /// `四百零二`, `hai trăm linh bốn`: after hundreds and thousands a zero is the tens that are missing.
    PlacedZero,
    /// `soixante-douze`, `quatre-vingt-douze`, `dix-sept`
    Vigesimal,
}

/// Whether number words of a language are recognised. `tag` is a BCP 47 language tag such as `en-US`, in upper or lower
/// case; only its primary language counts. `multi` is no language.
pub fn is_readable_language(tag: &str) -> bool {
    let known = known_subtag(tag);
    Dictionary::tags().any(|tag| tag == known)
}

/// The primary language of a BCP 47 tag, as the table has it.
fn known_subtag(tag: &str) -> String {
    /// Other subtags of languages in the table.
    const ALIASES: [(&str, &str); 8] = [
        ("no", "nb"),
        ("tl", "fil"),
        ("iw", "he"),
        ("in", "id"),
        ("cmn", "zh"),
        ("sh", "sr"),
        ("jw", "jv"),
        ("arb", "ar"),
    ];
    let primary = tag.split(['-', '_']).next().unwrap_or(tag).to_ascii_lowercase();
    let known = ALIASES.iter().find(|(alias, _)| *alias == primary).map(|(_, known)| (*known).to_owned());
    known.unwrap_or(primary)
}

#[cfg(test)]
mod tests;
