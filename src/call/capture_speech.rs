//! What the model gets to know of the caller's words while card data is entered.
//!
//! Digits can only be cut from a language whose number words are recognised. In any other language the words are not
//! passed on at all, only what is known of their meaning.

use super::Call;
use super::caller_signals::find_signals;
use crate::redact::{Redacted, RedactionPolicy, is_readable_language};
use crate::relay::{LanguageSwitch, Prompt};

impl Call {
    /// Redacts `text`, which the caller said in this prompt: card numbers at any time, every digit while card data is
    /// entered.
    pub(super) fn redact_prompt(&mut self, prompt: &Prompt, text: &str) -> Redacted {
        if !self.is_card_entry_possible() {
            return self.redactor.redact(text, RedactionPolicy::CardNumbers);
        }
        let language = self.prompt_language(prompt).filter(|tag| is_readable_language(tag)).map(str::to_owned);
        match language {
            Some(tag) => self.redactor.redact_during_capture(text, &tag),
            None => Redacted { text: describe_speech(text), digits_removed: 0, cards: Vec::new() },
        }
    }

    /// The language in which the caller spoke, as a BCP 47 code; `None` if it is unknown.
    fn prompt_language<'a>(&'a self, prompt: &'a Prompt) -> Option<&'a str> {
        let switched = self.switched_languages.as_ref().and_then(LanguageSwitch::transcription_language);
        let heard = switched.unwrap_or(&self.settings.heard_language);
        let detected = prompt.lang.as_deref().filter(|tag| !tag.is_empty());
        detected.or(Some(heard)).filter(|tag| !tag.eq_ignore_ascii_case("multi"))
    }
}

/// What stands in the history for words that are not passed on.
fn describe_speech(text: &str) -> String {
    let signals = find_signals(text);
    let known = if signals.is_empty() {
        "No word of cancelling, help, yes or no was recognised.".to_owned()
    } else {
        format!("Among the words is one that means: {}.", signals.join(", "))
    };
    format!(
        "[The caller spoke. The words are not shown while card data is entered: numbers in this language cannot be removed \
         from them. {known}]"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_the_caller_is_in_the_description() {
        let text = describe_speech("Nej tack, avbryt, kortet är fyra två");
        assert!(text.contains("cancel, no") && !text.contains("fyra") && !text.contains("kortet"), "{text}");
    }
}
