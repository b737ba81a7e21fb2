//! Assets in Twilio Sync: the service, its maps and its document, and what lies in them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;
use tracing::{error, info, warn};

use super::file::{File, Layer};
use super::name::Name;
use super::{AssetError, Warning, parts};
use crate::twilio::{self, Entry, Service, ServiceSid, SyncClient, SyncError};

/// The friendly name of the service.
const SERVICE: &str = "ConversationRelay";
/// The map of contexts: items `{"content": "…"}`, under the keys that [`parts`] gives them.
const CONTEXTS: &str = "Context";
/// The map of manifests: items as in the files.
const MANIFESTS: &str = "ToolManifest";
/// The document with what is in the file of the same name.
const SERVER_CONFIG: &str = "serverConfig";

/// The service.
#[derive(Debug)]
pub(super) struct Store {
    client: SyncClient,
    service: ServiceSid,
}

/// What lies in the service.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// An asset is one entry, or, for a large context, several.
    assets: BTreeMap<Name, BTreeMap<usize, Entry>>,
    warnings: Vec<Warning>,
}

/// If this stays the same, so does what lies there. The data count as well: an entry that was removed and made anew may
/// begin with the revision that it had.
pub(super) type Revisions = Vec<(Name, usize, String, u64)>;

impl Store {
    /// The service, if there is one. Of several, the oldest: then all servers find the same.
    pub(super) async fn find(client: &SyncClient) -> Result<Option<Self>, SyncError> {
        let mut ours: Vec<Service> = client.services().await?;
        ours.retain(|service| service.friendly_name.as_deref() == Some(SERVICE));
        ours.sort_by(|a, b| (&a.date_created, a.sid.as_str()).cmp(&(&b.date_created, b.sid.as_str())));
        if let [oldest, _, ..] = ours.as_slice() {
            warn!(count = ours.len(), used = %oldest.sid, "several Sync services are named {SERVICE}: the oldest is used");
        }
        let oldest = ours.into_iter().next();
        Ok(oldest.map(|service| Self { client: client.clone(), service: service.sid }))
    }

    /// The service, made if there is none.
    pub(super) async fn open(client: &SyncClient) -> Result<Self, SyncError> {
        if let Some(found) = Self::find(client).await? {
            return Ok(found);
        }
        let made = client.create_service(SERVICE).await?;
        info!(service = %made.sid, "made the Sync service {SERVICE}");
        // Another server may have made one at the same moment.
        let oldest = Self::find(client).await?;
        let store = oldest.unwrap_or_else(|| Self { client: client.clone(), service: made.sid });
        for map in [CONTEXTS, MANIFESTS] {
            client.create_map(&store.service, map).await?;
        }
        Ok(store)
    }

    /// Reads everything. A map that is not there is made.
    pub(super) async fn read(&self) -> Result<Contents, SyncError> {
        let mut contents = Contents::default();
        for item in self.items(CONTEXTS).await? {
            match parts::part_of(&item.key) {
                Some((key, part)) => contents.add(Name::Context(key), part, item),
                None => contents.warnings.push(Warning::Key { file: label(CONTEXTS, &item.key) }),
            }
        }
        for item in self.items(MANIFESTS).await? {
            match item.key.parse() {
                Ok(key) => contents.add(Name::Manifest(key), 1, item),
                Err(_) => contents.warnings.push(Warning::Key { file: label(MANIFESTS, &item.key) }),
            }
        }
        if let Some(document) = self.client.document(&self.service, SERVER_CONFIG).await? {
            contents.add(Name::ServerConfig, 1, document);
        }
        Ok(contents)
    }

    async fn items(&self, map: &str) -> Result<Vec<Entry>, SyncError> {
        match self.client.items(&self.service, map).await {
            Err(gone) if gone.is_gone() => {
                // If it is the service that is gone, this says so.
                self.client.create_map(&self.service, map).await?;
                Ok(Vec::new())
            }
            answer => answer,
        }
    }

