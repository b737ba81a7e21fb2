//! `send-dtmf`: keypad tones go to the other side.

use crate::call::Outcome;
use crate::relay::{Digits, Outgoing};

/// Sends tones after what is being said, for example to get through another party's menu.
pub(super) async fn send_dtmf(digits: Digits) -> Outcome {
    Outcome::Send(Outgoing::SendDigits { digits })
}
