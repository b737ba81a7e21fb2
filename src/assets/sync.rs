//! Storage of assets in Twilio Sync: one service with two maps and a document.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;
use tracing::{error, info, warn};

use super::file::{AssetFile, Layer};
use super::name::AssetName;
use super::{AssetError, AssetWarning, parts};
use crate::twilio::{self, ServiceSid, SyncClient, SyncEntry, SyncError, SyncServiceInfo};

/// The friendly name of the Sync service.
const SERVICE_NAME: &str = "ConversationRelay";
/// The map of contexts. Its items are `{"content": "…"}`, with the keys of [`parts`].
const CONTEXT_MAP: &str = "Context";
/// The map of manifests. Its items have the form of the files.
const MANIFEST_MAP: &str = "ToolManifest";
/// The document with the contents of `serverConfig.json`.
const SERVER_CONFIG_DOCUMENT: &str = "serverConfig";

/// The service.
#[derive(Debug)]
pub(super) struct SyncStore {
    client: SyncClient,
    service: ServiceSid,
}

/// The contents of the Sync service.
#[derive(Debug, Default)]
pub(super) struct SyncContents {
    /// The entries of each asset, by part: one, or several for a large context.
    assets: BTreeMap<AssetName, BTreeMap<usize, SyncEntry>>,
    warnings: Vec<AssetWarning>,
}

/// The revisions of all entries. If they are unchanged, so are the assets. A hash of the data is included, since an
/// entry that was deleted and created again may start with the revision that it had.
pub(super) type SyncRevisions = Vec<(AssetName, usize, String, u64)>;

impl SyncStore {
    /// Finds the Sync service. Of several with its name the oldest is used, so that all servers choose the same.
    pub(super) async fn find(client: &SyncClient) -> Result<Option<Self>, SyncError> {
        let mut services: Vec<SyncServiceInfo> = client.services().await?;
        services.retain(|service| service.friendly_name.as_deref() == Some(SERVICE_NAME));
        services.sort_by(|a, b| (&a.date_created, a.sid.as_str()).cmp(&(&b.date_created, b.sid.as_str())));
        if let [oldest, _, ..] = services.as_slice() {
            warn!(
                event = "assets.sync_service_ambiguous",
                count = services.len(),
                used = %oldest.sid,
                "Several Sync services are named ConversationRelay; the oldest is used."
            );
        }
        let oldest = services.into_iter().next();
        Ok(oldest.map(|service| Self { client: client.clone(), service: service.sid }))
    }

    /// Finds the Sync service, or creates it.
    pub(super) async fn find_or_create(client: &SyncClient) -> Result<Self, SyncError> {
        if let Some(found) = Self::find(client).await? {
            return Ok(found);
        }
        let created = client.create_service(SERVICE_NAME).await?;
        info!(event = "assets.sync_service_created", service = %created.sid, "The Sync service is created.");
        // Another server may have created one at the same time.
        let oldest = Self::find(client).await?;
        let store = oldest.unwrap_or_else(|| Self { client: client.clone(), service: created.sid });
        for map in [CONTEXT_MAP, MANIFEST_MAP] {
            client.create_map(&store.service, map).await?;
        }
        Ok(store)
    }

    /// Reads all assets. A missing map is created.
    pub(super) async fn read(&self) -> Result<SyncContents, SyncError> {
        let mut contents = SyncContents::default();
        for item in self.read_items(CONTEXT_MAP).await? {
            match parts::parse_item_key(&item.key) {
                Some((key, part)) => contents.add(AssetName::Context(key), part, item),
                None => contents.warnings.push(AssetWarning::InvalidKey { file: item_label(CONTEXT_MAP, &item.key) }),
            }
        }
        for item in self.read_items(MANIFEST_MAP).await? {
            match item.key.parse() {
                Ok(key) => contents.add(AssetName::Manifest(key), 1, item),
                Err(_) => {
                    contents.warnings.push(AssetWarning::InvalidKey { file: item_label(MANIFEST_MAP, &item.key) });
                }
            }
        }
        if let Some(document) = self.client.document(&self.service, SERVER_CONFIG_DOCUMENT).await? {
            contents.add(AssetName::ServerConfig, 1, document);
        }
        Ok(contents)
    }

