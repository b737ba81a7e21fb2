//! Texts that the law, or a rule of payments, requires: `Compliance` of serverConfig.json. They are versioned, by language,
//! and have placeholders in braces.

use super::caller_language::is_same_language;
use crate::payment::{SpokenStatement, text_version};

/// The placeholder for `BUSINESS_NAME`.
pub(crate) const BUSINESS: &str = "business";

/// The placeholders of a receipt.
pub(crate) const RECEIPT_PLACEHOLDERS: &[&str] = &[BUSINESS, "amount", "last4", "date", "time", "reference", "phone"];
/// The placeholder for the payer's name, which is not recorded.
pub(super) const NAME: &str = "name";

/// A text by language: those of the operator in file order, then the built-in ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComplianceText {
    own: Vec<(String, String)>,
    built_in: &'static [(&'static str, &'static str)],
}

/// A text by language with its placeholders filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilledText(Vec<SpokenStatement>);

impl ComplianceText {
    /// Creates a text from those of the operator, by BCP 47 code, and the built-in ones. Of several built-in texts of one
    /// language the first is said that can be filled in.
    pub(crate) fn new(own: Vec<(String, String)>, built_in: &'static [(&'static str, &'static str)]) -> Self {
        Self { own, built_in }
    }

    /// Whether there is a text in the language of a BCP 47 code.
    pub(crate) fn has_language(&self, code: &str) -> bool {
        let own = self.own.iter().map(|(known, _)| known.as_str());
        own.chain(self.built_in.iter().map(|(known, _)| *known)).any(|known| is_same_language(known, code))
    }

    /// The language, of those that there is a text in, that is nearest to a BCP 47 code; the first one if none is.
    pub(crate) fn nearest_language(&self, code: &str) -> &str {
        let own = self.own.iter().map(|(known, _)| known.as_str());
        let known = || own.clone().chain(self.built_in.iter().map(|(known, _)| *known));
        let exact = known().find(|known| known.eq_ignore_ascii_case(code));
        let near = || known().find(|known| is_same_language(known, code));
        exact.or_else(near).or_else(|| known().next()).unwrap_or_default()
    }

    /// Whether a text of the operator has a placeholder.
    pub(crate) fn uses(&self, placeholder: &str) -> bool {
        self.own.iter().any(|(_, template)| placeholders(template).any(|used| used == Ok(placeholder)))
    }

    /// The texts of the operator that lack one of these placeholders, by language, with the first that it lacks.
    pub(crate) fn lacking<'a>(&'a self, required: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.own.iter().filter_map(|(language, template)| {
            let lacks = required.iter().find(|wanted| !placeholders(template).any(|used| used == Ok(**wanted)));
            Some((language.as_str(), *lacks?))
        })
    }

    /// Fills in the placeholders. A text with a placeholder that has no value is left out. A built-in text is used for the
    /// languages that have no other.
    pub(crate) fn fill(&self, values: &[(&str, &str)]) -> FilledText {
        let fill = |(language, template): (&str, &str)| fill(language, template, values);
        let own = self.own.iter().map(|(language, template)| (language.as_str(), template.as_str())).filter_map(fill);
        let mut filled: Vec<SpokenStatement> = own.collect();
        for statement in self.built_in.iter().copied().filter_map(fill) {
            if !filled.iter().any(|known| is_same_language(&known.language, &statement.language)) {
                filled.push(statement);
            }
        }
        FilledText(filled)
    }
}

impl FilledText {
    /// The text in a language, else in another variety of it, else the first one.
    pub(crate) fn find(&self, code: &str) -> Option<&SpokenStatement> {
        let exact = self.0.iter().find(|known| known.language.eq_ignore_ascii_case(code));
        exact.or_else(|| self.0.iter().find(|known| is_same_language(&known.language, code))).or_else(|| self.0.first())
    }
}

/// Fills in a text; `None` if a placeholder has no value.
fn fill(language: &str, template: &str, values: &[(&str, &str)]) -> Option<SpokenStatement> {
    let (mut text, mut recorded_text) = (String::new(), String::new());
    let mut rest = template;
    while let Some((before, name, after)) = next_placeholder(rest) {
        let (_, value) = values.iter().find(|(known, _)| *known == name)?;
        text.push_str(before);
        text.push_str(value);
        recorded_text.push_str(before);
        recorded_text.push_str(if name == NAME { "{name}" } else { value });
        // A name may end in a full stop, as that of an incorporated company.
        rest = if value.ends_with('.') { after.strip_prefix('.').unwrap_or(after) } else { after };
    }
    text.push_str(rest);
    recorded_text.push_str(rest);
    let (language, text_version) = (language.to_owned(), text_version(template));
    Some(SpokenStatement { text, recorded_text, language, text_version })
}

