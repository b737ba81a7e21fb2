//! The frames that Twilio sends: setup, prompt, dtmf, interrupt, error, info.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::ids::CallSid;
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, bound_party, bound_text};

/// One frame from ConversationRelay. Unknown members and unknown types are ignored, since Twilio adds both.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum IncomingFrame {
    /// The first frame of a socket, exactly once.
    Setup(Setup),
    /// The caller said something.
    Prompt(Prompt),
    /// The caller pressed a key.
    Dtmf {
        /// One of `0-9 * #`.
        digit: Private<String>,
    },
    /// The caller spoke over the agent; Twilio dropped all queued speech.
    Interrupt(Interrupt),
    /// Twilio rejected a frame from this server or could not synthesize speech. The `description` is not read, since it
    /// repeats the rejected frame.
    Error,
    /// An event that the `events` attribute of the TwiML subscribes to.
    #[serde(deserialize_with = "info")]
    Info(Info),
    /// A frame of an unknown type.
    #[serde(other)]
    Other,
}

/// The `setup` frame: the call that the socket belongs to.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Setup {
    /// The SID of the call.
    pub call_sid: CallSid,
    /// The account of the call, bounded. Twilio always names it.
    #[serde(default, deserialize_with = "word_or_none")]
    pub account_sid: Option<String>,
    /// `inbound` or `outbound-api`.
    #[serde(default, deserialize_with = "word")]
    pub direction: String,
    /// The calling party: E.164, `client:…` or a SIP URI; bounded, without a card number.
    #[serde(default, deserialize_with = "party")]
    pub from: Private<String>,
    /// The called party, likewise.
    #[serde(default, deserialize_with = "party")]
    pub to: Private<String>,
    /// The `<Parameter>`s of the TwiML.
    #[serde(default, deserialize_with = "texts")]
    pub custom_parameters: Private<BTreeMap<String, String>>,
}

/// The `<Parameter>` that marks the TwiML of a reconnect after a failed session. Operators choose parameter names
/// freely, so this name is one that they are unlikely to use.
pub(crate) const RECONNECT: &str = "crelayReconnect";

impl Setup {
    /// Returns the phone number of the person on the line, if it is known and not withheld.
    pub fn caller(&self) -> Option<PhoneNumber> {
        let number = if self.is_outbound() { &self.to } else { &self.from };
        number.reveal().parse().ok().filter(|number: &PhoneNumber| !number.is_withheld())
    }

    /// Returns whether this server placed the call.
    pub fn is_outbound(&self) -> bool {
        self.direction.starts_with("outbound")
    }

    /// Removes a custom parameter and returns its value.
    pub fn take_parameter(&mut self, name: &str) -> Option<String> {
        let mut parameters = std::mem::take(&mut self.custom_parameters).into_inner();
        let value = parameters.remove(name);
        self.custom_parameters = Private::new(parameters);
        value
    }

    /// Returns whether this is a new session of a call whose earlier session failed.
    pub fn is_reconnect(&self) -> bool {
        self.custom_parameters.reveal().contains_key(RECONNECT)
    }

    /// Marks the session as one that goes on with a call whose earlier session broke.
    pub(crate) fn mark_as_reconnect(&mut self) {
        let mut parameters = std::mem::take(&mut self.custom_parameters).into_inner();
        parameters.insert(RECONNECT.to_owned(), String::new());
        self.custom_parameters = Private::new(parameters);
    }
}

/// The `prompt` frame: a transcript of the caller's speech.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Prompt {
    /// The transcript. While `last` is false it is cumulative.
    pub voice_prompt: Private<String>,
    /// The language in which the caller spoke. With `transcriptionLanguage="multi"` it is detected, a primary tag such as
    /// `fr`.
    #[serde(default, deserialize_with = "word_or_none")]
    pub lang: Option<String>,
    /// False for a partial transcript, which the final one repeats.
    #[serde(default = "yes", deserialize_with = "null_is_yes")]
    pub last: bool,
}

/// The `interrupt` frame: the caller spoke over the agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Interrupt {
    /// The part of the interrupted speech that the caller heard.
    #[serde(default, deserialize_with = "null_is_default")]
    pub utterance_until_interrupt: Private<String>,
}

