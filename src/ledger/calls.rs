//! Who has a call, where several servers share the ledger.
//!
//! A row names the owner of a call, with an epoch that grows with each change. What precedes a request to Twilio is written
//! only by the owner of the current epoch; what Twilio answered or reported is a fact, and is written by anybody.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{
    CallData, Ledger, LedgerError, LedgerTransaction, LeftCall, OrphanedPayment, PaymentState, RecordRequestError,
};
use crate::call_claim::{CallClaim, ClaimState};
use crate::call_stage::CallStage;
use crate::ids::CallSid;
use crate::sealing::SealedPlace;
use crate::server_id::ServerId;

/// How many calls without an owner are looked at in one go.
const MAX_OWNERLESS: i64 = 100;

/// Why the payments of a call are given up that another server had.
const MOVED: &str = "another server has the call";
const DIED: &str = "the server died";

/// How long what is known of a call is kept that was never connected, in milliseconds.
const RINGING_LIFETIME_MS: i64 = 60 * 60 * 1000;

/// A call that this server has claimed.
#[derive(Debug)]
pub(crate) struct ClaimedCall {
    /// Since when it has the call. 1 if nobody had it before.
    pub(crate) epoch: i64,
    /// What is known of the call from before it was connected.
    pub(crate) about: Option<String>,
    /// What the last owner has left, if there was one.
    pub(crate) left: Option<LeftCall>,
    /// Payments that the last owner has left open beside the newest one, to be cancelled.
    pub(crate) orphaned: Vec<OrphanedPayment>,
}

/// A call that this server puts away.
#[derive(Debug)]
pub(crate) struct PutAwayCall {
    /// The payments that its last server has left open, to be cancelled.
    pub(crate) orphaned: Vec<OrphanedPayment>,
    /// What that server has kept of it besides the conversation, as JSON.
    pub(crate) state: Option<String>,
}

/// Who has a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallOwner {
    /// The server; `None` while the call rings.
    pub(crate) server: Option<ServerId>,
    /// Its address, if it is there.
    pub(crate) address: Option<String>,
    /// The epoch.
    pub(crate) epoch: i64,
}

/// A call that a server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedCall {
    /// The call.
    pub(crate) call: CallSid,
    /// Since when the server has it.
    pub(crate) epoch: i64,
    /// Whether Twilio has reported its end, to any server.
    pub(crate) has_ended: bool,
}

/// A call that no server has that lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OwnerlessCall {
    /// The call.
    pub(crate) call: CallSid,
    /// The epoch of its last owner; `None` if there is no row of it.
    pub(crate) epoch: Option<i64>,
}

fn place(call: &CallSid) -> SealedPlace<'_> {
    SealedPlace { column: "calls.about", row: call.as_str() }
}

impl Ledger {
    /// Claims a call for this server, whoever has it. Nothing that another server had begun to ask of Twilio for it is asked
    /// after this. The claim is held once this has succeeded.
    pub(crate) async fn claim_call(&self, call: &CallSid, claim: &CallClaim) -> Result<ClaimedCall, LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.lock_call(call).await?;
        let insert = "INSERT INTO calls (call_sid, owner, epoch, changed_at) VALUES ($1, $2, 1, $3) \
                      ON CONFLICT (call_sid) DO UPDATE SET owner = excluded.owner, epoch = calls.epoch + 1, \
                      changed_at = excluded.changed_at RETURNING epoch, about, state";
        let row = sqlx::query(insert)
            .bind(call.as_str())
            .bind(claim.server().to_string())
            .bind(writing.now.as_millisecond())
            .fetch_one(&mut writing.transaction)
            .await?;
        let (epoch, about): (i64, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let (left, others) = writing.read_left_call(call, row.try_get(2)?).await?;
        let left = (epoch > 1 || left.payment.is_some()).then_some(left);
        let orphaned = self.orphan_payments(writing, others, MOVED, Some(claim)).await?;
        claim.hold(epoch);
        let about = about.and_then(|about| self.unseal(place(call), about));
        Ok(ClaimedCall { epoch, about, left, orphaned })
    }

