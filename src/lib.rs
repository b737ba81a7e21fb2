//! An AI agent takes a card payment during a live phone call; the card data goes from the keypad to Twilio alone.

pub mod assets;
pub mod call;
pub mod config;
pub mod llm;
pub mod payment;
pub mod redact;
pub mod relay;
pub mod sid;
pub mod simulator;
pub mod twilio;
