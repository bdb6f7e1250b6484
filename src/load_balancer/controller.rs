//! The reconcile loop over Services.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gatewright_core::{
    Backends, Desired, Error, ErrorClass, Found, IdempotencyToken, LoadBalancerId, LoadBalancers,
    Observed, OwnerKey, Plan, ServerId, plan,
};
use gatewright_crds::conditions::{self, Condition, Finding};
use gatewright_seams::AddressMap;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller as Runtime};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::desired::{Invalid, desired};
use super::record::{self, Record};
use super::service::{CONDITION, FINALIZER, asks, deleted, is_held, is_ours, is_told, leaves};
use crate::kubernetes::{FIELD_MANAGER, apply_status, optional};
use crate::outside::Outside;
use crate::retry::{Failures, kube_class};

/// How long to wait before a look at a Service that somebody wrote while we worked on it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Keeps the load balancers of Services as the Services say.
#[derive(Clone)]
pub struct Controller {
    outside: Outside,
    provider: Arc<dyn LoadBalancers>,
    failures: Arc<Failures>,
    audit_interval: Duration,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Kubernetes(#[from] kube::Error),
    #[error("{0}")]
    Cloud(#[from] gatewright_core::Error),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Invalid>),
    #[error("blocked: {0}")]
    Blocked(String),
}

impl Failed {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Kubernetes(error) => kube_class(error),
            Self::Cloud(error) => error.class(),
            Self::Invalid(_) | Self::Blocked(_) => ErrorClass::Invalid,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) => "KubernetesError",
            Self::Invalid(_) => "InvalidService",
            Self::Blocked(_) => "Blocked",
            Self::Cloud(error) => match error.class() {
                ErrorClass::Throttled { .. } => "CloudThrottled",
                ErrorClass::Refused => "CloudRefused",
                ErrorClass::Quota => "CloudQuota",
                ErrorClass::Invalid => "CloudInvalid",
                _ => "CloudError",
            },
        }
    }
}

/// Where it comes from what is known of a load balancer.
enum Source {
    Record,
    /// It was read in this pass; what a record said before that could be trusted.
    Cloud(Option<Box<Observed>>),
}

impl Controller {
    /// `audit_interval`: how often the cloud is read although nothing changed, to find drift.
    pub fn new(
        outside: Outside,
        provider: Arc<dyn LoadBalancers>,
        audit_interval: Duration,
    ) -> Self {
        Self {
            outside,
            provider,
            failures: Arc::default(),
            audit_interval,
        }
    }

    /// Reconciles until dropped.
    pub async fn run(self) {
        let services: Api<Service> = Api::all(self.outside.kube.clone());
        let slices: Api<EndpointSlice> = Api::all(self.outside.kube.clone());
        Runtime::new(services, watcher::Config::default())
            .trigger_backoff(self.outside.watch_backoff(2))
            .watches(slices, watcher::Config::default(), |slice| {
                let service = slice.labels().get(SERVICE_NAME)?.clone();
                Some(ObjectRef::new(&service).within(&slice.namespace()?))
            })
            .run(
                |service, this: Arc<Self>| async move { this.reconcile(service).await },
                |_, error: &std::convert::Infallible, _| match *error {},
                Arc::new(self),
            )
            .for_each(|result| async move {
                if let Err(error) = result {
                    tracing::debug!(%error, "load balancer controller");
                }
            })
            .await;
    }

    async fn reconcile(&self, service: Arc<Service>) -> Result<Action, std::convert::Infallible> {
        if !is_ours(&service) {
            return Ok(Action::await_change());
        }
        let key = service.uid().unwrap_or_default();
        let now = self.outside.clock.elapsed();
        let version = service.resource_version().unwrap_or_default();
        if let Some(left) = self.failures.echo(&key, &version, now) {
            return Ok(Action::requeue(left));
        }
        let action = match self.pass(&service).await {
            Ok(wake) => {
                self.failures.succeeded(&key);
                wake.map_or_else(Action::await_change, Action::requeue)
            }
            Err(failed) => {
                let wait = self
                    .failures
                    .failed(&key, failed.class(), &self.outside.random);
                if let Some(version) = self.report_failure(&service, &failed).await {
                    let until = self.outside.clock.elapsed() + wait;
                    self.failures.told(&key, version, until);
                }
                Action::requeue(wait)
            }
        };
        Ok(action)
    }

