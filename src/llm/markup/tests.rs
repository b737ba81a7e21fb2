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
fn reasoning_is_known_by_the_name_of_its_tag() {
    for (text, answer) in [
        ("◁think▷HIDDEN◁/think▷Yes.", "Yes."),
        ("<|channel>thought\nHIDDEN<channel|>Yes.", "Yes."),
        ("<unused94>thought\nHIDDEN<unused95>Yes.", "Yes."),
        ("<|inner_prefix|>HIDDEN<|inner_suffix|>Yes.", "Yes."),
        ("<mm:think>HIDDEN</mm:think>Yes.", "Yes."),
        ("<longcat_think>HIDDEN</longcat_think>Yes.", "Yes."),
        ("<thoughts>HIDDEN</thoughts>Yes.", "Yes."),
        ("<scratchpad>HIDDEN</scratchpad>Yes.", "Yes."),
        ("<scratch_pad>HIDDEN</scratch_pad>Yes.", "Yes."),
        ("<analysis>HIDDEN</analysis>Yes.", "Yes."),
        ("<reflection>HIDDEN</reflection>Yes.", "Yes."),
        ("<antThinking>HIDDEN</antThinking>Yes.", "Yes."),
        ("<inner_thoughts>HIDDEN</inner_thoughts>Yes.", "Yes."),
        ("<internal_monologue>HIDDEN</internal_monologue>Yes.", "Yes."),
        ("<reason>HIDDEN</reason>Yes.", "Yes."),
        ("<think type=\"x\">HIDDEN</think>Yes.", "Yes."),
        ("<think/>Yes.", "Yes."),
        ("<|think|>HIDDEN<|/think|>Yes.", "Yes."),
        ("<|START_THINKING|>HIDDEN<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", "Yes."),
        ("<|begin_of_thought|>HIDDEN<|end_of_thought|>Yes.", "Yes."),
        ("<details type=\"reasoning\" done=\"true\">HIDDEN <details>x</details> HIDDEN</details>Yes.", "Yes."),
        ("&lt;think&gt;HIDDEN&lt;/think&gt;Yes.", "Yes."),
        ("<think>HIDDEN <think>HIDDEN</think> HIDDEN</think>Yes.", "Yes."),
        ("<think>The tag `<think>` is not for callers.</think>Yes.", "Yes."),
        ("<think>HIDDEN</thinking>Yes.", "Yes."),
        ("```thinking\nHIDDEN\n```\nYes.", "Yes."),
        ("Yes. ◁think▷HIDDEN and never closed", "Yes. "),
        ("Yes. ◁think▷HIDDEN◁/thi", "Yes. "),
    ] {
        assert_eq!(filtered(text), answer, "{text}");
    }
}

