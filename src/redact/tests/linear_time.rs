//! Work grows with the text, not faster.

#![expect(clippy::disallowed_methods, reason = "the time that redaction takes is what is tested")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::redact::{RedactionPolicy, Redactor, StreamRedactor, redact_card_numbers};

/// Patterns that make a reader do the most: runs without number, one endless run, words that are nearly numbers, and
/// characters that need to be looked at more than once.
const PATTERNS: [&str; 26] = [
    "4242 is x ",
    "4242424242424242 ",
    "4242 ",
    "4 2 ",
    "42",
    "one two ",
    "to for ate ",
    "double ",
    "four ones ",
    "zwei und ",
    "dreivierdrei",
    "dreivierdreix ",
    "fire to en ti ",
    "um dois, once, sei set ",
    "四二十",
    "ប្រាំ",
    "สี่สองเอ",
    "&#5",
    "4\u{336}",
    "4O",
    "4 a ",
    "4a ",
    "I see 4 to 4 once dois 5 a ",
    "사오삼구",
    "l'otto",
    "ובהשמונ",
];

/// The most that a KiB of any text may take, with room for a slow machine: alone, as an input whose digits are counted
/// over time, during a capture, and in a stream of tokens of four characters.
const LIMITS: [Duration; 4] =
    [Duration::from_millis(2), Duration::from_millis(3), Duration::from_millis(3), Duration::from_millis(10)];

/// Asserts that a text of 16 KiB takes about as long as sixteen of 1 KiB, where quadratic work would take sixteen times
/// as long. One of several attempts suffices, since other work on the machine may delay some, but no attempt is fast
/// by chance.
fn assert_linear(pattern: &str, run: impl Fn(&str)) {
    let text = |kibibytes: usize| pattern.repeat((kibibytes * 1_024).div_ceil(pattern.len()));
    let (short, long) = (text(1), text(16));
    let time = |times: usize, text: &str| {
        let begun = Instant::now();
        (0..times).for_each(|_| run(text));
        begun.elapsed()
    };
    let mut attempts = (0..8).map(|_| (time(16, &short), time(1, &long)));
    assert!(attempts.any(|(short, long)| long < short * 4), "{pattern} takes more than four times as long at once");
}

#[test]
fn redaction_takes_time_in_proportion_to_the_text() {
    for pattern in PATTERNS {
        assert_linear(pattern, |text| {
            black_box(redact_card_numbers(text));
        });
    }
}

#[test]
fn counting_digits_over_inputs_takes_time_in_proportion_to_the_text() {
    for pattern in PATTERNS {
        assert_linear(pattern, |text| {
            black_box(Redactor::default().redact(text, RedactionPolicy::CardNumbers).digits_removed);
        });
    }
}

#[test]
fn redaction_during_a_capture_takes_time_in_proportion_to_the_text() {
    for pattern in PATTERNS {
        assert_linear(pattern, read_in_a_capture);
    }
}

fn read_in_a_capture(text: &str) {
    for language in ["ko", "he"] {
        black_box(Redactor::default().redact_during_capture(text, language).digits_removed);
    }
}

#[test]
fn a_stream_takes_time_in_proportion_to_its_pieces() {
    for pattern in PATTERNS.into_iter().chain(["hello there "]) {
        assert_linear(pattern, read_as_tokens);
    }
}

fn read_as_tokens(text: &str) {
    let mut stream = StreamRedactor::default();
    let characters: Vec<char> = text.chars().collect();
    for token in characters.chunks(4) {
        black_box(stream.push(&token.iter().collect::<String>()));
    }
    black_box(stream.finish());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "only optimised code is that fast")]
fn a_kibibyte_takes_a_few_milliseconds_at_most() {
    let readers: [fn(&str); 4] = [
        |text| drop(black_box(redact_card_numbers(text))),
        |text| drop(black_box(Redactor::default().redact(text, RedactionPolicy::CardNumbers))),
        |text| drop(black_box(Redactor::default().redact_during_capture(text, "ru"))),
        read_as_tokens,
    ];
    let mut slow = Vec::new();
    for pattern in PATTERNS.into_iter().chain(["so I would like to pay the rest of my bill today, please "]) {
        let text = pattern.repeat(4 * 1_024 / pattern.len());
        for (read, limit) in readers.into_iter().zip(LIMITS) {
            let time = || {
                let begun = Instant::now();
                read(&text);
                begun.elapsed() / 4
            };
            let fastest = (0..20).map(|_| time()).min().unwrap();
            if fastest > limit {
                slow.push(format!("{pattern}: {fastest:?}"));
            }
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
