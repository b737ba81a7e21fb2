//! What happened to the payments of a period: how far they came, how they ended, and what stopped them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Ledger, LedgerError, PaymentState};

/// The payments of a period by hour, state and how far they came.
pub(super) const COUNT_STEPS: &str = "SELECT opened_at / $2, state, CASE WHEN submitted_at IS NULL THEN 0 ELSE 1 END, \
     CASE WHEN EXISTS (SELECT 1 FROM events WHERE payment_id = payments.id AND kind = 'entered') \
     THEN 1 ELSE 0 END, count(*) \
     FROM payments WHERE opened_at >= $1 GROUP BY 1, 2, 3, 4";

/// One hour, in milliseconds.
const HOUR: i64 = 3_600_000;

/// The payments that were opened in a period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// How far they came.
    pub funnel: Funnel,
    /// The number of payments in each state, by the hour in which they were opened, in hours since 1970.
    pub states: BTreeMap<i64, BTreeMap<&'static str, u64>>,
    /// The number of events of each guard, by hour.
    pub guards: BTreeMap<i64, BTreeMap<&'static str, u64>>,
}

/// How many payments reached each step. Each step has at most as many as the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Funnel {
    /// Sessions that were requested.
    pub started: u64,
    /// With a field that was entered.
    pub entered: u64,
    /// With a card number, or an account, and all other fields: submitted to the processor.
    pub submitted: u64,
    /// That succeeded.
    pub succeeded: u64,
}

/// The guards of a payment, by the kinds of their events: rejected entries, failed cards, velocity limits, card testing.
pub const GUARDS: [&str; 4] = ["wrong", "card-failed", "barred", "card-testing"];

impl Ledger {
    /// What happened to the payments that were opened at this time or later.
    pub async fn activity_since(&self, since: Timestamp) -> Result<Activity, LedgerError> {
        let since = since.as_millisecond();
        let mut activity = Activity::default();
        let steps: Vec<(i64, String, i64, i64, i64)> =
            sqlx::query_as(COUNT_STEPS).bind(since).bind(HOUR).fetch_all(&self.0.readers).await?;
        for (hour, state, submitted, entered, count) in steps {
            let Ok(state) = state.parse::<PaymentState>() else { continue };
            let count = count.unsigned_abs();
            *activity.states.entry(hour).or_default().entry(state.as_str()).or_default() += count;
            activity.funnel.add(state, submitted > 0, entered > 0, count);
        }
        let guards: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT at / $2, kind, count(*) FROM payments JOIN events ON payment_id = payments.id \
             WHERE opened_at >= $1 AND kind IN ('wrong', 'card-failed', 'barred', 'card-testing') GROUP BY 1, 2",
        )
        .bind(since)
        .bind(HOUR)
        .fetch_all(&self.0.readers)
        .await?;
        for (hour, kind, count) in guards {
            if let Some(guard) = GUARDS.into_iter().find(|guard| *guard == kind) {
                *activity.guards.entry(hour).or_default().entry(guard).or_default() += count.unsigned_abs();
            }
        }
        Ok(activity)
    }
}

impl Funnel {
    /// Counts payments. A later step includes the earlier ones, of which the ledger may not know: it may have found the
    /// session.
    fn add(&mut self, state: PaymentState, is_submitted: bool, is_entered: bool, count: u64) {
        let has_succeeded = state.was_charged() || matches!(state, PaymentState::Tokenized | PaymentState::Pending);
        let is_submitted = is_submitted || has_succeeded;
        self.started += count;
        self.entered += if is_entered || is_submitted { count } else { 0 };
        self.submitted += if is_submitted { count } else { 0 };
        self.succeeded += if has_succeeded { count } else { 0 };
    }
}
