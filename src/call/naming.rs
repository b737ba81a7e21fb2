//! Whether an amount is named in what was said: in figures, or in English words.
//!
//! Only a yes is relied on. What is named otherwise, in another language say, is asked for once more.

use crate::payment::Amount;

/// Whether these words name the amount.
pub(super) fn names(words: &str, amount: Amount) -> bool {
    let unit = 10_u64.pow(amount.currency().exponent());
    let (major, minor) = (amount.minor() / unit, amount.minor() % unit);
    let said = numbers(words, amount.currency().exponent() as usize);
    if said.iter().any(|number| number.minor_units == Some(amount.minor())) {
        return true;
    }
    let whole = said.iter().position(|number| number.whole == Some(major) && !number.is_cents);
    match whole {
        // "Twenty-five dollars and ten cents" is not 25.00.
        Some(at) if minor == 0 => !said[at + 1..].iter().any(|number| number.is_cents),
        Some(at) => said[at + 1..].iter().any(|number| number.is_cents && number.whole == Some(minor)),
        // "Fifty cents" are 0.50 where no dollars stand before them.
        None => major == 0 && said.first().is_some_and(|number| number.is_cents && number.whole == Some(minor)),
    }
}

/// A number that was said.
#[derive(Default)]
struct Number {
    /// Without a fraction.
    whole: Option<u64>,
    /// With a fraction in figures: in minor units.
    minor_units: Option<u64>,
    /// A word for hundredths follows.
    is_cents: bool,
}

fn numbers(words: &str, exponent: usize) -> Vec<Number> {
    let words = words.to_lowercase().replace(['-', '\u{2010}', '\u{2011}'], " ");
    let mut numbers: Vec<Number> = Vec::new();
    let mut spelled: Vec<&str> = Vec::new();
    for word in words.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        if WORDS.iter().any(|(known, _)| *known == bare) || (bare == "and" && !spelled.is_empty()) {
            spelled.push(bare);
            // A comma or a full stop ends a number: "twenty, five".
            if word.ends_with(bare) {
                continue;
            }
        }
        if let Some(whole) = value(&std::mem::take(&mut spelled)) {
            numbers.push(Number { whole: Some(whole), ..Number::default() });
        }
        if bare.starts_with("cent") || matches!(bare, "penny" | "pence") {
            if let Some(number) = numbers.last_mut() {
                number.is_cents = true;
            }
        } else if bare == "percent" || word.contains('%') {
            // A share is no amount.
            numbers.pop_if(|_| bare == "percent");
        } else if bare.bytes().any(|byte| byte.is_ascii_digit()) {
            numbers.push(figures(bare, exponent));
        }
    }
    if let Some(whole) = value(&spelled) {
        numbers.push(Number { whole: Some(whole), ..Number::default() });
    }
    numbers
}

