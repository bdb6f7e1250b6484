#![expect(
    clippy::disallowed_methods,
    reason = "this is the one home of the direct calls"
)]

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a task that was asked to stop returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

/// A group of tasks that live and end together.
///
/// A task that panics ends the whole group: [`Tasks::failed`] returns its name, and the owner ends
/// the process with it.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancel: CancellationToken,
    died: Arc<Mutex<Option<&'static str>>>,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// A group that is cancelled with this one, and can be cancelled and waited for alone.
    pub fn child(&self) -> Self {
        Self {
            tracker: TaskTracker::new(),
            cancel: self.cancel.child_token(),
            died: self.died.clone(),
        }
    }

    /// Starts `future`. It is dropped at its next await once the group is cancelled.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cancel = self.cancel.clone();
        self.spawn_graceful(name, async move {
            cancel.run_until_cancelled_owned(future).await;
        });
    }

    /// Starts `future`, which watches [`Tasks::cancelled`] itself and ends in its own time.
    pub fn spawn_graceful<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.tracker.spawn(future);
        let (cancel, died) = (self.cancel.clone(), self.died.clone());
        // The watcher only outlives the task by one poll, so it needs no tracking of its own.
        drop(tokio::spawn(async move {
            if handle.await.is_err_and(|error| error.is_panic()) {
                tracing::error!(task = name, "task died");
                died.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(name);
                cancel.cancel();
            }
        }));
    }

    /// Ends when the group is cancelled.
    pub async fn cancelled(&self) -> Cancelled {
        self.cancel.cancelled().await;
        Cancelled
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Runs `future` unless the group is cancelled first.
    ///
    /// # Errors
    /// [`Cancelled`] when the group was cancelled; the future is dropped.
    pub async fn until_cancelled<F: Future>(&self, future: F) -> Result<F::Output, Cancelled> {
        self.cancel
            .run_until_cancelled(future)
            .await
            .ok_or(Cancelled)
    }

    /// Asks every task to stop, without waiting.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Asks every task to stop and waits for them, at most `limit`. False when some were still running.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.cancel.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_ok()
    }

    /// The name of the first task that panicked, if one did.
    pub fn failed(&self) -> Option<&'static str> {
        *self.died.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_dies_cancels_its_group() {
        let tasks = Tasks::new();
        tasks.spawn("doomed", async { panic!("boom") });
        tasks.cancelled().await;
        assert_eq!(tasks.failed(), Some("doomed"));
    }

    #[tokio::test(start_paused = true)]
    async fn stop_waits_for_tasks_and_gives_up_at_the_limit() {
        let tasks = Tasks::new();
        tasks.spawn("idle", std::future::pending());
        assert!(tasks.stop(Duration::from_secs(1)).await);
        let stubborn = Tasks::new();
        stubborn.spawn_graceful("stubborn", std::future::pending());
        assert!(!stubborn.stop(Duration::from_secs(1)).await);
    }
}
