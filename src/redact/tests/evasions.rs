//! Card numbers that are written or spoken otherwise than in digits side by side, and sentences that only look so.

use crate::redact::{REDACTED, Redactor, redact_card_numbers};

#[test]
fn a_card_number_is_removed_however_it_is_written() {
    for number in [
        "４２４２ ４２４２ ４２４２ ４２４２",
        "๔๒๔๒๔๒๔๒๔๒๔๒๔๒๔๒",
        "৪২৪২ ৪২৪২ ৪২৪২ ৪২৪২",
        "𝟜𝟚𝟜𝟚𝟜𝟚𝟜𝟚𝟜𝟚𝟜𝟚𝟜𝟚𝟜𝟚",
        "④②④②④②④②④②④②④②④②",
        "❹❷❹❷❹❷❹❷❹❷❹❷❹❷❹❷",
        "⑷⑵⑷⑵⑷⑵⑷⑵⑷⑵⑷⑵⑷⑵⑷⑵",
        "4\u{fe0f}\u{20e3}2\u{fe0f}\u{20e3}4242424242424\u{20e3}2\u{20e3}",
        "4\u{336}2\u{336}4\u{336}2\u{336}424242424242",
        "4\u{200b}2\u{200b}4\u{200b}2\u{200b}4242\u{2060}4242\u{ad}4242",
        "&#52;&#50;&#52;&#50;&#x34;&#x32;&#x34;&#x32;42424242",
        "四二四二四二四二四二四二四二四二",
        "〤〢〤〢〤〢〤〢〤〢〤〢〤〢〤〢",
        "፬፪፬፪፬፪፬፪፬፪፬፪፬፪፬፪",
        "፵፪ ፵፪ ፵፪ ፵፪ ፵፪ ፵፪ ፵፪ ፵፪",
        "𝍣𝍡𝍣𝍡𝍣𝍡𝍣𝍡𝍣𝍡𝍣𝍡𝍣𝍡𝍣𝍡",
        "四十二四十二四十二四十二四十二四十二四十二四十二",
        "肆贰肆贰 肆贰肆贰 肆贰肆贰 肆贰肆贰",
        "5IO5 1O51 O51O 51OO",
        "5l05l05l05l05l00",
    ] {
        assert_eq!(redact_card_numbers(&format!("是 x {number} x")), format!("是 x {REDACTED} x"), "{number}");
    }
}

#[test]
fn a_card_number_is_removed_however_it_is_spoken() {
    let numbers = [
        "4 digit 2 digit 4 digit 2 digit 4 digit 2 digit 4 digit 2 4242 4242",
        "four number two number four number two number four number two 4242 4242 42",
        "fower two fower two fower two fower two fower two fower two fower two fower two",
        "fife wun zero fife one zero fife one zero fife one zero fife one zero zero",
        "four ones, four ones, four ones, one one one seven",
        "4 ones 4 ones 4 ones 1117",
        "quadruple one quadruple one quadruple one triple one seven",
        "fourtwofourtwo fourtwofourtwo fourtwofourtwo fourtwofourtwo",
        "fourtwofourtwofourtwofourtwofourtwofourtwofourtwofourtwo",
        "for to for to for to for to for to for to for to for to",
        "for for ate five to seven five seven for to three oh ate tree to seven",
        "vier twee vier twee tweeënveertig tweeënveertig 4242 4242",
        "cztery dwa cztery dwa czterdzieści dwa czterdzieści dwa 4242 4242",
        "चार दो चार दो बयालीस बयालीस चार दो चार दो चार दो चार दो",
        "よん に よん に よん に よん に よん に よん に よん に よん に",
        "四二四二、四二四二、四二四二、四二四二",
        "사이사이 사이사이 사이사이 사이사이",
        "fourth two fourth two fourth two fourth two fourth two fourth two fourth two fourth two",
        "forty second, forty second, forty second, forty second, forty second, forty second, forty second, forty second",
        "fire to fire to fire to fire to fire to fire to fire to fire to",
        "cuatro unos cuatro unos cuatro unos uno uno uno siete",
    ];
    let left = numbers.map(|number| redact_card_numbers(&format!("... {number} !")).into_owned());
    assert_eq!(left, numbers.map(|_| format!("... {REDACTED} !")));
}

#[test]
fn ordinary_sentences_stay() {
    for said in [
        "I want to set up a payment for two on Tuesday, no, for the van at ten past four",
        "The first, the second and the third on the twenty second, and the fourth for two on the fifth",
        "Go on to the next one, are you there? It was set for the sixth, I ate at nine",
        "Once more: the fire in the hat shop on 12 Elm Street, flat 4B, was at 5 to 9",
        "Um, no, can we set it to 20 percent for 3 or 4 people",
        "Ich habe eine Frage zu meiner Rechnung vom achten März über einhundertzwanzig Euro",
        "Je voudrais un rendez-vous le vingt-deux à dix heures, au trente-quatre rue Cent",
        "Quiero pagar una factura de doscientos cuarenta y dos euros, una sola",
        "Ik wil een afspraak om half zes op de tweeëntwintigste, een of twee uur",
        "Chciałbym zapłacić sto dwadzieścia złotych za jeden bilet",
        "我有一个问题，一共三十二块，电话是一三八零零一三八零零零",
        "私は二月三日に三人で行きました。電話番号は〇三一二三四五六七八です",
        "ผมมีสองคำถาม โทรศูนย์แปดหนึ่งสองสามสี่ห้าหกเจ็ดแปด",
        "B12, O2, 5l of water, 10lb, AT&T &#169; 1st of May",
        "call me at four one five eight six seven five three oh nine, for one hour",
    ] {
        assert_eq!(redact_card_numbers(said), said);
    }
}

#[test]
fn everyday_words_of_other_languages_are_no_numbers_during_a_capture() {
    for said in [
        "no, no, I want to go on to the next",
        "are you set on it? no, for once I ate too",
        "um, um, no, what is it for, to pay or to cancel",
        "cancel it, and send me to a person",
    ] {
        assert_eq!(Redactor::default().redact_during_capture(said, "en").text, said);
    }
}
