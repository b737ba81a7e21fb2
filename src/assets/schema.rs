//! Deserialization of `serverConfig.json`, one module a section.

pub(super) mod limits;
pub(super) mod payments;
pub(super) mod relay;
pub(super) mod server_config;
pub(super) mod texts;
pub(super) mod tool_servers;
