//! Twilio Sync, version 1: services, the documents and maps in them, the items of a map.
//!
//! What is kept there, and under which names, is not here.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use super::error::{Cause, Error};
use super::rest::{Ask, BadConfig, Limits, Repeat, Rest};
use crate::config;
use crate::sid::Sid;

/// The most that a document or an item may hold, in bytes of JSON: 16 KiB. Beyond that Twilio answers with error 54006.
pub const MAX_DATA: usize = 16 * 1024;

/// Entries on a page. Twilio gives at most 100, of up to [`MAX_DATA`] each.
const PAGE_SIZE: usize = 50;

/// The longest list that is read, in pages.
const MAX_PAGES: usize = 20;

/// Nobody listens to silence meanwhile, and large writes are let through at two a second.
const LIMITS: Limits = Limits {
    attempt: Duration::from_secs(10),
    request: Duration::from_secs(20),
    retries: 4,
    // A page of full entries, with room for escapes.
    answer: 4 * PAGE_SIZE * MAX_DATA,
};

/// Twilio Sync, as one account. It is reached at `https://sync.twilio.com` whatever the account's edge and region.
/// Clones share their connections.
#[derive(Debug, Clone)]
pub struct SyncClient(Rest);

/// A Sync service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncService {}

/// The SID of a Sync service (`IS…`).
pub type ServiceSid = Sid<SyncService>;

/// A service, as a list tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Service {
    /// Its SID.
    pub sid: ServiceSid,
    /// The name that it was given. Others may have been given the same.
    #[serde(default)]
    pub friendly_name: Option<String>,
    /// When it was made, in ISO 8601 and UTC: older ones sort first.
    #[serde(default)]
    pub date_created: Option<String>,
}

/// What a document or an item of a map holds.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// The key of an item; empty for a document.
    #[serde(default)]
    pub key: String,
    /// Changes with every change of the data.
    #[serde(default)]
    pub revision: String,
    /// The JSON.
    #[serde(default = "null")]
    pub data: Box<RawValue>,
}

/// Why Sync did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The request did not succeed.
    #[error(transparent)]
    Request(#[from] Error),
    /// It would be refused, so it is not even sent.
    #[error("{name} is {bytes} bytes as JSON, and Twilio Sync takes at most {MAX_DATA}: make it shorter")]
    TooLarge {
        /// The document or the item.
        name: String,
        /// Its size.
        bytes: usize,
    },
    /// There was nothing of that name, and now there is.
    #[error("somebody else has just put {0} there: look at it before you try again")]
    Exists(String),
    /// A page leads to another host, which must not get the credentials.
    #[error("Twilio Sync says that a list goes on at another host, which is not asked")]
    Elsewhere,
    /// A list is longer than any that this program makes.
    #[error("a list in Twilio Sync has more than {} entries: clear it up", MAX_PAGES * PAGE_SIZE)]
    TooLong,
}

impl SyncError {
    /// Whether the service, the map or the item is not there.
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Request(Error::Refused { status: 404, .. } | Error::Unknown(Cause::RefusedLater { status: 404, .. }))
        )
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Request(Error::Refused { status: 409, .. }))
    }
}

impl SyncClient {
    /// A client for `config`'s account.
    pub fn new(config: &config::Twilio) -> Result<Self, BadConfig> {
        Rest::new(config, &config.sync_base, LIMITS).map(Self)
    }

    /// All services of the account.
    pub async fn services(&self) -> Result<Vec<Service>, SyncError> {
        self.list(&["Services"]).await
    }

    /// Makes a service. Twilio makes a second one of the same name as well.
    pub async fn create_service(&self, friendly_name: &str) -> Result<Service, SyncError> {
        let body = self.post(&["Services"], &[("FriendlyName", friendly_name)], Repeat::IfUndone).await?;
        read(&body)
    }

    /// Makes a map; `false` if there is one of that name.
    pub async fn create_map(&self, service: &ServiceSid, name: &str) -> Result<bool, SyncError> {
        let path = ["Services", service.as_str(), "Maps"];
        created(self.post(&path, &[("UniqueName", name)], Repeat::IfUndone).await)
    }

    /// All items of a map.
    pub async fn items(&self, service: &ServiceSid, map: &str) -> Result<Vec<Entry>, SyncError> {
        self.list(&["Services", service.as_str(), "Maps", map, "Items"]).await
    }

    /// Adds an item to a map; `false` if the map has one of that key, which is left as it is.
    pub async fn create_item(&self, service: &ServiceSid, map: &str, key: &str, data: &str) -> Result<bool, SyncError> {
        fits(key, data)?;
        let path = ["Services", service.as_str(), "Maps", map, "Items"];
        created(self.post(&path, &[("Key", key), ("Data", data)], Repeat::IfUndone).await)
    }

