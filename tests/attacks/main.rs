//! Attacks from outside, over real sockets: one module for each part.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "not all clients are used")]
#[path = "../server/mod.rs"]
mod server;
mod twilio;
