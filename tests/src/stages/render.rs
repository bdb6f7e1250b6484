//! What is in the API server, in words that two servers and two clocks can be compared by.
//!
//! Gone is what a server makes up (uids, versions, times), and replaced what a world makes up
//! (addresses, serials, ids, names of Pods). What two servers may do differently has a comment here.

use std::collections::{BTreeMap, BTreeSet};

use gatewright_crds::cert_manager::{Certificate, Issuer};
use gatewright_crds::istio::{Gateway, VirtualService};
use gatewright_crds::istio_gateway::IstioGateway;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::NAMESPACE;

/// The hash of a template, which is no part of what the template says.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// What is in each namespace of a real cluster, made by its controllers.
const OF_EVERY_NAMESPACE: [&str; 2] = ["default", "kube-root-ca.crt"];

/// Every object of the quickstart's namespace that says something of the daemon's work, and
/// `answers`, as text.
pub async fn render(kube: &kube::Client, answers: &[String]) -> String {
    let mut documents = Vec::new();
    for answer in answers {
        documents.push(json!({ "refused": plain(answer) }));
    }
    // Those in other namespaces are told that they are in the wrong one.
    documents.extend(objects::<IstioGateway>(Api::all(kube.clone())).await);
    let here = Here(kube);
    documents.extend(objects::<Service>(here.api()).await);
    documents.extend(objects::<Issuer>(here.api()).await);
    documents.extend(objects::<Certificate>(here.api()).await);
    documents.extend(objects::<Gateway>(here.api()).await);
    documents.extend(objects::<VirtualService>(here.api()).await);
    documents.extend(objects::<ServiceAccount>(here.api()).await);
    documents.extend(objects::<ConfigMap>(here.api()).await);
    documents.extend(objects::<Secret>(here.api()).await);
    documents.extend(objects::<Deployment>(here.api()).await);
    let sets = list::<ReplicaSet>(here.api()).await;
    documents.extend(replica_sets(&sets));
    documents.extend(pods(&list::<Pod>(here.api()).await));
    documents.extend(endpoints(&list::<EndpointSlice>(here.api()).await));
    documents.extend(events(&list::<Event>(Api::all(kube.clone())).await));
    let mut text = String::new();
    for document in documents {
        let yaml = serde_saphyr::to_string(&sorted(document)).expect("an object as yaml");
        text += "---\n";
        text += yaml.trim_end();
        text += "\n";
    }
    // Each server has its own way to tell templates apart.
    for hash in sets
        .iter()
        .filter_map(|set| set.labels().get(TEMPLATE_HASH))
    {
        text = text.replace(hash, "HASH");
    }
    text
}

struct Here<'a>(&'a kube::Client);

impl Here<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.0.clone(), NAMESPACE)
    }
}

async fn list<K>(api: Api<K>) -> Vec<K>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let all = api.list(&ListParams::default()).await;
    all.expect("a list of objects").items
}

async fn objects<K>(api: Api<K>) -> Vec<Value>
where
    K: kube::Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let mut all = list(api).await;
    all.retain(|object| !OF_EVERY_NAMESPACE.contains(&object.name_any().as_str()));
    all.sort_by_key(|object| (object.namespace(), object.name_any()));
    let mut found = Vec::new();
    for object in all {
        let mut value = serde_json::to_value(object).expect("an object");
        value["kind"] = K::kind(&()).as_ref().into();
        value["apiVersion"] = K::api_version(&()).as_ref().into();
        found.push(normal(value));
    }
    found
}

/// An object without what is made up.
fn normal(mut object: Value) -> Value {
    let generation = object["metadata"]["generation"].clone();
    object["metadata"] = metadata(&object["metadata"]);
    match object["kind"].as_str().unwrap_or_default() {
        // Key material is nobody's to read, not even a test's log.
        "Secret" => object["data"] = keys(&object["data"]),
        // The record of a load balancer is the daemon's own, full of ids and times; what it leads
        // to is in the Service.
        "ConfigMap" if object["data"].get("record.json").is_some() => {
            object["data"] = keys(&object["data"]);
        }
        "Deployment" | "ReplicaSet" => workload(&mut object),
        "Service" => service(&mut object),
        "Issuer" => issuer(&mut object),
        _ => {}
    }
    clean(&mut object, &generation);
    object
}

