//! The recording of a call by Twilio: what is asked for, how Twilio answers, and what is known of it from before.

use crate::ids::RecordingSid;

/// A step of the recording of a call. Twilio is asked for one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingStep {
    /// To begin it.
    Start,
    /// To pause it before a field is captured.
    Pause,
    /// To go on with it after the payment.
    Resume,
    /// To end it: it cannot be resumed.
    Stop,
}

impl RecordingStep {
    /// All steps.
    pub const ALL: [Self; 4] = [Self::Start, Self::Pause, Self::Resume, Self::Stop];

    /// The name in the ledger and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
        }
    }

    /// The step with this name.
    pub fn from_stored(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == name)
    }
}

/// A request for a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingRequest {
    /// The step.
    pub step: RecordingStep,
    /// The recording. `None` is the one that the call has now, if it has one.
    pub sid: Option<RecordingSid>,
}

/// How the request for a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordingAnswer {
    /// Twilio has confirmed that the recording is in the state that was asked for.
    Done(Option<RecordingSid>),
    /// Nothing was done.
    Refused {
        /// Twilio's error code, if it was asked and gave one.
        code: Option<u32>,
    },
    /// Twilio has no such recording, or the call has ended.
    Gone,
    /// The recording of this call was begun before, perhaps by another server.
    AlreadyBegun,
    /// Twilio did not confirm it: it may have been done, or may still be.
    Unknown,
}

impl RecordingAnswer {
    /// The name in the ledger and in the log.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Refused { .. } => "refused",
            Self::Gone => "gone",
            Self::AlreadyBegun => "already-begun",
            Self::Unknown => "none",
        }
    }

    /// Twilio's error code.
    pub fn code(&self) -> Option<u32> {
        if let Self::Refused { code } = self { *code } else { None }
    }

    /// The recording, if Twilio has named it.
    pub fn sid(&self) -> Option<&RecordingSid> {
        if let Self::Done(sid) = self { sid.as_ref() } else { None }
    }
}

/// How the recording of a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordingStage {
    /// Twilio was never asked to record.
    #[default]
    NotBegun,
    /// It is running.
    Running,
    /// Twilio has confirmed that it is paused.
    Paused,
    /// It may be running.
    Uncertain,
    /// It has ended, or never began, and cannot begin any more.
    Over,
}

impl RecordingStage {
    /// Whether nothing is being recorded, as Twilio has confirmed.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::NotBegun | Self::Paused | Self::Over)
    }

    /// The stage after this step, which ended so.
    #[must_use]
    pub fn after(self, step: RecordingStep, answer: &RecordingAnswer) -> Self {
        match (step, answer) {
            (RecordingStep::Start | RecordingStep::Resume, RecordingAnswer::Done(_)) => Self::Running,
            (RecordingStep::Pause, RecordingAnswer::Done(_)) => Self::Paused,
            (RecordingStep::Stop, RecordingAnswer::Done(_))
            | (RecordingStep::Start, RecordingAnswer::Refused { .. } | RecordingAnswer::Gone) => Self::Over,
            // It stays as it was.
            (RecordingStep::Resume, RecordingAnswer::Gone) | (_, RecordingAnswer::Refused { .. }) => self,
            _ => Self::Uncertain,
        }
    }
}

/// What the ledger knows of the recording of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownRecording {
    /// The caller has heard the announcement.
    pub is_announced: bool,
    /// How it stands.
    pub stage: RecordingStage,
    /// The recording, if Twilio has named it.
    pub sid: Option<RecordingSid>,
}

impl KnownRecording {
    /// Adds a step. Without an answer it was only asked for.
    pub fn record(&mut self, step: RecordingStep, answer: Option<&RecordingAnswer>) {
        self.stage = match answer {
            Some(answer) => self.stage.after(step, answer),
            // Whoever asks to pause a recording that is paused has doubts.
            None => RecordingStage::Uncertain,
        };
        if let Some(sid) = answer.and_then(RecordingAnswer::sid) {
            self.sid = Some(sid.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RecordingAnswer::{AlreadyBegun, Done, Gone, Refused, Unknown};
    use super::RecordingStage::{Over, Paused, Running, Uncertain};
    use super::RecordingStep::{Pause, Resume, Start, Stop};
    use super::*;

    #[test]
    fn only_what_twilio_confirms_is_silent() {
        let refused = Refused { code: None };
        for (from, step, answer, to) in [
            (RecordingStage::NotBegun, Start, &Done(None), Running),
            (RecordingStage::NotBegun, Start, &refused, Over),
            (RecordingStage::NotBegun, Start, &Unknown, Uncertain),
            (RecordingStage::NotBegun, Start, &AlreadyBegun, Uncertain),
            (Running, Pause, &Done(None), Paused),
            (Running, Pause, &refused, Running),
            (Running, Pause, &Gone, Uncertain),
            (Running, Pause, &Unknown, Uncertain),
            (Paused, Resume, &Done(None), Running),
            (Paused, Resume, &refused, Paused),
            (Paused, Resume, &Unknown, Uncertain),
            (Uncertain, Resume, &refused, Uncertain),
            (Uncertain, Stop, &Done(None), Over),
            (Uncertain, Stop, &Gone, Uncertain),
            (Uncertain, Stop, &Unknown, Uncertain),
        ] {
            assert_eq!(from.after(step, answer), to, "{from:?} {step:?} {answer:?}");
        }
    }

    #[test]
    fn a_step_that_was_only_asked_for_is_in_doubt() {
        let mut known = KnownRecording::default();
        assert!(known.stage.is_silent());
        known.record(Start, None);
        assert_eq!(known.stage, Uncertain);
        let sid: RecordingSid = "RE1".parse().unwrap();
        known.record(Start, Some(&Done(Some(sid.clone()))));
        known.record(Pause, Some(&Done(None)));
        assert_eq!((known.stage, known.sid.as_ref()), (Paused, Some(&sid)));
        known.record(Resume, None);
        assert_eq!(known.stage, Uncertain, "it may have been resumed");
    }
}
