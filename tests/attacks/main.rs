//! Attacks from outside, each with what the server does instead of giving way.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod auth;
mod front;
#[expect(dead_code, reason = "not all clients are used")]
#[path = "../server/mod.rs"]
mod server;
mod socket;
