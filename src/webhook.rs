//! Outcomes of payments are posted to the business: signed, at least once, until they are accepted.
//!
//! What waits and when it is due stands in the ledger, so that a restart loses nothing. Each delivery is a task of its own: a
//! receiver that does not answer delays only the events of the same payment, which stay in order.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect;
use secrecy::ExposeSecret as _;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::config;
use crate::ledger::{self, Due, LONGEST_WAIT, Ledger};
use crate::payment::PaymentId;
use crate::signing::{SIGNATURE_HEADER, TIMESTAMP_HEADER};

/// How long a delivery may take, connection and answer included.
const LIMIT: Duration = Duration::from_secs(10);
/// How many deliveries may be in flight.
const IN_FLIGHT: usize = 64;
/// How often the outbox is read though nothing is known to be due: the command line may have written something.
const POLL: Duration = Duration::from_secs(5);
/// How often the age of what waits is checked, and how often its alarm is repeated.
const BACKLOG_CHECK: Duration = Duration::from_secs(60);
const BACKLOG_REPEAT: Duration = Duration::from_secs(3600);
/// The age of the oldest undelivered outcome that is an alarm.
const BACKLOG_AGE: SignedDuration = SignedDuration::from_hours(1);
/// How long a delivery waits for the ledger to take its result, and how often that is tried.
const WRITE_RETRY: Duration = Duration::from_secs(1);
const WRITE_ATTEMPTS: u32 = 3600;

/// Delivers outcomes to `PAYMENT_WEBHOOK_URL`.
pub struct Webhook {
    config: config::Business,
    http: reqwest::Client,
}

/// The deliveries that are in flight, one for a payment.
#[derive(Default)]
struct Deliveries {
    tasks: JoinSet<()>,
    payments: HashMap<Id, PaymentId>,
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

    /// Delivers what is due, until it is dropped.
    pub async fn run(self: Arc<Self>, ledger: Ledger) {
        let mut deliveries = Deliveries::default();
        let mut backlog_check = tokio::time::interval(BACKLOG_CHECK);
        let mut alarmed = None;
        loop {
            let pause = match self.deliver_due(&ledger, &mut deliveries).await {
                Ok(next) => pause(next, Timestamp::now()),
                Err(error) => {
                    error!(event = "webhook.ledger_unread", %error, "The outcomes that wait cannot be read.");
                    POLL
                }
            };
            tokio::select! {
                () = deliveries.finish_one() => {}
                () = ledger.outcome_written() => {}
                () = tokio::time::sleep(pause) => {}
                _ = backlog_check.tick() => check_backlog(&ledger, &mut alarmed).await,
            }
        }
    }

    /// Starts a delivery of each outcome that is due, as far as there is room, and returns when the next one will be due.
    async fn deliver_due(
        self: &Arc<Self>,
        ledger: &Ledger,
        deliveries: &mut Deliveries,
    ) -> Result<Option<Timestamp>, ledger::Error> {
        let now = Timestamp::now();
        let room = IN_FLIGHT - deliveries.tasks.len();
        if room > 0 {
            // Those in flight are due as well.
            let due = ledger.due(now, u32::try_from(2 * IN_FLIGHT).unwrap_or(u32::MAX)).await?;
            let free = due.into_iter().filter(|due| !deliveries.has(due.payment)).take(room);
            for due in free.collect::<Vec<_>>() {
                deliveries.start(self.clone(), ledger.clone(), due);
            }
        }
        if deliveries.tasks.is_empty() {
            ledger.wipe_erased().await?;
        }
        ledger.next_due(now).await
    }

    async fn deliver(&self, ledger: &Ledger, due: &Due) {
        let (payment, attempts) = (due.payment, due.attempts + 1);
        match tokio::time::timeout(LIMIT, self.send(due)).await.unwrap_or(Err(Failure::TooLate)) {
            Ok(()) => {
                info!(event = "webhook.delivered", %payment, attempts, "The outcome of a payment is delivered.");
                record(|| ledger.delivered(due)).await;
            }
            Err(failure) => {
                let wait = wait(due.attempts, Uuid::new_v4());
                let again_in = wait.as_secs();
                warn!(
                    event = "webhook.refused", %payment, attempts, %failure, again_in,
                    "The outcome of a payment was not accepted."
                );
                let wait = SignedDuration::try_from(wait).unwrap_or(LONGEST_WAIT);
                record(|| ledger.postponed(due, Timestamp::now() + wait)).await;
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
        // The status is all that counts; the body may drip or have no end.
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

impl Deliveries {
    fn has(&self, payment: PaymentId) -> bool {
        self.payments.values().any(|in_flight| *in_flight == payment)
    }

    fn start(&mut self, webhook: Arc<Webhook>, ledger: Ledger, due: Due) {
        let payment = due.payment;
        let task = self.tasks.spawn(async move { webhook.deliver(&ledger, &due).await });
        self.payments.insert(task.id(), payment);
    }

    /// Waits until one has ended, for ever if there is none.
    async fn finish_one(&mut self) {
        let ended = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(panicked)) => panicked.id(),
            None => return std::future::pending().await,
        };
        self.payments.remove(&ended);
    }
}

/// Writes the result of a delivery, again until the ledger takes it. Until then the delivery is in flight: an outcome whose
/// acceptance cannot be written is not posted again and again.
async fn record<F: Future<Output = Result<(), ledger::Error>>>(write: impl Fn() -> F) {
    for attempt in 0..WRITE_ATTEMPTS {
        match write().await {
            Ok(()) => return,
            Err(error) if attempt == 0 => {
                error!(event = "webhook.result_unwritten", %error, "The result of a delivery cannot be written yet.");
            }
            Err(_) => {}
        }
        tokio::time::sleep(WRITE_RETRY).await;
    }
}

/// Raises an alarm if the oldest outcome waits for too long; once an hour.
async fn check_backlog(ledger: &Ledger, alarmed: &mut Option<Instant>) {
    let Ok(backlog) = ledger.backlog().await else { return };
    let age = backlog.age(Timestamp::now()).unwrap_or_default();
    if age > BACKLOG_AGE && alarmed.is_none_or(|at| at.elapsed() >= BACKLOG_REPEAT) {
        *alarmed = Some(Instant::now());
        error!(
            event = "webhook.backlog",
            waiting = backlog.waiting,
            oldest_minutes = age.as_mins(),
            "Outcomes of payments wait for their delivery: look at PAYMENT_WEBHOOK_URL, then run `crelay-payments deliver`."
        );
    }
}

/// How long until the outbox is read again.
fn pause(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let until = next.map_or(SignedDuration::MAX, |next| next.duration_since(now));
    Duration::try_from(until).unwrap_or_default().min(POLL)
}

/// How long to wait after so many failed attempts: 2 s, 4 s, 8 s and so on up to an hour, less up to half of it by chance, so
/// that not all come back at once.
fn wait(attempts: u32, chance: Uuid) -> Duration {
    let longest = Duration::try_from(LONGEST_WAIT).unwrap_or_default();
    let whole = Duration::from_secs(2_u64.saturating_pow(attempts.saturating_add(1))).min(longest);
    let share = u32::from(chance.as_bytes()[0]) + 256;
    whole * share / 511
}

/// Where to, and nothing that is secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.config.url.host_str()).finish_non_exhaustive()
    }
}
