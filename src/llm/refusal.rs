//! What a server refused in a request, read from the body of its error. Servers name it in many spellings; nothing of
//! their texts is kept, since they may repeat what was said on the call.

use serde_json::Value;

use super::error_info::ErrorInfo;
use crate::config::ReasoningEffort;

/// A member of a request that some models or servers do not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionalField {
    /// `include`: reasoning items come with their encrypted content.
    Include,
    /// `reasoning.effort`.
    ReasoningEffort,
    /// `text.verbosity`.
    Verbosity,
    /// `service_tier`.
    ServiceTier,
    /// `max_output_tokens`.
    MaxOutputTokens,
    /// `stream_options`.
    StreamOptions,
    /// `prompt_cache_key`.
    PromptCacheKey,
    /// `prompt_cache_options`.
    PromptCacheOptions,
    /// `safety_identifier`.
    SafetyIdentifier,
    /// `phase` of assistant messages.
    MessagePhase,
}

/// A set of optional fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FieldSet(u16);

/// The role of messages that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusedRole {
    /// The role of the messages of this server, whichever it was.
    Sent,
    /// `system` after the beginning of the conversation. A server that reads `developer` as `system` says so, too.
    LateSystem,
}

/// What a server refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Refusal {
    /// The fields that are named.
    pub(super) fields: FieldSet,
    /// Whether the value of `reasoning.effort` is refused, and not the field.
    pub(super) is_effort_value: bool,
    /// The efforts that are named as supported.
    pub(super) supported_efforts: Vec<ReasoningEffort>,
    /// The role that is refused.
    pub(super) role: Option<RefusedRole>,
    /// Whether the request is invalid for a reason that is not known: it may be a field that the error does not name.
    pub(super) is_unexplained: bool,
}

/// The spellings of fields in the text of an error. A plain word counts only in quotes.
const SPELLINGS: &[(&str, OptionalField)] = &[
    ("include", OptionalField::Include),
    ("reasoning.encrypted_content", OptionalField::Include),
    ("reasoning", OptionalField::ReasoningEffort),
    ("reasoning.effort", OptionalField::ReasoningEffort),
    ("reasoning_effort", OptionalField::ReasoningEffort),
    ("verbosity", OptionalField::Verbosity),
    ("text.verbosity", OptionalField::Verbosity),
    ("service_tier", OptionalField::ServiceTier),
    ("max_output_tokens", OptionalField::MaxOutputTokens),
    ("max_completion_tokens", OptionalField::MaxOutputTokens),
    ("max_tokens", OptionalField::MaxOutputTokens),
    ("stream_options", OptionalField::StreamOptions),
    ("include_obfuscation", OptionalField::StreamOptions),
    ("prompt_cache_key", OptionalField::PromptCacheKey),
    ("prompt_cache_options", OptionalField::PromptCacheOptions),
    ("prewarm", OptionalField::PromptCacheOptions),
    ("safety_identifier", OptionalField::SafetyIdentifier),
    ("phase", OptionalField::MessagePhase),
];

/// What follows these in a text is what the server would take, or a copy of what it got.
const ECHOES: &[&str] = &["expected one of", "input_value", "[type=", "supported parameters", "'input':"];

/// Codes of errors that neither an optional field nor the conversation causes.
const OTHER_CODES: &[&str] = &["insufficient_quota", "invalid_api_key", "model_not_found", "rate_limit_exceeded"];

/// Phrases of errors about the role of a message, in lower case.
const ROLE_PHRASES: &[&str] = &[
    "unexpected message role",
    "incorrect role",
    "invalid role",
    "unknown role",
    "unsupported role",
    "not a valid role",
    "role 'developer'",
    "'developer' role",
    "developer role",
    "does not support 'developer'",
    "developer is not one of",
    "unknown variant `developer`",
    "system role not supported",
    "does not support 'system'",
];

/// Phrases of errors about a system message that is not the first one, in lower case.
const LATE_SYSTEM_PHRASES: &[&str] =
    &["system message must be", "system messages must be", "multiple system messages", "only one system message"];

/// What introduces the values that a server would take, in lower case.
const VALUE_PHRASES: &[&str] =
    &["supported values", "expected one of", "input should be", "must be one of", "allowed values", "valid values"];

