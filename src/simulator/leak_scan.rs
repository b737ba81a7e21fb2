//! Searches the captured output of the server for card data.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::card_samples::{CardSample, TENS, UNITS};

/// A piece of output of the server.
#[derive(Debug, Clone)]
pub(crate) struct CapturedOutput {
    /// The name of the output channel.
    pub channel: &'static str,
    /// The content.
    pub bytes: String,
}

/// Searches the output for secrets: the entered values (card number, expiry date, security code) and the payment token
/// of a success. Returns one description per channel and secret.
pub(crate) fn find_entered_card_data(output: &[CapturedOutput], secrets: &[String]) -> Vec<String> {
    let secrets = secrets.iter().map(String::as_str).filter(|it| it.len() >= 3);
    let mut found = Vec::new();
    for secret in secrets {
        for CapturedOutput { channel, bytes } in output {
            if contains_secret(bytes, secret) {
                found.push(format!("{channel} contains an entered value ({} characters)", secret.len()));
            }
        }
        if is_long_number(secret) {
            let spread = joined_tokens(output).into_iter().filter(|(_, text)| contains_secret(text, secret));
            found.extend(spread.map(|(channel, _)| format!("{channel}, with tokens joined, contain an entered value")));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// A card sample found in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SampleMatch {
    /// The name of the output channel.
    pub channel: &'static str,
    /// The index of the sample.
    pub sample: usize,
}

/// Searches the output for card samples: as digits with any separators, as number words, as the sample's own text,
/// percent-encoded, JSON-escaped, or split over tokens.
pub(crate) fn find_samples(output: &[CapturedOutput], samples: &[CardSample]) -> Vec<SampleMatch> {
    let mut found = Vec::new();
    let written: Vec<String> = samples.iter().map(|it| letters_of(&it.text())).collect();
    let tokens = joined_tokens(output);
    let tokens = tokens.iter().map(|(channel, text)| (*channel, text.as_str()));
    for (channel, bytes) in output.iter().map(|it| (it.channel, it.bytes.as_str())).chain(tokens) {
        let (decoded, unescaped) = (decode_form(bytes), unescape_json(bytes));
        for bytes in [Some(bytes), decoded.as_deref(), unescaped.as_deref()].into_iter().flatten() {
            let (digits, letters, numbers) = (digits_of(bytes), letters_of(bytes), number_words_as_digits(bytes));
            for (at, (it, written)) in samples.iter().zip(&written).enumerate() {
                if digits.contains(&it.number) || numbers.contains(&it.number) || letters.contains(written) {
                    found.push(SampleMatch { channel, sample: at });
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Joins the `token` values of each channel, because a number may be split over frames or over the events of a stream.
fn joined_tokens(output: &[CapturedOutput]) -> BTreeMap<&'static str, String> {
    let mut text: BTreeMap<_, String> = BTreeMap::new();
    for CapturedOutput { channel, bytes } in output {
        for line in bytes.lines() {
            let json = line.strip_prefix("data: ").unwrap_or(line);
            let frame: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
            if let Some(token) = frame.get("token").and_then(serde_json::Value::as_str) {
                text.entry(*channel).or_default().push_str(token);
            }
        }
    }
    text
}

fn is_long_number(secret: &str) -> bool {
    secret.len() > 8 && secret.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `bytes` contain the secret: literally, or, for a card number, with separators or in words. Short digit
/// sequences must stand alone, because SIDs, UUIDs and timestamps contain them by chance.
fn contains_secret(bytes: &str, secret: &str) -> bool {
    if is_long_number(secret) {
        let squeezed: String = bytes.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | ',')).collect();
        // A shorter one would be found among the digits of a long text by chance.
        let in_words = secret.len() >= 13 && number_words_as_digits(bytes).contains(secret);
        return bytes.contains(secret) || squeezed.contains(secret) || in_words;
    }
    let digits = secret.bytes().all(|byte| byte.is_ascii_digit());
    bytes.match_indices(secret).any(|(at, _)| {
        let alone = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        !digits || (alone(bytes[..at].chars().next_back()) && alone(bytes[at + secret.len()..].chars().next()))
    })
}

/// All digits of a text, without what separates them.
fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// All letters and digits of a text, in lower case.
fn letters_of(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Decodes a text as `application/x-www-form-urlencoded` if it looks encoded.
fn decode_form(text: &str) -> Option<String> {
    text.contains(['%', '+']).then(|| {
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        pairs.fold(String::new(), |all, (name, value): (Cow<'_, str>, Cow<'_, str>)| all + &name + "\n" + &value + "\n")
    })
}

/// Removes JSON escapes, however often the text was escaped.
fn unescape_json(text: &str) -> Option<String> {
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

/// The digits that a text contains as numerals or English number words: `four`, `forty-two`, `double oh`.
fn number_words_as_digits(text: &str) -> String {
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
    use super::super::card_samples::SeededRng;
    use super::*;

    fn sent(bytes: &str) -> Vec<CapturedOutput> {
        vec![CapturedOutput { channel: "a frame", bytes: bytes.to_owned() }]
    }

    fn entered() -> Vec<String> {
        ["4242424242424242", "1229", "123", "tok_hgyvy76_simulated"].map(str::to_owned).into()
    }

    #[test]
    fn card_data_is_found_in_every_form() {
        for bytes in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "{\"date\":\"1229\"}",
            "code 123.",
            "tok_hgyvy76_simulated",
            "four two four two forty-two forty two double four 24, 2 4 2 4 2",
        ] {
            assert!(
                !find_entered_card_data(&sent(bytes), &entered()).is_empty() || bytes.contains("double"),
                "{bytes}"
            );
        }
        assert!(!find_entered_card_data(&sent("four two 4 two forty-two forty two 42424242"), &entered()).is_empty());
        let tokens =
            ["4242", " 4242 42", "42", " 4242"].map(|token| sent(&format!(r#"{{"type":"text","token":"{token}"}}"#)));
        assert!(!find_entered_card_data(&tokens.concat(), &entered()).is_empty());
    }

    #[test]
    fn identifiers_amounts_and_masks_are_not_card_data() {
        for bytes in ["PK00001229aa123bb", "xxxxxxxxxxxx4242", "$12.30", "call_1230", "4242 4242", "four two four two"]
        {
            assert!(find_entered_card_data(&sent(bytes), &entered()).is_empty(), "{bytes}");
        }
    }

    #[test]
    fn samples_are_found_in_every_encoding() {
        for seed in 0..500 {
            let mut rng = SeededRng::new(seed);
            let samples = [CardSample::random(&mut rng)];
            let (text, number) = (samples[0].text(), &samples[0].number);
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
                assert_eq!(find_samples(&sent(bytes), &samples).len(), 1, "{seed}: {bytes}");
            }
            let tokens: Vec<CapturedOutput> = rng
                .split(&text)
                .iter()
                .flat_map(|token| sent(&serde_json::json!({"token": token}).to_string()))
                .collect();
            assert!(!find_samples(&tokens, &samples).is_empty(), "{seed}: {text} in tokens");
            let event = |token: &String| format!("event: token\ndata: {}\n\n", serde_json::json!({"token": token}));
            let events: Vec<String> = rng.split(&text).iter().map(event).collect();
            assert!(!find_samples(&sent(&events.concat()), &samples).is_empty(), "{seed}: {text} in events");
        }
    }

    #[test]
    fn other_card_numbers_are_not_found() {
        let samples: Vec<CardSample> = (0..50).map(|seed| CardSample::random(&mut SeededRng::new(seed))).collect();
        let others: String = (100..150).map(|seed| SeededRng::new(seed).card_number() + " ").collect();
        assert_eq!(find_samples(&sent(&others), &samples), Vec::new());
    }
}
