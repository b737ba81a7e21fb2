//! The disclosure that the agent is a machine: `Compliance.disclosure`.
//!
//! The greeting contains it, and Twilio speaks the greeting. If the greeting lacks it, or was cut off before the caller has
//! heard it, the server says it, whole, before anything else. What is recorded is that the caller has heard it.

use std::time::Instant;

use super::speech::count_non_whitespace;
use super::{Call, ConversationItem};
use crate::payment::{PaymentLogEntry, SpokenStatement};
use crate::relay::OutgoingFrame;

/// Whether the caller has heard the disclosure.
#[derive(Debug)]
pub(super) enum Disclosure {
    /// It is switched off, or nobody is there who has to hear it.
    NotRequired,
    /// The server has to say it before anything else.
    Owed,
    /// It is being spoken, in the greeting or by the server.
    Spoken(SpokenDisclosure),
    /// The caller has heard it.
    Heard,
}

/// A disclosure that was sent and that the caller has not heard yet, as far as it is known.
#[derive(Debug)]
pub(super) struct SpokenDisclosure {
    statement: SpokenStatement,
    /// The position in the history of the item that contains it.
    position: usize,
    /// How many characters of this item end with it, without whitespace.
    characters: usize,
    /// Whether an interrupt can cut it off: it is in the greeting, or was sent while something else was being spoken. What
    /// the server says into silence nobody can interrupt.
    can_be_cut: bool,
    /// When it may have been spoken at the earliest.
    earliest_end: Instant,
    /// When it has been spoken, as estimated from its length.
    expected_end: Instant,
}

impl Disclosure {
    /// The disclosure at the beginning of a call.
    pub(super) fn new(is_required: bool, is_heard: bool) -> Self {
        match (is_heard, is_required) {
            (true, _) => Self::Heard,
            (false, true) => Self::Owed,
            (false, false) => Self::NotRequired,
        }
    }

    /// Whether the caller has heard it.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self, Self::Heard)
    }

    /// When a disclosure that is being spoken may have been heard.
    pub(super) fn earliest_end(&self) -> Option<Instant> {
        if let Self::Spoken(spoken) = self { Some(spoken.earliest_end) } else { None }
    }
}

impl Call {
    /// Whether the server has to say the disclosure before anything else. In listen mode nothing is said.
    pub(super) fn is_disclosure_owed(&self) -> bool {
        matches!(self.disclosure, Disclosure::Owed) && !self.listen_only
    }

    /// Whether it is not known yet that the caller has heard the disclosure.
    pub(super) fn is_disclosure_pending(&self) -> bool {
        self.is_disclosure_owed() || matches!(self.disclosure, Disclosure::Spoken(_))
    }

    /// Drops the disclosure: a machine has taken the call, or only last words follow.
    pub(super) fn waive_disclosure(&mut self) {
        if !self.disclosure.is_heard() {
            self.disclosure = Disclosure::NotRequired;
        }
    }

    /// Records that another server has said the disclosure, and the caller has heard it.
    pub(super) fn restore_disclosure(&mut self, is_heard: bool) {
        if is_heard {
            self.disclosure = Disclosure::Heard;
        }
    }

    /// Looks for the disclosure in the greeting at `position`, which Twilio begins to speak now.
    pub(super) fn find_disclosure(&mut self, greeting: &str, position: usize) {
        let is_owed = matches!(self.disclosure, Disclosure::Owed);
        let Some(statement) = self.disclosure_text().filter(|_| is_owed) else { return };
        if let Some(at) = greeting.find(&statement.text) {
            let heard = &greeting[..at + statement.text.len()];
            self.begin_disclosure(statement, position, heard, true);
        }
    }

    /// Records the disclosure as heard if it is, and says it if that is due: nobody speaks, and nobody is expected to. A chat
    /// begins its first reply with it.
    pub(super) fn check_disclosure(&mut self) {
        self.note_disclosure_quiet();
        let is_due = self.is_disclosure_owed()
            && !self.phase.is_parked()
            && !self.turn.is_held(self.now)
            && !self.is_caller_speaking()
            && (self.settings.has_telephone || self.turn.is_response_owed());
        if is_due {
            self.say_disclosure();
        }
    }