/// The `info` frame. Its forms are taken from recorded sessions; Twilio does not document them.
#[derive(Debug, Clone)]
pub(crate) enum Info {
    /// The agent's speech began or ended.
    AgentSpeaking(bool),
    /// The caller's speech began or ended.
    ClientSpeaking(bool),
    /// A clause of the agent's speech was played.
    TokensPlayed(Private<String>),
    /// Another event.
    Other,
}

/// The text is not a valid ConversationRelay frame.
#[derive(Debug, thiserror::Error)]
#[error("not a ConversationRelay frame (line {}, column {})", error.line(), error.column())]
pub(crate) struct ParseFrameError {
    error: serde_json::Error,
    has_type: bool,
}

impl ParseFrameError {
    /// Returns whether the text is a JSON object with a `type`. If so the frame is one whose members this server does
    /// not know, not a malformed one.
    pub(crate) fn has_type(&self) -> bool {
        self.has_type
    }
}

impl IncomingFrame {
    /// Parses one text frame.
    pub(crate) fn parse(frame: &str) -> Result<Self, ParseFrameError> {
        #[derive(Deserialize)]
        struct TypedFrame {
            #[serde(rename = "type")]
            _type: String,
        }
        let has_type = |_: &serde_json::Error| serde_json::from_str::<TypedFrame>(frame).is_ok();
        serde_json::from_str(frame).map_err(|error| ParseFrameError { has_type: has_type(&error), error })
    }
}

fn yes() -> bool {
    true
}

fn null_is_yes<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(true))
}

/// Deserializes the members of an object as strings, whatever their types.
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

/// The longest word of a frame that is kept, in characters.
const MAX_WORD_CHARS: usize = 64;

fn word<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(bound_text(&Option::<String>::deserialize(from)?.unwrap_or_default(), MAX_WORD_CHARS))
}

fn party<'de, D: Deserializer<'de>>(from: D) -> Result<Private<String>, D::Error> {
    Ok(Private::new(bound_party(&Option::<String>::deserialize(from)?.unwrap_or_default())))
}

