//! Card numbers that are put where they do not belong, written as people write and say them.

/// Chance that can be repeated: the same seed, the same numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

/// A card number that is nobody's, as it was put somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planted {
    /// Its digits.
    pub number: String,
    /// What was said or written of it, in order: one text, or several if it came in parts.
    pub parts: Vec<String>,
}

/// How the number of a brand begins, and how long it is.
const BRANDS: &[(&str, usize)] = &[
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

/// What stands between two pieces of a number.
const PAUSES: &[&str] =
    &[" ", ", ", " - ", "... ", "-", ". ", ", um, ", " and then ", ", uh ", " dash ", ", and, ", "\n", " . . "];

/// What a caller says before a number and after it.
const BEFORE: &[&str] = &["", "My card is ", "it's ", "Yes, so: ", "Okay. The number on it is "];
const AFTER: &[&str] = &["", ".", " please", ", got it?", ". Can you charge that now?"];

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

impl Dice {
    /// Chance that begins with `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Chance of its own for each case. The steps are constant, so that seeds with a simple relation would share what they draw.
    pub fn of_case(seed: u64, case: usize) -> Self {
        let of_seed = Self(seed).draw();
        Self(Self(of_seed ^ case as u64).draw())
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() % limit as u64).unwrap_or(0)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of several; there is one at least.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// A text in pieces of any length.
    pub fn pieces(&mut self, text: &str) -> Vec<String> {
        let mut rest = text.chars().peekable();
        let mut pieces = Vec::new();
        while rest.peek().is_some() {
            let length = 1 + self.below(9);
            pieces.push(rest.by_ref().take(length).collect());
        }
        pieces
    }

    /// The digits of a card that nobody has.
    pub fn card_number(&mut self) -> String {
        let (prefix, length) = BRANDS[self.below(BRANDS.len())];
        let mut number = prefix.to_owned();
        while number.len() < length - 1 {
            number.push(digit(self.below(10)));
        }
        let check = (0..10).map(digit).find(|check| luhn(&format!("{number}{check}")));
        number.extend(check);
        number
    }
}

impl Planted {
    /// A number in one text, in any way of writing it.
    pub fn whole(dice: &mut Dice) -> Self {
        let number = dice.card_number();
        let style = dice.below(STYLES);
        let written = written(&number, style, dice);
        let said = [dice.pick(BEFORE), &written, dice.pick(AFTER)].concat();
        Self { number, parts: vec![said] }
    }

    /// A number in numerals alone, as a form or a keypad takes it.
    pub fn typed(dice: &mut Dice) -> Self {
        let number = dice.card_number();
        Self { parts: vec![number.clone()], number }
    }

    /// A number in two parts or three, none of which is one by itself.
    pub fn in_parts(dice: &mut Dice) -> Self {
        let number = dice.card_number();
        let mut cuts: Vec<usize> = (0..=dice.below(2)).map(|_| 4 + dice.below(number.len() - 7)).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let ends = cuts.iter().copied().chain([number.len()]);
        let style = dice.below(STYLES);
        let mut from = 0;
        let mut parts = Vec::new();
        for to in ends {
            let before = if from == 0 { dice.pick(BEFORE) } else { dice.pick(&["", "um, ", "uh "]) };
            parts.push([before, &written(&number[from..to], style, dice)].concat());
            from = to;
        }
        Self { number, parts }
    }

    /// Everything that was said of it.
    pub fn text(&self) -> String {
        self.parts.join(" ")
    }
}

/// Digits as a person would write or say them: nobody changes the language in the middle.
fn written(digits: &str, style: usize, dice: &mut Dice) -> String {
    match style {
        0 => digits.to_owned(),
        1 => grouped(digits, dice.pick(&[" ", "-", "  ", ". ", ", "])),
        2 => spelled(digits, &SPANISH, dice),
        3 => spelled(digits, &GERMAN, dice),
        4 => spelled(digits, &[&["oh"], &UNITS[1..10]].concat(), dice),
        _ => mixed(digits, dice),
    }
}

/// How many ways of writing there are; most are mixtures.
const STYLES: usize = 9;

fn grouped(digits: &str, between: &str) -> String {
    let groups: Vec<String> = digits.as_bytes().chunks(4).map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    groups.join(between)
}

fn spelled(digits: &str, words: &[&str], dice: &mut Dice) -> String {
    let pause = dice.pick(&[" ", ", "]);
    let words = digits.bytes().map(|digit| words[usize::from(digit - b'0')]);
    words.collect::<Vec<_>>().join(pause)
}

/// Numerals and words, pairs and thousands, as they come to mind.
fn mixed(digits: &str, dice: &mut Dice) -> String {
    let mut said = String::new();
    let mut rest = digits;
    while !rest.is_empty() {
        let length = (1 + dice.below(4)).min(rest.len());
        let (chunk, more) = rest.split_at(length);
        rest = more;
        said.push_str(&chunked(chunk, dice));
        if !rest.is_empty() {
            // After `forty` a number goes on, unless something else comes between.
            said.push_str(if said.ends_with("ty") { ", " } else { dice.pick(PAUSES) });
        }
    }
    said
}

fn chunked(chunk: &str, dice: &mut Dice) -> String {
    let value: usize = chunk.parse().unwrap_or(0);
    let same = chunk.bytes().all(|digit| Some(digit) == chunk.bytes().next());
    match chunk.len() {
        2 if same && dice.below(2) == 0 => format!("double {}", UNITS[value % 10]),
        3 if same => format!("triple {}", UNITS[value % 10]),
        2 if value >= 10 => two_digits(value),
        3 if value >= 100 && value % 100 >= 10 => {
            format!("{} hundred {}{}", UNITS[value / 100], dice.pick(&["", "and "]), two_digits(value % 100))
        }
        4 if value >= 1000 && !(value / 100).is_multiple_of(10) && value % 100 >= 10 => {
            format!("{} thousand {} hundred {}", UNITS[value / 1000], UNITS[value / 100 % 10], two_digits(value % 100))
        }
        1 => UNITS[value].to_owned(),
        _ => chunk.to_owned(),
    }
}

fn two_digits(value: usize) -> String {
    match (value / 10, value % 10) {
        (0 | 1, _) => UNITS[value].to_owned(),
        (tens, 0) => TENS[tens - 2].to_owned(),
        (tens, unit) => format!("{}-{}", TENS[tens - 2], UNITS[unit]),
    }
}

fn digit(value: usize) -> char {
    char::from(b"0123456789"[value % 10])
}

fn luhn(number: &str) -> bool {
    let digit = |(place, digit): (usize, u8)| match u32::from(digit - b'0') << (place % 2) {
        doubled if doubled > 9 => doubled - 9,
        digit => digit,
    };
    number.bytes().rev().enumerate().map(digit).sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{Shield, Strictness, has_card_number, without_card_numbers};

    #[test]
    fn whatever_is_planted_is_known_for_a_card_number() {
        for seed in 0..3_000 {
            let planted = Planted::whole(&mut Dice::new(seed));
            let left = without_card_numbers(&planted.parts[0]);
            assert!(has_card_number(&planted.parts[0]), "{seed}: {planted:?}");
            assert!(!left.contains(|c: char| c.is_ascii_digit()), "{seed}: {planted:?} leaves {left}");
        }
    }

    #[test]
    fn a_number_in_parts_is_known_when_its_last_part_comes() {
        for seed in 0..3_000 {
            let planted = Planted::in_parts(&mut Dice::new(seed));
            let mut shield = Shield::default();
            let heard = planted.parts.iter().map(|part| shield.hear(part, Strictness::Cards)).last().unwrap();
            assert!(heard.was_cut && !heard.cards.is_empty(), "{seed}: {planted:?}");
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_numbers_and_others_make_others() {
        assert_eq!(Planted::whole(&mut Dice::new(7)), Planted::whole(&mut Dice::new(7)));
        let many: std::collections::HashSet<String> = (0..100).map(|seed| Dice::new(seed).card_number()).collect();
        assert!(many.len() > 95 && many.iter().all(|number| luhn(number)));
    }
}
