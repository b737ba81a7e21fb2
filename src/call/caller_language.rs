//! The agent's voice follows the language in which the caller speaks, as Twilio detects it for each prompt.
//!
//! Twilio only reports the language. Short utterances are often taken for another one, so that a change needs two prompts
//! in a row.

use super::guided_flow::primary_subtag;
use super::{Call, CallSettings, prompts};
use crate::relay::{LanguageSwitch, OutgoingFrame};

/// What was detected of the caller's language.
#[derive(Debug, Default)]
pub(super) struct CallerLanguage {
    /// The language of the last prompt, if the agent does not speak it yet: one more prompt in it switches.
    candidate: Option<String>,
    /// The caller asked for a language, which holds for the rest of the call.
    is_requested: bool,
}

impl CallerLanguage {
    /// Keeps the language for the rest of the call, since the caller asked for it.
    pub(super) fn hold(&mut self) {
        self.is_requested = true;
    }

    /// Whether the caller asked for the language.
    pub(super) fn is_requested(&self) -> bool {
        self.is_requested
    }

    /// Records the language of a prompt, and returns the code to switch to, if it changes. `spoken` is the code that the
    /// agent speaks; `languages` are the codes of the session, the main one first.
    fn record(&mut self, tag: &str, spoken: &str, languages: &[String]) -> Option<String> {
        if self.is_requested {
            return None;
        }
        let earlier = self.candidate.take();
        let code = find_language(tag, spoken, languages).filter(|code| *code != spoken)?;
        // Without a language of the session, as at the start of a call with `multi`, there is none to keep.
        let speaks_language = find_language(spoken, spoken, languages) == Some(spoken);
        if !speaks_language || earlier.as_deref() == Some(code) {
            return Some(code.to_owned());
        }
        self.candidate = Some(code.to_owned());
        None
    }
}

/// Finds the code of the session for a detected language: that tag, else a code of the same language, the spoken one
/// first. A `<Language>` goes before the main language.
fn find_language<'a>(tag: &str, spoken: &str, languages: &'a [String]) -> Option<&'a str> {
    let (main, declared) = languages.split_first()?;
    let is_exact = |code: &&String| code.eq_ignore_ascii_case(tag);
    let is_spoken = |code: &&String| is_same_language(code, tag) && code.eq_ignore_ascii_case(spoken);
    let is_same = |code: &&String| is_same_language(code, tag);
    let found = declared.iter().find(is_exact).or_else(|| declared.iter().find(is_spoken));
    let found = found.or_else(|| declared.iter().find(is_same)).or_else(|| Some(main).filter(is_same));
    found.map(String::as_str).filter(|code| !is_same_language(code, "multi"))
}

/// Whether two codes are of one language, whatever the region.
pub(super) fn is_same_language(code: &str, other: &str) -> bool {
    primary_subtag(code).eq_ignore_ascii_case(primary_subtag(other))
}

impl CallSettings {
    /// The code of the session in which a text of another language than `spoken` is to be spoken, if there is one.
    pub(super) fn other_language(&self, text_language: &str, spoken: &str) -> Option<String> {
        let is_other = !is_same_language(text_language, spoken);
        let found = is_other.then(|| find_language(text_language, spoken, &self.languages)).flatten();
        found.map(str::to_owned)
    }
}

impl Call {
    /// Follows the caller into the language of a prompt, and tells the model.
    pub(super) fn follow_caller_language(&mut self, detected: Option<&str>) {
        let Some(tag) = detected.filter(|_| self.settings.detects_language) else { return };
        let settings = self.settings.clone();
        let spoken = self.language().to_owned();
        let Some(code) = self.caller_language.record(tag, &spoken, &settings.languages) else { return };
        self.note(prompts::answer_in_language(&code));
        self.apply_language_switch(LanguageSwitch::Tts { tts_language: code });
    }

    /// Switches the spoken language, the transcription language, or both. Voice and speech model follow from the
    /// session's `<Language>`.
    pub(super) fn apply_language_switch(&mut self, languages: LanguageSwitch) {
        self.switched_languages = Some(match self.switched_languages.take() {
            Some(earlier) => earlier.merge(languages.clone()),
            None => languages.clone(),
        });
        self.send_frame(OutgoingFrame::Language(languages));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANGUAGES: [&str; 4] = ["en-US", "en-AU", "fr-FR", "es-ES"];

    /// The switches that these detections cause in a session that begins with `spoken`.
    fn switches(mut spoken: &'static str, detected: &str) -> Vec<&'static str> {
        let mut follows = CallerLanguage::default();
        let languages = LANGUAGES.map(str::to_owned);
        let mut switches = Vec::new();
        for tag in detected.split(',') {
            if tag == "request" {
                follows.hold();
            } else if let Some(code) = follows.record(tag, spoken, &languages) {
                spoken = LANGUAGES.into_iter().find(|known| *known == code).unwrap();
                switches.push(spoken);
            }
        }
        switches
    }

    #[test]
    fn a_later_change_needs_two_prompts_in_a_row() {
        for (detected, expected) in [
            ("en,en,fr,fr,fr,es,en,es,es", &["en-AU", "fr-FR", "es-ES"][..]),
            ("en,es,en,es,en", &["en-AU"]),
            ("en,fr,es,fr", &["en-AU"]),
            ("en,fr,de,fr", &["en-AU"]),
            ("de,ja,multi,,-,en-", &["en-AU"]),
            ("fr-CA", &["fr-FR"]),
            ("FR,FR", &["fr-FR"]),
            ("fr,request,en,en,es,es", &["fr-FR"]),
        ] {
            // Neither `multi` nor the main language, to which no `<Language>` belongs, is a voice to keep.
            for spoken in ["multi", "en-US"] {
                assert_eq!(switches(spoken, detected), expected, "{spoken}: {detected}");
            }
        }
    }

    #[test]
    fn a_voice_of_the_session_is_kept_at_the_first_detection_too() {
        assert_eq!(switches("en-AU", "es,en,fr,fr"), ["fr-FR"]);
        assert_eq!(switches("en-AU", "en-US,en-GB,en"), Vec::<&str>::new());
    }

    #[test]
    fn the_main_language_is_kept_if_no_language_element_has_it() {
        let (mut follows, languages) = (CallerLanguage::default(), ["en-GB", "fr-FR"].map(str::to_owned));
        assert_eq!(follows.record("fr", "en-GB", &languages), None);
        assert_eq!(follows.record("fr", "en-GB", &languages).as_deref(), Some("fr-FR"));
        assert_eq!(follows.record("en", "fr-FR", &languages), None);
        assert_eq!(follows.record("en", "fr-FR", &languages).as_deref(), Some("en-GB"));
    }
}
