//! The accelerated clock of the simulated calls.

use std::time::Duration;

use tokio::time::Instant;

/// The factor by which speech, pauses and key presses are shortened. The server's clock is not changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace(f64);

impl Pace {
    /// For tests: a call of a minute takes less than a second.
    pub(super) const FAST: Self = Self(80.0);
    /// For watching.
    pub(super) const WATCH: Self = Self(14.0);
    /// For a person at the terminal or a real model.
    pub(super) const LIVE: Self = Self(3.0);

    /// Converts simulated time to real time.
    pub(super) fn to_real(self, span: Duration) -> Duration {
        span.div_f64(self.0)
    }

    /// Converts real time to simulated time.
    pub(super) fn to_simulated(self, span: Duration) -> Duration {
        span.mul_f64(self.0)
    }

    /// Sleeps for `span` of simulated time.
    pub(super) async fn sleep(self, span: Duration) {
        tokio::time::sleep(self.to_real(span)).await;
    }

    /// The instant `span` of simulated time after `from`.
    pub(super) fn deadline(self, from: Instant, span: Duration) -> Instant {
        from + self.to_real(span)
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×", self.0)
    }
}
