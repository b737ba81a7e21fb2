//! Generated card numbers, in the forms in which people write and say them.

/// A seeded random number generator (SplitMix64). The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct SeededRng(u64);

/// A generated card number and the text that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CardSample {
    /// The digits.
    pub number: String,
    /// The texts that carry the number, in order: one, or several if the number is split.
    pub parts: Vec<String>,
}

/// Prefix and length of the card numbers of each brand.
const PREFIXES: &[(&str, usize)] = &[
    ("4", 16),
    ("4", 13),
    ("4", 19),
    ("51", 16),
    ("55", 16),
    ("2221", 16),
    ("2720", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
    ("65", 16),
    ("36", 14),
    ("3056", 14),
    ("3528", 16),
    ("3589", 16),
    ("62", 16),
    ("62", 19),
    ("5018", 16),
    ("6304", 17),
];

/// Separators between two groups of digits.
const SEPARATORS: &[&str] =
    &[" ", ", ", " - ", "... ", "-", ". ", ", um, ", " and then ", ", uh ", " dash ", ", and, ", "\n", " . . "];

/// Texts before and after a spoken number.
const LEAD_INS: &[&str] = &["", "My card is ", "it's ", "Yes, so: ", "Okay. The number on it is "];
const ENDINGS: &[&str] = &["", ".", " please", ", got it?", ". Can you charge that now?"];

/// Zero to nineteen in English.
pub(super) const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
/// Twenty to ninety in English.
pub(super) const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SPANISH: [&str; 10] = ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"];
const GERMAN: [&str; 10] = ["null", "eins", "zwo", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"];

/// Zero in full-width form and in other scripts: Arabic, Persian, Devanagari, Bengali, Tamil, Thai, Lao, mathematical bold.
const OTHER_ZEROS: [char; 9] = ['０', '٠', '۰', '०', '০', '௦', '๐', '໐', '𝟎'];

/// Zero to nine in other words, and what stands between them.
const OTHER_WORDS: [(&str, [&str; 10]); 9] = [
    // Joined, misheard, and as radio operators say them.
    ("", ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]),
    (" ", ["oh", "won", "to", "tree", "for", "fife", "six", "seven", "ate", "niner"]),
    (" digit ", ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]),
    (" ", ["nul", "een", "twee", "drie", "vier", "vijf", "zes", "zeven", "acht", "negen"]),
    (" ", ["zero", "jeden", "dwa", "trzy", "cztery", "pięć", "sześć", "siedem", "osiem", "dziewięć"]),
    (" ", ["noll", "ett", "två", "tre", "fyra", "fem", "sex", "sju", "åtta", "nio"]),
    (" ", ["sıfır", "bir", "iki", "üç", "dört", "beş", "altı", "yedi", "sekiz", "dokuz"]),
    (" ", ["शून्य", "एक", "दो", "तीन", "चार", "पांच", "छह", "सात", "आठ", "नौ"]),
    ("", ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"]),
];

impl SeededRng {
    /// Creates a generator from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Creates an independent generator for a case. SplitMix64 advances its state by a constant, so related seeds would
    /// otherwise give overlapping sequences.
    pub(crate) fn for_case(seed: u64, case: usize) -> Self {
        let of_seed = Self(seed).next_u64();
        Self(Self(of_seed ^ case as u64).next_u64())
    }

    /// Returns a number below `limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next_u64() % limit as u64).unwrap_or(0)
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Picks one element of a non-empty slice.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// Splits a text into pieces of random length.
    pub(crate) fn split(&mut self, text: &str) -> Vec<String> {
        let mut rest = text.chars().peekable();
        let mut pieces = Vec::new();
        while rest.peek().is_some() {
            let length = 1 + self.below(9);
            pieces.push(rest.by_ref().take(length).collect());
        }
        pieces
    }

    /// Generates a card number with a valid check digit.
    pub(crate) fn card_number(&mut self) -> String {
        let (prefix, length) = PREFIXES[self.below(PREFIXES.len())];
        let mut number = prefix.to_owned();
        while number.len() < length - 1 {
            number.push(digit(self.below(10)));
        }
        let check = (0..10).map(digit).find(|check| is_luhn_valid(&format!("{number}{check}")));
        number.extend(check);
        number
    }
}

impl SeededRng {
    /// Generates a card number of 16 digits of a large brand.
    fn common_card_number(&mut self) -> String {
        loop {
            let number = self.card_number();
            if number.len() == 16 && !number.starts_with("50") {
                return number;
            }
        }
    }
}

impl CardSample {
    /// Generates a number in one text, in a random style.
    pub(crate) fn random(rng: &mut SeededRng) -> Self {
        let number = rng.card_number();
        let style = rng.below(STYLE_COUNT);
        let written = write_digits(&number, style, rng);
        let said = [rng.pick(LEAD_INS), &written, rng.pick(ENDINGS)].concat();
        Self { number, parts: vec![said] }
    }

    /// Generates a number as digits only, as a form or a keypad takes it.
    pub(crate) fn digits_only(rng: &mut SeededRng) -> Self {
        let number = rng.card_number();
        Self { parts: vec![number.clone()], number }
    }

    /// Generates a number in two or three texts, none of which is a card number on its own.
    pub(crate) fn random_parts(rng: &mut SeededRng) -> Self {
        let number = rng.card_number();
        let mut cuts: Vec<usize> = (0..=rng.below(2)).map(|_| 4 + rng.below(number.len() - 7)).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let ends = cuts.iter().copied().chain([number.len()]);
        let style = rng.below(STYLE_COUNT);
        let mut from = 0;
        let mut parts = Vec::new();
        for to in ends {
            let before = if from == 0 { rng.pick(LEAD_INS) } else { rng.pick(&["", "um, ", "uh "]) };
            parts.push([before, &write_digits(&number[from..to], style, rng)].concat());
            from = to;
        }
        Self { number, parts }
    }

    /// Generates a number in parts of one length, each among other words: in one text, or in a text for each part.
    pub(crate) fn among_words(rng: &mut SeededRng, size: usize, is_one_text: bool) -> Self {
        let number = rng.common_card_number();
        let chunks = number.as_bytes().chunks(size).map(String::from_utf8_lossy);
        let parts = chunks.map(|chunk| {
            [
                rng.pick(&["then I see ", "it says ", "I read a ", "behind it is "]),
                &chunk,
                rng.pick(&[" on it", " there I think", " it seems"]),
            ]
            .concat()
        });
        let parts: Vec<String> = parts.collect();
        Self { number, parts: if is_one_text { vec![parts.join(", ")] } else { parts } }
    }

    /// Generates a number in its printed groups, with one digit that was misheard.
    pub(crate) fn one_digit_off(rng: &mut SeededRng) -> Self {
        let mut number = rng.common_card_number();
        let last = number.pop().and_then(|last| last.to_digit(10)).unwrap_or(0);
        number.push(digit(usize::try_from(last).unwrap_or(0) + 1 + rng.below(9)));
        Self { parts: vec![group_digits(&number, " ")], number }
    }

    /// Generates a number as a speech recogniser may write it: in digits of another script, in look-alikes, misheard or
    /// joined words, or in words of another language.
    pub(crate) fn in_another_form(rng: &mut SeededRng) -> Self {
        let number = rng.common_card_number();
        let said = match rng.below(5) {
            0 => {
                let zero = OTHER_ZEROS[rng.below(OTHER_ZEROS.len())];
                let digit = |digit: char| char::from_u32(u32::from(zero) + digit.to_digit(10).unwrap_or(0));
                group_digits(&number, " ")
                    .chars()
                    .map(|c| digit(c).filter(|_| c.is_ascii_digit()).unwrap_or(c))
                    .collect()
            }
            1 => number.bytes().flat_map(|digit| ["&#".to_owned(), digit.to_string(), ";".to_owned()]).collect(),
            2 => number.chars().flat_map(|digit| [digit, '\u{fe0f}', '\u{20e3}']).collect(),
            3 => group_digits(&number.replace('0', "O").replace('1', "l"), " "),
            _ => {
                let (separator, words) = OTHER_WORDS[rng.below(OTHER_WORDS.len())];
                let words = number.bytes().map(|digit| words[usize::from(digit - b'0')]);
                words.collect::<Vec<_>>().join(separator)
            }
        };
        Self { number, parts: vec![said] }
    }

    /// The texts joined by spaces.
    pub(crate) fn text(&self) -> String {
        self.parts.join(" ")
    }
}

/// Writes digits in one of the styles, in one language per number.
fn write_digits(digits: &str, style: usize, rng: &mut SeededRng) -> String {
    match style {
        0 => digits.to_owned(),
        1 => group_digits(digits, rng.pick(&[" ", "-", "  ", ". ", ", "])),
        2 => spell_digits(digits, &SPANISH, rng),
        3 => spell_digits(digits, &GERMAN, rng),
        4 => spell_digits(digits, &[&["oh"], &UNITS[1..10]].concat(), rng),
        _ => mix_styles(digits, rng),
    }
}

/// The number of styles. The last four all mix digits and words.
const STYLE_COUNT: usize = 9;

fn group_digits(digits: &str, between: &str) -> String {
    let groups: Vec<String> = digits.as_bytes().chunks(4).map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    groups.join(between)
}

fn spell_digits(digits: &str, words: &[&str], rng: &mut SeededRng) -> String {
    let pause = rng.pick(&[" ", ", "]);
    let words = digits.bytes().map(|digit| words[usize::from(digit - b'0')]);
    words.collect::<Vec<_>>().join(pause)
}

/// Mixes digits and English words, pairs, hundreds and thousands.
fn mix_styles(digits: &str, rng: &mut SeededRng) -> String {
    let mut said = String::new();
    let mut rest = digits;
    while !rest.is_empty() {
        let length = (1 + rng.below(4)).min(rest.len());
        let (chunk, more) = rest.split_at(length);
        rest = more;
        said.push_str(&write_chunk(chunk, rng));
        if !rest.is_empty() {
            // `forty` and a following unit would be one number, so a comma separates them.
            said.push_str(if said.ends_with("ty") { ", " } else { rng.pick(SEPARATORS) });
        }
    }
    said
}

fn write_chunk(chunk: &str, rng: &mut SeededRng) -> String {
    let value: usize = chunk.parse().unwrap_or(0);
    let same = chunk.bytes().all(|digit| Some(digit) == chunk.bytes().next());
    match chunk.len() {
        2 if same && rng.below(2) == 0 => format!("double {}", UNITS[value % 10]),
        3 if same => format!("triple {}", UNITS[value % 10]),
        2 if value >= 10 => spell_two_digits(value),
        3 if value >= 100 && value % 100 >= 10 => {
            format!("{} hundred {}{}", UNITS[value / 100], rng.pick(&["", "and "]), spell_two_digits(value % 100))
        }
        4 if value >= 1000 && !(value / 100).is_multiple_of(10) && value % 100 >= 10 => {
            format!(
                "{} thousand {} hundred {}",
                UNITS[value / 1000],
                UNITS[value / 100 % 10],
                spell_two_digits(value % 100)
            )
        }
        1 => UNITS[value].to_owned(),
        _ => chunk.to_owned(),
    }
}

fn spell_two_digits(value: usize) -> String {
    match (value / 10, value % 10) {
        (0 | 1, _) => UNITS[value].to_owned(),
        (tens, 0) => TENS[tens - 2].to_owned(),
        (tens, unit) => format!("{}-{}", TENS[tens - 2], UNITS[unit]),
    }
}

fn digit(value: usize) -> char {
    char::from(b"0123456789"[value % 10])
}

fn is_luhn_valid(number: &str) -> bool {
    let digit = |(position, digit): (usize, u8)| match u32::from(digit - b'0') << (position % 2) {
        doubled if doubled > 9 => doubled - 9,
        digit => digit,
    };
    number.bytes().rev().enumerate().map(digit).sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{RedactionPolicy, Redactor, has_card_number, redact_card_numbers};

    #[test]
    fn every_sample_is_recognised_as_a_card_number() {
        for seed in 0..3_000 {
            let sample = CardSample::random(&mut SeededRng::new(seed));
            let redacted = redact_card_numbers(&sample.parts[0]);
            assert!(has_card_number(&sample.parts[0]), "{seed}: {sample:?}");
            assert!(!redacted.contains(|c: char| c.is_ascii_digit()), "{seed}: {sample:?} leaves {redacted}");
        }
    }

    #[test]
    fn a_split_number_is_recognised_with_its_last_part() {
        for seed in 0..3_000 {
            let sample = CardSample::random_parts(&mut SeededRng::new(seed));
            let mut redactor = Redactor::default();
            let last =
                sample.parts.iter().map(|part| redactor.redact(part, RedactionPolicy::CardNumbers)).last().unwrap();
            assert!(last.was_redacted() && !last.cards.is_empty(), "{seed}: {sample:?}");
        }
    }

    #[test]
    fn a_number_in_another_form_is_recognised() {
        for seed in 0..1_000 {
            let sample = CardSample::in_another_form(&mut SeededRng::new(seed));
            let redacted = Redactor::default().redact(&sample.text(), RedactionPolicy::CardNumbers);
            let left = redacted.text.replace(crate::redact::REDACTED, "");
            assert!(redacted.was_redacted() && left.trim().is_empty(), "{seed}: {left} of {sample:?}");
        }
    }

    #[test]
    fn a_number_among_words_is_recognised_with_its_last_part() {
        for seed in 0..500 {
            let mut rng = SeededRng::new(seed);
            let samples = [(1, true), (2, true), (2, false), (4, false), (8, false)]
                .map(|(size, is_one_text)| CardSample::among_words(&mut rng, size, is_one_text));
            for sample in samples.into_iter().chain([CardSample::one_digit_off(&mut rng)]) {
                let mut redactor = Redactor::default();
                let redacted = sample.parts.iter().map(|part| redactor.redact(part, RedactionPolicy::CardNumbers));
                assert!(redacted.last().is_some_and(|last| last.was_redacted()), "{seed}: {sample:?}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        assert_eq!(CardSample::random(&mut SeededRng::new(7)), CardSample::random(&mut SeededRng::new(7)));
        let many: std::collections::HashSet<String> = (0..100).map(|seed| SeededRng::new(seed).card_number()).collect();
        assert!(many.len() > 95 && many.iter().all(|number| is_luhn_valid(number)));
    }
}
