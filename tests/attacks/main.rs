//! Attacks on the running server from outside: what anybody on the internet, a caller, an operator or the model may try.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "not all clients are used")]
#[path = "../server/mod.rs"]
mod server;
mod shield;
