//! The time around a card entry: whether a key or a spoken digit that arrives now may belong to the card.

use std::time::{Duration, Instant};

use super::Call;
use crate::payment::{Capture, CaptureStage};

/// How long after a payment callback a key or word may still arrive that belongs to the payment.
const LATE_KEY_WINDOW: Duration = Duration::from_secs(3);

/// When the payments of a call last closed and were last reported on.
#[derive(Default)]
pub(super) struct PaymentWindow {
    closed_at: Option<Instant>,
    /// The last payment closed after its submission: all its fields had been entered.
    was_submitted: bool,
    last_callback: Option<Instant>,
    /// The socket was lost while a card could be entered: Twilio buffers the keys and replays them on the next socket.
    has_buffered_keys: bool,
    /// When that socket was opened.
    resumed_at: Option<Instant>,
    /// Nobody knows what an earlier server of the call had begun.
    is_past_unknown: bool,
}

impl PaymentWindow {
    /// Records that a payment callback arrived.
    pub(super) fn record_callback(&mut self, now: Instant) {
        self.last_callback = Some(now);
    }

    /// Records that the open payment closed. `was_submitted` says that it waited for its result.
    pub(super) fn record_closed(&mut self, was_submitted: bool, now: Instant) {
        self.closed_at = Some(now);
        self.was_submitted = was_submitted;
    }

    /// Records that the socket was lost while a card could be entered.
    pub(super) fn record_socket_lost(&mut self) {
        self.has_buffered_keys = true;
    }

    /// Records that the call has a new socket.
    pub(super) fn record_resumed(&mut self, now: Instant) {
        self.resumed_at = std::mem::take(&mut self.has_buffered_keys).then_some(now);
    }

    /// Records whether it is known what an earlier server of the call had begun. A card may be being entered until then.
    pub(super) fn record_past(&mut self, is_unknown: bool) {
        self.is_past_unknown = is_unknown;
    }

    /// Whether keys may be replayed that were pressed while a card could be entered.
    pub(super) fn is_replaying(&self, now: Instant) -> bool {
        self.resumed_at.is_some_and(|at| now < at + LATE_KEY_WINDOW)
    }

    /// When the last key of a payment that has closed, or that was replayed, is expected.
    pub(super) fn keys_end_at(&self) -> Option<Instant> {
        self.closed_at.into_iter().chain(self.resumed_at).max().map(|at| at + LATE_KEY_WINDOW)
    }

    /// Whether a payment has just closed: its final callback may arrive before the last key.
    fn is_just_closed(&self, now: Instant) -> bool {
        self.closed_at.is_some_and(|at| now < at + LATE_KEY_WINDOW)
    }

    /// Whether a callback has just arrived: the key that it reports may arrive after it.
    fn is_just_reported(&self, now: Instant) -> bool {
        self.last_callback.is_some_and(|at| now < at + LATE_KEY_WINDOW)
    }
}

impl Call {
    /// Whether input may contain card digits: while a payment is open, and shortly after.
    pub(super) fn is_card_entry_possible(&self) -> bool {
        self.payments.is_open()
            || self.payment_window.is_past_unknown
            || self.payment_window.is_just_closed(self.now)
            || self.payment_window.is_replaying(self.now)
    }

    /// Whether a card entry may go on although the payment has closed: it was cancelled or ended within the last three
    /// seconds, before it was submitted, so that the caller may still press the keys of a field. Once it was submitted, all
    /// fields are in, and its result ends it for good.
    pub(super) fn is_entry_just_cut_off(&self) -> bool {
        !self.payments.is_open() && !self.payment_window.was_submitted && self.payment_window.is_just_closed(self.now)
    }

    /// Whether a key may answer the question. While a field is being entered, and shortly after a callback, it may be a
    /// digit of the card.
    pub(super) fn is_key_an_answer(&self) -> bool {
        let stage = self.payments.open().map(Capture::stage);
        let is_late_key = self.payment_window.is_past_unknown
            || self.payment_window.is_just_closed(self.now)
            || self.payment_window.is_just_reported(self.now)
            || self.payment_window.is_replaying(self.now);
        matches!(stage, None | Some(CaptureStage::Open)) && !is_late_key
    }
}
