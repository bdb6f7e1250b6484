//! Asking for new certificates, and following them to their end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use gatewright_crds::cert_manager::Certificate;
use gatewright_seams::Clock;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use serde_json::json;

use super::progress::{Before, Progress, progress, triggered};
use crate::certificate::Leaf;
use crate::kubernetes::{FIELD_MANAGER, optional};

/// How often a wish is written anew when somebody else wrote the status meanwhile.
const CONFLICTS: u32 = 10;

/// How a rotation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "result",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(super) enum Ended {
    /// Seen everywhere.
    Served {
        places: Option<u32>,
    },
    /// Issued; no gateway uses the Secret.
    NotReferenced,
    Failed {
        why: String,
    },
    TimedOut {
        waiting_for: String,
    },
}

/// One Certificate after its rotation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    pub(super) namespace: String,
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) ended: Ended,
    pub(super) old_serial: Option<String>,
    pub(super) new_serial: Option<String>,
    pub(super) expires: Option<Timestamp>,
    /// Rounded to milliseconds.
    pub(super) seconds: f64,
}

impl Outcome {
    pub(super) fn is_good(&self) -> bool {
        matches!(self.ended, Ended::Served { .. } | Ended::NotReferenced)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A rotation under way.
struct Rotation {
    secret: String,
    before: Before,
    old_serial: Option<String>,
    progress: Progress,
    /// On the clock's own scale.
    started: Duration,
    took: Duration,
}

/// By namespace and name.
type Rotations = BTreeMap<(String, String), Rotation>;

/// Asks for new ones of all `certificates` and follows them until the last has ended or `limit` has
/// passed. `scope` is the namespace they are all in, if they are in one. `told` gets a line each
/// time something else is waited for.
///
/// # Errors
/// The API server refuses a read or a wish. What a Certificate says of itself is an outcome.
pub(super) async fn rotate(
    kube: &kube::Client,
    scope: Option<&str>,
    certificates: Vec<Certificate>,
    limit: Duration,
    clock: Clock,
    told: &mut dyn FnMut(String),
) -> anyhow::Result<Vec<Outcome>> {
    let end = clock.elapsed() + limit;
    let mut rotations = Rotations::new();
    for certificate in certificates {
        let key = (
            certificate.namespace().unwrap_or_default(),
            certificate.name_any(),
        );
        let secret = certificate.spec.secret_name.clone();
        let old = leaf(kube, &key.0, &secret).await?;
        let started = clock.elapsed();
        let before = ask(kube, certificate, clock).await?;
        let rotation = Rotation {
            secret,
            before,
            old_serial: old.map(|leaf| leaf.serial),
            progress: Progress::Waiting("the daemon".to_owned()),
            started,
            took: Duration::ZERO,
        };
        rotations.insert(key, rotation);
    }
    follow(kube, scope, &mut rotations, end, clock, told).await;
    let mut outcomes = Vec::new();
    for ((namespace, name), rotation) in rotations {
        let new = leaf(kube, &namespace, &rotation.secret).await?;
        let ended = match rotation.progress {
            Progress::Served { places } => Ended::Served { places },
            Progress::NotReferenced => Ended::NotReferenced,
            Progress::Failed(why) => Ended::Failed { why },
            Progress::Waiting(waiting_for) => Ended::TimedOut { waiting_for },
        };
        let took = match ended {
            Ended::TimedOut { .. } => clock.elapsed().saturating_sub(rotation.started),
            _ => rotation.took,
        };
        outcomes.push(Outcome {
            namespace,
            name,
            ended,
            old_serial: rotation.old_serial,
            expires: new.as_ref().map(|leaf| leaf.not_after),
            new_serial: new.map(|leaf| leaf.serial),
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
        });
    }
    Ok(outcomes)
}

/// Watches until all have ended or the clock reaches `end`.
async fn follow(
    kube: &kube::Client,
    scope: Option<&str>,
    rotations: &mut Rotations,
    end: Duration,
    clock: Clock,
    told: &mut dyn FnMut(String),
) {
    let api: Api<Certificate> = match scope {
        Some(namespace) => Api::namespaced(kube.clone(), namespace),
        None => Api::all(kube.clone()),
    };
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut trouble = String::new();
    while rotations
        .values()
        .any(|rotation| !rotation.progress.is_over())
    {
        let left = end.saturating_sub(clock.elapsed());
        let Ok(event) = clock.timeout(left, events.try_next()).await else {
            return;
        };
        let (certificate, gone) = match event {
            Ok(Some(watcher::Event::Apply(held) | watcher::Event::InitApply(held))) => {
                (held, false)
            }
            Ok(Some(watcher::Event::Delete(held))) => (held, true),
            Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => continue,
            Ok(None) => return,
            Err(error) => {
                // The watch is started anew with backoff; the same trouble is told once.
                let now = error.to_string();
                if now != trouble {
                    told(format!("watching Certificates: {now}"));
                    trouble = now;
                }
                continue;
            }
        };
        let key = (
            certificate.namespace().unwrap_or_default(),
            certificate.name_any(),
        );
        let Some(rotation) = rotations
            .get_mut(&key)
            .filter(|one| !one.progress.is_over())
        else {
            continue;
        };
        let now = if gone {
            Progress::Failed("it was deleted".to_owned())
        } else {
            progress(rotation.before, &certificate)
        };
        if now == rotation.progress {
            continue;
        }
        rotation.took = clock.elapsed().saturating_sub(rotation.started);
        told(format!("{}/{} {}", key.0, key.1, said(&now)));
        rotation.progress = now;
    }
}

fn said(progress: &Progress) -> String {
    match progress {
        Progress::Waiting(what) => format!("waits for {what}"),
        Progress::Served {
            places: Some(places),
        } => format!("is served at {places} places"),
        Progress::Served { places: None } => "is served everywhere".to_owned(),
        Progress::NotReferenced => "is issued; no gateway uses it".to_owned(),
        Progress::Failed(why) => format!("failed: {why}"),
    }
}

/// Writes the wish for a new certificate into the status, and returns what was there before.
///
/// It is written by server-side apply under the daemon's own field manager, as the whole of what
/// that manager says: a condition that another manager owned would stay when the daemon takes it
/// away, and the certificate would be issued again and again.
async fn ask(
    kube: &kube::Client,
    mut certificate: Certificate,
    clock: Clock,
) -> anyhow::Result<Before> {
    let (namespace, name) = (
        certificate.namespace().unwrap_or_default(),
        certificate.name_any(),
    );
    let asking = || format!("asking for a new certificate for {namespace}/{name}");
    let api: Api<Certificate> = Api::namespaced(kube.clone(), &namespace);
    let mut conflicts = 0;
    loop {
        let body = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            // Fails rather than undo what was written meanwhile.
            "metadata": { "name": name, "resourceVersion": certificate.resource_version() },
            "status": triggered(&certificate, clock.now()),
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match api.patch_status(&name, &params, &Patch::Apply(&body)).await {
            Ok(_) => return Ok(Before::of(&certificate)),
            Err(kube::Error::Api(status)) if status.code == 409 && conflicts < CONFLICTS => {
                conflicts += 1;
                certificate = api.get(&name).await.with_context(asking)?;
            }
            Err(error) => return Err(error).with_context(asking),
        }
    }
}

/// The certificate in a Secret; nothing when there is none that can be read. The key is not looked
/// at.
async fn leaf(kube: &kube::Client, namespace: &str, secret: &str) -> anyhow::Result<Option<Leaf>> {
    let api: Api<Secret> = Api::namespaced(kube.clone(), namespace);
    let held = optional(api.get(secret).await)
        .with_context(|| format!("reading the certificate in Secret {namespace}/{secret}"))?;
    let chain = held
        .as_ref()
        .and_then(|secret| secret.data.as_ref()?.get("tls.crt"));
    let first = chain.and_then(|chain| CertificateDer::pem_slice_iter(&chain.0).next()?.ok());
    Ok(first.and_then(|der| Leaf::from_der(&der).ok()))
}
