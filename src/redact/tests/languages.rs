//! Numbers in all languages of the table.

use crate::redact::language::Dictionary;
use crate::redact::scan::{DigitRun, find_runs};
use crate::redact::{has_card_number, redact_card_numbers};

/// Numbers as CLDR spells them, a line per language: `tag|0=zero|1=one`.
const SAMPLES: &str = include_str!("../language/samples.txt");

fn samples() -> impl Iterator<Item = (&'static str, Vec<(&'static str, &'static str)>)> {
    SAMPLES.lines().map(|line| {
        let mut fields = line.split('|');
        (fields.next().unwrap(), fields.map(|field| field.split_once('=').unwrap()).collect())
    })
}

/// The digits that the reading of a language finds.
fn digits_in(tag: &str, text: &str) -> String {
    let reading = Dictionary::reading_of(tag).unwrap();
    let digits = |run: &DigitRun| run.digits.iter().map(u8::to_string).collect::<String>();
    find_runs(text)[reading].iter().map(digits).collect::<Vec<_>>().join(" ")
}

/// What is not read as one number: a Filipino ten after `na`, and a Swahili hundred, which precedes its number. Digits and
/// pairs that are read one by one are read as such.
const NOT_COMPOSED: [(&str, &str); 5] = [("fil", "42"), ("fil", "60"), ("fil", "99"), ("fil", "242"), ("sw", "100")];

#[test]
fn numbers_are_read_in_every_language() {
    let mut wrong = Vec::new();
    for (tag, numbers) in samples() {
        for (number, spelled) in numbers {
            let read = digits_in(tag, spelled);
            if (read == number) == NOT_COMPOSED.contains(&(tag, number)) {
                wrong.push(format!("{tag} {number} {spelled}: {read}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn numbers_of_languages_that_cldr_lacks_are_read() {
    for (tag, spelled, digits) in [
        ("bn", "চার দুই শূন্য নয়, সতেরো, চল্লিশ", "42091740"),
        ("te", "నాలుగు రెండు సున్నా తొమ్మిది, పదిహేడు", "420917"),
        ("kn", "ನಾಲ್ಕು ಎರಡು ಸೊನ್ನೆ ಒಂಬತ್ತು, ಹದಿನೇಳು", "420917"),
        ("ml", "നാല് രണ്ട് പൂജ്യം ഒമ്പത്, പതിനേഴ്", "420917"),
        ("mr", "चार दोन शून्य नऊ, सतरा", "420917"),
        ("pa", "ਚਾਰ ਦੋ ਸਿਫ਼ਰ ਨੌਂ, ਸਤਾਰਾਂ", "420917"),
        ("si", "හතර දෙක බිංදුව නවය, දහහත", "420917"),
        ("ur", "چار دو صفر نو، سترہ", "420917"),
        ("gl", "catro dous cero nove, dezasete", "420917"),
        ("eu", "lau bi zero bederatzi, hamazazpi", "420917"),
        ("mn", "дөрөв хоёр тэг ес, дөч", "420940"),
        ("uz", "to‘rt ikki nol to‘qqiz, qirq ikki", "420942"),
        ("jv", "papat loro nol sanga, patang puluh", "420940"),
        ("zu", "kune kubili iqanda isishiyagalolunye", "4209"),
        ("xh", "zine zimbini iqanda zilithoba", "4209"),
    ] {
        assert_eq!(digits_in(tag, spelled), digits, "{tag}");
    }
}

#[test]
fn a_card_number_read_digit_by_digit_is_removed_in_every_language() {
    for (tag, numbers) in samples() {
        let word = |digit: char| numbers.iter().find(|(number, _)| *number == digit.to_string()).unwrap().1;
        for card in ["4242424242424242", "5105105105105100", "378282246310005"] {
            for between in [" ", ", "] {
                let said = card.chars().map(word).collect::<Vec<_>>().join(between);
                assert!(has_card_number(&said), "{tag}: {said}");
            }
        }
    }
}

#[test]
fn a_phone_number_stays_in_every_language() {
    for (tag, numbers) in samples() {
        let word = |digit: char| numbers.iter().find(|(number, _)| *number == digit.to_string()).unwrap().1;
        for phone in ["4158675309", "02079460958", "491701234567"] {
            let said = phone.chars().map(word).collect::<Vec<_>>().join(" ");
            assert_eq!(redact_card_numbers(&said), said, "{tag}");
        }
    }
}
