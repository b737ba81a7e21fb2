//! The shapes of what Twilio and the server exchange on a real call: names, types, lengths and masked values. Nothing that
//! was said, no digit and no identifier is kept, so that a recording can be shared.
//!
//! `crelay-payments observe` writes a recording, one [`Observation`] a line; `simulate --replay` plays it.

mod recorder;
mod shape;
mod twiml_shape;
mod words;

use serde::{Deserialize, Serialize};

pub(crate) use recorder::ObservedSocket;
pub use recorder::{CreateRecordingError, Recorder};
pub use shape::{Member, Shape};
#[cfg(any(feature = "simulator", test))]
pub(crate) use words::is_known as is_known_word;

/// Something that crossed the border between Twilio and the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// When it happened, in milliseconds since the recording began.
    pub at_ms: u64,
    /// Who sent it.
    pub direction: Direction,
    /// What it was.
    #[serde(flatten)]
    pub event: ObservedEvent,
}

/// The direction of what was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// From Twilio to the server.
    In,
    /// From the server to Twilio.
    Out,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ObservedEvent {
    /// Twilio opened a WebSocket.
    SocketOpened {
        /// Numbers the sockets of the recording, from 1.
        socket: u64,
        /// Twilio's headers of the upgrade.
        headers: Vec<Member>,
    },
    /// A text frame that is JSON.
    Frame {
        /// The socket.
        socket: u64,
        /// The shape of the JSON.
        shape: Shape,
    },
    /// A frame that is not JSON, or not text.
    UnreadableFrame {
        /// The socket.
        socket: u64,
        /// Its length in bytes.
        length: usize,
    },
    /// The WebSocket was closed.
    SocketClosed {
        /// The socket.
        socket: u64,
        /// The code; `None` if it failed or had none.
        code: Option<u16>,
    },
    /// A webhook or a callback, whose signature was accepted.
    Webhook {
        /// The path.
        path: String,
        /// The parameters of the query.
        query: Vec<Member>,
        /// Twilio's headers.
        headers: Vec<Member>,
        /// The fields of the form.
        form: Vec<Member>,
    },
    /// The answer to a webhook.
    Answer {
        /// The path of the webhook.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The length of the body in bytes.
        length: usize,
        /// The elements of the TwiML, in document order.
        elements: Vec<Element>,
    },
    /// The recording ended.
    End {
        /// How many observations were left out: the disk was too slow, or the recording is full.
        left_out: u64,
    },
}

/// An element of a TwiML document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes.
    pub attributes: Vec<Member>,
}

/// A line of the file is not an observation.
#[derive(Debug, thiserror::Error)]
#[error("line {line} is not an observation: {error}")]
pub struct ParseRecordingError {
    /// The line, counted from 1.
    line: usize,
    #[source]
    error: serde_json::Error,
}

/// Parses a recording: one JSON object a line. Empty lines are skipped.
pub fn parse_recording(text: &str) -> Result<Vec<Observation>, ParseRecordingError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parse = |(at, line)| serde_json::from_str(line).map_err(|error| ParseRecordingError { line: at + 1, error });
    lines.map(parse).collect()
}

/// Describes the text of a frame.
pub(crate) fn observe_frame(socket: u64, text: &str) -> ObservedEvent {
    match serde_json::from_str(text) {
        Ok(json) => ObservedEvent::Frame { socket, shape: Shape::of_frame(&json) },
        Err(_) => ObservedEvent::UnreadableFrame { socket, length: text.len() },
    }
}

/// Describes a webhook: the parameters of its query, its headers, and its form.
pub(crate) fn observe_webhook(
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    form: &[(String, String)],
) -> ObservedEvent {
    let query = url::form_urlencoded::parse(query.as_bytes());
    ObservedEvent::Webhook {
        path: path.to_owned(),
        query: query.map(|(name, value)| Member::of_text(&name, &value)).collect(),
        headers: observe_headers(headers),
        form: form.iter().map(|(name, value)| Member::of_text(name, value)).collect(),
    }
}

/// Describes Twilio's headers among these.
pub(crate) fn observe_headers(headers: &[(&str, &str)]) -> Vec<Member> {
    let is_twilios = |name: &str| {
        name.starts_with("x-twilio-") || name.starts_with("i-twilio-") || matches!(name, "user-agent" | "content-type")
    };
    let own = headers.iter().filter(|(name, _)| is_twilios(name));
    own.map(|(name, value)| Member::of_text(name, value)).collect()
}

/// Describes the answer to a webhook.
pub(crate) fn observe_answer(path: &str, status: u16, body: &[u8]) -> ObservedEvent {
    let elements = std::str::from_utf8(body).map(twiml_shape::elements).unwrap_or_default();
    ObservedEvent::Answer { path: path.to_owned(), status, length: body.len(), elements }
}
