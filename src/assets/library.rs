//! All contexts and manifests by key, and `serverConfig.json`, as one immutable value.

mod overlay;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::value::to_raw_value;
use tracing::info;

use super::file::{self, AssetDirectory, AssetFile};
use super::manifest::Manifest;
use super::name::{AssetKey, AssetName};
use super::schema::server_config::{self, ActiveAssets, LoaderType};
use super::{AssetError, AssetWarning, ServerConfig, ToolDefinition, UnknownKeyError, manifest};
use crate::business_tools::{BusinessTools, ToolServer};
use crate::config::Config;
use crate::llm::{HashedJson, Profile};
use crate::redact::redact_card_numbers;
pub(super) use overlay::OverlayResult;

/// All assets, immutable and cheap to clone. A call takes one library when it starts and keeps it.
///
/// The built-in assets are always included, unless an asset of the same name overrides them.
#[derive(Debug, Clone)]
pub struct Library {
    /// The parsed `serverConfig.json`.
    pub server: ServerConfig,
    config: Arc<ServerConfigAsset>,
    contexts: BTreeMap<AssetKey, Arc<ContextAsset>>,
    manifests: BTreeMap<AssetKey, Arc<ManifestAsset>>,
    /// The assets whose files cannot be used.
    unusable: BTreeSet<AssetName>,
}

/// A library with the errors and warnings of its assets.
#[derive(Debug)]
pub struct LoadedLibrary {
    /// The library.
    pub library: Library,
    /// The errors in the assets that are in use. If there is any, a server does not start.
    pub errors: Vec<AssetError>,
    /// The warnings.
    pub warnings: Vec<AssetWarning>,
}

#[derive(Debug)]
struct ServerConfigAsset {
    file: AssetFile,
    server: ServerConfig,
    active: ActiveAssets,
    warnings: Vec<AssetWarning>,
}

#[derive(Debug)]
struct ContextAsset {
    file: AssetFile,
    /// The text as a JSON string.
    json: HashedJson,
}

#[derive(Debug)]
struct ManifestAsset {
    file: AssetFile,
    tools: Vec<ToolDefinition>,
    /// The tools as a JSON array.
    json: HashedJson,
    warnings: Vec<AssetWarning>,
    /// The tools of the business among them.
    business_tools: Arc<BusinessTools>,
}

impl Library {
    /// The built-in assets.
    pub fn built_in() -> Self {
        const VALID: &str = "built-in assets are valid";
        let (mut config, mut contexts, mut manifests) = (None, BTreeMap::new(), BTreeMap::new());
        for (name, file) in file::built_in() {
            match name {
                AssetName::ServerConfig => config = Some(Arc::new(ServerConfigAsset::from_file(file).expect(VALID))),
                AssetName::Context(key) => {
                    drop(contexts.insert(key, Arc::new(ContextAsset::from_file(file).expect(VALID))));
                }
                AssetName::Manifest(key) => {
                    drop(manifests.insert(key, Arc::new(ManifestAsset::from_file(file).expect(VALID))));
                }
            }
        }
        let config = config.expect(VALID);
        Self { server: config.server.clone(), config, contexts, manifests, unusable: BTreeSet::new() }
    }

    /// Loads the assets in `dir` over the built-in ones. Reads and checks every file and returns all errors and warnings
    /// at once.
    /// Blocks on file I/O.
    pub fn load(dir: &Path) -> Result<LoadedLibrary, AssetError> {
        let layer = AssetDirectory::new(dir).read()?;
        let OverlayResult { library, errors, warnings } = Self::built_in().overlay(layer, None);
        Ok(LoadedLibrary { library, errors, warnings })
    }

    /// Returns the instructions and tools for the keys of a context and a manifest; `None` means the default.
    pub fn profile(&self, context: Option<&str>, manifest: Option<&str>) -> Result<Arc<Profile>, UnknownKeyError> {
        let context = context.map_or(Ok(self.active_context()), |key| self.find_context(key))?;
        let manifest = manifest.map_or(Ok(self.active_manifest()), |key| self.find_manifest(key))?;
        let profile = Profile::of_parts(context.json.clone(), manifest.json.clone());
        Ok(Arc::new(profile.with_business_tools(manifest.business_tools.clone())))
    }

    fn find_context(&self, name: &str) -> Result<&ContextAsset, UnknownKeyError> {
        find_asset(&self.contexts, name).map_err(|key| self.unknown_key("context", key, AssetName::Context))
    }

    fn find_manifest(&self, name: &str) -> Result<&ManifestAsset, UnknownKeyError> {
        find_asset(&self.manifests, name).map_err(|key| self.unknown_key("manifest", key, AssetName::Manifest))
    }

    fn unknown_key(
        &self,
        kind: &'static str,
        key: Option<AssetKey>,
        to_name: fn(AssetKey) -> AssetName,
    ) -> UnknownKeyError {
        UnknownKeyError {
            kind,
            key: key
                .as_ref()
                .map_or_else(|| "of that name".to_owned(), |key| redact_card_numbers(key.as_str()).into_owned()),
            known: if kind == "context" { join_keys(self.context_keys()) } else { join_keys(self.manifest_keys()) },
            is_unusable: key.is_some_and(|key| self.unusable.contains(&to_name(key))),
        }
    }

    /// The text of a context.
    pub fn context(&self, key: &str) -> Option<&str> {
        self.contexts.get(key).map(|context| context.file.text.as_str())
    }

