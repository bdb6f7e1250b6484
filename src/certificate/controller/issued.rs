//! Stores what was issued, and says so.

use std::collections::BTreeMap;

use gatewright_crds::cert_manager::{Certificate, names};
use gatewright_crds::conditions::{self, Finding, READY};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ObjectMeta};
use kube::{Resource, ResourceExt};

use super::{Controller, is_conflict};
use crate::certificate::decide::renewal_time;
use crate::certificate::failed::Failed;
use crate::certificate::material::Material;
use crate::kubernetes::{FIELD_MANAGER, apply, optional};
use crate::retry::kube_class;

/// How often it is tried to store a certificate that was issued, and then to say so.
const WRITE_TRIES: u32 = 5;

impl Controller {
    /// Stores what was issued, and says so. `again`: that it could not be was told before.
    pub(super) async fn write_issued(
        &self,
        certificate: &Certificate,
        names: &[String],
        material: Material,
        again: bool,
    ) -> Result<(), Failed> {
        let now = || self.outside.clock.elapsed();
        // Unless it is known to be gone: an API server that does not answer is no reason to throw away
        // what the authority counts.
        if matches!(self.is_there(certificate).await, Ok(false)) {
            tracing::info!(
                certificate = certificate.name_any(),
                "deleted while it was issued"
            );
            self.unwritten.forget(certificate, now());
            return Ok(());
        }
        let secret = &certificate.spec.secret_name;
        // Before it is tried: a replica that loses the Lease meanwhile gets no further.
        self.unwritten.keep(certificate, material.clone(), now());
        let stored = self.insist(|| self.store(certificate, names, &material));
        let finished = match stored.await {
            // Without it the wish stays, and would be granted once more.
            Ok(()) => self.insist(|| self.finish(certificate, &material)).await,
            Err(error) => {
                self.unwritten.keep(certificate, material, now());
                return Err(Failed::NotStored {
                    secret: secret.clone(),
                    error,
                    again,
                });
            }
        };
        if let Err(error) = finished {
            self.unwritten.keep(certificate, material, now());
            return Err(error.into());
        }
        self.unwritten.forget(certificate, now());
        let leaf = material.leaf();
        let note = format!("serial {} is stored in secret {secret}", leaf.serial);
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

    /// Writes into the status that the certificate in the Secret is the new one.
    async fn finish(&self, certificate: &Certificate, material: &Material) -> kube::Result<()> {
        let namespace = certificate.namespace().unwrap_or_default();
        let api: Api<Certificate> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let leaf = material.leaf();
        loop {
            // Read anew: while the order ran, others may have written conditions.
            let current = optional(api.get(&certificate.name_any()).await)?;
            // Another of the same name has its own pass.
            let current = current.filter(|current| current.uid() == certificate.uid());
            let Some(certificate) = current else {
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
}
