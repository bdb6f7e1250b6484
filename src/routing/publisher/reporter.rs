//! Tells the objects' owners what is wrong with them.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use gatewright_crds::conditions::{self, Finding};
use gatewright_crds::istio::{Gateway, RoutingStatus, VirtualService};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;
use kube::runtime::reflector;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::seen::{Seen, in_order};
use crate::kubernetes::{FIELD_MANAGER, apply_status};
use crate::outside::Outside;
use crate::routing::Problem;

const CONDITION: &str = "Programmed";
/// When a status that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Writes the `Programmed` condition of Gateways and VirtualServices, and events.
pub(super) struct Reporter {
    outside: Outside,
    servers: reflector::Store<Gateway>,
    virtual_services: reflector::Store<VirtualService>,
    /// What was told, so that it is told once.
    told: BTreeSet<Problem>,
}

impl Reporter {
    pub(super) fn new(outside: Outside, seen: &Seen) -> Self {
        Self {
            outside,
            servers: seen.servers.clone(),
            virtual_services: seen.virtual_services.clone(),
            told: BTreeSet::new(),
        }
    }

    /// Reports what was found, once something was, and whatever comes, until the sender is gone.
    pub(super) async fn run(mut self, mut problems: watch::Receiver<Option<BTreeSet<Problem>>>) {
        let clock = self.outside.clock;
        if problems.wait_for(Option::is_some).await.is_err() {
            return;
        }
        loop {
            let current = problems.borrow_and_update().clone().unwrap_or_default();
            let changed = if self.report(current).await {
                problems.changed().await
            } else {
                clock
                    .timeout(RETRY, problems.changed())
                    .await
                    .unwrap_or(Ok(()))
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Writes where something differs. True when all could be written.
    async fn report(&mut self, problems: BTreeSet<Problem>) -> bool {
        let of = |kind: &str, namespace: &str, name: &str| {
            let mut ours = problems.iter().filter(|problem| {
                problem.kind == kind && problem.namespace == namespace && problem.name == name
            });
            let first = ours.next()?;
            let message = std::iter::once(first)
                .chain(ours)
                .map(|p| p.message.clone());
            Some((first.reason, message.collect::<Vec<_>>().join("; ")))
        };
        let mut complete = true;
        for gateway in in_order(&self.servers) {
            let held = gateway.status.clone().unwrap_or_default();
            let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
            let found = of("Gateway", &namespace, &name);
            if let Some(status) = self.status(held, found, gateway.metadata.generation) {
                complete &= self.write(gateway.as_ref(), &status).await;
            }
        }
        for service in in_order(&self.virtual_services) {
            let held = service.status.clone().unwrap_or_default();
            let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
            let found = of("VirtualService", &namespace, &name);
            if let Some(status) = self.status(held, found, service.metadata.generation) {
                complete &= self.write(service.as_ref(), &status).await;
            }
        }
        for problem in problems.difference(&self.told) {
            tracing::warn!(%problem, "not programmed");
            let about = ObjectReference {
                api_version: Some("networking.istio.io/v1".into()),
                kind: Some(problem.kind.into()),
                namespace: Some(problem.namespace.clone()),
                name: Some(problem.name.clone()),
                ..Default::default()
            };
            let events = &self.outside.events;
            events
                .warning(&about, problem.reason, "Program", &problem.message)
                .await;
        }
        self.told = problems;
        complete
    }

    /// The new status, if it differs.
    fn status(
        &self,
        held: RoutingStatus,
        found: Option<(&'static str, String)>,
        generation: Option<i64>,
    ) -> Option<RoutingStatus> {
        let finding = match found {
            Some((reason, message)) => Finding::new(CONDITION, false, reason, message),
            None => Finding::new(
                CONDITION,
                true,
                "Programmed",
                "the proxies are told all of it",
            ),
        };
        let mut status = held;
        let now = self.outside.clock.now();
        let mut changed = conditions::set(&mut status.conditions, finding, generation, now);
        changed |= status.observed_generation != generation;
        status.observed_generation = generation;
        changed.then_some(status)
    }

    async fn write<K>(&self, object: &K, status: &RoutingStatus) -> bool
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let written = apply_status(&self.outside.kube, FIELD_MANAGER, object, status).await;
        match written {
            Ok(_) => true,
            // It was deleted meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => true,
            Err(error) => {
                let name = object.meta().name.as_deref().unwrap_or_default();
                tracing::warn!(name, %error, "status not written");
                false
            }
        }
    }
}
