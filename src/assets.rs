//! How calls are led: contexts (what the agent is told), manifests (which tools it has) and `serverConfig.json`.
//!
//! They are built into the binary, may stand in a directory, and may be kept in Twilio Sync: what comes later in this list
//! wins, asset by asset. Changes are seen while the server runs; a call keeps what it began with.

mod error;
mod file;
mod json;
mod library;
mod limits;
mod manifest;
mod name;
mod parts;
mod payments;
mod relay;
mod server_config;
mod shelf;
mod source;
mod sync;
#[cfg(test)]
mod tests;
mod texts;
mod upload;

pub use error::{AssetError, AssetErrors, UnknownKey, Warning};
pub use library::{Library, Loaded};
pub use manifest::ToolDefinition;
pub use server_config::ServerConfig;
pub use shelf::{Assets, BadAssets, Shelf, Watch};
pub use upload::{UploadError, Uploaded, upload};
