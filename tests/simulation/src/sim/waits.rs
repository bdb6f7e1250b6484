//! What a scenario waits for, and what it reads of the quickstart's objects.

use std::time::Duration;

use gatewright::load_balancer::CONDITION;
use gatewright_crds::cert_manager::{Certificate, Issuer, names};
use gatewright_crds::conditions::{self, Condition};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use mock_cloud::ListenerStatus;

use super::{GATEWAY_NAMESPACE, OWNER_TAG, Sim};
use crate::quickstart::{INTERNAL, PUBLIC};

impl Sim {
    /// Waits until `look` finds something, at most `limit` of virtual time.
    ///
    /// # Panics
    /// It did not.
    pub async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let start = self.clock().elapsed();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            let waited = self.clock().elapsed().saturating_sub(start);
            let state = if waited < limit {
                String::new()
            } else {
                self.describe().await
            };
            assert!(waited < limit, "not within {limit:?}: {what}\n{state}");
            // What takes long is not looked for all the time: each look costs real time.
            self.pass(Duration::from_millis(100).max(waited / 30)).await;
        }
    }

    /// Waits until both load balancers are as specified and have exactly `backends` backends that
    /// take connections.
    pub async fn wait_balanced(&self, backends: usize) {
        let what = format!("two load balancers with {backends} backends");
        self.until(&what, Duration::from_mins(10), async || {
            for name in [PUBLIC, INTERNAL] {
                let condition = self.service_condition(name).await?;
                if condition.status != "True" || condition.reason != "InSync" {
                    return None;
                }
            }
            let inventory = self.laptop.cloud.inventory();
            let mut ours = inventory
                .instances
                .iter()
                .filter(|i| i.tags.contains_key(OWNER_TAG));
            let all = ours.clone().count() == 2
                && ours.all(|instance| {
                    instance.listeners.len() == 2
                        && instance.listeners.iter().all(|listener| {
                            listener.status == ListenerStatus::Running
                                && listener.members.len() == backends
                                && listener.members.iter().all(|member| member.weight == 100)
                        })
                });
            all.then_some(())
        })
        .await;
    }

    /// Waits until the Certificate `shop` is stored and seen served; returns its revision.
    pub async fn wait_served(&self) -> i32 {
        self.until(
            "certificate shop served",
            Duration::from_mins(10),
            async || {
                let status = self.certificate().await?.status?;
                let rotating = conditions::is_true(&status.conditions, names::ISSUING);
                let served =
                    conditions::is_true(&status.conditions, gatewright::certificate::SERVED);
                (served && !rotating).then_some(status.revision?)
            },
        )
        .await
    }

    /// The quickstart's Certificate.
    pub async fn certificate(&self) -> Option<Certificate> {
        let api: Api<Certificate> = Api::namespaced(self.kube.clone(), GATEWAY_NAMESPACE);
        api.get_opt("shop").await.expect("an answer")
    }

    /// A condition of the quickstart's Certificate.
    pub async fn certificate_condition(&self, kind: &str) -> Option<Condition> {
        let status = self.certificate().await?.status?;
        conditions::get(&status.conditions, kind).cloned()
    }

    /// A condition of the quickstart's Issuer.
    pub async fn issuer_condition(&self, kind: &str) -> Option<Condition> {
        let api: Api<Issuer> = Api::namespaced(self.kube.clone(), GATEWAY_NAMESPACE);
        let status = api.get_opt("acme").await.expect("an answer")?.status?;
        conditions::get(&status.conditions, kind).cloned()
    }

    /// The load balancer condition of a Service of the quickstart's namespace.
    pub async fn service_condition(&self, name: &str) -> Option<Condition> {
        let api: Api<Service> = Api::namespaced(self.kube.clone(), GATEWAY_NAMESPACE);
        let status = api.get_opt(name).await.expect("an answer")?.status?;
        status
            .conditions?
            .into_iter()
            .find(|held| held.type_ == CONDITION)
    }
}
