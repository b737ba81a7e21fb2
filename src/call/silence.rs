//! Silence detection: reminders for a silent caller, then the end of the call.

use std::time::{Duration, Instant};

use super::settings::SilenceSettings;

/// Measures how long the call has been quiet and counts the reminders given.
pub(super) struct SilenceTimer {
    /// Whether silence detection is on.
    enabled: bool,
    /// When the call became quiet; `None` while there is activity.
    quiet_since: Option<Instant>,
    /// When there was last activity.
    last_activity: Instant,
    reminders_given: usize,
}

/// What to do about a silence that reached the threshold.
pub(super) enum SilenceAction {
    /// Say this reminder.
    Reminder(String),
    /// End the call: all reminders were given.
    EndCall,
}

impl SilenceTimer {
    pub(super) fn new(settings: &SilenceSettings, now: Instant) -> Self {
        Self { enabled: settings.enabled, quiet_since: None, last_activity: now, reminders_given: 0 }
    }

    /// Turns silence detection on or off; the reminders start from the first again.
    pub(super) fn set_enabled(&mut self, enabled: bool, now: Instant) {
        self.enabled = enabled;
        self.reset(now);
    }

    /// Whether silence detection is on.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Records activity: speech, a model response, a running tool or an open payment.
    pub(super) fn record_activity(&mut self, now: Instant) {
        self.quiet_since = None;
        self.last_activity = now;
    }

    /// Records input of the caller: the reminders start from the first again.
    pub(super) fn reset(&mut self, now: Instant) {
        self.record_activity(now);
        self.reminders_given = 0;
    }

    /// Records that there is no activity, and that the agent has been quiet since `agent_quiet`.
    pub(super) fn record_quiet(&mut self, agent_quiet: Instant) {
        self.quiet_since.get_or_insert(agent_quiet.max(self.last_activity));
    }

    /// When the next reminder is due, while silence detection is on.
    pub(super) fn deadline(&self, threshold: Duration) -> Option<Instant> {
        self.quiet_since.filter(|_| self.enabled).map(|since| since + threshold)
    }

    /// Returns the action that is due at `now`, and starts the next interval.
    pub(super) fn take_due(&mut self, settings: &SilenceSettings, now: Instant) -> Option<SilenceAction> {
        self.deadline(settings.threshold).filter(|due| *due <= now)?;
        self.quiet_since = None;
        let reminder = settings.reminders.get(self.reminders_given).cloned();
        self.reminders_given += 1;
        Some(reminder.map_or(SilenceAction::EndCall, SilenceAction::Reminder))
    }
}