/// Checks that a text has no placeholder but these, and no other braces.
pub(crate) fn check_placeholders(template: &str, known: &[&str]) -> Result<(), String> {
    let braced = |names: &[&str]| names.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ");
    for used in placeholders(template) {
        match used {
            Ok(name) if known.contains(&name) => {}
            Ok(name) => {
                return Err(format!("{{{name}}} is no placeholder of this text; it may have {}", braced(known)));
            }
            Err(UnpairedBrace) => return Err(format!("a brace has no other one; a placeholder is {}", braced(known))),
        }
    }
    Ok(())
}

/// A brace that is no part of a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UnpairedBrace;

/// The names of the placeholders of a text, in order.
fn placeholders(template: &str) -> impl Iterator<Item = Result<&str, UnpairedBrace>> {
    let mut rest = Some(template);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        match next_placeholder(text) {
            Some((before, name, after)) if !before.contains('}') => {
                rest = Some(after);
                Some(Ok(name))
            }
            _ => text.contains(['{', '}']).then_some(Err(UnpairedBrace)),
        }
    })
}

/// The text before the first placeholder, its name, and what follows it.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, from) = text.split_once('{')?;
    let (name, after) = from.split_once('}')?;
    (!name.contains('{')).then_some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT_IN: &[(&str, &str)] =
        &[("en-US", "This is {business}."), ("en-US", "This is a machine."), ("de-DE", "Eine Maschine.")];

    fn own(texts: &[(&str, &str)]) -> ComplianceText {
        let texts = texts.iter().map(|(code, text)| ((*code).to_owned(), (*text).to_owned())).collect();
        ComplianceText::new(texts, BUILT_IN)
    }

    fn said(text: &FilledText, code: &str) -> String {
        text.find(code).map(|statement| statement.text.clone()).unwrap_or_default()
    }

    #[test]
    fn the_nearest_language_is_found_and_the_placeholders_are_filled_in() {
        let text = own(&[("de-AT", "Hier ist {business}."), ("it-IT", "Una macchina.")]);
        let named = text.fill(&[(BUSINESS, "Acme")]);
        for (code, wanted) in [
            ("de-AT", "Hier ist Acme."),
            ("de-DE", "Hier ist Acme."),
            ("it", "Una macchina."),
            ("en-AU", "This is Acme."),
            ("pl-PL", "Hier ist Acme."),
            ("multi", "Hier ist Acme."),
        ] {
            assert_eq!(said(&named, code), wanted, "{code}");
        }
        assert_eq!(named.find("en-AU").unwrap().language, "en-US");
        assert_eq!(named.find("en-AU").unwrap().text_version, text_version("This is {business}."));
        assert!(text.has_language("it-CH") && text.has_language("de-CH") && !text.has_language("fr-FR"));
        assert!(text.uses(BUSINESS) && !own(&[]).uses(BUSINESS));
    }

    #[test]
    fn a_text_that_cannot_be_filled_in_is_not_said() {
        let nameless = own(&[("de-AT", "Hier ist {business}.")]).fill(&[]);
        assert_eq!(said(&nameless, "de-AT"), "Eine Maschine.");
        assert_eq!(said(&nameless, "en-US"), "This is a machine.");
        assert_eq!(said(&nameless, "fr-FR"), "This is a machine.");
    }

    #[test]
    fn a_value_with_braces_is_no_placeholder() {
        assert_eq!(said(&own(&[]).fill(&[(BUSINESS, "{business} & {Co")]), "en"), "This is {business} & {Co.");
    }

    #[test]
    fn unknown_placeholders_are_refused() {
        for valid in ["", "Plain.", "{business}", "A {business}, {business} B"] {
            assert_eq!(check_placeholders(valid, &[BUSINESS]), Ok(()), "{valid}");
        }
        for (text, error) in [
            ("Hi {busines}.", "{busines} is no placeholder of this text; it may have {business}"),
            ("{}", "{} is no placeholder"),
            ("{business} and {amount}", "{amount} is no placeholder"),
            ("{business", "a brace has no other one"),
            ("business}", "a brace has no other one"),
            ("} {business}", "a brace has no other one"),
            ("{business} }", "a brace has no other one"),
            ("{{business}}", "a brace has no other one"),
        ] {
            let found = check_placeholders(text, &[BUSINESS]).unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }
}
