#![expect(
    clippy::disallowed_methods,
    reason = "this is the one home of the direct calls"
)]

use std::future::Future;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, error::Elapsed};

/// Wall time and timers.
///
/// Wall time is a fixed start plus what tokio's clock has measured since, so under a paused tokio
/// clock both move together and only when the test says so. A system clock that jumps does not
/// move it: the daemon re-reads it by starting a new `Clock` at process start only.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    since: Instant,
}

impl Clock {
    /// A clock that starts at the machine's wall time.
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that reads `wall` now and runs with tokio's clock from there.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self {
            wall,
            since: Instant::now(),
        }
    }

    /// Wall time, UTC.
    pub fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        self.wall.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// Monotonic time since the clock was made.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until wall time `at`; returns at once when it has passed.
    pub async fn sleep_until(&self, at: Timestamp) {
        let left = at.duration_since(self.now());
        if let Ok(left) = Duration::try_from(left) {
            self.sleep(left).await;
        }
    }

    /// Runs `future` for at most `limit`.
    ///
    /// # Errors
    /// `Elapsed` when the limit passed first; the future is dropped.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(limit, future).await
    }
}
