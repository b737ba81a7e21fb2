//! Twilio's REST API as this server uses it, and the signature that Twilio's own requests carry.

mod client;
mod error;
mod payments;
mod refusal;
mod signature;

pub use client::{BadConfig, Client};
pub use error::{Cause, Error};
pub use signature::Signer;
