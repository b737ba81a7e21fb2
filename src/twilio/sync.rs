//! A client for Twilio Sync, version 1: services, their documents and maps, and the items of a map.
//!
//! The stored data and its names are defined by the callers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use super::error::{TwilioError, UnknownOutcomeCause};
use super::rest::{BuildTwilioClientError, RequestLimits, RestClient, RestRequest, RetryPolicy};
use crate::config;
use crate::ids::Sid;
use crate::telemetry::{Telemetry, TwilioOperation};

/// The maximum size of a document or an item, in bytes of JSON: 16 KiB. Larger data is refused with error 54006.
pub const MAX_DATA_BYTES: usize = 16 * 1024;

/// The number of entries on a page. Twilio's maximum is 100, of up to [`MAX_DATA_BYTES`] each.
const PAGE_SIZE: usize = 50;

/// The maximum number of pages of a list.
const MAX_PAGES: usize = 20;

/// Long limits, since no caller is waiting, and Twilio limits large writes to two per second.
const LIMITS: RequestLimits = RequestLimits {
    attempt_timeout: Duration::from_secs(10),
    request_timeout: Duration::from_secs(20),
    retries: 4,
    // A page of entries of the maximum size, with room for escapes.
    max_response_bytes: 4 * PAGE_SIZE * MAX_DATA_BYTES,
};

/// Twilio Sync with the credentials of one account. Its host is `https://sync.twilio.com`, whatever the account's edge
/// and region. Clones share their connections.
#[derive(Debug, Clone)]
pub struct SyncClient(RestClient);

/// The marker type of [`ServiceSid`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncService {}

/// The SID of a Sync service (`IS…`).
pub type ServiceSid = Sid<SyncService>;

/// A service in a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SyncServiceInfo {
    /// The SID.
    pub sid: ServiceSid,
    /// The friendly name. It need not be unique.
    #[serde(default)]
    pub friendly_name: Option<String>,
    /// The time of creation in ISO 8601 and UTC, so that older services sort first.
    #[serde(default)]
    pub date_created: Option<String>,
}

/// A document, or an item of a map.
#[derive(Debug, Clone, Deserialize)]
pub struct SyncEntry {
    /// The key of an item; empty for a document.
    #[serde(default)]
    pub key: String,
    /// The revision. It changes with every change of the data.
    #[serde(default)]
    pub revision: String,
    /// The data as JSON.
    #[serde(default = "null")]
    pub data: Box<RawValue>,
}

/// The reason why a Sync operation failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The request failed.
    #[error(transparent)]
    Request(#[from] TwilioError),
    /// The data is too large; the request was not sent.
    #[error("{name} is {bytes} bytes as JSON, and Twilio Sync takes at most {MAX_DATA_BYTES}: make it shorter")]
    TooLarge {
        /// The name of the document or the item.
        name: String,
        /// The size in bytes.
        bytes: usize,
    },
    /// An entry of that name was created by another client in the meantime.
    #[error("{0} was created in Twilio Sync in the meantime: look at it before you try again")]
    AlreadyExists(String),
    /// The next page of a list is on another host, which must not receive the credentials.
    #[error("the next page of a Twilio Sync list is on another host, which is not requested")]
    ForeignNextPage,
    /// A list is longer than any that this program creates.
    #[error("a list in Twilio Sync has more than {} entries: delete some", MAX_PAGES * PAGE_SIZE)]
    ListTooLong,
}

impl SyncError {
    /// Whether the service, the map or the item does not exist.
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Request(
                TwilioError::Refused { status: 404, .. }
                    | TwilioError::Unknown(UnknownOutcomeCause::RetryRefused { status: 404, .. })
            )
        )
    }

    /// Twilio's identifier of the request, for its support, if there was an answer.
    pub(crate) fn request_id(&self) -> Option<&str> {
        match self {
            Self::Request(error) => error.request_id(),
            Self::TooLarge { .. } | Self::AlreadyExists(_) | Self::ForeignNextPage | Self::ListTooLong => None,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Request(TwilioError::Refused { status: 409, .. }))
    }
}

impl SyncClient {
    /// Creates a client for the account of `config`.
    pub fn new(config: &config::TwilioConfig) -> Result<Self, BuildTwilioClientError> {
        RestClient::new(config, &config.sync_base, LIMITS).map(Self)
    }

    /// Reports requests to this hub from now on.
    pub(crate) fn set_telemetry(&self, telemetry: &Arc<Telemetry>) {
        self.0.telemetry.set(telemetry);
    }

    /// Lists the services of the account.
    pub async fn services(&self) -> Result<Vec<SyncServiceInfo>, SyncError> {
        self.list(&["Services"]).await
    }

    /// Creates a service. Twilio accepts a second one of the same name.
    pub async fn create_service(&self, friendly_name: &str) -> Result<SyncServiceInfo, SyncError> {
        let body = self.post(&["Services"], &[("FriendlyName", friendly_name)], RetryPolicy::IfNotProcessed).await?;
        parse_body(&body)
    }

    /// Creates a map; returns `false` if it exists.
    pub async fn create_map(&self, service: &ServiceSid, name: &str) -> Result<bool, SyncError> {
        let path = ["Services", service.as_str(), "Maps"];
        is_created(self.post(&path, &[("UniqueName", name)], RetryPolicy::IfNotProcessed).await)
    }

