//! Twilio's REST API as this server uses it, and the signature that Twilio's own requests carry.

mod calls;
mod client;
mod error;
mod messages;
mod payments;
mod refusal;
mod rest;
mod signature;
#[cfg(test)]
mod stand_in;
mod sync;

pub use calls::{CallStatus, Document, MAX_INLINE_TWIML, NewCall};
pub use client::Client;
pub use error::{Cause, Error};
pub use messages::MAX_MESSAGE;
pub use rest::BadConfig;
pub use signature::Signer;
pub use sync::{Entry, MAX_DATA, Service, ServiceSid, SyncClient, SyncError};
