//! Where an asset is taken from: the directory, or the binary.

use std::io::{ErrorKind, Read};
use std::path::Path;

use super::AssetError;

/// Far above any context that a model is given at each turn.
const MAX_BYTES: u64 = 1024 * 1024;

const BUILT_IN: [(&str, &str); 5] = [
    ("serverConfig.json", include_str!("../../assets/serverConfig.json")),
    ("PaymentContext.md", include_str!("../../assets/PaymentContext.md")),
    ("PaymentToolManifest.json", include_str!("../../assets/PaymentToolManifest.json")),
    ("defaultContext.md", include_str!("../../assets/defaultContext.md")),
    ("defaultToolManifest.json", include_str!("../../assets/defaultToolManifest.json")),
];

/// What assets are taken from.
pub(super) enum Shelf<'a> {
    /// Only what is built in.
    BuiltIn,
    /// What stands in the directory, and else what is built in.
    Directory(&'a Path),
}

/// An asset's text.
pub(super) struct File {
    /// How the file is called in a message.
    pub(super) label: String,
    pub(super) text: String,
    from_disk: bool,
}

impl File {
    #[cfg(test)]
    pub(super) fn new(label: &str, text: &str) -> Self {
        Self { label: label.to_owned(), text: text.to_owned(), from_disk: true }
    }
}

impl Shelf<'_> {
    /// Takes a file by its name, which has no directory in it.
    pub(super) fn take(&self, name: &str) -> Result<File, AssetError> {
        if let Self::Directory(dir) = self {
            let path = dir.join(name);
            let label = path.display().to_string();
            if let Some(text) = read(&path, &label)? {
                return Ok(File { label, text, from_disk: true });
            }
        }
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
        let (_, text) = built_in.ok_or_else(|| self.missing(name))?;
        Ok(File { label: format!("{name} (built in)"), text: (*text).to_owned(), from_disk: false })
    }

    /// The directory, if it is there and none of the files was taken from it.
    pub(super) fn empty_directory(&self, taken: [&File; 3]) -> Option<String> {
        match self {
            Self::Directory(dir) if dir.is_dir() && taken.iter().all(|file| !file.from_disk) => {
                Some(dir.display().to_string())
            }
            _ => None,
        }
    }

    fn missing(&self, name: &str) -> AssetError {
        let file = match self {
            Self::BuiltIn => name.to_owned(),
            Self::Directory(dir) => dir.join(name).display().to_string(),
        };
        let extension = Path::new(name).extension();
        let others: Vec<&str> = BUILT_IN[1..]
            .iter()
            .map(|(known, _)| *known)
            .filter(|known| Path::new(known).extension() == extension)
            .collect();
        AssetError::Missing { file, built_in: others.join(" and ") }
    }
}

/// The text of a file, or `None` if there is no such file.
fn read(path: &Path, label: &str) -> Result<Option<String>, AssetError> {
    let file = || label.to_owned();
    let opened = match std::fs::File::open(path) {
        Ok(opened) => opened,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(AssetError::Read { file: file(), source }),
    };
    let mut bytes = Vec::new();
    let read = opened.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|source| AssetError::Read { file: file(), source })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(AssetError::TooLarge { file: file(), limit: MAX_BYTES });
    }
    let text = String::from_utf8(bytes).map_err(|_| AssetError::NotText { file: file() })?;
    Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
}
