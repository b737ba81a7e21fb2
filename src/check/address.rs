//! Whether Twilio would find the server at its public address; and whether one runs on this machine.

use serde::Deserialize;

use super::http::{As, Failure, Http, url};
use super::report::Finding;
use crate::config::PublicUrl;

const SUBJECT: &str = "base URL";

/// What `GET /health` answers, as far as it is needed to know the server by.
#[derive(Deserialize)]
struct Health {
    status: String,
    calls: u64,
    /// What is wrong with the ledger.
    ledger: Option<String>,
}

/// Looks at the public address from here, which is not quite where Twilio looks from.
pub(super) async fn finding(http: &Http, base: &PublicUrl) -> Finding {
    if base.is_local() {
        let words = format!(
            "{base} is an address of this machine or network, which Twilio cannot reach: set SERVER_BASE_URL to that of a tunnel"
        );
        return Finding::bad(SUBJECT, words);
    }
    let Some(url) = url(&base.http(""), &["health"]) else {
        return Finding::bad(SUBJECT, "SERVER_BASE_URL is not an http URL: give one such as https://pay.example.com");
    };
    let answer = match http.get(url, As::Anyone).await {
        Ok(answer) => answer,
        Err(failure @ Failure::Tls) => {
            return Finding::bad(
                SUBJECT,
                format!("{base} {failure}: Twilio will not connect, so mend the certificate"),
            );
        }
        Err(failure) => {
            return Finding::doubt(SUBJECT, format!("{base} {failure}: fine if server or tunnel do not run yet"));
        }
    };
    let health = serde_json::from_slice::<Health>(&answer.body).ok();
    match (answer.status, health) {
        (200, Some(Health { status, calls, .. })) if status == "ok" => {
            Finding::good(SUBJECT, format!("{base} leads to this server ({calls} live calls)"))
        }
        (503, Some(Health { ledger: Some(why), .. })) => {
            Finding::bad(SUBJECT, format!("{base} leads to this server, which takes no payments: {why}"))
        }
        (300..=399, _) => {
            let target = answer.redirect.map(|origin| format!(" to {origin}")).unwrap_or_default();
            let words = format!("{base} redirects{target}: set SERVER_BASE_URL to the address that answers by itself");
            Finding::bad(SUBJECT, words)
        }
        (200..=299, _) => Finding::doubt(
            SUBJECT,
            format!("{base} is answered by something else: point it to port PORT of this server"),
        ),
        (status, _) => Finding::doubt(
            SUBJECT,
            format!("{base} answers HTTP {status}: fine if the server does not run yet behind its proxy or tunnel"),
        ),
    }
}

/// Why a server on this machine cannot be said to be well.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// No HTTP client.
    #[error("no HTTP client can be set up")]
    Client(#[from] reqwest::Error),
    /// Nobody, or nobody in time.
    #[error("no server answers on port {0}")]
    NoAnswer(u16),
    /// The server takes no payments.
    #[error("the server on port {port} takes no payments: {why}")]
    Degraded {
        /// Where it was asked.
        port: u16,
        /// What it says is wrong.
        why: String,
    },
    /// An answer, but not that of a server that is well.
    #[error("the server on port {port} answers HTTP {status}")]
    Status {
        /// Where it was asked.
        port: u16,
        /// What it answered.
        status: u16,
    },
}

/// Asks the server on this machine whether it answers at all: for what restarts a container, which would lose what the server holds while
/// the ledger cannot be written.
pub async fn alive(port: u16) -> Result<(), Unwell> {
    let url = url(&format!("http://127.0.0.1:{port}"), &[]).ok_or(Unwell::NoAnswer(port))?;
    match Http::without_proxy()?.get(url, As::Anyone).await {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(Unwell::Status { port, status: answer.status }),
        Err(_) => Err(Unwell::NoAnswer(port)),
    }
}

/// Asks the server on this machine how it is: for a container without any other HTTP client.
pub async fn health(port: u16) -> Result<(), Unwell> {
    let url = url(&format!("http://127.0.0.1:{port}"), &["health"]).ok_or(Unwell::NoAnswer(port))?;
    let Ok(answer) = Http::without_proxy()?.get(url, As::Anyone).await else { return Err(Unwell::NoAnswer(port)) };
    let health = serde_json::from_slice::<Health>(&answer.body).ok();
    match (answer.status, health.and_then(|health| health.ledger)) {
        (200, _) => Ok(()),
        (_, Some(why)) => Err(Unwell::Degraded { port, why }),
        (status, None) => Err(Unwell::Status { port, status }),
    }
}