    /// One pass; returns after how long to look again though nothing changed.
    async fn pass(&self, service: &Service) -> Result<Option<Duration>, Failed> {
        let leaving = leaves(service);
        if leaving && !is_held(service) {
            self.untell(service).await?;
            return Ok(None);
        }
        let (mut wanted, mut unused) = self.wanted(service).await?;
        if !leaving {
            self.hold(service, true).await?;
        }
        let owner = OwnerKey::new(service.uid().unwrap_or_default());
        let (mut record, mut source) = self.current(service, &owner).await?;
        let mut now = self.outside.clock.now();
        let mut plan = plan(wanted.as_ref(), &record.observed, now);
        if plan.stops_backends(&record.observed) && matches!(source, Source::Record) {
            // What others did in the cloud since it was read can have left these as the last that
            // take connections.
            (record, source) = self.read(service, &owner, Some(record)).await?;
        }
        if matches!(source, Source::Cloud(_)) {
            // A look takes as long as the cloud likes, and others can be ready by now.
            (wanted, unused) = self.wanted(service).await?;
            now = self.outside.clock.now();
            plan = gatewright_core::plan(wanted.as_ref(), &record.observed, now);
        }
        if let Source::Cloud(Some(before)) = &source {
            self.report_drift(service, wanted.as_ref(), before, &plan, now)
                .await;
        }
        if !plan.steps.is_empty() {
            if leaving && !deleted(service) && !self.is_current(service).await? {
                // What is taken away cannot be given back, and it may be wanted again.
                return Ok(Some(LOOK_AGAIN));
            }
            self.apply(service, &plan, &mut record).await?;
        }
        let observed = &record.observed;
        if let Some(blocked) = plan.blocked.first() {
            return Err(Failed::Blocked(blocked.to_string()));
        }
        if leaving {
            if observed.load_balancer.is_none() && observed.duplicates.is_empty() {
                self.let_go(service).await?;
            }
        } else {
            self.report(service, observed, wanted.as_ref(), &unused)
                .await?;
        }
        let drain = plan.wake_at.map(|at| {
            Duration::try_from(at.duration_since(self.outside.clock.now())).unwrap_or_default()
        });
        let random = self.outside.random.child(owner.as_str());
        let audit = self.audit_interval + random.jitter(self.audit_interval / 10);
        // A plan made on the new record may have more to do: the next step of a drain, or what was
        // held back until an added backend has settled.
        Ok(Some(
            drain
                .map_or(audit, |drain| drain.min(audit))
                .max(Duration::from_millis(10)),
        ))
    }

    /// What is known of the load balancer: the record if it can be trusted, else the cloud's word.
    async fn current(
        &self,
        service: &Service,
        owner: &OwnerKey,
    ) -> Result<(Record, Source), Failed> {
        let kube = &self.outside.kube;
        let held = record::load(kube, service).await?;
        let now = self.outside.clock.now();
        if let Some(held) = &held {
            let age = now.duration_since(held.audited_at).unsigned_abs();
            if !held.doubtful && age < self.audit_interval {
                return Ok((held.clone(), Source::Record));
            }
        }
        self.read(service, owner, held).await
    }

    /// The cloud's word.
    async fn read(
        &self,
        service: &Service,
        owner: &OwnerKey,
        held: Option<Record>,
    ) -> Result<(Record, Source), Failed> {
        let kube = &self.outside.kube;
        let now = self.outside.clock.now();
        let mut observed = self.provider.observe(owner).await?;
        let before = held.as_ref().map(|held| &held.observed);
        observed.remember(before, self.outside.clock.now());
        let mut lost = 0;
        if let Some(before) = &held {
            observed.claim_tags(&before.attempted_tags);
            lost = before.lost;
            let known = before.observed.load_balancer.as_ref();
            if let Some(known) = known.filter(|known| !observed.shows(&known.id)) {
                match self.provider.look(owner, &known.id).await? {
                    Found::Ours => {
                        let doing = format!("looking for load balancer {}", known.id);
                        let behind = "the list does not show it, and it exists: the list is behind";
                        return Err(Error::new(ErrorClass::Transient, doing, behind).into());
                    }
                    Found::NotOurs => self.not_ours(service, &known.id).await?,
                    Found::Gone => {}
                }
                if observed.load_balancer.is_none() {
                    lost += 1;
                }
            }
        }
        let record = Record {
            observed,
            audited_at: now,
            doubtful: false,
            lost,
            attempted_tags: BTreeSet::new(),
        };
        // The record goes with the load balancer: nothing to write.
        if !leaves(service) {
            record::store(kube, service, &record).await?;
        }
        let trusted = held.filter(|held| !held.doubtful);
        Ok((
            record,
            Source::Cloud(trusted.map(|held| Box::new(held.observed))),
        ))
    }

    /// A load balancer that the record has was stripped of this Service's tags. Another in its place
    /// would have another address, and this one would stay and be paid for.
    async fn not_ours(&self, service: &Service, id: &LoadBalancerId) -> Result<(), Failed> {
        let problem = format!(
            "load balancer {id} has not the tags of this Service and cluster any more (was \
             --cluster-name changed?)"
        );
        if !leaves(service) {
            return Err(Failed::Blocked(format!(
                "{problem}: give it its tags back, or delete it to get a new one"
            )));
        }
        let note = format!("{problem}: it is left as it is, delete it by hand");
        self.outside
            .events
            .warning(&service.object_ref(&()), "LeftBehind", "Delete", &note)
            .await;
        Ok(())
    }

