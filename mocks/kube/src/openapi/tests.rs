use std::sync::Arc;

use serde_json::{Value, json};

use super::{Documents, SchemaSource, ServedKind};

fn builtin<'a>(group: &'a str, kind: &'a str, plural: &'a str) -> ServedKind<'a> {
    ServedKind {
        group,
        version: "v1",
        kind,
        plural,
        singular: "",
        namespaced: true,
        subresources: &["status"],
        schema: SchemaSource::Builtin,
    }
}

fn custom(schema: &Arc<Value>) -> ServedKind<'_> {
    ServedKind {
        group: "gatewright.dev",
        version: "v1alpha1",
        kind: "WafPolicy",
        plural: "wafpolicies",
        singular: "wafpolicy",
        namespaced: true,
        subresources: &["status"],
        schema: SchemaSource::Custom(schema),
    }
}

fn read(documents: &Documents, path: &str) -> Value {
    let document = documents.document(path).expect("the document exists");
    serde_json::from_slice(&document.json()).expect("the document is JSON")
}

/// What kubectl looks for: a PATCH of the kind with the parameter.
fn validates_fields(document: &Value, kind: &Value) -> bool {
    document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .any(|path| {
            let patch = &path["patch"];
            patch["x-kubernetes-group-version-kind"] == *kind
                && patch["parameters"]
                    .as_array()
                    .is_some_and(|p| p.iter().any(|p| p["name"] == "fieldValidation"))
        })
}

fn check_references(value: &Value, prefix: &str, known: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                let name = target
                    .strip_prefix(prefix)
                    .expect("a reference to a component");
                assert!(known.get(name).is_some(), "{name}");
            }
            map.values()
                .for_each(|v| check_references(v, prefix, known));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|v| check_references(v, prefix, known)),
        _ => {}
    }
}

#[test]
fn documents_hold_kinds_with_patch_parameters_and_all_they_refer_to() {
    let schema = Arc::new(json!({"type": "object", "properties": {"spec": {"type": "object"}}}));
    let kinds = [
        builtin("", "Pod", "pods"),
        builtin("apps", "Deployment", "deployments"),
        custom(&schema),
    ];
    let documents = Documents::build(&kinds, None);
    let cases = [
        (
            "api/v1",
            "io.k8s.api.core.v1.Pod",
            json!({"group": "", "version": "v1", "kind": "Pod"}),
        ),
        (
            "apis/apps/v1",
            "io.k8s.api.apps.v1.Deployment",
            json!({"group": "apps", "version": "v1", "kind": "Deployment"}),
        ),
        (
            "apis/gatewright.dev/v1alpha1",
            "dev.gatewright.v1alpha1.WafPolicy",
            json!({"group": "gatewright.dev", "version": "v1alpha1", "kind": "WafPolicy"}),
        ),
    ];
    for (path, component, kind) in cases {
        let document = read(&documents, path);
        assert!(validates_fields(&document, &kind), "{path}");
        let schemas = &document["components"]["schemas"];
        assert_eq!(
            schemas[component]["x-kubernetes-group-version-kind"],
            json!([kind]),
            "{path}"
        );
        assert!(schemas.get(format!("{component}List")).is_some(), "{path}");
        check_references(&document, "#/components/schemas/", schemas);
    }
    assert!(documents.document("apis/apps/v2").is_none());
}

#[test]
fn explain_finds_descriptions_and_merge_rules() {
    let documents = Documents::build(&[builtin("", "Pod", "pods")], None);
    let schemas = &read(&documents, "api/v1")["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert!(
        containers["description"]
            .as_str()
            .is_some_and(|d| !d.is_empty())
    );
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
}

#[test]
fn hashes_follow_the_schemas() {
    let first = Arc::new(json!({"type": "object"}));
    let second = Arc::new(json!({"type": "object", "description": "changed"}));
    let before = Documents::build(&[builtin("", "Pod", "pods"), custom(&first)], None);
    let after = Documents::build(
        &[builtin("", "Pod", "pods"), custom(&second)],
        Some(&before),
    );
    let url = |documents: &Documents, path: &str| {
        documents.index()["paths"][path]["serverRelativeURL"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(url(&before, "api/v1"), url(&after, "api/v1"));
    let path = "apis/gatewright.dev/v1alpha1";
    assert_ne!(url(&before, path), url(&after, path));
    assert_ne!(before.hash(), after.hash());
    let hash = after
        .document(path)
        .expect("the document exists")
        .hash()
        .to_owned();
    assert_eq!(
        url(&after, path),
        Some(format!("/openapi/v3/{path}?hash={hash}"))
    );
}

#[test]
fn the_old_form_refers_to_definitions() {
    let schema = Arc::new(
        json!({"type": "object", "properties": {"p": {"x-kubernetes-int-or-string": true}}}),
    );
    let documents = Documents::build(&[builtin("", "Service", "services"), custom(&schema)], None);
    let document: Value = serde_json::from_slice(&documents.v2()).expect("JSON");
    assert_eq!(document["swagger"], "2.0");
    check_references(&document, "#/definitions/", &document["definitions"]);
    let kind = json!({"group": "", "version": "v1", "kind": "Service"});
    assert!(validates_fields(&document, &kind));
}
