//! Work that is done while a call rings: a connection to the model is opened, and where the server can do so on
//! request, its prompt cache is filled with what every request of the call begins with. Nothing waits for it, and a
//! failure changes nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::Profile;
use super::body::RequestBody;
use super::model::{Model, ModelInner};
use super::refusal::{OptionalField, Refusal};
use super::transport::read_body;
use super::websocket::SocketPool;
use crate::call::ConversationItem;
use crate::expiring_map::ExpiringMap;

/// How often a connection is opened in advance, at most. It is kept for longer.
const CONNECT_INTERVAL: Duration = Duration::from_secs(60);

/// How often the cache is filled with the same profile, at most. OpenAI keeps an entry for 30 minutes or more.
const FILL_INTERVAL: Duration = Duration::from_secs(20 * 60);

/// The maximum number of profiles whose last filling is remembered. There is one for each context and manifest.
const MAX_PROFILES: usize = 64;

/// The maximum number of requests at a time. Further ones are left out.
const MAX_REQUESTS: usize = 2;

/// The time limit of a request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Stands for the details of the call, with which the input begins and which differ from call to call.
const CALL_RINGS: &str = "A call is coming in.";

/// When what was done last.
#[derive(Debug)]
pub(super) struct PrewarmState {
    next_connect: Mutex<Option<Instant>>,
    filled: Mutex<ExpiringMap<String, ()>>,
    requests: Arc<Semaphore>,
}

impl Default for PrewarmState {
    fn default() -> Self {
        Self {
            next_connect: Mutex::default(),
            filled: Mutex::new(ExpiringMap::new(MAX_PROFILES, FILL_INTERVAL)),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
        }
    }
}

impl PrewarmState {
    /// Whether a connection is to be opened now. The next one is then due after [`CONNECT_INTERVAL`].
    fn is_connect_due(&self, now: Instant) -> bool {
        let mut next = self.next_connect.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = next.is_none_or(|next| next <= now);
        if is_due {
            *next = Some(now + CONNECT_INTERVAL);
        }
        is_due
    }

    /// Whether the cache is to be filled with this profile now. The next filling is then due after [`FILL_INTERVAL`].
    fn is_fill_due(&self, profile: &Profile, now: Instant) -> bool {
        let now = now.into_std();
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        filled.get_mut(&profile.cache_key, now).is_none() && filled.insert(profile.cache_key.clone(), (), now).is_ok()
    }

    /// Records that the cache could not be filled with this profile, so that it is due for the next call.
    fn withdraw_fill(&self, profile: &Profile) {
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        filled.remove(&profile.cache_key, Instant::now().into_std());
    }
}

impl Model {
    /// Prepares the first response of a call that rings. Returns at once; the work is done in a task of its own, and no
    /// more often than is of use.
    pub fn prewarm(&self, profile: &Arc<Profile>) {
        let (model, now) = (self.inner.clone(), Instant::now());
        if model.sockets.as_ref().is_some_and(SocketPool::needs_socket)
            && let Ok(permit) = model.prewarming.requests.clone().try_acquire_owned()
        {
            let model = model.clone();
            tokio::spawn(async move {
                let _permit = permit;
                if let Some(sockets) = &model.sockets {
                    sockets.prepare().await;
                }
            });
        }
        // First of all: what is left out now stays due.
        let Ok(permit) = model.prewarming.requests.clone().try_acquire_owned() else { return };
        if model.capabilities.takes_prewarming() && model.prewarming.is_fill_due(profile, now) {
            // This opens a connection, too.
            model.prewarming.is_connect_due(now);
            let profile = profile.clone();
            tokio::spawn(async move {
                let _permit = permit;
                if !run(fill_cache(&model, &profile)).await {
                    model.prewarming.withdraw_fill(&profile);
                }
            });
        } else if let Some(lease) = model.http.lease_to_prepare() {
            tokio::spawn(async move {
                let _permit = permit;
                run(connect(&model, &lease.client)).await;
            });
        } else if model.prewarming.is_connect_due(now) {
            tokio::spawn(async move {
                let _permit = permit;
                run(connect(&model, &model.http.first())).await;
            });
        }
    }
}

/// Does the work within [`TIMEOUT`]; returns whether it is done.
async fn run(work: impl Future<Output = reqwest::Result<()>>) -> bool {
    let error = match timeout(TIMEOUT, work).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.without_url().to_string(),
        Err(_) => "timed out".to_owned(),
    };
    tracing::debug!(event = "openai.prewarm_failed", error, "The model could not be prepared for a call.");
    false
}

/// Opens a connection by a request that every server answers, if with an error, and that costs nothing.
async fn connect(model: &ModelInner, client: &Client) -> reqwest::Result<()> {
    model.request(client, reqwest::Method::HEAD, &["models"]).send().await?;
    Ok(())
}

/// Fills the cache. A response with an error status is an error, once what it says is learned.
async fn fill_cache(model: &ModelInner, profile: &Profile) -> reqwest::Result<()> {
    let options = model.capabilities.options();
    let input = [Arc::new(ConversationItem::Developer(CALL_RINGS.to_owned()))];
    let body = RequestBody::prewarming(&model.name, profile, &input, &options);
    let response = model.request(&model.http.first(), reqwest::Method::POST, &["responses"]).json(&body).send().await?;
    let (status, outcome) = (response.status(), response.error_for_status_ref().map(drop));
    if matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY) {
        let refusal = Refusal::parse(status.as_u16(), &read_body(response).await);
        // Any member may have been refused. What is learned here, no caller waits for.
        if refusal.is_unexplained || refusal.fields.contains(OptionalField::PromptCacheOptions) {
            model.capabilities.learn_prewarming_refused();
        } else {
            model.capabilities.learn_refusal(&refusal, &options);
        }
    } else {
        // A body that is read to its end leaves the connection to the next request.
        read_body(response).await;
    }
    outcome
}

#[cfg(test)]
mod tests;
