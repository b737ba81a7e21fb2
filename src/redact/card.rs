//! Recognises card numbers in runs of digits.

use std::ops::Range;

use super::digit_run::{DigitGroup, DigitRun, Strength};

/// The maximum length of a card number (ISO/IEC 7812).
pub(super) const MAX_CARD_DIGITS: usize = 19;

/// The minimum length of a card number: shorter ones are no longer issued.
pub(super) const MIN_CARD_DIGITS: usize = 13;

/// Whether digits are a card number, by length and Luhn check.
pub(super) fn is_card_number(digits: &[u8]) -> bool {
    is_card_length(digits) && passes_luhn_check(digits)
}

/// Whether digits have the length of a card number. Few brands had 13 digits; phone numbers with their country's prefix
/// often have.
fn is_card_length(digits: &[u8]) -> bool {
    match digits.len() {
        MIN_CARD_DIGITS => has_brand_prefix_and_length(digits),
        length => (MIN_CARD_DIGITS..=MAX_CARD_DIGITS).contains(&length),
    }
}

/// What digits say about a card number, from nothing to a number that passes every test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CardEvidence {
    /// No card number.
    None,
    /// A known brand's prefix and usual length, but for one digit that is wrong or missing: the check digit does not
    /// fit. About a fifth of all numbers of 15 or 16 digits are this, so it needs other evidence beside it.
    OneDigitOff,
    /// 14 to 19 digits that pass the Luhn check, without a known brand. One number in ten of that length is this.
    CheckDigit,
    /// A prefix and a length of a known brand, and the Luhn check passes.
    KnownBrand,
}

/// Returns what digits, taken together, say about a card number.
pub(super) fn evidence(digits: &[u8]) -> CardEvidence {
    if is_of_known_brand(digits) {
        CardEvidence::KnownBrand
    } else if is_card_number(digits) {
        CardEvidence::CheckDigit
    } else if is_one_digit_off(digits) {
        CardEvidence::OneDigitOff
    } else {
        CardEvidence::None
    }
}

/// Whether digits are a card number with a prefix and a length of a known brand. Where digits may not belong together,
/// this keeps phone numbers from being mistaken for card numbers: one in ten passes the Luhn check.
pub(super) fn is_of_known_brand(digits: &[u8]) -> bool {
    has_brand_prefix_and_length(digits) && is_card_number(digits)
}

/// Whether one wrong or missing digit keeps these digits from being a card number of a known brand. Prefixes that few
/// cards have do not count, nor do lengths that are no longer issued: without the check digit they are chance.
pub(super) fn is_one_digit_off(digits: &[u8]) -> bool {
    let length = match (first(digits, 2), first(digits, 4)) {
        (34 | 37, _) => 15,
        (36 | 38 | 39, _) | (30, 3000..=3059) => 14,
        (40..=49 | 51..=55 | 62 | 64 | 65, _) | (_, 2221..=2720 | 3528..=3589 | 6011) => 16,
        _ => return false,
    };
    (digits.len() == length && !passes_luhn_check(digits)) || digits.len() + 1 == length
}

/// The number that the first `n` digits form.
fn first(digits: &[u8], n: usize) -> u32 {
    digits.iter().take(n).fold(0, |value, digit| value * 10 + u32::from(*digit))
}

fn has_brand_prefix_and_length(digits: &[u8]) -> bool {
    let lengths: &[usize] = match (first(digits, 2), first(digits, 4)) {
        (34 | 37, _) => &[15],
        (36 | 38 | 39, _) | (30, 3000..=3059 | 3095) => &[14, 16, 19],
        (40..=49, _) => &[13, 16, 19],
        (51..=55, _) | (_, 2221..=2720) => &[16],
        (22, 2200..=2204) | (35, 3528..=3589) | (60..=69 | 81, _) => &[16, 17, 18, 19],
        (50 | 56..=58, _) => &[13, 14, 15, 16, 17, 18, 19],
        _ => return false,
    };
    lengths.contains(&digits.len())
}

