//! The frames that this program sends. What cannot be made here cannot be sent: Twilio ends a session after ten bad frames.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use url::Url;

/// One frame to ConversationRelay, written exactly as its documentation has it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outgoing {
    /// Words to speak. Tokens are joined as they are; speech starts before the last one.
    Text {
        /// The words; may be empty only to close the talk cycle.
        token: String,
        /// Closes the talk cycle.
        last: bool,
        /// Whether the caller can cut it off; unset, the session's attribute holds.
        #[serde(skip_serializing_if = "Option::is_none")]
        interruptible: Option<bool>,
        /// Whether a later frame can cut it off; unset, the session's attribute holds.
        #[serde(skip_serializing_if = "Option::is_none")]
        preemptible: Option<bool>,
    },
    /// Plays a recording, after what is queued.
    Play {
        /// Where it is.
        source: Url,
        /// How often; 0 means 1,000 times.
        #[serde(rename = "loop")]
        times: u16,
    },
    /// Sends keypad tones to the other side, after what is queued.
    SendDigits {
        /// The tones.
        digits: Digits,
    },
    /// Changes languages for what is spoken and heard from now on.
    Language(Languages),
    /// Ends the session, after what is queued was spoken.
    End {
        /// A JSON text for the `<Connect>` action.
        #[serde(skip_serializing_if = "Option::is_none")]
        handoff_data: Option<String>,
    },
}

/// Keypad tones: one to 64 of `0-9 w # *`, where `w` is a pause of half a second.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Digits(String);

/// A text that is not keypad tones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tones are 1 to 64 of 0-9, #, * and w for a pause")]
pub struct BadDigits;

/// The languages to switch to: at least one, as a configured BCP 47 code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Languages {
    /// What the agent speaks.
    #[serde(rename_all = "camelCase")]
    Spoken {
        /// The code.
        tts_language: String,
    },
    /// What the caller is heard in.
    #[serde(rename_all = "camelCase")]
    Heard {
        /// The code.
        transcription_language: String,
    },
    /// Both.
    #[serde(rename_all = "camelCase")]
    Both {
        /// What the agent speaks.
        tts_language: String,
        /// What the caller is heard in.
        transcription_language: String,
    },
}

impl Languages {
    /// What is to be spoken, where that changes.
    pub fn spoken(&self) -> Option<&str> {
        match self {
            Self::Spoken { tts_language } | Self::Both { tts_language, .. } => Some(tts_language),
            Self::Heard { .. } => None,
        }
    }

    /// What holds once `later` has been sent as well.
    pub fn then(self, later: Self) -> Self {
        match (self, later) {
            (
                Self::Spoken { tts_language } | Self::Both { tts_language, .. },
                Self::Heard { transcription_language },
            )
            | (
                Self::Heard { transcription_language } | Self::Both { transcription_language, .. },
                Self::Spoken { tts_language },
            ) => Self::Both { tts_language, transcription_language },
            (_, later) => later,
        }
    }
}

impl FromStr for Digits {
    type Err = BadDigits;

    fn from_str(text: &str) -> Result<Self, BadDigits> {
        let tone = |byte| matches!(byte, b'0'..=b'9' | b'w' | b'#' | b'*');
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(tone);
        fits.then(|| Self(text.to_owned())).ok_or(BadDigits)
    }
}

impl Outgoing {
    /// A token of a reply that goes on.
    pub fn token(token: impl Into<String>) -> Self {
        Self::text(token.into(), false)
    }

    /// The empty frame that closes a talk cycle.
    pub fn close() -> Self {
        Self::text(String::new(), true)
    }

    /// A whole utterance in one frame.
    pub fn utterance(text: impl Into<String>) -> Self {
        Self::text(text.into(), true)
    }

    /// A whole utterance in one frame that neither the caller nor a later frame can cut off.
    pub fn statement(text: impl Into<String>) -> Self {
        Self::Text { token: text.into(), last: true, interruptible: Some(false), preemptible: Some(false) }
    }

    fn text(token: String, last: bool) -> Self {
        Self::Text { token, last, interruptible: None, preemptible: None }
    }

    /// The frame as it goes over the socket.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and booleans always serialise")
    }
}

/// The kind of frame and nothing of what it says.
impl fmt::Debug for Outgoing {
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

/// How many, and none of them.
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
        let language = Languages::Both { tts_language: "es-ES".to_owned(), transcription_language: "es-MX".to_owned() };
        let source = "https://example.com/hold.mp3".parse().unwrap();
        for (frame, json) in [
            (Outgoing::token("Hi \"you\""), r#"{"type":"text","token":"Hi \"you\"","last":false}"#),
            (
                Outgoing::statement("Yes or no?"),
                r#"{"type":"text","token":"Yes or no?","last":true,"interruptible":false,"preemptible":false}"#,
            ),
            (Outgoing::close(), r#"{"type":"text","token":"","last":true}"#),
            (
                Outgoing::Play { source, times: 2 },
                r#"{"type":"play","source":"https://example.com/hold.mp3","loop":2}"#,
            ),
            (Outgoing::SendDigits { digits: "1w#".parse().unwrap() }, r#"{"type":"sendDigits","digits":"1w#"}"#),
            (
                Outgoing::Language(language),
                r#"{"type":"language","ttsLanguage":"es-ES","transcriptionLanguage":"es-MX"}"#,
            ),
            (
                Outgoing::Language(Languages::Spoken { tts_language: "es-ES".to_owned() }),
                r#"{"type":"language","ttsLanguage":"es-ES"}"#,
            ),
            (Outgoing::End { handoff_data: None }, r#"{"type":"end"}"#),
            (
                Outgoing::End { handoff_data: Some(r#"{"a":1}"#.to_owned()) },
                r#"{"type":"end","handoffData":"{\"a\":1}"}"#,
            ),
        ] {
            assert_eq!(frame.to_json(), json);
        }
    }

    #[test]
    fn tones_that_twilio_would_refuse_cannot_be_made() {
        for bad in ["", "12a", "W", "1 2", "1".repeat(65).as_str()] {
            assert_eq!(bad.parse::<Digits>(), Err(BadDigits), "{bad}");
        }
    }
}
