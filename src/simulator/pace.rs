//! The accelerated clock: how long a second of the call takes here.

use std::time::Duration;

use tokio::time::Instant;

/// By how much speech, pauses and key presses are shortened. The server's own clock is left alone.
#[derive(Debug, Clone, Copy)]
pub struct Pace(f64);

impl Pace {
    /// As fast as a test may run: a call of a minute takes less than a second.
    pub const FAST: Self = Self(80.0);
    /// Pleasant to watch.
    pub const WATCH: Self = Self(14.0);
    /// For a person at the keyboard, or a real model that needs its time.
    pub const LIVE: Self = Self(3.0);

    /// How long `span` of the call takes here.
    pub fn real(self, span: Duration) -> Duration {
        span.div_f64(self.0)
    }

    /// How much of the call passes in `span` here.
    pub fn of_call(self, span: Duration) -> Duration {
        span.mul_f64(self.0)
    }

    /// Lets `span` of the call pass.
    pub async fn pass(self, span: Duration) {
        tokio::time::sleep(self.real(span)).await;
    }

    /// The moment at which `span` of the call will have passed since `from`.
    pub fn after(self, from: Instant, span: Duration) -> Instant {
        from + self.real(span)
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×", self.0)
    }
}
