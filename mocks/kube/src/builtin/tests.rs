#![expect(
    clippy::needless_pass_by_value,
    reason = "json!(…) reads better in place"
)]

use serde_json::{Value, json};

use super::schema;
use crate::schema::{ListKind, NodeKind, SchemaNode};

/// The errors of an object after its defaults were filled in.
fn errors(group: &str, kind: &str, object: Value, old: Option<Value>) -> Vec<String> {
    let version = if kind == "HorizontalPodAutoscaler" {
        "v2"
    } else {
        "v1"
    };
    let schema = schema(group, version, kind).expect("the kind is built in");
    let mut object = object;
    schema.default(&mut object);
    let old = old.map(|mut old| {
        schema.default(&mut old);
        old
    });
    schema
        .validate(&object, old.as_ref())
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn service(spec: Value) -> Value {
    json!({"metadata": {"name": "a"}, "spec": spec})
}

#[test]
fn every_kind_has_a_schema_that_knows_metadata() {
    for row in &super::types::table().kinds {
        let schema = schema(row.group, row.version, row.kind).expect("the kind has a schema");
        assert!(schema.node().kind() == NodeKind::Granular, "{}", row.kind);
        if !matches!(row.kind, "DeleteOptions" | "Status") {
            assert!(schema.node().field("metadata").is_some(), "{}", row.kind);
        }
    }
    assert!(schema("", "v1", "Nothing").is_none());
}

#[test]
fn services_are_checked() {
    let port = |n: i64| json!({"port": n});
    let cases = [
        (
            json!({"ports": [port(70000)]}),
            vec![
                "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (json!({}), vec!["spec.ports: Required value"]),
        (
            json!({"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}),
            vec!["spec.ports[1].name: Duplicate value: \"a\""],
        ),
        (
            json!({"ports": [{"port": 1, "name": "x"}, {"port": 2}]}),
            vec!["spec.ports[1].name: Required value"],
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}),
            vec![
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. \
                  The range of valid ports is 30000-32767",
            ],
        ),
        (
            json!({"type": "Balancer", "ports": [port(1)]}),
            vec![
                "spec.type: Unsupported value: \"Balancer\": supported values: \"ClusterIP\", \"ExternalName\", \
                  \"LoadBalancer\", \"NodePort\"",
            ],
        ),
        (
            json!({"loadBalancerClass": "gatewright.dev/clb", "ports": [port(1)]}),
            vec![
                "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(errors("", "Service", service(spec), None), expected);
    }
    let digit = json!({"metadata": {"name": "9a"}, "spec": {"ports": [port(1)]}});
    assert!(
        errors("", "Service", digit, None).is_empty(),
        "a name may begin with a digit"
    );
}

#[test]
fn a_service_gets_the_defaults_of_the_real_server() {
    let schema = schema("", "v1", "Service").expect("Service is built in");
    let mut object = service(json!({"type": "LoadBalancer", "ports": [{"port": 80}]}));
    schema.default(&mut object);
    assert_eq!(
        object["spec"],
        json!({
            "type": "LoadBalancer", "sessionAffinity": "None", "externalTrafficPolicy": "Cluster",
            "internalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true,
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        })
    );
}

#[test]
fn labels_and_annotations_are_checked() {
    let object =
        json!({"metadata": {"name": "a", "labels": {"a b": "c d"}, "annotations": {"/x": "1"}}});
    assert_eq!(
        errors("", "ConfigMap", object, None),
        [
            "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and \
             must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
             validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "metadata.labels: Invalid value: \"c d\": a valid label must be an empty string or consist of alphanumeric \
             characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
             'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            "metadata.annotations: Invalid value: \"/x\": prefix part must be non-empty",
        ]
    );
}

#[test]
fn secrets_are_checked_and_never_quoted() {
    let secret =
        |kind: &str, data: Value| json!({"metadata": {"name": "s"}, "type": kind, "data": data});
    assert_eq!(
        errors(
            "",
            "Secret",
            secret("kubernetes.io/tls", json!({"tls.crt": ""})),
            None
        ),
        ["data[tls.key]: Required value"]
    );
    let docker = secret(
        "kubernetes.io/dockerconfigjson",
        json!({".dockerconfigjson": "c2VjcmV0"}),
    );
    let found = errors("", "Secret", docker, None);
    assert_eq!(found.len(), 1);
    assert!(
        !found[0].contains("secret\"") && !found[0].contains("c2VjcmV0"),
        "{}",
        found[0]
    );
    let bad = secret("Opaque", json!({"a": "not base64!"}));
    let found = errors("", "Secret", bad, None);
    assert_eq!(
        found,
        ["<nil>: Invalid value: illegal base64 data at input byte 3"]
    );
    let key = errors("", "Secret", secret("Opaque", json!({"a/b": ""})), None);
    assert_eq!(
        key,
        [
            "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' \
          (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        ]
    );
    let changed = errors(
        "",
        "Secret",
        secret("a/b", json!({})),
        Some(secret("Opaque", json!({}))),
    );
    assert_eq!(
        changed,
        ["type: Invalid value: \"a/b\": field is immutable"]
    );
}

#[test]
fn string_data_becomes_data() {
    let schema = schema("", "v1", "Secret").expect("Secret is built in");
    let mut object = json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}});
    schema.default(&mut object);
    assert_eq!(
        object,
        json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"a": "Yg=="}})
    );
}

