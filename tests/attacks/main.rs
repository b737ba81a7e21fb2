//! What anybody on the internet, a caller, an operator or the model can try against a running server.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod caps;
#[path = "../server/mod.rs"]
#[expect(dead_code, reason = "not all clients are used")]
mod server;
