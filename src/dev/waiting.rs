//! What is not ready yet, in words.

use gatewright_crds::cert_manager::{Certificate, names};
use gatewright_crds::conditions::{self, Condition, READY};
use gatewright_crds::istio_gateway::IstioGateway;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::certificate::SERVED;
use crate::fronts::Fronts;
use crate::load_balancer::{CONDITION, LOAD_BALANCER_CLASS};
use crate::outside::Outside;

/// Everything that is waited for; empty when all is up and served.
///
/// # Errors
/// What the API server answered.
pub(super) async fn unmet(kube: &kube::Client) -> kube::Result<Vec<String>> {
    let all = ListParams::default();
    let mut waiting = Vec::new();
    for gateway in Api::<IstioGateway>::all(kube.clone()).list(&all).await? {
        let conditions = gateway.status.clone().unwrap_or_default().conditions;
        if !conditions::is_true(&conditions, READY) {
            let why = ["ProxiesReady", "LoadBalancersReady", READY]
                .iter()
                .find_map(|kind| message(&conditions, kind));
            waiting.push(told("gateway", &gateway.name_any(), why));
        }
    }
    for service in Api::<Service>::all(kube.clone()).list(&all).await? {
        let class = service
            .spec
            .as_ref()
            .and_then(|spec| spec.load_balancer_class.as_deref());
        let conditions = service
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        if class == Some(LOAD_BALANCER_CLASS) && !conditions::is_true(&conditions, CONDITION) {
            let why = message(&conditions, CONDITION);
            waiting.push(told("load balancer", &service.name_any(), why));
        }
    }
    for certificate in Api::<Certificate>::all(kube.clone()).list(&all).await? {
        let conditions = certificate.status.clone().unwrap_or_default().conditions;
        let issuing = conditions::is_true(&conditions, names::ISSUING);
        let unused = conditions::get(&conditions, SERVED)
            .is_some_and(|served| served.reason == "NotReferenced");
        if issuing || !(conditions::is_true(&conditions, SERVED) || unused) {
            let why = if issuing {
                conditions::get(&conditions, names::ISSUING).map(|c| c.message.clone())
            } else {
                message(&conditions, SERVED)
            };
            waiting.push(told("certificate", &certificate.name_any(), why));
        }
    }
    for deployment in Api::<Deployment>::all(kube.clone()).list(&all).await? {
        let ready = deployment
            .status
            .as_ref()
            .and_then(|status| status.ready_replicas)
            .unwrap_or(0);
        let wanted = deployment.spec.replicas.unwrap_or(1);
        if ready < wanted {
            let why = format!("{ready} of {wanted} replicas are ready");
            waiting.push(told("deployment", &deployment.name_any(), Some(why)));
        }
    }
    Ok(waiting)
}

/// The proxies and load balancers that show no certificate though they should. What the objects say
/// is not enough: the state directory keeps what was true when the last run ended.
///
/// # Errors
/// What the API server answered.
pub(super) async fn silent(outside: &Outside) -> kube::Result<Vec<String>> {
    let fronts = Fronts::read(outside).await?;
    let certificates: Api<Certificate> = Api::all(outside.kube.clone());
    let mut waiting = Vec::new();
    for certificate in certificates.list(&ListParams::default()).await? {
        let names = &certificate.spec.dns_names;
        let Some(host) = names.iter().find(|name| !name.starts_with('*')) else {
            continue;
        };
        let namespace = certificate.namespace().unwrap_or_default();
        for front in fronts.of_secret(&namespace, &certificate.spec.secret_name) {
            if outside.probe.leaf(front.address, host).await.is_err() {
                let why = format!("{front} does not answer");
                waiting.push(told("certificate", &certificate.name_any(), Some(why)));
            }
        }
    }
    Ok(waiting)
}

fn message(conditions: &[Condition], kind: &str) -> Option<String> {
    let held = conditions::get(conditions, kind)?;
    (held.status != "True").then(|| held.message.clone())
}

fn told(kind: &str, name: &str, why: Option<String>) -> String {
    format!(
        "{kind} {name}: {}",
        why.unwrap_or_else(|| "not seen by the daemon yet".into())
    )
}
