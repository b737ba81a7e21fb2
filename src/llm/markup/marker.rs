//! The markers of reasoning and tool calls in the text of a model.

use super::block::End;
use super::tag::{self, Kind, Role};
use super::tool_call;

/// The maximum length of the name in a control token, in bytes.
const MAX_TOKEN_NAME: usize = 48;

/// Blocks whose markers do not say what they are. An empty end is the end of the text.
const BLOCKS: &[(&str, &str)] = &[
    ("[TOOL_CALLS]", ""),
    ("[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    ("<|python_tag|>", ""),
    ("<|start_header_id|>", "<|end_header_id|>"),
    ("<|im_start|>user", "<|im_end|>"),
    ("<|im_start|>system", "<|im_end|>"),
    ("<|im_start|>tool", "<|im_end|>"),
    ("<start_of_turn>user", "<end_of_turn>"),
];

/// Reasoning whose markers do not say what they are, with its end. Magistral, MedGemma.
const REASONING: &[(&str, &str)] = &[("[THINK]", "[/THINK]"), ("<unused94>", "<unused95>")];

/// Markers that are removed alone; what they enclose is the answer.
const TOKENS: &[&str] = &[
    "<answer>",
    "</answer>",
    "<|im_start|>assistant",
    "<start_of_turn>model",
    "<end_of_turn>",
    "<|turn>model",
    "<turn|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
];

/// The characters that begin the ends of blocks.
pub(super) const BRACKETS: [char; 5] = ['<', '[', '`', '◁', '&'];

/// A marker at the beginning of a text.
pub(super) enum Marker {
    /// Reasoning.
    Reasoning(End),
    /// The end of reasoning that did not begin.
    ReasoningEnd,
    /// Another block that is no answer.
    Block(End),
    /// The rest of the text is no answer.
    Rest,
    /// The header of a Harmony message.
    Header,
    /// A tool call as JSON text, which is not part of the marker.
    Json,
    /// A tool call as Python text, which is not part of the marker.
    Python,
    /// A marker without content.
    Token,
}

/// Whether a text begins with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It does, with this many bytes.
    Yes(usize),
    No,
    /// More text is needed.
    Partial,
}

/// The position of the first character that may begin a marker. `begins_line` says that a line begins here.
pub(super) fn find_candidate(text: &str, begins_line: bool) -> Option<usize> {
    let mut line_begins = begins_line;
    for (at, c) in text.char_indices() {
        match c {
            c if c == '{' || BRACKETS.contains(&c) => return Some(at),
            'A' | 'f' | 'm' | 't' if line_begins => return Some(at),
            '\n' => line_begins = true,
            c => line_begins &= c.is_whitespace(),
        }
    }
    None
}

/// The length of the first character.
pub(super) fn first_char(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Whether the text begins with `literal`, in any case of ASCII letters.
pub(super) fn match_literal(text: &str, literal: &str) -> Match {
    let length = text.len().min(literal.len());
    match (text.as_bytes()[..length].eq_ignore_ascii_case(&literal.as_bytes()[..length]), length == literal.len()) {
        (true, true) => Match::Yes(length),
        (true, false) => Match::Partial,
        (false, _) => Match::No,
    }
}

/// Finds the marker at the beginning of a text. `begins_line` says that a line begins here.
pub(super) fn find_marker(text: &str, begins_line: bool) -> Result<(usize, Marker), Match> {
    match find_literal(text) {
        Err(Match::No) => {}
        // `<|im_start|>` is a token, unless a role follows that makes it a block.
        found => return found,
    }
    match text.chars().next() {
        Some('<') => match find_tag(text) {
            Err(Match::No) => find_token(text),
            found => found,
        },
        Some('◁' | '&') => find_tag(text),
        _ => tool_call::find_tool_call(text, begins_line),
    }
}

/// Finds a marker of the lists.
fn find_literal(text: &str) -> Result<(usize, Marker), Match> {
    let mut miss = Match::No;
    let mut begins = |literal: &str| match match_literal(text, literal) {
        Match::Yes(length) => Some(length),
        Match::No => None,
        Match::Partial => {
            miss = Match::Partial;
            None
        }
    };
    for &(begin, end) in REASONING {
        if let Some(length) = begins(begin) {
            return Ok((length, Marker::Reasoning(End::Literal(end))));
        }
        if let Some(length) = begins(end) {
            return Ok((length, Marker::ReasoningEnd));
        }
    }
    for &(begin, end) in BLOCKS {
        if let Some(length) = begins(begin) {
            return Ok((length, if end.is_empty() { Marker::Rest } else { Marker::Block(End::Literal(end)) }));
        }
    }
    for token in TOKENS {
        if let Some(length) = begins(token) {
            return Ok((length, Marker::Token));
        }
    }
    Err(miss)
}

/// Finds a tag that marks reasoning or a tool call.
fn find_tag(text: &str) -> Result<(usize, Marker), Match> {
    let tag = tag::read_tag(text)?;
    let marker = match (tag.kind, tag.role) {
        (Some(Kind::Reasoning), Role::End) => Marker::ReasoningEnd,
        (Some(_), Role::End | Role::Empty) => Marker::Token,
        (Some(kind @ Kind::Reasoning), Role::Begin) => Marker::Reasoning(End::Tag { kind, stem: tag.stem }),
        (Some(kind @ Kind::Tool), Role::Begin) => Marker::Block(End::Tag { kind, stem: tag.stem }),
        (None, _) if tag.encloses_arguments(text)? => Marker::Block(End::Tag { kind: Kind::Tool, stem: tag.stem }),
        (None, _) => return Err(Match::No),
    };
    Ok((tag.length, marker))
}

fn find_token(text: &str) -> Result<(usize, Marker), Match> {
    let (length, name) = match_token(text)?;
    Ok((length, if matches!(name, "start" | "channel") { Marker::Header } else { Marker::Token }))
}

/// Finds a control token, `<|name|>`, and returns its length and name. Some models use full-width bars.
pub(super) fn match_token(text: &str) -> Result<(usize, &str), Match> {
    for (begin, end) in [("<|", "|>"), ("<｜", "｜>")] {
        let Some(rest) = text.strip_prefix(begin) else {
            if begin.starts_with(text) {
                return Err(Match::Partial);
            }
            continue;
        };
        let is_name = |c: char| c.is_alphanumeric() || "_▁-./: ".contains(c);
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let after = &rest[length..];
        if length > MAX_TOKEN_NAME {
            return Err(Match::No);
        }
        return match match_literal(after, end) {
            Match::Yes(closing) if length > 0 => Ok((begin.len() + length + closing, &rest[..length])),
            Match::Partial => Err(Match::Partial),
            _ => Err(Match::No),
        };
    }
    Err(Match::No)
}

/// Whether a text that the end cut off can only be mark-up.
pub(super) fn is_surely_markup(text: &str) -> bool {
    text.starts_with("<|")
        || text.starts_with("<｜")
        || text.len() > 2 && text.starts_with("</")
        || text.len() > 3 && text.starts_with('◁') && !text.contains('▷')
}

/// Whether a Harmony header belongs to a message for the caller: the channel `final`, or a preamble without recipient.
pub(super) fn is_header_for_caller(header: &str) -> bool {
    let hidden = |word: &str| {
        matches!(word, "analysis" | "user" | "system" | "developer" | "tool")
            || word.starts_with("to=")
            || word.starts_with("functions")
    };
    !header.split_whitespace().any(hidden)
}
