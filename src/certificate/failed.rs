//! Attempts that failed: what that is called, and how long the next one waits.

use std::time::Duration;

use gatewright_core::ErrorClass;
use gatewright_crds::cert_manager::{Certificate, CertificateStatus, names};
use gatewright_crds::conditions;

use super::acme::{AcmeError, NOT_ROUTED};
use super::decide::{retry_after, retry_soon_after, retry_unstored_after};
use super::issuer::IssuerError;
use super::keys::KeyError;
use super::material::MaterialError;
use crate::outside::Outside;
use crate::retry::{delay, kube_class};

/// Why an attempt ended without a certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("{0}")]
    Kubernetes(#[from] kube::Error),
    #[error("{0}")]
    Issuer(#[from] IssuerError),
    #[error("{0}")]
    Acme(#[from] AcmeError),
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("the certificate that was issued cannot be used: {0}")]
    Material(#[from] MaterialError),
    #[error("{0} is not acted on")]
    NotSupported(String),
    #[error(
        "Certificate {owner} has the same spec.secretName, and secret {secret} is its own: give one of \
         them another"
    )]
    SecretTaken { secret: String, owner: String },
    #[error("a certificate was issued and secret {secret} could not be written: {error}")]
    NotStored {
        secret: String,
        error: kube::Error,
        /// It was told before.
        again: bool,
    },
}

impl Failed {
    pub(super) fn class(&self) -> ErrorClass {
        match self {
            Self::Kubernetes(error) => kube_class(error),
            Self::Issuer(error) => error.class(),
            Self::Acme(error) => error.class(),
            Self::Key(_) | Self::NotSupported(_) | Self::SecretTaken { .. } => ErrorClass::Invalid,
            // The authority counts the certificate.
            Self::Material(_) | Self::NotStored { .. } => ErrorClass::Refused,
        }
    }

    /// Whether it was the API server that failed, before anything was asked of an authority.
    pub(super) fn is_kubernetes(&self) -> bool {
        matches!(
            self,
            Self::Kubernetes(_) | Self::Issuer(IssuerError::Kubernetes(_))
        )
    }

    /// The condition's reason.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) => "KubernetesError",
            Self::Issuer(error) => error.reason(),
            Self::Acme(error) => error.reason(),
            Self::Key(KeyError::NotMade(_)) | Self::NotSupported(_) => "NotSupported",
            Self::Key(_) => "InvalidRequest",
            Self::Material(_) => "UnusableCertificate",
            Self::SecretTaken { .. } => "DuplicateSecretName",
            Self::NotStored { .. } => "SecretNotWritten",
        }
    }
}

/// The number of this failure in a row, after what `held` tells. The first certificate that is lost
/// counts as the first failure, whatever failed before it: the wait for the next doubles up to a day.
pub(super) fn attempt_of(failed: &Failed, held: &CertificateStatus) -> i32 {
    let before = conditions::get(&held.conditions, names::ISSUING);
    let again = before.is_some_and(|before| is_lost(&before.reason));
    if is_lost(failed.reason()) && !again {
        return 1;
    }
    held.failed_issuance_attempts.unwrap_or(0) + 1
}

/// Whether a failure of this reason may have cost a certificate that the authority counts.
fn is_lost(reason: &str) -> bool {
    matches!(reason, "CertificateNotFetched" | "SecretNotWritten")
}

/// How long to wait after the `attempts`th failure in a row.
pub(super) fn wait_after(failed: &Failed, attempts: i32, outside: &Outside) -> Duration {
    let attempt = u32::try_from(attempts).unwrap_or(1);
    let delay = delay(failed.class(), attempt, &outside.random);
    delay.max(pause_after(failed.reason(), attempts))
}

/// How long at least to wait after the `attempts`th failure in a row, the last for this reason.
fn pause_after(reason: &str, attempts: i32) -> Duration {
    match reason {
        // The authority counts these.
        "ValidationFailed"
        | "RateLimited"
        | "AcmeError"
        | "OrderStuck"
        | "OrderInvalid"
        | "UnusableCertificate" => retry_after(attempts),
        reason if is_lost(reason) => retry_unstored_after(attempts),
        _ => retry_soon_after(attempts),
    }
}

/// Whether the last attempt ended because an answer to a challenge reached nobody who would ask for it.
pub(super) fn was_not_routed(held: &CertificateStatus) -> bool {
    let issuing = conditions::get(&held.conditions, names::ISSUING);
    held.last_failure_time.is_some() && issuing.is_some_and(|told| told.reason == NOT_ROUTED)
}

/// Whether the conditions tell of a failed attempt at what the spec of this generation asks for.
/// A wish for a new certificate that came after it is told instead.
pub(super) fn failed_before(held: &CertificateStatus, generation: Option<i64>) -> bool {
    let issuing = conditions::get(&held.conditions, names::ISSUING);
    held.last_failure_time.is_some()
        && issuing.is_some_and(|issuing| {
            issuing.status == "True"
                && issuing.observed_generation == generation
                && issuing.reason != "ManuallyTriggered"
        })
}

/// How long a Certificate whose last attempt failed still has to wait.
pub(super) fn still_waiting(
    held: &CertificateStatus,
    certificate: &Certificate,
    now: jiff::Timestamp,
) -> Option<Duration> {
    let issuing = conditions::get(&held.conditions, names::ISSUING)?;
    let failed_at = held.last_failure_time.as_ref()?.0;
    let attempts = held.failed_issuance_attempts?;
    if issuing.reason == "ManuallyTriggered"
        || issuing.observed_generation != certificate.metadata.generation
    {
        return None;
    }
    // The write that told the failure wakes us too.
    let pause = pause_after(&issuing.reason, attempts);
    let until = failed_at.saturating_add(jiff::SignedDuration::try_from(pause).ok()?);
    Duration::try_from(until.ok()?.duration_since(now))
        .ok()
        .filter(|wait| !wait.is_zero())
}
