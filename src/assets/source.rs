//! Sources of asset changes: a directory or Twilio Sync. A poll is cheap while nothing changes.

use std::error::Error as _;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use super::AssetError;
use super::file::{AssetDirectory, AssetFile, DirectorySnapshot, Layer};
use super::name::AssetName;
use super::schema::server_config::LoaderType;
use super::sync::{SyncContents, SyncRevisions, SyncStore};
use crate::telemetry::Telemetry;
use crate::twilio::{SyncClient, SyncError};

/// The interval between polls of the directory. A change is used after two equal polls: the first may see a
/// half-written file.
const FILES_POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The interval between polls of Twilio Sync, of three requests each: far below its limit of 20 reads per second.
const SYNC_POLL_INTERVAL: Duration = Duration::from_secs(30);

/// The source of the assets.
#[derive(Debug)]
pub(super) enum AssetSource {
    /// The binary. Its assets never change.
    BuiltIn,
    /// A directory.
    Files(FileSource),
    /// Twilio Sync.
    Sync(Box<SyncSource>),
}

#[derive(Debug)]
pub(super) struct FileSource {
    directory: AssetDirectory,
    /// The snapshot at the last poll.
    last_seen: DirectorySnapshot,
    /// The snapshot at the last read.
    last_read: DirectorySnapshot,
}

#[derive(Debug)]
pub(super) struct SyncSource {
    client: SyncClient,
    /// The local files. They are written to Sync where it has no asset of that name.
    local: Vec<(AssetName, AssetFile)>,
    /// The Sync service, once it was found and the local files were written to it.
    store: Option<SyncStore>,
    revisions: Option<SyncRevisions>,
}

/// The reason why a source could not be polled.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssetSourceError {
    #[error(transparent)]
    Files(#[from] AssetError),
    #[error("{}", with_causes(.0))]
    Sync(#[from] SyncError),
}

impl AssetSourceError {
    /// Twilio's identifier of the request that failed.
    pub(super) fn request_id(&self) -> Option<&str> {
        match self {
            Self::Files(_) => None,
            Self::Sync(error) => error.request_id(),
        }
    }
}

impl AssetSource {
    pub(super) fn poll_interval(&self) -> Duration {
        match self {
            Self::BuiltIn | Self::Files(_) => FILES_POLL_INTERVAL,
            Self::Sync(_) => SYNC_POLL_INTERVAL,
        }
    }

    pub(super) fn has_loader_type(&self, loader: LoaderType) -> bool {
        match self {
            Self::BuiltIn => true,
            Self::Files(_) => loader == LoaderType::File,
            Self::Sync(_) => loader == LoaderType::Sync,
        }
    }

    /// The assets, if they have changed since the last poll.
    pub(super) async fn poll(&mut self) -> Result<Option<Layer>, AssetSourceError> {
        match self {
            Self::BuiltIn => Ok(None),
            Self::Files(files) => Ok(files.poll().await?),
            Self::Sync(sync) => Ok(sync.poll().await?),
        }
    }
}

impl FileSource {
    /// Creates a source for a directory whose files were read after this snapshot was taken.
    pub(super) fn new(directory: AssetDirectory, snapshot: DirectorySnapshot) -> Self {
        Self { directory, last_seen: snapshot.clone(), last_read: snapshot }
    }

    async fn poll(&mut self) -> Result<Option<Layer>, AssetError> {
        let snapshot = run_blocking(&self.directory, AssetDirectory::snapshot).await?;
        let is_settled = std::mem::replace(&mut self.last_seen, snapshot) == self.last_seen;
        if !is_settled || self.last_seen == self.last_read {
            return Ok(None);
        }
        let layer = run_blocking(&self.directory, AssetDirectory::read).await?;
        self.last_read = self.last_seen.clone();
        Ok(Some(layer))
    }
}

/// Runs blocking work on a blocking thread.
async fn run_blocking<T: Send + 'static>(directory: &AssetDirectory, work: fn(&AssetDirectory) -> T) -> T {
    let directory = directory.clone();
    tokio::task::spawn_blocking(move || work(&directory)).await.expect("reading files does not panic")
}

impl SyncSource {
    /// Creates a source for the account of `client`. The `local` files are written to Sync where it has no asset of
    /// that name.
    pub(super) fn new(client: SyncClient, local: Vec<(AssetName, AssetFile)>) -> Self {
        Self { client, local, store: None, revisions: None }
    }

    pub(super) fn set_telemetry(&self, telemetry: &Arc<Telemetry>) {
        self.client.set_telemetry(telemetry);
    }

    async fn poll(&mut self) -> Result<Option<Layer>, SyncError> {
        let read = match &self.store {
            Some(store) => store.read().await,
            None => self.open().await,
        };
        let contents = match read {
            Ok(contents) => contents,
            Err(error) => {
                if error.is_gone() {
                    self.store = None;
                }
                return Err(error);
            }
        };
        let revisions = Some(contents.revisions());
        if self.revisions == revisions {
            return Ok(None);
        }
        self.revisions = revisions;
        Ok(Some(contents.to_layer()))
    }

    async fn open(&mut self) -> Result<SyncContents, SyncError> {
        let store = SyncStore::find_or_create(&self.client).await?;
        store.seed(&self.local, &store.read().await?).await?;
        let contents = store.read().await?;
        self.store = Some(store);
        Ok(contents)
    }
}

/// Formats an error and its causes in one line.
fn with_causes(error: &SyncError) -> String {
    iter::successors(error.source(), |cause| (*cause).source())
        .fold(error.to_string(), |message, cause| format!("{message}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_only_after_two_equal_polls() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("assets");
        std::fs::create_dir(&path).unwrap();
        let write = |text: &str| std::fs::write(path.join("acme.md"), text).unwrap();
        write("Be");
        let assets = AssetDirectory::new(&path);
        let mut files = FileSource::new(assets.clone(), assets.snapshot().unwrap());
        assert!(files.poll().await.unwrap().is_none(), "nothing has changed");
        write("Be kind");
        assert!(files.poll().await.unwrap().is_none(), "it has just changed");
        write("Be kind.");
        assert!(files.poll().await.unwrap().is_none(), "it changed since the last poll");
        let layer = files.poll().await.unwrap().expect("it has not changed since the last poll");
        assert_eq!(layer.readable()[0].1.text, "Be kind.");
        assert!(files.poll().await.unwrap().is_none(), "it was read already");
        std::fs::remove_dir_all(&path).unwrap();
        assert!(files.poll().await.unwrap().is_none());
        assert!(files.poll().await.unwrap().unwrap().files.is_empty());
    }
}
