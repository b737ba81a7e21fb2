//! The error of a model server, in every form in which servers report one.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{number, text};
use crate::call::InputRefusal;
use crate::redact::{Private, has_card_number};

/// The maximum length of an error's message that is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;

/// The number of errors within errors that are read. Servers nest two or three; each takes a part of the stack.
const MAX_DEPTH: u32 = 4;

/// An error of a model server. `Debug` shows no message, since it may repeat what was said on the call.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct ErrorInfo {
    /// The HTTP status: of the response, or as a number in an error event.
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) param: Option<String>,
    pub(super) message: Private<String>,
}

#[derive(Deserialize, Default)]
struct Envelope<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct ErrorObject<'a> {
    #[serde(borrow)]
    code: Option<&'a RawValue>,
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    param: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    /// Azure says here why.
    #[serde(borrow)]
    innererror: Option<&'a RawValue>,
    #[serde(borrow)]
    inner_error: Option<&'a RawValue>,
}

impl ErrorInfo {
    /// Parses the error of an error body, of an `error` event in either of its forms, or of a failed response. What is
    /// no JSON is taken as the message.
    pub(super) fn parse(json: &str) -> Self {
        Self::parse_nested(json, 0)
    }

    fn parse_nested(json: &str, depth: u32) -> Self {
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(json) else {
            let message = serde_json::from_str::<String>(json);
            return Self { message: message_of(message.as_deref().unwrap_or(json)), ..Self::default() };
        };
        let inner = envelope.error.or(envelope.response).filter(|inner| inner.get() != "null" && depth < MAX_DEPTH);
        let outer = Self::parse_fields(json, 0);
        let Some(inner) = inner else { return outer };
        if envelope.error.is_none() && !inner.get().contains("\"error\"") {
            return outer;
        }
        let inner = Self::parse_nested(inner.get(), depth + 1);
        let message = if inner.message.reveal().is_empty() {
            envelope.detail.map_or_else(|| outer.message.clone(), |detail| message_of(detail.get()))
        } else {
            inner.message
        };
        Self {
            status: inner.status.or(outer.status),
            code: inner.code.or(outer.code),
            kind: inner.kind.or(outer.kind),
            param: inner.param.or(outer.param),
            message,
        }
    }

    fn parse_fields(json: &str, depth: u32) -> Self {
        let fields: ErrorObject<'_> = serde_json::from_str(json).unwrap_or_default();
        // A code is a string at OpenAI, and a number at some servers.
        let word = |raw: Option<&RawValue>| {
            let raw = raw?.get();
            loggable_code(serde_json::from_str::<String>(raw).as_deref().unwrap_or(raw))
        };
        let code = word(fields.code);
        let inner = fields.innererror.or(fields.inner_error).filter(|_| depth < MAX_DEPTH);
        let detail = inner.and_then(|inner| Self::parse_fields(inner.get(), depth + 1).code);
        let status = fields.status.or(fields.status_code).and_then(number).or_else(|| code.as_deref()?.parse().ok());
        let message =
            fields.message.or(fields.detail).map(|message| text(message).unwrap_or_else(|| message.get().into()));
        Self {
            status: status.and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status)),
            code: detail.or(code),
            kind: word(fields.r#type).filter(|kind| kind != "error" && !kind.starts_with("response.")),
            param: word(fields.param),
            message: message.map(|message| message_of(&message)).unwrap_or_default(),
        }
    }

    /// Whether a repetition of the same request may succeed. `status` is that of the response.
    pub(super) fn is_transient(&self, status: Option<u16>) -> bool {
        if self.mentions(&PERMANENT_WORDS) {
            return false;
        }
        let is_unexplained = || self.code.is_none() && self.kind.is_none() && self.message.reveal().is_empty();
        match self.status.or(status) {
            Some(408 | 409 | 425 | 429 | 500..) => true,
            Some(_) => self.code_mentions(&BUSY_WORDS),
            None => is_unexplained() || self.mentions(&TRANSIENT_WORDS),
        }
    }

    fn code_mentions(&self, words: &[&str]) -> bool {
        [&self.code, &self.kind].into_iter().flatten().any(|code| words.iter().any(|word| squeeze(code).contains(word)))
    }

    /// Whether the code, the type or the message has one of these words, which are in lower case without separators.
    pub(super) fn mentions(&self, words: &[&str]) -> bool {
        let texts = [self.code.as_deref(), self.kind.as_deref(), Some(self.message.reveal().as_str())];
        texts.into_iter().flatten().map(squeeze).any(|text| words.iter().any(|word| text.contains(word)))
    }
}

