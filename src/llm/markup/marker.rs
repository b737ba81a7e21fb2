//! The markers of reasoning and tool calls in the chat templates of open models.

/// The maximum length of the name in a control token, in bytes.
const MAX_TOKEN_NAME: usize = 48;

/// The beginning of a JSON tool call is found within this many bytes.
const MAX_JSON_START: usize = 256;

/// The end of reasoning whose beginning is unknown.
pub(super) const REASONING_END: &str = "</think>";

/// Reasoning: how it begins and ends. Qwen, DeepSeek, Magistral, Command A, Seed.
const REASONING: &[(&str, &str)] = &[
    ("<think>", REASONING_END),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
];

/// Other blocks that are no answer: tool calls and results, turns of others. An empty end is the end of the text.
const BLOCKS: &[(&str, &str)] = &[
    ("<tool_call>", "</tool_call>"),
    ("<tool_calls>", "</tool_calls>"),
    ("<tool_code>", "</tool_code>"),
    ("<tool_use>", "</tool_use>"),
    ("<tool_response>", "</tool_response>"),
    ("<tool_result>", "</tool_result>"),
    ("<function_call>", "</function_call>"),
    ("<function_calls>", "</function_calls>"),
    ("<function=", "</function>"),
    ("<invoke ", "</invoke>"),
    ("<minimax:tool_call>", "</minimax:tool_call>"),
    ("<|tool_call|>", "<|/tool_call|>"),
    ("<|tool_call>", "<tool_call|>"),
    ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
    ("<|START_ACTION|>", "<|END_ACTION|>"),
    ("<|start_header_id|>", "<|end_header_id|>"),
    ("<|python_tag|>", ""),
    ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
    ("[TOOL_CALLS]", ""),
    ("[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    ("<|im_start|>user", "<|im_end|>"),
    ("<|im_start|>system", "<|im_end|>"),
    ("<|im_start|>tool", "<|im_end|>"),
    ("<start_of_turn>user", "<end_of_turn>"),
    ("```tool_code", "```"),
    ("```tool_call", "```"),
    ("```function_call", "```"),
];

/// Markers that are removed alone; what they enclose is the answer.
const TOKENS: &[&str] = &[
    "<answer>",
    "</answer>",
    "<|im_start|>assistant",
    "<start_of_turn>model",
    "<end_of_turn>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
];

/// A marker at the beginning of a text.
#[derive(Clone, Copy)]
pub(super) enum Marker {
    /// Reasoning that ends with this marker.
    Reasoning(&'static str),
    /// The end of reasoning that did not begin.
    ReasoningEnd,
    /// A block that ends with this marker.
    Block(&'static str),
    /// The header of a Harmony message.
    Header,
    /// A tool call as JSON text, which is not part of the marker.
    Json,
    /// A marker without content.
    Token,
}

/// Whether a text begins with something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// It does, with this many bytes.
    Yes(usize),
    No,
    /// More text is needed.
    Partial,
}

/// The length of the text before the first character that may begin the end of a block; `None` if there is none.
pub(super) fn plain_prefix(text: &str) -> Option<usize> {
    text.find(['<', '[', '`'])
}

/// The position of the first character that may begin a marker. `begins_line` says that a line begins here.
pub(super) fn find_candidate(text: &str, begins_line: bool) -> Option<usize> {
    let mut line_begins = begins_line;
    for (at, c) in text.char_indices() {
        match c {
            '<' | '[' | '`' => return Some(at),
            '{' if line_begins => return Some(at),
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

/// Finds the marker at the beginning of a text.
pub(super) fn find_marker(text: &str) -> Result<(usize, Marker), Match> {
    let mut miss = Match::No;
    let mut try_literal = |literal: &str, marker: Marker| match match_literal(text, literal) {
        Match::Yes(length) => Some((length, marker)),
        Match::No => None,
        Match::Partial => {
            miss = Match::Partial;
            None
        }
    };
    for &(begin, end) in REASONING {
        if let Some(found) = try_literal(begin, Marker::Reasoning(end)) {
            return Ok(found);
        }
        if let Some(found) = try_literal(end, Marker::ReasoningEnd) {
            return Ok(found);
        }
    }
    for &(begin, end) in BLOCKS {
        if let Some(found) = try_literal(begin, Marker::Block(end)) {
            return Ok(found);
        }
        if end.starts_with("</")
            && let Some(found) = try_literal(end, Marker::Token)
        {
            return Ok(found);
        }
    }
    for token in TOKENS {
        if let Some(found) = try_literal(token, Marker::Token) {
            return Ok(found);
        }
    }
    if miss == Match::Partial {
        return Err(miss);
    }
    match match_token(text) {
        Ok((length, "start" | "channel")) => return Ok((length, Marker::Header)),
        Ok((length, _)) => return Ok((length, Marker::Token)),
        Err(Match::Partial) => return Err(Match::Partial),
        Err(_) => {}
    }
    find_json_call(text)
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
    text.starts_with("<|") || text.starts_with("<｜") || text.starts_with("</") && text.len() > 2
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

/// Finds a tool call as JSON text: `{"name": "…", "arguments": …`, alone or in a fenced block.
fn find_json_call(text: &str) -> Result<(usize, Marker), Match> {
    let start = (MAX_JSON_START..text.len()).find(|at| text.is_char_boundary(*at)).map_or(text, |end| &text[..end]);
    let is_fenced = start.starts_with('`');
    let found = if is_fenced {
        skip_literal(start, "```").and_then(|rest| {
            let rest = match rest.find(|c: char| !c.is_ascii_alphanumeric()) {
                Some(info) if rest[..info].is_empty() || rest[..info].eq_ignore_ascii_case("json") => &rest[info..],
                None if rest.len() <= 4 && "json".starts_with(&rest.to_ascii_lowercase()) => {
                    return Err(Match::Partial);
                }
                _ => return Err(Match::No),
            };
            skip_call_start(rest)
        })
    } else if start.starts_with('<') {
        Err(Match::No)
    } else {
        skip_call_start(start)
    };
    match found {
        Ok(()) if is_fenced => Ok((3, Marker::Block("```"))),
        Ok(()) => Ok((0, Marker::Json)),
        Err(Match::Partial) if start.len() < text.len() => Err(Match::No),
        Err(miss) => Err(miss),
    }
}

/// Skips over the beginning of a tool call, up to its arguments.
fn skip_call_start(text: &str) -> Result<(), Match> {
    let text = match skip_literal(text, "[") {
        Ok(rest) => rest,
        Err(Match::No) => text,
        Err(miss) => return Err(miss),
    };
    let mut rest = skip_literal(text, "{")?;
    loop {
        let (key, after) = skip_string(rest)?;
        let after = skip_literal(after, ":")?;
        match key {
            "arguments" | "parameters" if rest.as_ptr() != text.as_ptr() && has_name(text) => return Ok(()),
            "name" | "type" | "id" | "function" => rest = skip_literal(skip_string(after)?.1, ",")?,
            _ => return Err(Match::No),
        }
    }
}

/// Whether the beginning of a JSON object has a member that names a function.
fn has_name(text: &str) -> bool {
    text.contains("\"name\"") || text.contains("\"function\"")
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
