//! What is known of calls before they connect: what operators wrote who had calls placed, and what the business knows of
//! calls that came in. Kept until the call has ended, for an hour at most.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::expiring::{Expiring, Full};
use crate::redact::Private;
use crate::sid::CallSid;

/// How many calls that were asked for and have not ended are remembered.
const MAX_REQUESTS: usize = 10_000;

/// How long a request is remembered at most.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// What is known of calls. Clones share it.
#[derive(Debug, Clone)]
pub struct Requests {
    /// What operators wrote, by `callReference`.
    // A std mutex: it is held for a look-up, never across an await.
    kept: Arc<Mutex<Expiring<String, Request>>>,
    /// What the business answered, by the call that came in.
    answers: Arc<Mutex<Expiring<CallSid, BusinessAnswer>>>,
}

/// Parameters of a call, by name: they count as the custom parameters of its TwiML do, and go before them.
pub type Parameters = Private<BTreeMap<String, String>>;

/// What the business answered when it was asked about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusinessAnswer {
    /// These are parameters of the call.
    Parameters(Parameters),
    /// What is due cannot be told, and something may be.
    BadDue,
    /// There is no answer that can be used.
    Nothing,
}

/// A JSON object: everything about the call but who is called.
pub type RequestData = Private<Arc<str>>;

#[derive(Debug)]
struct Request {
    data: RequestData,
    /// The call that it became, once that is known.
    call: Option<CallSid>,
}

/// Why a request is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// Its reference belongs to another; the same request may be made again under another.
    #[error("this callReference belongs to a call that has not ended: use another, or wait")]
    InUse,
    /// Too many are kept.
    #[error("too many calls have been asked for and have not ended: try again later")]
    Full,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            kept: Arc::new(Mutex::new(Expiring::new(MAX_REQUESTS, LIFETIME))),
            answers: Arc::new(Mutex::new(Expiring::new(MAX_REQUESTS, LIFETIME))),
        }
    }
}

impl Requests {
    /// Keeps what the call of this reference is about.
    pub fn keep(&self, reference: &str, data: RequestData) -> Result<(), NotKept> {
        let mut kept = self.lock();
        let reference = reference.to_owned();
        if kept.get_mut(&reference, now()).is_some() {
            return Err(NotKept::InUse);
        }
        kept.insert(reference, Request { data, call: None }, now()).map_err(|Full| NotKept::Full)
    }

    /// Twilio has placed the call.
    pub fn placed(&self, reference: &str, call: &CallSid) {
        if let Some(request) = self.lock().get_mut(&reference.to_owned(), now()) {
            request.call.get_or_insert_with(|| call.clone());
        }
    }

    /// What a call that connects with this reference is about; nothing if the reference is another call's.
    pub(super) fn connected(&self, reference: &str, call: &CallSid) -> Option<RequestData> {
        let mut kept = self.lock();
        let request = kept.get_mut(&reference.to_owned(), now())?;
        (request.call.get_or_insert_with(|| call.clone()) == call).then(|| request.data.clone())
    }

    /// Keeps what the business answered; asked twice, its last answer counts.
    pub fn keep_answer(&self, call: &CallSid, answer: BusinessAnswer) -> Result<(), Full> {
        lock(&self.answers).insert(call.clone(), answer, now())
    }

    /// What the business answered about a call that connects; `None` if it was not asked.
    pub(super) fn answer(&self, call: &CallSid) -> Option<BusinessAnswer> {
        lock(&self.answers).get_mut(call, now()).cloned()
    }

    /// Forgets a request whose call was not placed.
    pub fn forget(&self, reference: &str) {
        self.lock().remove(&reference.to_owned(), now());
    }

    /// Forgets what belonged to a call that has ended.
    pub fn ended(&self, call: &CallSid) {
        self.lock().retain(|_, request| request.call.as_ref() != Some(call));
        lock(&self.answers).remove(call, now());
    }

    /// Frees what has expired.
    pub fn forget_expired(&self) {
        self.lock().forget_expired(now());
        lock(&self.answers).forget_expired(now());
    }

    fn lock(&self) -> MutexGuard<'_, Expiring<String, Request>> {
        lock(&self.kept)
    }
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> RequestData {
        Private::new(Arc::from(r#"{"order":7}"#))
    }

    fn sid(text: &str) -> CallSid {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_there_for_its_call_until_it_has_ended() {
        let requests = Requests::default();
        requests.keep("order-7", data()).unwrap();
        requests.placed("order-7", &sid("CA1"));
        assert_eq!(requests.connected("order-7", &sid("CA2")), None, "another call's");
        assert_eq!(requests.connected("order-7", &sid("CA1")), Some(data()));
        assert_eq!(requests.keep("order-7", data()), Err(NotKept::InUse));
        requests.ended(&sid("CA2"));
        assert_eq!(requests.connected("order-7", &sid("CA1")), Some(data()), "twice, if its socket came back");
        requests.ended(&sid("CA1"));
        assert_eq!(requests.connected("order-7", &sid("CA1")), None);
        assert_eq!(requests.keep("order-7", data()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_may_connect_before_twilios_answer_is_here() {
        let requests = Requests::default();
        requests.keep("order-7", data()).unwrap();
        assert_eq!(requests.connected("order-7", &sid("CA1")), Some(data()));
        requests.placed("order-7", &sid("CA1"));
        requests.ended(&sid("CA1"));
        assert_eq!(requests.connected("order-7", &sid("CA1")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_business_answered_is_there_for_its_call_until_it_has_ended() {
        let requests = Requests::default();
        let known = |due: &str| {
            BusinessAnswer::Parameters(Private::new(BTreeMap::from([("amountDue".to_owned(), due.to_owned())])))
        };
        requests.keep_answer(&sid("CA1"), known("25")).unwrap();
        requests.keep_answer(&sid("CA1"), known("30")).unwrap();
        assert_eq!(requests.answer(&sid("CA2")), None, "another call's");
        assert_eq!(requests.answer(&sid("CA1")), Some(known("30")));
        requests.keep_answer(&sid("CA1"), BusinessAnswer::Nothing).unwrap();
        assert_eq!(requests.answer(&sid("CA1")), Some(BusinessAnswer::Nothing));
        requests.ended(&sid("CA1"));
        assert_eq!(requests.answer(&sid("CA1")), None);
        requests.keep_answer(&sid("CA3"), known("1")).unwrap();
        tokio::time::advance(LIFETIME).await;
        assert_eq!(requests.answer(&sid("CA3")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_later_it_is_forgotten() {
        let requests = Requests::default();
        requests.keep("order-7", data()).unwrap();
        tokio::time::advance(LIFETIME).await;
        assert_eq!(requests.connected("order-7", &sid("CA1")), None);
        requests.forget_expired();
        assert_eq!(requests.keep("order-7", data()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_an_end_to_what_is_kept() {
        let requests = Requests::default();
        for n in 0..MAX_REQUESTS {
            requests.keep(&n.to_string(), data()).unwrap();
        }
        assert_eq!(requests.keep("one more", data()), Err(NotKept::Full));
        requests.forget("0");
        assert_eq!(requests.keep("one more", data()), Ok(()));
    }
}
