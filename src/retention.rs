//! Erases expired payment tokens and personal data in the background.

mod trusted_clock;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::ledger::{self, Ledger};
use trusted_clock::TrustedClock;

/// How often expired data is erased.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How long before its erasure an undelivered token raises an alarm: half of its retention, if that is less.
const EXPIRY_NOTICE: Duration = Duration::from_secs(24 * 3600);

/// How long data is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Payment tokens that were not delivered.
    pub tokens: Duration,
    /// The caller, the references and the description of a payment. `None` keeps them for ever.
    pub personal_data: Option<Duration>,
    /// Whether there is a webhook that outcomes and tokens are delivered to.
    pub has_webhook: bool,
}

impl Retention {
    /// Erases expired data regularly. Never returns.
    pub(crate) async fn run(self, ledger: Ledger) {
        let mut every = tokio::time::interval(SWEEP_INTERVAL);
        let mut clock = None;
        loop {
            every.tick().await;
            if let Err(error) = self.sweep_by(&mut clock, &ledger, Timestamp::now(), Instant::now()).await {
                error!(event = "retention.failed", %error, "Expired data could not be erased.");
            }
        }
    }

    /// Erases what has expired by the trusted clock, which begins with the newest time in the ledger.
    async fn sweep_by(
        &self,
        clock: &mut Option<TrustedClock>,
        ledger: &Ledger,
        wall: Timestamp,
        now: Instant,
    ) -> Result<(), ledger::LedgerError> {
        let clock = match clock {
            Some(clock) => clock,
            None => clock.insert(TrustedClock::new(ledger.last_event_at().await?, wall, now.into_std())),
        };
        let reading = clock.read(wall, now.into_std());
        if let Some(jump) = reading.jump {
            warn!(
                event = "retention.clock_ahead",
                ahead_minutes = jump.as_mins(),
                "The clock is ahead of the time that the server has run, or the server was stopped for long: until this \
                 has lasted for a day, data is erased by the earlier time."
            );
        }
        self.sweep(ledger, reading.now).await
    }

