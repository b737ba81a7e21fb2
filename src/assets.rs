//! How calls are led: what the agent is told, which tools it has, and `serverConfig.json`.
//!
//! Five files, each of them built into the binary as well. What stands in the directory wins, file by file.

mod error;
mod file;
mod json;
mod manifest;
mod mistakes;
mod relay;
mod server_config;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::{AssetError, Warning};
pub use manifest::ToolDefinition;
pub use server_config::ServerConfig;

use file::Shelf;

/// Everything that a call is led by.
#[derive(Debug, Clone)]
pub struct Assets {
    /// `serverConfig.json`.
    pub server: ServerConfig,
    /// The active context: the instructions of the model.
    pub context: String,
    /// The active manifest: the tools of the model.
    pub tools: Vec<ToolDefinition>,
}

/// Assets, and what is to be told about them.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The assets.
    pub assets: Assets,
    /// Where each of them was taken from, such as `assets/serverConfig.json` or `PaymentContext.md (built in)`.
    pub files: Vec<String>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
}

impl Assets {
    /// Takes each file from `dir` where it stands there, and from the binary where it does not. Reads from disk, and
    /// blocks while it does.
    ///
    /// Which context and which manifest are active says `AssetLoader` in `serverConfig.json`.
    pub fn load(dir: &Path) -> Result<Loaded, AssetError> {
        load(&Shelf::Directory(dir))
    }

    /// The assets that are built into the binary.
    pub fn built_in() -> Self {
        load(&Shelf::BuiltIn).expect("the tests load what is built in").assets
    }
}

fn load(shelf: &Shelf<'_>) -> Result<Loaded, AssetError> {
    let config = shelf.take("serverConfig.json")?;
    let (server, active, mut warnings) = server_config::parse(&config)?;
    let context = shelf.take(&active.context.file("md"))?;
    let manifest = shelf.take(&active.manifest.file("json"))?;
    let tools = manifest::parse(&manifest)?;
    if context.text.trim().is_empty() {
        return Err(AssetError::Empty { file: context.label });
    }
    if let Some(dir) = shelf.empty_directory([&config, &context, &manifest]) {
        warnings.push(Warning::NothingThere { dir });
    }
    let files = vec![config.label, context.label, manifest.label];
    Ok(Loaded { assets: Assets { server, context: context.text, tools }, files, warnings })
}
