//! Delivers events of payments and of ends of calls to the business's webhook: signed, at least once, until they are
//! accepted.
//!
//! The outbox is in the ledger, so that a restart loses nothing. Each delivery is a task of its own: a receiver that
//! does not respond delays only the events of the same payment, which stay in order.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tracing::field::display;
use tracing::{error, info, warn};
use url::Url;
use uuid::Uuid;

use crate::config;
use crate::http_client::SignedClient;
use crate::ledger::{self, DeliverySubject, DueDelivery, Ledger, MAX_RETRY_DELAY};

/// How long a delivery may take, connection and response included.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of deliveries in flight.
const MAX_IN_FLIGHT: usize = 64;
/// How often the outbox is read although nothing is known to be due: another process may have written an event.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How often the age of the backlog is checked, and how often its alarm is repeated.
const BACKLOG_CHECK_INTERVAL: Duration = Duration::from_secs(60);
const BACKLOG_ALARM_INTERVAL: Duration = Duration::from_secs(3600);
/// The age of the oldest undelivered event from which on an alarm is logged.
const BACKLOG_ALARM_AGE: SignedDuration = SignedDuration::from_hours(1);
/// The pause between two attempts to record the result of a delivery, and the number of attempts.
const RESULT_WRITE_INTERVAL: Duration = Duration::from_secs(1);
const RESULT_WRITE_ATTEMPTS: u32 = 3600;

/// Delivers events to `PAYMENT_WEBHOOK_URL`.
pub(crate) struct Webhook {
    url: Url,
    http: SignedClient,
}

/// The deliveries in flight, at most one for each payment and for each call.
#[derive(Default)]
struct InFlightDeliveries {
    tasks: JoinSet<()>,
    subjects: HashMap<Id, DeliverySubject>,
}

impl Webhook {
    /// Creates the HTTP client. Fails mostly because of the machine's certificates.
    pub(crate) fn new(config: config::BusinessEndpoint) -> Result<Self, reqwest::Error> {
        Ok(Self { url: config.url, http: SignedClient::new(Some(config.secrets))? })
    }

    /// Delivers events as they become due. Never returns.
    pub(crate) async fn run(self: Arc<Self>, ledger: Ledger) {
        let mut deliveries = InFlightDeliveries::default();
        let mut backlog_check = tokio::time::interval(BACKLOG_CHECK_INTERVAL);
        let mut alarmed = None;
        loop {
            let pause = match self.deliver_due(&ledger, &mut deliveries).await {
                Ok(next) => poll_delay(next, Timestamp::now()),
                Err(error) => {
                    error!(event = "webhook.ledger_unread", %error, "The outbox could not be read.");
                    POLL_INTERVAL
                }
            };
            tokio::select! {
                () = deliveries.wait_for_one() => {}
                () = ledger.wait_for_outcome() => {}
                () = tokio::time::sleep(pause) => {}
                _ = backlog_check.tick() => check_backlog(&ledger, &mut alarmed).await,
            }
        }
    }

    /// Starts a delivery of each event that is due, up to [`MAX_IN_FLIGHT`], and returns when the next one becomes
    /// due.
    async fn deliver_due(
        self: &Arc<Self>,
        ledger: &Ledger,
        deliveries: &mut InFlightDeliveries,
    ) -> Result<Option<Timestamp>, ledger::LedgerError> {
        let now = Timestamp::now();
        let room = MAX_IN_FLIGHT - deliveries.tasks.len();
        if room > 0 {
            let due = ledger.claim_deliveries(now, room, deliveries.tasks.len()).await?;
            let free = due.into_iter().filter(|due| !deliveries.has_subject(&due.subject)).take(room);
            for due in free.collect::<Vec<_>>() {
                deliveries.start(self.clone(), ledger.clone(), due);
            }
        }
        if deliveries.tasks.is_empty() {
            ledger.wipe_erased().await?;
        }
        ledger.next_delivery_at(now).await
    }

    async fn deliver(&self, ledger: &Ledger, due: &DueDelivery) {
        let attempt = due.attempts + 1;
        let (payment_id, call_sid) = (due.subject.payment_id().map(display), due.subject.call_sid().map(display));
        match tokio::time::timeout(DELIVERY_TIMEOUT, self.send(due)).await.unwrap_or(Err(DeliveryError::TimedOut)) {
            Ok(()) => {
                info!(
                    event = "webhook.delivered",
                    payment_id, call_sid, attempt, "An event was delivered to the webhook."
                );
                write_result(|| ledger.record_delivered(due)).await;
            }
            Err(failure) => {
                let wait = retry_delay(due.attempts, Uuid::new_v4());
                let retry_in_s = wait.as_secs();
                warn!(
                    event = "webhook.refused", payment_id, call_sid, attempt, error = %failure, retry_in_s,
                    "The webhook did not accept an event."
                );
                let wait = SignedDuration::try_from(wait).unwrap_or(MAX_RETRY_DELAY);
                write_result(|| ledger.postpone_delivery(due, Timestamp::now() + wait)).await;
            }
        }
    }

