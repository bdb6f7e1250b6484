//! What came of attempts and could not be written.
//!
//! An API server that does not answer is no reason to throw away what an authority counts, nor to
//! forget that the next attempt has to wait. In memory alone: a daemon that dies meanwhile knows what
//! the objects say.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatewright_crds::cert_manager::Certificate;
use kube::ResourceExt;

use super::failed::Failed;
use super::material::Material;

/// How long a Secret that could not be written is left alone.
const PAUSE: Duration = Duration::from_mins(1);
/// How long something is kept. The Certificate may be gone, which nobody tells us.
const KEPT: Duration = Duration::from_hours(24);

/// By the UID of the Certificate.
#[derive(Default)]
pub(super) struct Unwritten(Mutex<BTreeMap<String, Kept>>);

struct Kept {
    /// Of the spec that it was asked for by.
    generation: Option<i64>,
    what: What,
    since: Duration,
}

enum What {
    Certificate(Material),
    Failure(Failed),
}

/// What is to be done about it.
pub(super) enum Next {
    /// Nothing for so long.
    Wait(Duration),
    Store(Material),
    Tell(Failed),
}

impl Unwritten {
    fn kept(&self, now: Duration) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| now.saturating_sub(kept.since) < KEPT);
        kept
    }

    /// The Secret of `certificate` could not be written at `now` on the clock.
    pub(super) fn keep(&self, certificate: &Certificate, material: Material, now: Duration) {
        let kept = Kept {
            generation: certificate.metadata.generation,
            what: What::Certificate(material),
            since: now,
        };
        let key = certificate.uid().unwrap_or_default();
        self.kept(now).insert(key, kept);
    }

    /// That an attempt failed could not be told. What it got comes before that.
    pub(super) fn untold(&self, certificate: &Certificate, failed: Failed, now: Duration) {
        let kept = Kept {
            generation: certificate.metadata.generation,
            what: What::Failure(failed),
            since: now,
        };
        let key = certificate.uid().unwrap_or_default();
        self.kept(now).entry(key).or_insert(kept);
    }

    /// `certificate` has what it wants.
    pub(super) fn forget(&self, certificate: &Certificate) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(&certificate.uid().unwrap_or_default());
    }

    /// What is to be done first for `certificate`; none where nothing was left, or it was for another
    /// spec. What is given is not kept any more.
    pub(super) fn next(&self, certificate: &Certificate, now: Duration) -> Option<Next> {
        let key = certificate.uid().unwrap_or_default();
        let mut all = self.kept(now);
        let kept = all.get(&key)?;
        if kept.generation == certificate.metadata.generation
            && let (What::Certificate(_), Some(left)) =
                (&kept.what, (kept.since + PAUSE).checked_sub(now))
            && !left.is_zero()
        {
            return Some(Next::Wait(left));
        }
        let kept = all.remove(&key)?;
        if kept.generation != certificate.metadata.generation {
            return None;
        }
        Some(match kept.what {
            What::Certificate(material) => Next::Store(material),
            What::Failure(failed) => Next::Tell(failed),
        })
    }
}
