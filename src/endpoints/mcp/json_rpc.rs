//! The messages of JSON-RPC 2.0.

use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::MAX_BATCH;

/// The longest id of a request, in bytes of JSON.
const MAX_ID_BYTES: usize = 256;

/// A request body.
pub(super) enum Incoming {
    /// A single message.
    One(RpcMessage),
    /// An array of messages; invalid ones are answered for themselves.
    Batch(Vec<Result<RpcMessage, RpcError>>),
}

/// A message of the client.
pub(super) enum RpcMessage {
    /// A request, which has an answer.
    Request {
        /// Its id, which the answer repeats.
        id: RequestId,
        /// The method.
        method: String,
        /// The parameters, as JSON.
        params: Option<Box<RawValue>>,
    },
    /// A notification, or a response to a request that the server never sends. It has no answer.
    Unanswered,
}

/// The id of a request: a JSON string or integer.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct RequestId(Box<RawValue>);

/// An error, and the HTTP status of a response that consists of it.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct RpcError {
    #[serde(skip)]
    pub(super) status: StatusCode,
    pub(super) code: i32,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<ErrorData>,
}

/// The versions of an error about the revision of the protocol.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct ErrorData {
    pub(super) supported: &'static [&'static str],
    pub(super) requested: String,
}

/// The answer to a message.
#[derive(Serialize)]
pub(super) struct Reply {
    jsonrpc: &'static str,
    /// Null if the id of the request cannot be read.
    id: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
}

impl RpcError {
    /// The request is understood and cannot be answered: the response has status 200.
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, code, message: message.into(), data: None }
    }

    /// `-32700`: the body is no JSON.
    fn no_json() -> Self {
        Self::new(-32700, "the body is not valid JSON").with_status(StatusCode::BAD_REQUEST)
    }

    /// `-32600`: the body is no message.
    pub(super) fn invalid_request(message: &str) -> Self {
        Self::new(-32600, message).with_status(StatusCode::BAD_REQUEST)
    }

    /// `-32602`: the parameters of the method are invalid.
    pub(super) fn invalid_params(message: &str) -> Self {
        Self::new(-32602, message)
    }

    /// `-32603`: the server cannot answer.
    pub(super) fn internal(message: &str) -> Self {
        Self::new(-32603, message)
    }

    /// The same error with another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

impl Reply {
    /// A successful answer.
    pub(super) fn result(id: RequestId, result: Box<RawValue>) -> Self {
        Self { jsonrpc: "2.0", id: Some(id), result: Some(result), error: None }
    }

    /// An answer that is an error.
    pub(super) fn error(id: Option<RequestId>, error: RpcError) -> Self {
        Self { jsonrpc: "2.0", id, result: None, error: Some(error) }
    }

    /// The HTTP status of a response that consists of this answer.
    pub(super) fn status(&self) -> StatusCode {
        self.error.as_ref().map_or(StatusCode::OK, |error| error.status)
    }
}

impl Incoming {
    /// Parses a request body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, RpcError> {
        let json: &RawValue = serde_json::from_slice(body).map_err(|_| RpcError::no_json())?;
        if !json.get().starts_with('[') {
            return RpcMessage::parse(json).map(Self::One);
        }
        let messages: Vec<&RawValue> = serde_json::from_str(json.get()).map_err(|_| RpcError::no_json())?;
        if !(1..=MAX_BATCH).contains(&messages.len()) {
            return Err(RpcError::invalid_request("a batch has 1 to 16 messages"));
        }
        Ok(Self::Batch(messages.into_iter().map(RpcMessage::parse).collect()))
    }
}

/// The members of any message.
#[derive(Deserialize)]
struct MessageMembers {
    jsonrpc: String,
    #[serde(default, deserialize_with = "present")]
    id: Option<Box<RawValue>>,
    method: Option<String>,
    params: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
    error: Option<Box<RawValue>>,
}

/// Keeps a null, which an `Option` would take for a missing member.
fn present<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(json).map(Some)
}

impl RpcMessage {
    fn parse(json: &RawValue) -> Result<Self, RpcError> {
        let invalid = || RpcError::invalid_request("the body is not a JSON-RPC 2.0 message");
        // Serde would take an array for the members of a struct, in their order.
        if !json.get().starts_with('{') {
            return Err(invalid());
        }
        let message: MessageMembers = serde_json::from_str(json.get()).map_err(|_| invalid())?;
        if message.jsonrpc != "2.0" {
            return Err(invalid());
        }
        match (message.method, message.id) {
            (Some(method), Some(id)) => {
                Ok(Self::Request { id: RequestId::new(id).ok_or_else(invalid)?, method, params: message.params })
            }
            (Some(_), None) => Ok(Self::Unanswered),
            (None, Some(_)) if message.result.is_some() || message.error.is_some() => Ok(Self::Unanswered),
            (None, _) => Err(invalid()),
        }
    }
}

impl RequestId {
    fn new(json: Box<RawValue>) -> Option<Self> {
        let text = json.get();
        let is_integer = text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
        ((is_integer || text.starts_with('"')) && text.len() <= MAX_ID_BYTES).then_some(Self(json))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse_one(body: &str) -> Result<RpcMessage, i32> {
        match Incoming::parse(body.as_bytes()) {
            Ok(Incoming::One(message)) => Ok(message),
            Ok(Incoming::Batch(_)) => panic!("a batch"),
            Err(error) => Err(error.code),
        }
    }

    #[test]
    fn a_message_with_a_method_and_an_id_is_a_request() {
        for id in ["1", "-7", "\"a\"", "18446744073709551615"] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping","params":{{"a":1}}}}"#);
            let Ok(RpcMessage::Request { id: read, method, params }) = parse_one(&body) else { panic!("{body}") };
            assert_eq!((read.0.get(), method.as_str(), params.unwrap().get()), (id, "ping", r#"{"a":1}"#));
        }
    }

    #[test]
    fn notifications_and_responses_have_no_answer() {
        for body in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{}}"#,
        ] {
            assert!(matches!(parse_one(body), Ok(RpcMessage::Unanswered)), "{body}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (body, code) in [
            ("", -32700),
            ("{", -32700),
            ("\u{feff}{}", -32700),
            ("1", -32600),
            (r#"{"id":1,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":[],"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":2}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        ] {
            assert_eq!(parse_one(body).map(|_| ()), Err(code), "{body}");
        }
        let long_id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(MAX_ID_BYTES));
        assert_eq!(parse_one(&long_id).map(|_| ()), Err(-32600));
    }

    #[test]
    fn a_batch_is_parsed_message_by_message() {
        let batch = br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}, 7]"#;
        let Ok(Incoming::Batch(messages)) = Incoming::parse(batch) else { panic!("a batch") };
        assert!(matches!(messages[..], [Ok(RpcMessage::Request { .. }), Err(_)]));
        assert!(Incoming::parse(b"[]").is_err());
        let too_many = format!("[{}]", vec!["1"; MAX_BATCH + 1].join(","));
        assert!(Incoming::parse(too_many.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..64), json in "[\\[\\]{}:,\"0-9a-z]{0,40}") {
            let _ = Incoming::parse(&body);
            let _ = Incoming::parse(json.as_bytes());
        }
    }
}
