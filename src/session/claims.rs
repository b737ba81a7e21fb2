//! Which calls this server has: it claims a call whose socket it gets, lets go of one that another server has, and puts away
//! what a dead server has left open.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{Instrument as _, error, info, info_span, warn};

use super::journal::KeptCall;
use super::lifecycle::record_call_end;
use super::{SessionContext, SessionMessage, payment_log};
use crate::call_claim::{CallClaim, ClaimState};
use crate::fleet::BEAT_INTERVAL;
use crate::ids::CallSid;
use crate::ledger::{
    CallData, CallOwner, ClaimedCall, LedgerError, LeftCall, OrphanedPayment, OwnedCall, OwnerlessCall, PutAwayCall,
};
use crate::payment::read_left_callback;
use crate::recovery;
use crate::server_id::ServerId;
use crate::telemetry::ClaimEvent;
use crate::twilio::{PAYMENT_STATUS_CALLBACK, TwilioClient};

/// How long a call that begins waits until it is claimed.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(1);

/// How long one waits that was connected before: without what the last server has left it begins anew.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a call waits for a ledger that is known to be out of order.
pub(super) const FAULT_TIMEOUT: Duration = Duration::from_millis(200);

/// How many calls of dead servers are put away with one beat.
const MAX_PUT_AWAY: usize = 20;

/// How many beats pass between two removals of what has expired.
const BEATS_PER_REMOVAL: u32 = 150;

/// What a server remembers of calls from beat to beat.
#[derive(Debug, Default)]
struct Seen {
    /// Since when calls are seen without an owner that lives.
    ownerless: HashMap<OwnerlessCall, Instant>,
    /// Calls that this server has by the ledger, and that are not live here.
    left_over: HashSet<(CallSid, i64)>,
    /// Calls that are live here, and that this server does not have by the ledger. They may be about to be claimed.
    unclaimed: HashSet<CallSid>,
    beats: u32,
}

/// The calls whose end this server is writing down, its own and those that it puts away. Nobody else puts them away meanwhile.
#[derive(Debug, Default)]
pub(crate) struct EndingCalls(Mutex<HashSet<CallSid>>);

impl EndingCalls {
    /// Keeps a call from being put away until [`remove`](Self::remove).
    pub(super) fn insert(&self, call: &CallSid) {
        self.lock().insert(call.clone());
    }

    pub(super) fn remove(&self, call: &CallSid) {
        self.lock().remove(call);
    }

