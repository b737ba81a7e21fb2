//! The limits on one call: its length, text messages, tones and recordings.

use std::time::{Duration, Instant};

use super::{Action, Call, CallEnding, CallState, prompts};
use crate::relay::OutgoingFrame;
use crate::usage_limits::{UsageLimit, UsageLimits};

/// How long before its end the caller is told that the call ends.
const WARNING: Duration = Duration::from_mins(2);

/// How long a call may last beyond its limit while a payment is open, or the model responds.
const PAYMENT_GRACE: Duration = Duration::from_mins(5);

/// How long the last words of a call may take after that. Then it ends like a hang-up.
const FAREWELL_LIMIT: Duration = Duration::from_mins(1);

/// How much longer than `callMinutes` Twilio lets an outbound call live: enough for an open payment and the last words.
pub(crate) const TIME_LIMIT_MARGIN: Duration = Duration::from_mins(10);

/// What a call has used, and when it ends.
#[derive(Debug)]
pub(super) struct CallUsage {
    messages: u32,
    tones: u32,
    recordings: u32,
    /// A machine has taken the call, and has heard its sentence.
    is_machine: bool,
    /// The times of a limited call.
    end: Option<CallEndTimes>,
}

/// When a call is told to end, and ends.
#[derive(Debug, Clone, Copy)]
struct CallEndTimes {
    warning_at: Instant,
    is_warned: bool,
    ends_at: Instant,
}

impl CallUsage {
    /// Begins to count at the begin of a call.
    pub(super) fn new(limits: &UsageLimits, has_telephone: bool, now: Instant) -> Self {
        let end = limits.call_length.filter(|_| has_telephone).map(|length| CallEndTimes {
            warning_at: now + length.saturating_sub(WARNING.min(length / 2)),
            is_warned: false,
            ends_at: now + length,
        });
        Self { messages: 0, tones: 0, recordings: 0, is_machine: false, end }
    }

    /// Text messages, tones and recordings so far.
    pub(super) fn counts(&self) -> (u32, u32, u32) {
        (self.messages, self.tones, self.recordings)
    }

    /// Goes on with what a call has used on another server.
    pub(super) fn restore(&mut self, state: &CallState) {
        (self.messages, self.tones, self.recordings) = (state.messages, state.tones, state.recordings);
    }
}

impl CallEndTimes {
    /// When the call ends whatever happens on it.
    fn at_the_latest(&self) -> Instant {
        self.ends_at + PAYMENT_GRACE
    }

    /// The next time at which something may be due.
    fn next_after(&self, now: Instant) -> Option<Instant> {
        let warning = Some(self.warning_at).filter(|_| !self.is_warned);
        let ends = [self.ends_at, self.at_the_latest(), self.at_the_latest() + FAREWELL_LIMIT];
        warning.into_iter().chain(ends).filter(|at| *at > now).min()
    }
}

impl Call {
    /// Counts a text message. The error is a tool output.
    pub(super) fn count_message(&mut self) -> Result<(), String> {
        let limit = self.settings.usage_limits.messages_per_call;
        let fits = add(&mut self.usage.messages, 1, limit);
        self.refuse_unless(fits, UsageLimit::MessagesPerCall, prompts::TOO_MANY_MESSAGES)
    }

    /// Counts tones. The error is a tool output.
    pub(super) fn count_tones(&mut self, count: u32) -> Result<(), String> {
        let fits = add(&mut self.usage.tones, count, self.settings.usage_limits.tones_per_call);
        self.refuse_unless(fits, UsageLimit::TonesPerCall, prompts::TOO_MANY_TONES)
    }

    /// Counts how often a recording is played. The error is a tool output.
    pub(super) fn count_recordings(&mut self, times: u16) -> Result<(), String> {
        let fits = add(&mut self.usage.recordings, times.into(), self.settings.usage_limits.recordings_per_call);
        self.refuse_unless(fits, UsageLimit::RecordingsPerCall, prompts::TOO_MANY_RECORDINGS)
    }

    fn refuse_unless(&mut self, fits: bool, limit: UsageLimit, refusal: &str) -> Result<(), String> {
        if fits {
            return Ok(());
        }
        self.emit(Action::ReportLimit(limit));
        Err(prompts::refusal(refusal))
    }

    /// When the length of the call needs a tick.
    pub(super) fn length_deadline(&self) -> Option<Instant> {
        self.usage.end.as_ref()?.next_after(self.now)
    }

    /// Tells the caller that the call ends soon, and ends it. An open payment is not cut in the middle: the call goes
    /// on until it has ended, for [`PAYMENT_GRACE`] at most. Returns whether the call was ended like a hang-up.
    pub(super) fn check_length(&mut self) -> bool {
        let Some(times) = self.usage.end else { return false };
        if self.now >= times.at_the_latest() + FAREWELL_LIMIT && self.phase.is_in_progress() {
            self.ending.reason.get_or_insert(TIME_LIMIT);
            self.handle_hang_up();
            return true;
        }
        if !self.phase.is_live() {
            return false;
        }
        let is_busy =
            self.turn.is_busy() || self.turn.is_response_owed() || self.payments.is_open() || self.has_open_question();
        if self.now >= times.at_the_latest() || self.now >= times.ends_at && !is_busy {
            self.end_at_limit();
        } else if self.now >= times.warning_at && self.now < times.ends_at && !times.is_warned && !is_busy {
            if let Some(times) = &mut self.usage.end {
                times.is_warned = true;
            }
            self.announce(|messages| &messages.call_ends_soon);
        }
        false
    }

    fn end_at_limit(&mut self) {
        self.emit(Action::ReportLimit(UsageLimit::CallLength));
        self.announce_end(TIME_LIMIT, |messages| &messages.time_is_up);
    }

    /// Ends a call that an answering machine or a fax has taken: it hears one sentence, and no agent.
    pub(super) fn end_for_machine(&mut self) {
        if self.phase.is_in_progress() && !std::mem::replace(&mut self.usage.is_machine, true) {
            self.announce_end(ANSWERING_MACHINE, |messages| &messages.machine);
        }
    }

    /// Stops what goes on, says a last sentence, and ends the call for good.
    fn announce_end(&mut self, reason: &'static str, text: fn(&super::CallMessages) -> &super::LocalizedMessage) {
        self.waive_notices();
        self.stop_turn(prompts::CALL_IS_OVER);
        self.close_talk_cycle();
        self.turn.waive_response();
        self.drop_question();
        self.guided_flow.stop();
        self.announce(text);
        self.begin_closing(CallEnding { reason: Some(reason), ..CallEnding::default() }, true);
        self.make_closing_final();
    }

    /// Says a sentence of the server that the caller cannot interrupt, in the language of the call.
    fn announce(&mut self, text: fn(&super::CallMessages) -> &super::LocalizedMessage) {
        if !self.listen_only {
            let text = text(&self.settings.messages).in_language(self.language()).to_owned();
            self.send_utterance(&text, OutgoingFrame::statement(&text));
        }
    }
}

/// The reason of `call.ended`.
const TIME_LIMIT: &str = "time-limit";

/// The reason of `call.ended`.
const ANSWERING_MACHINE: &str = "answering-machine";

/// Adds to a count unless it would exceed the limit; returns whether it was added.
fn add(count: &mut u32, more: u32, limit: Option<u32>) -> bool {
    let sum = count.saturating_add(more);
    let fits = limit.is_none_or(|limit| sum <= limit);
    if fits {
        *count = sum;
    }
    fits
}
