use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::meta;
use crate::shared::Shared;
use crate::status::{Answer, ApiError};
use crate::store::Object;

/// The network of cluster addresses, 10.96.0.0/16: the default of kubeadm.
const NETWORK: [u8; 2] = [10, 96];

/// The default range of node ports.
const NODE_PORTS: std::ops::RangeInclusive<u64> = 30_000..=32_767;

/// Gives a Service what the server assigns: cluster addresses, node ports, and what depends on them. What `live`
/// has stays.
pub(super) fn allocate(
    shared: &Shared,
    live: Option<&Value>,
    object: &mut Value,
    dry_run: bool,
) -> Answer<()> {
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return Ok(());
    };
    meta::fill(spec, "type", "ClusterIP".into());
    if let Some(live) = live {
        drop_of_type(&live["spec"], spec);
    }
    meta::fill(spec, "sessionAffinity", "None".into());
    let kind = meta::text(spec, "/type").to_owned();
    if kind == "ExternalName" {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            meta::remove(spec, key);
        }
        return Ok(());
    }
    if let Some(live) = live {
        for key in ["clusterIP", "clusterIPs"] {
            if let Some(value) = live.pointer(&format!("/spec/{key}")) {
                meta::fill(spec, key, value.clone());
            }
        }
    }
    if meta::text(spec, "/clusterIP").is_empty() {
        let address = if dry_run {
            network_address(0, 0)
        } else {
            free_address(shared)?
        };
        spec["clusterIP"] = address.to_string().into();
    }
    let address = meta::text(spec, "/clusterIP").to_owned();
    meta::fill(spec, "clusterIPs", json!([address]));
    let family = if address.contains(':') {
        "IPv6"
    } else {
        "IPv4"
    };
    // Nothing is known of the endpoints of a Service that selects none: they may be of both families.
    let selects = spec
        .get("selector")
        .and_then(Value::as_object)
        .is_some_and(|selector| !selector.is_empty());
    if address == "None" && !selects {
        meta::fill(spec, "ipFamilies", json!(["IPv4", "IPv6"]));
        meta::fill(spec, "ipFamilyPolicy", "RequireDualStack".into());
    }
    meta::fill(spec, "ipFamilies", json!([family]));
    meta::fill(spec, "ipFamilyPolicy", "SingleStack".into());
    meta::fill(spec, "internalTrafficPolicy", "Cluster".into());
    if kind != "ClusterIP" {
        meta::fill(spec, "externalTrafficPolicy", "Cluster".into());
    }
    if kind == "LoadBalancer" {
        meta::fill(spec, "allocateLoadBalancerNodePorts", true.into());
    }
    let wants_node_ports = kind == "NodePort"
        || (kind == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != Value::Bool(false));
    let mut used = if wants_node_ports {
        node_ports(shared)
    } else {
        BTreeSet::new()
    };
    let before = live
        .map(|live| meta::list(live, "/spec/ports"))
        .unwrap_or_default();
    if let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) {
        for port in ports {
            meta::fill(port, "protocol", "TCP".into());
            if let Some(number) = port.get("port").cloned() {
                meta::fill(port, "targetPort", number);
            }
            if !wants_node_ports || port.get("nodePort").is_some_and(|p| p != 0) {
                continue;
            }
            let same =
                |old: &&Value| old["port"] == port["port"] && old["protocol"] == port["protocol"];
            let number = match before
                .iter()
                .find(same)
                .and_then(|old| old["nodePort"].as_u64())
            {
                Some(number) => number,
                None => free_node_port(shared, &used)?,
            };
            used.insert(number);
            port["nodePort"] = number.into();
        }
    }
    Ok(())
}

/// Takes away what the type of before had and this one has not, as far as nobody changed it too. What
/// somebody changed is left to be refused.
fn drop_of_type(before: &Value, spec: &mut Value) {
    let kinds = (meta::text(before, "/type"), meta::text(spec, "/type"));
    let (was, is) = (kinds.0.to_owned(), kinds.1.to_owned());
    let balanced = |kind: &str| kind == "LoadBalancer";
    let on_nodes = |kind: &str| balanced(kind) || kind == "NodePort";
    let outside =
        |kind: &str, spec: &Value| on_nodes(kind) || !meta::list(spec, "/externalIPs").is_empty();
    let local = |kind: &str, spec: &Value| {
        balanced(kind) && meta::text(spec, "/externalTrafficPolicy") == "Local"
    };
    let gone = [
        (
            "healthCheckNodePort",
            local(&was, before) && !local(&is, spec),
        ),
        (
            "allocateLoadBalancerNodePorts",
            balanced(&was) && !balanced(&is),
        ),
        ("loadBalancerClass", balanced(&was) && !balanced(&is)),
        (
            "externalTrafficPolicy",
            outside(&was, before) && !outside(&is, spec),
        ),
    ];
    if on_nodes(&was) && !on_nodes(&is) {
        let number = |port: &Value| port["nodePort"].as_u64().filter(|number| *number > 0);
        let had: BTreeSet<_> = meta::list(before, "/ports")
            .iter()
            .filter_map(number)
            .collect();
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        if let Some(ports) = ports.filter(|ports| {
            ports
                .iter()
                .filter_map(number)
                .all(|has| had.contains(&has))
        }) {
            for port in ports {
                meta::remove(port, "nodePort");
            }
        }
    }
    for (key, gone) in gone {
        if gone && spec.get(key) == before.get(key) {
            meta::remove(spec, key);
        }
    }
}

fn network_address(high: u8, low: u8) -> Ipv4Addr {
    Ipv4Addr::new(NETWORK[0], NETWORK[1], high, low)
}

fn services(shared: &Shared) -> Vec<Arc<Object>> {
    shared.store.all(&Arc::from("/services"), None)
}

fn free_address(shared: &Shared) -> Answer<Ipv4Addr> {
    let services = services(shared);
    let used: BTreeSet<&str> = services
        .iter()
        .map(|service| meta::text(service, "/spec/clusterIP"))
        .collect();
    let start = shared.random.below(1 << 16);
    for step in 0..1_u64 << 16 {
        let number = (start + step) % (1 << 16);
        let [.., high, low] = number.to_be_bytes();
        // The lowest addresses belong to the `kubernetes` and the name service.
        let address = network_address(high, low);
        if number > 255 && number < 65_535 && !used.contains(address.to_string().as_str()) {
            return Ok(address);
        }
    }
    Err(ApiError::internal(
        "failed to allocate a serviceIP: range is full",
    ))
}

fn node_ports(shared: &Shared) -> BTreeSet<u64> {
    let services = services(shared);
    let ports = services
        .iter()
        .flat_map(|service| meta::list(service, "/spec/ports"));
    ports.filter_map(|port| port["nodePort"].as_u64()).collect()
}

fn free_node_port(shared: &Shared, used: &BTreeSet<u64>) -> Answer<u64> {
    let count = NODE_PORTS.end() - NODE_PORTS.start() + 1;
    let start = shared.random.below(count);
    (0..count)
        .map(|step| NODE_PORTS.start() + (start + step) % count)
        .find(|port| !used.contains(port))
        .ok_or_else(|| ApiError::internal("failed to allocate a nodePort: range is full"))
}
