use super::*;
use crate::redact::digit_run::DigitGroup;
use proptest::prelude::*;

/// The runs of one language, each as text with blanks between its groups.
fn read(language: usize, text: &str) -> Vec<String> {
    let group = |run: &DigitRun, group: &DigitGroup| {
        run.digits[group.digit_range.clone()].iter().map(u8::to_string).collect::<String>()
    };
    let run = |run: &DigitRun| run.groups.iter().map(|it| group(run, it)).collect::<Vec<_>>().join(" ");
    find_runs(text)[language].iter().map(run).collect()
}

#[test]
fn digits_are_recognised_in_all_spellings() {
    for (said, digits) in [
        ("4242", "4242"),
        ("4242-4242", "4242 4242"),
        ("four oh four", "4 0 4"),
        ("double four, triple zero", "44 000"),
        ("double 4 double forty-two", "44 4242"),
        ("forty-two forty two", "42 42"),
        ("forty two hundred, forty two", "4242"),
        ("four thousand two hundred and forty two", "4242"),
        ("four thousand, two hundred, forty-two", "4242"),
        ("nineteen eighty four", "19 84"),
        ("four um, two and then dash four", "4 2 4"),
        ("twenty, oh four", "20 0 4"),
        ("one hundred", "100"),
        ("a thousand and one", "1001"),
        ("４２ ４٢", "42 42"),
    ] {
        assert_eq!(read(0, said), [digits], "{said}");
    }
}

#[test]
fn numbers_of_other_languages_are_recognised() {
    for (language, said, digits) in [
        (1, "cuatro dos, cuarenta y dos, doscientos cuarenta y dos", "4 2 42 242"),
        (1, "cuatro mil doscientos cuarenta y dos, veintidós", "4242 22"),
        (2, "vier zwo, zweiundvierzig und fünf und dreißig", "4 2 42 35"),
        (2, "viertausendzweihundertzweiundvierzig null", "4242 0"),
        (3, "quatre deux, quarante-deux, soixante-douze, quatre-vingt-dix-sept, dix-sept", "4 2 42 72 97 17"),
        (3, "quatre-vingts, vingt et un, deux cent quarante-deux", "80 21 242"),
        (4, "quatro dois, quarenta e dois, duzentos e quarenta e dois, meia um", "4 2 42 242 6 1"),
        (5, "quattro due, quarantadue, duecentoquarantadue, ventuno", "4 2 42 242 21"),
    ] {
        assert_eq!(read(language, said), [digits], "{said}");
    }
}

#[test]
fn another_word_ends_a_run() {
    assert_eq!(read(0, "I have two cards, one of 25 dollars"), ["2", "1", "25"]);
    assert_eq!(read(0, "call 415 867 5309 or 415 867 5310"), ["415 867 5309", "415 867 5310"]);
    assert_eq!(read(0, "the 4th of xxxx4242"), ["4", "4242"]);
    assert_eq!(read(0, "4 and so well then now 2"), ["4", "2"]);
    assert_eq!(read(0, "4           2"), ["4", "2"]);
}

#[test]
fn a_run_is_open_while_more_digits_may_follow() {
    let open = |text: &str| scan_text(text)[0].open_run_start;
    for (text, begins) in [("is 42", 3), ("is forty ", 3), ("is 4 and th", 3), ("so double", 3), ("is four ze", 3)] {
        assert_eq!(open(text), Some(begins), "{text}");
    }
    for text in ["is 42 dollars", "is", "is 42 dol", "", "is 42          "] {
        assert_eq!(open(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_ranges_are_within_it(text in "[a-z0-9 ,é一]{0,40}|(four|two|hundred|double|and|cent|quatre|vingt|zwei|und|zig| ){0,20}|\\PC{0,60}") {
        for run in find_runs(&text).into_iter().flatten() {
            prop_assert!(text.get(run.byte_range()).is_some());
            prop_assert_eq!(run.groups.last().map(|group| group.digit_range.end), Some(run.digits.len()));
        }
    }
}

proptest! {
    /// The readers begin late; what they find is as if they had begun with the text.
    #[test]
    fn words_that_mean_nothing_are_those_that_the_table_does_not_know(word in "[a-z]{1,12}|(twenty|zwei|und|vier|cent|für|한|이십)[a-z]{0,3}") {
        let word = crate::redact::normalise::fold_word(&word);
        if Compound::is_foreign(&word) {
            prop_assert!(DICTIONARY.find(&word).is_empty());
            prop_assert!(Compound::split(&word).is_empty());
            prop_assert_eq!(Compound::languages_with_prefix(&word), 0);
        }
    }
}

proptest! {
    #[test]
    fn a_plain_text_has_no_run_and_begins_none(
        text in "(thank|you|I'm|here|for|payment|gladly|it's| |, |[.]\n|[a-z]{1,6}|[a-zA-Z']{1,4}|Foo'|é|&){0,12}",
        more in "[a-z0-9 ']{0,12}|\\PC{0,12}",
    ) {
        if is_plain(&text) {
            for reading in scan_text(&text) {
                prop_assert!(reading.runs.is_empty() && reading.open_run_start.is_none());
            }
            for run in find_runs(&(text.clone() + &more)).into_iter().flatten() {
                prop_assert!(run.byte_range().start >= text.len());
            }
        }
    }
}

#[test]
fn what_is_usually_said_is_plain() {
    assert!(is_plain("Thank you, I'm glad. The payment can wait: your card never leaves the keypad!\n"));
    for text in ["for", "on", "the", "twe", "thirtysomething", "it is 4", "&#5", "caf\u{e9}", "o'"] {
        assert!(!is_plain(text), "{text}");
    }
    assert!(!is_plain(&"x".repeat(MAX_PLAIN_WORD + 1)), "the rest of it is not looked at");
}
