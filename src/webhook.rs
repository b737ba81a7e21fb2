//! What becomes of payments is told the business: signed, at least once, for as long as it takes.
//!
//! The outcomes and when they are due stand in the ledger, so that a restart forgets nothing.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect;
use secrecy::ExposeSecret as _;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::config;
use crate::ledger::{self, Due, Ledger};
use crate::signing::{SIGNATURE_HEADER, TIMESTAMP_HEADER};

/// How long a delivery may take, connection and answer included.
const LIMIT: Duration = Duration::from_secs(10);
/// So many deliveries at once.
const AT_ONCE: usize = 4;
/// The longest wait before a delivery is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How often the outbox is looked into though nothing is known to be due: the command line may have settled a payment.
const LOOK: Duration = Duration::from_secs(5);

/// Delivers outcomes to `PAYMENT_WEBHOOK_URL`.
pub struct Webhook {
    config: config::Business,
    http: reqwest::Client,
}

impl Webhook {
    /// A client for the business; the error is mostly the fault of the machine's certificates.
    pub fn new(config: config::Business) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .timeout(LIMIT)
            // A token goes where it was to go, or nowhere.
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self { config, http })
    }

    /// Delivers what is due, for ever.
    pub async fn run(&self, ledger: &Ledger) {
        loop {
            let pause = match self.round(ledger).await {
                Ok(()) => pause(ledger.next_due().await.ok().flatten()),
                Err(error) => {
                    error!(%error, "outcomes of payments cannot be delivered");
                    LOOK
                }
            };
            tokio::select! {
                () = ledger.outcome_written() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Delivers all that is due now, each outcome once.
    async fn round(&self, ledger: &Ledger) -> Result<(), ledger::Error> {
        loop {
            let due = ledger.due(Timestamp::now(), AT_ONCE.try_into().unwrap_or(u32::MAX)).await?;
            if due.is_empty() {
                return ledger.wipe_erased().await;
            }
            let deliveries = stream::iter(due).map(|due| self.deliver(ledger, due));
            deliveries.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
    }

    async fn deliver(&self, ledger: &Ledger, due: Due) -> Result<(), ledger::Error> {
        let payment = due.payment;
        match self.send(&due).await {
            Ok(()) => {
                info!(%payment, attempts = due.attempts + 1, "the outcome of a payment is delivered");
                ledger.delivered(&due).await
            }
            Err(failure) => {
                let wait = wait(due.attempts, Uuid::new_v4());
                warn!(%payment, attempts = due.attempts + 1, %failure, again_in = wait.as_secs(), "the outcome of a payment was not taken");
                let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_hours(1));
                ledger.postponed(&due, Timestamp::now() + wait).await
            }
        }
    }

    async fn send(&self, due: &Due) -> Result<(), Failure> {
        let body = due.body.expose_secret();
        let timestamp = Timestamp::now().as_second().unsigned_abs();
        let answer = self
            .http
            .post(self.config.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(TIMESTAMP_HEADER, timestamp)
            .header(SIGNATURE_HEADER, self.config.secrets.sign(timestamp, body.as_bytes()))
            .body(body.to_owned())
            .send()
            .await
            .map_err(|error| if error.is_timeout() { Failure::TooLate } else { Failure::Unreached })?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(Failure::Status(status.as_u16())) }
    }
}

/// Why an outcome was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("PAYMENT_WEBHOOK_URL could not be reached")]
    Unreached,
    #[error("PAYMENT_WEBHOOK_URL did not answer within {} s", LIMIT.as_secs())]
    TooLate,
    #[error("PAYMENT_WEBHOOK_URL answered {0}, not 2xx")]
    Status(u16),
}

/// How long until the next look.
fn pause(next: Option<Timestamp>) -> Duration {
    let until = next.map_or(SignedDuration::MAX, |next| next.duration_since(Timestamp::now()));
    Duration::try_from(until).unwrap_or_default().min(LOOK)
}

/// After so many attempts in vain: 2 s, 4 s, 8 s and so on up to an hour, less up to half of it by chance, so that not all
/// come back at once.
fn wait(attempts: u32, chance: Uuid) -> Duration {
    let whole = Duration::from_secs(2_u64.saturating_pow(attempts.saturating_add(1))).min(LONGEST_WAIT);
    let share = u32::from(chance.as_bytes()[0]) + 256;
    whole * share / 511
}

/// Where to, and nothing that is secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.config.url.host_str()).finish_non_exhaustive()
    }
}
