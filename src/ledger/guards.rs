//! The guards: what there was on a call, of a caller and within an hour is counted before Twilio is asked for more, in the
//! transaction that also writes the request down; and card testing is noticed with the decline that shows it.

use std::fmt;
use std::time::Duration;

use super::{Alert, Error, Event, Ledger, OnCall, Payment, Refused, Writing};
use crate::payment::{
    Amount, Cap, Caps, CardTesting, Change, Counted, Create, Currency, Declined, Last4, Limits, Pattern, Scope, Tally,
};
use crate::phone_number::PhoneNumber;

/// What a ledger lets through.
#[derive(Debug, Clone)]
pub(super) struct Guards {
    pub(super) limits: Limits,
    /// What a cap on amounts without a currency of its own is in.
    currency: Currency,
}

/// Why a guard speaks against a step of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// A cap is reached.
    Cap(Cap),
    /// It looks like card testing.
    CardTesting,
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cap(cap) => cap.fmt(f),
            Self::CardTesting => f.write_str("cardTesting"),
        }
    }
}

impl Guards {
    /// Everything is let through.
    pub(super) const NONE: Self = Self { limits: Limits::NONE, currency: Currency::USD };
}

impl Ledger {
    /// The same ledger, for those whose payments these limits hold for. `currency` is that of a cap on
    /// amounts that names none.
    #[must_use]
    pub fn within(&self, limits: Limits, currency: Currency) -> Self {
        Self(self.0.clone(), Guards { limits, currency })
    }
}

/// The payments that a scope is about: how they are found, and by which value.
struct Those<'a> {
    clause: &'static str,
    value: Option<&'a str>,
    /// In milliseconds; what was before does not count.
    since: i64,
}

impl Writing {
    /// Whether another payment may begin on the call.
    pub(super) async fn may_start(&mut self, call: &OnCall, create: &Create) -> Result<(), Refused> {
        if self.is_caller_blocked(call.caller.as_ref()).await? {
            return Err(Refused::Barred(Bar::CardTesting));
        }
        let configured = self.ledger.1.currency;
        let charged_in = create.charge.map(Amount::currency);
        self.check(call, charged_in, |caps, so_far| caps.against_start(so_far, create.charge, configured)).await
    }

    /// Whether a payment may go on like this. That it may not is written down.
    pub(super) async fn may_go_on(&mut self, payment: &Payment, change: Change) -> Result<(), Refused> {
        let call = OnCall { caller: payment.caller.clone(), ..OnCall::unknown(payment.call.clone()) };
        match change {
            Change::Capture(_) => self.check(&call, None, Caps::against_entry).await,
            Change::Complete if self.is_card_testing(payment).await? => Err(Refused::Barred(Bar::CardTesting)),
            Change::Complete => self.check(&call, None, Caps::against_submission).await,
            Change::Cancel => Ok(()),
        }
    }

    /// Asks each scope, the narrowest first. Amounts are counted in `charged_in`.
    async fn check(
        &mut self,
        call: &OnCall,
        charged_in: Option<Currency>,
        against: impl Fn(&Caps, &Tally) -> Option<Counted>,
    ) -> Result<(), Refused> {
        let limits = self.ledger.1.limits.clone();
        for scope in Scope::ALL {
            let caps = limits.caps(scope);
            let Some(those) = self.those(scope, call).filter(|_| *caps != Caps::default()) else { continue };
            if let Some(counted) = against(caps, &self.tally(&those, charged_in).await?) {
                return Err(Refused::Barred(Bar::Cap(Cap { scope, counted })));
            }
        }
        Ok(())
    }

