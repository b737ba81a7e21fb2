use super::SpeakableText;
use proptest::prelude::*;

fn spoken_pieces<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
    let mut speakable = SpeakableText::default();
    let mut spoken: String = pieces.into_iter().map(|piece| speakable.push(piece)).collect();
    spoken.push_str(&speakable.finish());
    spoken
}

fn assert_spoken(cases: &[(&str, &str)]) {
    for (written, spoken) in cases {
        assert_eq!(spoken_pieces([*written]), *spoken, "{written}");
    }
}

#[test]
fn emphasis_is_not_spoken() {
    assert_spoken(&[
        ("Your **total** is **$25.00**.", "Your total is $25.00."),
        ("*Thank you*, really *so much*!", "Thank you, really so much!"),
        ("***All*** of __it__ and _this one_.", "All of it and this one."),
        ("It is ~~30~~ 25 dollars.", "It is 30 25 dollars."),
        ("un*believ*able", "un*believ*able"),
        ("The `start-capture` tool, ``x``.", "The start-capture tool, x."),
        ("Your card ending in ****4242.", "Your card ending in 4242."),
        ("The `x` and don`t or `y", "The x and don`t or `y"),
        ("It costs 5 `s", "It costs 5 `s"),
        ("4242**4242**4242**4242", "4242424242424242"),
    ]);
}

#[test]
fn lists_and_headings_become_sentences() {
    assert_spoken(&[
        (
            "You can pay by:\n- **Card**\n* Bank account\n\t+ Cash!\nWhich one?",
            "You can pay by:\nCard.\nBank account.\nCash!\nWhich one?",
        ),
        ("• Card\n• Bank", "Card.\nBank."),
        ("## Your balance\n\n$25.00 is due.", "Your balance.\n\n$25.00 is due."),
        ("- [ ] Card\n- [x] Bank", "Card.\nBank."),
        ("1. Card\n2. Bank", "1. Card\n2. Bank"),
        ("Total\n---\n25\n***\n* * *\n", "Total\n25\n"),
        ("> Be brief.\n> > Yes.", "Be brief.\nYes."),
        ("Pay by: • card • bank.", "Pay by:  card , bank."),
    ]);
}

#[test]
fn a_table_is_spoken_row_by_row() {
    let table = "| Item | Price |\n|:-----|------:|\n| Co-pay | **$25.00** |\n| Discount | -5 |\n\nThat is all.";
    assert_eq!(spoken_pieces([table]), "Item, Price.\nCo-pay, $25.00.\nDiscount, -5.\n\nThat is all.");
}

#[test]
fn of_a_link_the_text_is_spoken_and_of_a_url_the_host() {
    assert_spoken(&[
        ("See [our **terms**](https://example.com/a_(b)?x=1).", "See our terms."),
        ("See https://www.example.com/pay?id=1&x=y.", "See example.com."),
        ("(see http://pay.example.com:8080/a.b, please)", "(see pay.example.com, please)"),
        ("<https://example.com/a>!", "example.com!"),
        ("**https://example.com**", "example.com"),
        ("https://user@example.com/", "example.com"),
        ("[https://example.com/a](https://example.com/a)", "example.com"),
        ("As said[^1] there [1] and [sic].", "As said there [1] and [sic]."),
    ]);
}

#[test]
fn of_images_references_and_bare_hosts_the_words_are_spoken() {
    assert_spoken(&[
        ("![logo](https://example.com/a.png) Hello.", "logo Hello."),
        ("Look: ![our **logo**](a.png)!", "Look: our logo!"),
        ("See [our terms][1] and [1][2] or [sic].", "See our terms and [1][2] or [sic]."),
        ("See [our terms][] now.", "See our terms now."),
        ("See [ref][1].\n\n[1]: https://example.com/a \"A\"\nBye.", "See ref.\n\n\nBye."),
        ("Text[^1] and note.\n\n[^1]: From the terms.", "Text and note.\n\n From the terms."),
        ("Go to www.example.com/help?a=1, please.", "Go to example.com, please."),
        ("WWW.EXAMPLE.COM", "EXAMPLE.COM"),
        ("Wow! www. is a prefix, aww.x too!", "Wow! www. is a prefix, aww.x too!"),
    ]);
}

