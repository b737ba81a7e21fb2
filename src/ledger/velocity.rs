//! Velocity limits per call, per caller and per hour, and card-testing detection. The limits are checked in the
//! transaction that records the request; card testing is detected with the decline that completes a pattern.

use std::fmt;
use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::payment::state_list;
use super::{
    Alert, CallData, Ledger, LedgerError, LedgerEvent, LedgerTransaction, Payment, PaymentState, RecordRequestError,
};
use crate::payment::{
    Amount, CallerAttestation, CardTestingLimits, CardTestingPattern, CreatePayment, Currency, DeclineCounts, Last4,
    LimitKind, LimitScope, ReachedLimit, UpdateAction, VelocityCaps, VelocityCounts, VelocityLimits,
};
use crate::phone_number::PhoneNumber;

/// What was attested about the caller of a payment.
pub(super) const FIND_ATTESTATION: &str =
    "SELECT attestation FROM events WHERE payment_id = $1 AND kind = 'caller-attested'";

/// One more than zero if the last card of a payment counts as failed because of something after its submission was
/// accepted.
pub(super) const COUNT_FAILED: &str = "SELECT CAST(coalesce(sum(CASE kind WHEN 'card-failed' THEN 1 ELSE -1 END), 0) AS BIGINT) FROM events \
     WHERE payment_id = $1 AND kind IN ('card-failed', 'card-recovered') AND at_once = 0";

/// The last four digits of the card of a payment that was entered last.
pub(super) const FIND_ENTERED_LAST4: &str = "SELECT last4 FROM events WHERE payment_id = $1 AND kind = 'entered' \
     AND last4 IS NOT NULL ORDER BY id DESC LIMIT 1";

/// The limits that apply to a handle of the ledger.
#[derive(Debug, Clone)]
pub(super) struct AppliedLimits {
    pub(super) limits: VelocityLimits,
    /// The currency of an amount cap that names none.
    currency: Currency,
}

/// The velocity limit that blocks a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitExceeded {
    /// A cap is reached.
    Cap(ReachedLimit),
    /// The declines match a card-testing pattern.
    CardTesting,
}

impl LimitExceeded {
    /// What is limited: the name of the cap without its scope, or `cardTesting`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Cap(cap) => cap.kind.as_str(),
            Self::CardTesting => "cardTesting",
        }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cap(cap) => cap.fmt(f),
            Self::CardTesting => f.write_str("cardTesting"),
        }
    }
}

impl AppliedLimits {
    /// No limits.
    pub(super) const NONE: Self = Self { limits: VelocityLimits::NONE, currency: Currency::USD };
}

impl Ledger {
    /// Returns a handle of the same ledger to which these limits apply. `currency` is that of an amount cap that names
    /// none.
    #[must_use]
    pub fn with_limits(&self, limits: VelocityLimits, currency: Currency) -> Self {
        Self(self.0.clone(), AppliedLimits { limits, currency })
    }
}

/// The payments that a limit counts: an SQL condition, its parameter and a time window.
pub(super) struct VelocityScope<'a> {
    clause: &'static str,
    value: Option<&'a str>,
    /// Start of the window, in milliseconds since 1970.
    since: i64,
}

impl LedgerTransaction {
    /// Keeps other writes waiting that count towards the same limits, always in this order: of the order, the caller, the
    /// last four digits, and the hour. What no limit asks about is not locked.
    pub(super) async fn lock_limits(
        &mut self,
        order_key: Option<&str>,
        caller: Option<&PhoneNumber>,
        last4: Option<&str>,
    ) -> Result<(), LedgerError> {
        if !self.transaction.is_remote() {
            return Ok(());
        }
        let limits = self.ledger.1.limits.clone();
        let is_capped = |scope| *limits.caps(scope) != VelocityCaps::default();
        let mut locks = Vec::new();
        if !limits.orders.pay_again {
            locks.extend(order_key.map(|key| format!("order {key}")));
        }
        let counts_caller = is_capped(LimitScope::Caller) || is_capped(LimitScope::UnverifiedCaller);
        if counts_caller || limits.card_testing.is_some() || limits.orders.same_again_minutes > 0 {
            locks.extend(caller.map(|caller| format!("caller {}", caller.as_str())));
        }
        if limits.card_testing.is_some() {
            locks.extend(last4.map(|last4| format!("last4 {last4}")));
        }
        if is_capped(LimitScope::Hour) {
            locks.push("hour".to_owned());
        }
        for lock in locks {
            self.transaction.lock(&lock).await?;
        }
        Ok(())
    }