    fn contains(&self, call: &CallSid) -> bool {
        self.lock().contains(call)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<CallSid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionContext {
    /// Claims a call that begins, and learns what is known of it from before. Returns what its last owner has left, if there
    /// was one. The call does not wait long: the claim then goes on, and the first payment waits for it.
    pub(super) async fn claim_call(
        self: &Arc<Self>,
        call: &CallSid,
        claim: &CallClaim,
        was_connected: bool,
    ) -> Option<LeftCall> {
        let (context, call, claim) = (self.clone(), call.clone(), claim.clone());
        let (sender, mut receiver) = oneshot::channel();
        let claiming = async move {
            match context.ledger.claim_call(&call, &claim).await {
                Ok(claimed) => {
                    let left = context.finish_claim(&call, claimed);
                    // The session has begun without it.
                    if let Err(left) = sender.send(left) {
                        context.learn_left_call(&call, &claim, left.is_some()).await;
                    }
                }
                Err(error) => {
                    error!(event = "call.unclaimed", %error, "The call is not claimed yet: no payment can begin on it.");
                }
            }
        };
        self.tasks.spawn(claiming.in_current_span());
        let patience = match was_connected {
            _ if self.ledger.fault().is_some() => FAULT_TIMEOUT,
            true => TAKE_OVER_TIMEOUT,
            false => CLAIM_TIMEOUT,
        };
        if let Ok(claimed) = timeout(patience, &mut receiver).await {
            return claimed.ok().flatten();
        }
        receiver.close();
        receiver.try_recv().ok().flatten()
    }

    /// Reports a claim, cancels what the last owner has left open beside the newest payment, and learns what is known of the
    /// call from before.
    fn finish_claim(self: &Arc<Self>, call: &CallSid, claimed: ClaimedCall) -> Option<LeftCall> {
        let ClaimedCall { epoch, about, left, orphaned } = claimed;
        let is_new = epoch == 1;
        self.telemetry.record_claim(if is_new { ClaimEvent::New } else { ClaimEvent::TakenOver });
        if !is_new {
            warn!(event = "call.taken_over", epoch, "This server takes a call over from another one.");
        }
        self.cancel_orphaned(orphaned);
        if let Some(about) = about {
            self.pending_calls.learn(call, &about);
        }
        left
    }

    /// Lets a call that has begun without what its last owner had left know that, if there was one.
    async fn learn_left_call(self: &Arc<Self>, call: &CallSid, claim: &CallClaim, has_left: bool) {
        if has_left {
            self.cancel_left_payments(call, claim).await;
        }
        self.tell_known_payments(call).await;
    }

    /// Lets a call that has begun without its earlier payments know them.
    async fn tell_known_payments(&self, call: &CallSid) {
        if let Ok(known) = self.ledger.load_prior_payments(&CallData::from_sid(call.clone())).await {
            self.calls.deliver(call, SessionMessage::PaymentsKnown(Box::new(known)));
        }
    }

    /// Cancels what the last owner of a call has left open, and this server does not take up.
    pub(super) async fn cancel_left_payments(self: &Arc<Self>, call: &CallSid, claim: &CallClaim) {
        match self.ledger.orphan_left_payments(call, claim).await {
            Ok(orphaned) => {
                if !orphaned.is_empty() {
                    warn!(
                        event = "call.payment_not_taken_up",
                        "A payment that the last server of a call had begun is cancelled: it could not be taken up."
                    );
                }
                self.cancel_orphaned(orphaned);
            }
            Err(error) => {
                error!(event = "call.left_open", %error, "What the last server of a call has left open could not be cancelled.");
            }
        }
    }

    /// Says that this server has begun: the others know it now, or those that had the file before it have gone.
    pub(crate) async fn enter_ledger(&self) -> Result<(), LedgerError> {
        match &self.fleet {
            Some(fleet) => fleet.beat(&self.ledger, false).await,
            None => self.ledger.replace_servers(self.server).await,
        }
    }

    /// Says that this server lives, and keeps the calls that it has in step with the ledger. Never returns.
    pub(crate) async fn keep_calls(self: Arc<Self>) {
        let (mut beat, mut seen) = (interval(BEAT_INTERVAL), Seen::default());
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_draining = false;
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                // The others are told at once.
                () = self.soft_stop.cancelled(), if !is_draining => is_draining = true,
            }
            let beaten = match &self.fleet {
                Some(fleet) => fleet.beat(&self.ledger, self.soft_stop.is_cancelled()).await,
                None => Ok(()),
            };
            // A failure is a fault of the ledger, which is logged where it begins.
            if beaten.is_ok()
                && let Err(error) = self.follow_ledger(&mut seen).await
            {
                info!(event = "fleet.unread", %error, "Who has which call could not be read; the next beat reads it.");
            }
        }
    }

    async fn follow_ledger(self: &Arc<Self>, seen: &mut Seen) -> Result<(), LedgerError> {
        if self.fleet.is_some() {
            self.hear_missed_callbacks().await?;
        }
        self.check_claims(seen).await?;
        self.put_away_ownerless(seen).await?;
        seen.beats = seen.beats.wrapping_add(1);
        if seen.beats.is_multiple_of(BEATS_PER_REMOVAL) && self.fleet.is_some() {
            self.ledger.remove_expired_calls().await?;
        }
        Ok(())
    }

    /// Lets the calls of this server hear the callbacks that could not be sent on to it.
    async fn hear_missed_callbacks(&self) -> Result<(), LedgerError> {
        for (call, callback) in self.ledger.take_missed_callbacks(self.server).await? {
            if let Some(callback) = read_left_callback(&callback, &self.callback_digester) {
                info!(event = "fleet.callback_heard", call_sid = %call, "A callback that came to another server is heard.");
                self.calls.deliver(&call, SessionMessage::PaymentStatus(Box::new(callback)));
            }
        }
        Ok(())
    }

