//! The reconcile loop over Certificates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gatewright_crds::cert_manager::{Certificate, CertificateStatus, names};
use gatewright_crds::conditions::{self, Finding, READY};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ObjectMeta, PartialObjectMeta};
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
use super::material::Material;
use super::routed::Gateways;
use super::served::{SERVED, Seen, look};
use crate::kubernetes::{FIELD_MANAGER, apply, apply_status_if_unchanged, optional};
use crate::outside::Outside;
use crate::retry::{Failures, kube_class};

/// How long a new certificate gets to be seen everywhere before that becomes a condition.
const SERVED_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked whether it is still served.
const SERVED_CHECK: Duration = Duration::from_mins(10);
/// How often it is tried to store a certificate that was issued, and then to say so.
const WRITE_TRIES: u32 = 5;
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
}

impl Controller {
    pub fn new(outside: Outside, accounts: Accounts, challenges: Challenges) -> Self {
        Self {
            outside,
            accounts,
            challenges,
            failures: Arc::default(),
        }
    }

    /// Reconciles until dropped.
    pub async fn run(self) {
        let kube = self.outside.kube.clone();
        let certificates: Api<Certificate> = Api::all(kube.clone());
        let runtime = Runtime::new(certificates, watcher::Config::default());
        let (by_secret, by_issuer) = (runtime.store(), runtime.store());
        let issuers: Api<gatewright_crds::cert_manager::Issuer> = Api::all(kube.clone());
        runtime
            .trigger_backoff(self.outside.watch_backoff(3))
            .watches(Api::<Secret>::all(kube), watcher::Config::default(), move |secret| {
                let (namespace, name) = (secret.namespace(), secret.name_any());
                let all = by_secret.state().into_iter();
                all.filter(move |held| {
                    held.namespace() == namespace && held.spec.secret_name == name
                })
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
                let wait = || {
                    let random = &self.outside.random;
                    self.failures.failed(&key, failed.class(), random)
                };
                Action::requeue(told.unwrap_or_else(wait))
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
        match (decision, &secret, material) {
            (Decision::Keep { renew_at }, Some(secret), Some(Ok(material))) => {
                self.follow(certificate, secret, &material, renew_at).await
            }
            (Decision::Issue { reason, message }, ..) => {
                // A failed attempt waits, whatever woke us; a changed spec does not.
                if let Some(wait) = still_waiting(&held, certificate, self.outside.clock.now()) {
                    return Ok(wait);
                }
                let served = secret.is_some().then_some(&held.conditions);
                let current = self
                    .announce(certificate, &held, reason, &message, served.is_some())
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
        // Unless it is known to be gone: an API server that does not answer is no reason to throw away
        // what the authority counts.
        if matches!(self.is_there(certificate).await, Ok(false)) {
            tracing::info!(
                certificate = certificate.name_any(),
                "deleted while it was issued"
            );
            return Ok(());
        }
        let stored = self.insist(|| self.store(certificate, names, &material));
        stored.await.map_err(|error| Failed::NotStored {
            secret: spec.secret_name.clone(),
            error,
        })?;
        // Without it the wish stays, and would be granted once more.
        self.insist(|| self.finish(certificate, &material)).await?;
        let leaf = material.leaf();
        let note = format!(
            "serial {} is stored in secret {}",
            leaf.serial, spec.secret_name
        );
        let about = certificate.object_ref(&());
        self.outside
            .events
            .normal(&about, "Issued", "Issue", &note)
            .await;
        Ok(())
    }

    /// Writes several times before it gives up.
    async fn insist<W>(&self, write: impl Fn() -> W) -> kube::Result<()>
    where
        W: Future<Output = kube::Result<()>>,
    {
        let mut attempt = 1;
        loop {
            match write().await {
                Err(error) if attempt < WRITE_TRIES => {
                    let class = kube_class(&error);
                    let wait = crate::retry::delay(class, attempt, &self.outside.random);
                    self.outside.clock.sleep(wait).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
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

    /// Writes into the status that the certificate in the Secret is the new one.
    async fn finish(&self, certificate: &Certificate, material: &Material) -> kube::Result<()> {
        let namespace = certificate.namespace().unwrap_or_default();
        let api: Api<Certificate> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let leaf = material.leaf();
        loop {
            // Read anew: while the order ran, others may have written conditions.
            let Some(certificate) = optional(api.get(&certificate.name_any()).await)? else {
                return Ok(());
            };
            let mut status = certificate.status.clone().unwrap_or_default();
            let (generation, now) = (certificate.metadata.generation, self.outside.clock.now());
            // False, not away: whoever asked for the rotation owns a part of the condition, and what
            // an apply leaves out stays there as far as others own it.
            let issued = format!("serial {} was issued", leaf.serial);
            let issued = Finding::new(names::ISSUING, false, "Issued", issued);
            conditions::set(&mut status.conditions, issued, generation, now);
            let message = "certificate is up to date and has not expired";
            let ready = Finding::new(READY, true, "Ready", message);
            conditions::set(&mut status.conditions, ready, generation, now);
            status.not_before = Some(Time(leaf.not_before));
            status.not_after = Some(Time(leaf.not_after));
            status.renewal_time = Some(Time(renewal_time(&certificate.spec, leaf)));
            status.revision = Some(status.revision.unwrap_or(0) + 1);
            status.failed_issuance_attempts = None;
            status.last_failure_time = None;
            match self.write(&certificate, &status).await {
                Err(error) if is_conflict(&error) => {}
                result => return result,
            }
        }
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

    async fn store(
        &self,
        certificate: &Certificate,
        names: &[String],
        material: &Material,
    ) -> kube::Result<()> {
        let spec = &certificate.spec;
        let template = spec.secret_template.clone().unwrap_or_default();
        let mut annotations: BTreeMap<String, String> = template.annotations;
        let mut annotate = |key: &str, value: &str| {
            annotations.insert(key.to_owned(), value.to_owned());
        };
        annotate(names::CERTIFICATE_NAME, &certificate.name_any());
        annotate(names::ISSUER_NAME, &spec.issuer_ref.name);
        annotate(names::ISSUER_KIND, spec.issuer_ref.kind());
        annotate(names::ISSUER_GROUP, spec.issuer_ref.group());
        annotate(names::ALT_NAMES, &names.join(","));
        annotate(
            names::COMMON_NAME,
            spec.common_name.as_deref().unwrap_or_default(),
        );
        let data = [("tls.crt", material.chain()), ("tls.key", material.key())];
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(spec.secret_name.clone()),
                namespace: certificate.namespace(),
                annotations: Some(annotations),
                labels: Some(template.labels).filter(|labels| !labels.is_empty()),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".into()),
            data: Some(
                data.map(|(k, v)| (k.to_owned(), ByteString(v.to_vec())))
                    .into(),
            ),
            ..Secret::default()
        };
        apply(&self.outside.kube, FIELD_MANAGER, &secret).await?;
        Ok(())
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
        let check = if soon || matches!(seen, Seen::NowhereUsed) {
            Duration::from_secs(5)
        } else {
            SERVED_CHECK
        };
        Ok(renew_in.min(check).max(Duration::from_millis(100)))
    }

    /// Tells that an attempt at a certificate failed, and says how long the next has to wait. Nothing
    /// when it was the API server that failed: no authority counts that, and the condition that tells
    /// of an attempt is also the wish for a certificate.
    async fn report_failure(&self, certificate: &Certificate, failed: &Failed) -> Option<Duration> {
        let message = failed.to_string();
        let name = certificate.name_any();
        tracing::warn!(
            certificate = name,
            reason = failed.reason(),
            message,
            "not issued"
        );
        if failed.is_kubernetes() {
            return None;
        }
        let namespace = certificate.namespace().unwrap_or_default();
        let api: Api<Certificate> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let current = match api.get(&name).await {
            Ok(current) => current,
            Err(error) => {
                tracing::warn!(certificate = name, %error, "failure not told");
                return None;
            }
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
        match self.write(&current, &status).await {
            Ok(()) => {
                let about = current.object_ref(&());
                let events = &self.outside.events;
                events
                    .warning(&about, failed.reason(), "Issue", &message)
                    .await;
            }
            Err(error) => tracing::warn!(certificate = name, %error, "status not written"),
        }
        Some(wait_after(failed, attempts, &self.outside))
    }
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
