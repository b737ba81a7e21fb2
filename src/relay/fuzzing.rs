//! What must hold for any frame of a socket, as a check for a fuzzer.

use super::IncomingFrame;
use crate::redact::has_card_number;

/// Checks a text frame: it is read or refused, and neither the frame nor the error shows a card number in the log.
pub fn check_relay_frame(frame: &[u8]) {
    let frame = String::from_utf8_lossy(frame);
    let logged = match IncomingFrame::parse(&frame) {
        Ok(frame) => format!("{frame:?}"),
        Err(error) => format!("{error} {}", error.has_type()),
    };
    assert!(!has_card_number(&logged), "{logged}");
}