    /// Lets go of calls that another server has, and claims those that nobody has. What this server has by the ledger and is
    /// not live is put away.
    async fn check_claims(self: &Arc<Self>, seen: &mut Seen) -> Result<(), LedgerError> {
        // First what is live here: a call that begins meanwhile is not taken for a left-over.
        let live = self.calls.live_calls();
        let own = self.ledger.calls_of_server(self.server).await?;
        let own: HashMap<CallSid, OwnedCall> = own.into_iter().map(|owned| (owned.call.clone(), owned)).collect();
        let mut unclaimed = HashSet::new();
        for call in &live {
            let Some(claim) = call.claim() else { continue };
            let held = own.get(call.sid());
            match claim.state() {
                ClaimState::Held(epoch) if held.is_some_and(|held| held.epoch == epoch) => {
                    // Twilio said so to another server, which could not send it on.
                    if held.is_some_and(|held| held.has_ended) {
                        self.calls.deliver(call.sid(), SessionMessage::CallEnded);
                    }
                    continue;
                }
                ClaimState::Lost => continue,
                // Its session is about to claim it.
                ClaimState::Unclaimed if !seen.unclaimed.contains(call.sid()) => {}
                ClaimState::Held(_) | ClaimState::Unclaimed => self.check_claim(call.sid(), claim).await?,
            }
            unclaimed.insert(call.sid().clone());
        }
        seen.unclaimed = unclaimed;
        let (now, patience) = (Instant::now(), self.environment.resume_timeout);
        let is_live = |sid: &CallSid| {
            self.calls.is_live(sid)
                || self.ending_calls.contains(sid)
                || self.hand_overs.is_under_way(sid, patience, now)
        };
        let left_over = own.into_values().filter(|owned| !is_live(&owned.call));
        let left_over: HashSet<_> = left_over.map(|owned| (owned.call, owned.epoch)).collect();
        for (call, epoch) in left_over.intersection(&seen.left_over) {
            self.put_away(OwnerlessCall { call: call.clone(), epoch: Some(*epoch) }).await?;
        }
        seen.left_over = left_over;
        Ok(())
    }

    /// Looks who has a call that is live here and not this server's by the ledger. One that another server has, or had until it
    /// was over or put away, ends here. One that this server could not claim yet is claimed.
    async fn check_claim(self: &Arc<Self>, call: &CallSid, claim: &CallClaim) -> Result<(), LedgerError> {
        let owner = self.ledger.find_owner(call).await?.and_then(|owner| owner.server);
        let has_moved = matches!(claim.state(), ClaimState::Held(_)) && owner != Some(self.server);
        let span = info_span!("call", call_sid = %call);
        if has_moved {
            let (_entered, server) = (span.entered(), owner.map(tracing::field::display));
            warn!(event = "call.moved", server, "Another server has the call, or has put it away: it ends here.");
            claim.lose();
            self.telemetry.record_claim(ClaimEvent::Moved);
            self.calls.deliver(call, SessionMessage::Moved);
        } else {
            let claimed = self.ledger.claim_call(call, claim).await?;
            let left = span.in_scope(|| {
                info!(
                    event = "call.claimed",
                    epoch = claimed.epoch,
                    "The call, which could not be claimed when it began, is claimed."
                );
                self.finish_claim(call, claimed)
            });
            self.learn_left_call(call, claim, left.is_some()).instrument(span).await;
        }
        Ok(())
    }

    /// Puts away the calls whose server is gone for [`resume_timeout`](crate::call::CallEnvironment::resume_timeout), since
    /// until then a new socket may claim them, and those that are over.
    async fn put_away_ownerless(self: &Arc<Self>, seen: &mut Seen) -> Result<(), LedgerError> {
        let (now, patience) = (Instant::now(), self.environment.resume_timeout);
        let (mut ownerless, mut due) = (HashMap::new(), Vec::new());
        for call in self.ledger.calls_without_server().await? {
            let since = seen.ownerless.get(&call).copied().unwrap_or(now);
            if now.duration_since(since) >= patience {
                due.push(call.clone());
            }
            ownerless.insert(call, since);
        }
        seen.ownerless = ownerless;
        for dead in self.fleet.as_ref().map(|fleet| fleet.dead_servers()).unwrap_or_default() {
            let calls = self.ledger.calls_of_server(dead.record.id).await?;
            if calls.is_empty() {
                self.ledger.remove_dead_server(&dead.record).await?;
            }
            // Nobody calls again for one that is over.
            let is_late = now.duration_since(dead.since) >= patience;
            let calls = calls.into_iter().filter(|owned| is_late || owned.has_ended);
            due.extend(calls.map(|owned| OwnerlessCall { call: owned.call, epoch: Some(owned.epoch) }));
        }
        due.retain(|call| !self.calls.is_live(&call.call) && !self.ending_calls.contains(&call.call));
        for call in due.into_iter().take(MAX_PUT_AWAY) {
            self.put_away(call).await?;
        }
        Ok(())
    }

