//! Parses the messages that ConversationRelay accepts from the application, according to its documentation: one JSON
//! object per frame, with the documented members and JSON types only.

use serde_json::{Map, Value};

/// A documented message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ApplicationFrame {
    /// Text to speak.
    Text {
        /// The token.
        token: String,
        /// Whether it ends the talk cycle.
        last: bool,
        /// Whether it can be interrupted; overrides the TwiML.
        interruptible: Option<bool>,
    },
    /// Audio to play.
    Play,
    /// DTMF digits to send.
    SendDigits,
    /// A change of language.
    Language {
        /// The new language of speech, if it changes.
        spoken: Option<String>,
    },
    /// The end of the session.
    End {
        /// `handoffData`, which is passed to the action.
        handoff: Option<String>,
    },
}

impl ApplicationFrame {
    /// Parses a frame. An error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|_| "a frame is not JSON".to_owned())?;
        let Value::Object(members) = value else { return Err("a frame is not a JSON object".to_owned()) };
        let Some(kind) = members.get("type").and_then(Value::as_str) else {
            return Err("a frame has no type".to_owned());
        };
        let frame = FrameMembers { kind, members: &members };
        match kind {
            "text" => {
                frame.check_members(&["token", "last", "lang", "interruptible", "preemptible"])?;
                frame.string("lang")?;
                frame.bool("preemptible")?;
                Ok(Self::Text {
                    token: frame.required("token")?.to_owned(),
                    last: frame.bool("last")?.unwrap_or(false),
                    interruptible: frame.bool("interruptible")?,
                })
            }
            "play" => {
                frame.check_members(&["source", "loop", "interruptible", "preemptible"])?;
                frame.bool("interruptible")?;
                frame.bool("preemptible")?;
                url::Url::parse(frame.required("source")?).map_err(|_| "play: source is not a URL".to_owned())?;
                match members.get("loop") {
                    Some(value) if !value.is_u64() => Err("play: loop is not a whole number".to_owned()),
                    _ => Ok(Self::Play),
                }
            }
            "sendDigits" => {
                frame.check_members(&["digits"])?;
                let digits = frame.required("digits")?;
                let keys = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || "w#*".contains(c));
                if keys { Ok(Self::SendDigits) } else { Err("sendDigits: digits are 0-9 w # *".to_owned()) }
            }
            "language" => {
                frame.check_members(&["ttsLanguage", "transcriptionLanguage"])?;
                match (frame.string("ttsLanguage")?, frame.string("transcriptionLanguage")?) {
                    (None, None) => Err("language: ttsLanguage and transcriptionLanguage are missing".to_owned()),
                    (spoken, _) => Ok(Self::Language { spoken: spoken.map(str::to_owned) }),
                }
            }
            "end" => {
                frame.check_members(&["handoffData"])?;
                Ok(Self::End { handoff: frame.string("handoffData")?.map(str::to_owned) })
            }
            other => Err(format!("{other:?} is not a type of frame")),
        }
    }
}

struct FrameMembers<'a> {
    kind: &'a str,
    members: &'a Map<String, Value>,
}

impl<'a> FrameMembers<'a> {
    fn check_members(&self, known: &[&str]) -> Result<(), String> {
        match self.members.keys().find(|name| *name != "type" && !known.contains(&name.as_str())) {
            Some(name) => Err(format!("{}: unknown member {name}", self.kind)),
            None => Ok(()),
        }
    }

    fn string(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{}: {name} is not a string", self.kind)),
        }
    }

    fn required(&self, name: &str) -> Result<&'a str, String> {
        self.string(name)?.ok_or_else(|| format!("{}: {name} is missing", self.kind))
    }

    fn bool(&self, name: &str) -> Result<Option<bool>, String> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(format!("{}: {name} is not a boolean", self.kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_frames_are_taken() {
        for frame in [
            r#"{"type":"text","token":"Hi"}"#,
            r#"{"type":"text","token":"","last":true,"lang":"en-US","interruptible":false,"preemptible":true}"#,
            r#"{"type":"play","source":"https://example.com/a.mp3","loop":2}"#,
            r#"{"type":"sendDigits","digits":"12w#*"}"#,
            r#"{"type":"language","ttsLanguage":"es-ES"}"#,
            r#"{"type":"end"}"#,
            r#"{"type":"end","handoffData":"{\"a\":1}"}"#,
        ] {
            assert!(ApplicationFrame::parse(frame).is_ok(), "{frame}");
        }
    }

    #[test]
    fn anything_else_is_a_bad_frame() {
        for frame in [
            "",
            "[]",
            "{}",
            r#"{"type":"texts","token":"Hi"}"#,
            r#"{"type":"text"}"#,
            r#"{"type":"text","token":null}"#,
            r#"{"type":"text","token":"Hi","last":"true"}"#,
            r#"{"type":"text","token":"Hi","final":true}"#,
            r#"{"type":"text","token":"Hi","interruptible":"any"}"#,
            r#"{"type":"play","source":"a.mp3"}"#,
            r#"{"type":"sendDigits","digits":"W"}"#,
            r#"{"type":"language"}"#,
            r#"{"type":"end","handoffData":{"a":1}}"#,
            r#"{"type":"setSilenceDetection","enabled":false}"#,
        ] {
            assert!(ApplicationFrame::parse(frame).is_err(), "{frame}");
        }
    }
}