impl ErrorInfo {
    /// What of the conversation the server refuses, if the error is about that. `status` is that of the response.
    pub(super) fn input_refusal(&self, status: Option<u16>) -> Option<InputRefusal> {
        let status = self.status.or(status);
        if matches!(status, Some(401 | 402 | 429)) {
            return None;
        }
        let names_input = || {
            let message = self.message.reveal();
            let names = self.param.as_deref().is_some_and(is_of_input)
                || message.contains("input[")
                || self.mentions(&TOOL_PAIR_WORDS)
                || message.contains(r#""input","#);
            matches!(status, Some(400 | 422)) && names
        };
        if self.mentions(&CONTENT_WORDS) {
            Some(InputRefusal::Content)
        } else if self.mentions(&REASONING_WORDS) && !self.mentions(&["encryptedcontentisnotsupported"]) {
            Some(InputRefusal::Reasoning)
        } else if status == Some(413) || self.mentions(&LENGTH_WORDS) {
            Some(InputRefusal::Length)
        } else {
            names_input().then_some(InputRefusal::Other)
        }
    }
}

fn is_of_input(param: &str) -> bool {
    param == "input" || param.starts_with("input[") || param.starts_with("input.")
}

/// What says that a content filter refused the input.
const CONTENT_WORDS: [&str; 12] = [
    "datainspection",
    "inappropriate",
    "sensitivecontent",
    "contentrisk",
    "contentfilter",
    "contentpolicy",
    "contentmanagementpolicy",
    "responsibleai",
    "moderation",
    "invalidprompt",
    "policyviolation",
    "safetysystem",
];

/// What says that an item was refused that only the server can read, or an id.
const REASONING_WORDS: [&str; 7] = [
    "itemwithid",
    "itemnotfound",
    "duplicateitem",
    "encryptedcontent",
    "reasoningitem",
    "requiredreasoning",
    "requiredfollowingitem",
];

/// What says that a tool call and its output do not belong together.
const TOOL_PAIR_WORDS: [&str; 2] = ["notooloutputfound", "notoolcallfound"];

/// What says that the input is too long.
const LENGTH_WORDS: [&str; 11] = [
    "contextlength",
    "contextwindow",
    "contextsize",
    "maximumcontext",
    "exceedcontext",
    "toomanytokens",
    "tokenlimit",
    "inputistoolong",
    "inputtoolong",
    "promptistoolong",
    "stringabovemaxlength",
];

/// What says that a repetition is of no use, although the status is that of a transient error.
const PERMANENT_WORDS: [&str; 4] = ["insufficientquota", "exceededyourcurrentquota", "billing", "creditbalance"];

/// The codes of a busy server, whatever the status.
const BUSY_WORDS: [&str; 4] = ["ratelimit", "toomanyrequest", "overload", "unavailable"];

/// What says that a repetition may succeed, in the spellings of model servers and gateways.
const TRANSIENT_WORDS: [&str; 17] = [
    "servererror",
    "internalerror",
    "ratelimit",
    "toomanyrequest",
    "overload",
    "unavailable",
    "timeout",
    "timedout",
    "badgateway",
    "gatewayerror",
    "slowdown",
    "capacity",
    "apierror",
    "exhausted",
    "tryagain",
    "retryyourrequest",
    "connectionerror",
];

/// Letters and digits in lower case.
fn squeeze(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn message_of(text: &str) -> Private<String> {
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MAX_MESSAGE_BYTES).last();
    let end = if text.len() <= MAX_MESSAGE_BYTES { text.len() } else { end.unwrap_or_default() };
    Private::new(text[..end].to_owned())
}

/// A code that is safe to log: at most 64 characters of letters, digits and `._-[]`, and no card number. `null` is omitted.
pub(super) fn loggable_code(text: &str) -> Option<String> {
    let fits = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-[]".contains(&byte));
    (fits && !text.is_empty() && text != "null" && !has_card_number(text)).then(|| text.to_owned())
}

impl fmt::Debug for ErrorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, code, kind, param, message: _ } = self;
        write!(f, "ErrorInfo({status:?} {code:?} {kind:?} {param:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_code_that_may_be_a_card_number_is_not_logged() {
        assert_eq!(loggable_code("rate_limit_exceeded").as_deref(), Some("rate_limit_exceeded"));
        for code in ["4111111111111111", "code-4111-1111-1111-1111", "card_4111111111111111", "two words", "null", ""] {
            assert_eq!(loggable_code(code), None, "{code}");
        }
    }

    #[test]
    fn an_error_is_read_in_every_form_and_debug_shows_no_message() {
        for json in [
            r#"{"type":"error","code":"server_error","message":"4242","param":null,"sequence_number":3}"#,
            r#"{"type":"error","error":{"type":"x","code":"server_error","message":"4242"}}"#,
            r#"{"error":{"code":"server_error","message":"4242"}}"#,
            r#"{"error":{"error":{"code":"server_error","message":"4242"}}}"#,
            r#"{"code":"server_error","detail":"4242"}"#,
            r#"{"code":"server_error","message":"4242","detail":"x","status":"failed","status_code":500}"#,
            r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"4242"}}}"#,
        ] {
            let info = ErrorInfo::parse(json);
            assert_eq!(info.code.as_deref(), Some("server_error"), "{json}");
            assert_eq!(info.message.reveal(), "4242", "{json}");
            assert!(!format!("{info:?}").contains("4242"));
        }
        assert_eq!(ErrorInfo::parse(r#"{"error":"Busy"}"#).message.reveal(), "Busy");
        assert_eq!(ErrorInfo::parse("<html>").message.reveal(), "<html>");
    }

    #[test]
    fn a_transient_error_is_recognized_in_every_spelling() {
        for json in [
            r#"{"type":"error","error":{"code":"too_many_requests"}}"#,
            r#"{"type":"error","error":{"type":"TooManyRequests"}}"#,
            r#"{"type":"error","status":429,"error":{"type":"invalid_request_error"}}"#,
            r#"{"type":"error","error":{"code":503,"message":"x"}}"#,
            r#"{"type":"error","code":"429"}"#,
            r#"{"type":"error","error":{"status_code":"502"}}"#,
            r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded"}}}"#,
            r#"{"type":"response.failed","response":{"error":{"message":"The server is overloaded, try again."}}}"#,
            r#"{"error":"Service Unavailable"}"#,
            r#"{"error":{"type":"overloaded_error"}}"#,
            r#"{"error":{"code":"RESOURCE_EXHAUSTED"}}"#,
            r#"{"type":"response.failed","response":{"error":null}}"#,
            r#"{"type":"response.failed","response":{"error":{"message":""}}}"#,
            r#"{"type":"error"}"#,
            "{}",
        ] {
            assert!(ErrorInfo::parse(json).is_transient(None), "{json}");
        }
        for json in [
            r#"{"error":{"code":"insufficient_quota"}}"#,
            r#"{"error":{"code":"invalid_prompt"}}"#,
            r#"{"type":"error","status":400,"error":{"code":"x"}}"#,
        ] {
            assert!(!ErrorInfo::parse(json).is_transient(None), "{json}");
        }
        assert!(!ErrorInfo::parse(r#"{"error":{"code":"insufficient_quota"}}"#).is_transient(Some(429)));
        assert!(ErrorInfo::parse(r#"{"error":{"code":"rate_limit_exceeded"}}"#).is_transient(Some(400)));
        for (status, transient) in [(429, true), (500, true), (529, true), (408, true), (400, false), (404, false)] {
            assert_eq!(ErrorInfo::parse("").is_transient(Some(status)), transient, "{status}");
        }
    }

    #[test]
    fn what_of_the_input_is_refused_is_recognized_in_every_spelling() {
        use InputRefusal::{Content, Length, Other, Reasoning};
        for (status, json, refused) in [
            (400, r#"{"error":{"code":"content_filter","param":"prompt"}}"#, Some(Content)),
            (400, r#"{"error":{"code":"400","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#, Some(Content)),
            (400, r#"{"error":{"code":"invalid_prompt","message":"flagged"}}"#, Some(Content)),
            (404, r#"{"error":{"message":"Item with id 'rs_1' not found.","param":"input"}}"#, Some(Reasoning)),
            (400, r#"{"error":{"code":"invalid_encrypted_content"}}"#, Some(Reasoning)),
            (400, r#"{"error":{"message":"Duplicate item found with id fc_1.","param":"input"}}"#, Some(Reasoning)),
            (
                400,
                r#"{"error":{"message":"Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'."}}"#,
                Some(Reasoning),
            ),
            (400, r#"{"error":{"code":"context_length_exceeded","param":"input"}}"#, Some(Length)),
            (400, r#"{"error":{"type":"exceed_context_size_error"}}"#, Some(Length)),
            (413, "", Some(Length)),
            (400, r#"{"error":{"code":null,"param":"input[3].content"}}"#, Some(Other)),
            (422, r#"{"detail":"input[2]: bad"}"#, Some(Other)),
            (422, r#"{"detail":[{"type":"x","loc":["body","input",3],"msg":"bad"}]}"#, Some(Other)),
            (400, r#"{"code":"data_inspection_failed","message":"may contain inappropriate content"}"#, Some(Content)),
            (400, r#"{"error":{"param":"tools[0].parameters"}}"#, None),
            (429, r#"{"error":{"message":"Request too large: context length"}}"#, None),
            (401, "{}", None),
            (500, "{}", None),
        ] {
            assert_eq!(ErrorInfo::parse(json).input_refusal(Some(status)), refused, "{json}");
        }
    }

    #[test]
    fn a_code_that_is_not_safe_to_log_is_omitted() {
        for (code, kept) in
            [("429", Some("429")), ("null", None), (r#""a b""#, None), (r#"{"a":1}"#, None), ("[1]", Some("[1]"))]
        {
            let info = ErrorInfo::parse(&format!(r#"{{"error":{{"code":{code}}}}}"#));
            assert_eq!(info.code.as_deref(), kept, "{code}");
        }
        let azure = r#"{"error":{"code":"400","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#;
        assert_eq!(ErrorInfo::parse(azure).code.as_deref(), Some("ResponsibleAIPolicyViolation"));
    }

    #[test]
    fn the_depth_of_an_error_is_bounded() {
        for (begin, end) in [(r#"{"innererror":"#, "}"), (r#"{"error":"#, "}"), (r#"{"response":{"error":"#, "}}")] {
            let json = begin.repeat(50_000) + r#"{"code":"x"}"# + &end.repeat(50_000);
            assert_eq!(ErrorInfo::parse(&json).code, None);
        }
    }

    proptest! {
        #[test]
        fn no_error_panics(text in "\\PC{0,80}") {
            let _ = ErrorInfo::parse(&text);
            let _ = ErrorInfo::parse(&format!(r#"{{"error":{text}}}"#)).is_transient(None);
        }
    }
}
