//! Checks of the public address, and health checks of the server on this machine.

use std::net::SocketAddr;

use serde::Deserialize;

use super::http::{Credentials, ProbeClient, ProbeError, build_url};
use super::report::Finding;
use crate::config::PublicUrl;

const SUBJECT: &str = "base URL";

/// The used members of the body of `GET /health`.
#[derive(Deserialize)]
struct HealthBody {
    status: String,
    calls: u64,
    /// The problem with the ledger, if any.
    ledger: Option<String>,
}

/// Checks the public address, as seen from this machine.
pub(super) async fn check(http: &ProbeClient, base: &PublicUrl) -> Finding {
    if base.is_local() {
        let message = format!(
            "{base} is an address of this machine or network, which Twilio cannot reach: set SERVER_BASE_URL to the address of a tunnel"
        );
        return Finding::failure(SUBJECT, message);
    }
    let Some(url) = build_url(&base.http_url(""), &["health"]) else {
        return Finding::failure(
            SUBJECT,
            "SERVER_BASE_URL is not an http URL: set one such as https://pay.example.com",
        );
    };
    let response = match http.get(url, Credentials::Anonymous).await {
        Ok(response) => response,
        Err(failure @ ProbeError::Tls) => {
            return Finding::failure(
                SUBJECT,
                format!("{base} {failure}: Twilio will not connect, so fix the certificate"),
            );
        }
        Err(failure) => {
            return Finding::warning(
                SUBJECT,
                format!("{base} {failure}: expected if the server or the tunnel is not running yet"),
            );
        }
    };
    let health = serde_json::from_slice::<HealthBody>(&response.body).ok();
    match (response.status, health) {
        (200, Some(HealthBody { status, calls, .. })) if status == "ok" => {
            Finding::pass(SUBJECT, format!("{base} leads to this server ({calls} live calls)"))
        }
        (503, Some(HealthBody { ledger: Some(why), .. })) => {
            Finding::failure(SUBJECT, format!("{base} leads to this server, which takes no payments: {why}"))
        }
        (300..=399, _) => {
            let target = response.redirect.map(|origin| format!(" to {origin}")).unwrap_or_default();
            let message = format!("{base} redirects{target}: set SERVER_BASE_URL to the final address");
            Finding::failure(SUBJECT, message)
        }
        (200..=299, _) => Finding::warning(
            SUBJECT,
            format!("{base} is answered by something else: route it to port PORT of this server"),
        ),
        (status, _) => Finding::warning(
            SUBJECT,
            format!(
                "{base} answers HTTP {status}: expected if the server behind the proxy or tunnel is not running yet"
            ),
        ),
    }
}

/// The reason why the server on this machine is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The HTTP client could not be built.
    #[error("the HTTP client cannot be set up")]
    Client(#[from] reqwest::Error),
    /// No server answers, or not in time.
    #[error("no server answers on port {0}")]
    NoResponse(u16),
    /// The server takes no payments.
    #[error("the server on port {port} takes no payments: {why}")]
    Degraded {
        /// The port.
        port: u16,
        /// The reason that it gives.
        why: String,
    },
    /// The server responds with an error status.
    #[error("the server on port {port} answers HTTP {status}")]
    Status {
        /// The port.
        port: u16,
        /// The HTTP status.
        status: u16,
    },
}

/// Checks that the server on this machine responds at all. For liveness probes: a restart while the ledger cannot be
/// written would lose what the server holds in memory.
pub async fn check_alive(address: SocketAddr) -> Result<(), HealthError> {
    let port = address.port();
    let url = build_url(&format!("http://{address}"), &[]).ok_or(HealthError::NoResponse(port))?;
    match ProbeClient::new()?.get(url, Credentials::Anonymous).await {
        Ok(response) if response.status == 200 => Ok(()),
        Ok(response) => Err(HealthError::Status { port, status: response.status }),
        Err(_) => Err(HealthError::NoResponse(port)),
    }
}

/// Queries this machine's `/health`, for containers without another HTTP client.
pub async fn check_health(address: SocketAddr) -> Result<(), HealthError> {
    let port = address.port();
    let url = build_url(&format!("http://{address}"), &["health"]).ok_or(HealthError::NoResponse(port))?;
    let Ok(response) = ProbeClient::new()?.get(url, Credentials::Anonymous).await else {
        return Err(HealthError::NoResponse(port));
    };
    let health = serde_json::from_slice::<HealthBody>(&response.body).ok();
    match (response.status, health.and_then(|health| health.ledger)) {
        (200, _) => Ok(()),
        (_, Some(why)) => Err(HealthError::Degraded { port, why }),
        (status, None) => Err(HealthError::Status { port, status }),
    }
}
