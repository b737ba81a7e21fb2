//! What a caller has to hear: that the agent is a machine (`Compliance.disclosure`), then that the call is recorded
//! (`Recording.announcement`).
//!
//! The greeting may contain both, and Twilio speaks the greeting. What the greeting lacks, or was cut off before the caller has
//! heard it, the server says, whole, before anything else. What is recorded is that the caller has heard it.

use std::time::Instant;

use super::speech::count_non_whitespace;
use super::{Call, CallSettings, ConversationItem};
use crate::payment::{NoticeKind, PaymentLogEntry, PriorPayments, SpokenStatement};
use crate::relay::OutgoingFrame;

/// The kinds of notices, in the order in which they are said.
const KINDS: [NoticeKind; 2] = [NoticeKind::Disclosure, NoticeKind::Recording];

/// The notices of a call.
#[derive(Debug)]
pub(super) struct Notices {
    disclosure: Notice,
    recording: Notice,
}

/// Whether the caller has heard a notice.
#[derive(Debug)]
enum Notice {
    /// It is switched off, or nobody is there who has to hear it.
    NotRequired,
    /// The server has to say it before anything else.
    Owed,
    /// It is being spoken, in the greeting or by the server.
    Spoken(SpokenNotice),
    /// The caller has heard it.
    Heard,
}

/// A notice that was sent and that the caller has not heard yet, as far as it is known.
#[derive(Debug)]
struct SpokenNotice {
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

impl Notice {
    fn new(is_required: bool, is_heard: bool) -> Self {
        match (is_heard, is_required) {
            (true, _) => Self::Heard,
            (false, true) => Self::Owed,
            (false, false) => Self::NotRequired,
        }
    }

    fn spoken(&self) -> Option<&SpokenNotice> {
        if let Self::Spoken(spoken) = self { Some(spoken) } else { None }
    }

    fn is_owed(&self) -> bool {
        matches!(self, Self::Owed)
    }
}

impl Notices {
    /// The notices at the beginning of a call. Where nothing can be recorded, nothing is announced.
    pub(super) fn new(settings: &CallSettings, known: &PriorPayments) -> Self {
        let records = settings.recording.is_some() && settings.has_telephone;
        Self {
            disclosure: Notice::new(settings.disclosure.is_some(), known.is_disclosed),
            recording: Notice::new(records, known.recording.is_announced),
        }
    }

    /// Whether the caller has heard a notice.
    pub(super) fn is_heard(&self, kind: NoticeKind) -> bool {
        matches!(self.of(kind), Notice::Heard)
    }

    /// When a notice that is being spoken may have been heard.
    pub(super) fn earliest_end(&self) -> Option<Instant> {
        self.all().filter_map(Notice::spoken).map(|spoken| spoken.earliest_end).min()
    }

    fn of(&self, kind: NoticeKind) -> &Notice {
        match kind {
            NoticeKind::Disclosure => &self.disclosure,
            NoticeKind::Recording => &self.recording,
        }
    }

