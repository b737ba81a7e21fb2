//! A sentence of the server, by language.

/// A sentence in several languages. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalizedMessage(Vec<(String, String)>);

impl LocalizedMessage {
    /// A sentence that is the same in all languages, as an operator who serves one of them writes it.
    pub(crate) fn same_everywhere(text: String) -> Self {
        Self(vec![(String::new(), text)])
    }

    /// A sentence by BCP 47 code: those of `own`, and the built-in ones for other languages. `built_in` is not empty.
    pub(crate) fn new(own: Vec<(String, String)>, built_in: &[(&str, &str)]) -> Self {
        let built_in = built_in.iter().map(|(code, text)| ((*code).to_owned(), (*text).to_owned()));
        let others: Vec<_> =
            built_in.filter(|(code, _)| own.iter().all(|(known, _)| primary(known) != primary(code))).collect();
        Self(own.into_iter().chain(others).collect())
    }

    /// Returns the sentence in a language, else in another variety of it, else the first one.
    pub(crate) fn in_language(&self, code: &str) -> &str {
        let same = |own: &&(String, String)| own.0.eq_ignore_ascii_case(code);
        let related = |own: &&(String, String)| primary(&own.0).eq_ignore_ascii_case(primary(code));
        let found = self.0.iter().find(same).or_else(|| self.0.iter().find(related)).or_else(|| self.0.first());
        found.map_or("", |(_, text)| text)
    }
}

/// The language of a BCP 47 code, without its region.
fn primary(code: &str) -> &str {
    code.split('-').next().unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_language_is_found() {
        let own = vec![("de-AT".to_owned(), "Servus".to_owned())];
        let message = LocalizedMessage::new(own, &[("en", "Bye"), ("de", "Tschüss"), ("fr", "Salut")]);
        for (code, text) in
            [("de-AT", "Servus"), ("de-DE", "Servus"), ("fr-CA", "Salut"), ("en-AU", "Bye"), ("pl-PL", "Servus")]
        {
            assert_eq!(message.in_language(code), text, "{code}");
        }
        assert_eq!(LocalizedMessage::same_everywhere("Hi".to_owned()).in_language("fr-FR"), "Hi");
    }
}
