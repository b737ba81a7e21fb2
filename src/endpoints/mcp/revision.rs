//! The revisions of the protocol, and the metadata of a request that belong to them.
//!
//! Up to `2025-11-25` a client begins with `initialize`, and names the agreed revision in a header from `2025-06-18` on.
//! From `2026-07-28` on there is no handshake: each request has its revision in `_meta`, and repeats its method and the
//! name of the tool in headers.

use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json_rpc::{ErrorData, RpcError};

/// The supported revisions, the newest first.
pub(super) const REVISIONS: &[&str] = &["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// The only supported revision without a handshake.
const WITHOUT_HANDSHAKE: &str = REVISIONS[0];

/// The newest revision with a handshake.
const NEWEST_WITH_HANDSHAKE: &str = REVISIONS[1];

/// The revisions that have batches. A client of these sends no header with its revision.
const WITH_BATCHES: &[&str] = &["2025-03-26", "2024-11-05"];

/// The header with the revision of a request.
const REVISION_HEADER: &str = "mcp-protocol-version";

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revision {
    /// As in the revisions with a handshake.
    WithHandshake,
    /// As in the revisions without: results have a type and name the server.
    WithoutHandshake,
}

/// The parameters that any request may have.
#[derive(Default, Deserialize)]
struct RequestParams {
    name: Option<String>,
    #[serde(rename = "_meta")]
    meta: Option<RequestMeta>,
}

#[derive(Default, Deserialize)]
struct RequestMeta {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    revision: Option<String>,
    #[serde(rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Option<Box<RawValue>>,
}

impl Revision {
    /// Finds the revision of a request, and checks the metadata that the revision requires.
    pub(super) fn of_request(headers: &HeaderMap, method: &str, params: Option<&RawValue>) -> Result<Self, RpcError> {
        let RequestParams { name, meta } = parse_params(params)?;
        let meta = meta.unwrap_or_default();
        let header = text_header(headers, REVISION_HEADER);
        let Some(revision) = meta.revision else {
            return match header {
                Some(WITHOUT_HANDSHAKE) => Err(missing("_meta has no io.modelcontextprotocol/protocolVersion")),
                Some(other) if !REVISIONS.contains(&other) => Err(unsupported(other)),
                _ => Ok(Self::WithHandshake),
            };
        };
        if header != Some(&revision) {
            return Err(header_mismatch("MCP-Protocol-Version"));
        }
        match revision.as_str() {
            WITHOUT_HANDSHAKE => {}
            known if REVISIONS.contains(&known) => return Ok(Self::WithHandshake),
            _ => return Err(unsupported(&revision)),
        }
        if meta.capabilities.is_none_or(|json| !json.get().starts_with('{')) {
            return Err(missing("_meta has no io.modelcontextprotocol/clientCapabilities"));
        }
        if text_header(headers, "mcp-method") != Some(method) {
            return Err(header_mismatch("Mcp-Method"));
        }
        let named = text_header(headers, "mcp-name").and_then(decode_header);
        if method == "tools/call" && named != name {
            return Err(header_mismatch("Mcp-Name"));
        }
        Ok(Self::WithoutHandshake)
    }
}

/// Agrees on a revision with a client that wants `requested`: that, or else the newest with a handshake.
pub(super) fn negotiate(requested: &str) -> &'static str {
    let with_handshake = REVISIONS.iter().filter(|revision| **revision != WITHOUT_HANDSHAKE);
    with_handshake.copied().find(|revision| *revision == requested).unwrap_or(NEWEST_WITH_HANDSHAKE)
}

/// Checks that the revision in the headers has batches.
pub(super) fn allows_batches(headers: &HeaderMap) -> Result<(), RpcError> {
    match text_header(headers, REVISION_HEADER) {
        Some(revision) if !WITH_BATCHES.contains(&revision) => {
            Err(RpcError::invalid_request("this revision of the protocol has no batches: send one message"))
        }
        _ => Ok(()),
    }
}

