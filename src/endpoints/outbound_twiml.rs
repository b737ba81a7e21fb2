//! `POST /outboundTwiml/{id}`: documents that are too long to be sent with the order to call, each for one call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use uuid::Uuid;

use super::signed::Signed;
use crate::expiring::{Expiring, Full};

/// The path under which the documents are.
pub(super) const OUTBOUND_TWIML: &str = "/outboundTwiml";

/// How long a document is kept. Twilio asks for it when somebody answers: a minute of ringing, and a queue before it.
const LIFETIME: Duration = Duration::from_secs(3 * 60);

/// How many documents are kept. Each is below 64 KB.
const MAX_DOCUMENTS: usize = 1_000;

/// The documents that Twilio has not asked for yet. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Documents(Arc<Mutex<Expiring<Uuid, String>>>);

impl Default for Documents {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Expiring::new(MAX_DOCUMENTS, LIFETIME))))
    }
}

impl Documents {
    /// Keeps a document, and tells the path at which it can be had once. The path cannot be guessed.
    pub(super) fn keep(&self, document: String) -> Result<String, Full> {
        let id = Uuid::new_v4();
        self.lock().insert(id, document, now())?;
        Ok(format!("{OUTBOUND_TWIML}/{id}"))
    }

    fn take(&self, id: Uuid) -> Option<String> {
        self.lock().remove(&id, now())
    }

    /// Frees what nobody asked for.
    pub(super) fn forget_expired(&self) {
        self.lock().forget_expired(now());
    }

    fn lock(&self) -> MutexGuard<'_, Expiring<Uuid, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers with the document, once; 404 ever after.
pub(super) async fn post(State(documents): State<Documents>, Path(id): Path<String>, _: Signed) -> Response {
    match id.parse().ok().and_then(|id| documents.take(id)) {
        Some(document) => ([(header::CONTENT_TYPE, "text/xml")], document).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_document_can_be_had_once_and_not_too_late() {
        let documents = Documents::default();
        let id = |path: &str| path.rsplit_once('/').unwrap().1.parse::<Uuid>().unwrap();
        let first = id(&documents.keep("<Response/>".to_owned()).unwrap());
        assert_eq!(documents.take(first).as_deref(), Some("<Response/>"));
        assert_eq!(documents.take(first), None);
        let late = id(&documents.keep("<Response/>".to_owned()).unwrap());
        tokio::time::advance(LIFETIME).await;
        assert_eq!(documents.take(late), None);
    }
}
