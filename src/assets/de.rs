//! Deserializers and helpers for the JSON of assets.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use url::Url;

use crate::config;
use crate::relay::twiml::is_xml_char;

/// The message of a JSON error without its position.
pub(super) fn message_without_position(err: &serde_json::Error) -> String {
    let text = err.to_string();
    let place = format!(" at line {} column {}", err.line(), err.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// Deserializes a string with `read`. A failure becomes an error of the deserializer, which adds the line.
pub(super) fn text<'de, D, T, F>(json: D, expected: &'static str, read: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: FnOnce(&str) -> Result<T, String>,
{
    struct TextVisitor<F>(&'static str, F);

    impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for TextVisitor<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.1)(text).map_err(E::custom)
        }
    }

    json.deserialize_str(TextVisitor(expected, read))
}

/// The longest text that the server speaks itself, in bytes.
const MAX_SPEECH_BYTES: usize = 1000;

/// Deserializes a text to speak: not blank, and at most [`MAX_SPEECH_BYTES`] long.
pub(super) fn speech<'de, D: Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    text(json, "something to say", parse_speech)
}

/// Parses a text to speak: not blank, and at most [`MAX_SPEECH_BYTES`] long.
pub(super) fn parse_speech(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected something to say".to_owned()),
        text if text.len() > MAX_SPEECH_BYTES => Err(format!("expected at most {MAX_SPEECH_BYTES} bytes to say")),
        text => check_xml_text(text).map(|()| text.to_owned()),
    }
}

/// Deserializes a text to speak that may be missing.
pub(super) fn optional_speech<'de, D: Deserializer<'de>>(json: D) -> Result<Option<String>, D::Error> {
    speech(json).map(Some)
}

/// Deserializes a URL of the business: https, or http to this machine.
pub(super) fn business_url<'de, D: Deserializer<'de>>(json: D) -> Result<Url, D::Error> {
    text(json, "a URL", |url| {
        config::parse_business_url(url).map_err(|error| format!("the URL {error}: {}", config::BUSINESS_URL))
    })
}

/// Rejects characters that XML cannot contain: Twilio would reject the TwiML of every call.
pub(super) fn check_xml_text(text: &str) -> Result<(), String> {
    let is_valid = text.chars().all(is_xml_char);
    is_valid.then_some(()).ok_or_else(|| "expected no control characters".to_owned())
}

/// Deserializes a duration in seconds from `MIN` to `MAX`; fractions are allowed.
pub(super) fn seconds<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(
    json: D,
) -> Result<Duration, D::Error> {
    struct SecondsVisitor<const MIN: u32, const MAX: u32>;

    impl<const MIN: u32, const MAX: u32> Visitor<'_> for SecondsVisitor<MIN, MAX> {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "seconds from {MIN} to {MAX}")
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            let fits = (u64::from(MIN)..=u64::from(MAX)).contains(&seconds);
            let invalid = || E::invalid_value(Unexpected::Unsigned(seconds), &self);
            fits.then(|| Duration::from_secs(seconds)).ok_or_else(invalid)
        }

        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            let fits = (f64::from(MIN)..=f64::from(MAX)).contains(&seconds);
            let invalid = || E::invalid_value(Unexpected::Float(seconds), &self);
            fits.then(|| Duration::from_secs_f64(seconds)).ok_or_else(invalid)
        }
    }

    json.deserialize_f64(SecondsVisitor::<MIN, MAX>)
}

/// Deserializes an integer from 0 to `MAX`.
pub(super) fn at_most<'de, const MAX: u32, D: Deserializer<'de>>(json: D) -> Result<u32, D::Error> {
    whole::<0, MAX, D>(json)
}

/// Deserializes an integer from `MIN` to `MAX`.
pub(super) fn whole<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(json: D) -> Result<u32, D::Error> {
    struct IntegerVisitor<const MIN: u32, const MAX: u32>;

    impl<const MIN: u32, const MAX: u32> Visitor<'_> for IntegerVisitor<MIN, MAX> {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from {MIN} to {MAX}")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
            let fits = u32::try_from(number).ok().filter(|number| (MIN..=MAX).contains(number));
            fits.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }

    json.deserialize_u32(IntegerVisitor::<MIN, MAX>)
}

/// Deserializes a duration in whole milliseconds from `MIN` to `MAX`.
pub(super) fn milliseconds<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(
    json: D,
) -> Result<Duration, D::Error> {
    whole::<MIN, MAX, D>(json).map(|milliseconds| Duration::from_millis(milliseconds.into()))
}
