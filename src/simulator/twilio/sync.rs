//! Simulates Twilio Sync strictly over real HTTP: services, maps with their items, documents.
//!
//! Holds the content and the operations of Twilio's console. The HTTP API is in `rest`.

mod rest;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Twilio Sync of one account. Clones share its content.
#[derive(Debug, Clone)]
pub struct ScriptedSync(Arc<Mutex<SyncAccount>>);

#[derive(Debug, Default)]
struct SyncAccount {
    authorization: String,
    /// The oldest first.
    services: Vec<ScriptedSyncService>,
    is_down: bool,
    writes: Vec<String>,
    violations: Vec<String>,
}

#[derive(Debug, Default)]
struct ScriptedSyncService {
    sid: String,
    friendly_name: String,
    maps: BTreeMap<String, SyncEntries>,
    documents: SyncEntries,
}

/// By key: the revision and the data.
type SyncEntries = BTreeMap<String, (usize, Value)>;

impl ScriptedSync {
    /// Creates an empty account with the credentials that HTTP requests must have.
    pub fn new(user: &str, password: &str) -> Self {
        let authorization = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Self(Arc::new(Mutex::new(SyncAccount { authorization, ..SyncAccount::default() })))
    }

    /// Builds the router of the HTTP API.
    pub fn router(&self) -> Router {
        rest::router(self.clone())
    }

    /// Adds a service.
    pub fn add_service(&self, friendly_name: &str) {
        self.lock().add_service(friendly_name);
    }

    /// Sets an item in the oldest service, which is created if there is none.
    pub fn put_item(&self, map: &str, key: &str, data: Value) {
        let mut account = self.lock();
        if account.services.is_empty() {
            account.add_service("ConversationRelay");
        }
        put_entry(account.services[0].maps.entry(map.to_owned()).or_default(), key, data);
    }

    /// Sets a document in the oldest service.
    pub fn put_document(&self, name: &str, data: Value) {
        let mut account = self.lock();
        if let Some(service) = account.services.first_mut() {
            put_entry(&mut service.documents, name, data);
        }
    }

    /// Removes an item from the oldest service.
    pub fn remove_item(&self, map: &str, key: &str) {
        let mut account = self.lock();
        if let Some(items) = account.services.first_mut().and_then(|service| service.maps.get_mut(map)) {
            items.remove(key);
        }
    }

    /// Sets whether every request is answered 503.
    pub fn set_down(&self, down: bool) {
        self.lock().is_down = down;
    }

    /// The data of an item in the oldest service.
    pub fn item(&self, map: &str, key: &str) -> Option<Value> {
        self.lock().services.first()?.maps.get(map)?.get(key).map(|(_, data)| data.clone())
    }

    /// The keys of a map in the oldest service.
    pub fn keys(&self, map: &str) -> Vec<String> {
        let account = self.lock();
        let items = account.services.first().and_then(|service| service.maps.get(map));
        items.map(|items| items.keys().cloned().collect()).unwrap_or_default()
    }

    /// The data of a document in the oldest service.
    pub fn document(&self, name: &str) -> Option<Value> {
        self.lock().services.first()?.documents.get(name).map(|(_, data)| data.clone())
    }

    /// The number of services.
    pub fn service_count(&self) -> usize {
        self.lock().services.len()
    }

    /// The write requests over HTTP: method and path.
    pub fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    /// The requests that Twilio would refuse or silently ignore.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, SyncAccount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SyncAccount {
    fn add_service(&mut self, friendly_name: &str) {
        let sid = format!("IS{:032x}", self.services.len() + 1);
        self.services.push(ScriptedSyncService {
            sid,
            friendly_name: friendly_name.to_owned(),
            ..ScriptedSyncService::default()
        });
    }
}

/// Sets the data of a key. Revisions count from the creation of an entry; a recreated entry starts at 0.
fn put_entry<'a>(entries: &'a mut SyncEntries, key: &str, data: Value) -> &'a (usize, Value) {
    let revision = entries.get(key).map_or(0, |(revision, _)| revision + 1);
    let entry = entries.entry(key.to_owned()).or_default();
    *entry = (revision, data);
    entry
}