    /// Walks through the plan. The record is doubtful while it does, and stays so when it fails.
    async fn apply(
        &self,
        service: &Service,
        plan: &Plan,
        record: &mut Record,
    ) -> Result<(), Failed> {
        record.doubtful = true;
        record.attempted_tags = plan.tag_keys();
        self.store(service, record).await?;
        let generation = service.metadata.generation.unwrap_or_default();
        let generation = generation + (i64::from(record.lost) << 32);
        let owner = record.observed.owner.clone();
        for step in &plan.steps {
            let token = IdempotencyToken::new(&owner, generation, &step.action);
            tracing::info!(service = service.name_any(), %step, "applying");
            self.provider
                .apply(step, &mut record.observed, &token)
                .await?;
            if matches!(
                step.action,
                gatewright_core::Action::CreateLoadBalancer { .. }
            ) {
                // Should it be deleted by others before the record has it, the next creation would
                // repeat the token, and be given what is gone.
                self.store(service, record).await?;
            }
        }
        record.doubtful = false;
        record.attempted_tags.clear();
        self.store(service, record).await?;
        Ok(())
    }

    /// What its load balancer should be, by the endpoints of this moment, and the annotations that say
    /// nothing; none for a Service that goes away or is no load balancer any more.
    async fn wanted(&self, service: &Service) -> Result<(Option<Desired>, Vec<String>), Failed> {
        if leaves(service) {
            return Ok((None, Vec::new()));
        }
        let namespace = service.namespace().unwrap_or_default();
        let slices: Api<EndpointSlice> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let selector = format!("{SERVICE_NAME}={}", service.name_any());
        let slices = slices
            .list(&ListParams::default().labels(&selector))
            .await?
            .items;
        let loopback = self.outside.network.pods == AddressMap::Loopback;
        let interface_of = |ip: IpAddr| loopback.then(|| laptop_interface(ip));
        let (wanted, unused) =
            desired(service, Some(&slices), &interface_of).map_err(Failed::Invalid)?;
        Ok((Some(wanted), unused))
    }

    /// There is nothing left in the cloud: takes the record and our finalizer off. What we told goes
    /// after it, so that nothing is told any more by who did not see the answer.
    async fn let_go(&self, service: &Service) -> Result<(), Failed> {
        if !deleted(service) {
            record::remove(&self.outside.kube, service).await?;
        }
        self.hold(service, false).await
    }

    /// Takes what we told off a Service that has nothing of ours any more.
    async fn untell(&self, service: &Service) -> Result<(), Failed> {
        if !deleted(service) && is_told(service) {
            apply_status(&self.outside.kube, FIELD_MANAGER, service, &json!({})).await?;
        }
        Ok(())
    }

    /// Whether nobody wrote the Service since it was read.
    async fn is_current(&self, service: &Service) -> Result<bool, Failed> {
        let namespace = service.namespace().unwrap_or_default();
        let api: Api<Service> = Api::namespaced(self.outside.kube.clone(), &namespace);
        let held = optional(api.get_metadata(&service.name_any()).await)?;
        Ok(held.is_some_and(|held| held.resource_version() == service.resource_version()))
    }

    /// Stores the record. In a namespace that is being deleted nothing can be created, and what is
    /// there goes in any order: a deletion goes on without, and each of its passes reads the cloud.
    async fn store(&self, service: &Service, record: &Record) -> Result<(), Failed> {
        match record::store(&self.outside.kube, service, record).await {
            Err(error) if deleted(service) && is_of_a_namespace_that_goes(&error) => Ok(()),
            result => Ok(result?),
        }
    }

