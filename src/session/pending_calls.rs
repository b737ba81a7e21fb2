//! Per-call data kept until the call ends, for one hour at most: outbound orders by `callReference`, business look-ups by
//! call SID.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::expiring_map::{ExpiringMap, ExpiringMapFullError};
use crate::ids::CallSid;
use crate::payment::CallerAttestation;
use crate::redact::Private;

/// The largest number of outbound orders, and of business look-ups, that are kept.
const MAX_PENDING_CALLS: usize = 10_000;

/// The maximum size of all outbound orders, and of all business look-ups, in bytes.
const MAX_PENDING_BYTES: usize = 32 * 1024 * 1024;

/// What an entry takes beside its data, in bytes.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// The longest time that an entry is kept.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The data of calls that have not ended. Clones share it.
#[derive(Debug, Clone)]
pub struct PendingCalls {
    /// The outbound orders, by `callReference`.
    // A std mutex, since it is held only for a look-up and never across an await.
    outbound: Arc<Mutex<ExpiringMap<String, PendingCall>>>,
    /// The business look-ups of inbound calls.
    business_lookups: Arc<Mutex<ExpiringMap<CallSid, BusinessLookup>>>,
    /// What was attested about the callers of inbound calls.
    attestations: Arc<Mutex<ExpiringMap<CallSid, CallerAttestation>>>,
}

/// Parameters of a call, by name. They override the custom parameters of the TwiML with the same name.
pub(crate) type CallParameters = Private<BTreeMap<String, String>>;

/// The result of asking the business (`CALL_PARAMETERS_URL`) about an inbound call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusinessLookup {
    /// The business returned parameters for the call.
    Parameters(CallParameters),
    /// The answer names an amount due or a currency, but cannot be used.
    InvalidAmountDue,
    /// There was no usable answer.
    NoAnswer,
}

impl BusinessLookup {
    /// The size of its parameters, in bytes.
    fn data_bytes(&self) -> usize {
        match self {
            Self::Parameters(parameters) => {
                parameters.reveal().iter().map(|(name, value)| ENTRY_OVERHEAD_BYTES + name.len() + value.len()).sum()
            }
            Self::InvalidAmountDue | Self::NoAnswer => 0,
        }
    }
}

/// What is known of a call before it is connected, as it is kept for the server that gets its socket.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallAbout {
    #[serde(default)]
    parameters: Option<BTreeMap<String, String>>,
    #[serde(default)]
    is_amount_due_invalid: bool,
    #[serde(default)]
    is_unanswered: bool,
    #[serde(default)]
    attestation: Option<String>,
}

/// A JSON object with the properties of an outbound call, without the phone number.
pub(crate) type OutboundCallData = Private<Arc<str>>;

#[derive(Debug)]
struct PendingCall {
    data: OutboundCallData,
    /// The SID of the call, once it is known.
    call: Option<CallSid>,
}

/// Why an outbound order was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddPendingCallError {
    /// The reference belongs to another call that has not ended. The request may be repeated with another reference.
    #[error("this callReference belongs to a call that has not ended: use another, or wait")]
    ReferenceInUse,
    /// Too many orders are kept, or too much data of them.
    #[error("too many outbound calls have not ended, or their data is too large: try again later, or send less data")]
    TooManyCalls,
}

impl Default for PendingCalls {
    fn default() -> Self {
        Self::with_max_bytes(MAX_PENDING_BYTES)
    }
}

impl PendingCalls {
    /// Limits the size of all outbound orders, and that of all business look-ups.
    pub fn with_max_bytes(max_bytes: usize) -> Self {
        Self {
            outbound: Arc::new(Mutex::new(new_map(max_bytes))),
            business_lookups: Arc::new(Mutex::new(new_map(max_bytes))),
            attestations: Arc::new(Mutex::new(new_map(max_bytes))),
        }
    }

    /// Adds the data of the outbound call with this reference.
    pub fn add(&self, reference: &str, data: OutboundCallData) -> Result<(), AddPendingCallError> {
        let mut orders = self.lock();
        let reference = reference.to_owned();
        if orders.get_mut(&reference, now()).is_some() {
            return Err(AddPendingCallError::ReferenceInUse);
        }
        let bytes = ENTRY_OVERHEAD_BYTES + reference.len() + data.reveal().len();
        orders
            .insert_sized(reference, PendingCall { data, call: None }, bytes, now())
            .map_err(|ExpiringMapFullError| AddPendingCallError::TooManyCalls)
    }

    /// Records the SID of a call that Twilio has placed.
    pub fn record_placed(&self, reference: &str, call: &CallSid) {
        if let Some(order) = self.lock().get_mut(&reference.to_owned(), now()) {
            order.call.get_or_insert_with(|| call.clone());
        }
    }

