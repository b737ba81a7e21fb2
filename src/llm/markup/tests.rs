use super::MarkupFilter;
use proptest::prelude::*;

fn filter_pieces<'a>(mut filter: MarkupFilter, pieces: impl IntoIterator<Item = &'a str>) -> (String, MarkupFilter) {
    let mut passed: String = pieces.into_iter().map(|piece| filter.push(piece)).collect();
    passed.push_str(&filter.finish());
    (passed, filter)
}

fn filtered(text: &str) -> String {
    filter_pieces(MarkupFilter::default(), [text]).0
}

#[test]
fn reasoning_is_removed() {
    for (text, answer) in [
        ("<think>I must not say it.</think>\n\nYour balance is $25.00.", "Your balance is $25.00."),
        ("<THINKING>a < b</thinking>Yes.", "Yes."),
        ("Well, <reasoning>x</reasoning>yes.", "Well, yes."),
        ("[THINK]hm[/THINK]Yes.", "Yes."),
        ("<seed:think>x</seed:think>Yes.", "Yes."),
        ("Yes. <think>and now it was cut off", "Yes. "),
        ("<think>never closed </thin", ""),
        (
            "<|channel|>analysis<|message|>We must.<|end|><|start|>assistant<|channel|>final<|message|>Hello.<|return|>",
            "Hello.",
        ),
        ("<|start|>assistant<|channel|>commentary<|message|>One moment.<|end|>", "One moment."),
        ("<|channel|>analysis<|message|>no end", ""),
        ("<answer>Yes.</answer>", "Yes."),
    ] {
        assert_eq!(filtered(text), answer, "{text}");
    }
}

