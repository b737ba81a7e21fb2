//! Assets: contexts (the instructions of the model), manifests (its tools) and `serverConfig.json` (the behaviour of a
//! call).
//!
#![doc = include_str!("assets/README.md")]

mod de;
mod error;
mod file;
#[cfg(any(fuzzing, test))]
mod fuzzing;
mod library;
mod manifest;
mod name;
mod parts;
mod reload;
mod schema;
mod source;
mod sync;
#[cfg(test)]
mod tests;
mod upload;

pub use error::{AssetError, AssetErrors, AssetWarning, UnknownKeyError};
#[cfg(any(fuzzing, test))]
pub use fuzzing::check_asset;
pub use library::{Library, LoadedLibrary};
pub use manifest::ToolDefinition;
pub use reload::{AssetWatcher, Assets, CurrentAssets, LoadAssetsError, ReloadRequests};
pub(crate) use schema::outbound::OutboundRules;
pub use schema::server_config::ServerConfig;
pub(crate) use schema::server_config::{DETECTED_LANGUAGE, DisclosureProblem, WELCOME_GREETING};
pub use upload::{UploadError, UploadStatus, upload};