    /// Returns the data for a connecting call with this reference; `None` if the reference belongs to another call.
    pub(super) fn claim(&self, reference: &str, call: &CallSid) -> Option<OutboundCallData> {
        let mut orders = self.lock();
        let order = orders.get_mut(&reference.to_owned(), now())?;
        (order.call.get_or_insert_with(|| call.clone()) == call).then(|| order.data.clone())
    }

    /// Returns the data of a call that Twilio has placed.
    pub(super) fn find(&self, call: &CallSid) -> Option<OutboundCallData> {
        self.lock().find_value(now(), |order| order.call.as_ref() == Some(call)).map(|order| order.data.clone())
    }

    /// Records a business look-up. A later look-up of the same call replaces it.
    pub fn record_business_lookup(&self, call: &CallSid, answer: BusinessLookup) -> Result<(), ExpiringMapFullError> {
        let bytes = ENTRY_OVERHEAD_BYTES + answer.data_bytes();
        lock(&self.business_lookups).insert_sized(call.clone(), answer, bytes, now())
    }

    /// Returns the business look-up of a connecting call; `None` if the business was not asked.
    pub(super) fn business_lookup(&self, call: &CallSid) -> Option<BusinessLookup> {
        lock(&self.business_lookups).get_mut(call, now()).cloned()
    }

    /// Records what the voice webhook says about the caller's number.
    pub fn record_attestation(
        &self,
        call: &CallSid,
        attestation: CallerAttestation,
    ) -> Result<(), ExpiringMapFullError> {
        lock(&self.attestations).insert(call.clone(), attestation, now())
    }

    /// Returns what was attested about the caller of a connecting call.
    pub(super) fn attestation(&self, call: &CallSid) -> Option<CallerAttestation> {
        lock(&self.attestations).get_mut(call, now()).copied()
    }

    /// What is known of a call, as JSON for another server. `None` if nothing is.
    pub(crate) fn about(&self, call: &CallSid) -> Option<String> {
        let (lookup, attestation) = (self.business_lookup(call), self.attestation(call));
        if lookup.is_none() && attestation.is_none() {
            return None;
        }
        let about = CallAbout {
            is_amount_due_invalid: lookup == Some(BusinessLookup::InvalidAmountDue),
            is_unanswered: lookup == Some(BusinessLookup::NoAnswer),
            parameters: match lookup {
                Some(BusinessLookup::Parameters(parameters)) => Some(parameters.into_inner()),
                _ => None,
            },
            attestation: attestation.map(|attestation| attestation.as_str().to_owned()),
        };
        Some(serde_json::to_string(&about).expect("texts always serialise"))
    }

    /// Learns what another server knew of a call, unless this one knows it. What cannot be read is left out: another version
    /// wrote it.
    pub(super) fn learn(&self, call: &CallSid, about: &str) {
        let about: CallAbout = serde_json::from_str(about).unwrap_or_default();
        let lookup = match about.parameters {
            Some(parameters) => Some(BusinessLookup::Parameters(Private::new(parameters))),
            None if about.is_amount_due_invalid => Some(BusinessLookup::InvalidAmountDue),
            None => about.is_unanswered.then_some(BusinessLookup::NoAnswer),
        };
        if let Some(lookup) = lookup.filter(|_| self.business_lookup(call).is_none()) {
            let _ = self.record_business_lookup(call, lookup);
        }
        let attestation = about.attestation.and_then(|attestation| CallerAttestation::from_stored(&attestation));
        if let Some(attestation) = attestation.filter(|_| self.attestation(call).is_none()) {
            let _ = self.record_attestation(call, attestation);
        }
    }

    /// Removes an order whose call was not placed.
    pub fn remove(&self, reference: &str) {
        self.lock().remove(&reference.to_owned(), now());
    }

    /// Removes the data of a call that has ended.
    pub fn remove_call(&self, call: &CallSid) {
        self.lock().retain(|_, order| order.call.as_ref() != Some(call));
        lock(&self.business_lookups).remove(call, now());
        lock(&self.attestations).remove(call, now());
    }

    /// Removes expired entries.
    pub fn remove_expired(&self) {
        self.lock().remove_expired(now());
        lock(&self.business_lookups).remove_expired(now());
        lock(&self.attestations).remove_expired(now());
    }

    fn lock(&self) -> MutexGuard<'_, ExpiringMap<String, PendingCall>> {
        lock(&self.outbound)
    }
}

