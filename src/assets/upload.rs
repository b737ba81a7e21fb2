//! Putting assets into Twilio Sync on purpose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::{File, Layer};
use super::name::Name;
use super::sync::{Contents, Store};
use super::{AssetError, Library, Warning, parts};
use crate::config;
use crate::twilio::{BadConfig, MAX_DATA, SyncClient, SyncError};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uploaded {
    /// It was not there.
    Added,
    /// It took the place of something else.
    Replaced,
    /// It was there already: nothing was sent.
    Unchanged,
}

/// Why not everything was uploaded. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Nothing was sent, since of these files this cannot be.
    #[error("nothing was uploaded:\n{}", .0.join("\n"))]
    Refused(Vec<String>),
    /// No client can be made.
    #[error(transparent)]
    Client(#[from] BadConfig),
    /// Nothing was sent, since it is not known what it would replace.
    #[error("nothing was uploaded: Twilio Sync could not be read")]
    Unread(#[source] SyncError),
    /// Twilio Sync did not take a file. Those before it are there; the same upload may be repeated.
    #[error("{file} was not uploaded")]
    Unsent {
        /// The file.
        file: String,
        /// Why.
        source: SyncError,
    },
}

type Files = BTreeMap<Name, (PathBuf, File)>;

/// Uploads files and tells what became of each. What says something else in Sync is replaced only if `force` is set, and
/// nothing is sent unless everything can be. Returns what is probably not meant.
pub async fn upload(
    paths: &[PathBuf],
    force: bool,
    twilio: &config::Twilio,
    mut tell: impl FnMut(&Path, Uploaded),
) -> Result<Vec<Warning>, UploadError> {
    let files = read(paths).map_err(UploadError::Refused)?;
    let client = SyncClient::new(twilio)?;
    let present = match Store::find(&client).await.map_err(UploadError::Unread)? {
        Some(store) => store.read().await.map_err(UploadError::Unread)?,
        None => Contents::default(),
    };
    let warnings = check(&files, &present, force).map_err(UploadError::Refused)?;
    let store = Store::open(&client).await.map_err(UploadError::Unread)?;
    for (name, (path, file)) in &files {
        let done = match present.compare(name, file) {
            Some(true) => Uploaded::Unchanged,
            Some(false) => Uploaded::Replaced,
            None => Uploaded::Added,
        };
        if done != Uploaded::Unchanged {
            let unsent = |source| UploadError::Unsent { file: file.label.clone(), source };
            store.put(name, file, &present).await.map_err(unsent)?;
        }
        tell(path, done);
    }
    Ok(warnings)
}

/// The files by the assets that they are, or what is wrong with them.
fn read(paths: &[PathBuf]) -> Result<Files, Vec<String>> {
    let mut files = Files::new();
    let mut wrong = Vec::new();
    for path in paths {
        match read_one(path) {
            Err(what) => wrong.push(what),
            Ok((name, file)) => {
                let label = file.label.clone();
                if let Some((earlier, _)) = files.insert(name, (path.clone(), file)) {
                    wrong.push(format!("{label}: would be the same asset as {}", earlier.display()));
                }
            }
        }
    }
    if wrong.is_empty() { Ok(files) } else { Err(wrong) }
}

fn read_one(path: &Path) -> Result<(Name, File), String> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let told = |what: &str| format!("{}: {what}", path.display());
    let name = match Name::of_file(&file_name) {
        None => return Err(told("is no asset: contexts end in .md, manifests and serverConfig.json in .json")),
        Some(Err(bad)) => return Err(told(&bad.to_string())),
        Some(Ok(name)) => name,
    };
    match File::read(path) {
        Ok(Some(file)) => Ok((name, file)),
        Ok(None) => Err(told("does not exist")),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the files would be good assets there, would fit, and may take the place of what there is.
fn check(files: &Files, present: &Contents, force: bool) -> Result<Vec<Warning>, Vec<String>> {
    let built_in = Library::built_in();
    let before = built_in.under(present.layer(), &built_in).library;
    let fresh = files.iter().map(|(name, (_, file))| (name.clone(), Ok(file.clone()))).collect();
    let reading = before.under(Layer { files: fresh, warnings: Vec::new() }, &before);
    let mut wrong: Vec<String> = reading.faults.iter().map(AssetError::to_string).collect();
    for (name, (_, file)) in files {
        let size = parts::split(name, file).iter().map(String::len).max().unwrap_or_default();
        if size > MAX_DATA {
            let label = &file.label;
            wrong.push(format!("{label}: is {size} bytes as JSON, and Twilio Sync takes at most {MAX_DATA}"));
        }
        if !force && present.compare(name, file) == Some(false) {
            wrong.push(format!("{}: says something else in Twilio Sync; --force replaces that", file.label));
        }
    }
    if wrong.is_empty() { Ok(reading.warnings) } else { Err(wrong) }
}
