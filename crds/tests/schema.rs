//! The schemas are ones the API server takes, and say what they should.

#![expect(
    clippy::unwrap_used,
    reason = "a test file: a panic is how a helper fails"
)]

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

fn schema(kind: &str) -> Value {
    let all = gatewright_crds::all().unwrap();
    let crd = all
        .into_iter()
        .find(|crd| crd.spec.names.kind == kind && is_ours(crd))
        .unwrap();
    let version = crd
        .spec
        .versions
        .into_iter()
        .find(|version| version.storage)
        .unwrap();
    serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap()
}

fn is_ours(crd: &CustomResourceDefinition) -> bool {
    crd.metadata.name.as_deref() == Some(&format!("{}.{}", crd.spec.names.plural, crd.spec.group))
}

/// The rules of structural schemas (Kubernetes documentation, "Specifying a structural schema").
fn check_structural(schema: &Value, path: &str, problems: &mut Vec<String>) {
    let Some(object) = schema.as_object() else {
        problems.push(format!("{path}: not an object"));
        return;
    };
    let int_or_string = object.get("x-kubernetes-int-or-string") == Some(&json!(true));
    let anything = object.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    match object.get("type").and_then(Value::as_str) {
        Some(_) if int_or_string => problems.push(format!("{path}: type beside int-or-string")),
        None if !int_or_string && !anything => problems.push(format!("{path}: no type")),
        _ => {}
    }
    for key in [
        "$ref",
        "definitions",
        "oneOf",
        "anyOf",
        "allOf",
        "not",
        "const",
        "nullable",
        "title",
    ] {
        if object.contains_key(key) {
            problems.push(format!("{path}: {key}"));
        }
    }
    if object.contains_key("properties") && object.contains_key("additionalProperties") {
        problems.push(format!("{path}: properties beside additionalProperties"));
    }
    if object.get("type") == Some(&json!("array")) && !object.contains_key("items") {
        problems.push(format!("{path}: array without items"));
    }
    if object.get("uniqueItems") == Some(&json!(true)) {
        problems.push(format!("{path}: uniqueItems"));
    }
    if let Some(keys) = object
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
    {
        for key in keys {
            if !object["items"]["required"]
                .as_array()
                .is_some_and(|names| names.contains(key))
            {
                problems.push(format!("{path}: the map key {key} is not required"));
            }
        }
    }
    let properties = object.get("properties").and_then(Value::as_object);
    for name in object
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let known = properties.is_some_and(|p| p.contains_key(name.as_str().unwrap_or_default()));
        if !known {
            problems.push(format!("{path}: {name} is required and not a property"));
        }
    }
    for (name, property) in properties.into_iter().flatten() {
        check_structural(property, &format!("{path}.{name}"), problems);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = object.get(key) {
            check_structural(child, &format!("{path}.{key}"), problems);
        }
    }
}