    async fn sweep(&self, ledger: &Ledger, now: Timestamp) -> Result<(), ledger::LedgerError> {
        let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        if !self.has_webhook {
            ledger.delete_outcomes(before(self.tokens)).await?;
        }
        for payment in ledger.erase_tokens(before(self.tokens)).await? {
            error!(
                event = "token.expired_undelivered", payment_id = %payment,
                "An undelivered payment token was erased: take the card again."
            );
        }
        let notice = EXPIRY_NOTICE.min(self.tokens / 2);
        for payment in ledger.mark_expiring_tokens(before(self.tokens.saturating_sub(notice)), self.tokens).await? {
            error!(
                event = "token.expires_soon", payment_id = %payment, retention_hours = self.tokens.as_secs() / 3600,
                "An undelivered payment token will be erased soon: fix PAYMENT_WEBHOOK_URL, then run \
                 `crelay-payments deliver`."
            );
        }
        if let Some(age) = self.personal_data {
            ledger.erase_personal_data(before(age)).await?;
        }
        ledger.wipe_erased().await
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use secrecy::ExposeSecret as _;
    use serde_json::Value;

    use super::*;
    use crate::captured_log::CapturedLog;
    use crate::ledger::ledger_with_token;

    const RETENTION: Retention =
        Retention { tokens: Duration::from_secs(72 * 3600), personal_data: None, has_webhook: true };

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    async fn has_token(ledger: &Ledger, id: crate::payment::PaymentId) -> bool {
        ledger.payment(id).await.unwrap().unwrap().holds_token
    }

    #[tokio::test]
    async fn undelivered_token_is_erased_after_an_alarm_a_day_before() {
        let log = CapturedLog::start();
        let (ledger, id, _directory) = ledger_with_token().await;
        let now = Timestamp::now();
        let alarms = || {
            (log.count_events("ERROR", "token.expires_soon"), log.count_events("ERROR", "token.expired_undelivered"))
        };
        RETENTION.sweep(&ledger, now + hours(47)).await.unwrap();
        assert_eq!(alarms(), (0, 0));
        for _ in 0..3 {
            RETENTION.sweep(&ledger, now + hours(49)).await.unwrap();
        }
        assert_eq!(alarms(), (1, 0), "once");
        assert!(has_token(&ledger, id).await);
        for _ in 0..3 {
            RETENTION.sweep(&ledger, now + hours(73)).await.unwrap();
        }
        assert_eq!(alarms(), (1, 1));
        assert!(!has_token(&ledger, id).await);
        let due = ledger.due_deliveries(now + hours(73), 9).await.unwrap();
        let body: Value = serde_json::from_str(due[0].body.as_ref().unwrap().expose_secret()).unwrap();
        assert_eq!(
            (&body["state"], &body["paymentToken"]),
            (&"tokenized".into(), &Value::Null),
            "the outcome is still delivered"
        );
    }

    #[tokio::test]
    async fn short_retention_raises_the_alarm_at_half_of_it() {
        let log = CapturedLog::start();
        let (ledger, _, _directory) = ledger_with_token().await;
        let now = Timestamp::now();
        let retention = Retention { tokens: Duration::from_secs(2 * 3600), ..RETENTION };
        retention.sweep(&ledger, now + SignedDuration::from_mins(59)).await.unwrap();
        assert_eq!(log.count_events("ERROR", "token.expires_soon"), 0);
        retention.sweep(&ledger, now + SignedDuration::from_mins(61)).await.unwrap();
        assert_eq!(log.count_events("ERROR", "token.expires_soon"), 1);
    }

    #[tokio::test]
    async fn a_clock_that_jumps_ahead_erases_nothing_for_a_day() {
        let log = CapturedLog::start();
        let (ledger, id, _directory) = ledger_with_token().await;
        let (wall, now) = (Timestamp::now(), Instant::now());
        let after = |hours: u64| now + Duration::from_secs(hours * 3600);
        let mut clock = None;
        RETENTION.sweep_by(&mut clock, &ledger, wall, now).await.unwrap();
        for n in 0..24 {
            RETENTION.sweep_by(&mut clock, &ledger, wall + hours(100 + n), after(n.unsigned_abs())).await.unwrap();
        }
        let mut restarted = None;
        RETENTION.sweep_by(&mut restarted, &ledger, wall + hours(100), now).await.unwrap();
        assert!(has_token(&ledger, id).await);
        assert_eq!(log.count_events("WARN", "retention.clock_ahead"), 2, "once by each server");
        RETENTION.sweep_by(&mut clock, &ledger, wall + hours(124), after(24)).await.unwrap();
        assert!(!has_token(&ledger, id).await);
    }

    #[tokio::test]
    async fn clock_set_back_erases_nothing_early() {
        let (ledger, id, _directory) = ledger_with_token().await;
        RETENTION.sweep(&ledger, Timestamp::now() - hours(1000)).await.unwrap();
        assert!(has_token(&ledger, id).await);
    }

    #[tokio::test]
    async fn expired_personal_data_is_erased_unless_an_event_is_undelivered() {
        let (ledger, id, _directory) = ledger_with_token().await;
        let retention = Retention { personal_data: Some(Duration::from_secs(90 * 24 * 3600)), ..RETENTION };
        let now = Timestamp::now();
        let has_caller = async || ledger.payment(id).await.unwrap().unwrap().caller.is_some();
        retention.sweep(&ledger, now + hours(91 * 24)).await.unwrap();
        assert!(has_caller().await, "an event is undelivered");
        for due in ledger.due_deliveries(now, 9).await.unwrap() {
            ledger.record_delivered(&due).await.unwrap();
        }
        for early in [now + hours(89 * 24), now - hours(1000 * 24)] {
            retention.sweep(&ledger, early).await.unwrap();
            RETENTION.sweep(&ledger, early).await.unwrap();
            assert!(has_caller().await);
        }
        retention.sweep(&ledger, now + hours(91 * 24)).await.unwrap();
        assert!(!has_caller().await);
    }

    #[tokio::test]
    async fn without_a_webhook_expired_tokens_and_outcomes_are_erased() {
        let log = CapturedLog::start();
        let (ledger, id, _directory) = ledger_with_token().await;
        let without_webhook = Retention { has_webhook: false, ..RETENTION };
        without_webhook.sweep(&ledger, Timestamp::now() + hours(73)).await.unwrap();
        assert!(!has_token(&ledger, id).await && ledger.backlog().await.unwrap().waiting == 0);
        assert_eq!(log.count_events("ERROR", "token.expired_undelivered"), 0);
    }
}
