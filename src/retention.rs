//! What the ledger keeps for a while only is erased in the background: payment tokens, and personal data.

use std::time::Duration;

use jiff::Timestamp;
use tracing::error;

use crate::ledger::{self, Ledger};

/// How often what has expired is erased.
const SWEEP: Duration = Duration::from_secs(60);

/// How long before a token is erased an undelivered one is an alarm; half of its retention, if that is less.
const NOTICE: Duration = Duration::from_secs(24 * 3600);

/// What is kept for how long.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Payment tokens that were not delivered.
    pub tokens: Duration,
    /// The caller, the references and the description of a payment; without it they are kept for ever.
    pub personal_data: Option<Duration>,
    /// Whether there is a webhook, to which outcomes and tokens are delivered.
    pub has_receiver: bool,
}

impl Retention {
    /// Erases what has expired, until it is dropped.
    pub async fn run(self, ledger: Ledger) {
        let mut every = tokio::time::interval(SWEEP);
        loop {
            every.tick().await;
            if let Err(error) = self.sweep(&ledger, Timestamp::now()).await {
                error!(event = "retention.failed", %error, "What has expired cannot be erased.");
            }
        }
    }

    async fn sweep(&self, ledger: &Ledger, now: Timestamp) -> Result<(), ledger::Error> {
        let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        if !self.has_receiver {
            ledger.drop_outcomes(before(self.tokens)).await?;
        }
        for payment in ledger.erase_tokens(before(self.tokens)).await? {
            error!(
                event = "token.expired_undelivered", %payment,
                "A payment token was erased that the webhook never accepted: the card has to be taken again."
            );
        }
        let notice = NOTICE.min(self.tokens / 2);
        for payment in ledger.expiring_tokens(before(self.tokens.saturating_sub(notice)), self.tokens).await? {
            error!(
                event = "token.expires_soon", %payment, hours = self.tokens.as_secs() / 3600,
                "A payment token that the webhook has not accepted will be erased: mend PAYMENT_WEBHOOK_URL, then run \
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
    use crate::ledger::with_a_token;

    const RETENTION: Retention =
        Retention { tokens: Duration::from_secs(72 * 3600), personal_data: None, has_receiver: true };

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    async fn has_token(ledger: &Ledger, id: crate::payment::PaymentId) -> bool {
        ledger.payment(id).await.unwrap().unwrap().holds_token
    }

    #[tokio::test]
    async fn a_token_that_the_webhook_never_takes_is_erased_with_an_alarm_a_day_before() {
        let log = CapturedLog::begin();
        let (ledger, id, _directory) = with_a_token().await;
        let now = Timestamp::now();
        let alarms = || (log.count("ERROR", "token.expires_soon"), log.count("ERROR", "token.expired_undelivered"));
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
        let due = ledger.due(now + hours(73), 9).await.unwrap();
        let body: Value = serde_json::from_str(due[0].body.expose_secret()).unwrap();
        assert_eq!((&body["state"], &body["paymentToken"]), (&"tokenized".into(), &Value::Null), "it is still told");
    }

    #[tokio::test]
    async fn a_short_retention_gives_notice_at_half_of_it() {
        let log = CapturedLog::begin();
        let (ledger, ..) = with_a_token().await;
        let now = Timestamp::now();
        let retention = Retention { tokens: Duration::from_secs(2 * 3600), ..RETENTION };
        retention.sweep(&ledger, now + SignedDuration::from_mins(59)).await.unwrap();
        assert_eq!(log.count("ERROR", "token.expires_soon"), 0);
        retention.sweep(&ledger, now + SignedDuration::from_mins(61)).await.unwrap();
        assert_eq!(log.count("ERROR", "token.expires_soon"), 1);
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_erases_nothing_early() {
        let (ledger, id, _directory) = with_a_token().await;
        RETENTION.sweep(&ledger, Timestamp::now() - hours(1000)).await.unwrap();
        assert!(has_token(&ledger, id).await);
    }

    #[tokio::test]
    async fn personal_data_is_erased_when_its_time_is_over_unless_an_event_waits() {
        let (ledger, id, _directory) = with_a_token().await;
        let retention = Retention { personal_data: Some(Duration::from_secs(90 * 24 * 3600)), ..RETENTION };
        let now = Timestamp::now();
        let has_caller = async || ledger.payment(id).await.unwrap().unwrap().caller.is_some();
        retention.sweep(&ledger, now + hours(91 * 24)).await.unwrap();
        assert!(has_caller().await, "an event waits");
        for due in ledger.due(now, 9).await.unwrap() {
            ledger.delivered(&due).await.unwrap();
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
    async fn without_a_receiver_a_token_is_erased_when_its_time_is_over_and_nothing_waits() {
        let log = CapturedLog::begin();
        let (ledger, id, _directory) = with_a_token().await;
        let alone = Retention { has_receiver: false, ..RETENTION };
        alone.sweep(&ledger, Timestamp::now() + hours(73)).await.unwrap();
        assert!(!has_token(&ledger, id).await && ledger.backlog().await.unwrap().waiting == 0);
        assert_eq!(log.count("ERROR", "token.expired_undelivered"), 0);
    }
}
