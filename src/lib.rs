//! An AI agent takes a card payment during a live phone call; the card data goes from the keypad to Twilio alone.
//!
//! The rooms, from the ground up: what is spoken and what money is (`relay`, `payment`, `redact`, `sid`, `phone_number`,
//! `expiring`, `signing`, `config`), a call as a value, what is written down of payments, and the two clients (`call`,
//! `ledger`, `twilio`), what a session uses (`llm`, `tools`, `assets`), the task that owns a call (`session`), what goes on
//! beside the calls (`recovery`, `retention`, `webhook`), the doors (`endpoints`), the server, its simulator and what `check` looks at. A
//! room uses those below it.

pub mod assets;
pub mod call;
#[cfg(test)]
mod captured_log;
pub mod check;
pub mod config;
pub mod endpoints;
pub mod expiring;
pub mod ledger;
pub mod llm;
mod members;
pub mod payment;
pub mod phone_number;
pub mod reconcile;
pub mod recovery;
pub mod redact;
pub mod relay;
pub mod retention;
pub mod server;
pub mod session;
pub mod sid;
pub mod signing;
pub mod simulator;
pub mod tools;
pub mod twilio;
pub mod webhook;
