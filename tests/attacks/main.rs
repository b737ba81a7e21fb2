//! Attacks from outside, each with what the server does instead of giving way.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod auth;
mod caps;
mod front;
mod inside;
#[expect(dead_code, reason = "not all of a process is used")]
mod process;
#[expect(dead_code, reason = "not all of a model is used")]
mod raw_model;
#[expect(dead_code, reason = "not all clients are used")]
#[path = "../server/mod.rs"]
mod server;
mod shield;
mod socket;
mod twilio;
