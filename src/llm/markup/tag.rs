//! Tags and control tokens of chat templates, told apart by the words of their names.
//!
//! Models invent such names (`<think>`, `<longcat_think>`, `◁think▷`, `<|inner_prefix|>`, `<｜DSML｜function_calls>`), so a
//! list of names is never complete. The words in them are few.

use super::marker::{Match, match_literal};

/// The maximum length of a name with its bars, in bytes.
const MAX_NAME: usize = 64;

/// The maximum length of the attributes of a tag, in bytes.
const MAX_ATTRIBUTES: usize = 256;

/// The minimum length of the name of a tag that may enclose the arguments of a tool, in bytes. HTML has shorter names.
const MIN_TOOL_NAME: usize = 3;

/// The brackets around a tag. Some servers escape HTML; Kimi has triangles.
const BRACKETS: &[(&str, &str)] = &[("<", ">"), ("◁", "▷"), ("&lt;", "&gt;")];

/// What a tag encloses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Reasoning,
    Tool,
}

/// Which end of a block a tag is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Begin,
    End,
    /// `<name/>`: a block without content.
    Empty,
}

/// A tag at the beginning of a text.
pub(super) struct Tag {
    /// In bytes.
    pub(super) length: usize,
    pub(super) role: Role,
    /// `None` if the name says nothing.
    pub(super) kind: Option<Kind>,
    /// The words of the name without those that mark a beginning or an end.
    pub(super) stem: String,
    may_enclose_arguments: bool,
}

/// Reads the tag at the beginning of a text.
pub(super) fn read_tag(text: &str) -> Result<Tag, Match> {
    let mut miss = Match::No;
    for (begin, end) in BRACKETS {
        match match_literal(text, begin) {
            Match::Yes(length) => return read_in_brackets(text, length, end),
            Match::Partial => miss = Match::Partial,
            Match::No => {}
        }
    }
    Err(miss)
}

fn read_in_brackets(text: &str, start: usize, bracket: &str) -> Result<Tag, Match> {
    let rest = &text[start..];
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_-:./▁".contains(c) && !is_bar(c));
    let length = length.unwrap_or(rest.len());
    if length > MAX_NAME {
        return Err(Match::No);
    }
    let (body, after) = rest.split_at(length);
    if after.is_empty() {
        return Err(Match::Partial);
    }
    let name = body.trim_start_matches(|c| is_bar(c) || c == '/');
    let has_slash = body[..body.len() - name.len()].contains('/');
    let has_first_bar = body.starts_with(is_bar);
    let is_empty = name.ends_with('/');
    let name = name.trim_end_matches(|c| is_bar(c) || c == '/');
    let has_last_bar = body.ends_with(is_bar);
    let words = words(name);
    if words.is_empty() {
        return Err(Match::No);
    }
    let mut kind = kind_of(&words).filter(|_| !(has_first_bar && words == ["call"]));
    if kind.is_none() && has_first_bar && !has_last_bar && words == ["channel"] {
        kind = Some(Kind::Reasoning);
    }
    let is_details = words == ["details"];
    let attributes = if kind.is_some() || is_details { attributes_length(after, bracket)? } else { 0 };
    if is_details {
        kind = kind_of(&self::words(&after[..attributes]));
    }
    let closing = match match_literal(&after[attributes..], bracket) {
        Match::Yes(closing) => closing,
        miss => return Err(miss),
    };
    let role = match () {
        () if has_slash || has_last_bar && !has_first_bar || marks_end(name, &words) => Role::End,
        () if is_empty => Role::Empty,
        () => Role::Begin,
    };
    Ok(Tag {
        length: start + length + attributes + closing,
        role,
        kind,
        stem: stem(name, &words),
        may_enclose_arguments: start == 1 && !has_first_bar && attributes == 0 && name.len() >= MIN_TOOL_NAME,
    })
}

/// Bars of ASCII, and the full-width ones of DeepSeek.
fn is_bar(c: char) -> bool {
    matches!(c, '|' | '｜')
}

/// The length of attributes, `=value` or ` name=value…`, up to the bracket. Words that are none are a text.
fn attributes_length(text: &str, bracket: &str) -> Result<usize, Match> {
    let name = text.trim_start();
    if !text.starts_with('=') {
        if name.len() == text.len() {
            return Ok(0);
        }
        let after = name.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-:".contains(c));
        match after.chars().next() {
            None if text.len() <= MAX_ATTRIBUTES => return Err(Match::Partial),
            Some('=') if after.len() < name.len() => {}
            _ => return Err(Match::No),
        }
    }
    match text.find(bracket) {
        Some(length) if length <= MAX_ATTRIBUTES => Ok(length),
        None if text.len() <= MAX_ATTRIBUTES => Err(Match::Partial),
        _ => Err(Match::No),
    }
}

/// The words of a name, in lower case: `antThinking`, `tool_call`, `tool▁calls▁begin`.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut was_lowercase = false;
    for c in name.chars() {
        let is_part = c.is_ascii_alphanumeric();
        if !is_part || was_lowercase && c.is_ascii_uppercase() {
            words.push(std::mem::take(&mut word));
        }
        if is_part {
            word.push(c.to_ascii_lowercase());
        }
        was_lowercase = c.is_ascii_lowercase();
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// What a name says of the text that it marks.
pub(super) fn kind_of_name(name: &str) -> Option<Kind> {
    kind_of(&words(name))
}

fn kind_of(words: &[String]) -> Option<Kind> {
    let is_reasoning = |word: &String| {
        ["think", "thought", "reasoning", "reflect", "scratch", "monologue"].iter().any(|part| word.contains(part))
            || matches!(word.as_str(), "reason" | "analysis" | "inner")
    };
    let is_tool = |word: &String| {
        word.starts_with("tool")
            || word.starts_with("function")
            || matches!(word.as_str(), "call" | "calls" | "invoke" | "action" | "actions")
    };
    if words.iter().any(is_reasoning) { Some(Kind::Reasoning) } else { words.iter().any(is_tool).then_some(Kind::Tool) }
}

/// Whether a name marks the end of a block: `tool_call_end`, `inner_suffix`. The tool `end-call` does not.
fn marks_end(name: &str, words: &[String]) -> bool {
    words.iter().any(|word| matches!(word.as_str(), "end" | "suffix")) && !names_tool(name, words)
}

/// Tools have names with hyphens, which the names of control tokens have not.
fn names_tool(name: &str, words: &[String]) -> bool {
    name.contains('-') || words == ["end", "call"]
}

fn stem(name: &str, words: &[String]) -> String {
    let is_affix = |word: &str| matches!(word, "begin" | "start" | "end" | "prefix" | "suffix" | "of");
    let keeps_all = names_tool(name, words);
    words.iter().map(String::as_str).filter(|word| keeps_all || !is_affix(word)).collect()
}

impl Tag {
    /// Whether the tag encloses the arguments of a tool: an object of JSON follows it.
    pub(super) fn encloses_arguments(&self, text: &str) -> Result<bool, Match> {
        if !self.may_enclose_arguments || self.role != Role::Begin {
            return Ok(false);
        }
        let after = &text[self.length..];
        let object = after.trim_start();
        let Some(object) = object.strip_prefix('{').map(str::trim_start) else {
            return if object.is_empty() && after.len() < MAX_NAME { Err(Match::Partial) } else { Ok(false) };
        };
        match object.chars().next() {
            None if after.len() < MAX_NAME => Err(Match::Partial),
            first => Ok(matches!(first, Some('"' | '}'))),
        }
    }
}
