//! Which VirtualServices use which hosts of which Gateways.

use gatewright_crds::istio::{Gateway, VirtualService};
use kube::ResourceExt;

use super::problem::Problem;
use super::servers::hosts;
use super::translate::Input;
use crate::fronts::takes;

/// Sidecars of a mesh, which are not ours.
const MESH: &str = "mesh";

/// Whether `service` names `gateway`: by `namespace/name`, or by name in its own namespace.
pub(super) fn is_bound(service: &VirtualService, gateway: &Gateway) -> bool {
    let mut wanted = service.spec.gateways.iter();
    wanted.any(|wanted| names(wanted, service, gateway))
}

fn names(wanted: &str, service: &VirtualService, gateway: &Gateway) -> bool {
    match wanted.split_once('/') {
        Some((namespace, name)) => {
            Some(namespace) == gateway.namespace().as_deref() && name == gateway.name_any()
        }
        None => wanted == gateway.name_any() && service.namespace() == gateway.namespace(),
    }
}

/// The hosts that both a server's pattern and a VirtualService's host take: the narrower of both.
pub(super) fn meet(pattern: &str, host: &str) -> Option<String> {
    if takes(pattern, host) {
        Some(host.to_ascii_lowercase())
    } else if takes(host, pattern) {
        Some(pattern.to_ascii_lowercase())
    } else {
        None
    }
}

/// Whether Envoy and people read `host` the same way: a name, a name below `*.`, or `*`.
pub(super) fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    host == "*" || (!name.is_empty() && name.chars().all(plain))
}

/// Reports Gateways that are named and do not exist, and hosts that no Gateway named has.
///
/// It looks at all Gateways, whichever proxies they are for, so that the answer is the same for
/// each gateway that is translated.
pub(super) fn check(input: &Input<'_>, problems: &mut Vec<Problem>) {
    for service in input.virtual_services {
        let mut refuse = |refusal| problems.push(Problem::of(*service, "VirtualService", refusal));
        let wanted = service.spec.gateways.iter().filter(|name| *name != MESH);
        let mut found = Vec::new();
        let mut complete = true;
        for wanted in wanted {
            let before = found.len();
            let named = input
                .servers
                .iter()
                .filter(|held| names(wanted, service, held));
            found.extend(named.copied());
            if found.len() == before {
                complete = false;
                refuse(("GatewayNotFound", format!("no Gateway {wanted}")));
            }
        }
        if found.is_empty() {
            continue;
        }
        for host in &service.spec.hosts {
            if !is_host(host) {
                refuse(("InvalidHost", format!("{host:?} is not a host name")));
            } else if complete && !found.iter().any(|gateway| has(gateway, service, host)) {
                refuse(("HostNotServed", format!("no Gateway named serves {host}")));
            }
        }
    }
}

fn has(gateway: &Gateway, service: &VirtualService, host: &str) -> bool {
    let (own, from) = (
        gateway.namespace().unwrap_or_default(),
        service.namespace().unwrap_or_default(),
    );
    let mut all = gateway.spec.servers.iter().flat_map(hosts);
    all.any(|held| held.is_open_to(&from, &own) && meet(&held.pattern, host).is_some())
}
