//! Watching for a silent caller.

use std::time::{Duration, Instant};

use super::settings::Silence;

/// The watch: on or off, and since when nobody has said anything.
pub(super) struct Watch {
    /// Whether reminders are given.
    pub(super) enabled: bool,
    /// Since when everything is quiet; `None` while something goes on.
    quiet_since: Option<Instant>,
    /// When something last went on.
    stirred: Instant,
    reminders: usize,
}

/// What it is time for.
pub(super) enum Due {
    /// A reminder.
    Reminder(String),
    /// The end of the call: all reminders were given.
    End,
}

impl Watch {
    pub(super) fn new(settings: &Silence, now: Instant) -> Self {
        Self { enabled: settings.enabled, quiet_since: None, stirred: now, reminders: 0 }
    }

    /// Something goes on: talk, thinking, a tool, a payment.
    pub(super) fn stir(&mut self, now: Instant) {
        self.quiet_since = None;
        self.stirred = now;
    }

    /// The caller is there: reminders begin anew.
    pub(super) fn reset(&mut self, now: Instant) {
        self.stir(now);
        self.reminders = 0;
    }

    /// Nothing goes on; the agent has been quiet since `agent_quiet`.
    pub(super) fn quiet(&mut self, agent_quiet: Instant) {
        self.quiet_since.get_or_insert(agent_quiet.max(self.stirred));
    }

    /// When the next reminder is due.
    pub(super) fn due_at(&self, threshold: Duration) -> Option<Instant> {
        self.quiet_since.filter(|_| self.enabled).map(|since| since + threshold)
    }

    /// What is due now, if anything is.
    pub(super) fn due(&mut self, settings: &Silence, now: Instant) -> Option<Due> {
        self.due_at(settings.threshold).filter(|due| *due <= now)?;
        self.quiet_since = None;
        let reminder = settings.messages.get(self.reminders).cloned();
        self.reminders += 1;
        Some(reminder.map_or(Due::End, Due::Reminder))
    }
}
