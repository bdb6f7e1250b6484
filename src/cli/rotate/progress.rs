//! How far a rotation is: a pure function of what the Certificate says.

use gatewright_crds::cert_manager::{Certificate, CertificateStatus, names};
use gatewright_crds::conditions::{self, Finding};
use jiff::Timestamp;

use crate::certificate::SERVED;

/// The reason with which cert-manager's own tool asks for a renewal.
const TRIGGERED: &str = "ManuallyTriggered";
/// Reasons of failed attempts that are tried again soon and may well succeed then.
const PASSING: &[&str] = &["AcmeUnreachable", "ChallengeNotRouted", "KubernetesError"];

/// What the Certificate said when its rotation was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    revision: i32,
    failures: Failures,
}

/// How often the issuance failed in a row, and when the last time. The count can begin anew.
type Failures = (i32, Option<Timestamp>);

fn failures(status: &CertificateStatus) -> Failures {
    let count = status.failed_issuance_attempts.unwrap_or(0);
    (count, status.last_failure_time.as_ref().map(|at| at.0))
}

/// How far a rotation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// What is waited for.
    Waiting(String),
    /// Seen everywhere; in how many places, when the message says so.
    Served { places: Option<u32> },
    /// Issued and stored, and no gateway uses it.
    NotReferenced,
    /// It will not go on by itself soon.
    Failed(String),
}

impl Progress {
    pub(super) fn is_over(&self) -> bool {
        !matches!(self, Self::Waiting(_))
    }
}

impl Before {
    pub(super) fn of(certificate: &Certificate) -> Self {
        let status = certificate.status.as_ref();
        Self {
            revision: status.and_then(|status| status.revision).unwrap_or(0),
            failures: status.map(failures).unwrap_or_default(),
        }
    }
}

/// The status of `certificate` with the wish for a new one in it.
pub(super) fn triggered(certificate: &Certificate, now: Timestamp) -> CertificateStatus {
    let mut status = certificate.status.clone().unwrap_or_default();
    let message = "a new certificate was asked for by gatewright rotate";
    let finding = Finding::new(names::ISSUING, true, TRIGGERED, message);
    conditions::set(
        &mut status.conditions,
        finding,
        certificate.metadata.generation,
        now,
    );
    status
}

/// Whether the renewal of `certificate` is due.
pub(super) fn is_due(certificate: &Certificate, now: Timestamp) -> bool {
    let status = certificate.status.as_ref();
    status
        .and_then(|status| status.renewal_time.as_ref())
        .is_some_and(|at| at.0 <= now)
}

/// How far the rotation is that was asked for at `before`.
pub(super) fn progress(before: Before, certificate: &Certificate) -> Progress {
    if certificate.metadata.deletion_timestamp.is_some() {
        return Progress::Failed("it is being deleted".to_owned());
    }
    let status = certificate.status.clone().unwrap_or_default();
    let issuing = conditions::get(&status.conditions, names::ISSUING);
    if let Some(issuing) = issuing.filter(|issuing| issuing.status == "True") {
        let told = format!("{}: {}", issuing.reason, issuing.message);
        let failures = failures(&status);
        let failed = failures.0 > 0 && failures != before.failures && issuing.reason != TRIGGERED;
        return match (failed, PASSING.contains(&issuing.reason.as_str())) {
            (true, true) => Progress::Waiting(format!("the next attempt, after {told}")),
            (true, false) => Progress::Failed(told),
            (false, _) => Progress::Waiting(format!("the issuer ({})", issuing.reason)),
        };
    }
    if status.revision.unwrap_or(0) <= before.revision {
        return Progress::Waiting("the new certificate to be written".to_owned());
    }
    match conditions::get(&status.conditions, SERVED) {
        None => Progress::Waiting("somebody to say where it is served".to_owned()),
        Some(served) if served.status == "True" => Progress::Served {
            places: places(&served.message),
        },
        Some(served) if served.reason == "NotReferenced" => Progress::NotReferenced,
        Some(served) if served.reason == "Rotating" => {
            Progress::Waiting("the proxies and load balancers to show it".to_owned())
        }
        Some(served) => Progress::Waiting(format!("it to be served; {}", served.message)),
    }
}