#[test]
fn tool_calls_are_known_by_the_name_of_their_tag() {
    for (text, answer) in [
        ("<TOOLCALL>[{\"name\":\"HIDDEN\"}]</TOOLCALL>Yes.", "Yes."),
        (
            "<｜DSML｜function_calls><｜DSML｜invoke name=\"HIDDEN\"></｜DSML｜invoke></｜DSML｜function_calls>Yes.",
            "Yes.",
        ),
        ("<|tool_call_start|>[HIDDEN(a=1)]<|tool_call_end|>Yes.", "Yes."),
        ("<start_function_call>call:HIDDEN{a:1}<end_function_call>Yes.", "Yes."),
        ("<|tool_calls_begin|>HIDDEN<|tool_calls_end|>Yes.", "Yes."),
        ("<functioncall>{\"name\":\"HIDDEN\"}</functioncall>Yes.", "Yes."),
        ("<toolcall>HIDDEN</toolcall>Yes.", "Yes."),
        ("<longcat_tool_call>HIDDEN</longcat_tool_call>Yes.", "Yes."),
        ("<execute_tool>HIDDEN</execute_tool>Yes.", "Yes."),
        ("<seed:tool_call><function=HIDDEN></function></seed:tool_call>Yes.", "Yes."),
        ("<tool_calls>\n<tool_call>HIDDEN</tool_call>\n</tool_calls>Yes.", "Yes."),
        ("<|tool_call>call:HIDDEN{a:1}<tool_call|>Yes.", "Yes."),
        ("<|tool_call|>[{\"name\":\"HIDDEN\",\"arguments\":{}}]", ""),
        ("<function name=\"HIDDEN\">{}</function>Yes.", "Yes."),
        ("<invoke name=\"HIDDEN\"></invoke>Yes.", "Yes."),
        (
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.HIDDEN:0<|tool_call_argument_begin|>{\"a\":1}\
             <|tool_call_end|><|tool_calls_section_end|>Yes.",
            "Yes.",
        ),
        ("<send-sms>{\"message\":\"HIDDEN\"}</send-sms>Yes.", "Yes."),
        ("<end-call>\n{ \"reason\": \"HIDDEN\"}</end-call>Yes.", "Yes."),
        ("<end_call>{}</end_call>Yes.", "Yes."),
        ("<start-capture>{\"a\": \"HIDDEN\"}</start-capture>Yes.", "Yes."),
    ] {
        assert_eq!(filtered(text), answer, "{text}");
    }
}

#[test]
fn tool_calls_without_tags_are_removed() {
    for (text, answer) in [
        ("[HIDDEN(message=\"it's )] x\")]", ""),
        ("Sure.\n[HIDDEN(a='x]'), HIDDEN()]\nYes.", "Sure.\n\nYes."),
        ("[end_call()]Bye.", "Bye."),
        ("to=functions.HIDDEN <|constrain|>json<|message|>{\"a\":1}<|call|>Yes.", "Yes."),
        ("to=send-sms code{\"message\":\"HIDDEN\"}", ""),
        ("{\"tool\":\"HIDDEN\",\"args\":{}}", ""),
        ("{\"arguments\":{\"a\":1},\"name\":\"HIDDEN\"}Yes.", "Yes."),
        ("{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"HIDDEN\",\"arguments\":\"{}\"}}Yes.", "Yes."),
        ("Let me do it. {\"name\":\"HIDDEN\",\"arguments\":{}}", "Let me do it. "),
        ("[{\"name\":\"HIDDEN\",\"arguments\":{}}]", ""),
        ("multi_tool_use.parallel {\"tool_uses\":[{\"recipient_name\":\"functions.HIDDEN\"}]}", ""),
        ("functions.HIDDEN({\"a\":1})", ""),
        ("Sure.\nAction: HIDDEN\nAction Input: {\"a\":1}", "Sure.\n"),
    ] {
        assert_eq!(filtered(text), answer, "{text}");
    }
}

#[test]
fn words_that_mark_up_uses_stay_in_ordinary_text() {
    for text in [
        "if x <think",
        "if x <think about it> y",
        "I <reason = x",
        "call me",
        "a < b",
        "Action: none needed.",
        "Action: pay\nThank you.",
        "Dear <your name>, say <callback_number>.",
        "<name> {curly}, <name> is <call back>",
        "[call(s)] and [see (a=1)]",
        "[see (a=1)]",
        "to=be or not",
        "to = be, to",
        "functions. They are many.",
        "functions.of x",
        "AT&T &lt; R&D &lt;b&gt;",
        "◁ and ▷ ◁name▷",
        "<details><summary>More</summary>x</details>",
        "Then {\"total\": 25} and {",
        "may, from, A",
    ] {
        assert_eq!(filtered(text), text);
        let pieces: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(filter_pieces(MarkupFilter::default(), pieces.iter().map(String::as_str)).0, text);
    }
}

#[test]
fn what_is_held_back_is_bounded() {
    for endless in
        ["<", "<a", "</", "<think ", "<think a=", "◁x", "&lt;", "[f(", "{\"name\":\"", "Action: a", "to=a", "`", " "]
    {
        let mut filter = MarkupFilter::default();
        (0..5_000).for_each(|_| drop(filter.push(endless)));
        assert!(filter.text.0.len() < 1_024, "{endless}");
        let mut filter = MarkupFilter::default();
        filter.push("<think>");
        (0..5_000).for_each(|_| drop(filter.push(endless)));
        assert!(filter.text.0.len() < 1_024, "{endless}");
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
    for token in ["Your", " total", " is", " $", "25", ".00", " (", "5 < ", "6", ")", " -", "x}", ".\n", "\n"] {
        assert_eq!(filter.push(token), token);
    }
    assert_eq!(filter.push(" {"), " ", "this may begin a tool call");
    assert_eq!(filter.push("x}"), "{x}");
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
        "◁think▷",
        "◁/think▷",
        "&lt;",
        "think",
        "&gt;",
        "<|tool_call>",
        "<tool_call|>",
        "<send-sms>",
        "</send-sms>",
        "<details type=\"reasoning\">",
        "</details>",
        "[f(a=",
        "'",
        ")]",
        "Action: f\n",
        "Action Input:",
        "to=functions.f ",
        "functions.f(",
        "multi_tool_use.",
        "{\"tool\":",
        "\"args\":",
        "thinking",
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
        text in r#"([A-Za-z]{1,8}|\$?[0-9]{1,3}\.[0-9]{2}|5 [<>*] 3|C#|snake_case|O'Brien|"yes"|\(x\)|\[sic\]|a@b\.com|[.,;:!?%&/+=~{}-]|\n|<3|<[a-z]{1,6}|Action: |to|AT&T|R&D|\[[a-z]{1,4}\(s\)\]|é|ñ| ){0,24}"#)
    {
        prop_assert_eq!(filtered(&text), text);
    }
}