    /// Leaves the open payments of a call that this server has claimed, and does not take up, to be cancelled.
    pub(crate) async fn orphan_left_payments(
        &self,
        call: &CallSid,
        claim: &CallClaim,
    ) -> Result<Vec<OrphanedPayment>, LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.lock_call(call).await?;
        if !writing.has_claimed(call, claim).await? {
            return Ok(Vec::new());
        }
        self.orphan_payments_of(writing, call, MOVED, Some(claim)).await
    }

    /// Claims a call that no living server has, to put its payments away. `None` if somebody has claimed it meanwhile.
    pub(crate) async fn claim_ownerless(
        &self,
        seen: &OwnerlessCall,
        claim: &CallClaim,
    ) -> Result<Option<PutAwayCall>, LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.lock_call(&seen.call).await?;
        let epoch = seen.epoch.unwrap_or_default();
        let claiming = if seen.epoch.is_some() {
            "UPDATE calls SET owner = $2, epoch = $4 + 1, changed_at = $3 WHERE call_sid = $1 AND epoch = $4 \
             RETURNING state"
        } else {
            "INSERT INTO calls (call_sid, owner, epoch, changed_at) VALUES ($1, $2, $4 + 1, $3) ON CONFLICT DO NOTHING \
             RETURNING state"
        };
        let claimed = sqlx::query(claiming)
            .bind(seen.call.as_str())
            .bind(claim.server().to_string())
            .bind(writing.now.as_millisecond())
            .bind(epoch)
            .fetch_optional(&mut writing.transaction)
            .await?;
        let Some(row) = claimed else { return Ok(None) };
        let state = self.unseal_state(&seen.call, row.try_get(0)?);
        let orphaned = self.orphan_payments_of(writing, &seen.call, DIED, Some(claim)).await?;
        claim.hold(epoch + 1);
        Ok(Some(PutAwayCall { orphaned, state }))
    }

    /// Removes the row of a call that is over, and its order, unless another server has it.
    pub(crate) async fn release_call(&self, call: &CallSid, claim: &CallClaim) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.lock_call(call).await?;
        if writing.has_claimed(call, claim).await? {
            writing.remove_call(call).await?;
        }
        writing.commit().await
    }

    /// Keeps what is known of a call that rings for the server that gets its socket.
    pub(crate) async fn share_call(&self, call: &CallSid, about: &str) -> Result<(), LedgerError> {
        let about = self.seal(place(call), about);
        let mut writing = self.begin_write().await?;
        let insert = "INSERT INTO calls (call_sid, epoch, about, changed_at) VALUES ($1, 0, $2, $3) \
                      ON CONFLICT (call_sid) DO UPDATE SET about = excluded.about, changed_at = excluded.changed_at";
        sqlx::query(insert)
            .bind(call.as_str())
            .bind(about)
            .bind(writing.now.as_millisecond())
            .execute(&mut writing.transaction)
            .await?;
        writing.commit().await
    }

    /// Finds out who has a call.
    pub(crate) async fn find_owner(&self, call: &CallSid) -> Result<Option<CallOwner>, LedgerError> {
        let query =
            "SELECT owner, epoch, address FROM calls LEFT JOIN servers ON servers.id = owner WHERE call_sid = $1";
        let row = sqlx::query(query).bind(call.as_str()).fetch_optional(&self.0.readers).await?;
        row.map(|row| {
            let server = row.try_get::<Option<String>, _>(0)?.and_then(|id| id.parse().ok());
            Ok(CallOwner { server, epoch: row.try_get(1)?, address: row.try_get(2)? })
        })
        .transpose()
    }

    /// The calls that a server has.
    pub(crate) async fn calls_of_server(&self, server: ServerId) -> Result<Vec<OwnedCall>, LedgerError> {
        let query = "SELECT calls.call_sid, epoch, stage FROM calls \
                     LEFT JOIN call_stages ON call_stages.call_sid = calls.call_sid WHERE owner = $1";
        let rows = sqlx::query(query).bind(server.to_string()).fetch_all(&self.0.readers).await?;
        let read = |row: &AnyRow| {
            let stage = row.try_get::<Option<i64>, _>(2)?.and_then(CallStage::from_number);
            let (call, epoch) = (CallSid::from_stored(row.try_get(0)?), row.try_get(1)?);
            Ok(OwnedCall { call, epoch, has_ended: stage == Some(CallStage::Ended) })
        };
        rows.iter().map(read).collect()
    }

    /// The calls whose server has stopped, and those with an open payment that no row names.
    pub(crate) async fn calls_without_server(&self) -> Result<Vec<OwnerlessCall>, LedgerError> {
        let query = "SELECT call_sid, epoch FROM calls WHERE owner IS NOT NULL \
                     AND NOT EXISTS (SELECT 1 FROM servers WHERE servers.id = owner) LIMIT $1";
        let mut calls = sqlx::query(query).bind(MAX_OWNERLESS).fetch_all(&self.0.readers).await?;
        let open: Vec<_> = PaymentState::ALL.into_iter().filter(|state| state.is_in_progress()).collect();
        let places: Vec<_> = (2..2 + open.len()).map(|at| format!("${at}")).collect();
        let query = format!(
            "SELECT DISTINCT call_sid, CAST(NULL AS BIGINT) FROM payments WHERE state IN ({}) \
             AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.call_sid = payments.call_sid) LIMIT $1",
            places.join(", ")
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(query)).bind(MAX_OWNERLESS);
        for state in open {
            query = query.bind(state.as_str());
        }
        calls.extend(query.fetch_all(&self.0.readers).await?);
        calls.iter().map(read_ownerless).collect()
    }

    /// Removes what is known of calls that were never connected.
    pub(crate) async fn remove_expired_calls(&self) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        let oldest = writing.now.as_millisecond() - RINGING_LIFETIME_MS;
        sqlx::query("DELETE FROM calls WHERE owner IS NULL AND changed_at < $1")
            .bind(oldest)
            .execute(&mut writing.transaction)
            .await?;
        writing.remove_expired_orders(oldest).await?;
        writing.remove_expired_callbacks(oldest).await?;
        writing.commit().await
    }
}

