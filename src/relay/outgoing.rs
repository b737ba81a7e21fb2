//! The frames that this server sends. The types permit only valid frames, since Twilio ends a session after ten invalid
//! ones.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use url::Url;

/// One frame to ConversationRelay, in its documented format.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum OutgoingFrame {
    /// Text to speak. Twilio concatenates tokens unchanged and starts speaking before the last one.
    Text {
        /// The text; empty only in the frame that ends the talk cycle.
        token: String,
        /// Whether this frame ends the talk cycle.
        last: bool,
        /// The language in which it is spoken, as a configured BCP 47 code; if unset the language of the session applies.
        #[serde(skip_serializing_if = "Option::is_none")]
        lang: Option<String>,
        /// Whether the caller can interrupt it; if unset the attribute of the session applies.
        #[serde(skip_serializing_if = "Option::is_none")]
        interruptible: Option<bool>,
        /// Whether a later frame can interrupt it; if unset the attribute of the session applies.
        #[serde(skip_serializing_if = "Option::is_none")]
        preemptible: Option<bool>,
    },
    /// Plays a recording after the queued speech.
    Play {
        /// The URL of the recording.
        source: Url,
        /// How many times it is played; 0 means 1,000.
        #[serde(rename = "loop")]
        times: u16,
    },
    /// Sends DTMF tones to the other party after the queued speech.
    SendDigits {
        /// The tones to send.
        digits: Digits,
    },
    /// Switches the language of speech, of transcription, or of both, from now on.
    Language(LanguageSwitch),
    /// Ends the session after the queued speech.
    End {
        /// Data for the `<Connect>` action, as JSON text.
        #[serde(skip_serializing_if = "Option::is_none")]
        handoff_data: Option<String>,
    },
}

/// DTMF tones: 1 to 64 of `0-9 w # *`, where `w` is a pause of half a second.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Digits(String);

/// The text is not a sequence of DTMF tones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tones are 1 to 64 of 0-9, #, * and w for a pause")]
pub(crate) struct ParseDigitsError;

/// The languages to switch to, at least one of speech and transcription, as configured BCP 47 codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum LanguageSwitch {
    /// Switches the language of the agent's speech.
    #[serde(rename_all = "camelCase")]
    Tts {
        /// The code.
        tts_language: String,
    },
    /// Switches the language in which the caller is transcribed.
    #[serde(rename_all = "camelCase")]
    Transcription {
        /// The code.
        transcription_language: String,
    },
    /// Switches both languages.
    #[serde(rename_all = "camelCase")]
    Both {
        /// The language of the agent's speech.
        tts_language: String,
        /// The language in which the caller is transcribed.
        transcription_language: String,
    },
}

impl LanguageSwitch {
    /// Returns the new language of speech, if it changes.
    pub(crate) fn tts_language(&self) -> Option<&str> {
        match self {
            Self::Tts { tts_language } | Self::Both { tts_language, .. } => Some(tts_language),
            Self::Transcription { .. } => None,
        }
    }

    /// Returns the new language of transcription, if it changes.
    pub(crate) fn transcription_language(&self) -> Option<&str> {
        match self {
            Self::Transcription { transcription_language } | Self::Both { transcription_language, .. } => {
                Some(transcription_language)
            }
            Self::Tts { .. } => None,
        }
    }

    /// Combines two switches into one: `later` overrides.
    pub(crate) fn merge(self, later: Self) -> Self {
        match (self, later) {
            (
                Self::Tts { tts_language } | Self::Both { tts_language, .. },
                Self::Transcription { transcription_language },
            )
            | (
                Self::Transcription { transcription_language } | Self::Both { transcription_language, .. },
                Self::Tts { tts_language },
            ) => Self::Both { tts_language, transcription_language },
            (_, later) => later,
        }
    }
}

impl Digits {
    /// Returns the number of tones, pauses included.
    pub(crate) fn count(&self) -> u32 {
        self.0.len().try_into().unwrap_or(u32::MAX)
    }
}

impl FromStr for Digits {
    type Err = ParseDigitsError;