#[test]
fn every_schema_is_structural() {
    for crd in gatewright_crds::all().unwrap() {
        for version in &crd.spec.versions {
            let schema = version
                .schema
                .as_ref()
                .unwrap()
                .open_api_v3_schema
                .as_ref()
                .unwrap();
            let mut problems = Vec::new();
            let name = format!("{}/{}", crd.spec.names.kind, version.name);
            check_structural(&serde_json::to_value(schema).unwrap(), &name, &mut problems);
            assert_eq!(problems, Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn names_and_versions_are_those_users_know() {
    let found: Vec<(String, Vec<String>, usize)> = gatewright_crds::all()
        .unwrap()
        .into_iter()
        .map(|crd| {
            let versions = crd
                .spec
                .versions
                .iter()
                .map(|version| version.name.clone())
                .collect();
            let stored = crd
                .spec
                .versions
                .iter()
                .filter(|version| version.storage)
                .count();
            (crd.metadata.name.unwrap(), versions, stored)
        })
        .collect();
    let expected = [
        (
            "istiogateways.istio.alibabacloud.com",
            vec!["v1beta1", "v1"],
        ),
        ("issuers.cert-manager.io", vec!["v1"]),
        ("clusterissuers.cert-manager.io", vec!["v1"]),
        ("certificates.cert-manager.io", vec!["v1"]),
        ("certificaterequests.cert-manager.io", vec!["v1"]),
        ("orders.acme.cert-manager.io", vec!["v1"]),
        ("challenges.acme.cert-manager.io", vec!["v1"]),
        (
            "gateways.networking.istio.io",
            vec!["v1", "v1beta1", "v1alpha3"],
        ),
        (
            "virtualservices.networking.istio.io",
            vec!["v1", "v1beta1", "v1alpha3"],
        ),
    ];
    let expected: Vec<(String, Vec<String>, usize)> = expected
        .into_iter()
        .map(|(name, versions)| {
            (
                name.into(),
                versions.into_iter().map(String::from).collect(),
                1,
            )
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn defaults_stand_in_the_schema_but_not_in_overrides() {
    let schema = schema("IstioGateway");
    let spec = &schema["properties"]["spec"]["properties"];
    assert_eq!(spec["replicaCount"]["default"], json!(1));
    assert_eq!(spec["serviceType"]["default"], json!("LoadBalancer"));
    assert_eq!(spec["gatewayType"]["default"], json!("ingress"));
    assert_eq!(spec["gatewayType"]["enum"], json!(["ingress", "egress"]));
    let overrides = &spec["overrides"]["additionalProperties"]["properties"];
    assert!(overrides["replicaCount"]["default"].is_null());
    assert_eq!(overrides["replicaCount"]["type"], json!("integer"));
    assert!(overrides["overrides"].is_null());
}

#[test]
fn optional_fields_are_optional() {
    let required = |schema: &Value| -> BTreeSet<String> {
        let names = schema["required"].as_array().cloned().unwrap_or_default();
        names
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|n| (*n).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let spec = |kind: &str| schema(kind)["properties"]["spec"].clone();
    assert_eq!(required(&spec("IstioGateway")), names(&[]));
    assert_eq!(required(&spec("Issuer")), names(&[]));
    assert_eq!(
        required(&spec("Issuer")["properties"]["acme"]),
        names(&["server", "privateKeySecretRef"])
    );
    assert_eq!(required(&spec("ClusterIssuer")), names(&[]));
    assert_eq!(
        required(&spec("Certificate")),
        names(&["secretName", "issuerRef"])
    );
    assert_eq!(
        required(&spec("CertificateRequest")),
        names(&["request", "issuerRef"])
    );
    assert_eq!(required(&spec("Order")), names(&["request", "issuerRef"]));
    assert_eq!(
        required(&schema("Order")["properties"]["status"]),
        names(&[])
    );
    assert_eq!(required(&spec("VirtualService")), names(&[]));
    let server = &spec("Gateway")["properties"]["servers"]["items"];
    assert_eq!(required(server), names(&["hosts", "port"]));
}

#[test]
fn fields_have_their_own_texts() {
    let spec = schema("IstioGateway")["properties"]["spec"]["properties"].clone();
    for field in [
        "serviceType",
        "affinity",
        "compression",
        "externalTrafficPolicy",
        "ports",
    ] {
        let text = spec[field]["description"].as_str().unwrap_or_default();
        assert!(
            !text.is_empty() && !text.contains('\n'),
            "{field}: {text:?}"
        );
    }
    assert!(
        spec["serviceType"]["description"]
            .as_str()
            .unwrap()
            .contains("Default: LoadBalancer")
    );
    let ports = &spec["ports"]["items"]["properties"];
    assert!(
        ports["targetPort"]["description"]
            .as_str()
            .unwrap()
            .contains("the proxies listen")
    );
}

#[test]
fn every_spec_field_of_every_kind_is_described() {
    fn walk(schema: &Value, path: &str, missing: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].as_str().is_none_or(str::is_empty) {
                missing.push(path.clone());
            }
            if name != "overrides" {
                walk(property, &path, missing);
            }
        }
        if schema["items"].is_object() {
            walk(&schema["items"], path, missing);
        }
    }
    for crd in gatewright_crds::all().unwrap() {
        let schema = crd.spec.versions[0]
            .schema
            .as_ref()
            .unwrap()
            .open_api_v3_schema
            .as_ref();
        let schema = serde_json::to_value(schema.unwrap()).unwrap();
        let mut missing = Vec::new();
        walk(
            &schema["properties"]["spec"],
            &crd.spec.names.kind,
            &mut missing,
        );
        assert_eq!(missing, Vec::<String>::new());
    }
}

#[test]
fn definitions_fit_into_the_annotation_of_client_side_apply() {
    for crd in gatewright_crds::all().unwrap() {
        let size = serde_json::to_string(&crd).unwrap().len();
        assert!(size < 256 * 1024, "{}: {size} bytes", crd.spec.names.kind);
    }
}