    async fn send(&self, due: &DueDelivery) -> Result<(), DeliveryError> {
        let body = due.body.as_ref().map_err(|_| DeliveryError::Sealed)?;
        let request = self.http.post(&self.url, body.expose_secret().into());
        let answer =
            request.timeout(DELIVERY_TIMEOUT).send().await.map_err(|error| {
                if error.is_timeout() { DeliveryError::TimedOut } else { DeliveryError::Unreachable }
            })?;
        // Only the status counts. The body is not read: it may be slow or endless.
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(DeliveryError::Status(status.as_u16())) }
    }
}

/// A delivery that failed.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("PAYMENT_WEBHOOK_URL could not be reached")]
    Unreachable,
    #[error("PAYMENT_WEBHOOK_URL did not answer within {} s", DELIVERY_TIMEOUT.as_secs())]
    TimedOut,
    #[error("it is sealed with a key that SEALING_KEY does not have")]
    Sealed,
    #[error("PAYMENT_WEBHOOK_URL answered {0}, not 2xx")]
    Status(u16),
}

impl InFlightDeliveries {
    fn has_subject(&self, subject: &DeliverySubject) -> bool {
        self.subjects.values().any(|in_flight| in_flight == subject)
    }

    fn start(&mut self, webhook: Arc<Webhook>, ledger: Ledger, due: DueDelivery) {
        let subject = due.subject.clone();
        let task = self.tasks.spawn(async move { webhook.deliver(&ledger, &due).await });
        self.subjects.insert(task.id(), subject);
    }

    /// Waits until a delivery has ended. Never returns if there is none.
    async fn wait_for_one(&mut self) {
        let ended = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(panicked)) => panicked.id(),
            None => return std::future::pending().await,
        };
        self.subjects.remove(&ended);
    }
}

/// Writes the result of a delivery, and retries until the ledger can be written. Until then the delivery is in flight,
/// so that an accepted event is not posted again and again.
async fn write_result<F: Future<Output = Result<(), ledger::LedgerError>>>(write: impl Fn() -> F) {
    for attempt in 0..RESULT_WRITE_ATTEMPTS {
        match write().await {
            Ok(()) => return,
            Err(error) if attempt == 0 => {
                error!(event = "webhook.result_unwritten", %error, "The result of a delivery could not be written yet.");
            }
            Err(_) => {}
        }
        tokio::time::sleep(RESULT_WRITE_INTERVAL).await;
    }
}

/// Logs an alarm if the oldest event is older than [`BACKLOG_ALARM_AGE`], at most once an hour.
async fn check_backlog(ledger: &Ledger, alarmed: &mut Option<Instant>) {
    let Ok(backlog) = ledger.backlog().await else { return };
    let age = backlog.age(Timestamp::now()).unwrap_or_default();
    if age > BACKLOG_ALARM_AGE && alarmed.is_none_or(|at| at.elapsed() >= BACKLOG_ALARM_INTERVAL) {
        *alarmed = Some(Instant::now());
        error!(
            event = "webhook.backlog",
            waiting = backlog.waiting,
            oldest_minutes = age.as_mins(),
            "Events are undelivered for too long: check PAYMENT_WEBHOOK_URL, then run `crelay-payments deliver`."
        );
    }
}

/// How long until the outbox is read again.
fn poll_delay(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let until = next.map_or(SignedDuration::MAX, |next| next.duration_since(now));
    Duration::try_from(until).unwrap_or_default().min(POLL_INTERVAL)
}

/// The delay after a number of failed attempts: 2 s, 4 s, 8 s and so on up to an hour, less a random part of up to half
/// of it, so that retries do not coincide.
fn retry_delay(attempts: u32, random: Uuid) -> Duration {
    let longest = Duration::try_from(MAX_RETRY_DELAY).unwrap_or_default();
    let whole = Duration::from_secs(2_u64.saturating_pow(attempts.saturating_add(1))).min(longest);
    let share = u32::from(random.as_bytes()[0]) + 256;
    whole * share / 511
}

/// Shows the host, and no secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}