/// `1250`, `1,250`, `1.250,00` and the like.
fn figures(word: &str, exponent: usize) -> Number {
    let integer = |text: &str| {
        let digits: String = text.chars().filter(|c| !matches!(c, ',' | '.' | '\'' | '’')).collect();
        digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match word.rsplit_once(['.', ',']) {
        Some((_, fraction)) if fraction.len() == exponent => Number { minor_units: integer(word), ..Number::default() },
        Some((_, group)) if group.len() != 3 => Number::default(),
        _ => Number { whole: integer(word), ..Number::default() },
    }
}

/// English number words and what they are worth.
const WORDS: [(&str, u64); 30] = [
    ("zero", 0),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("seventeen", 17),
    ("eighteen", 18),
    ("nineteen", 19),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("fifty", 50),
    ("sixty", 60),
    ("seventy", 70),
    ("eighty", 80),
    ("ninety", 90),
    ("hundred", 100),
    ("thousand", 1000),
];

/// What number words are worth together, below a million; nothing if they are not one number.
fn value(words: &[&str]) -> Option<u64> {
    let (mut thousands, mut rest, mut room) = (0, 0, u64::MAX);
    for word in words.iter().filter(|word| **word != "and") {
        match WORDS.iter().find(|(known, _)| known == word)?.1 {
            1000 if thousands == 0 && (1..1000).contains(&rest) => {
                (thousands, rest, room) = (rest * 1000, 0, u64::MAX);
            }
            100 if (1..10).contains(&rest) => (rest, room) = (rest * 100, 100),
            worth @ 20..100 if room > 20 => (rest, room) = (rest + worth, 10),
            worth @ 0..20 if room > worth && (room != 10 || worth > 0) => (rest, room) = (rest + worth, 0),
            _ => return None,
        }
    }
    (!words.is_empty()).then_some(thousands + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Currency;
    use proptest::prelude::*;

    fn usd(text: &str) -> Amount {
        Amount::parse(text, Currency::USD).unwrap().unwrap()
    }

    #[test]
    fn an_amount_is_named_in_figures_or_in_english_words() {
        for (words, amount) in [
            ("That is 25.00 dollars. Shall I go ahead?", "25"),
            ("That's $25, all right?", "25"),
            ("I would charge $1,250.50 now.", "1250.50"),
            ("Das sind 1.250,50 Euro.", "1250.50"),
            ("That is 1,250 dollars.", "1250"),
            ("Your total is twenty-five dollars. Is that right?", "25"),
            ("Twenty-five dollars and ten cents, then?", "25.10"),
            ("25 dollars and 10 cents.", "25.10"),
            ("One hundred and fifty dollars?", "150"),
            ("Two thousand three hundred and forty-five dollars", "2345"),
            ("That makes nineteen dollars.", "19"),
            ("That is fifty cents.", "0.50"),
            ("Only 75 cents, all right?", "0.75"),
            ("With 25% off that is 30 dollars.", "30"),
        ] {
            assert!(names(words, usd(amount)), "{words}");
        }
    }

    #[test]
    fn another_amount_or_none_is_not_this_one() {
        for (words, amount) in [
            ("Twenty-five dollars.", "20"),
            ("Twenty-five dollars.", "5"),
            ("Twenty-five dollars and ten cents.", "25"),
            ("25 dollars and 10 cents", "25"),
            ("$25.50?", "25"),
            ("$2500?", "25"),
            ("$1,250?", "1"),
            ("One hundred and fifty dollars", "100"),
            ("Fifteen dollars?", "50"),
            ("ten twenty five", "25"),
            ("There is a fee of fifty cents.", "50"),
            ("50 cents", "50"),
            ("Twenty-five dollars and fifty cents.", "0.50"),
            ("You get 25% off.", "25"),
            ("You get twenty-five percent off.", "25"),
            ("How can I help you today?", "25"),
            ("", "25"),
        ] {
            assert!(!names(words, usd(amount)), "{words}");
        }
    }

    fn spell(number: u64) -> String {
        let word = |worth: u64| WORDS.iter().find(|(_, known)| *known == worth).unwrap().0.to_owned();
        match number {
            0..=20 => word(number),
            21..100 if number.is_multiple_of(10) => word(number),
            21..100 => format!("{}-{}", word(number - number % 10), word(number % 10)),
            100..1000 if number.is_multiple_of(100) => format!("{} hundred", word(number / 100)),
            100..1000 => format!("{} hundred and {}", word(number / 100), spell(number % 100)),
            _ if number.is_multiple_of(1000) => format!("{} thousand", spell(number / 1000)),
            _ => format!("{} thousand {}", spell(number / 1000), spell(number % 1000)),
        }
    }

    proptest! {
        #[test]
        fn what_is_spelled_is_that_amount_and_no_other(number in 1_u64..1_000_000, other in 1_u64..1_000_000) {
            let words = format!("That is {} dollars. Shall I go ahead?", spell(number));
            prop_assert!(names(&words, usd(&number.to_string())), "{}", words);
            prop_assert_eq!(names(&words, usd(&other.to_string())), number == other);
        }

        #[test]
        fn no_words_panic(words in "\\PC{0,60}|([a-z0-9., -]| and | hundred| thousand| five){0,20}", minor in 1_u64..99_999) {
            let _ = names(&words, usd(&format!("{}.{:02}", minor / 100, minor % 100)));
        }
    }
}