/// Whether a run contains a card number: from the start of one group to the end of another, or at the start or end of
/// the run, next to other digits of the card. Where everyday words stand for some of the digits, it must be of a known
/// brand; where they stand for most of them, it must be the whole run.
pub(super) fn has_card_number(run: &DigitRun) -> bool {
    if run.digits.len() < MIN_CARD_DIGITS {
        return false;
    }
    let sums = LuhnSums::new(&run.digits);
    let weak_digits = |groups: &[DigitGroup]| -> usize {
        groups.iter().filter(|group| group.strength == Strength::Weak).map(|group| group.digit_range.len()).sum()
    };
    let is_card = |groups: &[DigitGroup], from: usize, to: usize| {
        if !is_card_length(&run.digits[from..to]) || !sums.pass(from..to) {
            return false;
        }
        let weak = weak_digits(groups);
        let is_whole = to - from == run.digits.len();
        weak == 0 || (is_of_known_brand(&run.digits[from..to]) && (is_whole || weak * 2 <= to - from))
    };
    let begins_card = |at: usize| {
        let from = run.groups[at].digit_range.start;
        let ends = run.groups[at..].iter().map(|group| group.digit_range.end).enumerate();
        ends.take_while(|(_, to)| to - from <= MAX_CARD_DIGITS)
            .any(|(n, to)| is_card(&run.groups[at..=at + n], from, to))
    };
    (0..run.groups.len()).any(begins_card) || (!run.is_ambiguous && has_card_at_either_end(&run.digits))
}

/// Sums of digits from the start of a run, from which the Luhn check of any part of it follows in constant time.
struct LuhnSums {
    /// For each position, the sum of the digits before it: with those at even positions doubled, and at odd ones.
    sums: Vec<[u32; 2]>,
}

impl LuhnSums {
    fn new(digits: &[u8]) -> Self {
        let mut sums = Vec::with_capacity(digits.len() + 1);
        let mut sum = [0, 0];
        sums.push(sum);
        for (at, digit) in digits.iter().enumerate() {
            let digit = u32::from(*digit);
            sum[at % 2] += double(digit);
            sum[1 - at % 2] += digit;
            sums.push(sum);
        }
        Self { sums }
    }

    /// Whether the digits of a range pass the Luhn check, in which the last digit is not doubled.
    fn pass(&self, range: Range<usize>) -> bool {
        let doubled = range.end % 2;
        (self.sums[range.end][doubled] - self.sums[range.start][doubled]).is_multiple_of(10)
    }
}

/// The sum of the digits of twice a digit.
fn double(digit: u32) -> u32 {
    digit * 2 / 10 + digit * 2 % 10
}

/// Checks only lengths of 14 to 16, which nearly all cards have: in longer runs, other lengths would match by chance. In
/// runs that are longer than any card number, an expiry date or a security code may stand on both sides.
fn has_card_at_either_end(digits: &[u8]) -> bool {
    let before: &[usize] = if digits.len() > MAX_CARD_DIGITS { &[0, 3, 4, 6] } else { &[0] };
    (14..=16).filter(|length| *length < digits.len()).any(|length| {
        is_of_known_brand(&digits[digits.len() - length..])
            || before.iter().filter_map(|from| digits.get(*from..from + length)).any(is_of_known_brand)
    })
}

