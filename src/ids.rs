//! Twilio's identifiers (SIDs): opaque, bounded, safe to print.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserialize;

/// A phone call (`CA…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallResource {}

/// A payment session on a call (`PK…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaymentResource {}

/// A text message (`SM…`, or `MM…` with media).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageResource {}

/// The SID of a call; the key of everything that belongs to it.
pub type CallSid = Sid<CallResource>;

/// The SID of one payment session. The status callback carries it as `Sid`.
pub type PaymentSid = Sid<PaymentResource>;

/// The SID of a text message.
pub type MessageSid = Sid<MessageResource>;

/// Twilio's identifier of an `Of`.
///
/// The shape is not checked, since other carriers that speak the same protocol use other shapes; only that it can
/// stand in a log line and, percent-encoded, in a path: 1 to 128 printable ASCII characters without a space.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Sid<Of>(Box<str>, PhantomData<Of>);

/// The text is not a valid SID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SID is 1 to 128 printable ASCII characters without a space")]
pub struct ParseSidError;

impl<Of> Sid<Of> {
    /// The identifier as Twilio wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<Of> FromStr for Sid<Of> {
    type Err = ParseSidError;

    fn from_str(text: &str) -> Result<Self, ParseSidError> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.into(), PhantomData)).ok_or(ParseSidError)
    }
}

impl<Of> TryFrom<String> for Sid<Of> {
    type Error = ParseSidError;

    fn try_from(text: String) -> Result<Self, ParseSidError> {
        text.parse()
    }
}

impl<Of> fmt::Display for Sid<Of> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<Of> fmt::Debug for Sid<Of> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_printable_identifier_is_accepted() {
        for text in ["CA00000000000000000000000000000001", "v3:abc-DEF_9", "x"] {
            assert_eq!(text.parse::<CallSid>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_could_break_a_log_line_or_a_map_is_refused() {
        let long = "C".repeat(129);
        for text in ["", "CA 1", "CA\n1", "CÄ1", long.as_str()] {
            assert_eq!(text.parse::<CallSid>(), Err(ParseSidError));
        }
    }
}