    fn those<'a>(&self, scope: Scope, call: &'a OnCall) -> Option<Those<'a>> {
        let (clause, value) = match scope {
            Scope::Call => ("payments.call_sid = ?1", Some(call.sid.as_str())),
            Scope::Caller => ("payments.caller = ?1", Some(call.caller.as_ref()?.as_str())),
            Scope::Hour => ("?1 IS NULL", None),
        };
        Some(Those { clause, value, since: scope.window().map_or(0, |window| self.ago(window)) })
    }

    async fn tally(&mut self, those: &Those<'_>, charged_in: Option<Currency>) -> Result<Tally, Error> {
        let Those { clause, value, since } = *those;
        let query = format!(
            "SELECT count(*), coalesce(sum(minor) FILTER (WHERE currency = ?3 AND state NOT IN ('declined', 'failed', \
             'cancelled', 'abandoned', 'returned')), 0) FROM payments WHERE {clause} AND opened_at > ?2"
        );
        let currency = charged_in.map(|currency| currency.code().to_owned());
        let begun = sqlx::query_as(&query).bind(value).bind(since).bind(currency);
        let (payments, minor): (i64, i64) = begun.fetch_one(&mut *self.transaction).await?;
        let query = format!("SELECT count(*) FROM payments WHERE {clause} AND state = 'submitted'");
        let submitted: i64 = sqlx::query_scalar(&query).bind(value).fetch_one(&mut *self.transaction).await?;
        Ok(Tally {
            wrong_entries: self.events(those, "wrong").await?,
            declines: self.failed_cards(those).await?,
            submitted: submitted.unsigned_abs(),
            payments: payments.unsigned_abs(),
            minor: minor.unsigned_abs(),
        })
    }

    /// How many cards were submitted and did not succeed, without those of which a success was reported after all.
    async fn failed_cards(&mut self, those: &Those<'_>) -> Result<u64, Error> {
        let recovered = self.events(those, "card-recovered").await?;
        Ok(self.events(those, "card-failed").await?.saturating_sub(recovered))
    }

    /// A payment succeeded whose card was taken for failed.
    pub(super) async fn card_recovered(&mut self, payment: &Payment) -> Result<(), Error> {
        if self.is_taken_for_failed(payment).await? {
            self.append(payment, &Event::CardRecovered, None).await?;
        }
        Ok(())
    }

    /// Whether the last card of a payment is counted as failed for what came after its submission was accepted.
    pub(super) async fn is_taken_for_failed(&mut self, payment: &Payment) -> Result<bool, Error> {
        let query = "SELECT coalesce(sum(CASE kind WHEN 'card-failed' THEN 1 ELSE -1 END), 0) FROM events WHERE payment_id = ? \
             AND kind IN ('card-failed', 'card-recovered') AND coalesce(json_extract(data, '$.atOnce'), 0) = 0";
        let count = sqlx::query_scalar(query).bind(payment.id.to_string());
        let count: i64 = count.fetch_one(&mut *self.transaction).await?;
        Ok(count > 0)
    }

    /// How many events of a kind there were.
    async fn events(&mut self, those: &Those<'_>, kind: &str) -> Result<u64, Error> {
        let query = format!("SELECT count(*) {} AND kind = ?3 AND at > ?2", those.events());
        let count = sqlx::query_scalar(&query).bind(those.value).bind(those.since).bind(kind);
        let count: i64 = count.fetch_one(&mut *self.transaction).await?;
        Ok(count.unsigned_abs())
    }

    /// Records that a card was submitted and did not succeed, and notices what that adds up to.
    ///
    /// `at_once`: Twilio refused the submission, so that another card may follow in the same payment.
    pub(super) async fn card_failed(
        &mut self,
        payment: &Payment,
        code: Option<u32>,
        at_once: bool,
    ) -> Result<(), Error> {
        let last4 = match payment.last4.as_deref().and_then(Last4::from_mask) {
            Some(last4) => Some(last4),
            None => self.entered_last4(payment).await?,
        };
        self.append(payment, &Event::CardFailed { code, last4, at_once }, None).await?;
        let Some(testing) = self.ledger.1.limits.card_testing else { return Ok(()) };
        let declined = self.declines_like(payment.caller.as_ref(), last4, testing).await?;
        for pattern in testing.patterns(&declined) {
            let known = match pattern {
                Pattern::Caller | Pattern::Cards => self.is_caller_blocked(payment.caller.as_ref()).await?,
                Pattern::LastFour(last4) => self.is_last4_blocked(last4).await?,
            };
            if !known {
                self.append(payment, &Event::CardTesting { pattern }, None).await?;
                self.alerts.push(Alert::CardTesting { call: payment.call.clone(), pattern });
            }
        }
        Ok(())
    }

    async fn declines_like(
        &mut self,
        caller: Option<&PhoneNumber>,
        last4: Option<Last4>,
        testing: CardTesting,
    ) -> Result<Declined, Error> {
        let since = self.ago(testing.window);
        let mut declined = Declined::default();
        if let Some(caller) = caller {
            let those = Those { clause: "payments.caller = ?1", value: Some(caller.as_str()), since };
            let query = format!(
                "SELECT count(*), count(DISTINCT json_extract(data, '$.last4')) {} AND kind = 'card-failed' AND at > ?2",
                those.events()
            );
            let counts = sqlx::query_as(&query).bind(those.value).bind(since);
            let (of_caller, cards): (i64, i64) = counts.fetch_one(&mut *self.transaction).await?;
            (declined.of_caller, declined.cards_of_caller) = (of_caller.unsigned_abs(), cards.unsigned_abs());
        }
        if let Some(last4) = last4 {
            let query = "SELECT count(*) FROM events WHERE kind = 'card-failed' AND at > ? AND json_extract(data, '$.last4') = ?";
            let count = sqlx::query_scalar(query).bind(since).bind(last4.to_string());
            let count: i64 = count.fetch_one(&mut *self.transaction).await?;
            declined.of_last4 = Some((last4, count.unsigned_abs()));
        }
        Ok(declined)
    }

    async fn is_card_testing(&mut self, payment: &Payment) -> Result<bool, Error> {
        let blocked = match self.entered_last4(payment).await? {
            Some(last4) => self.is_last4_blocked(last4).await?,
            None => false,
        };
        Ok(blocked || self.is_caller_blocked(payment.caller.as_ref()).await?)
    }

    async fn is_caller_blocked(&mut self, caller: Option<&PhoneNumber>) -> Result<bool, Error> {
        let (Some(caller), Some(testing)) = (caller, self.ledger.1.limits.card_testing) else { return Ok(false) };
        let those =
            Those { clause: "payments.caller = ?1", value: Some(caller.as_str()), since: self.ago(testing.block) };
        let query = format!(
            "SELECT EXISTS (SELECT 1 {} AND kind = 'card-testing' AND at > ?2 AND json_extract(data, '$.last4') IS NULL)",
            those.events()
        );
        let blocked = sqlx::query_scalar(&query).bind(those.value).bind(those.since);
        Ok(blocked.fetch_one(&mut *self.transaction).await?)
    }

    async fn is_last4_blocked(&mut self, last4: Last4) -> Result<bool, Error> {
        let Some(testing) = self.ledger.1.limits.card_testing else { return Ok(false) };
        let query = "SELECT EXISTS (SELECT 1 FROM events WHERE kind = 'card-testing' AND at > ? \
             AND json_extract(data, '$.last4') = ?)";
        let blocked = sqlx::query_scalar(query).bind(self.ago(testing.block)).bind(last4.to_string());
        Ok(blocked.fetch_one(&mut *self.transaction).await?)
    }

    /// The last four digits of the card that was entered last, where Twilio showed them.
    async fn entered_last4(&mut self, payment: &Payment) -> Result<Option<Last4>, Error> {
        let query = "SELECT json_extract(data, '$.last4') FROM events WHERE payment_id = ? AND kind = 'entered' \
             AND json_extract(data, '$.last4') IS NOT NULL ORDER BY id DESC LIMIT 1";
        let entered = sqlx::query_scalar(query).bind(payment.id.to_string());
        let entered: Option<String> = entered.fetch_optional(&mut *self.transaction).await?;
        Ok(entered.as_deref().and_then(Last4::from_mask))
    }

    /// So long ago, in milliseconds since 1970.
    fn ago(&self, time: Duration) -> i64 {
        self.now.as_millisecond().saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Those<'_> {
    /// Their events, to be narrowed further. Whose they are goes first: that is the shorter list.
    fn events(&self) -> String {
        match self.value {
            Some(_) => format!(
                "FROM payments CROSS JOIN events INDEXED BY events_of_a_payment ON payment_id = payments.id WHERE {}",
                self.clause
            ),
            None => format!("FROM events WHERE {}", self.clause),
        }
    }
}