fn passes_luhn_check(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(n, digit)| {
            let digit = u32::from(*digit);
            if n % 2 == 0 { digit } else { double(digit) }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().map(|digit| digit - b'0').collect()
    }

    #[test]
    fn card_numbers_of_all_brands_are_recognised() {
        for number in [
            "4222222222222",
            "4242424242424242",
            "4000000000000000006",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "6011111111111117",
            "30569309025904",
            "36227206271667",
            "3566002020360505",
            "6200000000000005",
        ] {
            assert!(is_card_number(&digits(number)) && is_of_known_brand(&digits(number)), "{number}");
        }
    }

    #[test]
    fn length_and_check_digit_decide() {
        for number in ["4242424242424241", "42424242", "424242424242", "42424242424242424242"] {
            assert!(!is_card_number(&digits(number)), "{number}");
        }
        // Valid length and check digit, but no known brand.
        assert!(is_card_number(&digits("1234567812345670")) && !is_of_known_brand(&digits("1234567812345670")));
    }

    #[test]
    fn the_check_of_a_part_is_that_of_its_digits() {
        let run = digits("42424242424242425105105105105100378282246310005");
        let sums = LuhnSums::new(&run);
        for from in 0..run.len() {
            for to in from..=run.len() {
                assert_eq!(sums.pass(from..to), passes_luhn_check(&run[from..to]), "{from}..{to}");
            }
        }
    }

    #[test]
    fn evidence_says_how_near_digits_are_to_a_card_number() {
        for (number, expected) in [
            ("4242424242424242", CardEvidence::KnownBrand),
            ("1234567812345670", CardEvidence::CheckDigit),
            ("4242424242424243", CardEvidence::OneDigitOff),
            ("411111111111111", CardEvidence::OneDigitOff),
            ("37828224631000", CardEvidence::OneDigitOff),
            ("3056930902590", CardEvidence::OneDigitOff),
            ("41111111111111", CardEvidence::None),
            ("1234567812345671", CardEvidence::None),
            ("4158675309", CardEvidence::None),
            ("", CardEvidence::None),
        ] {
            assert_eq!(evidence(&digits(number)), expected, "{number}");
        }
    }

    /// The share of numbers that are evidence of at least this kind, in percent.
    fn share(numbers: impl Iterator<Item = String>, least: CardEvidence) -> f64 {
        let found: Vec<bool> = numbers.map(|number| evidence(&digits(&number)) >= least).collect();
        let hits = found.iter().filter(|found| **found).count();
        100.0 * f64::from(u32::try_from(hits).unwrap()) / f64::from(u32::try_from(found.len()).unwrap())
    }

    #[test]
    fn other_numbers_are_mistaken_for_cards_as_seldom_as_stated() {
        // A multiplier that visits the numbers of each length evenly, so that the shares are the same in each run.
        let numbers = |length: u32, prefix: &'static str| {
            let step = 7_640_891_576_956_012_809_u64;
            (1..20_000_u64).map(move |n| {
                let rest = usize::try_from(length).unwrap() - prefix.len();
                let value = n.wrapping_mul(step) % 10_u64.pow(length - u32::try_from(prefix.len()).unwrap());
                format!("{prefix}{value:0rest$}")
            })
        };
        let orders = |least| share(numbers(16, ""), least);
        assert!((1.5..4.5).contains(&orders(CardEvidence::KnownBrand)), "{}", orders(CardEvidence::KnownBrand));
        assert!((25.0..35.0).contains(&orders(CardEvidence::OneDigitOff)), "{}", orders(CardEvidence::OneDigitOff));
        // Phone numbers with their country's prefix: all but the longest German ones are shorter than any card.
        for (length, prefix) in [(11, "1"), (12, "44"), (11, "33"), (12, "49"), (12, "91"), (13, "55")] {
            let found = share(numbers(length, prefix), CardEvidence::OneDigitOff);
            assert!(found <= if length == 13 { 11.0 } else { 0.0 }, "{prefix}: {found}");
            assert!(share(numbers(length, prefix), CardEvidence::KnownBrand) == 0.0, "{prefix}");
        }
        // A date, and the same date twice.
        let dates = || (1..28).flat_map(|day| (1..13).map(move |month| format!("{day:02}{month:02}2026")));
        assert!(share(dates(), CardEvidence::OneDigitOff) == 0.0);
        let twice = share(dates().map(|date| date.clone() + &date), CardEvidence::KnownBrand);
        assert!(twice < 4.0, "{twice}");
    }
}
