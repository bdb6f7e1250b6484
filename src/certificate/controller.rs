//! The reconcile loop over Certificates.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gatewright_crds::cert_manager::{Certificate, CertificateSpec, CertificateStatus, names};
use gatewright_crds::conditions::{self, Finding, READY};
use gatewright_crds::istio::Gateway;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ListParams, PartialObjectMeta};
use kube::runtime::controller::{Action, Controller as Runtime};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::acme;
use super::challenges::Challenges;
use super::decide::{Decision, Known, decide, renewal_time};
use super::failed::{Failed, attempt_of, failed_before, still_waiting, wait_after, was_not_routed};
use super::issuer::Accounts;
use super::keys::new_key;
use super::material::{Material, MaterialError};
use super::routed::Gateways;
use super::served::{SERVED, Seen, look};
use super::unwritten::{Next, Unwritten};
use crate::fronts::uses;
use crate::kubernetes::{FIELD_MANAGER, apply_status_if_unchanged, optional};
use crate::outside::Outside;
use crate::retry::{Failures, kube_class};

mod issued;

/// How long a new certificate gets to be seen everywhere before that becomes a condition.
const SERVED_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked whether it is still served.
const SERVED_CHECK: Duration = Duration::from_mins(10);
/// How soon it is looked again after it was not served, and how often while it is missing somewhere.
/// That a Gateway uses its Secret wakes us.
const FIRST_CHECK: Duration = Duration::from_secs(5);
const MISSING_CHECK: Duration = Duration::from_mins(1);
/// How long to wait before a look at a Certificate that somebody wrote while we worked on it.
/// Their write wakes us, unless we are behind: then this bounds how often we ask.
const CONFLICT_WAIT: Duration = Duration::from_secs(1);

/// Gets, renews and follows certificates.
#[derive(Clone)]
pub struct Controller {
    outside: Outside,
    accounts: Accounts,
    challenges: Challenges,
    /// Of the API server's, which are no failed attempts at a certificate.
    failures: Arc<Failures>,
    unwritten: Unwritten,
}

impl Controller {
    /// `unwritten`: what earlier terms of this replica could not write.
    pub fn new(
        outside: Outside,
        accounts: Accounts,
        challenges: Challenges,
        unwritten: Unwritten,
    ) -> Self {
        Self {
            outside,
            accounts,
            challenges,
            failures: Arc::default(),
            unwritten,
        }
    }

    /// Reconciles until dropped.
    pub async fn run(self) {
        let kube = self.outside.kube.clone();
        let certificates: Api<Certificate> = Api::all(kube.clone());
        let runtime = Runtime::new(certificates, watcher::Config::default());
        let (by_secret, by_issuer, by_user) = (runtime.store(), runtime.store(), runtime.store());
        let gateways: Api<Gateway> = Api::all(kube.clone());
        let issuers: Api<gatewright_crds::cert_manager::Issuer> = Api::all(kube.clone());
        runtime
            .trigger_backoff(self.outside.watch_backoff(4))
            .watches(Api::<Secret>::all(kube), watcher::Config::default(), move |secret| {
                let (namespace, name) = (secret.namespace(), secret.name_any());
                let all = by_secret.state().into_iter();
                all.filter(move |held| {
                    held.namespace() == namespace && held.spec.secret_name == name
                })
                .map(|held| ObjectRef::from_obj(held.as_ref()))
                .collect::<Vec<_>>()
            })
            .watches(gateways, watcher::Config::default(), move |gateway| {
                let all = by_user.state().into_iter();
                all.filter(move |held| uses(&gateway, &held.spec.secret_name))
                    .map(|held| ObjectRef::from_obj(held.as_ref()))
                .collect::<Vec<_>>()
            })
            .watches(issuers, watcher::Config::default(), move |issuer| {
                let (namespace, name) = (issuer.namespace(), issuer.name_any());
                let all = by_issuer.state().into_iter();
                all.filter(move |held| {
                    held.namespace() == namespace
                        && held.spec.issuer_ref.kind() == "Issuer"
                        && held.spec.issuer_ref.name == name
                })
                .map(|held| ObjectRef::from_obj(held.as_ref()))
                .collect::<Vec<_>>()
            })
            .run(
                |certificate, this: Arc<Self>| async move { Ok(this.reconcile(&certificate).await) },
                |_, error: &std::convert::Infallible, _| match *error {},
                Arc::new(self),
            )
            .for_each(|result| async move {
                if let Err(error) = result {
                    tracing::debug!(%error, "certificate controller");
                }
            })
            .await;
    }