/// What says that a value is wrong, and not the field, in lower case.
const WRONG_VALUE_PHRASES: &[&str] = &[
    "unsupported value",
    "invalid value",
    "unknown variant",
    "does not support '",
    "unsupported_value",
    "invalid_value",
];

/// The parts of an error body that are read.
#[derive(Default)]
struct ErrorParts {
    /// `param`, and `loc` and `path` joined by full stops.
    params: Vec<String>,
    /// `code` and `type`.
    codes: Vec<String>,
    /// Messages, in lower case.
    texts: Vec<String>,
}

impl OptionalField {
    /// All optional fields.
    pub(super) const ALL: [Self; 10] = [
        Self::Include,
        Self::ReasoningEffort,
        Self::Verbosity,
        Self::ServiceTier,
        Self::MaxOutputTokens,
        Self::StreamOptions,
        Self::PromptCacheKey,
        Self::PromptCacheOptions,
        Self::SafetyIdentifier,
        Self::MessagePhase,
    ];
}

impl FieldSet {
    /// Adds a field.
    pub(super) fn insert(&mut self, field: OptionalField) {
        self.0 |= 1 << field as u16;
    }

    /// Whether the field is in the set.
    pub(super) fn contains(self, field: OptionalField) -> bool {
        self.0 & (1 << field as u16) != 0
    }

    /// Removes a field.
    pub(super) fn without(self, field: OptionalField) -> Self {
        Self(self.0 & !(1 << field as u16))
    }

