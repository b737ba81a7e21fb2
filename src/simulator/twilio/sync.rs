//! Twilio Sync, played strictly over real HTTP: services, maps with their items, documents.
//!
//! What lies in it, and how somebody changes that with Twilio's console. What is asked of it over HTTP is in `rest`.

mod rest;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Twilio Sync of one account. Clones share what lies in it.
#[derive(Debug, Clone)]
pub struct Sync(Arc<Mutex<Account>>);

#[derive(Debug, Default)]
struct Account {
    authorization: String,
    /// The oldest first.
    services: Vec<Service>,
    down: bool,
    writes: Vec<String>,
    violations: Vec<String>,
}

#[derive(Debug, Default)]
struct Service {
    sid: String,
    friendly_name: String,
    maps: BTreeMap<String, Entries>,
    documents: Entries,
}

/// By key: the revision and the data.
type Entries = BTreeMap<String, (usize, Value)>;

impl Sync {
    /// An account with nothing in it, and who may ask for it.
    pub fn new(user: &str, password: &str) -> Self {
        let authorization = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Self(Arc::new(Mutex::new(Account { authorization, ..Account::default() })))
    }

    /// The routes.
    pub fn router(&self) -> Router {
        rest::router(self.clone())
    }

    /// Somebody makes a service.
    pub fn add_service(&self, friendly_name: &str) {
        self.lock().add_service(friendly_name);
    }

    /// Somebody edits an item, or adds it; in the oldest service, which is made if need be.
    pub fn edit(&self, map: &str, key: &str, data: Value) {
        let mut account = self.lock();
        if account.services.is_empty() {
            account.add_service("ConversationRelay");
        }
        put(account.services[0].maps.entry(map.to_owned()).or_default(), key, data);
    }

    /// Somebody edits a document, or adds it; in the oldest service.
    pub fn edit_document(&self, name: &str, data: Value) {
        let mut account = self.lock();
        if let Some(service) = account.services.first_mut() {
            put(&mut service.documents, name, data);
        }
    }

    /// Somebody removes an item; in the oldest service.
    pub fn remove(&self, map: &str, key: &str) {
        let mut account = self.lock();
        if let Some(items) = account.services.first_mut().and_then(|service| service.maps.get_mut(map)) {
            items.remove(key);
        }
    }

    /// Whether Sync answers nothing but 503.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// What an item holds; in the oldest service.
    pub fn item(&self, map: &str, key: &str) -> Option<Value> {
        self.lock().services.first()?.maps.get(map)?.get(key).map(|(_, data)| data.clone())
    }

    /// The keys of a map; in the oldest service.
    pub fn keys(&self, map: &str) -> Vec<String> {
        let account = self.lock();
        let items = account.services.first().and_then(|service| service.maps.get(map));
        items.map(|items| items.keys().cloned().collect()).unwrap_or_default()
    }

    /// What a document holds; in the oldest service.
    pub fn document(&self, name: &str) -> Option<Value> {
        self.lock().services.first()?.documents.get(name).map(|(_, data)| data.clone())
    }

    /// How many services there are.
    pub fn services(&self) -> usize {
        self.lock().services.len()
    }

    /// What was asked to be written over HTTP: method and path.
    pub fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    /// What was asked that Twilio would not understand, or would silently ignore.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn add_service(&mut self, friendly_name: &str) {
        let sid = format!("IS{:032x}", self.services.len() + 1);
        self.services.push(Service { sid, friendly_name: friendly_name.to_owned(), ..Service::default() });
    }
}

/// Puts data under a key. Revisions are counted from the making of an entry: one that is made anew begins anew.
fn put<'a>(entries: &'a mut Entries, key: &str, data: Value) -> &'a (usize, Value) {
    let revision = entries.get(key).map_or(0, |(revision, _)| revision + 1);
    let entry = entries.entry(key.to_owned()).or_default();
    *entry = (revision, data);
    entry
}