    async fn reconcile(&self, certificate: &Certificate) -> Action {
        if certificate.metadata.deletion_timestamp.is_some() {
            return Action::await_change();
        }
        let key = certificate.uid().unwrap_or_default();
        match self.pass(certificate).await {
            Ok(wait) => {
                self.failures.succeeded(&key);
                Action::requeue(wait)
            }
            // Somebody wrote the Certificate meanwhile; what they wrote wakes us too.
            Err(Failed::Kubernetes(error)) if is_conflict(&error) => Action::requeue(CONFLICT_WAIT),
            Err(failed) => {
                let told = self.report_failure(certificate, &failed).await;
                let class = match &told {
                    Ok(Some(wait)) => return Action::requeue(*wait),
                    Ok(None) => failed.class(),
                    Err(error) => {
                        tracing::warn!(certificate = certificate.name_any(), %error, "failure not told");
                        let now = self.outside.clock.elapsed();
                        self.unwritten.untold(certificate, failed, now);
                        kube_class(error)
                    }
                };
                let random = &self.outside.random;
                Action::requeue(self.failures.failed(&key, class, random))
            }
        }
    }

    /// One pass; returns after how long to look again.
    async fn pass(&self, certificate: &Certificate) -> Result<Duration, Failed> {
        let spec = &certificate.spec;
        let namespace = certificate.namespace().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let secret = optional(secrets.get(&spec.secret_name).await)?;
        let material = secret.as_ref().map(Material::from_secret);
        let issued_by = secret.as_ref().and_then(|secret| {
            let name = secret.annotations().get(names::ISSUER_NAME)?;
            let kind = secret
                .annotations()
                .get(names::ISSUER_KIND)
                .map_or("Issuer", |k| k.as_str());
            Some(format!("{kind}/{name}"))
        });
        let issuer = format!("{}/{}", spec.issuer_ref.kind(), spec.issuer_ref.name);
        let held = certificate.status.clone().unwrap_or_default();
        let names = dns_names(certificate);
        let now = self.outside.clock.now();
        let decision = decide(
            &Known {
                spec,
                names: &names,
                material: material.as_ref().map(Result::as_ref),
                issued_by: issued_by.as_deref(),
                issuer: &issuer,
                forced: conditions::is_true(&held.conditions, names::ISSUING),
            },
            now,
        );
        match (decision, &secret, &material) {
            (Decision::Keep { renew_at }, Some(secret), Some(Ok(material))) => {
                self.unwritten
                    .forget(certificate, self.outside.clock.elapsed());
                self.follow(certificate, secret, material, renew_at).await
            }
            (Decision::Issue { reason, message }, ..) => {
                let wished = wished(&held);
                match self
                    .unwritten
                    .next(certificate, self.outside.clock.elapsed())
                {
                    Some(Next::Wait(left)) => return Ok(left),
                    Some(Next::Store(kept))
                        if still_wanted(&kept, spec, material.as_ref(), now) =>
                    {
                        self.check_owner(certificate, secret.as_ref()).await?;
                        self.write_issued(certificate, &names, kept, true).await?;
                        return Ok(Duration::from_mins(1));
                    }
                    Some(Next::Tell(failed)) if !wished => return Err(failed),
                    _ => {}
                }
                // A failed attempt waits, whatever woke us; a changed spec does not.
                if let Some(wait) = still_waiting(&held, certificate, self.outside.clock.now()) {
                    return Ok(wait);
                }
                self.check_owner(certificate, secret.as_ref()).await?;
                let current = self
                    .announce(certificate, &held, reason, &message, secret.is_some())
                    .await?;
                if !current {
                    return Ok(CONFLICT_WAIT);
                }
                self.issue(certificate, &names).await?;
                // The write of the Secret and of the status wake us again.
                Ok(Duration::from_mins(1))
            }
            (Decision::Keep { .. }, ..) => Ok(Duration::from_mins(1)),
        }
    }