    /// The tools of a manifest.
    pub fn tools(&self, key: &str) -> Option<&[ToolDefinition]> {
        self.manifests.get(key).map(|manifest| manifest.tools.as_slice())
    }

    /// Finds tools of the business that a call has by default and whose requests nothing authenticates with this
    /// configuration. Returns where they are, as the beginning of a sentence.
    pub fn find_unsigned_tools(&self, config: &Config) -> Option<String> {
        if config.business_secrets.is_some() {
            return None;
        }
        if !self.active_manifest().business_tools.is_empty() {
            return Some(format!("the manifest {} has tools of the business (http)", self.default_manifest()));
        }
        let unsigned = |server: &&ToolServer| !config.tool_server_tokens.contains_key(&server.name);
        let server = self.server.tool_servers.iter().find(unsigned)?;
        Some(format!("ToolServers has the server {} without a token in TOOL_SERVER_TOKENS", server.name))
    }

    /// The keys of all contexts, sorted.
    pub fn context_keys(&self) -> impl Iterator<Item = &str> {
        self.contexts.keys().map(AssetKey::as_str)
    }

    /// The keys of all manifests, sorted.
    pub fn manifest_keys(&self) -> impl Iterator<Item = &str> {
        self.manifests.keys().map(AssetKey::as_str)
    }

    /// The key of the context of a call that names none.
    pub fn default_context(&self) -> &str {
        self.config.active.context.as_str()
    }

    /// The key of the manifest of a call that names none.
    pub fn default_manifest(&self) -> &str {
        self.config.active.manifest.as_str()
    }

    /// Logs all assets and the source of the default ones.
    pub(super) fn log_summary(&self) {
        info!(
            event = "assets.loaded",
            config = self.config.file.label,
            context = self.active_context().file.label,
            manifest = self.active_manifest().file.label,
            contexts = join_keys(self.context_keys()),
            manifests = join_keys(self.manifest_keys()),
            "The assets are loaded."
        );
    }

    /// The names of the assets that differ from `earlier`, each with what has changed.
    pub(super) fn changes_since(&self, earlier: &Self) -> Vec<String> {
        let (before, now): (BTreeMap<AssetName, &AssetFile>, BTreeMap<AssetName, &AssetFile>) =
            (earlier.files().collect(), self.files().collect());
        let present = now.iter().filter_map(|(name, file)| match before.get(name) {
            None => Some(format!("{name} added")),
            Some(before) => (before.text != file.text).then(|| format!("{name} changed")),
        });
        let removed = before.keys().filter(|name| !now.contains_key(name)).map(|name| format!("{name} removed"));
        present.chain(removed).collect()
    }

    /// `assetLoaderType`, if the configuration has a known one.
    pub(super) fn loader_type(&self) -> Option<LoaderType> {
        self.config.active.loader
    }

    pub(super) fn server_config_label(&self) -> &str {
        &self.config.file.label
    }

    /// Whether the file of an asset cannot be used.
    pub(super) fn is_unusable(&self, name: &AssetName) -> bool {
        self.unusable.contains(name)
    }

    fn files(&self) -> impl Iterator<Item = (AssetName, &AssetFile)> {
        let contexts = self.contexts.iter().map(|(key, context)| (AssetName::Context(key.clone()), &context.file));
        let manifests = self.manifests.iter().map(|(key, manifest)| (AssetName::Manifest(key.clone()), &manifest.file));
        std::iter::once((AssetName::ServerConfig, &self.config.file)).chain(contexts).chain(manifests)
    }

    fn active_context(&self) -> &ContextAsset {
        self.contexts.get(&self.config.active.context).expect(ACTIVE_ASSETS_EXIST)
    }

    fn active_manifest(&self) -> &ManifestAsset {
        self.manifests.get(&self.config.active.manifest).expect(ACTIVE_ASSETS_EXIST)
    }
}

/// Ensured by `overlay`.
const ACTIVE_ASSETS_EXIST: &str = "the active assets exist";

/// Finds an asset by its key or its file name. The error is the key, if the name is well-formed.
fn find_asset<'a, T>(among: &'a BTreeMap<AssetKey, Arc<T>>, name: &str) -> Result<&'a T, Option<AssetKey>> {
    let key = AssetKey::from_reference(name).map_err(|_| None)?;
    among.get(&key).map(Arc::as_ref).ok_or(Some(key))
}

fn join_keys<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    keys.collect::<Vec<_>>().join(", ")
}

impl ServerConfigAsset {
    fn from_file(file: AssetFile) -> Result<Self, AssetError> {
        let (server, active, warnings) = server_config::parse(&file)?;
        Ok(Self { file, server, active, warnings })
    }
}

impl ContextAsset {
    fn from_file(file: AssetFile) -> Result<Self, AssetError> {
        if file.text.trim().is_empty() {
            return Err(AssetError::Empty { file: file.label });
        }
        let written = to_raw_value(&file.text).expect("a string serializes to JSON").into();
        Ok(Self { file, json: written })
    }
}

impl ManifestAsset {
    fn from_file(file: AssetFile) -> Result<Self, AssetError> {
        let Manifest { tools, warnings } = manifest::parse(&file)?;
        let written = to_raw_value(&tools).expect("tool definitions serialize to JSON").into();
        let business = tools.iter().filter_map(|tool| tool.business.clone());
        let business_tools = Arc::new(business.map(|tool| (tool.name.clone(), tool)).collect());
        Ok(Self { file, tools, json: written, business_tools, warnings })
    }
}
