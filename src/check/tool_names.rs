//! A check that the manifest has every tool that the context names.

use std::collections::BTreeSet;

use crate::call::ToolSpec;

/// The tools that a context names and its manifest does not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ToolMismatch<'a> {
    /// Existing tools, and unknown names that the agent is instructed to call.
    pub(super) missing: BTreeSet<&'a str>,
    /// Unknown names that look like tools.
    pub(super) unrecognized: BTreeSet<&'a str>,
}

/// Compares the names in a context, in backquotes or after the word "call", with the tools of a manifest.
pub(super) fn compare_tools<'a>(context: &'a str, manifest: &[&str]) -> ToolMismatch<'a> {
    let mut found = ToolMismatch::default();
    for ToolMention { name, quoted, called } in context.lines().flat_map(find_mentions) {
        if manifest.contains(&name) {
            continue;
        }
        if ToolSpec::find(name).is_some() || (quoted && called) {
            found.missing.insert(name);
        } else if quoted && name.contains('-') {
            found.unrecognized.insert(name);
        }
    }
    found
}

/// A word that may be the name of a tool.
struct ToolMention<'a> {
    name: &'a str,
    quoted: bool,
    called: bool,
}

fn find_mentions(line: &str) -> Vec<ToolMention<'_>> {
    let parts: Vec<&str> = line.split('`').collect();
    let mut found = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let closed = index + 1 < parts.len();
        if index % 2 == 1 && closed {
            if is_name(part) {
                found.push(ToolMention { name: part, quoted: true, called: ends_in_call(parts[index - 1]) });
            }
            continue;
        }
        let words: Vec<&str> = part.split_whitespace().map(|word| word.trim_matches(|c| !is_name_char(c))).collect();
        let calls = words.windows(2).filter(|pair| is_call(pair[0]) && is_name(pair[1]));
        found.extend(calls.map(|pair| ToolMention { name: pair[1], quoted: false, called: true }));
    }
    found
}

/// Whether the text ends with an instruction to call: "… call", "… and call the tool".
fn ends_in_call(text: &str) -> bool {
    let mut words = text.split_whitespace().rev().skip_while(|word| matches!(*word, "the" | "tool"));
    words.next().is_some_and(is_call)
}

fn is_call(word: &str) -> bool {
    ["call", "calls", "calling"].iter().any(|call| word.eq_ignore_ascii_case(call))
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn missing<'a>(context: &'a str, manifest: &[&str]) -> Vec<&'a str> {
        compare_tools(context, manifest).missing.into_iter().collect()
    }

    #[test]
    fn a_named_tool_that_is_not_in_the_manifest_is_missing_once() {
        let context = "Call `start-capture`, then `capture-card`.\nAgain: `capture-card`. At last call end-call.";
        assert_eq!(missing(context, &["start-capture"]), ["capture-card", "end-call"]);
        assert_eq!(missing(context, &ToolSpec::names()), Vec::<&str>::new());
    }

    #[test]
    fn an_unknown_name_after_call_is_missing_too() {
        assert_eq!(missing("Then call the tool `refund`.", &ToolSpec::names()), ["refund"]);
    }

    #[test]
    fn a_name_that_looks_like_a_tool_is_unrecognized_and_other_words_are_ignored() {
        let context = "With `chargeAmount`, never `refund-order`. Call twenty-five people. `Not closed\nA lone ` mark";
        let found = compare_tools(context, &[]);
        assert!(found.missing.is_empty(), "{found:?}");
        assert_eq!(found.unrecognized.into_iter().collect::<Vec<_>>(), ["refund-order"]);
    }

    proptest! {
        #[test]
        fn no_context_panics(context in "[`a-z \n-]{0,60}|\\PC{0,40}") {
            let _ = compare_tools(&context, &[]);
        }
    }
}
