//! Every context and every manifest by key, and serverConfig.json, as one value that never changes.

mod laying;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use tracing::{error, info};

use super::file::{self, Directory, File};
use super::name::{Key, Name};
use super::server_config::{self, Active, LoaderType};
use super::{AssetError, ServerConfig, ToolDefinition, UnknownKey, Warning, manifest};
use crate::llm::Profile;
use crate::redact::without_card_numbers;
pub(super) use laying::Reading;

/// All assets. A call takes one such value when it begins and keeps it. Cheap to clone.
///
/// What is built into the binary is always in it, unless an asset of the same name stands in its place.
#[derive(Debug, Clone)]
pub struct Library {
    /// What `serverConfig.json` says of calls.
    pub server: ServerConfig,
    config: Arc<Config>,
    contexts: BTreeMap<Key, Arc<Context>>,
    manifests: BTreeMap<Key, Arc<Manifest>>,
}

/// A library, and what is to be told about it.
#[derive(Debug)]
pub struct Loaded {
    /// The library.
    pub library: Library,
    /// What has to be mended. What cannot be used is not in the library.
    pub mistakes: Vec<AssetError>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Warning>,
}

#[derive(Debug)]
struct Config {
    file: File,
    server: ServerConfig,
    active: Active,
    warnings: Vec<Warning>,
}

#[derive(Debug)]
struct Context {
    file: File,
    /// The text as a JSON string.
    written: Arc<RawValue>,
}

#[derive(Debug)]
struct Manifest {
    file: File,
    tools: Vec<ToolDefinition>,
    /// The tools as a JSON array.
    written: Arc<RawValue>,
}

impl Library {
    /// What is built into the binary.
    pub fn built_in() -> Self {
        const SOUND: &str = "the tests load what is built in";
        let (mut config, mut contexts, mut manifests) = (None, BTreeMap::new(), BTreeMap::new());
        for (name, file) in file::built_in() {
            match name {
                Name::ServerConfig => config = Some(Arc::new(Config::read(file).expect(SOUND))),
                Name::Context(key) => drop(contexts.insert(key, Arc::new(Context::read(file).expect(SOUND)))),
                Name::Manifest(key) => drop(manifests.insert(key, Arc::new(Manifest::read(file).expect(SOUND)))),
            }
        }
        let config = config.expect(SOUND);
        Self { server: config.server.clone(), config, contexts, manifests }
    }

    /// What stands in `dir`, over what is built in. Every file is read and checked, and everything that is wrong with
    /// them is listed at once. Reads from disk, and blocks while it does.
    pub fn load(dir: &Path) -> Result<Loaded, AssetError> {
        let layer = Directory::new(dir).read()?;
        let built_in = Self::built_in();
        let Reading { library, faults, warnings } = built_in.under(layer, &built_in);
        Ok(Loaded { library, mistakes: faults, warnings })
    }

    /// Instructions and tools by the keys of a context and a manifest; `None` stands for the default.
    pub fn profile(&self, context: Option<&str>, manifest: Option<&str>) -> Result<Arc<Profile>, UnknownKey> {
        let context = context.map_or(Ok(self.active_context()), |key| find("context", &self.contexts, key))?;
        let manifest = manifest.map_or(Ok(self.active_manifest()), |key| find("manifest", &self.manifests, key))?;
        Ok(profile(context, manifest))
    }

    /// As [`profile`](Self::profile), for a call, which cannot be refused any more: instead of what is not known the
    /// default is taken, and the log says so.
    pub fn profile_or_default(&self, context: Option<&str>, manifest: Option<&str>) -> Arc<Profile> {
        let told = |unknown: UnknownKey| error!(%unknown, "the call uses the default");
        let context = context.and_then(|key| find("context", &self.contexts, key).map_err(told).ok());
        let manifest = manifest.and_then(|key| find("manifest", &self.manifests, key).map_err(told).ok());
        profile(context.unwrap_or_else(|| self.active_context()), manifest.unwrap_or_else(|| self.active_manifest()))
    }

    /// The text of a context.
    pub fn context(&self, key: &str) -> Option<&str> {
        self.contexts.get(key).map(|context| context.file.text.as_str())
    }

