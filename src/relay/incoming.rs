//! The frames that Twilio sends: setup, prompt, dtmf, interrupt, error, info.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

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
        #[serde(default)]
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
    #[serde(default)]
    pub session_id: String,
    /// The key of everything else.
    pub call_sid: CallSid,
    /// `inbound` or `outbound-api`.
    #[serde(default)]
    pub direction: String,
    /// Who called: E.164, `client:…` or a SIP URI.
    #[serde(default)]
    pub from: Private<String>,
    /// Who was called.
    #[serde(default)]
    pub to: Private<String>,
    /// The `<Parameter>`s of the TwiML.
    #[serde(default, deserialize_with = "null_is_default")]
    pub custom_parameters: BTreeMap<String, String>,
}

/// What the caller said.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// The transcript; cumulative while `last` is false.
    pub voice_prompt: Private<String>,
    /// False for a partial transcript, which the final one repeats.
    #[serde(default = "yes")]
    pub last: bool,
}

/// The caller spoke over the agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interrupt {
    /// Exactly what the caller heard of the speech that was cut.
    #[serde(default)]
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
#[error("not a ConversationRelay frame (line {}, column {})", .0.line(), .0.column())]
pub struct BadFrame(serde_json::Error);

impl Incoming {
    /// Reads one text frame.
    pub fn parse(frame: &str) -> Result<Self, BadFrame> {
        serde_json::from_str(frame).map_err(BadFrame)
    }
}

fn yes() -> bool {
    true
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn info<'de, D: Deserializer<'de>>(from: D) -> Result<Info, D::Error> {
    #[derive(Deserialize)]
    struct Frame {
        #[serde(default)]
        name: String,
        #[serde(default)]
        value: Private<String>,
    }
    let Frame { name, value } = Frame::deserialize(from)?;
    Ok(match name.as_str() {
        "agentSpeaking" => Info::AgentSpeaking(value.reveal() == "on"),
        "clientSpeaking" => Info::ClientSpeaking(value.reveal() == "on"),
        "tokensPlayed" => Info::TokensPlayed(value),
        _ => Info::Other,
    })
}