#[test]
fn endpoint_slices_refuse_loopback_addresses() {
    let slice = json!({
        "metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}, {"addresses": []}],
    });
    assert_eq!(
        errors("discovery.k8s.io", "EndpointSlice", slice.clone(), None),
        [
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "endpoints[1].addresses: Required value: must contain at least 1 address",
        ]
    );
    assert!(
        errors(
            "discovery.k8s.io",
            "EndpointSlice",
            slice.clone(),
            Some(slice)
        )
        .is_empty()
    );
}

fn deployment(labels: Value, containers: Value) -> Value {
    json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
    }})
}

#[test]
fn deployments_are_checked() {
    let good = json!([{"name": "c", "image": "i"}]);
    let object = deployment(json!({"app": "x"}), good.clone());
    assert_eq!(errors("apps", "Deployment", object, None), [""; 0]);
    let object = deployment(json!({"app": "y"}), good);
    assert_eq!(
        errors("apps", "Deployment", object, None),
        [
            "spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` does not match template `labels`"
        ]
    );
    let bad =
        json!([{"name": "C"}, {"image": "i", "volumeMounts": [{"name": "v", "mountPath": "/"}]}]);
    let object = deployment(json!({"app": "x"}), bad);
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
                 end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    assert_eq!(
        errors("apps", "Deployment", object, None),
        [
            format!("spec.template.spec.containers[0].name: Invalid value: \"C\": {label}"),
            "spec.template.spec.containers[0].image: Required value".to_owned(),
            "spec.template.spec.containers[1].name: Required value".to_owned(),
            "spec.template.spec.containers[1].volumeMounts[0].name: Not found: \"v\"".to_owned(),
        ]
    );
    let empty = json!({"metadata": {"name": "d"}, "spec": {}});
    assert_eq!(
        errors("apps", "Deployment", empty, None),
        [
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: null: `selector` does not match template \
             `labels`",
            "spec.template.spec.containers: Required value"
        ]
    );
}

#[test]
fn deployments_get_the_defaults_of_the_real_server() {
    let schema = schema("apps", "v1", "Deployment").expect("Deployment is built in");
    let mut object = deployment(
        json!({"app": "x"}),
        json!([{"name": "c", "image": "repo:5000/i"}]),
    );
    schema.default(&mut object);
    let spec = &object["spec"];
    assert_eq!(spec["replicas"], json!(1));
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"], json!("Always"));
    assert_eq!(pod["containers"][0]["imagePullPolicy"], json!("Always"));
    assert_eq!(
        pod["containers"][0]["terminationMessagePolicy"],
        json!("File")
    );
}

