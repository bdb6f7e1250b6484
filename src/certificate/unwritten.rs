//! What came of attempts and could not be written.
//!
//! An API server that does not answer is no reason to throw away what an authority counts, nor to
//! forget that the next attempt has to wait. In memory alone: a daemon that dies meanwhile knows what
//! the objects say. It outlives the terms of a replica: who cannot reach the API server loses the Lease.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatewright_crds::cert_manager::Certificate;
use kube::ResourceExt;

use super::failed::Failed;
use super::material::Material;

/// How long a Secret that could not be written is left alone.
const PAUSE: Duration = Duration::from_mins(1);
/// How long something is kept. The Certificate may be gone, which nobody tells us.
const KEPT: Duration = Duration::from_hours(24);

/// By the UID of the Certificate. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Unwritten(Arc<Mutex<BTreeMap<String, Kept>>>);

#[derive(Debug)]
struct Kept {
    /// Of the spec that it was asked for by.
    generation: Option<i64>,
    what: What,
    since: Duration,
}

#[derive(Debug)]
enum What {
    Certificate(Material),
    Failure(Failed),
}

/// What is to be done about it.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing for so long.
    Wait(Duration),
    Store(Material),
    Tell(Failed),
}

fn entry(certificate: &Certificate, what: What, since: Duration) -> (String, Kept) {
    let kept = Kept {
        generation: certificate.metadata.generation,
        what,
        since,
    };
    (certificate.uid().unwrap_or_default(), kept)
}

impl Unwritten {
    fn kept(&self, now: Duration) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| now.saturating_sub(kept.since) < KEPT);
        kept
    }

    /// `material` is to be stored for `certificate`, and is not yet at `now` on the clock.
    pub(super) fn keep(&self, certificate: &Certificate, material: Material, now: Duration) {
        let (key, kept) = entry(certificate, What::Certificate(material), now);
        self.kept(now).insert(key, kept);
    }

    /// That an attempt failed could not be told. What it got comes before that.
    pub(super) fn untold(&self, certificate: &Certificate, failed: Failed, now: Duration) {
        let (key, kept) = entry(certificate, What::Failure(failed), now);
        self.kept(now).entry(key).or_insert(kept);
    }

    /// `certificate` has what it wants, or is gone.
    pub(super) fn forget(&self, certificate: &Certificate, now: Duration) {
        self.kept(now)
            .remove(&certificate.uid().unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    fn certificate(generation: i64) -> Certificate {
        let certificate = serde_json::json!({
            "metadata": { "name": "shop", "uid": "1", "generation": generation },
            "spec": { "secretName": "shop-tls", "issuerRef": { "name": "acme" } },
        });
        serde_json::from_value(certificate).unwrap()
    }

    fn material() -> Material {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Material::new(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn failure() -> Failed {
        Failed::NotSupported("spec.uris".into())
    }

    #[test]
    fn a_certificate_is_given_once_after_a_pause_and_comes_before_a_failure() {
        let (unwritten, held) = (Unwritten::default(), certificate(1));
        unwritten.keep(&held, material(), NOW);
        unwritten.untold(&held, failure(), NOW);
        let soon = unwritten.next(&held, NOW + Duration::from_secs(1));
        let left = PAUSE.checked_sub(Duration::from_secs(1)).unwrap();
        assert!(
            matches!(soon, Some(Next::Wait(wait)) if wait == left),
            "{soon:?}"
        );
        let then = unwritten.next(&held, NOW + PAUSE);
        assert!(matches!(then, Some(Next::Store(_))), "{then:?}");
        assert!(unwritten.next(&held, NOW + PAUSE).is_none());
    }

    #[test]
    fn a_failure_is_given_at_once_and_once() {
        let (unwritten, held) = (Unwritten::default(), certificate(1));
        unwritten.untold(&held, failure(), NOW);
        assert!(matches!(unwritten.next(&held, NOW), Some(Next::Tell(_))));
        assert!(unwritten.next(&held, NOW).is_none());
    }

    #[test]
    fn what_another_spec_asked_for_is_dropped_and_keys_are_not_kept_for_ever() {
        let unwritten = Unwritten::default();
        unwritten.keep(&certificate(1), material(), NOW);
        assert!(unwritten.next(&certificate(2), NOW).is_none());
        unwritten.keep(&certificate(1), material(), NOW);
        let mut another = certificate(1);
        another.metadata.uid = Some("2".into());
        unwritten.forget(&another, NOW + KEPT);
        assert!(unwritten.0.lock().unwrap().is_empty());
    }
}
