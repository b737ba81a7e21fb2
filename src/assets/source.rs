//! Where changes of the assets come from: the directory, or Twilio Sync. Each look costs little while nothing changes.

use std::error::Error as _;
use std::iter;
use std::time::Duration;

use super::AssetError;
use super::file::{Directory, File, Layer, Look};
use super::name::Name;
use super::server_config::LoaderType;
use super::sync::{Contents, Revisions, Store};
use crate::twilio::{SyncClient, SyncError};

/// How often the files are looked at. What is written is used after two looks: one may see half of it.
const FILES_EVERY: Duration = Duration::from_secs(2);

/// How often Twilio Sync is looked at, with three requests: far below its limit of 20 reads a second.
const SYNC_EVERY: Duration = Duration::from_secs(30);

/// Where the assets are.
#[derive(Debug)]
pub(super) enum Source {
    /// In the binary: they never change.
    BuiltIn,
    /// In a directory.
    Files(Files),
    /// In Twilio Sync.
    Sync(Box<Remote>),
}

#[derive(Debug)]
pub(super) struct Files {
    directory: Directory,
    /// What the files looked like at the last look.
    seen: Look,
    /// What they looked like when they were read.
    taken: Look,
}

#[derive(Debug)]
pub(super) struct Remote {
    client: SyncClient,
    /// The local files: they go where nothing is.
    local: Vec<(Name, File)>,
    /// Found and seeded.
    store: Option<Store>,
    revisions: Option<Revisions>,
}

/// Why a source could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Files(#[from] AssetError),
    #[error("{}", with_causes(.0))]
    Sync(#[from] SyncError),
}

impl Source {
    pub(super) fn every(&self) -> Duration {
        match self {
            Self::BuiltIn | Self::Files(_) => FILES_EVERY,
            Self::Sync(_) => SYNC_EVERY,
        }
    }

    pub(super) fn is(&self, loader: LoaderType) -> bool {
        match self {
            Self::BuiltIn => true,
            Self::Files(_) => loader == LoaderType::File,
            Self::Sync(_) => loader == LoaderType::Sync,
        }
    }

    /// What is there, if it is not what was there before.
    pub(super) async fn look(&mut self) -> Result<Option<Layer>, Trouble> {
        match self {
            Self::BuiltIn => Ok(None),
            Self::Files(files) => Ok(files.look().await?),
            Self::Sync(sync) => Ok(sync.look().await?),
        }
    }
}

impl Files {
    /// The files of a directory, as they were read after this `look` at them.
    pub(super) fn new(directory: Directory, look: Look) -> Self {
        Self { directory, seen: look.clone(), taken: look }
    }

    async fn look(&mut self) -> Result<Option<Layer>, AssetError> {
        let look = blocking(&self.directory, Directory::look).await?;
        let at_rest = std::mem::replace(&mut self.seen, look) == self.seen;
        if !at_rest || self.seen == self.taken {
            return Ok(None);
        }
        let layer = blocking(&self.directory, Directory::read).await?;
        self.taken = self.seen.clone();
        Ok(Some(layer))
    }
}

/// Does what blocks where it may.
async fn blocking<T: Send + 'static>(directory: &Directory, work: fn(&Directory) -> T) -> T {
    let directory = directory.clone();
    tokio::task::spawn_blocking(move || work(&directory)).await.expect("reading files does not panic")
}

impl Remote {
    /// The assets that `client`'s account keeps; the `local` ones are put where there are none.
    pub(super) fn new(client: SyncClient, local: Vec<(Name, File)>) -> Self {
        Self { client, local, store: None, revisions: None }
    }

    async fn look(&mut self) -> Result<Option<Layer>, SyncError> {
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
        Ok(Some(contents.layer()))
    }

    async fn open(&mut self) -> Result<Contents, SyncError> {
        let store = Store::open(&self.client).await?;
        store.seed(&self.local, &store.read().await?).await?;
        let contents = store.read().await?;
        self.store = Some(store);
        Ok(contents)
    }
}

/// An error with all that led to it, in one line.
fn with_causes(error: &SyncError) -> String {
    iter::successors(error.source(), |cause| (*cause).source())
        .fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_being_written_is_left_alone_until_it_rests() {
        let path = std::env::temp_dir().join(format!("crelay-payments-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        let write = |text: &str| std::fs::write(path.join("acme.md"), text).unwrap();
        write("Be");
        let directory = Directory::new(&path);
        let mut files = Files::new(directory.clone(), directory.look().unwrap());
        assert!(files.look().await.unwrap().is_none(), "nothing has changed");
        write("Be kind");
        assert!(files.look().await.unwrap().is_none(), "half of it");
        write("Be kind.");
        assert!(files.look().await.unwrap().is_none(), "it was still being written");
        let layer = files.look().await.unwrap().expect("it rests");
        assert_eq!(layer.readable()[0].1.text, "Be kind.");
        assert!(files.look().await.unwrap().is_none(), "it was taken");
        std::fs::remove_dir_all(&path).unwrap();
        assert!(files.look().await.unwrap().is_none());
        assert!(files.look().await.unwrap().unwrap().files.is_empty());
    }
}
