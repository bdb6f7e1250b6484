//! What is served, as clients ask for it: `/api`, `/apis`, `/version`.

use base64::Engine as _;
use http::StatusCode;
use http::header::ACCEPT;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::dispatch::{Reply, json as json_reply};
use crate::kinds::{Kinds, Resource};
use crate::request::Request;
use crate::reviews::REVIEWS;
use crate::shared::Shared;
use crate::status::{Answer, ApiError};

/// The version of Kubernetes whose API this is.
const VERSION: &str = "v1.37.2";

const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// The order of a custom kind's verbs.
const CUSTOM_VERBS: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// What tells that a kind is stored in another version than before (`discovery.StorageVersionHash`).
fn storage_hash(resource: &Resource) -> String {
    // Both kinds of events are stored as the older one.
    let (group, version) = match (resource.kind.as_str(), resource.custom) {
        ("Event", false) => ("", "v1"),
        _ => (resource.group.as_str(), resource.version.as_str()),
    };
    let stored = format!("{group}/{version}/{}", resource.kind);
    let digest = Sha256::digest(stored.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

/// `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "37",
        "emulationMajor": "1",
        "emulationMinor": "37",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "36",
        "gitVersion": format!("{VERSION}+local-kube"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// Groups that hold only reviews.
const REVIEW_GROUPS: &[&str] = &["authentication.k8s.io", "authorization.k8s.io"];

/// Answers below `/api` and `/apis`, and the root.
pub(crate) fn answer(shared: &Shared, request: &Request, segments: &[&str]) -> Answer<Reply> {
    let kinds = shared.registry.kinds();
    let aggregated = aggregated_version(request.header(ACCEPT));
    let value = match (segments, aggregated) {
        ([], _) => json!({"paths": paths(&kinds)}),
        (["api"], Some(version)) => return Ok(aggregate(&kinds, &[String::new()], version)),
        (["apis"], Some(version)) => return Ok(aggregate(&kinds, &groups(&kinds), version)),
        (["api"], None) => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        (["apis"], None) => json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups(&kinds).iter().map(|g| group(&kinds, g)).collect::<Vec<_>>(),
        }),
        (["apis", name], _) if groups(&kinds).iter().any(|group| group == name) => {
            let mut value = group(&kinds, name);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            value
        }
        (["api", version], _) => resources(&kinds, "", version)?,
        (["apis", group, version], _) => resources(&kinds, group, version)?,
        _ => return Err(ApiError::no_page()),
    };
    Ok(json_reply(StatusCode::OK, &value))
}

fn groups(kinds: &Kinds) -> Vec<String> {
    let mut groups = kinds.groups();
    groups.extend(REVIEW_GROUPS.iter().map(ToString::to_string));
    groups
}

fn versions(kinds: &Kinds, group: &str) -> Vec<String> {
    if REVIEW_GROUPS.contains(&group) {
        vec!["v1".to_owned()]
    } else {
        kinds.versions(group)
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn paths(kinds: &Kinds) -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in groups(kinds) {
        paths.push(format!("/apis/{group}"));
        for version in versions(kinds, &group) {
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    for path in [
        "/healthz",
        "/livez",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ] {
        paths.push(path.to_owned());
    }
    paths
}

fn group(kinds: &Kinds, name: &str) -> Value {
    let versions: Vec<Value> = versions(kinds, name)
        .iter()
        .map(|version| json!({"groupVersion": group_version(name, version), "version": version}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

fn resources(kinds: &Kinds, group: &str, version: &str) -> Answer<Value> {
    let mut list = Vec::new();
    for resource in kinds
        .all()
        .iter()
        .filter(|r| r.group == group && r.version == version)
    {
        let mut entry = named(
            json!({
                "name": resource.plural,
                "singularName": resource.singular,
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": if resource.custom { CUSTOM_VERBS } else { VERBS },
            }),
            resource,
        );
        entry["storageVersionHash"] = storage_hash(resource).into();
        list.push(entry);
        let mut subresources = resource.subresources();
        if resource.custom {
            // Those of custom kinds are not sorted: the status comes first.
            subresources.sort_by_key(|subresource| *subresource != "status");
        }
        for subresource in subresources {
            let (group, version, kind) = response_kind(resource, subresource);
            let mut entry = json!({
                "name": format!("{}/{subresource}", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": subresource_verbs(subresource),
            });
            if kind != resource.kind {
                entry["group"] = group.into();
                entry["version"] = version.into();
            }
            list.push(entry);
        }
    }
    for (_, plural, kind, namespaced) in REVIEWS.iter().filter(|r| r.0 == group && version == "v1")
    {
        list.push(json!({
            "name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced,
            "kind": kind, "verbs": ["create"],
        }));
    }
    if list.is_empty() {
        return Err(ApiError::no_page());
    }
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": list,
    }))
}

fn named(mut entry: Value, resource: &Resource) -> Value {
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    entry
}

/// Group, version and kind of what a subresource is.
fn response_kind<'a>(resource: &'a Resource, subresource: &str) -> (&'a str, &'a str, &'a str) {
    match subresource {
        "scale" => ("autoscaling", "v1", "Scale"),
        "binding" => ("", "v1", "Binding"),
        "eviction" => ("policy", "v1", "Eviction"),
        _ => (&resource.group, &resource.version, &resource.kind),
    }
}

fn subresource_verbs(subresource: &str) -> &'static [&'static str] {
    match subresource {
        "binding" | "eviction" => &["create"],
        "finalize" => &["update"],
        _ => &["get", "patch", "update"],
    }
}

/// The version of aggregated discovery that a client accepts, the newest first.
fn aggregated_version(accept: &str) -> Option<&'static str> {
    let part = accept.split(',').find(|part| {
        part.contains("g=apidiscovery.k8s.io") && part.contains("as=APIGroupDiscoveryList")
    })?;
    Some(if part.contains("v=v2beta1") {
        "v2beta1"
    } else {
        "v2"
    })
}

/// `APIGroupDiscoveryList`: everything in one answer.
fn aggregate(kinds: &Kinds, groups: &[String], version: &'static str) -> Reply {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = versions(kinds, group)
                .iter()
                .map(|version| {
                    json!({
                        "version": version,
                        "resources": aggregated_resources(kinds, group, version),
                        "freshness": "Current",
                    })
                })
                .collect();
            let mut metadata = json!({"creationTimestamp": null});
            if !group.is_empty() {
                metadata["name"] = group.clone().into();
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let value = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    let mut reply = json_reply(StatusCode::OK, &value);
    let media = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let headers = reply.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(media),
    );
    headers.insert(http::header::VARY, http::HeaderValue::from_static("Accept"));
    reply
}

fn aggregated_resources(kinds: &Kinds, group: &str, version: &str) -> Vec<Value> {
    let response = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let mut list = Vec::new();
    for resource in kinds
        .all()
        .iter()
        .filter(|r| r.group == group && r.version == version)
    {
        let mut entry = named(
            json!({
                "resource": resource.plural,
                "responseKind": response(group, version, &resource.kind),
                "scope": scope(resource.namespaced),
                "singularResource": resource.singular,
                "verbs": VERBS,
            }),
            resource,
        );
        let subresources: Vec<Value> = resource
            .subresources()
            .into_iter()
            .map(|subresource| {
                let (group, version, kind) = response_kind(resource, subresource);
                json!({
                    "subresource": subresource,
                    "responseKind": response(group, version, kind),
                    "verbs": subresource_verbs(subresource),
                })
            })
            .collect();
        if !subresources.is_empty() {
            entry["subresources"] = Value::Array(subresources);
        }
        list.push(entry);
    }
    for (_, plural, kind, namespaced) in REVIEWS.iter().filter(|r| r.0 == group) {
        list.push(json!({
            "resource": plural,
            "responseKind": response(group, version, kind),
            "scope": scope(*namespaced),
            "singularResource": kind.to_lowercase(),
            "verbs": ["create"],
        }));
    }
    list
}
