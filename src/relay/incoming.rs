//! The frames that Twilio sends: setup, prompt, dtmf, interrupt, error, info.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::sid::CallSid;

/// One frame from ConversationRelay. Members that are not known are ignored, and so are types: Twilio adds both.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Incoming {
    /// The first frame of a socket, exactly once.
    Setup(Setup),
    /// The caller said something.
    Prompt(Prompt),
    /// The caller pressed a key.
    Dtmf {
        /// One of `0-9 * #`.
        digit: Private<String>,
    },
    /// The caller spoke over the agent; all that was queued is gone.
    Interrupt(Interrupt),
    /// A frame of ours was refused, or speech could not be made.
    Error {
        /// Twilio's text, which repeats the frame it complains of: private.
        #[serde(default, deserialize_with = "null_is_default")]
        description: Private<String>,
    },
    /// What `events` in the TwiML asks for.
    #[serde(deserialize_with = "info")]
    Info(Info),
    /// A type that is not known here.
    #[serde(other)]
    Other,
}

/// Whose call this is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Setup {
    /// New on every socket; says nothing about the call.
    #[serde(default, deserialize_with = "null_is_default")]
    pub session_id: String,
    /// The key of everything else.
    pub call_sid: CallSid,
    /// `inbound` or `outbound-api`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub direction: String,
    /// Who called: E.164, `client:…` or a SIP URI.
    #[serde(default, deserialize_with = "null_is_default")]
    pub from: Private<String>,
    /// Who was called.
    #[serde(default, deserialize_with = "null_is_default")]
    pub to: Private<String>,
    /// The `<Parameter>`s of the TwiML.
    #[serde(default, deserialize_with = "texts")]
    pub custom_parameters: Private<BTreeMap<String, String>>,
}

/// The `<Parameter>` that the TwiML carries when it takes up a call whose session has failed. Operators name parameters as
/// they like, so it is none that they would choose.
pub const RECONNECT: &str = "crelayReconnect";

impl Setup {
    /// The number of the person on the line, where it is known and can be called.
    pub fn caller(&self) -> Option<PhoneNumber> {
        let number = if self.is_outbound() { &self.to } else { &self.from };
        number.reveal().parse().ok().filter(|number: &PhoneNumber| !number.is_withheld())
    }

    /// Whether we called.
    pub fn is_outbound(&self) -> bool {
        self.direction.starts_with("outbound")
    }

    /// Whether this is a new session of a call that was going on.
    pub fn is_reconnect(&self) -> bool {
        self.custom_parameters.reveal().contains_key(RECONNECT)
    }
}

/// What the caller said.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// The transcript; cumulative while `last` is false.
    pub voice_prompt: Private<String>,
    /// False for a partial transcript, which the final one repeats.
    #[serde(default = "yes", deserialize_with = "null_is_yes")]
    pub last: bool,
}

/// The caller spoke over the agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interrupt {
    /// Exactly what the caller heard of the speech that was cut.
    #[serde(default, deserialize_with = "null_is_default")]
    pub utterance_until_interrupt: Private<String>,
}

/// An `info` frame: shapes that are recorded, not documented.
#[derive(Debug, Clone)]
pub enum Info {
    /// The agent's speech began or ended.
    AgentSpeaking(bool),
    /// The caller's speech began or ended.
    ClientSpeaking(bool),
    /// A clause of the agent's speech was played.
    TokensPlayed(Private<String>),
    /// Something else.
    Other,
}

/// A frame that is not one of ConversationRelay's.
#[derive(Debug, thiserror::Error)]
#[error("not a ConversationRelay frame (line {}, column {})", error.line(), error.column())]
pub struct BadFrame {
    error: serde_json::Error,
    known_form: bool,
}

impl BadFrame {
    /// Whether it is an object with a type, as all frames are: a member is new, not the frame broken.
    pub fn is_of_a_known_form(&self) -> bool {
        self.known_form
    }
}

impl Incoming {
    /// Reads one text frame.
    pub fn parse(frame: &str) -> Result<Self, BadFrame> {
        #[derive(Deserialize)]
        struct Form {
            #[serde(rename = "type")]
            _type: String,
        }
        let known_form = |_: &serde_json::Error| serde_json::from_str::<Form>(frame).is_ok();
        serde_json::from_str(frame).map_err(|error| BadFrame { known_form: known_form(&error), error })
    }
}

fn yes() -> bool {
    true
}

fn null_is_yes<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(true))
}