    /// Of several Certificates with one `spec.secretName` one may write the Secret, by cert-manager's
    /// rule: the one whose name the Secret has, else the oldest. Else each would undo the other's
    /// work, with a new order each time.
    async fn check_owner(
        &self,
        certificate: &Certificate,
        secret: Option<&Secret>,
    ) -> Result<(), Failed> {
        let name = &certificate.spec.secret_name;
        let namespace = certificate.namespace().unwrap_or_default();
        let api: Api<Certificate> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let mut all = api.list(&ListParams::default()).await?.items;
        all.retain(|held| {
            held.spec.secret_name == *name && held.metadata.deletion_timestamp.is_none()
        });
        let named = secret.and_then(|secret| secret.annotations().get(names::CERTIFICATE_NAME));
        let owner = all
            .iter()
            .find(|held| held.metadata.name.as_ref() == named)
            .or_else(|| {
                let age = |held: &&Certificate| {
                    (
                        held.creation_timestamp().map(|made| made.0),
                        held.name_any(),
                    )
                };
                all.iter().min_by_key(age)
            });
        match owner {
            Some(owner) if owner.metadata.name != certificate.metadata.name => {
                Err(Failed::SecretTaken {
                    secret: name.clone(),
                    owner: owner.name_any(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Says that a new certificate is on its way, before anything is done about it. False when somebody
    /// wrote the Certificate since it was read: it may have what it wants.
    async fn announce(
        &self,
        certificate: &Certificate,
        held: &CertificateStatus,
        reason: &'static str,
        message: &str,
        replaces: bool,
    ) -> Result<bool, Failed> {
        tracing::info!(
            certificate = certificate.name_any(),
            reason,
            message,
            "issuing"
        );
        let now = self.outside.clock.now();
        let generation = certificate.metadata.generation;
        if failed_before(held, generation) {
            // Why the last attempt failed says more than that there is another one.
            return Ok(self.is_current(certificate).await?);
        }
        let mut status = held.clone();
        let told = conditions::get(&held.conditions, names::ISSUING);
        if told.is_some_and(|told| told.observed_generation != generation) {
            // What failed is not what is asked for now.
            status.failed_issuance_attempts = None;
            status.last_failure_time = None;
        }
        let issuing = Finding::new(names::ISSUING, true, reason, message);
        let mut changed = conditions::set(&mut status.conditions, issuing, generation, now);
        let served = Finding::new(SERVED, false, "Rotating", "a new certificate is on its way");
        changed |= conditions::set(&mut status.conditions, served, generation, now);
        if !replaces {
            let ready = Finding::new(READY, false, reason, message);
            changed |= conditions::set(&mut status.conditions, ready, generation, now);
        }
        if changed {
            self.write(certificate, &status).await?;
            let about = certificate.object_ref(&());
            self.outside
                .events
                .normal(&about, "Issuing", "Issue", message)
                .await;
            return Ok(true);
        }
        Ok(self.is_current(certificate).await?)
    }

    async fn issue(&self, certificate: &Certificate, names: &[String]) -> Result<(), Failed> {
        let spec = &certificate.spec;
        let namespace = certificate.namespace().unwrap_or_default();
        let unsupported = unsupported(certificate);
        if !unsupported.is_empty() {
            return Err(Failed::NotSupported(unsupported.join(", ")));
        }
        if certificate.status.as_ref().is_some_and(was_not_routed) {
            acme::rehearse(
                names,
                &self.challenges,
                &Gateways(&self.outside),
                &self.outside,
            )
            .await?;
        }
        let ready = self.accounts.of(&namespace, &spec.issuer_ref).await?;
        let key = new_key(
            spec.private_key.as_ref(),
            spec.common_name.as_deref(),
            names,
        )?;
        let chain = acme::order(
            &ready.account,
            names,
            ready.profile.as_deref(),
            &key.request,
            &self.challenges,
            &Gateways(&self.outside),
            &self.outside,
        )
        .await?;
        let material = Material::new(chain.as_bytes(), key.pem.expose().as_bytes())?;
        material.check_names(names)?;
        material.check_time(self.outside.clock.now())?;
        self.write_issued(certificate, names, material, false).await
    }

    /// Whether the Certificate is still the one that was read: nobody wants the Secret of another.
    async fn is_there(&self, certificate: &Certificate) -> kube::Result<bool> {
        let held = self.metadata(certificate).await?;
        Ok(held.is_some_and(|held| held.uid() == certificate.uid()))
    }

    /// Whether nobody wrote the Certificate since it was read.
    async fn is_current(&self, certificate: &Certificate) -> kube::Result<bool> {
        let held = self.metadata(certificate).await?;
        Ok(held.is_some_and(|held| held.resource_version() == certificate.resource_version()))
    }

    /// What the API server holds now.
    async fn metadata(
        &self,
        certificate: &Certificate,
    ) -> kube::Result<Option<PartialObjectMeta<Certificate>>> {
        let namespace = certificate.namespace().unwrap_or_default();
        let api: Api<Certificate> = Api::namespaced(self.outside.kube.clone(), &namespace);
        optional(api.get_metadata(&certificate.name_any()).await)
    }

    /// Writes the status, unless somebody wrote the Certificate since it was read: a wish for a new
    /// certificate is a condition in it, and must not be overwritten unread.
    async fn write(
        &self,
        certificate: &Certificate,
        status: &CertificateStatus,
    ) -> kube::Result<()> {
        let kube = &self.outside.kube;
        apply_status_if_unchanged(kube, FIELD_MANAGER, certificate, status)
            .await
            .map(drop)
    }

    /// Keeps the status true, and looks whether the certificate is served.
    async fn follow(
        &self,
        certificate: &Certificate,
        secret: &Secret,
        material: &Material,
        renew_at: jiff::Timestamp,
    ) -> Result<Duration, Failed> {
        let leaf = material.leaf();
        // What is already told as missing is looked for now and then, not all the time.
        let told = format!("serial {} is missing: ", leaf.serial);
        let shown = certificate.status.as_ref();
        let shown = shown.and_then(|status| conditions::get(&status.conditions, SERVED));
        let limit = if shown.is_some_and(|shown| shown.message.starts_with(&told)) {
            Duration::ZERO
        } else {
            SERVED_LIMIT
        };
        let seen = look(&self.outside, certificate, secret, leaf, limit).await?;
        let (finding, soon) = match &seen {
            Seen::Everywhere(places) => {
                let message = format!("serial {} was seen at {places} places", leaf.serial);
                (Finding::new(SERVED, true, "SeenEverywhere", message), false)
            }
            Seen::NowhereUsed => {
                let message = format!("no gateway uses secret {}", secret.name_any());
                (Finding::new(SERVED, false, "NotReferenced", message), false)
            }
            Seen::NowhereUp => {
                let secret = secret.name_any();
                let message = format!("no proxy of a gateway that uses secret {secret} is up");
                (Finding::new(SERVED, false, "NotReferenced", message), false)
            }
            Seen::Missing(places) => {
                let message = format!("{told}{}", places.join("; "));
                (Finding::new(SERVED, false, "NotServed", message), true)
            }
            // The change wakes us too, unless it came before this pass began.
            Seen::Overtaken => return Ok(CONFLICT_WAIT),
        };
        let held = certificate.status.clone().unwrap_or_default();
        let mut status = held.clone();
        let (generation, now) = (certificate.metadata.generation, self.outside.clock.now());
        let (reason, message) = (finding.reason, finding.message.clone());
        let before = conditions::get(&held.conditions, SERVED).map(|held| held.reason.as_str());
        let flipped = before != Some(reason);
        conditions::set(&mut status.conditions, finding, generation, now);
        let since =
            conditions::get(&status.conditions, SERVED).map(|told| &told.last_transition_time);
        let since = since.map_or(Duration::ZERO, |since| {
            now.duration_since(since.0).unsigned_abs()
        });
        let ready = "certificate is up to date and has not expired";
        let ready = Finding::new(READY, true, "Ready", ready);
        conditions::set(&mut status.conditions, ready, generation, now);
        status.not_before = Some(Time(leaf.not_before));
        status.not_after = Some(Time(leaf.not_after));
        status.renewal_time = Some(Time(renew_at));
        if status != held {
            self.write(certificate, &status).await?;
        }
        if flipped {
            let about = certificate.object_ref(&());
            if soon {
                self.outside
                    .events
                    .warning(&about, reason, "Verify", &message)
                    .await;
            } else {
                self.outside
                    .events
                    .normal(&about, reason, "Verify", &message)
                    .await;
            }
        }
        let renew_in = Duration::try_from(renew_at.duration_since(now)).unwrap_or_default();
        let check = match &seen {
            // After as long again as it has been so: a look costs five requests.
            Seen::Missing(_) | Seen::NowhereUp => since.clamp(FIRST_CHECK, MISSING_CHECK),
            Seen::NowhereUsed => since.clamp(FIRST_CHECK, SERVED_CHECK),
            Seen::Everywhere(_) | Seen::Overtaken => SERVED_CHECK,
        };
        Ok(renew_in.min(check).max(Duration::from_millis(100)))
    }

    /// Tells that an attempt at a certificate failed, and says how long the next has to wait. Nothing
    /// when it was the API server that failed: no authority counts that, and the condition that tells
    /// of an attempt is also the wish for a certificate.
    ///
    /// # Errors
    /// It could not be told.
    async fn report_failure(
        &self,
        certificate: &Certificate,
        failed: &Failed,
    ) -> kube::Result<Option<Duration>> {
        let message = failed.to_string();
        let name = certificate.name_any();
        tracing::warn!(
            certificate = name,
            reason = failed.reason(),
            message,
            "not issued"
        );
        if failed.is_kubernetes() {
            return Ok(None);
        }
        if matches!(failed, Failed::NotStored { again: true, .. }) {
            // No other attempt was made, and the next has to wait no longer.
            return Ok(None);
        }
        let namespace = certificate.namespace().unwrap_or_default();
        let api: Api<Certificate> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let current = optional(api.get(&name).await)?;
        // Another of the same name did not fail.
        let current = current.filter(|current| current.uid() == certificate.uid());
        let Some(current) = current else {
            return Ok(None);
        };
        let mut status = current.status.clone().unwrap_or_default();
        let attempts = attempt_of(failed, &status);
        // What was tried, not what the spec has become meanwhile: that does not wait.
        let (generation, now) = (certificate.metadata.generation, self.outside.clock.now());
        let issuing = Finding::new(names::ISSUING, true, failed.reason(), message.clone());
        conditions::set(&mut status.conditions, issuing, generation, now);
        if status.not_after.is_none() {
            let ready = Finding::new(READY, false, failed.reason(), message.clone());
            conditions::set(&mut status.conditions, ready, generation, now);
        }
        status.failed_issuance_attempts = Some(attempts);
        status.last_failure_time = Some(Time(now));
        self.write(&current, &status).await?;
        let about = current.object_ref(&());
        let events = &self.outside.events;
        events
            .warning(&about, failed.reason(), "Issue", &message)
            .await;
        Ok(Some(wait_after(failed, attempts, &self.outside)))
    }
}

/// Whether somebody asks for a new certificate whatever came of attempts before.
fn wished(held: &CertificateStatus) -> bool {
    let issuing = conditions::get(&held.conditions, names::ISSUING);
    issuing.is_some_and(|told| told.status == "True" && told.reason == "ManuallyTriggered")
}

/// Whether a certificate that could not be stored is still worth it: it is not about to be renewed, and
/// the Secret holds none that is newer.
fn still_wanted(
    kept: &Material,
    spec: &CertificateSpec,
    held: Option<&Result<Material, MaterialError>>,
    now: jiff::Timestamp,
) -> bool {
    let newer = |held: &Material| held.leaf().not_before > kept.leaf().not_before;
    let overtaken = held.is_some_and(|held| held.as_ref().is_ok_and(newer));
    now < renewal_time(spec, kept.leaf()) && !overtaken
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// All DNS names asked for, the common name among them.
fn dns_names(certificate: &Certificate) -> Vec<String> {
    let spec = &certificate.spec;
    let mut names = spec.dns_names.clone();
    if let Some(name) = spec
        .common_name
        .as_ref()
        .filter(|name| !names.contains(name))
    {
        names.insert(0, name.clone());
    }
    names
}

fn unsupported(certificate: &Certificate) -> Vec<String> {
    let spec = &certificate.spec;
    let mut fields: Vec<String> = spec.unsupported().iter().map(ToString::to_string).collect();
    for (set, field) in [
        (!spec.ip_addresses.is_empty(), "spec.ipAddresses"),
        (!spec.uris.is_empty(), "spec.uris"),
        (!spec.email_addresses.is_empty(), "spec.emailAddresses"),
    ] {
        if set {
            fields.push(field.into());
        }
    }
    fields
}

#[cfg(test)]
mod tests;
