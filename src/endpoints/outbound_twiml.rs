//! `POST /outboundTwiml/{id}`: the TwiML of an outbound call. Twilio requests it once it knows who answered: a machine gets
//! another document than a person, without an agent and without a payment.
//!
//! The document is in memory. If the process that placed the call is gone, it is built again from the query of the URL,
//! which has what the payment needs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use super::auth::call_webhook::CallWebhook;
use super::connect_action::ActionState;
use super::{App, twiml_response};
use crate::expiring_map::{ExpiringMap, ExpiringMapFullError};
use crate::ids::CallSid;
use crate::ledger::StoredDocument;
use crate::relay::twiml::{self, Attributes};

/// The path prefix of the documents.
pub(super) const OUTBOUND_TWIML: &str = "/outboundTwiml";

/// How long a document is kept. Twilio requests it when the call is answered, after queueing, ringing and up to half a
/// minute of machine detection.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The largest number of documents that are kept. Each is below 64 KB.
const MAX_DOCUMENTS: usize = 1_000;

/// The maximum size of all documents, in bytes.
const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// The documents that Twilio has not requested yet. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct TwimlDocuments {
    /// The first half of every id, which tells the documents of this process from those of others.
    process: u64,
    documents: Arc<Mutex<ExpiringMap<Uuid, String>>>,
}

impl Default for TwimlDocuments {
    fn default() -> Self {
        let documents = ExpiringMap::new(MAX_DOCUMENTS, LIFETIME).with_max_bytes(MAX_DOCUMENT_BYTES);
        Self { process: random_number(), documents: Arc::new(Mutex::new(documents)) }
    }
}

impl TwimlDocuments {
    /// Adds a document and returns the path from which it can be read once. The path is random and
    /// cannot be guessed.
    pub(super) fn add(&self, document: String) -> Result<String, ExpiringMapFullError> {
        let id = Uuid::from_u64_pair(self.process, random_number());
        let bytes = document.len();
        self.lock().insert_sized(id, document, bytes, now())?;
        Ok(format!("{OUTBOUND_TWIML}/{id}"))
    }

    /// Removes the document with this path, whose call was not placed.
    pub(super) fn remove(&self, path: &str) {
        if let Some(id) = path.rsplit_once('/').and_then(|(_, id)| id.parse().ok()) {
            drop(self.take(id));
        }
    }

    fn take(&self, id: Uuid) -> Option<String> {
        self.lock().remove(&id, now())
    }

    /// Whether this process has made the document.
    fn has_made(&self, id: Uuid) -> bool {
        id.as_u64_pair().0 == self.process
    }

    /// Removes expired documents.
    pub(super) fn remove_expired(&self) {
        self.lock().remove_expired(now());
    }

    fn lock(&self) -> MutexGuard<'_, ExpiringMap<Uuid, String>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Responds with the document once, and with 404 afterwards. A machine gets a sentence of the server in its place.
pub(super) async fn post(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<Attributes>,
    CallWebhook { call, form }: CallWebhook,
) -> Response {
    let document = match id.parse() {
        Ok(id) => take_document(&app, &call, id, query).await,
        Err(_) => None,
    };
    let Some(document) = document else { return StatusCode::NOT_FOUND.into_response() };
    if !form.is_answered_by_machine() {
        return ([(header::CONTENT_TYPE, "text/xml")], document).into_response();
    }
    info!(
        event = "call.answered_by_machine",
        call_sid = %call,
        "A machine has answered an outbound call; it hears a sentence."
    );
    // No session will begin that does this.
    app.session.end_unconnected_call(&call, "answering-machine").await;
    twiml_response(&app.voice.farewell_verbs(|messages| &messages.machine))
}

/// Takes the document of a call, or builds it again if this server has never had it.
async fn take_document(app: &App, call: &CallSid, id: Uuid, query: Attributes) -> Option<String> {
    if app.session.fleet.is_some() {
        return match app.session.ledger.take_document(&id.to_string()).await {
            Ok(StoredDocument::Kept(document)) => Some(document),
            Ok(StoredDocument::Taken) => None,
            Ok(StoredDocument::Unknown) | Err(_) => {
                app.session.refresh_stage(call).await;
                build_again(app, call, query)
            }
        };
    }
    let documents = &app.outbound.documents;
    match documents.take(id) {
        None if !documents.has_made(id) => build_again(app, call, query),
        document => document,
    }
}

/// Builds the document of a call that another process has placed; `None` if the query has no order, or the call has begun.
fn build_again(app: &App, call: &CallSid, query: Attributes) -> Option<String> {
    let state = ActionState::from_query(query);
    let has_begun = app.session.admission.stage(call, Instant::now()).is_some();
    (state.is_of_order() && !has_begun).then(|| {
        info!(event = "call.order_recovered", call_sid = %call, "A call that was placed before a restart is answered.");
        twiml::render_response(&[app.voice.connect_verb(call, &state)])
    })
}

fn random_number() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_document_is_returned_once_and_only_until_it_expires() {
        let documents = TwimlDocuments::default();
        let id = |path: &str| path.rsplit_once('/').unwrap().1.parse::<Uuid>().unwrap();
        let first = id(&documents.add("<Response/>".to_owned()).unwrap());
        assert_eq!(documents.take(first).as_deref(), Some("<Response/>"));
        assert_eq!(documents.take(first), None);
        let refused = documents.add("<Response/>".to_owned()).unwrap();
        documents.remove(&refused);
        assert_eq!(documents.take(id(&refused)), None);
        let late = id(&documents.add("<Response/>".to_owned()).unwrap());
        tokio::time::advance(LIFETIME).await;
        assert_eq!(documents.take(late), None);
    }
}
