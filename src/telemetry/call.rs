//! What a call was made of, in sum.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::cost::Cost;
use super::turn::{TokenUsage, ToolSpan, TurnEnd, TurnRecord};
use super::twilio_work::TwilioWork;
use crate::ids::{CallSid, PaymentSid};
use crate::payment::{Field, PaymentLogEntry, PaymentOutcome};

/// The maximum number of captured fields whose times are kept.
const MAX_FIELDS: usize = 64;

/// The maximum number of payment sessions whose steps are kept, and of steps of each.
const MAX_TIMELINES: usize = 16;
const MAX_STEPS: usize = 64;

/// A call that has ended.
#[derive(Debug, Clone)]
pub(crate) struct CallRecord {
    /// The call.
    pub(crate) call_sid: CallSid,
    /// Whether this server placed it.
    pub(crate) outbound: bool,
    /// When its session began.
    pub(crate) began_at: Timestamp,
    /// How long the session lasted.
    pub(crate) duration: Duration,
    /// How the session ended, a word of a closed set.
    pub(crate) end: &'static str,
    /// Why the call ended, as the webhook reports it; a word of a closed set.
    pub(crate) reason: &'static str,
    /// Whether a person takes over.
    pub(crate) is_handed_off: bool,
    /// What its turns and payments were in sum.
    pub(crate) totals: CallTotals,
}

/// A chat that has ended.
#[derive(Debug, Clone)]
pub(crate) struct ChatRecord {
    /// What identifies it in the place of a call.
    pub(crate) call_sid: CallSid,
    /// When it began.
    pub(crate) began_at: Timestamp,
    /// How long it lasted, with the wait for a next message.
    pub(crate) duration: Duration,
    /// What its turns were in sum.
    pub(crate) totals: CallTotals,
}

/// A tool that finished when no turn of its call was open, or after the call.
#[derive(Debug, Clone)]
pub(crate) struct LateTool {
    /// The call.
    pub(crate) call_sid: CallSid,
    /// When its session began, on the clock of the tool and as a time.
    pub(crate) call_began: (Instant, Timestamp),
    /// The tool.
    pub(crate) tool: ToolSpan,
}

/// What was asked of Twilio for a call by other than its tools.
#[derive(Debug, Clone)]
pub(crate) struct CallWork {
    /// The call.
    pub(crate) call_sid: CallSid,
    /// When it was recorded, on the clock of the attempts and as a time.
    pub(crate) recorded: (Instant, Timestamp),
    /// The attempts.
    pub(crate) work: TwilioWork,
}

/// The sums of a call or a chat.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallTotals {
    /// The turns of the agent.
    pub(crate) turns: u32,
    /// The turns that the caller interrupted.
    pub(crate) interrupted: u32,
    /// The time from requests to the first token of their responses.
    pub(crate) model_time: Duration,
    /// The time in which tools ran.
    pub(crate) tool_time: Duration,
    /// The part of it in which Twilio's REST API was awaited.
    pub(crate) twilio_time: Duration,
    /// The tokens of all responses that were not cut off.
    pub(crate) usage: TokenUsage,
    /// What they cost; `None` without prices.
    pub(crate) cost: Option<Cost>,
    /// How often a new socket took the call over.
    pub(crate) resumes: u32,
    /// The payment sessions that were opened.
    pub(crate) payments: u32,
    /// The entries of the caller that were wrong.
    pub(crate) wrong_entries: u32,
    /// How long the caller took for the fields that were captured, in order; at most [`MAX_FIELDS`].
    pub(crate) field_times: Vec<(Field, Duration)>,
    /// How the last payment ended; `None` if none has.
    pub(crate) payment: Option<PaymentEnd>,
    /// The steps of the payment sessions, in the order in which they were opened; at most [`MAX_TIMELINES`].
    pub(crate) payment_timelines: Vec<PaymentTimeline>,
}

/// The steps of a payment session.
#[derive(Debug, Clone)]
pub(crate) struct PaymentTimeline {
    /// The session.
    pub(crate) sid: PaymentSid,
    /// The steps in order, with the time since the call began. Of more than [`MAX_STEPS`] the last one replaces the one
    /// before it.
    pub(crate) steps: Vec<(Duration, PaymentStep)>,
}

/// A step of a payment session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaymentStep {
    /// The session was opened.
    Opened,
    /// A field was captured.
    Captured(Field),
    /// An entry was wrong.
    WrongEntry(Field),
    /// The payment was submitted to the processor.
    Submitted,
    /// Twilio refused a change, with this error code.
    Refused(u32),
    /// The session makes no progress.
    Stalled,
    /// The session ended, as far as the call knows it.
    Ended(PaymentEnd),
}

