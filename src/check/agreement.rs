//! Whether the agent has the tools that it is told to use.

use std::collections::BTreeSet;

use crate::call::TOOLS;

/// What a context names and its manifest does not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disagreement<'a> {
    /// Tools that exist; and what is told to be called and exists nowhere.
    pub(super) missing: BTreeSet<&'a str>,
    /// What looks like the name of a tool and is none.
    pub(super) doubtful: BTreeSet<&'a str>,
}

/// Compares what a context names, in backquotes or after the word "call", with the tools of a manifest.
pub(super) fn disagreement<'a>(context: &'a str, manifest: &[&str]) -> Disagreement<'a> {
    let mut found = Disagreement::default();
    for Mention { name, quoted, called } in context.lines().flat_map(mentions) {
        if manifest.contains(&name) {
            continue;
        }
        if TOOLS.contains(&name) || (quoted && called) {
            found.missing.insert(name);
        } else if quoted && name.contains('-') {
            found.doubtful.insert(name);
        }
    }
    found
}

/// A word that may be the name of a tool.
struct Mention<'a> {
    name: &'a str,
    quoted: bool,
    called: bool,
}

fn mentions(line: &str) -> Vec<Mention<'_>> {
    let parts: Vec<&str> = line.split('`').collect();
    let mut found = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let closed = index + 1 < parts.len();
        if index % 2 == 1 && closed {
            if is_name(part) {
                found.push(Mention { name: part, quoted: true, called: ends_in_call(parts[index - 1]) });
            }
            continue;
        }
        let words: Vec<&str> = part.split_whitespace().map(|word| word.trim_matches(|c| !is_in_name(c))).collect();
        let calls = words.windows(2).filter(|pair| is_call(pair[0]) && is_name(pair[1]));
        found.extend(calls.map(|pair| Mention { name: pair[1], quoted: false, called: true }));
    }
    found
}

/// Whether what is named next is to be called: "… call", "… and call the tool".
fn ends_in_call(text: &str) -> bool {
    let mut words = text.split_whitespace().rev().skip_while(|word| matches!(*word, "the" | "tool"));
    words.next().is_some_and(is_call)
}

fn is_call(word: &str) -> bool {
    ["call", "calls", "calling"].iter().any(|call| word.eq_ignore_ascii_case(call))
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(is_in_name)
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn missing<'a>(context: &'a str, manifest: &[&str]) -> Vec<&'a str> {
        disagreement(context, manifest).missing.into_iter().collect()
    }

    #[test]
    fn a_tool_that_is_named_and_not_in_the_manifest_is_missing_once() {
        let context = "Call `start-capture`, then `capture-card`.\nAgain: `capture-card`. At last call end-call.";
        assert_eq!(missing(context, &["start-capture"]), ["capture-card", "end-call"]);
        assert_eq!(missing(context, TOOLS), Vec::<&str>::new());
    }

    #[test]
    fn what_is_to_be_called_and_exists_nowhere_is_missing_too() {
        assert_eq!(missing("Then call the tool `refund`.", TOOLS), ["refund"]);
    }

    #[test]
    fn what_only_looks_like_a_tool_is_doubtful_and_the_rest_is_prose() {
        let context = "With `chargeAmount`, never `refund-order`. Call twenty-five people. `Not closed\nA lone ` mark";
        let found = disagreement(context, &[]);
        assert!(found.missing.is_empty(), "{found:?}");
        assert_eq!(found.doubtful.into_iter().collect::<Vec<_>>(), ["refund-order"]);
    }

    proptest! {
        #[test]
        fn no_context_panics(context in "[`a-z \n-]{0,60}|\\PC{0,40}") {
            let _ = disagreement(&context, &[]);
        }
    }
}