#[test]
fn tool_calls_are_removed() {
    for (text, answer) in [
        (r#"<tool_call>{"name": "end-call", "arguments": {}}</tool_call>"#, ""),
        (
            "One moment.<tool_call>\n<function=pay>\n<parameter=a>1</parameter>\n</function>\n</tool_call>",
            "One moment.",
        ),
        ("<function=pay>{\"a\": 1}</function>Done.", "Done."),
        ("Sure. <function_call>pay()", "Sure. "),
        (r#"Sure.[TOOL_CALLS][{"name": "pay", "arguments": {}}]"#, "Sure."),
        (r#"<|tool_call|>[{"name": "pay"}]<|/tool_call|>Sure."#, "Sure."),
        ("<|python_tag|>pay.call(x=1)", ""),
        ("```tool_code\nprint(pay())\n```\nSure.", "Sure."),
        ("```json\n{\"name\": \"pay\", \"arguments\": {\"a\": \"}\"}}\n```Sure.", "Sure."),
        ("```\n{\"name\": \"pay\", \"parameters\": {}}\n```", ""),
        (r#"{"name": "pay", "arguments": {"text": "} \" {"}} Sure."#, "Sure."),
        (r#"{"type": "function", "name": "pay", "parameters": {}}"#, ""),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>x<｜tool▁call▁end｜><｜tool▁calls▁end｜>", ""),
        (r#"<|channel|>commentary to=functions.pay <|constrain|>json<|message|>{"a": 1}<|call|>"#, ""),
    ] {
        let (passed, filter) = filter_pieces(MarkupFilter::default(), [text]);
        assert_eq!(passed, answer, "{text}");
        assert!(filter.has_removed(), "{text}");
    }
}

#[test]
fn control_tokens_are_removed() {
    for (text, answer) in [
        ("<|im_start|>assistant\nHello.<|im_end|>", "Hello."),
        ("Hello.<|im_end|>\n<|im_start|>user\nI pay.<|im_end|>", "Hello.\n"),
        ("<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>", "Hello."),
        ("<start_of_turn>model\nHello.<end_of_turn>", "Hello."),
        ("Hello.<｜end▁of▁sentence｜>", "Hello."),
        ("Hello.<|im_e", "Hello."),
    ] {
        assert_eq!(filtered(text), answer, "{text}");
    }
}

#[test]
fn the_end_of_reasoning_alone_is_removed_and_reported() {
    let text = "The caller wants to pay.\n</think>\n\nSure.";
    let (passed, filter) = filter_pieces(MarkupFilter::default(), [text]);
    assert_eq!(passed, "The caller wants to pay.\n\n\nSure.");
    assert!(filter.found_unopened_reasoning());

    let (passed, filter) = filter_pieces(MarkupFilter::holding_unopened_reasoning(), [text]);
    assert_eq!(passed, "Sure.");
    assert!(filter.found_unopened_reasoning());
}

#[test]
fn a_held_answer_without_reasoning_is_passed_on_at_its_end() {
    let (passed, filter) = filter_pieces(MarkupFilter::holding_unopened_reasoning(), ["Sure, ", "25 dollars."]);
    assert_eq!((passed.as_str(), filter.has_removed()), ("Sure, 25 dollars.", false));
    let mut filter = MarkupFilter::holding_unopened_reasoning();
    assert_eq!(filter.push("<think>hm</think>Sure, "), "Sure, ", "reasoning that begins in the text is not waited for");
}

#[test]
fn endless_reasoning_is_not_kept_in_memory() {
    let mut filter = MarkupFilter::holding_unopened_reasoning();
    let passed: usize = (0..10_000).map(|_| filter.push("and so on, ").len()).sum();
    assert!(passed == 0 && filter.text.0.len() < 64 && filter.held.is_none());
    let mut filter = MarkupFilter::default();
    filter.push("<think>");
    (0..10_000).for_each(|_| assert_eq!(filter.push("a < b `c` [d] "), ""));
    assert!(filter.text.0.len() < 64);
    assert_eq!(filter.push("</think>Yes."), "Yes.");
}

#[test]
fn words_pass_at_once() {
    let mut filter = MarkupFilter::default();
    for token in ["Your", " total", " is", " $", "25", ".00", " (", "5 < ", "6", ")", " {", "x}", ".\n", "\n"] {
        assert_eq!(filter.push(token), token);
    }
    assert_eq!(filter.push(" <"), " ", "this may begin a marker");
    assert_eq!(filter.push("b>"), "<b>");
    assert!(!filter.has_removed());
}

#[test]
fn other_code_and_json_stay() {
    for text in [
        "```json\n{\"total\": 25}\n```",
        "```rust\nfn main() {}\n```",
        "{\"name\": \"Bob\", \"age\": 3}",
        "`x` and ``y``",
        "Dear <name>, [sic] a <b and c> d, [THIS]",
        "{curly} text",
        "<thin ice",
        "  leading blanks",
        "5 <",
    ] {
        assert_eq!(filtered(text), text);
    }
}

/// Pieces of which random texts are made.
fn fragments() -> impl Strategy<Value = Vec<&'static str>> {
    let fragment = prop::sample::select(vec![
        "<think>",
        "</think>",
        "<thinking>",
        "</thinking>",
        "<tool_call>",
        "</tool_call>",
        "<|im_start|>",
        "assistant",
        "<|im_end|>",
        "<|channel|>",
        "analysis",
        "final",
        "<|message|>",
        "<|end|>",
        "<|start|>",
        "[TOOL_CALLS]",
        "[THINK]",
        "[/THINK]",
        "```",
        "json",
        "tool_code",
        "{\"name\": \"a\", ",
        "\"arguments\": {",
        "}",
        "\n",
        " ",
        "Hello",
        "5 < 6",
        "a",
        "\"",
        "é",
        "<",
        "|",
        "｜",
        "[",
        "`",
        "<function=",
        "</function>",
        "<answer>",
    ]);
    prop::collection::vec(fragment, 0..24)
}

proptest! {
    #[test]
    fn the_result_is_independent_of_how_the_text_is_cut(
        parts in fragments(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        holds in any::<bool>(),
    ) {
        let text = parts.concat();
        let new = || if holds { MarkupFilter::holding_unopened_reasoning() } else { MarkupFilter::default() };
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.get(&ends)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]);
        let whole = filter_pieces(new(), [text.as_str()]);
        let cut = filter_pieces(new(), pieces);
        prop_assert_eq!(&whole.0, &cut.0);
        prop_assert_eq!(whole.1.has_removed(), cut.1.has_removed());
        prop_assert_eq!(whole.1.found_unopened_reasoning(), cut.1.found_unopened_reasoning());
    }

    #[test]
    fn plain_text_passes_byte_for_byte(
        text in r#"([A-Za-z]{1,8}|\$?[0-9]{1,3}\.[0-9]{2}|5 [<>*] 3|C#|snake_case|O'Brien|"yes"|\(x\)|\[sic\]|a@b\.com|[.,;:!?%&/+=~{}-]|\n|<3|é|ñ| ){0,24}"#)
    {
        prop_assert_eq!(filtered(&text), text);
    }
}