fn metadata(held: &Value) -> Value {
    let mut kept = Map::new();
    for field in ["name", "namespace", "labels", "annotations", "finalizers"] {
        if let Some(value) = held.get(field) {
            kept.insert(field.to_owned(), value.clone());
        }
    }
    let owners = held["ownerReferences"].as_array().into_iter().flatten();
    let owners: Vec<Value> = owners
        .map(|owner| {
            let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
            let role = if owner["controller"] == true {
                ", its controller"
            } else {
                ""
            };
            format!("{}/{}{role}", text("kind"), text("name")).into()
        })
        .collect();
    if !owners.is_empty() {
        kept.insert("owners".into(), owners.into());
    }
    kept.into()
}

fn keys(data: &Value) -> Value {
    let keys = data.as_object().into_iter().flat_map(Map::keys).cloned();
    keys.collect::<BTreeSet<String>>().into_iter().collect()
}

fn workload(object: &mut Value) {
    let conditions = object["status"]["conditions"].as_array_mut();
    for condition in conditions.into_iter().flatten() {
        remove(condition, "lastUpdateTime");
    }
    // Pods on their way out are counted by the real controllers alone, and only since 1.34.
    remove(&mut object["status"], "terminatingReplicas");
}

fn service(object: &mut Value) {
    for field in ["clusterIP", "clusterIPs"] {
        if object["spec"].get(field).is_some() {
            object["spec"][field] = "ADDRESS".into();
        }
    }
    let ports = object["spec"]["ports"].as_array_mut();
    for port in ports.into_iter().flatten() {
        if port.get("nodePort").is_some() {
            port["nodePort"] = "PORT".into();
        }
    }
}

fn issuer(object: &mut Value) {
    for pointer in ["/spec/acme/server", "/status/acme/uri"] {
        if let Some(url) = object.pointer_mut(pointer) {
            *url = "URL".into();
        }
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove(field);
    }
}

/// Replaces in `value` what a world makes up. `generation` is that of the object.
fn clean(value: &mut Value, generation: &Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            for (name, field) in fields.iter_mut() {
                match name.as_str() {
                    // How often something was written is no matter, that it was seen is.
                    "observedGeneration" if field == generation => *field = "CURRENT".into(),
                    "conditions" => by_type(field),
                    // They go on while somebody looks.
                    "failedIssuanceAttempts" => *field = "SOME".into(),
                    _ => {}
                }
                clean(field, generation);
            }
        }
        Value::Array(items) => {
            for item in items {
                clean(item, generation);
            }
        }
        Value::String(text) => *text = plain(text),
        _ => {}
    }
}

/// Conditions are a map by type: in which order they were first set is no matter.
fn by_type(conditions: &mut Value) {
    if let Some(list) = conditions.as_array_mut() {
        list.sort_by_key(|condition| condition["type"].as_str().unwrap_or_default().to_owned());
    }
}

/// A text without times, addresses, ports of this world, serials and ids.
fn plain(text: &str) -> String {
    if text.parse::<Timestamp>().is_ok() {
        return "TIME".into();
    }
    let mut out = String::new();
    let mut word = String::new();
    let mut before = String::new();
    for character in text.chars().chain([' ']) {
        if character.is_ascii_alphanumeric() || ".-:_".contains(character) {
            word.push(character);
            continue;
        }
        out.push_str(&plain_word(&word, &before));
        out.push(character);
        if !word.is_empty() {
            before = std::mem::take(&mut word);
        }
    }
    out.pop();
    out
}

fn plain_word(word: &str, before: &str) -> String {
    let trimmed = word.trim_end_matches(['.', ':']);
    let rest = &word[trimmed.len()..];
    let address = trimmed.split(':').next().unwrap_or_default();
    let replaced = if let Ok(address) = address.parse::<std::net::Ipv4Addr>() {
        // A wildcard is the same everywhere.
        if address.is_unspecified() {
            trimmed
        } else {
            "ADDRESS"
        }
    } else if trimmed.parse::<Timestamp>().is_ok() {
        "TIME"
    } else if trimmed.starts_with("lb-") {
        "LOAD-BALANCER"
    } else if before == "serial" {
        "SERIAL"
    } else {
        trimmed
    };
    format!("{replaced}{rest}")
}