    /// Replaces what an item holds.
    pub async fn update_item(&self, service: &ServiceSid, map: &str, key: &str, data: &str) -> Result<(), SyncError> {
        fits(key, data)?;
        let path = ["Services", service.as_str(), "Maps", map, "Items", key];
        self.post(&path, &[("Data", data)], Repeat::Freely).await.map(drop)
    }

    /// Takes an item out of a map. One that is not there is no error.
    pub async fn delete_item(&self, service: &ServiceSid, map: &str, key: &str) -> Result<(), SyncError> {
        let url = self.url(&["Services", service.as_str(), "Maps", map, "Items", key]);
        match self.ask(&Method::DELETE, &url, &[], Repeat::Freely).await {
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(()),
        }
    }

    /// A document, if there is one of that name.
    pub async fn document(&self, service: &ServiceSid, name: &str) -> Result<Option<Entry>, SyncError> {
        let url = self.url(&["Services", service.as_str(), "Documents", name]);
        match self.ask(&Method::GET, &url, &[], Repeat::Freely).await {
            Ok(body) => read(&body).map(Some),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a document; `false` if there is one of that name, which is left as it is.
    pub async fn create_document(&self, service: &ServiceSid, name: &str, data: &str) -> Result<bool, SyncError> {
        fits(name, data)?;
        let path = ["Services", service.as_str(), "Documents"];
        created(self.post(&path, &[("UniqueName", name), ("Data", data)], Repeat::IfUndone).await)
    }

    /// Replaces what a document holds.
    pub async fn update_document(&self, service: &ServiceSid, name: &str, data: &str) -> Result<(), SyncError> {
        fits(name, data)?;
        let path = ["Services", service.as_str(), "Documents", name];
        self.post(&path, &[("Data", data)], Repeat::Freely).await.map(drop)
    }

    /// All entries of a list, page by page. The URL of the next page is Twilio's, and followed only to the same host.
    async fn list<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>, SyncError> {
        let mut url = self.url(path);
        url.query_pairs_mut().append_pair("PageSize", &PAGE_SIZE.to_string());
        let mut entries = Vec::new();
        for _ in 0..MAX_PAGES {
            let body = self.ask(&Method::GET, &url, &[], Repeat::Freely).await?;
            let page: BTreeMap<String, &RawValue> = read(&body)?;
            let meta: Meta = member(&page, "meta")?;
            let mut more: Vec<T> = member(&page, &meta.key)?;
            entries.append(&mut more);
            let Some(next) = meta.next_page_url else { return Ok(entries) };
            url = Url::parse(&next).map_err(|_| unreadable())?;
            if url.origin() != self.0.origin.origin() {
                return Err(SyncError::Elsewhere);
            }
        }
        Err(SyncError::TooLong)
    }

    async fn post(&self, path: &[&str], form: &[(&str, &str)], repeat: Repeat) -> Result<Vec<u8>, SyncError> {
        self.ask(&Method::POST, &self.url(path), form, repeat).await
    }

    async fn ask(
        &self,
        method: &Method,
        url: &Url,
        form: &[(&str, &str)],
        repeat: Repeat,
    ) -> Result<Vec<u8>, SyncError> {
        Ok(self.0.ask(Ask { method, url, form, repeat }).await?)
    }

    fn url(&self, path: &[&str]) -> Url {
        self.0.url(["v1"].into_iter().chain(path.iter().copied()))
    }
}

/// Where a list stands in its page, and where it goes on.
#[derive(Deserialize)]
struct Meta {
    key: String,
    next_page_url: Option<String>,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

fn created(answer: Result<Vec<u8>, SyncError>) -> Result<bool, SyncError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

fn fits(name: &str, data: &str) -> Result<(), SyncError> {
    let too_large = || SyncError::TooLarge { name: name.to_owned(), bytes: data.len() };
    (data.len() <= MAX_DATA).then_some(()).ok_or_else(too_large)
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, SyncError> {
    serde_json::from_slice(body).map_err(|_| unreadable())
}

fn member<T: DeserializeOwned>(page: &BTreeMap<String, &RawValue>, name: &str) -> Result<T, SyncError> {
    let raw = page.get(name).ok_or_else(unreadable)?;
    serde_json::from_str(raw.get()).map_err(|_| unreadable())
}

fn unreadable() -> SyncError {
    SyncError::Request(Error::Unknown(Cause::Unreadable))
}

#[cfg(test)]
mod tests;
