//! What is to be done about a Certificate: a pure function of what is known.

use std::time::Duration;

use gatewright_crds::cert_manager::CertificateSpec;
use jiff::{SignedDuration, Timestamp};

use super::material::{Leaf, Material, MaterialError};

/// What the state machine knows.
pub(super) struct Known<'a> {
    pub(super) spec: &'a CertificateSpec,
    /// All DNS names asked for.
    pub(super) names: &'a [String],
    /// What the Secret holds, when there is one.
    pub(super) material: Option<Result<&'a Material, &'a MaterialError>>,
    /// The issuer that the Secret says it came from, as `kind/name`.
    pub(super) issued_by: Option<&'a str>,
    /// The issuer asked for, as `kind/name`.
    pub(super) issuer: &'a str,
    /// Somebody asked for a new one (condition `Issuing` is true).
    pub(super) forced: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Get a new certificate: reason in one word, and in words.
    Issue {
        reason: &'static str,
        message: String,
    },
    /// The one in the Secret is good until this time.
    Keep { renew_at: Timestamp },
}

/// Decides; the first reason that holds is the one told.
pub(super) fn decide(known: &Known<'_>, now: Timestamp) -> Decision {
    let issue = |reason, message: String| Decision::Issue { reason, message };
    let material = match known.material {
        None => return issue("DoesNotExist", "the secret does not exist".into()),
        Some(Err(error)) => return issue("InvalidSecret", error.to_string()),
        Some(Ok(material)) => material,
    };
    if known.forced {
        return issue(
            "ManuallyTriggered",
            "a new certificate was asked for".into(),
        );
    }
    if let Err(error) = material.check_names(known.names) {
        return issue("SecretMismatch", error.to_string());
    }
    if let Some(by) = known.issued_by.filter(|by| *by != known.issuer) {
        return issue(
            "SecretMismatch",
            format!("was issued by {by}, not {}", known.issuer),
        );
    }
    let renew_at = renewal_time(known.spec, material.leaf());
    if material.check_time(now).is_err() {
        return issue(
            "Expired",
            format!("expired at {}", material.leaf().not_after),
        );
    }
    if now >= renew_at {
        return issue("Renewing", format!("renewal was due at {renew_at}"));
    }
    Decision::Keep { renew_at }
}

/// When to renew: `renewBefore` or `renewBeforePercentage` before the end, else when two thirds of
/// the lifetime have passed (cert-manager's default). A `renewBefore` longer than the certificate
/// lives falls back to the default.
pub(super) fn renewal_time(spec: &CertificateSpec, leaf: &Leaf) -> Timestamp {
    let lifetime = leaf.not_after.duration_since(leaf.not_before);
    let before = spec
        .renew_before
        .and_then(|before| SignedDuration::try_from(before.get()).ok())
        .or_else(|| {
            spec.renew_before_percentage.map(|percent| {
                SignedDuration::from_secs(lifetime.as_secs() / 100 * i64::from(percent))
            })
        })
        .filter(|before| *before < lifetime)
        .unwrap_or(SignedDuration::from_secs(lifetime.as_secs() / 3));
    leaf.not_after
        .saturating_sub(before)
        .unwrap_or(leaf.not_before)
}

/// How long to wait after the `attempt`th failure in a row (from 1): a minute, doubling, at most an
/// hour. Authorities count failed validations by the hour.
pub(super) fn retry_after(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt.max(1) - 1).unwrap_or(0).min(6);
    Duration::from_mins(1 << doublings).min(Duration::from_hours(1))
}

/// How long to wait after the `attempt`th certificate in a row (from 1) that could not be stored: an
/// hour, doubling, at most a day. Authorities count certificates for the same names by the week.
pub(super) fn retry_unstored_after(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt.max(1) - 1).unwrap_or(0).min(5);
    Duration::from_hours(1 << doublings).min(Duration::from_hours(24))
}

/// How long to wait after the `attempt`th failure in a row (from 1) that no authority counts: a
/// second, doubling, at most a minute.
pub(super) fn retry_soon_after(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt.max(1) - 1).unwrap_or(0).min(6);
    Duration::from_secs(1 << doublings).min(Duration::from_mins(1))
}

#[cfg(test)]
mod tests {
    use gatewright_crds::GoDuration;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn material() -> Material {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 4, 1);
        let cert = params.self_signed(&key).unwrap();
        Material::new(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn reason(known: &Known<'_>, now: &str) -> &'static str {
        match decide(known, at(now)) {
            Decision::Issue { reason, .. } => reason,
            Decision::Keep { .. } => "Keep",
        }
    }

    #[test]
    fn each_reason_to_issue_is_found() {
        let (spec, material) = (CertificateSpec::default(), material());
        let names = ["a.example.com".to_owned()];
        let others = ["b.example.com".to_owned()];
        let known = |names, material, issued_by, forced| Known {
            spec: &spec,
            names,
            material,
            issued_by,
            issuer: "Issuer/acme",
            forced,
        };
        let good = Some(Ok(&material));
        let early = "2026-01-02T00:00:00Z";
        assert_eq!(
            reason(&known(&names, None, None, false), early),
            "DoesNotExist"
        );
        let broken = Some(Err(&MaterialError::KeyMismatch));
        assert_eq!(
            reason(&known(&names, broken, None, false), early),
            "InvalidSecret"
        );
        assert_eq!(
            reason(&known(&names, good, None, true), early),
            "ManuallyTriggered"
        );
        assert_eq!(
            reason(&known(&others, good, None, false), early),
            "SecretMismatch"
        );
        let moved = Some("Issuer/old");
        assert_eq!(
            reason(&known(&names, good, moved, false), early),
            "SecretMismatch"
        );
        let same = Some("Issuer/acme");
        assert_eq!(reason(&known(&names, good, same, false), early), "Keep");
        assert_eq!(
            reason(&known(&names, good, same, false), "2026-03-02T12:00:00Z"),
            "Renewing"
        );
        assert_eq!(
            reason(&known(&names, good, same, false), "2026-05-01T00:00:00Z"),
            "Expired"
        );
    }

    #[test]
    fn renewal_is_due_at_two_thirds_or_as_asked() {
        let material = material();
        let mut spec = CertificateSpec::default();
        assert_eq!(
            renewal_time(&spec, material.leaf()),
            at("2026-03-02T00:00:00Z")
        );
        spec.renew_before = Some(GoDuration::from_hours(24));
        assert_eq!(
            renewal_time(&spec, material.leaf()),
            at("2026-03-31T00:00:00Z")
        );
        spec.renew_before = Some(GoDuration::from_hours(24 * 365));
        assert_eq!(
            renewal_time(&spec, material.leaf()),
            at("2026-03-02T00:00:00Z")
        );
    }

    #[test]
    fn failures_wait_longer_up_to_an_hour() {
        assert_eq!(retry_after(1), Duration::from_mins(1));
        assert_eq!(retry_after(3), Duration::from_mins(4));
        assert_eq!(retry_after(50), Duration::from_hours(1));
        assert_eq!(retry_soon_after(1), Duration::from_secs(1));
        assert_eq!(retry_soon_after(50), Duration::from_mins(1));
    }
}