    /// Puts away a call of which Twilio says that it is over, unless a living server has it.
    pub(crate) async fn put_away_ended(self: &Arc<Self>, call: &CallSid) {
        if self.calls.is_live(call) || self.ending_calls.contains(call) {
            return;
        }
        let put_away = async {
            let Some(owner) = self.ledger.find_owner(call).await? else { return Ok(()) };
            let seen = OwnerlessCall { call: call.clone(), epoch: Some(owner.epoch) };
            if self.has_living_owner(&owner) { Ok(()) } else { self.put_away(seen).await }
        };
        // Otherwise a later beat finds it.
        let _: Result<(), LedgerError> = put_away.await;
    }

    /// Claims a call that no living server has, cancels what is open of it, and forgets it.
    async fn put_away(self: &Arc<Self>, seen: OwnerlessCall) -> Result<(), LedgerError> {
        let claim = CallClaim::new(self.server);
        let Some(put_away) = self.ledger.claim_ownerless(&seen, &claim).await? else { return Ok(()) };
        let PutAwayCall { orphaned, state } = put_away;
        let call = seen.call;
        let span = info_span!("call", call_sid = %call);
        span.in_scope(|| {
            warn!(
                event = "call.put_away",
                open_payments = orphaned.len(),
                "A call that no server has any more is put away. What is open of its payments is cancelled, and what was \
                 submitted is unknown until Twilio reports it."
            );
        });
        self.telemetry.record_claim(ClaimEvent::PutAway);
        self.ending_calls.insert(&call);
        let context = self.clone();
        let work = async move {
            context.cancel_payments(orphaned).await;
            if let Some(kept) = state.and_then(|state| KeptCall::parse(&state)) {
                context.log_untold_successes(&call, &kept).await;
                if context.reports_call_ends {
                    record_call_end(&context, kept.into_end(call.clone(), &claim)).await;
                }
            }
            context.release_call(&call, &claim).await;
            context.ending_calls.remove(&call);
        };
        self.tasks.spawn(work.instrument(span));
        Ok(())
    }

    /// Logs payments of a call that succeeded while no server had it, so that the caller was never told.
    async fn log_untold_successes(&self, call: &CallSid, kept: &KeptCall) {
        let Ok(known) = self.ledger.load_prior_payments(&CallData::from_sid(call.clone())).await else { return };
        for session in known.sessions {
            if !session.record.state.is_without_success() && !kept.call.knows_result_of(&session.sid) {
                payment_log::log_untold_success(call, &session.sid);
            }
        }
    }

    /// Removes the row of a call whose server or session broke, once its payments are cancelled.
    pub(super) async fn release_call(&self, call: &CallSid, claim: &CallClaim) {
        if let Err(error) = self.ledger.release_call(call, claim).await {
            info!(event = "fleet.unreleased", %error, "The row of a call could not be removed; a later beat removes it.");
        }
    }

    fn cancel_orphaned(self: &Arc<Self>, orphaned: Vec<OrphanedPayment>) {
        if !orphaned.is_empty() {
            let context = self.clone();
            self.tasks.spawn(async move { context.cancel_payments(orphaned).await }.in_current_span());
        }
    }

    /// Cancels payments that a server or a session has left open.
    pub(crate) async fn cancel_payments(&self, orphaned: Vec<OrphanedPayment>) {
        let settings = self.assets.library().server.payment_settings(&self.environment);
        let client_of = |server| self.client_reporting_to(server);
        recovery::cancel_orphaned_payments(self.ledger.clone(), client_of, settings, orphaned).await;
    }

    /// The client for a payment that Twilio reports to a server: a request that is repeated has to be the same.
    pub(super) fn client_reporting_to(&self, server: Option<ServerId>) -> Arc<TwilioClient> {
        match (&self.fleet, server) {
            (Some(fleet), Some(server)) if server != self.server => {
                let callback = fleet.url_of(server).http_url(PAYMENT_STATUS_CALLBACK);
                Arc::new(self.twilio.with_status_callback(callback))
            }
            _ => self.twilio.clone(),
        }
    }

    /// Whether the owner of a call, which is not live here, is another server that lives.
    pub(super) fn has_living_owner(&self, owner: &CallOwner) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.is_elsewhere(owner))
    }

    /// Whether another server takes the calls that this one has while it drains.
    pub(crate) fn has_successor(&self) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.has_successor())
    }
}
