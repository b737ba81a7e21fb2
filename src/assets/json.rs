//! Reading JSON so that an error knows its line, and a key that nobody reads is noticed.

use std::fmt;
use std::time::Duration;

use serde::de::{DeserializeOwned, Deserializer, Error, Unexpected, Visitor};

use super::AssetError;
use super::file::File;
use crate::relay::twiml::is_xml;

/// Reads the whole file, and the keys in it that nothing was read from.
pub(super) fn parse<T: DeserializeOwned>(file: &File) -> Result<(T, Vec<String>), AssetError> {
    let mut ignored = Vec::new();
    let mut json = serde_json::Deserializer::from_str(&file.text);
    let value = serde_ignored::deserialize(&mut json, |path| ignored.push(path.to_string()))
        .and_then(|value| json.end().map(|()| value))
        .map_err(|err| invalid(file, &err))?;
    Ok((value, ignored))
}

/// An error with its place in front, as compilers write it, and not at the end.
pub(super) fn invalid(file: &File, err: &serde_json::Error) -> AssetError {
    AssetError::Invalid { file: file.label.clone(), line: err.line().max(1), what: without_place(err) }
}

/// What is wrong, without where.
pub(super) fn without_place(err: &serde_json::Error) -> String {
    let text = err.to_string();
    let place = format!(" at line {} column {}", err.line(), err.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

/// Reads a text and says what is wrong with it on the spot: only there its line is known.
pub(super) fn text<'de, D, T, F>(json: D, expected: &'static str, read: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: FnOnce(&str) -> Result<T, String>,
{
    struct Text<F>(&'static str, F);

    impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for Text<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.1)(text).map_err(E::custom)
        }
    }

    json.deserialize_str(Text(expected, read))
}

/// The longest text that the server says by itself, in bytes.
const MAX_SPEECH: usize = 1000;

/// Something to say: not blank, and not a lecture.
pub(super) fn speech<'de, D: Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    text(json, "something to say", |text| match text.trim() {
        "" => Err("expected something to say".to_owned()),
        text if text.len() > MAX_SPEECH => Err(format!("expected at most {MAX_SPEECH} bytes to say")),
        text => writable(text).map(|()| text.to_owned()),
    })
}

/// Refuses what TwiML cannot hold: Twilio would refuse the document of every call.
pub(super) fn writable(text: &str) -> Result<(), String> {
    let written = text.chars().all(is_xml);
    written.then_some(()).ok_or_else(|| "expected no control characters".to_owned())
}

/// A time in seconds, whole or not, from `MIN` to `MAX`.
pub(super) fn seconds<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(
    json: D,
) -> Result<Duration, D::Error> {
    struct Seconds<const MIN: u32, const MAX: u32>;

    impl<const MIN: u32, const MAX: u32> Visitor<'_> for Seconds<MIN, MAX> {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "seconds from {MIN} to {MAX}")
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            let fits = (u64::from(MIN)..=u64::from(MAX)).contains(&seconds);
            let refused = || E::invalid_value(Unexpected::Unsigned(seconds), &self);
            fits.then(|| Duration::from_secs(seconds)).ok_or_else(refused)
        }

        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            let fits = (f64::from(MIN)..=f64::from(MAX)).contains(&seconds);
            let refused = || E::invalid_value(Unexpected::Float(seconds), &self);
            fits.then(|| Duration::from_secs_f64(seconds)).ok_or_else(refused)
        }
    }

    json.deserialize_f64(Seconds::<MIN, MAX>)
}

/// A whole number from 0 to `MAX`.
pub(super) fn at_most<'de, const MAX: u32, D: Deserializer<'de>>(json: D) -> Result<u32, D::Error> {
    whole::<0, MAX, D>(json)
}

/// A whole number from `MIN` to `MAX`.
pub(super) fn whole<'de, const MIN: u32, const MAX: u32, D: Deserializer<'de>>(json: D) -> Result<u32, D::Error> {
    struct Whole<const MIN: u32, const MAX: u32>;

    impl<const MIN: u32, const MAX: u32> Visitor<'_> for Whole<MIN, MAX> {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from {MIN} to {MAX}")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
            let fits = u32::try_from(number).ok().filter(|number| (MIN..=MAX).contains(number));
            fits.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }

    json.deserialize_u32(Whole::<MIN, MAX>)
}

/// Takes the white space out of JSON, except within strings.
pub(super) fn compact(json: &str) -> String {
    let mut quoted = false;
    let mut escaped = false;
    let mut kept = |c: &char| {
        let within = quoted;
        if !escaped && *c == '"' {
            quoted = !quoted;
        }
        escaped = within && !escaped && *c == '\\';
        within || !c.is_ascii_whitespace()
    };
    json.chars().filter(|c| kept(c)).collect()
}
