//! Twilio's identifiers (SIDs): bounded, safe to print, and no place for a card number.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserialize;
use uuid::Uuid;

use crate::redact::{has_card_number, hides_card_number_of_known_brand};

/// A phone call (`CA…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallResource {}

/// A payment session on a call (`PK…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaymentResource {}

/// A recording of a call (`RE…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordingResource {}

/// A text message (`SM…`, or `MM…` with media).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageResource {}

/// The SID of a call; the key of everything that belongs to it.
pub type CallSid = Sid<CallResource>;

/// The SID of one payment session. The status callback carries it as `Sid`.
pub type PaymentSid = Sid<PaymentResource>;

/// The SID of a recording.
pub type RecordingSid = Sid<RecordingResource>;

/// The SID of a text message.
pub type MessageSid = Sid<MessageResource>;

/// Twilio's identifier of an `Of`.
///
/// Twilio's are two capital letters and 32 hexadecimal digits. Two capital letters and 1 to 62 letters, digits, `_` or
/// `-` are accepted, as long as they are no card number: SIDs are in every log line, in the ledger and in webhooks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Sid<Of>(Box<str>, PhantomData<Of>);

/// The text is not a valid SID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SID is two capital letters and 1 to 62 letters or digits that are no card number")]
pub struct ParseSidError;

/// The beginning of an identifier of a chat.
const CHAT_PREFIX: &str = "chat-";

/// The longest SID, in bytes.
const MAX_SID_BYTES: usize = 64;

impl CallSid {
    /// The identifier of a chat, which no request of Twilio's can name.
    pub(crate) fn of_chat(id: Uuid) -> Self {
        Self(format!("{CHAT_PREFIX}{id}").into(), PhantomData)
    }
}

impl<Of> Sid<Of> {
    /// A SID that this program wrote, perhaps in an earlier version that accepted more.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text.into(), PhantomData)
    }

    /// The identifier as Twilio wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<Of> FromStr for Sid<Of> {
    type Err = ParseSidError;

    fn from_str(text: &str) -> Result<Self, ParseSidError> {
        let [b'A'..=b'Z', b'A'..=b'Z', rest @ ..] = text.as_bytes() else { return Err(ParseSidError) };
        let is_accepted = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let fits = !rest.is_empty() && text.len() <= MAX_SID_BYTES && rest.iter().all(is_accepted);
        if !fits || hides_card_number(text, rest) {
            return Err(ParseSidError);
        }
        Ok(Self(text.into(), PhantomData))
    }
}

/// Whether a SID has a card number in the place of its digits. One in some thousands of genuine SIDs has some digits in
/// a row that would pass for one, so a SID of Twilio's shape is refused only if it has no letters, which one in millions
/// has not.
fn hides_card_number(text: &str, rest: &[u8]) -> bool {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if rest.len() == 32 && rest.iter().all(is_hex) {
        return rest.iter().all(u8::is_ascii_digit) && hides_card_number_of_known_brand(text);
    }
    has_card_number(text)
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
    fn a_prefix_with_letters_and_digits_is_accepted() {
        // The digits in a row of the third one are a card number, as those of some genuine SIDs are.
        let genuine = ["CA00000000000000000000000000000001", "CA1", "CAab4242424242424242cdefabcdefabcd"];
        for text in genuine.into_iter().chain(["PKffffffffffffffffffffffffffffffff", "CAabc-DEF_9"]) {
            assert_eq!(text.parse::<CallSid>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let (long, huge) = (format!("CA{}", "a".repeat(63)), "C".repeat(10 * 1024));
        for text in [
            "",
            "CA",
            "CA42424242424242424242424242424242",
            "PK00000000378282246310005123456789",
            "x",
            "ca1",
            "C1",
            "CA 1",
            "CA\n1",
            "CA\u{1b}[2J",
            "CÄ1",
            "CA1/..",
            "CA\0",
            "v3:abc",
            &long,
            &huge,
        ] {
            assert_eq!(text.parse::<CallSid>(), Err(ParseSidError), "{text:?}");
        }
    }

    #[test]
    fn a_card_number_is_no_sid() {
        for text in [
            "4242424242424242",
            "CA4242424242424242",
            "CA4242-4242-4242-4242",
            "CAx4242424242424242y",
            "CA00000000000000004242424242424242",
            "CA0000000000000000378282246310005",
        ] {
            assert_eq!(text.parse::<CallSid>(), Err(ParseSidError), "{text}");
        }
    }
}