    /// The tools of a manifest.
    pub fn tools(&self, key: &str) -> Option<&[ToolDefinition]> {
        self.manifests.get(key).map(|manifest| manifest.tools.as_slice())
    }

    /// The keys of all contexts, in order.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.keys().map(Key::as_str)
    }

    /// The keys of all manifests, in order.
    pub fn manifests(&self) -> impl Iterator<Item = &str> {
        self.manifests.keys().map(Key::as_str)
    }

    /// The key of the context that a call begins with if it names none.
    pub fn default_context(&self) -> &str {
        self.config.active.context.as_str()
    }

    /// The key of the manifest that a call begins with if it names none.
    pub fn default_manifest(&self) -> &str {
        self.config.active.manifest.as_str()
    }

    /// Says in the log which assets there are, and where those were taken from that calls begin with.
    pub(super) fn tell(&self) {
        info!(
            config = self.config.file.label,
            context = self.active_context().file.label,
            manifest = self.active_manifest().file.label,
            contexts = list(self.contexts()),
            manifests = list(self.manifests()),
            "assets loaded"
        );
    }

    /// What became of each asset that is not as it was in `earlier`, in words.
    pub(super) fn changes_since(&self, earlier: &Self) -> Vec<String> {
        let (before, now): (BTreeMap<Name, &File>, BTreeMap<Name, &File>) =
            (earlier.assets().collect(), self.assets().collect());
        let kept = now.iter().filter_map(|(name, file)| match before.get(name) {
            None => Some(format!("{name} added")),
            Some(before) => (before.text != file.text).then(|| format!("{name} changed")),
        });
        let gone = before.keys().filter(|name| !now.contains_key(name)).map(|name| format!("{name} removed"));
        kept.chain(gone).collect()
    }

    /// `assetLoaderType`, if the configuration says one that is known.
    pub(super) fn loader(&self) -> Option<LoaderType> {
        self.config.active.loader
    }

    pub(super) fn server_config_label(&self) -> &str {
        &self.config.file.label
    }

    fn assets(&self) -> impl Iterator<Item = (Name, &File)> {
        let contexts = self.contexts.iter().map(|(key, context)| (Name::Context(key.clone()), &context.file));
        let manifests = self.manifests.iter().map(|(key, manifest)| (Name::Manifest(key.clone()), &manifest.file));
        std::iter::once((Name::ServerConfig, &self.config.file)).chain(contexts).chain(manifests)
    }

    fn active_context(&self) -> &Context {
        self.contexts.get(&self.config.active.context).expect(COMPLETE)
    }

    fn active_manifest(&self) -> &Manifest {
        self.manifests.get(&self.config.active.manifest).expect(COMPLETE)
    }
}

/// `laying` sees to it.
const COMPLETE: &str = "a library has what its configuration names";

fn profile(context: &Context, manifest: &Manifest) -> Arc<Profile> {
    Arc::new(Profile::of(context.written.clone(), manifest.written.clone()))
}

fn find<'a, T>(kind: &'static str, among: &'a BTreeMap<Key, Arc<T>>, key: &str) -> Result<&'a T, UnknownKey> {
    let fit_for_a_log = |key: Key| without_card_numbers(key.as_str()).into_owned();
    let unknown = || UnknownKey {
        kind,
        key: key.parse().map_or_else(|_| "of that name".to_owned(), fit_for_a_log),
        known: list(among.keys().map(Key::as_str)),
    };
    among.get(key).map(Arc::as_ref).ok_or_else(unknown)
}

fn list<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    keys.collect::<Vec<_>>().join(", ")
}

impl Config {
    fn read(file: File) -> Result<Self, AssetError> {
        let (server, active, warnings) = server_config::parse(&file)?;
        Ok(Self { file, server, active, warnings })
    }
}

impl Context {
    fn read(file: File) -> Result<Self, AssetError> {
        if file.text.trim().is_empty() {
            return Err(AssetError::Empty { file: file.label });
        }
        let written = to_raw_value(&file.text).expect("any text can be written as JSON").into();
        Ok(Self { file, written })
    }
}

impl Manifest {
    fn read(file: File) -> Result<Self, AssetError> {
        let tools = manifest::parse(&file)?;
        let written = to_raw_value(&tools).expect("what was read from JSON can be written as JSON").into();
        Ok(Self { file, tools, written })
    }
}
