//! `crelay-payments upload-assets`: copies asset files to Twilio Sync.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::{AssetFile, Layer};
use super::name::AssetName;
use super::sync::{SyncContents, SyncStore};
use super::{AssetError, AssetWarning, Library, parts};
use crate::config;
use crate::twilio::{BuildTwilioClientError, MAX_DATA_BYTES, SyncClient, SyncError};

/// The result of the upload of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadStatus {
    /// The asset did not exist in Sync.
    Added,
    /// The asset replaced a different one.
    Replaced,
    /// The asset exists in Sync already; nothing was sent.
    Unchanged,
}

/// The reason why an upload failed. Its text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Some files cannot be uploaded; nothing was sent.
    #[error("nothing was uploaded:\n{}", .0.join("\n"))]
    InvalidFiles(Vec<String>),
    /// The client could not be built.
    #[error(transparent)]
    Client(#[from] BuildTwilioClientError),
    /// Sync could not be read or prepared; no file was sent.
    #[error("nothing was uploaded: Twilio Sync could not be read")]
    ReadSync(#[source] SyncError),
    /// A file could not be written. The files before it were; the same upload may be repeated.
    #[error("{file} was not uploaded")]
    WriteFile {
        /// The file.
        file: String,
        /// The cause.
        source: SyncError,
    },
}

type UploadFiles = BTreeMap<AssetName, (PathBuf, AssetFile)>;

/// Uploads files and reports the result of each. An asset that differs from the one in Sync is replaced only if `force`
/// is set. Nothing is sent unless all files can be. Returns warnings about the files.
pub async fn upload(
    paths: &[PathBuf],
    force: bool,
    twilio: &config::TwilioConfig,
    mut report: impl FnMut(&Path, UploadStatus),
) -> Result<Vec<AssetWarning>, UploadError> {
    let files = read_files(paths).map_err(UploadError::InvalidFiles)?;
    let client = SyncClient::new(twilio)?;
    let present = match SyncStore::find(&client).await.map_err(UploadError::ReadSync)? {
        Some(store) => store.read().await.map_err(UploadError::ReadSync)?,
        None => SyncContents::default(),
    };
    let warnings = check_files(&files, &present, force).map_err(UploadError::InvalidFiles)?;
    let store = SyncStore::find_or_create(&client).await.map_err(UploadError::ReadSync)?;
    for (name, (path, file)) in &files {
        let done = match present.compare(name, file) {
            Some(true) => UploadStatus::Unchanged,
            Some(false) => UploadStatus::Replaced,
            None => UploadStatus::Added,
        };
        if done != UploadStatus::Unchanged {
            let unsent = |source| UploadError::WriteFile { file: file.label.clone(), source };
            store.put(name, file, &present).await.map_err(unsent)?;
        }
        report(path, done);
    }
    Ok(warnings)
}

/// Reads the files, or returns everything that is wrong with them.
fn read_files(paths: &[PathBuf]) -> Result<UploadFiles, Vec<String>> {
    let mut files = UploadFiles::new();
    let mut wrong = Vec::new();
    for path in paths {
        match read_file(path) {
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

fn read_file(path: &Path) -> Result<(AssetName, AssetFile), String> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let message = |what: &str| format!("{}: {what}", path.display());
    let name = match AssetName::from_file_name(&file_name) {
        None => return Err(message("is not an asset: contexts end in .md, manifests and serverConfig.json in .json")),
        Some(Err(bad)) => return Err(message(&bad.to_string())),
        Some(Ok(name)) => name,
    };
    match AssetFile::read(path) {
        Ok(Some(file)) => Ok((name, file)),
        Ok(None) => Err(message("does not exist")),
        Err(error) => Err(error.to_string()),
    }
}

/// Checks that the files are valid assets, fit into Sync, and may replace what is there.
fn check_files(files: &UploadFiles, present: &SyncContents, force: bool) -> Result<Vec<AssetWarning>, Vec<String>> {
    let built_in = Library::built_in();
    let before = built_in.overlay(present.to_layer(), Some(&built_in)).library;
    let fresh = files.iter().map(|(name, (_, file))| (name.clone(), Ok(file.clone()))).collect();
    let reading = before.overlay(Layer { files: fresh, warnings: Vec::new() }, Some(&before));
    let mut wrong: Vec<String> = reading.errors.iter().map(AssetError::to_string).collect();
    // What is uploaded is meant to be used, even if nothing names it yet.
    wrong.extend(reading.warnings.iter().filter_map(|warning| match warning {
        AssetWarning::Unusable { error } => Some(error.clone()),
        _ => None,
    }));
    for (name, (_, file)) in files {
        let size = parts::split(name, file).iter().map(String::len).max().unwrap_or_default();
        if size > MAX_DATA_BYTES {
            let label = &file.label;
            wrong.push(format!("{label}: is {size} bytes as JSON, and Twilio Sync takes at most {MAX_DATA_BYTES}"));
        }
        if !force && present.compare(name, file) == Some(false) {
            wrong.push(format!("{}: differs from the one in Twilio Sync; --force replaces that", file.label));
        }
    }
    if wrong.is_empty() { Ok(reading.warnings) } else { Err(wrong) }
}