    async fn read_items(&self, map: &str) -> Result<Vec<SyncEntry>, SyncError> {
        match self.client.items(&self.service, map).await {
            Err(error) if error.is_gone() => {
                // If the service itself is gone, this fails.
                self.client.create_map(&self.service, map).await?;
                Ok(Vec::new())
            }
            answer => answer,
        }
    }

    /// Writes the assets that Sync does not have, and changes no other. An asset that Sync refuses is logged and
    /// skipped; an error means that another attempt may succeed.
    pub(super) async fn seed(
        &self,
        assets: &[(AssetName, AssetFile)],
        present: &SyncContents,
    ) -> Result<(), SyncError> {
        for (name, file) in assets {
            match self.seed_one(name, file, present).await {
                Ok(false) => {}
                Ok(true) => {
                    info!(
                        event = "assets.seeded",
                        file = file.label,
                        "The file is written to Twilio Sync, which had no such asset."
                    );
                }
                Err(
                    refusal @ (SyncError::TooLarge { .. } | SyncError::Request(twilio::TwilioError::Refused { .. })),
                ) if !refusal.is_gone() => {
                    error!(
                        event = "assets.seed_refused", file = file.label, error = %refusal, request_id = refusal.request_id(),
                        "Twilio Sync refused the asset; the local file is used instead."
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn seed_one(&self, name: &AssetName, file: &AssetFile, present: &SyncContents) -> Result<bool, SyncError> {
        let pieces = parts::split(name, file);
        let entries = present.assets.get(name);
        if entries.is_some_and(|entries| !is_partial_upload(entries, &pieces)) {
            return Ok(false);
        }
        for (part, piece) in (1..).zip(&pieces) {
            if entries.is_some_and(|entries| entries.contains_key(&part)) {
                continue;
            }
            // The server that creates the first part also writes the others.
            if !self.create(name, part, piece).await? && part == 1 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes an asset and replaces the version in `present`. Fails if another writer has added it in the meantime.
    pub(super) async fn put(
        &self,
        name: &AssetName,
        file: &AssetFile,
        present: &SyncContents,
    ) -> Result<(), SyncError> {
        let pieces = parts::split(name, file);
        let entries = present.assets.get(name);
        let has = |part: &usize| entries.is_some_and(|entries| entries.contains_key(part));
        for (part, piece) in (1..).zip(&pieces) {
            if has(&part) {
                self.update(name, part, piece).await?;
            } else if !self.create(name, part, piece).await? {
                return Err(SyncError::AlreadyExists(name.to_string()));
            }
        }
        if let AssetName::Context(key) = name {
            for part in entries.into_iter().flat_map(BTreeMap::keys).filter(|part| **part > pieces.len()) {
                self.client.delete_item(&self.service, CONTEXT_MAP, &parts::item_key(key, *part)).await?;
            }
        }
        Ok(())
    }

    async fn create(&self, name: &AssetName, part: usize, data: &str) -> Result<bool, SyncError> {
        let (client, service) = (&self.client, &self.service);
        match name {
            AssetName::ServerConfig => client.create_document(service, SERVER_CONFIG_DOCUMENT, data).await,
            AssetName::Context(key) => {
                client.create_item(service, CONTEXT_MAP, &parts::item_key(key, part), data).await
            }
            AssetName::Manifest(key) => client.create_item(service, MANIFEST_MAP, key.as_str(), data).await,
        }
    }

    async fn update(&self, name: &AssetName, part: usize, data: &str) -> Result<(), SyncError> {
        let (client, service) = (&self.client, &self.service);
        match name {
            AssetName::ServerConfig => client.update_document(service, SERVER_CONFIG_DOCUMENT, data).await,
            AssetName::Context(key) => {
                client.update_item(service, CONTEXT_MAP, &parts::item_key(key, part), data).await
            }
            AssetName::Manifest(key) => client.update_item(service, MANIFEST_MAP, key.as_str(), data).await,
        }
    }
}

impl SyncContents {
    fn add(&mut self, name: AssetName, part: usize, entry: SyncEntry) {
        self.assets.entry(name).or_default().insert(part, entry);
    }

    pub(super) fn revisions(&self) -> SyncRevisions {
        let of = |(name, parts): (&AssetName, &BTreeMap<usize, SyncEntry>)| -> Vec<_> {
            parts
                .iter()
                .map(|(part, entry)| (name.clone(), *part, entry.revision.clone(), hash(entry.data.get())))
                .collect()
        };
        self.assets.iter().flat_map(of).collect()
    }

    /// Returns whether the asset of this name equals the file, or `None` if there is none. The parts of an unfinished
    /// upload of the file count as none.
    pub(super) fn compare(&self, name: &AssetName, file: &AssetFile) -> Option<bool> {
        let pieces = parts::split(name, file);
        let entries = self.assets.get(name).filter(|entries| !is_partial_upload(entries, &pieces))?;
        Some(match name {
            AssetName::Context(_) => read_asset(name, entries).is_ok_and(|stored| stored.text == file.text),
            AssetName::Manifest(_) | AssetName::ServerConfig => {
                entries.get(&1).zip(pieces.first()).is_some_and(|(entry, piece)| is_same_json(entry.data.get(), piece))
            }
        })
    }

    pub(super) fn to_layer(&self) -> Layer {
        let files = self.assets.iter().map(|(name, entries)| (name.clone(), read_asset(name, entries))).collect();
        Layer { files, warnings: self.warnings.clone() }
    }
}

/// The hash is compared within one process only.
fn hash(data: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

/// Builds a file from the entries of an asset. Its text has the form of the asset's file.
fn read_asset(name: &AssetName, entries: &BTreeMap<usize, SyncEntry>) -> Result<AssetFile, AssetError> {
    let only =
        |label: String| AssetFile { label, text: entries.get(&1).map_or("null", |entry| entry.data.get()).to_owned() };
    match name {
        AssetName::Context(key) => {
            let item = |part: usize| item_label(CONTEXT_MAP, &parts::item_key(key, part));
            let file =
                |part: usize, entry: &SyncEntry| AssetFile { label: item(part), text: entry.data.get().to_owned() };
            let parts = entries.iter().map(|(part, entry)| (*part, file(*part, entry))).collect();
            parts::join(&item(1), &parts)
        }
        AssetName::Manifest(key) => Ok(only(item_label(MANIFEST_MAP, key.as_str()))),
        AssetName::ServerConfig => Ok(only(format!("Sync {SERVER_CONFIG_DOCUMENT}"))),
    }
}

/// The name of an item in messages.
fn item_label(map: &str, key: &str) -> String {
    format!("Sync {map}/{}", key.escape_debug())
}

/// Whether the entries are the start of an unfinished upload of these pieces, which can be continued.
fn is_partial_upload(entries: &BTreeMap<usize, SyncEntry>, pieces: &[String]) -> bool {
    let first = entries.get(&1).zip(pieces.first());
    entries.len() < pieces.len() && first.is_some_and(|(entry, piece)| is_same_json(entry.data.get(), piece))
}

/// Whether two texts are equal as JSON. Sync may return it in another form than it was written.
fn is_same_json(a: &str, b: &str) -> bool {
    let (a, b): (Option<Value>, Option<Value>) = (serde_json::from_str(a).ok(), serde_json::from_str(b).ok());
    a.is_some() && a == b
}
