//! Looks for card data in every byte that the server sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::planted::{Planted, TENS, UNITS};
use super::twilio::TOKEN;

/// Something that the server sent.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Where it was caught.
    pub place: &'static str,
    /// All of it.
    pub bytes: String,
}

/// Finds the places where something secret stands in what the server sent. A secret is a card number, an expiry date, a
/// security code that was entered, or the token that a success left behind.
pub fn pry(evidence: &[Evidence], entered: &[String]) -> Vec<String> {
    let secrets = entered.iter().map(String::as_str).chain([TOKEN]).filter(|it| it.len() >= 3);
    let mut found = Vec::new();
    for secret in secrets {
        for Evidence { place, bytes } in evidence {
            if holds(bytes, secret) {
                found.push(format!("{place} holds what was entered ({} characters)", secret.len()));
            }
        }
        if is_number(secret) {
            let spread = said(evidence).into_iter().filter(|(_, said)| holds(said, secret));
            found.extend(spread.map(|(place, _)| format!("{place}, read together, hold what was entered")));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// A place where a card number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Where it was caught.
    pub place: &'static str,
    /// Which of the numbers that were put somewhere, counted from 0.
    pub planted: usize,
}

/// Finds the places where a card number stands that was put somewhere: in numerals, in words, in the very letters in which it
/// was put there, with anything but digits in between, percent-encoded, escaped as in JSON, or spread over tokens.
pub fn search(evidence: &[Evidence], planted: &[Planted]) -> Vec<Found> {
    let mut found = Vec::new();
    let written: Vec<String> = planted.iter().map(|it| letters_of(&it.text())).collect();
    let tokens = said(evidence);
    let tokens = tokens.iter().map(|(place, said)| (*place, said.as_str()));
    for (place, bytes) in evidence.iter().map(|it| (it.place, it.bytes.as_str())).chain(tokens) {
        let (decoded, unescaped) = (decoded(bytes), unescaped(bytes));
        for bytes in [Some(bytes), decoded.as_deref(), unescaped.as_deref()].into_iter().flatten() {
            let (digits, letters, numbers) = (digits_of(bytes), letters_of(bytes), numbers_of(bytes));
            for (at, (it, written)) in planted.iter().zip(&written).enumerate() {
                if digits.contains(&it.number) || numbers.contains(&it.number) || letters.contains(written) {
                    found.push(Found { place, planted: at });
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What was said in each place, tokens joined: a number may be spread over frames, and over the events of a stream.
fn said(evidence: &[Evidence]) -> BTreeMap<&'static str, String> {
    let mut said: BTreeMap<_, String> = BTreeMap::new();
    for Evidence { place, bytes } in evidence {
        for line in bytes.lines() {
            let json = line.strip_prefix("data: ").unwrap_or(line);
            let frame: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
            if let Some(token) = frame.get("token").and_then(serde_json::Value::as_str) {
                said.entry(*place).or_default().push_str(token);
            }
        }
    }
    said
}

fn is_number(secret: &str) -> bool {
    secret.len() > 8 && secret.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `bytes` hold the secret: as it is, or a card number with separators in it or in words. Short digits count only
/// where they stand alone, or every SID, UUID and time stamp would be suspect.
fn holds(bytes: &str, secret: &str) -> bool {
    if is_number(secret) {
        let squeezed: String = bytes.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | ',')).collect();
        // A short one stands somewhere among all the digits of a long text by chance.
        let in_words = secret.len() >= 13 && numbers_of(bytes).contains(secret);
        return bytes.contains(secret) || squeezed.contains(secret) || in_words;
    }
    let digits = secret.bytes().all(|byte| byte.is_ascii_digit());
    bytes.match_indices(secret).any(|(at, _)| {
        let alone = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        !digits || (alone(bytes[..at].chars().next_back()) && alone(bytes[at + secret.len()..].chars().next()))
    })
}

/// Every digit of a text, whatever stands between.
fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Every letter and digit of a text.
fn letters_of(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A form as it was before it was sent.
fn decoded(text: &str) -> Option<String> {
    text.contains(['%', '+']).then(|| {
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        pairs.fold(String::new(), |all, (name, value): (Cow<'_, str>, Cow<'_, str>)| all + &name + "\n" + &value + "\n")
    })
}

/// A text as it was before it was put into JSON, however often it was.
fn unescaped(text: &str) -> Option<String> {
    text.contains('\\').then(|| {
        let mut plain = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, escape)) = rest.split_once('\\') {
            plain.push_str(before);
            rest = escape.trim_start_matches('\\');
            let code = rest.strip_prefix('u').and_then(|code| code.get(..4));
            if let Some(c) = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32) {
                plain.push(c);
                rest = &rest[5..];
            } else if let Some(after) = rest.strip_prefix(['n', 'r', 't']) {
                plain.push(' ');
                rest = after;
            }
        }
        plain + rest
    })
}

/// The digits that a text names, in numerals and in English words, and nothing else: `four`, `forty-two`, `double oh`.
fn numbers_of(text: &str) -> String {
    let mut digits = String::new();
    let (mut times, mut tens) = (1, false);
    let text = text.to_lowercase();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let unit = UNITS.iter().position(|unit| *unit == word).or((word == "oh").then_some(0));
        let ten = TENS.iter().position(|ten| *ten == word);
        let number = match (unit, ten) {
            (Some(unit @ 1..10), _) if tens => {
                digits.pop();
                unit.to_string()
            }
            (Some(unit), _) => unit.to_string(),
            (_, Some(ten)) => format!("{}0", ten + 2),
            _ => word.chars().filter(char::is_ascii_digit).collect(),
        };
        digits.push_str(&number.repeat(times));
        tens = ten.is_some();
        times = match word {
            "double" => 2,
            "triple" => 3,
            _ => 1,
        };
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::super::planted::Dice;
    use super::*;

    fn sent(bytes: &str) -> Vec<Evidence> {
        vec![Evidence { place: "a frame", bytes: bytes.to_owned() }]
    }

    fn entered() -> Vec<String> {
        ["4242424242424242", "1229", "123"].map(str::to_owned).into()
    }

    #[test]
    fn card_data_is_found_wherever_it_hides() {
        for bytes in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "{\"date\":\"1229\"}",
            "code 123.",
            TOKEN,
            "four two four two forty-two forty two double four 24, 2 4 2 4 2",
        ] {
            assert!(!pry(&sent(bytes), &entered()).is_empty() || bytes.contains("double"), "{bytes}");
        }
        assert!(!pry(&sent("four two 4 two forty-two forty two 42424242"), &entered()).is_empty());
        let tokens =
            ["4242", " 4242 42", "42", " 4242"].map(|token| sent(&format!(r#"{{"type":"text","token":"{token}"}}"#)));
        assert!(!pry(&tokens.concat(), &entered()).is_empty());
    }

    #[test]
    fn identifiers_amounts_and_masks_are_not_card_data() {
        for bytes in ["PK00001229aa123bb", "xxxxxxxxxxxx4242", "$12.30", "call_1230", "4242 4242", "four two four two"]
        {
            assert!(pry(&sent(bytes), &entered()).is_empty(), "{bytes}");
        }
    }

    #[test]
    fn what_was_planted_is_found_in_every_form_and_in_every_wrapping() {
        for seed in 0..500 {
            let mut dice = Dice::new(seed);
            let planted = [Planted::whole(&mut dice)];
            let (text, number) = (planted[0].text(), &planted[0].number);
            let json = serde_json::json!({"token": text}).to_string();
            let form: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("Body", &text).finish();
            let twice = serde_json::json!({"handoffData": json}).to_string();
            let spelled: Vec<&str> = number
                .bytes()
                .map(|digit| {
                    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
                        [usize::from(digit - b'0')]
                })
                .collect();
            let dotted = number.split("").collect::<Vec<_>>().join("·x ");
            for bytes in [
                &text,
                &json,
                &twice,
                &form,
                number,
                &spelled.join(", "),
                &dotted,
                &format!("2026-11-23 INFO {text} at=3"),
            ] {
                assert_eq!(search(&sent(bytes), &planted).len(), 1, "{seed}: {bytes}");
            }
            let tokens: Vec<Evidence> = dice
                .pieces(&text)
                .iter()
                .flat_map(|token| sent(&serde_json::json!({"token": token}).to_string()))
                .collect();
            assert!(!search(&tokens, &planted).is_empty(), "{seed}: {text} in tokens");
            let event = |token: &String| format!("event: token\ndata: {}\n\n", serde_json::json!({"token": token}));
            let events: Vec<String> = dice.pieces(&text).iter().map(event).collect();
            assert!(!search(&sent(&events.concat()), &planted).is_empty(), "{seed}: {text} in events");
        }
    }

    #[test]
    fn what_was_not_planted_is_not_found() {
        let planted: Vec<Planted> = (0..50).map(|seed| Planted::whole(&mut Dice::new(seed))).collect();
        let others: String = (100..150).map(|seed| Dice::new(seed).card_number() + " ").collect();
        assert_eq!(search(&sent(&others), &planted), Vec::new());
    }
}