    /// Checks whether the limits allow another payment on the call.
    pub(super) async fn check_start_limits(
        &mut self,
        call: &CallData,
        create: &CreatePayment,
    ) -> Result<(), RecordRequestError> {
        if self.is_caller_blocked(call.caller.as_ref()).await? {
            return Err(RecordRequestError::LimitExceeded(LimitExceeded::CardTesting));
        }
        let configured = self.ledger.1.currency;
        let charged_in = create.charge.map(Amount::currency);
        self.check_scopes(call, charged_in, |caps, so_far| caps.check_start(so_far, create.charge, configured)).await
    }

    /// Checks whether the limits allow an update. `record_update_request` records a refusal.
    pub(super) async fn check_update_limits(
        &mut self,
        payment: &Payment,
        change: UpdateAction,
    ) -> Result<(), RecordRequestError> {
        let caller = payment.caller.clone();
        let attestation = self.caller_attestation(payment).await?;
        let call = CallData { caller, attestation, ..CallData::from_sid(payment.call_sid.clone()) };
        match change {
            UpdateAction::Capture(_) => self.check_scopes(&call, None, VelocityCaps::check_entry).await,
            UpdateAction::Complete if self.is_card_testing(payment).await? => {
                Err(RecordRequestError::LimitExceeded(LimitExceeded::CardTesting))
            }
            UpdateAction::Complete => self.check_scopes(&call, None, VelocityCaps::check_submission).await,
            UpdateAction::Cancel => Ok(()),
        }
    }

    /// Checks each scope, the narrowest first. Amounts are summed in `charged_in`.
    async fn check_scopes(
        &mut self,
        call: &CallData,
        charged_in: Option<Currency>,
        against: impl Fn(&VelocityCaps, &VelocityCounts) -> Option<LimitKind>,
    ) -> Result<(), RecordRequestError> {
        let limits = self.ledger.1.limits.clone();
        for scope in LimitScope::ALL {
            let caps = limits.caps(scope);
            let Some(those) = self.velocity_scope(scope, call).filter(|_| *caps != VelocityCaps::default()) else {
                continue;
            };
            if let Some(counted) = against(caps, &self.tally(&those, charged_in).await?) {
                return Err(RecordRequestError::LimitExceeded(LimitExceeded::Cap(ReachedLimit {
                    scope,
                    kind: counted,
                })));
            }
        }
        Ok(())
    }

    /// What was attested about the caller when the payment began.
    async fn caller_attestation(&mut self, payment: &Payment) -> Result<Option<CallerAttestation>, LedgerError> {
        let attested = sqlx::query_scalar(FIND_ATTESTATION).bind(payment.id.to_string());
        let attested: Option<String> = attested.fetch_optional(&mut self.transaction).await?;
        Ok(attested.as_deref().and_then(CallerAttestation::from_stored))
    }