/// The templates that were in use, the oldest first; its own template is in the Deployment.
fn replica_sets(all: &[ReplicaSet]) -> Vec<Value> {
    let revision = |set: &ReplicaSet| {
        let held = set.annotations().get("deployment.kubernetes.io/revision");
        held.and_then(|held| held.parse::<u64>().ok())
    };
    let mut all: Vec<&ReplicaSet> = all.iter().collect();
    all.sort_by_key(|set| revision(set));
    let shown = all.into_iter().map(|set| {
        let mut value = serde_json::to_value(set).expect("an object");
        value["kind"] = "ReplicaSet".into();
        remove(&mut value["spec"], "template");
        // Notes of the real Deployment controller to itself, for rollouts that are scaled meanwhile.
        for note in ["desired-replicas", "max-replicas"] {
            let note = format!("deployment.kubernetes.io/{note}");
            remove(&mut value["metadata"]["annotations"], &note);
        }
        normal(value)
    });
    shown.collect()
}

/// Proxies by what they are, without what a scheduler, an admission or a kubelet adds to them.
fn pods(all: &[Pod]) -> Vec<Value> {
    let mut found: Vec<Value> = all.iter().map(pod).collect();
    found.sort_by_key(Value::to_string);
    found
}

fn pod(pod: &Pod) -> Value {
    let mut labels = pod.labels().clone();
    labels.remove(TEMPLATE_HASH);
    let value = serde_json::to_value(pod).expect("an object");
    let container = |field: &str| value["spec"]["containers"][0][field].clone();
    let conditions = value["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|held| held["type"] == "Ready");
    json!({
        "kind": "Pod",
        "labels": labels,
        "annotations": pod.annotations(),
        "owners": metadata(&value["metadata"])["owners"],
        "ending": pod.metadata.deletion_timestamp.is_some(),
        "serviceAccountName": value["spec"]["serviceAccountName"],
        "terminationGracePeriodSeconds": value["spec"]["terminationGracePeriodSeconds"],
        "securityContext": value["spec"]["securityContext"],
        "image": container("image"),
        "args": container("args"),
        "env": container("env"),
        "ports": container("ports"),
        "readinessProbe": container("readinessProbe"),
        "phase": value["status"]["phase"],
        "ready": ready.map(|held| held["status"].clone()),
    })
}

/// The endpoints of each Service, however many slices they are in and whatever those are called.
fn endpoints(all: &[EndpointSlice]) -> Vec<Value> {
    let mut services: BTreeMap<String, (usize, usize, BTreeSet<String>)> = BTreeMap::new();
    for slice in all {
        let service = slice.labels().get("kubernetes.io/service-name");
        let (ready, others, ports) = services
            .entry(service.cloned().unwrap_or_default())
            .or_default();
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            *(if conditions.ready == Some(true) {
                &mut *ready
            } else {
                &mut *others
            }) += 1;
        }
        // The ports of a slice are found by its endpoints: one without any says nothing.
        if slice.endpoints.iter().flatten().next().is_some() {
            ports.extend(slice.ports.iter().flatten().map(|port| {
                format!(
                    "{} {}/{}",
                    port.name.as_deref().unwrap_or_default(),
                    port.port.unwrap_or_default(),
                    port.protocol.as_deref().unwrap_or_default()
                )
            }));
        }
    }
    let documents = services
        .into_iter()
        .map(|(service, (ready, others, ports))| {
            json!({
                "kind": "endpoints of a Service",
                "service": service,
                "ready": ready,
                "others": others,
                "ports": ports,
            })
        });
    documents.collect()
}

/// Which events the daemon has told so far, of those that no timing can keep away.
fn events(all: &[Event]) -> Vec<Value> {
    const STABLE: [&str; 8] = [
        "FieldsNotActedOn",
        "InvalidRegex",
        "InvalidService",
        "Issued",
        "Issuing",
        "NotSupported",
        "SecretNotFound",
        "WrongNamespace",
    ];
    let mut told = BTreeSet::new();
    for event in all {
        let reason = event.reason.as_deref().unwrap_or_default();
        let about = event.regarding.clone().unwrap_or_default();
        let ours = event.reporting_controller.as_deref() == Some("gatewright");
        if ours && STABLE.contains(&reason) {
            told.insert(format!(
                "{}/{} {reason} ({})",
                about.kind.unwrap_or_default(),
                about.name.unwrap_or_default(),
                event.type_.as_deref().unwrap_or_default()
            ));
        }
    }
    vec![json!({ "kind": "events", "told": told })]
}

/// The same value with the fields of every map in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields
                .into_iter()
                .map(|(name, field)| (name, sorted(field)))
                .collect();
            fields.into_iter().collect::<Map<String, Value>>().into()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}