/// The number in `serial … was seen at N places`. The message is for people: without a number the
/// table shows none.
fn places(message: &str) -> Option<u32> {
    let (before, _) = message.rsplit_once(" places")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use gatewright_crds::cert_manager::CertificateSpec;
    use gatewright_crds::conditions::ConditionStatus;

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn held() -> Certificate {
        let mut certificate = Certificate::new("shop", CertificateSpec::default());
        certificate.metadata.generation = Some(3);
        certificate.status = Some(CertificateStatus {
            revision: Some(7),
            ..Default::default()
        });
        set(&mut certificate, "Ready", true, "Ready", "up to date");
        set(
            &mut certificate,
            SERVED,
            true,
            "SeenEverywhere",
            "serial 1 was seen at 4 places",
        );
        certificate
    }

    fn status(certificate: &mut Certificate) -> &mut CertificateStatus {
        certificate.status.as_mut().unwrap()
    }

    fn set(
        certificate: &mut Certificate,
        kind: &'static str,
        holds: bool,
        reason: &'static str,
        message: &str,
    ) {
        let finding = Finding::new(kind, ConditionStatus::from(holds), reason, message);
        conditions::set(&mut status(certificate).conditions, finding, Some(3), START);
    }

    fn asked_for() -> (Before, Certificate) {
        let mut certificate = held();
        let before = Before::of(&certificate);
        certificate.status = Some(triggered(&certificate, START));
        (before, certificate)
    }

    fn issued() -> (Before, Certificate) {
        let (before, mut certificate) = asked_for();
        conditions::remove(&mut status(&mut certificate).conditions, names::ISSUING);
        status(&mut certificate).revision = Some(8);
        set(&mut certificate, SERVED, false, "Rotating", "on its way");
        (before, certificate)
    }

    fn waits_for(progress: &Progress, what: &str) {
        assert!(
            matches!(progress, Progress::Waiting(text) if text.contains(what)),
            "{progress:?}"
        );
    }

    #[test]
    fn the_wish_keeps_what_others_said() {
        let (_, certificate) = asked_for();
        let conditions = &certificate.status.as_ref().unwrap().conditions;
        assert!(conditions::is_true(conditions, "Ready"));
        let issuing = conditions::get(conditions, names::ISSUING).unwrap();
        assert_eq!(
            (issuing.status.as_str(), issuing.reason.as_str()),
            ("True", TRIGGERED)
        );
        assert_eq!(issuing.observed_generation, Some(3));
    }

    #[test]
    fn each_stage_is_waited_for_in_turn() {
        let (before, certificate) = asked_for();
        waits_for(&progress(before, &certificate), "the issuer");
        let (before, mut certificate) = issued();
        waits_for(&progress(before, &certificate), "to show it");
        set(
            &mut certificate,
            SERVED,
            false,
            "NotServed",
            "missing: proxy a",
        );
        waits_for(&progress(before, &certificate), "missing: proxy a");
        set(
            &mut certificate,
            SERVED,
            true,
            "SeenEverywhere",
            "serial 2 was seen at 4 places",
        );
        assert_eq!(
            progress(before, &certificate),
            Progress::Served { places: Some(4) }
        );
    }

    #[test]
    fn the_old_certificate_served_is_not_the_new_one_served() {
        // The wish is gone and nothing was issued: as after a conflict between two writers.
        let certificate = held();
        waits_for(
            &progress(Before::of(&certificate), &certificate),
            "to be written",
        );
    }

    #[test]
    fn a_secret_that_no_gateway_uses_ends_the_wait() {
        let (before, mut certificate) = issued();
        set(
            &mut certificate,
            SERVED,
            false,
            "NotReferenced",
            "no gateway uses secret x",
        );
        assert_eq!(progress(before, &certificate), Progress::NotReferenced);
    }

    #[test]
    fn a_refusal_ends_the_wait_and_a_passing_failure_does_not() {
        let (before, mut certificate) = asked_for();
        status(&mut certificate).failed_issuance_attempts = Some(1);
        set(
            &mut certificate,
            names::ISSUING,
            true,
            "ValidationFailed",
            "no answer at /x",
        );
        let told = "ValidationFailed: no answer at /x".to_owned();
        assert_eq!(progress(before, &certificate), Progress::Failed(told));
        set(
            &mut certificate,
            names::ISSUING,
            true,
            "AcmeUnreachable",
            "refused",
        );
        waits_for(&progress(before, &certificate), "AcmeUnreachable");
    }

    #[test]
    fn a_failure_from_before_the_wish_is_not_its_failure() {
        let mut certificate = held();
        status(&mut certificate).failed_issuance_attempts = Some(2);
        set(
            &mut certificate,
            names::ISSUING,
            true,
            "ValidationFailed",
            "earlier",
        );
        let before = Before::of(&certificate);
        certificate.status = Some(triggered(&certificate, START));
        waits_for(&progress(before, &certificate), "the issuer");
        set(
            &mut certificate,
            names::ISSUING,
            true,
            "ValidationFailed",
            "again",
        );
        for anew in [3, 1] {
            status(&mut certificate).failed_issuance_attempts = Some(anew);
            assert!(matches!(
                progress(before, &certificate),
                Progress::Failed(_)
            ));
        }
    }

    #[test]
    fn a_certificate_that_goes_away_ends_the_wait() {
        let (before, mut certificate) = asked_for();
        certificate.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(START));
        assert!(matches!(
            progress(before, &certificate),
            Progress::Failed(_)
        ));
    }

    #[test]
    fn only_a_renewal_time_that_has_passed_is_due() {
        let mut certificate = held();
        assert!(!is_due(&certificate, START));
        let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(START);
        status(&mut certificate).renewal_time = Some(time);
        assert!(is_due(&certificate, START));
        assert!(!is_due(
            &certificate,
            START - jiff::SignedDuration::from_secs(1)
        ));
    }
}
