//! An AI agent takes a card payment during a live phone call. The card data goes from the caller's keypad to Twilio
//! only.
//!
#![doc = include_str!("README.md")]

pub mod alerts;
pub mod assets;
#[cfg(any(feature = "simulator", test))]
pub mod bench;
pub mod business_tools;
mod call;
mod call_claim;
mod call_identity;
mod call_stage;
mod call_token;
mod calling_rules;
#[cfg(test)]
mod captured_log;
pub mod check;
pub mod config;
mod connections;
mod deadline_timer;
mod endpoints;
pub mod evidence;
mod expiring_map;
mod fleet;
mod flowise;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod http_client;
pub mod ids;
mod json_members;
mod json_text;
pub mod ledger;
mod llm;
mod log_limit;
pub mod observation;
pub mod payment;
pub mod phone_number;
#[cfg(any(feature = "simulator", test))]
pub mod proof;
mod receipts;
pub mod reconcile;
mod recording;
mod recovery;
pub mod redact;
mod relay;
mod response_service;
mod retention;
pub mod sealing;
pub mod server;
pub mod server_id;
mod session;
pub mod signing;
#[cfg(any(feature = "simulator", test))]
pub mod simulator;
pub mod since;
mod socket_token;
mod sse;
pub mod telemetry;
mod tool_schema;
mod tools;
pub mod twilio;
pub mod usage_limits;
mod webhook;
