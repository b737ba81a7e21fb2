//! Assets as texts: what is built in, and what stands in a directory.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::name::Name;
use super::{AssetError, Warning};

/// Far above any context that a model is given at each turn.
const MAX_BYTES: u64 = 1024 * 1024;

/// More assets than anybody keeps in one directory.
const MAX_FILES: usize = 500;

const BUILT_IN: [(&str, &str); 5] = [
    ("serverConfig.json", include_str!("../../assets/serverConfig.json")),
    ("PaymentContext.md", include_str!("../../assets/PaymentContext.md")),
    ("PaymentToolManifest.json", include_str!("../../assets/PaymentToolManifest.json")),
    ("defaultContext.md", include_str!("../../assets/defaultContext.md")),
    ("defaultToolManifest.json", include_str!("../../assets/defaultToolManifest.json")),
];

/// An asset's text.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// How the file is called in a message.
    pub(super) label: String,
    pub(super) text: String,
}

/// Assets that are laid over others, each of them readable or not.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) files: BTreeMap<Name, Result<File, AssetError>>,
    pub(super) warnings: Vec<Warning>,
}

impl Layer {
    /// The files that can be read.
    pub(super) fn readable(&self) -> Vec<(Name, File)> {
        self.files.iter().filter_map(|(name, file)| Some((name.clone(), file.as_ref().ok()?.clone()))).collect()
    }
}

/// What is built into the binary.
pub(super) fn built_in() -> impl Iterator<Item = (Name, File)> {
    BUILT_IN.into_iter().map(|(name, text)| {
        let file = File { label: format!("{name} (built in)"), text: text.to_owned() };
        (Name::of_file(name).and_then(Result::ok).expect("the tests load what is built in"), file)
    })
}

/// A directory of assets. Everything here blocks.
#[derive(Debug, Clone)]
pub(super) struct Directory(PathBuf);

/// How large each asset is and when it was changed: if this stays the same, so do they.
pub(super) type Look = BTreeMap<String, (u64, Option<SystemTime>)>;

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Looks at the files without reading them.
    pub(super) fn look(&self) -> Result<Look, AssetError> {
        let mut look = Look::new();
        for file in self.names()? {
            if Name::of_file(&file).is_none() {
                continue;
            }
            // One that went away meanwhile, or leads nowhere, is not there.
            let Ok(metadata) = self.0.join(&file).metadata() else { continue };
            look.insert(file, (metadata.len(), metadata.modified().ok()));
        }
        Ok(look)
    }

    /// Reads the files. A directory that is not there is an empty one.
    pub(super) fn read(&self) -> Result<Layer, AssetError> {
        let mut layer = Layer::default();
        for file in self.names()? {
            let label = self.0.join(&file).display().to_string();
            match Name::of_file(&file) {
                None => {}
                Some(Err(_)) => layer.warnings.push(Warning::Key { file: label }),
                Some(Ok(name)) => {
                    let Some(read) = File::read(&self.0.join(&file)).transpose() else { continue };
                    layer.files.insert(name, read);
                }
            }
        }
        if layer.files.is_empty() && self.0.is_dir() {
            layer.warnings.push(Warning::NothingThere { dir: self.0.display().to_string() });
        }
        Ok(layer)
    }

    fn names(&self) -> Result<Vec<String>, AssetError> {
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
            .ok_or_else(|| AssetError::TooMany { dir: label(), limit: MAX_FILES })
    }
}

impl File {
    pub(super) fn new(label: &str, text: &str) -> Self {
        Self { label: label.to_owned(), text: text.to_owned() }
    }

    /// A file's text, or `None` if there is no such file.
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
        let Ok(text) = String::from_utf8(bytes) else { return Err(AssetError::NotText { file: label }) };
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Ok(Some(Self { label, text }))
    }
}