#[test]
fn citations_and_names_of_emoji_say_nothing() {
    assert_spoken(&[
        ("Done【4:0†source】.", "Done."),
        ("【重要】【1】 Yes.", "【重要】【1】 Yes."),
        ("Done \u{e200}cite\u{e202}turn0search0\u{e201}.", "Done ."),
        ("Done.\u{e200}cite\u{e202}turn0search0", "Done."),
        (":smile: Hello :wave: there :tada:!", "Hello there !"),
        ("At 10:30: yes, 5 :1 and a :b or :c", "At 10:30: yes, 5 :1 and a :b or :c"),
    ]);
}

#[test]
fn ssml_is_not_spoken() {
    assert_spoken(&[
        ("<speak>Hello <break time=\"1s\"/> there</speak>", "Hello there"),
        (
            "<prosody rate=\"slow\">Your code is <say-as interpret-as=\"digits\">12</say-as>.</prosody>",
            "Your code is 12.",
        ),
    ]);
}

#[test]
fn stars_of_a_power_stay() {
    assert_spoken(&[
        ("2**3 is 8, and 10**12.", "2**3 is 8, and 10**12."),
        ("Is 3**2** ok? **a** **2**3", "Is 32 ok? a 23"),
    ]);
}

#[test]
fn code_fences_are_not_spoken() {
    assert_spoken(&[
        ("Here:\n```text\nOrder 12\n```\nRight?", "Here:\nOrder 12\nRight?"),
        ("```\nOrder 12\n```", "Order 12\n"),
        ("```Order 12```", "Order 12"),
    ]);
}

#[test]
fn html_is_not_spoken() {
    assert_spoken(&[
        ("Pay <b>now</b>,<br/>please.<!-- x -->", "Pay now,\nplease."),
        ("<p>Hello.</p><p class=\"a\">Bye.</p>", "Hello.\nBye.\n"),
        ("Tom &amp; Jerry, 5 &lt; 6, &euro;5&#46; &#x1F600;", "Tom & Jerry, 5 < 6, €5. "),
        (r"5 \* 3 is \$15, C:\temp", r"5 * 3 is $15, C:\temp"),
    ]);
}

#[test]
fn symbols_for_eyes_say_nothing() {
    assert_spoken(&[
        ("Done 🎉 thank you 👨‍👩‍👧 ✅", "Done thank you "),
        ("1️⃣ Card, #️⃣ key 🇩🇪", "1 Card, # key "),
        ("☎️ Call\u{200b} us\u{202e}\u{feff}.", "Call us."),
        ("می\u{200c}خواهم क्\u{200d}ष", "می\u{200c}خواهم क्\u{200d}ष"),
        ("👍", ""),
    ]);
}

#[test]
fn blanks_alone_say_nothing() {
    assert_spoken(&[("\n\n", ""), (" \t\n ", ""), ("\n\nHello.", "Hello."), ("\n- Card", "Card."), ("---\n", "")]);
}

#[test]
fn text_after_the_end_of_a_text_is_set_apart() {
    let mut speakable = SpeakableText::default();
    assert_eq!(speakable.push("One moment."), "One moment.");
    assert_eq!(speakable.finish(), "");
    assert_eq!(speakable.push("\n\n"), "");
    assert_eq!(speakable.finish(), "");
    assert_eq!(speakable.push("Done."), " Done.");
}

#[test]
fn words_are_spoken_at_once() {
    let mut speakable = SpeakableText::default();
    for token in ["Your", " total", " is", " $", "25", ".00", "!", " It's", " 5", " x", " C#", ",", " (a", ")", ".\n"] {
        assert_eq!(speakable.push(token), token);
    }
    assert_eq!(
        [speakable.push(" **"), speakable.push("Card"), speakable.push("**"), speakable.push(":")].concat(),
        " Card:"
    );
}