    /// Says the disclosure if the server owes it. Nobody can interrupt it.
    pub(super) fn say_disclosure(&mut self) {
        if !self.is_disclosure_owed() {
            return;
        }
        let Some(statement) = self.disclosure_text() else { return };
        let is_speaking = self.speech.quiet_from(self.now).is_some_and(|quiet| quiet > self.now);
        let text = statement.text.clone();
        let language = self.settings.other_language(&statement.language, self.language());
        let position = self.history.push(ConversationItem::Agent(text.as_str().into()));
        self.begin_disclosure(statement, position, &text, is_speaking);
        self.send_at(position, &text, OutgoingFrame::statement(&text).in_language(language));
        if !self.settings.has_telephone {
            self.record_disclosure();
        }
    }

    /// How many characters of the item with the disclosure Twilio has reported as played, if that item is awaited.
    fn disclosure_progress(&self) -> Option<usize> {
        let Disclosure::Spoken(spoken) = &self.disclosure else { return None };
        self.speech.played_characters(spoken.position)
    }

    /// Applies a `tokensPlayed` event. The disclosure is heard once all of its words were played.
    pub(super) fn record_played(&mut self, clause: &str) {
        let was_awaited = self.disclosure_progress().is_some();
        self.speech.record_played(clause, &mut self.history);
        let Disclosure::Spoken(spoken) = &self.disclosure else { return };
        // An utterance that was played whole is not awaited any more once another one follows.
        if self.disclosure_progress().map_or(was_awaited, |played| played >= spoken.characters) {
            self.record_disclosure();
        }
    }

    /// Applies an interrupt: what the history has kept of the disclosure is what the caller has heard. `is_known` says that
    /// the interrupted words are those of the history.
    pub(super) fn interrupt_disclosure(&mut self, is_known: bool) {
        let Disclosure::Spoken(spoken) = &self.disclosure else { return };
        let kept = self.history.agent_text(spoken.position).map_or(0, count_non_whitespace);
        if is_known && kept >= spoken.characters {
            self.record_disclosure();
        } else if spoken.can_be_cut {
            self.disclosure = Disclosure::Owed;
        }
    }

    /// Decides about a disclosure whose end nobody reports any more, since the socket is lost or the caller has hung up.
    pub(super) fn settle_disclosure(&mut self) {
        let Disclosure::Spoken(spoken) = &self.disclosure else { return };
        if !self.speech.reports_played() && spoken.expected_end <= self.now {
            self.record_disclosure();
        } else {
            self.disclosure = Disclosure::Owed;
        }
    }

    /// Records the disclosure as heard if nobody has interrupted it and the agent is silent.
    pub(super) fn note_disclosure_quiet(&mut self) {
        let Disclosure::Spoken(spoken) = &self.disclosure else { return };
        let is_quiet = self.speech.quiet_from(self.now).is_some_and(|quiet| quiet <= self.now);
        if is_quiet && spoken.earliest_end <= self.now && !self.phase.is_parked() {
            self.record_disclosure();
        }
    }

    fn record_disclosure(&mut self) {
        if let Disclosure::Spoken(spoken) = std::mem::replace(&mut self.disclosure, Disclosure::Heard) {
            self.record(PaymentLogEntry::Disclosed(spoken.statement));
        }
    }

    /// Records that the disclosure is being spoken: `heard` is the text of its item up to its end.
    fn begin_disclosure(&mut self, statement: SpokenStatement, position: usize, heard: &str, can_be_cut: bool) {
        let begins = self.speech.next_sound_at(self.now);
        let takes = super::speech::expected_duration(heard);
        self.disclosure = Disclosure::Spoken(SpokenDisclosure {
            statement,
            position,
            characters: count_non_whitespace(heard),
            can_be_cut,
            earliest_end: begins + takes / 2,
            expected_end: begins + takes,
        });
    }

    /// The disclosure in the language of the call.
    fn disclosure_text(&self) -> Option<SpokenStatement> {
        self.settings.disclosure.as_ref()?.find(self.language()).cloned()
    }
}
