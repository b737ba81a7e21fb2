//! Tool calls that a model wrote as text: JSON, Python, ReAct, and Harmony without its control tokens.

use super::block::End;
use super::marker::{Marker, Match};
use super::tag;

/// The beginning of a tool call is found within this many bytes.
const MAX_START: usize = 256;

/// The nesting of a tool call as JSON or Python text.
#[derive(Debug, Default)]
pub(super) struct CallScan {
    depth: usize,
    /// The quote that ends the string.
    quote: Option<u8>,
    is_escaped: bool,
    /// Strings have single quotes too.
    is_python: bool,
}

impl CallScan {
    pub(super) fn python() -> Self {
        Self { is_python: true, ..Self::default() }
    }

    /// Skips over a tool call; returns the number of bytes, and whether the call is complete.
    pub(super) fn skip(&mut self, text: &str) -> (usize, bool) {
        for (at, byte) in text.bytes().enumerate() {
            match (byte, self.quote) {
                _ if self.is_escaped => self.is_escaped = false,
                (b'\\', quote) => self.is_escaped = quote.is_some(),
                (byte, Some(quote)) => self.quote = Some(quote).filter(|quote| *quote != byte),
                (b'"', None) => self.quote = Some(byte),
                (b'\'', None) if self.is_python => self.quote = Some(byte),
                (b'{' | b'[' | b'(', None) => self.depth += 1,
                (b'}' | b']' | b')', None) => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return (at + 1, true);
                    }
                }
                _ => {}
            }
        }
        (text.len(), false)
    }
}

/// Finds the tool call at the beginning of a text. `begins_line` says that a line begins here.
pub(super) fn find_tool_call(text: &str, begins_line: bool) -> Result<(usize, Marker), Match> {
    let start = (MAX_START..text.len()).find(|at| text.is_char_boundary(*at)).map_or(text, |end| &text[..end]);
    let found = match start.chars().next() {
        Some('`') => find_fenced(start),
        Some('{') => skip_json_call(start).map(|()| (0, Marker::Json)),
        Some('[') => match skip_json_call(start) {
            Ok(()) => Ok((0, Marker::Json)),
            Err(miss) if begins_line => match skip_python_call(start) {
                Err(Match::No) => Err(miss),
                found => found.map(|()| (0, Marker::Python)),
            },
            Err(miss) => Err(miss),
        },
        Some('A') => skip_react_call(start).map(|()| (0, Marker::Rest)),
        Some(_) => find_harmony_call(start),
        None => Err(Match::Partial),
    };
    found.map_err(|miss| if start.len() < text.len() { Match::No } else { miss })
}

/// A fenced block whose language says what it is, or that holds a tool call as JSON.
fn find_fenced(text: &str) -> Result<(usize, Marker), Match> {
    let rest = skip_literal(text, "```")?;
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').ok_or(Match::Partial)?;
    let language = &rest[..length];
    if language.is_empty() || language.eq_ignore_ascii_case("json") {
        skip_json_call(&rest[length..])?;
    } else {
        tag::kind_of_name(language).ok_or(Match::No)?;
    }
    Ok((3, Marker::Block(End::Literal("```"))))
}

/// Skips over the beginning of a JSON tool call, up to its arguments.
fn skip_json_call(text: &str) -> Result<(), Match> {
    let text = match skip_literal(text, "[") {
        Ok(rest) => rest,
        Err(Match::No) => text,
        Err(miss) => return Err(miss),
    };
    let mut has_name = false;
    let mut rest = skip_literal(text, "{")?;
    loop {
        let (key, after) = skip_string(rest)?;
        let after = skip_literal(after, ":")?;
        match key {
            "arguments" | "parameters" | "args" | "params" | "input" | "tool_input" | "action_input" if has_name => {
                return Ok(());
            }
            "arguments" => return skip_literal(after, "{").map(drop),
            "tool_uses" | "tool_calls" => return skip_literal(after, "[").map(drop),
            "function" if skip_literal(after, "{") != Err(Match::No) => rest = skip_literal(after, "{")?,
            "name" | "type" | "id" | "function" | "tool" | "tool_name" | "recipient_name" | "action" => {
                has_name |= !matches!(key, "type" | "id");
                rest = skip_literal(skip_string(after)?.1, ",")?;
            }
            _ => return Err(Match::No),
        }
    }
}

/// Skips over the beginning of `[name(argument=…)]`.
fn skip_python_call(text: &str) -> Result<(), Match> {
    let (_, arguments) = skip_name(skip_literal(text, "[")?)?;
    let arguments = arguments.strip_prefix('(').ok_or(Match::No)?;
    match skip_literal(arguments, ")") {
        Err(Match::No) => skip_literal(skip_name(arguments)?.1, "=").map(drop),
        found => skip_literal(found?, "]").map(drop),
    }
}

/// Skips over the beginning of `Action: name`, `Action Input: …`. What follows a call is not an answer either.
fn skip_react_call(text: &str) -> Result<(), Match> {
    let (_, rest) = skip_name(skip_literal(text, "Action:")?)?;
    skip_literal(rest, "Action Input:").map(drop)
}

/// Finds `functions.name(…)`, `multi_tool_use.parallel {…}`, `to=name code{…}` and `to=name <|message|>…`.
fn find_harmony_call(text: &str) -> Result<(usize, Marker), Match> {
    let rest = match skip_literal(text, "to=") {
        Ok(recipient) => skip_name(recipient)?.1,
        Err(Match::Partial) => return Err(Match::Partial),
        Err(_) => {
            let prefix = if text.starts_with('f') { "functions." } else { "multi_tool_use." };
            let (_, rest) = skip_name(skip_literal(text, prefix)?)?;
            return match rest.strip_prefix('(') {
                Some(_) => Ok((0, Marker::Json)),
                None => skip_literal(rest, "{").map(|_| (0, Marker::Json)),
            };
        }
    };
    let mut miss = Match::No;
    for (literal, marker) in
        [("<|", Marker::Header), ("{", Marker::Json), ("code", Marker::Json), ("json", Marker::Json)]
    {
        let found = match skip_literal(rest, literal) {
            Ok(after) if literal.len() == 4 => skip_literal(after, "{"),
            found => found,
        };
        match found {
            Ok(_) => return Ok((0, marker)),
            Err(Match::Partial) => miss = Match::Partial,
            Err(_) => {}
        }
    }
    Err(miss)
}

/// Skips over white space and a literal.
fn skip_literal<'a>(text: &'a str, literal: &str) -> Result<&'a str, Match> {
    let text = text.trim_start();
    text.strip_prefix(literal).ok_or(if literal.starts_with(text) { Match::Partial } else { Match::No })
}

/// Skips over white space and a JSON string without escapes; returns the string and the rest.
fn skip_string(text: &str) -> Result<(&str, &str), Match> {
    skip_literal(text, "\"")?.split_once('"').ok_or(Match::Partial)
}

/// Skips over white space and the name of a function or an argument; returns the name and the rest.
fn skip_name(text: &str) -> Result<(&str, &str), Match> {
    let text = text.trim_start();
    match text.find(|c: char| !c.is_ascii_alphanumeric() && !"_.-".contains(c)) {
        Some(0) => Err(Match::No),
        Some(length) => Ok(text.split_at(length)),
        None => Err(Match::Partial),
    }
}
