mod captures;
mod evasions;
mod languages;
mod linear_time;

use proptest::prelude::*;

use super::*;

fn during_a_capture(said: &str) -> String {
    Redactor::default().redact_during_capture(said, "en").text
}

#[test]
fn a_spoken_card_number_is_removed_and_the_sentence_stays() {
    for number in [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "4, 2, 4, 2, 4, 2, 4, 2, 4, 2, 4, 2, 4, 2, 4, 2",
        "4242 ... 4242, um, 4242 and then 4242",
        "four two four two four two four two four two four two four two four two",
        "Four two, four two. Four two four two, uh, forty-two forty-two forty two, forty two",
        "four thousand two hundred forty two, four thousand two hundred and forty-two, 4242 forty-two 42",
        "three seven eight two eight double two four six three one triple zero five",
        "cuatro dos cuatro dos cuarenta y dos cuarenta y dos 4242 4242",
        "zweiundvierzig zweiundvierzig vier zwo vier zwo 4242 4242",
        "quarante-deux quarante-deux quatre deux quatre deux 4242 4242",
    ] {
        let said = format!("It is {number}; cancel my other one.");
        assert_eq!(redact_card_numbers(&said), format!("It is {REDACTED}; cancel my other one."), "{number}");
        assert!(has_card_number(&said));
    }
}

#[test]
fn a_card_number_is_removed_with_the_other_digits_of_the_card() {
    for number in [
        "4242424242424242 12/27 123",
        "42424242424242421227123",
        "12274242424242424242123",
        "one, 4242 4242 4242 4242",
        "14242424242424242",
    ] {
        assert_eq!(redact_card_numbers(number), REDACTED, "{number}");
    }
}

#[test]
fn phone_numbers_dates_and_amounts_stay() {
    for said in [
        "Call +1 415 867 5309 on 12/05/2026",
        "I owe 1,234.56 dollars",
        "Call 415 867 5309 or 415 867 5310 after 5",
        "My order is 4242424242424241",
        "call me at four one five eight six seven five three oh nine",
        "Once more: it is one thousand two hundred thirty four dollars, due on the twenty first of May nineteen eighty four",
        "no digits",
        "",
    ] {
        assert_eq!(redact_card_numbers(said), said);
    }
}

#[test]
fn during_a_capture_no_digit_passes_however_it_is_spoken() {
    for (said, left) in [
        ("I have 2 cards, code 123", "I have [digits removed] cards, code [digits removed]"),
        ("it expires 12/27", "it expires [digits removed]"),
        ("4 2 4 2 please", "[digits removed] please"),
        ("digit 4", "digit [digits removed]"),
        ("then I see 44 on it", "then I see [digits removed] on it"),
        ("cancel, I have two cards", "cancel, I have [digits removed] cards"),
        ("um, it is once more due, and 30", "um, it is once more due, and [digits removed]"),
        ("um dois três", "[digits removed]"),
        ("it is seven three one, cancel that", "it is [digits removed], cancel that"),
        ("double four two, and twelve twenty-seven", "[digits removed]"),
        ("er ist siebenhunderteinunddreißig", "er ist [digits removed]"),
    ] {
        assert_eq!(during_a_capture(said), left);
    }
    assert_eq!(Redactor::default().redact_during_capture("il due", "it").text, "il [digits removed]");
}

proptest! {
    #[test]
    fn no_digit_stays_during_a_capture(said in "\\PC{0,80}|([a-z]{1,6} ?[0-9]{1,3} ?){0,12}") {
        let cut = during_a_capture(&said);
        prop_assert!(!cut.contains(|c: char| c.is_ascii_digit()), "{cut}");
    }

    #[test]
    fn redacted_text_has_nothing_more_to_redact(said in "[0-9a-z ,]{0,80}|((four|two|42|4242|oh|um|,|-) ){0,30}") {
        let cut = redact_card_numbers(&said).into_owned();
        prop_assert_eq!(redact_card_numbers(&cut), cut.as_str());
    }
}