/// How a payment ended, as far as the call knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PaymentEnd {
    /// The amount was charged, the debit accepted, or the card stored.
    Succeeded,
    /// The bank declined it.
    Declined,
    /// It failed for a technical reason.
    Failed,
    /// It was cancelled before it was submitted.
    Cancelled,
    /// The call ended, or the session was given up, before it was submitted.
    Abandoned,
    /// It may have been charged.
    Unknown,
}

impl CallTotals {
    /// Adds a turn that has ended.
    pub(crate) fn add_turn(&mut self, turn: &TurnRecord) {
        self.turns += 1;
        self.interrupted += u32::from(turn.end == TurnEnd::Interrupted);
        self.model_time += turn.model_time();
        self.tool_time += turn.tool_time();
        self.twilio_time += turn.twilio_time();
        self.usage = self.usage + turn.usage();
        self.cost = self.cost.into_iter().chain(turn.cost).reduce(|sum, cost| sum + cost);
    }

    /// Keeps how long the caller took for a field.
    pub(crate) fn add_field(&mut self, field: Field, took: Duration) {
        if self.field_times.len() < MAX_FIELDS {
            self.field_times.push((field, took));
        }
    }

    /// Counts a step of a payment, so long after the begin of the call.
    pub(crate) fn count_payment_step(&mut self, entry: &PaymentLogEntry, after: Duration) {
        if let Some((sid, step)) = PaymentStep::of_entry(entry) {
            self.add_payment_step(sid, after, step);
        }
        match entry {
            PaymentLogEntry::Opened { .. } => self.payments += 1,
            PaymentLogEntry::WrongEntry { .. } => self.wrong_entries += 1,
            _ => self.payment = PaymentEnd::of_entry(entry).or(self.payment),
        }
    }

    fn add_payment_step(&mut self, sid: &PaymentSid, after: Duration, step: PaymentStep) {
        let timelines = &mut self.payment_timelines;
        let at = timelines.iter().position(|timeline| timeline.sid == *sid).unwrap_or_else(|| {
            timelines.push(PaymentTimeline { sid: sid.clone(), steps: Vec::new() });
            timelines.len() - 1
        });
        timelines.truncate(MAX_TIMELINES);
        if let Some(timeline) = timelines.get_mut(at) {
            timeline.steps.truncate(MAX_STEPS - 1);
            timeline.steps.push((after, step));
        }
    }
}

impl PaymentStep {
    /// The step that the entry reports, and its session.
    fn of_entry(entry: &PaymentLogEntry) -> Option<(&PaymentSid, Self)> {
        Some(match entry {
            PaymentLogEntry::Opened { sid, .. } => (sid, Self::Opened),
            PaymentLogEntry::Captured { sid, field } => (sid, Self::Captured(*field)),
            PaymentLogEntry::WrongEntry { sid, field, .. } => (sid, Self::WrongEntry(*field)),
            PaymentLogEntry::Submitted { sid } => (sid, Self::Submitted),
            PaymentLogEntry::Refused { sid, code, .. } => (sid, Self::Refused(*code)),
            PaymentLogEntry::Stalled { sid: Some(sid), .. } => (sid, Self::Stalled),
            PaymentLogEntry::Ended { sid, .. }
            | PaymentLogEntry::Abandoned { sid }
            | PaymentLogEntry::CancelUnconfirmed { sid }
            | PaymentLogEntry::Unresolved { sid, .. } => (sid, Self::Ended(PaymentEnd::of_entry(entry)?)),
            PaymentLogEntry::Stalled { sid: None, .. }
            | PaymentLogEntry::ConsentAnswered(_)
            | PaymentLogEntry::NoticeHeard(..)
            | PaymentLogEntry::DueNamed { .. }
            | PaymentLogEntry::DueKept => return None,
        })
    }
}

impl PaymentEnd {
    /// The end that the entry reports, if it does.
    pub(crate) fn of_entry(entry: &PaymentLogEntry) -> Option<Self> {
        match entry {
            PaymentLogEntry::Ended { outcome, .. } => Some(Self::from(*outcome)),
            PaymentLogEntry::Abandoned { .. } => Some(Self::Abandoned),
            PaymentLogEntry::CancelUnconfirmed { .. } | PaymentLogEntry::Unresolved { .. } => Some(Self::Unknown),
            _ => None,
        }
    }

    /// The word in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
        }
    }
}

impl From<PaymentOutcome> for PaymentEnd {
    fn from(outcome: PaymentOutcome) -> Self {
        match outcome {
            PaymentOutcome::Succeeded => Self::Succeeded,
            PaymentOutcome::Declined => Self::Declined,
            PaymentOutcome::Failed => Self::Failed,
            PaymentOutcome::Cancelled => Self::Cancelled,
            PaymentOutcome::Abandoned => Self::Abandoned,
            PaymentOutcome::Unknown(_) => Self::Unknown,
        }
    }
}
