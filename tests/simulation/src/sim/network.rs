//! A network on which requests for different things never arrive at once.
//!
//! Libraries poll what is ready at one moment in the order of a `HashMap`, which differs from run to
//! run. So that a seed replays, each request arrives after a time that follows from what it asks for
//! and when: one a millisecond, in an order that does not depend on who asked first. Requests for the
//! same thing, made at one moment, arrive together: it makes no difference which is which.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatewright_seams::Clock;
use tokio::sync::{Notify, oneshot};

/// The longest way, in milliseconds.
const LONGEST: u64 = 25;

/// Clones are the same.
#[derive(Clone)]
pub(super) struct Network {
    clock: Clock,
    seed: u64,
    waiting: Arc<Mutex<Waiting>>,
    changed: Arc<Notify>,
}

/// Who waits, by the millisecond of arrival and what is asked for.
type Waiting = BTreeMap<(u64, String), Vec<oneshot::Sender<()>>>;

impl Network {
    pub(super) fn new(clock: Clock, seed: u64) -> Self {
        Self {
            clock,
            seed,
            waiting: Arc::default(),
            changed: Arc::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until the request for `what` arrives.
    pub(super) async fn arrive(&self, what: &str) {
        let (release, released) = oneshot::channel();
        let now = self.now();
        let due = now + 1 + mix(self.seed, what, now) % LONGEST;
        let place = (due, what.to_owned());
        self.waiting().entry(place).or_default().push(release);
        self.changed.notify_one();
        // The network ends with the world.
        drop(released.await);
    }

    /// Lets requests arrive, until dropped.
    pub(super) async fn run(self) {
        loop {
            let first = self.waiting().first_key_value().map(|(key, _)| key.0);
            let Some(due) = first else {
                self.changed.notified().await;
                continue;
            };
            let left = due.saturating_sub(self.now());
            if left > 0 {
                let wait = Duration::from_millis(left);
                // An earlier one may come meanwhile; an error is the time that has come.
                drop(self.clock.timeout(wait, self.changed.notified()).await);
                continue;
            }
            let next = self.waiting().pop_first();
            for release in next.into_iter().flat_map(|(_, all)| all) {
                // An error is that who asked is dead.
                let _dead = release.send(());
            }
            self.clock.sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A number that follows from all three (FNV-1a).
fn mix(seed: u64, what: &str, now: u64) -> u64 {
    let bytes = seed.to_le_bytes().into_iter();
    let bytes = bytes.chain(what.bytes()).chain(now.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