fn read_ownerless(row: &AnyRow) -> Result<OwnerlessCall, LedgerError> {
    Ok(OwnerlessCall { call: CallSid::from_stored(row.try_get(0)?), epoch: row.try_get(1)? })
}

impl LedgerTransaction {
    /// Whether another server has a call, or had it until it was over: only its owner removes its row.
    pub(super) async fn has_moved(&mut self, call: &CallData) -> Result<bool, LedgerError> {
        let Some(claim) = &call.claim else { return Ok(false) };
        Ok(match claim.state() {
            // It was never claimed: nobody else has it, unless a row says so.
            ClaimState::Unclaimed => {
                self.read_owner(&call.call_sid).await?.is_some_and(|(server, _)| server != claim.server())
            }
            ClaimState::Held(_) | ClaimState::Lost => !self.has_claimed(&call.call_sid, claim).await?,
        })
    }

    /// Removes the row of a call that is over, and its order. The call is locked, and no other server has it.
    pub(super) async fn remove_call(&mut self, call: &CallSid) -> Result<(), LedgerError> {
        let remove = sqlx::query("DELETE FROM calls WHERE call_sid = $1").bind(call.as_str());
        remove.execute(&mut self.transaction).await?;
        self.remove_journal_of(call).await?;
        self.remove_missed_callbacks_of(call).await?;
        self.remove_orders_of(call).await
    }

    /// Refuses what precedes a request to Twilio for a call that another server has. The call is locked: whoever claims it
    /// waits until this is written, and sees it.
    pub(super) async fn check_claim(
        &mut self,
        call: &CallSid,
        claim: Option<&CallClaim>,
    ) -> Result<(), RecordRequestError> {
        let Some(claim) = claim else { return Ok(()) };
        if claim.state() == ClaimState::Unclaimed {
            return Err(RecordRequestError::Unclaimed);
        }
        if self.has_claimed(call, claim).await? { Ok(()) } else { Err(RecordRequestError::Elsewhere) }
    }

    /// Whether the server of a claim has the call, by the claim and by its row.
    async fn has_claimed(&mut self, call: &CallSid, claim: &CallClaim) -> Result<bool, LedgerError> {
        let ClaimState::Held(epoch) = claim.state() else { return Ok(false) };
        Ok(self.read_owner(call).await? == Some((claim.server(), epoch)))
    }

    /// The server that has a call, and its epoch; `None` while it rings, or if there is no row of it.
    async fn read_owner(&mut self, call: &CallSid) -> Result<Option<(ServerId, i64)>, LedgerError> {
        let query = "SELECT owner, epoch FROM calls WHERE call_sid = $1 AND owner IS NOT NULL";
        let row = sqlx::query(query).bind(call.as_str()).fetch_optional(&mut self.transaction).await?;
        let Some(row) = row else { return Ok(None) };
        let owner: String = row.try_get(0)?;
        let server = owner.parse().map_err(|_| LedgerError::Unreadable("the owner of a call"))?;
        Ok(Some((server, row.try_get(1)?)))
    }
}
