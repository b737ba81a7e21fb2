//! Attacks on the running server from outside: what anybody on the internet, a broken model or a hostile caller may try.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod inside;
#[expect(dead_code, reason = "not all of a process is used")]
mod process;
#[expect(dead_code, reason = "not all of a model is used")]
mod raw_model;
#[expect(dead_code, reason = "not all clients are used")]
#[path = "../server/mod.rs"]
mod server;