    fn velocity_scope<'a>(&self, scope: LimitScope, call: &'a CallData) -> Option<VelocityScope<'a>> {
        let is_unverified = call.attestation.is_some_and(CallerAttestation::is_unverified);
        let (clause, value) = match (scope, &call.caller) {
            (LimitScope::UnverifiedCaller, _) if !is_unverified => return None,
            (LimitScope::Call, _) | (LimitScope::UnverifiedCaller, None) => {
                ("payments.call_sid = $1", Some(call.call_sid.as_str()))
            }
            (LimitScope::Caller | LimitScope::UnverifiedCaller, Some(caller)) => {
                ("payments.caller = $1", Some(caller.as_str()))
            }
            (LimitScope::Caller, None) => return None,
            (LimitScope::Hour, _) => ("$1 IS NULL", None),
        };
        Some(VelocityScope { clause, value, since: scope.window().map_or(0, |window| self.cutoff_ms(window)) })
    }

    async fn tally(
        &mut self,
        those: &VelocityScope<'_>,
        charged_in: Option<Currency>,
    ) -> Result<VelocityCounts, LedgerError> {
        let VelocityScope { clause, value, since } = *those;
        let counted = state_list(PaymentState::counts_towards_caps);
        let query = format!(
            "SELECT count(*), CAST(coalesce(sum(minor) FILTER (WHERE currency = $3 AND state IN {counted}), 0) AS BIGINT) \
             FROM payments WHERE {clause} AND opened_at > $2"
        );
        let currency = charged_in.map(|currency| currency.code().to_owned());
        let begun = sqlx::query_as(AssertSqlSafe(query)).bind(value).bind(since).bind(currency);
        let (payments, minor): (i64, i64) = begun.fetch_one(&mut self.transaction).await?;
        let query = format!("SELECT count(*) FROM payments WHERE {clause} AND state = 'submitted'");
        let submitted: i64 =
            sqlx::query_scalar(AssertSqlSafe(query)).bind(value).fetch_one(&mut self.transaction).await?;
        Ok(VelocityCounts {
            wrong_entries: self.count_events(those, "wrong").await?,
            declines: self.count_failed_cards(those).await?,
            submitted: submitted.unsigned_abs(),
            payments: payments.unsigned_abs(),
            minor: minor.unsigned_abs(),
        })
    }

    /// Number of cards that were submitted without success. A card that succeeded late does not count.
    async fn count_failed_cards(&mut self, those: &VelocityScope<'_>) -> Result<u64, LedgerError> {
        let recovered = self.count_events(those, "card-recovered").await?;
        Ok(self.count_events(those, "card-failed").await?.saturating_sub(recovered))
    }

    /// Records that a card that counted as failed has succeeded.
    pub(super) async fn record_card_recovered(&mut self, payment: &Payment) -> Result<(), LedgerError> {
        if self.is_counted_as_failed(payment).await? {
            self.append_event(payment, &LedgerEvent::CardRecovered, None).await?;
        }
        Ok(())
    }

    /// Whether the last card of a payment counts as failed because of something after its submission was accepted.
    pub(super) async fn is_counted_as_failed(&mut self, payment: &Payment) -> Result<bool, LedgerError> {
        let count = sqlx::query_scalar(COUNT_FAILED).bind(payment.id.to_string());
        let count: i64 = count.fetch_one(&mut self.transaction).await?;
        Ok(count > 0)
    }

    /// Number of events of a kind.
    async fn count_events(&mut self, those: &VelocityScope<'_>, kind: &str) -> Result<u64, LedgerError> {
        let query = those.count_events_sql();
        let count = sqlx::query_scalar(AssertSqlSafe(query)).bind(those.value).bind(those.since).bind(kind);
        let count: i64 = count.fetch_one(&mut self.transaction).await?;
        Ok(count.unsigned_abs())
    }

    /// Records that a card was submitted without success, and each card-testing pattern that this completes.
    ///
    /// `at_once`: Twilio refused the submission, so that another card may follow in the same payment.
    pub(super) async fn record_card_failed(
        &mut self,
        payment: &Payment,
        code: Option<u32>,
        at_once: bool,
    ) -> Result<(), LedgerError> {
        let last4 = match payment.last4.as_deref().and_then(Last4::from_mask) {
            Some(last4) => Some(last4),
            None => self.entered_last4(payment).await?,
        };
        self.lock_limits(None, payment.caller.as_ref(), payment.last4.as_deref()).await?;
        self.append_event(payment, &LedgerEvent::CardFailed { code, last4, at_once }, None).await?;
        let Some(testing) = self.ledger.1.limits.card_testing else { return Ok(()) };
        let declined = self.count_declines(payment.caller.as_ref(), last4, testing).await?;
        for pattern in testing.detect_patterns(&declined) {
            let known = match pattern {
                CardTestingPattern::DeclinesOfCaller | CardTestingPattern::CardsOfCaller => {
                    self.is_caller_blocked(payment.caller.as_ref()).await?
                }
                CardTestingPattern::LastFour(last4) => self.is_last4_blocked(last4).await?,
            };
            if !known {
                self.append_event(payment, &LedgerEvent::CardTesting { pattern }, None).await?;
                self.alerts.push(Alert::CardTesting { call: payment.call_sid.clone(), pattern });
            }
        }
        Ok(())
    }

    async fn count_declines(
        &mut self,
        caller: Option<&PhoneNumber>,
        last4: Option<Last4>,
        testing: CardTestingLimits,
    ) -> Result<DeclineCounts, LedgerError> {
        let since = self.cutoff_ms(testing.window);
        let mut declined = DeclineCounts::default();
        if let Some(caller) = caller {
            let those = VelocityScope { clause: "payments.caller = $1", value: Some(caller.as_str()), since };
            let query = format!(
                "SELECT count(*), count(DISTINCT events.last4) {} AND kind = 'card-failed'",
                those.events_sql()
            );
            let counts = sqlx::query_as(AssertSqlSafe(query)).bind(those.value).bind(since);
            let (of_caller, cards): (i64, i64) = counts.fetch_one(&mut self.transaction).await?;
            (declined.by_caller, declined.cards_by_caller) = (of_caller.unsigned_abs(), cards.unsigned_abs());
        }
        if let Some(last4) = last4 {
            let query = "SELECT count(*) FROM events WHERE kind = 'card-failed' AND at > $1 AND last4 = $2";
            let count = sqlx::query_scalar(query).bind(since).bind(last4.to_string());
            let count: i64 = count.fetch_one(&mut self.transaction).await?;
            declined.by_last4 = Some((last4, count.unsigned_abs()));
        }
        Ok(declined)
    }

    async fn is_card_testing(&mut self, payment: &Payment) -> Result<bool, LedgerError> {
        let blocked = match self.entered_last4(payment).await? {
            Some(last4) => self.is_last4_blocked(last4).await?,
            None => false,
        };
        Ok(blocked || self.is_caller_blocked(payment.caller.as_ref()).await?)
    }

    async fn is_caller_blocked(&mut self, caller: Option<&PhoneNumber>) -> Result<bool, LedgerError> {
        let (Some(caller), Some(testing)) = (caller, self.ledger.1.limits.card_testing) else { return Ok(false) };
        let those = VelocityScope {
            clause: "payments.caller = $1",
            value: Some(caller.as_str()),
            since: self.cutoff_ms(testing.block_duration),
        };
        let query =
            format!("SELECT 1 {} AND kind = 'card-testing' AND events.last4 IS NULL LIMIT 1", those.events_sql());
        let blocked = sqlx::query(AssertSqlSafe(query)).bind(those.value).bind(those.since);
        Ok(blocked.fetch_optional(&mut self.transaction).await?.is_some())
    }

    async fn is_last4_blocked(&mut self, last4: Last4) -> Result<bool, LedgerError> {
        let Some(testing) = self.ledger.1.limits.card_testing else { return Ok(false) };
        let query = "SELECT 1 FROM events WHERE kind = 'card-testing' AND at > $1 AND last4 = $2 LIMIT 1";
        let blocked = sqlx::query(query).bind(self.cutoff_ms(testing.block_duration)).bind(last4.to_string());
        Ok(blocked.fetch_optional(&mut self.transaction).await?.is_some())
    }

    /// The last four digits of the card that was entered last, if Twilio reported them.
    async fn entered_last4(&mut self, payment: &Payment) -> Result<Option<Last4>, LedgerError> {
        let entered = sqlx::query_scalar(FIND_ENTERED_LAST4).bind(payment.id.to_string());
        let entered: Option<String> = entered.fetch_optional(&mut self.transaction).await?;
        Ok(entered.as_deref().and_then(Last4::from_mask))
    }

    /// The time of the transaction minus `time`, in milliseconds since 1970.
    fn cutoff_ms(&self, time: Duration) -> i64 {
        self.now.as_millisecond().saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    }
}

impl VelocityScope<'_> {
    /// The number of events of the kind `$3` after `$2`.
    pub(super) fn count_events_sql(&self) -> String {
        format!("SELECT count(*) {} AND kind = $3", self.events_sql())
    }

    /// The payments of a caller, in a test.
    #[cfg(test)]
    pub(super) fn of_caller() -> Self {
        Self { clause: "payments.caller = $1", value: Some(""), since: 0 }
    }

    /// The `FROM … WHERE` of the events of these payments after `$2`. The join begins with the payments, which are fewer. The
    /// sum keeps SQLite from looking up the events of all payments by their time.
    fn events_sql(&self) -> String {
        match self.value {
            Some(_) => format!(
                "FROM payments CROSS JOIN events WHERE events.payment_id = payments.id AND {} AND at + 0 > $2",
                self.clause
            ),
            None => format!("FROM events WHERE {} AND at > $2", self.clause),
        }
    }
}
