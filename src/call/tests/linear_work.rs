//! The work of a call is linear in its input: four times the input takes about four times as long, whatever it says.

use super::*;

/// Four times the work of linear code takes four times as long, of quadratic code sixteen times.
const MAX_RATIO: u32 = 10;

/// What may be worst for the parts that look at words: mark-up that never ends, digits, links, blanks.
const PATTERNS: [&str; 7] = ["so on ", "[[[(", "**`_", "https://a.b/c ", "4 or ", "<b ", "   \n"];

/// The shortest of three times that the work takes.
#[expect(clippy::disallowed_methods, reason = "only a ratio of durations counts")]
fn time(work: impl Fn()) -> Duration {
    let times = (0..3).map(|_| {
        let began = Instant::now();
        work();
        began.elapsed()
    });
    times.min().unwrap_or_default()
}

/// Lets the model say the pattern up to this length in pieces of 32 bytes.
fn hear_model(pattern: &str, bytes: usize) {
    let mut call = TestCall::start();
    call.caller_says("Hello.");
    let text = pattern.repeat(bytes / pattern.len());
    for piece in text.as_bytes().chunks(32) {
        call.model_says(&String::from_utf8_lossy(piece));
    }
    call.model_emits(ModelEvent::Completed);
}

#[test]
fn the_models_words_take_linear_time() {
    for pattern in PATTERNS {
        let (one, four) = (time(|| hear_model(pattern, 8 * 1024)), time(|| hear_model(pattern, 32 * 1024)));
        assert!(four < one * MAX_RATIO, "{pattern:?}: {one:?}, then {four:?}");
    }
}

#[test]
fn an_input_takes_no_longer_than_its_first_4_kib() {
    let hear_caller = |bytes: usize| {
        TestCall::start().caller_says(&"so on ".repeat(bytes / 6));
    };
    let (one, sixteen) = (time(|| hear_caller(8 * 1024)), time(|| hear_caller(64 * 1024)));
    assert!(sixteen < one * 4, "{one:?}, then {sixteen:?}");
}
