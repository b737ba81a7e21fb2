//! What ConversationRelay speaks: the frames of its WebSocket both ways, and the TwiML that starts it.
//!
//! Pure. Frames are parsed leniently and written strictly: Twilio ends a session after ten bad frames in a row.

mod incoming;
mod outgoing;
pub mod twiml;

pub use incoming::{BadFrame, Incoming, Info, Interrupt, Prompt, RECONNECT, Setup};
pub use outgoing::{BadDigits, Digits, Languages, Outgoing};