#[test]
fn what_is_held_back_is_bounded() {
    for endless in [
        "*",
        "_",
        "`",
        "[",
        "[a",
        "<b ",
        "&#",
        "\\",
        "- ",
        "|",
        "#",
        " ",
        "h",
        "https://",
        "a.",
        "<!-- ",
        "![",
        "[a][",
        ":a",
        "w",
        "【",
        "\u{e200}",
        "2**",
        "[a]: http://",
    ] {
        let mut speakable = SpeakableText::default();
        (0..5_000).for_each(|_| drop(speakable.push(endless)));
        assert!(speakable.text.len() < 4_096, "{endless}: {speakable:?}");
        let mut speakable = SpeakableText::default();
        speakable.push("[a](");
        (0..5_000).for_each(|_| drop(speakable.push(endless)));
        assert!(speakable.text.len() < 4_096, "{endless}: {speakable:?}");
    }
}

/// Pieces of which random mark-up is made.
fn fragments() -> impl Strategy<Value = Vec<&'static str>> {
    let fragment = prop::sample::select(vec![
        "*",
        "**",
        "_",
        "__",
        "~~",
        "`",
        "```",
        "\n",
        " ",
        "  ",
        "- ",
        "# ",
        "> ",
        "|",
        "---",
        "[",
        "](",
        ")",
        "https://",
        "http",
        "h",
        "www.",
        "example.com",
        "/a",
        ".",
        ",",
        "<",
        "<br>",
        "<b>",
        "</b>",
        "<a href=",
        ">",
        "&",
        "amp;",
        "&#",
        "65;",
        "\\",
        "🎉",
        "\u{fe0f}",
        "\u{200d}",
        "1",
        "word",
        "é",
        "•",
        "[ ] ",
        "[^1]",
        "<!--",
        "-->",
        "@",
        "=",
        "2**3",
        "![",
        "][",
        "]",
        "]: ",
        ":",
        ":smile:",
        "w",
        "【",
        "†",
        "】",
        "\u{e200}",
        "\u{e201}",
        "<break time=",
        "<say-as ",
        "<speak>",
    ]);
    prop::collection::vec(fragment, 0..24)
}

proptest! {
    #[test]
    fn the_speech_is_independent_of_how_the_text_is_cut(
        parts in fragments(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let text = parts.concat();
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.get(&ends)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]);
        prop_assert_eq!(spoken_pieces([text.as_str()]), spoken_pieces(pieces));
    }

    #[test]
    fn plain_sentences_pass_byte_for_byte(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "Your", "total", "is", "$25.00", "25,00 €", "it's", "don't", "\"yes\"", "“no”", "co-pay", "5 * 3", "A * B",
                "5*3", "a*b", "2**3", "why", "www", "wow!", ":", "a :b", "!", "【重要】", "press * now", "*67", "the # key", "#5", "C#", "order #123", "snake_case", "first_last_name",
                "x < 5", "5<6", "<3", "a > b", "bob_b@example.com", "<bob@example.com>", "AT&T", "R & D", "Q&A", "1.", "2)",
                "50%", "~5", "(or so)", "[sic]", "and/or", "—", "–", "…", "-5", "+1 555 0100", "1-800-555-0100", "10:30",
                "3.5", "e.g.", "Müller", "¿qué?", "ça", "日本語", "हिन्दी", "https", "http", "hat", "=", "x = 5", "^", "|",
                "a | b", "{x}", "don`t", "\\o", "™", "½", "°C", "→", "--", "'n'", "ok?!",
            ]),
            1..20,
        ),
        gaps in prop::collection::vec(prop::sample::select(vec![" ", " ", ", ", ". ", "; ", "? "]), 20),
        breaks in any::<bool>(),
    ) {
        let mut text = "So: ".to_owned();
        for (word, gap) in words.iter().zip(&gaps) {
            text.push_str(word);
            text.push_str(gap);
        }
        text.push_str(if breaks { "\n1. One\n2. Two\n\n  and then -5 or +1." } else { "end" });
        prop_assert_eq!(spoken_pieces([text.as_str()]), text.as_str());
        prop_assert_eq!(spoken_pieces(text.split_inclusive(' ')), text);
    }
}