    /// Lists the items of a map.
    pub async fn items(&self, service: &ServiceSid, map: &str) -> Result<Vec<SyncEntry>, SyncError> {
        self.list(&["Services", service.as_str(), "Maps", map, "Items"]).await
    }

    /// Creates an item; returns `false` if its key exists, and changes nothing then.
    pub async fn create_item(&self, service: &ServiceSid, map: &str, key: &str, data: &str) -> Result<bool, SyncError> {
        check_size(key, data)?;
        let path = ["Services", service.as_str(), "Maps", map, "Items"];
        is_created(self.post(&path, &[("Key", key), ("Data", data)], RetryPolicy::IfNotProcessed).await)
    }

    /// Replaces the data of an item.
    pub async fn update_item(&self, service: &ServiceSid, map: &str, key: &str, data: &str) -> Result<(), SyncError> {
        check_size(key, data)?;
        let path = ["Services", service.as_str(), "Maps", map, "Items", key];
        self.post(&path, &[("Data", data)], RetryPolicy::Always).await.map(drop)
    }

    /// Deletes an item. A missing one is not an error.
    pub async fn delete_item(&self, service: &ServiceSid, map: &str, key: &str) -> Result<(), SyncError> {
        let url = self.url(&["Services", service.as_str(), "Maps", map, "Items", key]);
        match self.send(&Method::DELETE, &url, &[], RetryPolicy::Always).await {
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(()),
        }
    }

    /// Fetches a document; `None` if it does not exist.
    pub async fn document(&self, service: &ServiceSid, name: &str) -> Result<Option<SyncEntry>, SyncError> {
        let url = self.url(&["Services", service.as_str(), "Documents", name]);
        match self.send(&Method::GET, &url, &[], RetryPolicy::Always).await {
            Ok(body) => parse_body(&body).map(Some),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a document; returns `false` if its name exists, and changes nothing then.
    pub async fn create_document(&self, service: &ServiceSid, name: &str, data: &str) -> Result<bool, SyncError> {
        check_size(name, data)?;
        let path = ["Services", service.as_str(), "Documents"];
        is_created(self.post(&path, &[("UniqueName", name), ("Data", data)], RetryPolicy::IfNotProcessed).await)
    }

    /// Replaces the data of a document.
    pub async fn update_document(&self, service: &ServiceSid, name: &str, data: &str) -> Result<(), SyncError> {
        check_size(name, data)?;
        let path = ["Services", service.as_str(), "Documents", name];
        self.post(&path, &[("Data", data)], RetryPolicy::Always).await.map(drop)
    }

    /// Fetches all entries of a list, page by page. Twilio's URL of the next page is followed only to the same host.
    async fn list<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Vec<T>, SyncError> {
        let mut url = self.url(path);
        url.query_pairs_mut().append_pair("PageSize", &PAGE_SIZE.to_string());
        let mut entries = Vec::new();
        for _ in 0..MAX_PAGES {
            let body = self.send(&Method::GET, &url, &[], RetryPolicy::Always).await?;
            let page: BTreeMap<String, &RawValue> = parse_body(&body)?;
            let meta: PageMeta = parse_member(&page, "meta")?;
            let mut more: Vec<T> = parse_member(&page, &meta.key)?;
            entries.append(&mut more);
            let Some(next) = meta.next_page_url else { return Ok(entries) };
            url = Url::parse(&next).map_err(|_| unreadable_response())?;
            if url.origin() != self.0.origin.origin() {
                return Err(SyncError::ForeignNextPage);
            }
        }
        Err(SyncError::ListTooLong)
    }

    async fn post(&self, path: &[&str], form: &[(&str, &str)], retry: RetryPolicy) -> Result<Vec<u8>, SyncError> {
        self.send(&Method::POST, &self.url(path), form, retry).await
    }

    async fn send(
        &self,
        method: &Method,
        url: &Url,
        form: &[(&str, &str)],
        retry: RetryPolicy,
    ) -> Result<Vec<u8>, SyncError> {
        let operation = if method == Method::GET { TwilioOperation::ReadSync } else { TwilioOperation::WriteSync };
        Ok(self.0.send(RestRequest { method, url, form, retry, operation }).await?)
    }

    fn url(&self, path: &[&str]) -> Url {
        self.0.url(["v1"].into_iter().chain(path.iter().copied()))
    }
}

/// The metadata of a page: the member with the entries, and the URL of the next page.
#[derive(Deserialize)]
struct PageMeta {
    key: String,
    next_page_url: Option<String>,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

fn is_created(result: Result<Vec<u8>, SyncError>) -> Result<bool, SyncError> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_size(name: &str, data: &str) -> Result<(), SyncError> {
    let too_large = || SyncError::TooLarge { name: name.to_owned(), bytes: data.len() };
    (data.len() <= MAX_DATA_BYTES).then_some(()).ok_or_else(too_large)
}

fn parse_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, SyncError> {
    serde_json::from_slice(body).map_err(|_| unreadable_response())
}

fn parse_member<T: DeserializeOwned>(page: &BTreeMap<String, &RawValue>, name: &str) -> Result<T, SyncError> {
    let raw = page.get(name).ok_or_else(unreadable_response)?;
    serde_json::from_str(raw.get()).map_err(|_| unreadable_response())
}

fn unreadable_response() -> SyncError {
    SyncError::Request(TwilioError::Unknown(UnknownOutcomeCause::UnreadableResponse))
}

#[cfg(test)]
mod tests;
