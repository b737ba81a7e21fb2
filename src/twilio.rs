//! A client for the parts of Twilio's REST API that this server uses, and the verification of Twilio's request
//! signatures.

mod calls;
mod client;
mod error;
mod messages;
mod payment_refusal;
mod payments;
mod recordings;
mod rest;
mod signature;
mod signature_keys;
#[cfg(test)]
pub(crate) mod stand_in;
mod sync;

pub use calls::{AnsweredBy, CallStatus, NewCall};
pub use client::TwilioClient;
pub use error::{TwilioError, UnknownOutcomeCause};
pub(crate) use payments::PAYMENT_STATUS_CALLBACK;
pub use rest::BuildTwilioClientError;
pub use signature::Signer;
pub use signature_keys::{SelectKeyError, SignatureKeys};
pub use sync::{MAX_DATA_BYTES, ServiceSid, SyncClient, SyncEntry, SyncError, SyncServiceInfo};