/// Deserializes a word; anything else counts as absent, so that it never costs the whole frame.
fn word_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => Some(bound_text(&text, MAX_WORD_CHARS)),
        _ => None,
    })
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
        let Ok(IncomingFrame::Setup(setup)) = IncomingFrame::parse(setup) else { panic!() };
        assert_eq!((setup.call_sid.as_str(), setup.custom_parameters.reveal()["callReference"].as_str()), ("CA1", "7"));

        assert!(!setup.is_reconnect());
        assert_eq!(setup.caller(), "+15550100001".parse().ok());
        for withheld in ["+266696687", "anonymous", ""] {
            let from = Private::new(withheld.to_owned());
            assert_eq!(Setup { from, ..setup.clone() }.caller(), None, "{withheld}");
        }

        let ordered = r#"{"type":"setup","callSid":"CA1","customParameters":{"reconnect":"on Monday"}}"#;
        assert!(matches!(IncomingFrame::parse(ordered), Ok(IncomingFrame::Setup(setup)) if !setup.is_reconnect()));

        let partial = r#"{"type":"prompt","voicePrompt":"Hold","lang":"en","last":false}"#;
        assert!(matches!(IncomingFrame::parse(partial), Ok(IncomingFrame::Prompt(prompt)) if !prompt.last));

        let on = r#"{"type":"info","name":"agentSpeaking","value":"on"}"#;
        assert!(matches!(IncomingFrame::parse(on), Ok(IncomingFrame::Info(Info::AgentSpeaking(true)))));
        let played = r#"{"type":"info","name":"tokensPlayed","value":" Holding."}"#;
        assert!(
            matches!(IncomingFrame::parse(played), Ok(IncomingFrame::Info(Info::TokensPlayed(words))) if words.reveal() == " Holding.")
        );
        let unknown = r#"{"type":"info","name":"roundTripDelayMs","value":"148"}"#;
        assert!(matches!(IncomingFrame::parse(unknown), Ok(IncomingFrame::Info(Info::Other))));
    }

    #[test]
    fn missing_null_and_unknown_members_are_accepted() {
        for setup in [
            r#"{"type":"setup","callSid":"CA1","customParameters":null}"#,
            r#"{"type":"setup","callSid":"CA1","new":[1]}"#,
        ] {
            assert!(matches!(IncomingFrame::parse(setup), Ok(IncomingFrame::Setup(_))), "{setup}");
        }
        for (lang, expected) in [(r#""fr""#, Some("fr")), ("null", None), ("7", None), (r#"{"tag":"fr"}"#, None)] {
            let prompt = format!(r#"{{"type":"prompt","voicePrompt":"Hello","lang":{lang}}}"#);
            let Ok(IncomingFrame::Prompt(prompt)) = IncomingFrame::parse(&prompt) else { panic!("{lang}") };
            assert_eq!(prompt.lang.as_deref(), expected);
        }
        let prompt = r#"{"type":"prompt","voicePrompt":"Hello"}"#;
        assert!(matches!(IncomingFrame::parse(prompt), Ok(IncomingFrame::Prompt(prompt)) if prompt.last));
        for duration in ["460", r#""460""#, "null"] {
            let interrupt = format!(
                r#"{{"type":"interrupt","utteranceUntilInterrupt":"Hi","durationUntilInterruptMs":{duration}}}"#
            );
            assert!(matches!(IncomingFrame::parse(&interrupt), Ok(IncomingFrame::Interrupt(_))));
        }
        for frame in [
            r#"{"type":"interrupt","utteranceUntilInterrupt":null}"#,
            r#"{"type":"error","description":null}"#,
            r#"{"type":"prompt","voicePrompt":"Hi","last":null}"#,
            r#"{"type":"info","name":"roundTripDelayMs","value":148}"#,
            r#"{"type":"info"}"#,
        ] {
            assert!(IncomingFrame::parse(frame).is_ok(), "{frame}");
        }
        assert!(IncomingFrame::parse(r#"{"type":"dtmf"}"#).unwrap_err().has_type());
        assert!(!IncomingFrame::parse(r#"{"digit":"1"}"#).unwrap_err().has_type());
        let updated = r#"{"type":"configUpdated","anything":{"at":"all"}}"#;
        assert!(matches!(IncomingFrame::parse(updated), Ok(IncomingFrame::Other)));
    }

    #[test]
    fn the_parties_are_bounded_and_no_card_number() {
        let frame = |from: &str, direction: &str| {
            let frame = serde_json::json!({"type": "setup", "callSid": "CA1", "from": from, "direction": direction});
            let Ok(IncomingFrame::Setup(setup)) = IncomingFrame::parse(&frame.to_string()) else { panic!() };
            setup
        };
        for card in ["+378282246310005", "4242424242424242"] {
            let setup = frame(card, "inbound");
            assert!(setup.caller().is_none() && !setup.from.reveal().contains("24"), "{card}");
        }
        let long = frame(&"a".repeat(9_000), &"b".repeat(9_000));
        assert_eq!((long.from.reveal().len(), long.direction.len()), (256, MAX_WORD_CHARS));
    }

    #[test]
    fn an_invalid_frame_is_rejected_and_its_text_is_not_in_the_error() {
        for bad in ["", "4111 1111", "[]", "{}", r#"{"type":"setup"}"#, r#"{"type":"prompt","voicePrompt":4111}"#] {
            assert!(!IncomingFrame::parse(bad).unwrap_err().to_string().contains("4111"), "{bad}");
        }
    }

    #[test]
    fn debug_output_shows_nothing_that_the_caller_says_or_keys() {
        for frame in [
            r#"{"type":"prompt","voicePrompt":"secret"}"#,
            r#"{"type":"dtmf","digit":"secret"}"#,
            r#"{"type":"interrupt","utteranceUntilInterrupt":"secret"}"#,
            r#"{"type":"error","description":"secret"}"#,
            r#"{"type":"setup","callSid":"CA1","from":"secret","to":"secret","customParameters":{"a":"secret"}}"#,
        ] {
            assert!(!format!("{:?}", IncomingFrame::parse(frame).unwrap()).contains("secret"), "{frame}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(frame in "\\PC{0,200}") {
            let _ = IncomingFrame::parse(&frame);
        }
    }
}