fn parse_params(params: Option<&RawValue>) -> Result<RequestParams, RpcError> {
    let Some(params) = params.map(RawValue::get) else { return Ok(RequestParams::default()) };
    let invalid = || RpcError::invalid_params("params must be an object with valid members");
    if !params.starts_with('{') {
        return Err(invalid());
    }
    serde_json::from_str(params).map_err(|_| invalid())
}

fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Decodes a header value: text, or `=?base64?…?=`.
fn decode_header(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|value| value.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

fn missing(message: &str) -> RpcError {
    RpcError::invalid_params(message).with_status(StatusCode::BAD_REQUEST)
}

fn header_mismatch(name: &str) -> RpcError {
    let message = format!("the header {name} is missing or differs from the body");
    RpcError::new(-32020, message).with_status(StatusCode::BAD_REQUEST)
}

fn unsupported(requested: &str) -> RpcError {
    let requested = requested.chars().take(64).collect();
    RpcError {
        data: Some(ErrorData { supported: REVISIONS, requested }),
        ..RpcError::new(-32022, "unsupported protocol version").with_status(StatusCode::BAD_REQUEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The revision of a `tools/call` of `end-call` with these headers and members of `_meta`.
    fn revision(headers: &[(&'static str, &str)], meta: &str) -> Result<Revision, i32> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let params = RawValue::from_string(format!(r#"{{"name":"end-call","_meta":{{{meta}}}}}"#)).unwrap();
        Revision::of_request(&headers, "tools/call", Some(&params)).map_err(|error| error.code)
    }

    const META: &str =
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
    const HEADERS: [(&str, &str); 3] =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "end-call")];

    #[test]
    fn a_request_without_metadata_belongs_to_a_revision_with_a_handshake() {
        assert_eq!(revision(&[], ""), Ok(Revision::WithHandshake));
        assert_eq!(revision(&[], r#""progressToken":1"#), Ok(Revision::WithHandshake));
        for known in &REVISIONS[1..] {
            assert_eq!(revision(&[("mcp-protocol-version", known)], ""), Ok(Revision::WithHandshake), "{known}");
        }
        assert_eq!(revision(&[("mcp-protocol-version", "1900-01-01")], ""), Err(-32022));
        assert_eq!(revision(&HEADERS, ""), Err(-32602));
    }

    #[test]
    fn a_request_with_metadata_repeats_them_in_its_headers() {
        assert_eq!(revision(&HEADERS, META), Ok(Revision::WithoutHandshake));
        let encoded = [HEADERS[0], HEADERS[1], ("mcp-name", "=?base64?ZW5kLWNhbGw=?=")];
        assert_eq!(revision(&encoded, META), Ok(Revision::WithoutHandshake));
        for at in 0..HEADERS.len() {
            let mut missing = HEADERS.to_vec();
            missing.remove(at);
            assert_eq!(revision(&missing, META), Err(-32020));
            let mut wrong = HEADERS;
            wrong[at].1 = "other";
            assert_eq!(revision(&wrong, META), Err(-32020));
        }
        let without_capabilities = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
        assert_eq!(revision(&HEADERS, without_capabilities), Err(-32602));
        let unknown = META.replace("2026-07-28", "2099-01-01");
        assert_eq!(revision(&[("mcp-protocol-version", "2099-01-01")], &unknown), Err(-32022));
    }

    #[test]
    fn the_handshake_agrees_on_a_revision_that_has_one() {
        for known in &REVISIONS[1..] {
            assert_eq!(negotiate(known), *known);
        }
        for other in ["2026-07-28", "1.0.0", ""] {
            assert_eq!(negotiate(other), "2025-11-25", "{other}");
        }
    }

    #[test]
    fn only_the_first_revisions_have_batches() {
        let with = |value: &str| std::iter::once((REVISION_HEADER.parse().unwrap(), value.parse().unwrap())).collect();
        assert!(allows_batches(&HeaderMap::new()).is_ok() && allows_batches(&with("2025-03-26")).is_ok());
        assert!(allows_batches(&with("2025-06-18")).is_err());
    }
}
