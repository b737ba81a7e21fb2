//! An AI agent takes a card payment during a live phone call. The card data goes from the caller's keypad to Twilio
//! only.
//!
#![doc = include_str!("README.md")]

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
#[cfg(test)]
mod raw_server;
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