#[test]
fn wrong_types_are_told_in_the_words_of_the_decoder() {
    let cases = [
        (
            "",
            "Service",
            json!({"spec": {"ports": [{"port": "x"}]}}),
            "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        (
            "",
            "Service",
            json!({"spec": {"type": 5}}),
            "json: cannot unmarshal number into Go struct field ServiceSpec.spec.type of type v1.ServiceType",
        ),
        (
            "",
            "ConfigMap",
            json!({"data": {"a": 1}}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "apps",
            "Deployment",
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "apps",
            "Deployment",
            json!({"spec": {"template": []}}),
            "json: cannot unmarshal array into Go struct field DeploymentSpec.spec.template of type v1.PodTemplateSpec",
        ),
        (
            "",
            "Pod",
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "coordination.k8s.io",
            "Lease",
            json!({"spec": {"renewTime": "now"}}),
            "parsing time \"now\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"now\" as \"2006\"",
        ),
    ];
    for (group, kind, object, expected) in cases {
        let schema = schema(group, "v1", kind).expect("the kind is built in");
        assert_eq!(schema.decode_error(&object).as_deref(), Some(expected));
    }
}

#[test]
fn unknown_fields_of_built_in_kinds_are_found() {
    let schema = schema("", "v1", "Pod").expect("Pod is built in");
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "label": {}},
        "spec": {"containers": [{"name": "c", "imgae": "x", "livenessProbe": {"httpGet": {"port": 1, "prt": 2}}}],
            "volumes": [{"name": "v", "emptyDir": {}}]},
    });
    let found = schema.unknown_fields(&object);
    assert_eq!(
        found,
        [
            "metadata.label",
            "spec.containers[0].imgae",
            "spec.containers[0].livenessProbe.httpGet.prt"
        ]
    );
}

#[test]
fn definitions_keep_their_schemas_and_are_checked() {
    let schema =
        schema("apiextensions.k8s.io", "v1", "CustomResourceDefinition").expect("built in");
    let object = |inner: Value| {
        json!({"metadata": {"name": "foos.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": inner}}],
        }})
    };
    let good = object(json!({"type": "object", "properties": {"spec": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true, "default": {"any": 1},
        "additionalProperties": {"type": "array", "items": {"type": "string", "enum": ["a"]}}}}}));
    assert_eq!(schema.unknown_fields(&good), [""; 0]);
    assert_eq!(schema.decode_error(&good), None);
    let typo = object(
        json!({"type": "object", "properties": {"a": {"tpye": "string", "type": "string"}}}),
    );
    assert_eq!(
        schema.unknown_fields(&typo),
        ["spec.versions[0].schema.openAPIV3Schema.properties.a.tpye"]
    );
    let bad = object(json!({"type": "object", "properties": {"a": {"type": "array"}}}));
    assert_eq!(
        errors(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            bad,
            None
        ),
        ["spec.validation.openAPIV3Schema.properties[a].items: Required value: must be specified"]
    );
    let mut renamed = object(json!({"type": "object"}));
    renamed["metadata"]["name"] = json!("x.example.com");
    assert_eq!(
        errors(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            renamed,
            None
        ),
        [
            "metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group"
        ]
    );
}