    /// Puts those assets there that are not, and touches no other. What Sync does not take is logged and left out; an
    /// error means that it is worth trying again.
    pub(super) async fn seed(&self, assets: &[(Name, File)], present: &Contents) -> Result<(), SyncError> {
        for (name, file) in assets {
            match self.seed_one(name, file, present).await {
                Ok(false) => {}
                Ok(true) => info!(file = file.label, "put into Twilio Sync, where it was missing"),
                Err(refused @ (SyncError::TooLarge { .. } | SyncError::Request(twilio::Error::Refused { .. })))
                    if !refused.is_gone() =>
                {
                    error!(file = file.label, %refused, "cannot be put into Twilio Sync: the file is used instead");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn seed_one(&self, name: &Name, file: &File, present: &Contents) -> Result<bool, SyncError> {
        let pieces = parts::split(name, file);
        let there = present.assets.get(name);
        if there.is_some_and(|there| !is_unfinished(there, &pieces)) {
            return Ok(false);
        }
        for (part, piece) in (1..).zip(&pieces) {
            if there.is_some_and(|there| there.contains_key(&part)) {
                continue;
            }
            // Whoever creates the first part does the others as well.
            if !self.create(name, part, piece).await? && part == 1 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts an asset there, in the place of what was `present`. What has come meanwhile is not replaced.
    pub(super) async fn put(&self, name: &Name, file: &File, present: &Contents) -> Result<(), SyncError> {
        let pieces = parts::split(name, file);
        let there = present.assets.get(name);
        let has = |part: &usize| there.is_some_and(|there| there.contains_key(part));
        for (part, piece) in (1..).zip(&pieces) {
            if has(&part) {
                self.update(name, part, piece).await?;
            } else if !self.create(name, part, piece).await? {
                return Err(SyncError::Exists(name.to_string()));
            }
        }
        if let Name::Context(key) = name {
            for part in there.into_iter().flat_map(BTreeMap::keys).filter(|part| **part > pieces.len()) {
                self.client.delete_item(&self.service, CONTEXTS, &parts::item_key(key, *part)).await?;
            }
        }
        Ok(())
    }

    async fn create(&self, name: &Name, part: usize, data: &str) -> Result<bool, SyncError> {
        let (client, service) = (&self.client, &self.service);
        match name {
            Name::ServerConfig => client.create_document(service, SERVER_CONFIG, data).await,
            Name::Context(key) => client.create_item(service, CONTEXTS, &parts::item_key(key, part), data).await,
            Name::Manifest(key) => client.create_item(service, MANIFESTS, key.as_str(), data).await,
        }
    }

    async fn update(&self, name: &Name, part: usize, data: &str) -> Result<(), SyncError> {
        let (client, service) = (&self.client, &self.service);
        match name {
            Name::ServerConfig => client.update_document(service, SERVER_CONFIG, data).await,
            Name::Context(key) => client.update_item(service, CONTEXTS, &parts::item_key(key, part), data).await,
            Name::Manifest(key) => client.update_item(service, MANIFESTS, key.as_str(), data).await,
        }
    }
}

impl Contents {
    fn add(&mut self, name: Name, part: usize, entry: Entry) {
        self.assets.entry(name).or_default().insert(part, entry);
    }

    pub(super) fn revisions(&self) -> Revisions {
        let of = |(name, parts): (&Name, &BTreeMap<usize, Entry>)| -> Vec<_> {
            parts
                .iter()
                .map(|(part, entry)| (name.clone(), *part, entry.revision.clone(), hash(entry.data.get())))
                .collect()
        };
        self.assets.iter().flat_map(of).collect()
    }

    /// Whether there is an asset of this name, and whether it says the same as the file. What is left of an upload of the
    /// file that broke off is none.
    pub(super) fn compare(&self, name: &Name, file: &File) -> Option<bool> {
        let pieces = parts::split(name, file);
        let there = self.assets.get(name).filter(|there| !is_unfinished(there, &pieces))?;
        Some(match name {
            Name::Context(_) => read(name, there).is_ok_and(|there| there.text == file.text),
            Name::Manifest(_) | Name::ServerConfig => {
                there.get(&1).zip(pieces.first()).is_some_and(|(entry, piece)| same_json(entry.data.get(), piece))
            }
        })
    }

    pub(super) fn layer(&self) -> Layer {
        let files = self.assets.iter().map(|(name, there)| (name.clone(), read(name, there))).collect();
        Layer { files, warnings: self.warnings.clone() }
    }
}

/// Only compared with others of the same process.
fn hash(data: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

/// The entries of an asset as a file. Its text is what the file's would be.
fn read(name: &Name, there: &BTreeMap<usize, Entry>) -> Result<File, AssetError> {
    let only = |label: String| File { label, text: there.get(&1).map_or("null", |entry| entry.data.get()).to_owned() };
    match name {
        Name::Context(key) => {
            let item = |part: usize| label(CONTEXTS, &parts::item_key(key, part));
            let file = |part: usize, entry: &Entry| File { label: item(part), text: entry.data.get().to_owned() };
            let parts = there.iter().map(|(part, entry)| (*part, file(*part, entry))).collect();
            parts::join(&item(1), &parts)
        }
        Name::Manifest(key) => Ok(only(label(MANIFESTS, key.as_str()))),
        Name::ServerConfig => Ok(only(format!("Sync {SERVER_CONFIG}"))),
    }
}

/// How an item is called in a message.
fn label(map: &str, key: &str) -> String {
    format!("Sync {map}/{}", key.escape_debug())
}

/// Whether this is what is left of the same pieces when putting them there broke off: that may be finished.
fn is_unfinished(there: &BTreeMap<usize, Entry>, pieces: &[String]) -> bool {
    let first = there.get(&1).zip(pieces.first());
    there.len() < pieces.len() && first.is_some_and(|(entry, piece)| same_json(entry.data.get(), piece))
}

/// Whether two texts mean the same JSON; Sync is free to write it its own way.
fn same_json(a: &str, b: &str) -> bool {
    let (a, b): (Option<Value>, Option<Value>) = (serde_json::from_str(a).ok(), serde_json::from_str(b).ok());
    a.is_some() && a == b
}