fn new_map<K: Eq + Hash, V>(max_bytes: usize) -> ExpiringMap<K, V> {
    ExpiringMap::new(MAX_PENDING_CALLS, LIFETIME).with_max_bytes(max_bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> OutboundCallData {
        Private::new(Arc::from(r#"{"order":7}"#))
    }

    fn sid(text: &str) -> CallSid {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_kept_until_its_call_has_ended() {
        let pending = PendingCalls::default();
        pending.add("order-7", data()).unwrap();
        pending.record_placed("order-7", &sid("CA1"));
        assert_eq!(pending.claim("order-7", &sid("CA2")), None, "another call's");
        assert_eq!(pending.claim("order-7", &sid("CA1")), Some(data()));
        assert_eq!(pending.add("order-7", data()), Err(AddPendingCallError::ReferenceInUse));
        pending.remove_call(&sid("CA2"));
        assert_eq!(pending.claim("order-7", &sid("CA1")), Some(data()), "again, if its socket reconnects");
        pending.remove_call(&sid("CA1"));
        assert_eq!(pending.claim("order-7", &sid("CA1")), None);
        assert_eq!(pending.add("order-7", data()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_may_connect_before_twilio_answers_the_create_request() {
        let pending = PendingCalls::default();
        pending.add("order-7", data()).unwrap();
        assert_eq!(pending.claim("order-7", &sid("CA1")), Some(data()));
        pending.record_placed("order-7", &sid("CA1"));
        pending.remove_call(&sid("CA1"));
        assert_eq!(pending.claim("order-7", &sid("CA1")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_business_look_up_is_kept_until_its_call_has_ended() {
        let pending = PendingCalls::default();
        let known = |due: &str| {
            BusinessLookup::Parameters(Private::new(BTreeMap::from([("amountDue".to_owned(), due.to_owned())])))
        };
        pending.record_business_lookup(&sid("CA1"), known("25")).unwrap();
        pending.record_business_lookup(&sid("CA1"), known("30")).unwrap();
        assert_eq!(pending.business_lookup(&sid("CA2")), None, "another call's");
        assert_eq!(pending.business_lookup(&sid("CA1")), Some(known("30")));
        pending.record_business_lookup(&sid("CA1"), BusinessLookup::NoAnswer).unwrap();
        assert_eq!(pending.business_lookup(&sid("CA1")), Some(BusinessLookup::NoAnswer));
        pending.remove_call(&sid("CA1"));
        assert_eq!(pending.business_lookup(&sid("CA1")), None);
        pending.record_business_lookup(&sid("CA3"), known("1")).unwrap();
        tokio::time::advance(LIFETIME).await;
        assert_eq!(pending.business_lookup(&sid("CA3")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn another_server_learns_what_is_known_of_a_call() {
        let parameters = || Private::new(BTreeMap::from([("amountDue".to_owned(), "25".to_owned())]));
        for lookup in
            [BusinessLookup::Parameters(parameters()), BusinessLookup::InvalidAmountDue, BusinessLookup::NoAnswer]
        {
            let (here, there) = (PendingCalls::default(), PendingCalls::default());
            assert_eq!(here.about(&sid("CA1")), None);
            here.record_business_lookup(&sid("CA1"), lookup.clone()).unwrap();
            here.record_attestation(&sid("CA1"), CallerAttestation::Full).unwrap();
            there.learn(&sid("CA1"), &here.about(&sid("CA1")).unwrap());
            assert_eq!(there.business_lookup(&sid("CA1")), Some(lookup));
            assert_eq!(there.attestation(&sid("CA1")), Some(CallerAttestation::Full));
            there.learn(&sid("CA1"), "of another version");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_expires_after_an_hour() {
        let pending = PendingCalls::default();
        pending.add("order-7", data()).unwrap();
        tokio::time::advance(LIFETIME).await;
        assert_eq!(pending.claim("order-7", &sid("CA1")), None);
        pending.remove_expired();
        assert_eq!(pending.add("order-7", data()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_orders_is_limited() {
        let pending = PendingCalls::default();
        for n in 0..MAX_PENDING_CALLS {
            pending.add(&n.to_string(), data()).unwrap();
        }
        assert_eq!(pending.add("one more", data()), Err(AddPendingCallError::TooManyCalls));
        pending.remove("0");
        assert_eq!(pending.add("one more", data()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_data_of_all_orders_is_limited_and_freed_with_their_calls() {
        let pending = PendingCalls::default();
        let large = || Private::new(Arc::from("x".repeat(62 * 1024)));
        let accepted = (0..2_000).take_while(|n| pending.add(&n.to_string(), large()).is_ok()).count();
        assert!((500..=528).contains(&accepted), "{accepted}");
        assert_eq!(pending.add("small", data()), Ok(()), "what fits is taken");
        assert_eq!(pending.add("one more", large()), Err(AddPendingCallError::TooManyCalls));
        pending.remove("0");
        assert_eq!(pending.add("one more", large()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_data_of_all_look_ups_is_limited() {
        let pending = PendingCalls::with_max_bytes(10_000);
        let large = BTreeMap::from([("notes".to_owned(), "x".repeat(6_000))]);
        let large = || BusinessLookup::Parameters(Private::new(large.clone()));
        pending.record_business_lookup(&sid("CA1"), large()).unwrap();
        assert_eq!(pending.record_business_lookup(&sid("CA2"), large()), Err(ExpiringMapFullError));
        assert_eq!(pending.record_business_lookup(&sid("CA1"), large()), Ok(()), "it replaces the first");
    }
}
