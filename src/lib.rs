//! An AI agent takes a card payment during a live phone call. The card data goes from the caller's keypad to Twilio
//! only.
//!
//! The modules in layers, from the bottom up; a module uses only those below it:
//!
//! - protocol and domain types: `relay`, `payment`, `redact`, `ids`, `phone_number`, `expiring_map`, `signing`,
//!   `config`;
//! - the call as a pure state machine, the payment ledger and the Twilio client: `call`, `ledger`, `twilio`;
//! - what a session uses: `llm`, `tools`, `assets`;
//! - the task that owns a call: `session`;
//! - background tasks: `recovery`, `retention`, `webhook`;
//! - the HTTP handlers: `endpoints`;
//! - the server and the checks of `crelay-payments check`: `server`, `check`;
//! - with the feature `simulator`, which is off in the shipped binary: `simulator`, and `proof` on its stand-ins.

pub mod assets;
pub mod call;
#[cfg(test)]
mod captured_log;
pub mod check;
pub mod config;
pub mod endpoints;
pub mod expiring_map;
pub mod ids;
mod json_members;
pub mod ledger;
pub mod llm;
pub mod payment;
pub mod phone_number;
#[cfg(any(feature = "simulator", test))]
pub mod proof;
pub mod reconcile;
pub mod recovery;
pub mod redact;
pub mod relay;
pub mod retention;
pub mod server;
pub mod session;
pub mod signing;
#[cfg(any(feature = "simulator", test))]
pub mod simulator;
pub mod since;
pub mod tools;
pub mod twilio;
pub mod webhook;