#[test]
fn merge_rules_of_built_in_kinds_are_those_of_kubernetes() {
    let pod = schema("", "v1", "Pod").expect("Pod is built in");
    let spec = pod.node().field("spec").expect("Pods have a spec");
    let map = |keys: &[&str]| {
        NodeKind::List(ListKind::Map(
            keys.iter().map(|k| (*k).to_owned()).collect(),
        ))
    };
    let containers = spec.field("containers").expect("Pods have containers");
    assert_eq!(containers.kind(), map(&["name"]));
    assert_eq!(containers.patch_strategy(), Some("merge"));
    assert_eq!(containers.patch_merge_key(), Some("name"));
    let container = containers.items().expect("containers are objects");
    let ports = container.field("ports").expect("containers have ports");
    assert_eq!(ports.kind(), map(&["containerPort", "protocol"]));
    assert_eq!(ports.patch_merge_key(), Some("containerPort"));
    let protocol = ports.items().and_then(|p| p.field("protocol"));
    assert_eq!(
        protocol.and_then(SchemaNode::default_value),
        Some(&json!("TCP"))
    );
    assert_eq!(
        spec.field("tolerations").map(SchemaNode::kind),
        Some(NodeKind::List(ListKind::Atomic))
    );
    assert_eq!(
        spec.field("volumes").and_then(SchemaNode::patch_strategy),
        Some("merge,retainKeys")
    );
    let meta = pod.node().field("metadata").expect("objects have metadata");
    assert_eq!(
        meta.field("finalizers").map(SchemaNode::kind),
        Some(NodeKind::List(ListKind::Set))
    );
    assert_eq!(
        meta.field("labels").map(SchemaNode::kind),
        Some(NodeKind::Granular)
    );
    let service = schema("", "v1", "Service").expect("Service is built in");
    let spec = service.node().field("spec").expect("Services have a spec");
    assert_eq!(
        spec.field("ports").map(SchemaNode::kind),
        Some(map(&["port", "protocol"]))
    );
    assert_eq!(
        spec.field("selector").map(SchemaNode::kind),
        Some(NodeKind::Atomic)
    );
    let deployment = schema("apps", "v1", "Deployment").expect("Deployment is built in");
    let selector = deployment
        .node()
        .field("spec")
        .and_then(|s| s.field("selector"));
    assert_eq!(selector.map(SchemaNode::kind), Some(NodeKind::Atomic));
}

#[test]
fn other_kinds_are_checked() {
    let named = |extra: Value| {
        let mut object = json!({"metadata": {"name": "a"}});
        for (key, value) in extra.as_object().expect("an object") {
            object[key] = value.clone();
        }
        object
    };
    let cases = [
        (
            "policy",
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": "150%"}}),
            "spec.minAvailable: Invalid value: \"150%\": must not be greater than 100%",
        ),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            json!({"spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}}),
            "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
        ),
        (
            "rbac.authorization.k8s.io",
            "Role",
            json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]}),
            "rules[0].verbs: Required value",
        ),
        (
            "rbac.authorization.k8s.io",
            "RoleBinding",
            json!({"roleRef": {"kind": "User", "name": "x"}}),
            "roleRef.kind: Unsupported value: \"User\": supported values: \"Role\", \"ClusterRole\"",
        ),
        (
            "coordination.k8s.io",
            "Lease",
            json!({"spec": {"leaseDurationSeconds": 0}}),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "networking.k8s.io",
            "Ingress",
            json!({"spec": {"rules": [{"http": {"paths": [{"path": "a", "pathType": "Prefix",
                "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
            "spec.rules[0].http.paths[0].path: Invalid value: \"a\": must be an absolute path",
        ),
        (
            "",
            "ConfigMap",
            json!({"data": {"..a": ""}}),
            "data[..a]: Invalid value: \"..a\": must not start with '..'",
        ),
    ];
    for (group, kind, extra, expected) in cases {
        assert_eq!(errors(group, kind, named(extra), None), [expected]);
    }
}

#[test]
fn what_go_leaves_out_is_left_out_at_every_depth() {
    let schema = schema("apps", "v1", "Deployment").expect("the kind is built in");
    let mut object = json!({
        "metadata": { "name": "a", "labels": {} },
        "spec": {
            "replicas": 0,
            "paused": false,
            "selector": { "matchLabels": { "app": "a" } },
            "template": {
                "metadata": { "annotations": {}, "labels": { "app": "a" } },
                "spec": { "containers": [{ "name": "a", "image": "a", "env": [], "args": [""] }] },
            },
        },
        "status": { "replicas": 0, "readyReplicas": 1 },
    });
    schema.default(&mut object);
    let gone = [
        "/metadata/labels",
        "/spec/paused",
        "/spec/template/metadata/annotations",
        "/spec/template/spec/containers/0/env",
        "/status/replicas",
    ];
    for pointer in gone {
        assert_eq!(object.pointer(pointer), None, "{pointer}");
    }
    // A pointer to nothing says something, and so does what a list holds.
    assert_eq!(object["spec"]["replicas"], 0);
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!([""]));
    assert_eq!(container["resources"], json!({}));
    assert_eq!(object["status"]["readyReplicas"], 1);
}