    fn from_str(text: &str) -> Result<Self, ParseDigitsError> {
        let tone = |byte| matches!(byte, b'0'..=b'9' | b'w' | b'#' | b'*');
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(tone);
        fits.then(|| Self(text.to_owned())).ok_or(ParseDigitsError)
    }
}

impl OutgoingFrame {
    /// Creates a frame with a token that is not the last of its utterance.
    pub(crate) fn token(token: impl Into<String>) -> Self {
        Self::text(token.into(), false)
    }

    /// Creates the empty frame that ends a talk cycle.
    pub(crate) fn end_talk_cycle() -> Self {
        Self::text(String::new(), true)
    }

    /// Creates a frame with a whole utterance.
    pub(crate) fn utterance(text: impl Into<String>) -> Self {
        Self::text(text.into(), true)
    }

    /// Creates a frame with a whole utterance that neither the caller nor a later frame can interrupt.
    pub(crate) fn statement(text: impl Into<String>) -> Self {
        Self::Text { token: text.into(), last: true, lang: None, interruptible: Some(false), preemptible: Some(false) }
    }

    fn text(token: String, last: bool) -> Self {
        Self::Text { token, last, lang: None, interruptible: None, preemptible: None }
    }

    /// Lets a text be spoken in this language of the session, without switching the session.
    pub(crate) fn in_language(mut self, code: Option<String>) -> Self {
        if let Self::Text { lang, .. } = &mut self {
            *lang = code;
        }
        self
    }

    /// Returns the frame as JSON text.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and booleans always serialise")
    }
}

/// Shows the kind of frame and none of its content.
impl fmt::Debug for OutgoingFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { token, last, .. } => write!(f, "Text({} bytes, last: {last})", token.len()),
            Self::Play { .. } => f.write_str("Play"),
            Self::SendDigits { .. } => f.write_str("SendDigits"),
            Self::Language(languages) => write!(f, "{languages:?}"),
            Self::End { handoff_data } => write!(f, "End(handoff: {})", handoff_data.is_some()),
        }
    }
}

/// Shows the number of tones and none of the tones.
impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digits({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_as_documented() {
        let language =
            LanguageSwitch::Both { tts_language: "es-ES".to_owned(), transcription_language: "es-MX".to_owned() };
        let source = "https://example.com/hold.mp3".parse().unwrap();
        let frames = [
            OutgoingFrame::token("Hi \"you\""),
            OutgoingFrame::statement("Yes or no?"),
            OutgoingFrame::utterance("Oui").in_language(Some("fr-FR".to_owned())),
            OutgoingFrame::end_talk_cycle(),
            OutgoingFrame::Play { source, times: 2 },
            OutgoingFrame::SendDigits { digits: "1w#".parse().unwrap() },
            OutgoingFrame::Language(language),
            OutgoingFrame::Language(LanguageSwitch::Tts { tts_language: "es-ES".to_owned() }),
            OutgoingFrame::End { handoff_data: None },
            OutgoingFrame::End { handoff_data: Some(r#"{"a":1}"#.to_owned()) },
        ];
        let json: Vec<String> = frames.iter().map(OutgoingFrame::to_json).collect();
        assert!(json.iter().all(|frame| !frame.contains('\n')), "a frame is a single line");
        insta::assert_snapshot!(json.join("\n"), @r#"
        {"type":"text","token":"Hi \"you\"","last":false}
        {"type":"text","token":"Yes or no?","last":true,"interruptible":false,"preemptible":false}
        {"type":"text","token":"Oui","last":true,"lang":"fr-FR"}
        {"type":"text","token":"","last":true}
        {"type":"play","source":"https://example.com/hold.mp3","loop":2}
        {"type":"sendDigits","digits":"1w#"}
        {"type":"language","ttsLanguage":"es-ES","transcriptionLanguage":"es-MX"}
        {"type":"language","ttsLanguage":"es-ES"}
        {"type":"end"}
        {"type":"end","handoffData":"{\"a\":1}"}
        "#);
    }

    #[test]
    fn tones_that_twilio_rejects_are_not_parsed() {
        for bad in ["", "12a", "W", "1 2", "1".repeat(65).as_str()] {
            assert_eq!(bad.parse::<Digits>(), Err(ParseDigitsError), "{bad}");
        }
    }
}
