//! Recognises card numbers in runs of digits.

use super::scan::DigitRun;

/// The maximum length of a card number (ISO/IEC 7812).
pub(super) const MAX_CARD_DIGITS: usize = 19;

/// The minimum length of a card number: shorter ones are no longer issued.
pub(super) const MIN_CARD_DIGITS: usize = 13;

/// Whether digits are a card number, by length and Luhn check.
pub(super) fn is_card_number(digits: &[u8]) -> bool {
    (MIN_CARD_DIGITS..=MAX_CARD_DIGITS).contains(&digits.len()) && passes_luhn_check(digits)
}

/// Whether digits are a card number with a prefix and a length of a known brand. Where digits may not belong together,
/// this keeps phone numbers from being mistaken for card numbers: one in ten passes the Luhn check.
pub(super) fn is_of_known_brand(digits: &[u8]) -> bool {
    let first = |n: usize| digits.iter().take(n).fold(0, |value, digit| value * 10 + u32::from(*digit));
    let lengths: &[usize] = match (first(2), first(4)) {
        (34 | 37, _) => &[15],
        (36 | 38 | 39, _) | (30, 3000..=3059 | 3095) => &[14, 16, 19],
        (40..=49, _) => &[13, 16, 19],
        (51..=55, _) | (_, 2221..=2720) => &[16],
        (22, 2200..=2204) | (35, 3528..=3589) | (60..=69 | 81, _) => &[16, 17, 18, 19],
        (50 | 56..=58, _) => &[13, 14, 15, 16, 17, 18, 19],
        _ => return false,
    };
    lengths.contains(&digits.len()) && is_card_number(digits)
}

/// Whether a run contains a card number: from the start of one group to the end of another, or at the start or end of
/// the run, next to other digits of the card.
pub(super) fn has_card_number(run: &DigitRun) -> bool {
    let begins_card = |at: usize| {
        let from = run.groups[at].digit_range.start;
        let ends = run.groups[at..].iter().map(|group| group.digit_range.end);
        ends.take_while(|to| to - from <= MAX_CARD_DIGITS).any(|to| is_card_number(&run.digits[from..to]))
    };
    (0..run.groups.len()).any(begins_card) || has_card_at_either_end(&run.digits)
}

/// Checks only lengths of 14 to 16, which nearly all cards have: in longer runs, other lengths would match by chance.
fn has_card_at_either_end(digits: &[u8]) -> bool {
    (14..=16)
        .filter(|length| *length < digits.len())
        .any(|length| is_of_known_brand(&digits[..length]) || is_of_known_brand(&digits[digits.len() - length..]))
}

fn passes_luhn_check(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(n, digit)| {
            let digit = u32::from(*digit);
            if n % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
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
}
