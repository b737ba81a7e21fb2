//! The ConversationRelay protocol: the frames of its WebSocket in both directions, and the TwiML that starts it.
//!
//! This module does no I/O. Frames are parsed leniently and written strictly: Twilio ends a session after ten invalid
//! frames in a row.

#[cfg(any(fuzzing, test))]
mod fuzzing;
mod incoming;
mod outgoing;
pub(crate) mod twiml;

#[cfg(any(fuzzing, test))]
pub use fuzzing::check_relay_frame;
pub(crate) use incoming::{IncomingFrame, Info, Interrupt, Prompt, RECONNECT, Setup};
pub(crate) use outgoing::{Digits, LanguageSwitch, OutgoingFrame};
