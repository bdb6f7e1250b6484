//! Wakes all who wait, in the order in which they began to wait, so that a seed of a simulation
//! replays: tokio's watch channel wakes in an order that differs from run to run.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// A number that others wait to change. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    value: AtomicU64,
    waiting: Notify,
}

impl Bell {
    /// Sets the number and wakes whoever has seen another.
    pub(crate) fn ring(&self, value: u64) {
        if self.0.value.swap(value, Ordering::SeqCst) != value {
            self.0.waiting.notify_waiters();
        }
    }

    /// Changes the number.
    pub(crate) fn ring_on(&self) {
        self.0.value.fetch_add(1, Ordering::SeqCst);
        self.0.waiting.notify_waiters();
    }

    /// Waits for changes from now on.
    pub(crate) fn listen(&self) -> Listener {
        Listener {
            seen: self.0.value.load(Ordering::SeqCst),
            bell: self.clone(),
        }
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct Listener {
    bell: Bell,
    seen: u64,
}

impl Listener {
    /// Takes the number as seen.
    pub(crate) fn look(&mut self) {
        self.seen = self.bell.0.value.load(Ordering::SeqCst);
    }

    /// Waits until the number is another than the last one seen.
    pub(crate) async fn changed(&mut self) {
        let inner = &self.bell.0;
        loop {
            let mut rung = pin!(inner.waiting.notified());
            // What changes between the look and the wait wakes too.
            rung.as_mut().enable();
            let now = inner.value.load(Ordering::SeqCst);
            if now != self.seen {
                self.seen = now;
                return;
            }
            rung.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_change_is_seen_once_and_never_missed() {
        let bell = Bell::default();
        let mut listener = bell.listen();
        assert!(listener.changed().now_or_never().is_none());
        bell.ring(7);
        assert!(listener.changed().now_or_never().is_some());
        assert!(listener.changed().now_or_never().is_none());
        bell.ring(7);
        assert!(listener.changed().now_or_never().is_none());
        bell.ring_on();
        assert!(listener.changed().now_or_never().is_some());
    }
}