    /// Whether there is no field in the set.
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Refusal {
    /// Reads the body of an error response with this status. Any body is accepted. Of an error about the conversation it
    /// says nothing: see [`ErrorInfo::input_refusal`].
    pub(super) fn parse(status: u16, body: &str) -> Self {
        if !matches!(status, 400 | 404 | 422 | 500 | 501) {
            return Self::default();
        }
        let parts = ErrorParts::read(body);
        let mut refusal = Self::default();
        let mut is_about_rest = parts.codes.iter().any(|code| OTHER_CODES.contains(&code.as_str()));
        for param in &parts.params {
            match Subject::of_param(param) {
                Subject::Field(field) => refusal.fields.insert(field),
                Subject::Role => refusal.role = Some(RefusedRole::Sent),
                Subject::Rest => is_about_rest = true,
                Subject::Unknown => {}
            }
        }
        refusal.role = refusal.role.or_else(|| parts.find_role());
        let is_named = !refusal.fields.is_empty() || refusal.role.is_some();
        is_about_rest |= !is_named && ErrorInfo::parse(body).input_refusal(Some(status)).is_some();
        if !is_named && !is_about_rest {
            for text in &parts.texts {
                find_fields(&without_echo(text), &mut refusal.fields);
            }
        }
        if refusal.fields.contains(OptionalField::ReasoningEffort) {
            refusal.supported_efforts = parts.supported_efforts();
            refusal.is_effort_value = !refusal.supported_efforts.is_empty() || parts.has_phrase(WRONG_VALUE_PHRASES);
        }
        let is_named = !refusal.fields.is_empty() || refusal.role.is_some();
        refusal.is_unexplained = matches!(status, 400 | 422) && !is_named && !is_about_rest;
        refusal
    }
}

/// What the parameter of an error is about.
enum Subject {
    Field(OptionalField),
    Role,
    /// A member that every request has.
    Rest,
    Unknown,
}

impl Subject {
    fn of_param(param: &str) -> Self {
        let param = param.trim_start_matches("body.");
        let head = param.split(['.', '[']).next().unwrap_or_default();
        let last = param.rsplit('.').next().unwrap_or_default();
        match head {
            "input" | "messages" if last == "phase" => Self::Field(OptionalField::MessagePhase),
            "input" | "messages" if last == "role" => Self::Role,
            "input" | "messages" | "tools" | "tool_choice" | "model" | "instructions" | "stream" | "store" => {
                Self::Rest
            }
            "text" => Self::Field(OptionalField::Verbosity),
            // OpenAI was seen to mask the first part: `***.effort`.
            _ if last == "effort" => Self::Field(OptionalField::ReasoningEffort),
            _ => {
                SPELLINGS.iter().find(|(name, _)| *name == head).map_or(Self::Unknown, |(_, field)| Self::Field(*field))
            }
        }
    }
}

impl ErrorParts {
    fn read(body: &str) -> Self {
        let mut parts = Self::default();
        match serde_json::from_str::<Value>(body) {
            Ok(value) => parts.collect(&value),
            Err(_) => parts.texts.push(body.to_lowercase()),
        }
        parts
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.collect(value)),
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        // What was sent.
                        ("input", _) => {}
                        ("param", Value::String(param)) => self.params.push(param.clone()),
                        ("loc" | "path", Value::Array(path)) => self.params.push(join_path(path)),
                        ("code" | "type", Value::String(code)) => self.codes.push(code.to_lowercase()),
                        (_, Value::String(text)) => self.add_text(text),
                        (_, value) => self.collect(value),
                    }
                }
            }
            Value::String(text) => self.add_text(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Adds a message. Some servers put Python's text of a list of errors into it, whose `loc` says where.
    fn add_text(&mut self, text: &str) {
        let places = text.split("'loc': (").skip(1).filter_map(|rest| rest.split(')').next());
        let places: Vec<String> =
            places.map(|place| place.replace(['\'', ' '], "").trim_end_matches(',').replace(',', ".")).collect();
        if places.is_empty() {
            self.texts.push(text.to_lowercase());
        } else {
            self.params.extend(places);
        }
    }

    fn has_phrase(&self, phrases: &[&str]) -> bool {
        self.texts.iter().chain(&self.codes).any(|text| phrases.iter().any(|phrase| text.contains(phrase)))
    }

    fn find_role(&self) -> Option<RefusedRole> {
        if self.has_phrase(LATE_SYSTEM_PHRASES) {
            Some(RefusedRole::LateSystem)
        } else {
            self.has_phrase(ROLE_PHRASES).then_some(RefusedRole::Sent)
        }
    }

    /// The efforts that the texts name as supported, from the least to the most.
    fn supported_efforts(&self) -> Vec<ReasoningEffort> {
        let lists = self.texts.iter().filter_map(|text| {
            let (_, list) = VALUE_PHRASES.iter().find_map(|phrase| text.split_once(phrase))?;
            Some(ECHOES.iter().fold(list, |list, echo| list.split(echo).next().unwrap_or_default()))
        });
        let words = lists.flat_map(|list| list.split(|c: char| !c.is_ascii_alphanumeric()));
        let mut efforts: Vec<ReasoningEffort> = words.filter_map(|word| word.parse().ok()).collect();
        efforts.sort_unstable();
        efforts.dedup();
        efforts
    }
}

/// Joins the path of a member, without the names of types that a validator adds, such as `list[...]`.
fn join_path(path: &[Value]) -> String {
    let parts = path.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned));
    parts.collect::<Vec<_>>().join(".")
}

/// A text without what its server would take, or got.
fn without_echo(text: &str) -> String {
    let cut = |line: &str| {
        ECHOES.iter().fold(line.to_owned(), |line, echo| line.split(echo).next().unwrap_or_default().to_owned())
    };
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}

/// Adds the fields that the text names.
fn find_fields(text: &str, fields: &mut FieldSet) {
    if text.contains("ncrypted content is not supported") {
        fields.insert(OptionalField::Include);
    }
    for (name, field) in SPELLINGS {
        let is_plain_word = name.bytes().all(|byte| byte.is_ascii_lowercase());
        for (at, _) in text.match_indices(name) {
            let before = text[..at].chars().next_back();
            let after = text[at + name.len()..].chars().next();
            let is_quote = |c: Option<char>| c.is_some_and(|c| matches!(c, '\'' | '"' | '`'));
            let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            let ends = !is_part(after) || text[at + name.len()..].starts_with(". ") || text[at + name.len()..] == *".";
            let is_named = if is_plain_word { is_quote(before) && is_quote(after) } else { !is_part(before) && ends };
            if is_named {
                fields.insert(*field);
            }
        }
    }
}

#[cfg(test)]
mod tests;
