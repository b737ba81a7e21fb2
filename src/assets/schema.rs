//! Deserialization of `serverConfig.json`, one module a section.

mod asset_loader;
mod compliance;
mod extra_attributes;
pub(super) mod limits;
mod messages;
pub(super) mod outbound;
pub(super) mod payments;
mod recording;
pub(super) mod relay;
mod relay_section;
pub(super) mod server_config;
pub(super) mod texts;
pub(super) mod tool_servers;
mod usage_limits;