    fn of_mut(&mut self, kind: NoticeKind) -> &mut Notice {
        match kind {
            NoticeKind::Disclosure => &mut self.disclosure,
            NoticeKind::Recording => &mut self.recording,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Notice> {
        KINDS.into_iter().map(|kind| self.of(kind))
    }
}

impl Call {
    /// Whether the server has to say a notice before anything else. In listen mode nothing is said.
    pub(super) fn is_notice_owed(&self) -> bool {
        self.notices.all().any(Notice::is_owed) && !self.listen_only
    }

    /// Whether it is not known yet that the caller has heard a notice.
    pub(super) fn is_notice_pending(&self) -> bool {
        self.is_notice_owed() || self.notices.all().any(|notice| notice.spoken().is_some())
    }

    /// Drops the notices: a machine has taken the call, or only last words follow.
    pub(super) fn waive_notices(&mut self) {
        for kind in KINDS {
            if !self.notices.is_heard(kind) {
                *self.notices.of_mut(kind) = Notice::NotRequired;
            }
        }
    }

    /// Records that another server has said the disclosure, and the caller has heard it.
    pub(super) fn restore_disclosure(&mut self, is_heard: bool) {
        if is_heard {
            self.notices.disclosure = Notice::Heard;
        }
    }

    /// Does not announce a recording that was begun before.
    pub(super) fn waive_announcement(&mut self) {
        self.notices.recording = Notice::Heard;
    }

    /// Looks for the notices in the greeting at `position`, which Twilio begins to speak now.
    pub(super) fn find_notices(&mut self, greeting: &str, position: usize) {
        for kind in KINDS {
            let is_owed = self.notices.of(kind).is_owed();
            let Some(statement) = self.notice_text(kind).filter(|_| is_owed) else { continue };
            if let Some(at) = greeting.find(&statement.text) {
                let heard = &greeting[..at + statement.text.len()];
                self.begin_notice(kind, statement, position, heard, true);
            }
        }
    }

    /// Records the notices as heard that are, and says those that are due: nobody speaks, and nobody is expected to. A chat
    /// begins its first reply with them.
    pub(super) fn check_notices(&mut self) {
        self.note_quiet();
        let is_due = self.is_notice_owed()
            && !self.phase.is_parked()
            && !self.turn.is_held(self.now)
            && !self.is_caller_speaking()
            && (self.settings.has_telephone || self.turn.is_response_owed());
        if is_due {
            self.say_notices();
        }
    }

    /// Says the notices that the server owes. Nobody can interrupt them.
    pub(super) fn say_notices(&mut self) {
        let is_speaking = self.speech.quiet_from(self.now).is_some_and(|quiet| quiet > self.now);
        for kind in KINDS {
            if self.notices.of(kind).is_owed() && !self.listen_only {
                self.say_notice(kind, is_speaking);
            }
        }
    }

    fn say_notice(&mut self, kind: NoticeKind, is_speaking: bool) {
        let Some(statement) = self.notice_text(kind) else { return };
        let text = statement.text.clone();
        let language = self.settings.other_language(&statement.language, self.language());
        let position = self.history.push(ConversationItem::Agent(text.as_str().into()));
        self.begin_notice(kind, statement, position, &text, is_speaking);
        self.send_at(position, &text, OutgoingFrame::statement(&text).in_language(language));
        if !self.settings.has_telephone {
            self.record_notice(kind);
        }
    }

    /// How many characters of the item with a notice Twilio has reported as played, if that item is awaited.
    fn notice_progress(&self, kind: NoticeKind) -> Option<usize> {
        self.speech.played_characters(self.notices.of(kind).spoken()?.position)
    }

    /// Applies a `tokensPlayed` event. A notice is heard once all of its words were played.
    pub(super) fn record_played(&mut self, clause: &str) {
        let awaited = KINDS.map(|kind| (kind, self.notice_progress(kind).is_some()));
        self.speech.record_played(clause, &mut self.history);
        for (kind, was_awaited) in awaited {
            let Some(characters) = self.notices.of(kind).spoken().map(|spoken| spoken.characters) else { continue };
            // An utterance that was played whole is not awaited any more once another one follows.
            if self.notice_progress(kind).map_or(was_awaited, |played| played >= characters) {
                self.record_notice(kind);
            }
        }
    }

    /// Applies an interrupt: what the history has kept of a notice is what the caller has heard. `is_known` says that the
    /// interrupted words are those of the history.
    pub(super) fn interrupt_notices(&mut self, is_known: bool) {
        for kind in KINDS {
            let Some(spoken) = self.notices.of(kind).spoken() else { continue };
            let kept = self.history.agent_text(spoken.position).map_or(0, count_non_whitespace);
            if is_known && kept >= spoken.characters {
                self.record_notice(kind);
            } else if spoken.can_be_cut {
                *self.notices.of_mut(kind) = Notice::Owed;
            }
        }
    }

    /// Decides about notices whose end nobody reports any more, since the socket is lost or the caller has hung up.
    pub(super) fn settle_notices(&mut self) {
        for kind in KINDS {
            let Some(spoken) = self.notices.of(kind).spoken() else { continue };
            if !self.speech.reports_played() && spoken.expected_end <= self.now {
                self.record_notice(kind);
            } else {
                *self.notices.of_mut(kind) = Notice::Owed;
            }
        }
    }

    /// Records the notices as heard that nobody has interrupted, if the agent is silent.
    pub(super) fn note_quiet(&mut self) {
        let is_quiet = self.speech.quiet_from(self.now).is_some_and(|quiet| quiet <= self.now);
        for kind in KINDS {
            let Some(spoken) = self.notices.of(kind).spoken() else { continue };
            if is_quiet && spoken.earliest_end <= self.now && !self.phase.is_parked() {
                self.record_notice(kind);
            }
        }
    }

    fn record_notice(&mut self, kind: NoticeKind) {
        if let Notice::Spoken(spoken) = std::mem::replace(self.notices.of_mut(kind), Notice::Heard) {
            self.record(PaymentLogEntry::NoticeHeard(kind, spoken.statement));
        }
    }

    /// Records that a notice is being spoken: `heard` is the text of its item up to its end.
    fn begin_notice(
        &mut self,
        kind: NoticeKind,
        statement: SpokenStatement,
        position: usize,
        heard: &str,
        can_be_cut: bool,
    ) {
        let begins = self.speech.next_sound_at(self.now);
        let takes = super::speech::expected_duration(heard);
        *self.notices.of_mut(kind) = Notice::Spoken(SpokenNotice {
            statement,
            position,
            characters: count_non_whitespace(heard),
            can_be_cut,
            earliest_end: begins + takes / 2,
            expected_end: begins + takes,
        });
    }

    /// A notice in the language of the call.
    fn notice_text(&self, kind: NoticeKind) -> Option<SpokenStatement> {
        let texts = match kind {
            NoticeKind::Disclosure => self.settings.disclosure.as_ref()?,
            NoticeKind::Recording => &self.settings.recording.as_ref()?.announcement,
        };
        texts.find(self.language()).cloned()
    }
}