    /// Puts our finalizer on or takes it off.
    async fn hold(&self, service: &Service, on: bool) -> Result<(), Failed> {
        let mut finalizers = service.finalizers().to_vec();
        if on == finalizers.iter().any(|held| held == FINALIZER) {
            return Ok(());
        }
        if on {
            finalizers.push(FINALIZER.to_owned());
        } else {
            finalizers.retain(|held| held != FINALIZER);
        }
        let namespace = service.namespace().unwrap_or_default();
        let api: Api<Service> = Api::namespaced(self.outside.kube.clone(), &namespace);
        // The resourceVersion makes this fail rather than undo another controller's finalizer.
        let patch = json!({ "metadata": {
            "resourceVersion": service.resource_version(),
            "finalizers": finalizers,
        }});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..Default::default()
        };
        match api
            .patch(&service.name_any(), &params, &Patch::Merge(&patch))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if !on && status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn report(
        &self,
        service: &Service,
        observed: &Observed,
        wanted: Option<&Desired>,
        unused: &[String],
    ) -> Result<(), Failed> {
        let Some(load_balancer) = &observed.load_balancer else {
            return Ok(());
        };
        let no_backend = wanted.is_some_and(|wanted| {
            wanted.groups.iter().all(|group| match &group.backends {
                Backends::Complete(list) | Backends::Partial(list) => list.is_empty(),
                Backends::Unknown | Backends::ScaledToZero => true,
            })
        });
        let finding = if no_backend {
            let message = format!("{} has no backend yet", load_balancer.id);
            Finding::new(CONDITION, false, "NoBackends", message)
        } else if unused.is_empty() {
            Finding::new(
                CONDITION,
                true,
                "InSync",
                format!("{} is as specified", load_balancer.id),
            )
        } else {
            let message = format!("not acted on: {}", unused.join(", "));
            Finding::new(CONDITION, true, "IgnoredAnnotations", message)
        };
        let ingress = load_balancer
            .address
            .map(|address| json!({ "ip": address.to_string() }));
        self.write_status(service, finding, ingress.into_iter().collect())
            .await?;
        Ok(())
    }

    /// Tells the failure where it differs from what is told; gives the Service's new version then.
    async fn report_failure(&self, service: &Service, failed: &Failed) -> Option<String> {
        let message = failed.to_string();
        tracing::warn!(
            service = service.name_any(),
            reason = failed.reason(),
            message,
            "failed"
        );
        let finding = Finding::new(CONDITION, false, failed.reason(), message.clone());
        let held = service
            .status
            .as_ref()
            .and_then(|status| status.load_balancer.as_ref());
        let ingress = held
            .and_then(|held| held.ingress.as_ref())
            .into_iter()
            .flatten();
        let ingress = ingress
            .filter_map(|held| serde_json::to_value(held).ok())
            .collect();
        match self.write_status(service, finding, ingress).await {
            Ok(Some(written)) => {
                let about = service.object_ref(&());
                let events = &self.outside.events;
                events
                    .warning(&about, failed.reason(), "SyncLoadBalancer", &message)
                    .await;
                written.resource_version()
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(service = service.name_any(), %error, "status not written");
                None
            }
        }
    }

    /// Tells what an audit found changed: there is something to do now, and by the record before
    /// there was nothing.
    async fn report_drift(
        &self,
        service: &Service,
        wanted: Option<&Desired>,
        before: &Observed,
        found: &Plan,
        now: Timestamp,
    ) {
        if found.steps.is_empty() || !plan(wanted, before, now).steps.is_empty() {
            return;
        }
        let id = before
            .load_balancer
            .as_ref()
            .map_or("none", |lb| lb.id.as_str());
        let steps: Vec<_> = found
            .steps
            .iter()
            .map(|step| step.action.to_string())
            .collect();
        let note = format!(
            "load balancer {id} was changed outside of Gatewright; to be done: {}",
            steps.join(", ")
        );
        self.outside
            .events
            .warning(&service.object_ref(&()), "Drift", "Audit", &note)
            .await;
    }

    /// Writes condition and addresses if they differ from what the Service shows; gives what was
    /// written.
    async fn write_status(
        &self,
        service: &Service,
        finding: Finding,
        ingress: Vec<serde_json::Value>,
    ) -> kube::Result<Option<Service>> {
        let status = service.status.clone().unwrap_or_default();
        let mut held: Vec<Condition> = status.conditions.unwrap_or_default();
        held.retain(|condition| condition.type_ == CONDITION);
        let generation = service.metadata.generation;
        let changed = conditions::set(&mut held, finding, generation, self.outside.clock.now());
        let shown = status
            .load_balancer
            .and_then(|shown| shown.ingress)
            .unwrap_or_default();
        let shown: Vec<_> = shown.into_iter().filter_map(|held| held.ip).collect();
        let wanted: Vec<_> = ingress
            .iter()
            .filter_map(|held| held["ip"].as_str().map(str::to_owned))
            .collect();
        // The addresses of a Service that asks for no load balancer of ours are none, or another's.
        let ours = asks(service);
        if !changed && (shown == wanted || !ours) {
            return Ok(None);
        }
        let mut status = json!({ "conditions": held });
        if ours {
            status["loadBalancer"] = json!({ "ingress": ingress });
        }
        apply_status(&self.outside.kube, FIELD_MANAGER, service, &status)
            .await
            .map(Some)
    }
}

/// Whether it says that nothing can be created because the namespace is being deleted, or is gone.
fn is_of_a_namespace_that_goes(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 404
        || causes
            .into_iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
}

/// On a laptop there are no network interfaces to look up; the mock cloud takes an id made of the
/// address.
fn laptop_interface(ip: IpAddr) -> ServerId {
    ServerId::new(format!("eni-{}", ip.to_string().replace(['.', ':'], "-")))
}