/// Members as texts, whatever scalars they are.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Private<BTreeMap<String, String>>, D::Error> {
    let members = Option::<BTreeMap<String, Value>>::deserialize(from)?.unwrap_or_default();
    let text = |value| match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    Ok(Private::new(members.into_iter().map(|(name, value)| (name, text(value))).collect()))
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn info<'de, D: Deserializer<'de>>(from: D) -> Result<Info, D::Error> {
    #[derive(Deserialize)]
    struct Frame {
        #[serde(default)]
        name: Value,
        #[serde(default)]
        value: Value,
    }
    let Frame { name, value } = Frame::deserialize(from)?;
    let (Value::String(name), Value::String(value)) = (name, value) else { return Ok(Info::Other) };
    let value = Private::new(value);
    Ok(match name.as_str() {
        "agentSpeaking" => Info::AgentSpeaking(value.reveal() == "on"),
        "clientSpeaking" => Info::ClientSpeaking(value.reveal() == "on"),
        "tokensPlayed" => Info::TokensPlayed(value),
        _ => Info::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_recorded_frames_are_read() {
        let setup = r#"{"type":"setup","sessionId":"VX1","callSid":"CA1","parentCallSid":"","from":"+15550100001","to":"+15550100001","forwardedFrom":null,"callerName":"","direction":"inbound","callType":"PSTN","callStatus":"RINGING","accountSid":"AC0","customParameters":{"callReference":"7"}}"#;
        let Ok(Incoming::Setup(setup)) = Incoming::parse(setup) else { panic!() };
        assert_eq!((setup.call_sid.as_str(), setup.custom_parameters.reveal()["callReference"].as_str()), ("CA1", "7"));

        assert!(!setup.is_reconnect());
        assert_eq!(setup.caller(), "+15550100001".parse().ok());
        for withheld in ["+266696687", "anonymous", ""] {
            let from = Private::new(withheld.to_owned());
            assert_eq!(Setup { from, ..setup.clone() }.caller(), None, "{withheld}");
        }

        let ordered = r#"{"type":"setup","callSid":"CA1","customParameters":{"reconnect":"on Monday"}}"#;
        assert!(matches!(Incoming::parse(ordered), Ok(Incoming::Setup(setup)) if !setup.is_reconnect()));

        let partial = r#"{"type":"prompt","voicePrompt":"Hold","lang":"en","last":false}"#;
        assert!(matches!(Incoming::parse(partial), Ok(Incoming::Prompt(prompt)) if !prompt.last));

        let on = r#"{"type":"info","name":"agentSpeaking","value":"on"}"#;
        assert!(matches!(Incoming::parse(on), Ok(Incoming::Info(Info::AgentSpeaking(true)))));
        let played = r#"{"type":"info","name":"tokensPlayed","value":" Holding."}"#;
        assert!(
            matches!(Incoming::parse(played), Ok(Incoming::Info(Info::TokensPlayed(words))) if words.reveal() == " Holding.")
        );
        let unknown = r#"{"type":"info","name":"roundTripDelayMs","value":"148"}"#;
        assert!(matches!(Incoming::parse(unknown), Ok(Incoming::Info(Info::Other))));
    }

    #[test]
    fn what_other_versions_leave_out_or_write_otherwise_is_read_too() {
        for setup in [
            r#"{"type":"setup","callSid":"v3:x","customParameters":null}"#,
            r#"{"type":"setup","callSid":"CA1","new":[1]}"#,
        ] {
            assert!(matches!(Incoming::parse(setup), Ok(Incoming::Setup(_))), "{setup}");
        }
        let prompt = r#"{"type":"prompt","voicePrompt":"Hello"}"#;
        assert!(matches!(Incoming::parse(prompt), Ok(Incoming::Prompt(prompt)) if prompt.last));
        for duration in ["460", r#""460""#, "null"] {
            let interrupt = format!(
                r#"{{"type":"interrupt","utteranceUntilInterrupt":"Hi","durationUntilInterruptMs":{duration}}}"#
            );
            assert!(matches!(Incoming::parse(&interrupt), Ok(Incoming::Interrupt(_))));
        }
        for frame in [
            r#"{"type":"interrupt","utteranceUntilInterrupt":null}"#,
            r#"{"type":"error","description":null}"#,
            r#"{"type":"prompt","voicePrompt":"Hi","last":null}"#,
            r#"{"type":"info","name":"roundTripDelayMs","value":148}"#,
            r#"{"type":"info"}"#,
        ] {
            assert!(Incoming::parse(frame).is_ok(), "{frame}");
        }
        assert!(Incoming::parse(r#"{"type":"dtmf"}"#).unwrap_err().is_of_a_known_form());
        assert!(!Incoming::parse(r#"{"digit":"1"}"#).unwrap_err().is_of_a_known_form());
        let updated = r#"{"type":"configUpdated","anything":{"at":"all"}}"#;
        assert!(matches!(Incoming::parse(updated), Ok(Incoming::Other)));
    }

    #[test]
    fn what_is_no_frame_is_refused_and_not_repeated() {
        for bad in ["", "4111 1111", "[]", "{}", r#"{"type":"setup"}"#, r#"{"type":"prompt","voicePrompt":4111}"#] {
            assert!(!Incoming::parse(bad).unwrap_err().to_string().contains("4111"), "{bad}");
        }
    }

    #[test]
    fn nothing_that_the_caller_says_or_keys_is_shown() {
        for frame in [
            r#"{"type":"prompt","voicePrompt":"secret"}"#,
            r#"{"type":"dtmf","digit":"secret"}"#,
            r#"{"type":"interrupt","utteranceUntilInterrupt":"secret"}"#,
            r#"{"type":"error","description":"secret"}"#,
            r#"{"type":"setup","callSid":"CA1","from":"secret","to":"secret","customParameters":{"a":"secret"}}"#,
        ] {
            assert!(!format!("{:?}", Incoming::parse(frame).unwrap()).contains("secret"), "{frame}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(frame in "\\PC{0,200}") {
            let _ = Incoming::parse(&frame);
        }
    }
}
