//! Asset files: those built into the binary and those in a directory.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;

use super::de::message_without_position;
use super::name::AssetName;
use super::{AssetError, AssetWarning};

/// The largest asset file, in bytes. Contexts, which go to the model with every request, are far smaller.
const MAX_BYTES: u64 = 1024 * 1024;

/// The maximum number of files in an asset directory.
const MAX_FILES: usize = 500;

const BUILT_IN: [(&str, &str); 5] = [
    ("serverConfig.json", include_str!("../../assets/serverConfig.json")),
    ("PaymentContext.md", include_str!("../../assets/PaymentContext.md")),
    ("PaymentToolManifest.json", include_str!("../../assets/PaymentToolManifest.json")),
    ("defaultContext.md", include_str!("../../assets/defaultContext.md")),
    ("defaultToolManifest.json", include_str!("../../assets/defaultToolManifest.json")),
];

/// The text of an asset.
#[derive(Debug, Clone)]
pub(super) struct AssetFile {
    /// The name of the file in messages.
    pub(super) label: String,
    pub(super) text: String,
}

/// The assets of one source, each of them readable or not.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) files: BTreeMap<AssetName, Result<AssetFile, AssetError>>,
    pub(super) warnings: Vec<AssetWarning>,
}

impl Layer {
    /// The readable files.
    pub(super) fn readable(&self) -> Vec<(AssetName, AssetFile)> {
        self.files.iter().filter_map(|(name, file)| Some((name.clone(), file.as_ref().ok()?.clone()))).collect()
    }
}

/// The assets built into the binary.
pub(super) fn built_in() -> impl Iterator<Item = (AssetName, AssetFile)> {
    BUILT_IN.into_iter().map(|(name, text)| {
        let file = AssetFile { label: format!("{name} (built in)"), text: text.to_owned() };
        (AssetName::from_file_name(name).and_then(Result::ok).expect("built-in assets have valid names"), file)
    })
}

/// A directory of assets. All methods block.
#[derive(Debug, Clone)]
pub(super) struct AssetDirectory(PathBuf);

/// Size and modification time by file name. If the snapshot is unchanged, so are the files.
pub(super) type DirectorySnapshot = BTreeMap<String, (u64, Option<SystemTime>)>;

impl AssetDirectory {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Takes a snapshot of the directory without reading the files.
    pub(super) fn snapshot(&self) -> Result<DirectorySnapshot, AssetError> {
        let mut snapshot = DirectorySnapshot::new();
        for file in self.file_names()? {
            if AssetName::from_file_name(&file).is_none() {
                continue;
            }
            // A file deleted in the meantime, or a dangling symbolic link, is treated as missing.
            let Ok(metadata) = self.0.join(&file).metadata() else { continue };
            snapshot.insert(file, (metadata.len(), metadata.modified().ok()));
        }
        Ok(snapshot)
    }

    /// Reads the files. A missing directory is treated as an empty one.
    pub(super) fn read(&self) -> Result<Layer, AssetError> {
        let mut layer = Layer::default();
        for file in self.file_names()? {
            let label = self.0.join(&file).display().to_string();
            match AssetName::from_file_name(&file) {
                None => {}
                Some(Err(_)) => layer.warnings.push(AssetWarning::InvalidKey { file: label }),
                Some(Ok(name)) => {
                    let Some(read) = AssetFile::read(&self.0.join(&file)).transpose() else { continue };
                    layer.files.insert(name, read);
                }
            }
        }
        if layer.files.is_empty() && self.0.is_dir() {
            layer.warnings.push(AssetWarning::NoAssets { dir: self.0.display().to_string() });
        }
        Ok(layer)
    }

    fn file_names(&self) -> Result<Vec<String>, AssetError> {
        let label = || self.0.display().to_string();
        let read = |entries: std::fs::ReadDir| -> io::Result<Vec<String>> {
            entries.take(MAX_FILES + 1).map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        };
        let names = match std::fs::read_dir(&self.0).and_then(read) {
            Ok(names) => names,
            Err(err) if err.kind() == ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(AssetError::Read { file: label(), source }),
        };
        (names.len() <= MAX_FILES)
            .then_some(names)
            .ok_or_else(|| AssetError::TooManyFiles { dir: label(), limit: MAX_FILES })
    }
}

impl AssetFile {
    pub(super) fn new(label: &str, text: &str) -> Self {
        Self { label: label.to_owned(), text: text.to_owned() }
    }

    /// Reads a file; `None` if it does not exist.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, AssetError> {
        let label = path.display().to_string();
        let opened = match std::fs::File::open(path) {
            Ok(opened) => opened,
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(AssetError::Read { file: label, source }),
        };
        let mut bytes = Vec::new();
        if let Err(source) = opened.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
            return Err(AssetError::Read { file: label, source });
        }
        if bytes.len() as u64 > MAX_BYTES {
            return Err(AssetError::TooLarge { file: label, limit: MAX_BYTES });
        }
        let Ok(text) = String::from_utf8(bytes) else { return Err(AssetError::NotUtf8 { file: label }) };
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Ok(Some(Self { label, text }))
    }

    /// Deserializes the JSON of the file. Also returns the keys that were ignored.
    pub(super) fn parse_json<T: DeserializeOwned>(&self) -> Result<(T, Vec<String>), AssetError> {
        let mut ignored = Vec::new();
        let mut json = serde_json::Deserializer::from_str(&self.text);
        // An optional section is a step of its own in the path: `Server.ListenMode.?.enabled`.
        let value = serde_ignored::deserialize(&mut json, |path| ignored.push(path.to_string().replace("?.", "")))
            .and_then(|value| json.end().map(|()| value))
            .map_err(|error| self.json_error(&error))?;
        Ok((value, ignored))
    }

    /// Converts a JSON error into one that starts with file and line, as compilers write it.
    pub(super) fn json_error(&self, error: &serde_json::Error) -> AssetError {
        AssetError::Invalid {
            file: self.label.clone(),
            line: error.line().max(1),
            what: message_without_position(error),
        }
    }
}
