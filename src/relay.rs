//! The ConversationRelay protocol: the frames of its WebSocket in both directions, and the TwiML that starts it.
//!
//! This module does no I/O. Frames are parsed leniently and written strictly: Twilio ends a session after ten invalid
//! frames in a row.

mod incoming;
mod outgoing;
pub(crate) mod twiml;

pub(crate) use incoming::{IncomingFrame, Info, Interrupt, Prompt, RECONNECT, Setup};
pub(crate) use outgoing::{Digits, LanguageSwitch, OutgoingFrame};
