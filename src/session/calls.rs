//! The live calls: from call SID to the mailbox of the task that owns the call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Line;
use crate::assets::Library;
use crate::call::ContextKeys;
use crate::payment;
use crate::sid::CallSid;
use crate::twilio::CallStatus;

/// News that a session may leave unread. A payment sends one for each key that is pressed.
const MAILBOX: usize = 256;

/// What an outsider can tell a session.
#[derive(Debug)]
pub enum News {
    /// Twilio reported a step of a payment.
    PaymentStatus(Box<payment::Status>),
    /// A new socket of the call is open.
    Line(Line),
    /// Twilio reported how the call goes on; twice or out of order is no matter.
    CallStatus(CallStatus),
    /// From the next request to the model on another context or manifest is used; what was said so far stays.
    Reconfigure {
        /// Which.
        keys: ContextKeys,
        /// Out of this.
        library: Arc<Library>,
    },
    /// Twilio says that the call is over.
    Over,
}

/// What became of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It is in the mailbox.
    Delivered,
    /// The call is not, or no longer, known.
    UnknownCall,
    /// The mailbox is full: the session is stuck.
    Full,
}

/// All live calls. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    // A std mutex: it is held for a look-up, never across an await.
    live: Arc<Mutex<HashMap<CallSid, Handle>>>,
    /// When a call was last rung in or ended: what follows from that may still be asked.
    stirred: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug)]
struct Handle {
    identity: Arc<()>,
    mailbox: mpsc::Sender<News>,
    stop: CancellationToken,
}

/// A session's place among the live calls; it is given up with the value.
#[derive(Debug)]
pub(super) struct Registration {
    calls: Calls,
    sid: CallSid,
    identity: Arc<()>,
    stop: CancellationToken,
}

impl Calls {
    /// Puts news into a call's mailbox, at once.
    pub fn deliver(&self, sid: &CallSid, news: News) -> Delivery {
        let Some(mailbox) = self.lock().get(sid).map(|handle| handle.mailbox.clone()) else {
            return Delivery::UnknownCall;
        };
        match mailbox.try_send(news) {
            Ok(()) => Delivery::Delivered,
            Err(mpsc::error::TrySendError::Full(_)) => Delivery::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Delivery::UnknownCall,
        }
    }

    /// Gives a new socket to the task that owns the call; back it comes if there is none.
    pub(super) fn hand_over(&self, sid: &CallSid, line: Line) -> Result<(), Line> {
        let Some(mailbox) = self.lock().get(sid).map(|handle| handle.mailbox.clone()) else { return Err(line) };
        mailbox.try_send(News::Line(line)).map_err(|refused| match refused.into_inner() {
            News::Line(line) => line,
            _ => unreachable!("what is refused is what was sent"),
        })
    }

    /// Notes that a call rings or has ended: Twilio will ask something soon.
    pub fn stir(&self) {
        *self.stirred.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When a call was last rung in or ended.
    pub fn stirred(&self) -> Option<Instant> {
        *self.stirred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the call is live.
    pub fn knows(&self, sid: &CallSid) -> bool {
        self.lock().contains_key(sid)
    }

    /// How many calls are live.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Registers a session. An older one of the same call is stopped: the newest socket owns the call.
    pub(super) fn register(&self, sid: &CallSid, parent: &CancellationToken) -> (Registration, mpsc::Receiver<News>) {
        let (mailbox, news) = mpsc::channel(MAILBOX);
        let (identity, stop) = (Arc::new(()), parent.child_token());
        let handle = Handle { identity: identity.clone(), mailbox, stop: stop.clone() };
        if let Some(older) = self.lock().insert(sid.clone(), handle) {
            older.stop.cancel();
        }
        (Registration { calls: self.clone(), sid: sid.clone(), identity, stop }, news)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallSid, Handle>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Waits until the session has to stop.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}

/// Only a registration that is still the call's own is removed: the late end of an old socket leaves the new one alone.
impl Drop for Registration {
    fn drop(&mut self) {
        self.calls.stir();
        let mut live = self.calls.lock();
        if live.get(&self.sid).is_some_and(|handle| Arc::ptr_eq(&handle.identity, &self.identity)) {
            live.remove(&self.sid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_socket_owns_the_call_and_a_late_goodbye_leaves_it_alone() {
        let (calls, stop) = (Calls::default(), CancellationToken::new());
        let sid: CallSid = "CA1".parse().unwrap();
        let (old, _old_news) = calls.register(&sid, &stop);
        let (new, mut news) = calls.register(&sid, &stop);
        assert!(old.stop.is_cancelled() && !new.stop.is_cancelled());
        drop(old);
        assert_eq!(calls.deliver(&sid, News::Over), Delivery::Delivered);
        assert!(matches!(news.try_recv(), Ok(News::Over)));
        drop(new);
        assert_eq!((calls.count(), calls.deliver(&sid, News::Over)), (0, Delivery::UnknownCall));
    }

    #[test]
    fn a_full_mailbox_is_told_and_does_not_wait() {
        let (calls, stop) = (Calls::default(), CancellationToken::new());
        let sid: CallSid = "CA1".parse().unwrap();
        let (_registration, _news) = calls.register(&sid, &stop);
        for _ in 0..MAILBOX {
            assert_eq!(calls.deliver(&sid, News::Over), Delivery::Delivered);
        }
        assert_eq!(calls.deliver(&sid, News::Over), Delivery::Full);
    }
}
