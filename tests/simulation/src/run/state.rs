//! What a history ends in, in words that two histories can be compared by: without ids, addresses,
//! times and how often something was tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use gatewright::certificate::SERVED;
use gatewright_crds::IstioGateway;
use gatewright_crds::cert_manager::{Certificate, Issuer};
use gatewright_crds::conditions::Condition;
use gatewright_crds::istio::{Gateway, VirtualService};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mock_cloud::{GroupView, InstanceView, MemberView};
use serde::de::DeserializeOwned;

use crate::Sim;
use crate::sim::{GATEWAY_NAMESPACE, OWNER_TAG};

/// Our load balancers, the objects that the daemon made, and all statuses.
pub(crate) async fn state(sim: &Sim) -> kube::Result<String> {
    let mut lines = Vec::new();
    let services: Vec<Service> = all(sim).await?;
    let names: BTreeMap<String, String> = services
        .iter()
        .map(|held| (held.uid().unwrap_or_default(), held.name_any()))
        .collect();
    let mut balancers = Vec::new();
    for instance in &sim.laptop.cloud.inventory().instances {
        if let Some(owner) = instance.tags.get(OWNER_TAG)
            && !sim.foreign.contains(&instance.id)
        {
            let name = names.get(owner).map_or("NOBODY", String::as_str);
            balancers.push(balancer(name, owner, instance));
        }
    }
    balancers.sort();
    lines.extend(balancers);
    for service in &services {
        let status = service.status.clone().unwrap_or_default();
        let ingress = status.load_balancer.and_then(|held| held.ingress);
        let conditions = status.conditions.unwrap_or_default();
        let conditions = conditions.iter().map(|held| {
            (
                held.type_.as_str(),
                held.status.as_str(),
                held.reason.as_str(),
            )
        });
        lines.push(object(
            service,
            &format!(
                "{} addresses; {}",
                ingress.unwrap_or_default().len(),
                words(conditions)
            ),
        ));
    }
    let pods: Vec<Pod> = all(sim).await?;
    lines.push(format!("{} Pods", pods.len()));
    for deployment in all::<Deployment>(sim).await? {
        let status = deployment.status.clone().unwrap_or_default();
        let template = &deployment.spec.template;
        let annotations = template
            .metadata
            .as_ref()
            .and_then(|meta| meta.annotations.clone());
        lines.push(object(
            &deployment,
            &format!(
                "{:?} ready, {:?} updated, {annotations:?}",
                status.ready_replicas, status.updated_replicas
            ),
        ));
    }
    for gateway in all::<IstioGateway>(sim).await? {
        let status = gateway.status.clone().unwrap_or_default();
        lines.push(object(&gateway, &ours(&status.conditions)));
    }
    for gateway in all::<Gateway>(sim).await? {
        let status = gateway.status.clone().unwrap_or_default();
        lines.push(object(&gateway, &ours(&status.conditions)));
    }
    for service in all::<VirtualService>(sim).await? {
        let status = service.status.clone().unwrap_or_default();
        lines.push(object(&service, &ours(&status.conditions)));
    }
    for issuer in all::<Issuer>(sim).await? {
        let status = issuer.status.clone().unwrap_or_default();
        lines.push(object(&issuer, &ours(&status.conditions)));
    }
    for certificate in all::<Certificate>(sim).await? {
        let status = certificate.status.clone().unwrap_or_default();
        // Issuing is there, as False, where somebody asked once.
        let conditions = status.conditions.iter();
        let conditions: Vec<_> = conditions
            .filter(|held| held.type_ != "Issuing" || held.status == "True")
            .cloned()
            .collect();
        let attempts = status.failed_issuance_attempts;
        // "serial X was seen at N places"
        let served = status.conditions.iter().find(|held| held.type_ == SERVED);
        let served = served.and_then(|held| held.message.split_once(" was "));
        let served = served.map(|(_, places)| places.to_owned());
        lines.push(object(
            &certificate,
            &format!("{}; {served:?}; failed {attempts:?}", ours(&conditions)),
        ));
    }
    for secret in all::<Secret>(sim).await? {
        let keys = secret.data.clone().unwrap_or_default();
        let keys: Vec<_> = keys.into_keys().collect();
        lines.push(object(&secret, &keys.join(" ")));
    }
    for map in all::<ConfigMap>(sim).await? {
        lines.push(object(&map, "there"));
    }
    for account in all::<ServiceAccount>(sim).await? {
        lines.push(object(&account, "there"));
    }
    lines.push(format!("proxies: {}", sim.world.proxies().len()));
    let shown = sim.world.https_addresses().into_iter();
    let mut serials = BTreeSet::new();
    for address in shown {
        serials.insert(sim.leaf_at(address, "shop.example.com").await);
    }
    let kinds = serials.iter().flatten().count();
    let none = serials.contains(&None);
    lines.push(format!(
        "{kinds} certificates shown, somewhere none: {none}"
    ));
    Ok(lines.join("\n"))
}

async fn all<K>(sim: &Sim) -> kube::Result<Vec<K>>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let api: Api<K> = Api::namespaced(sim.kube.clone(), GATEWAY_NAMESPACE);
    Ok(api.list(&ListParams::default()).await?.items)
}

fn object<K: kube::Resource<DynamicType = ()>>(object: &K, words: &str) -> String {
    let going = if object.meta().deletion_timestamp.is_some() {
        " (going)"
    } else {
        ""
    };
    format!("{} {}{going}: {words}", K::kind(&()), object.name_any())
}

fn ours(conditions: &[Condition]) -> String {
    let held = conditions.iter().map(|held| {
        (
            held.type_.as_str(),
            held.status.as_str(),
            held.reason.as_str(),
        )
    });
    words(held)
}

fn words<'a>(conditions: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> String {
    let mut all: Vec<_> = conditions
        .map(|(kind, status, reason)| format!("{kind}={status} ({reason})"))
        .collect();
    all.sort();
    all.join(", ")
}

fn balancer(name: &str, owner: &str, instance: &InstanceView) -> String {
    let plain = |text: &str| text.replace(owner, "OWNER");
    let kind = if instance.internet {
        "internet"
    } else {
        "intranet"
    };
    let tags: Vec<_> = instance.tags.keys().map(String::as_str).collect();
    let mut text = format!(
        "load balancer of {name}: {kind}, active {}, protected {}, tags {}",
        instance.active,
        instance.delete_protection,
        tags.join(" ")
    );
    let group_name = |id: &str| {
        let found = instance.groups.iter().find(|group| group.id == id);
        found.map(|group| plain(&group.name))
    };
    for listener in &instance.listeners {
        let line = format!(
            "\n  {:?} {} {:?} {} to {:?}, drain {:?}",
            listener.protocol,
            listener.port,
            listener.status,
            plain(&listener.description),
            listener.group.as_deref().and_then(group_name),
            listener.drain,
        );
        text.push_str(&line);
    }
    let mut groups: Vec<String> = instance
        .groups
        .iter()
        .map(|held| group(held, &plain))
        .collect();
    groups.sort();
    text + &groups.concat()
}

fn group(group: &GroupView, plain: &dyn Fn(&str) -> String) -> String {
    let members: BTreeSet<String> = group.members.iter().map(member).collect();
    let kinds: Vec<_> = members.into_iter().collect();
    format!(
        "\n  {}: {} members, {}",
        plain(&group.name),
        group.members.len(),
        kinds.join(", ")
    )
}

fn member(member: &MemberView) -> String {
    format!("port {} weight {}", member.port, member.weight)
}
