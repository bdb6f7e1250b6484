//! What the schemas refuse: ranges, patterns, CEL rules and unknown fields, and that they let the
//! examples pass. A small validator stands in for the API server.

#![expect(
    clippy::unwrap_used,
    reason = "a test file: a panic is how a helper fails"
)]

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

/// A JSON value as CEL sees it: whole numbers are signed.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => number.as_i64().map_or_else(
            || cel::Value::Float(number.as_f64().unwrap()),
            cel::Value::Int,
        ),
        Value::String(text) => text.as_str().into(),
        Value::Array(entries) => entries.iter().map(to_cel).collect::<Vec<_>>().into(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), to_cel(value)))
            .collect::<HashMap<_, _>>()
            .into(),
    }
}

/// What is wrong with `value`: the path and a word, or the message of the rule.
fn problems(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut check = |broken: bool, what: &str| {
        if broken {
            found.push(format!("{path}: {what}"));
        }
    };
    let limit = |key: &str| schema[key].as_f64();
    if let Some(number) = value.as_f64() {
        check(
            limit("minimum").is_some_and(|least| number < least),
            "minimum",
        );
        check(
            limit("maximum").is_some_and(|most| number > most),
            "maximum",
        );
    }
    if let Some(text) = value.as_str() {
        let length = f64::from(u32::try_from(text.chars().count()).unwrap());
        check(
            limit("minLength").is_some_and(|least| length < least),
            "minLength",
        );
        check(
            limit("maxLength").is_some_and(|most| length > most),
            "maxLength",
        );
        let pattern = schema["pattern"]
            .as_str()
            .map(|p| regex::Regex::new(p).unwrap());
        check(
            pattern.is_some_and(|pattern| !pattern.is_match(text)),
            "pattern",
        );
    }
    let allowed = schema["enum"].as_array();
    check(
        allowed.is_some_and(|allowed| !allowed.contains(value)),
        "enum",
    );
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let source = rule["rule"].as_str().unwrap();
        let program = cel::Program::compile(source).unwrap();
        let mut context = cel::Context::default();
        context.add_variable_from_value("self", to_cel(value));
        // The objects here are new or unchanged: `oldSelf` is the object itself.
        context.add_variable_from_value("oldSelf", to_cel(value));
        let holds = program.execute(&context);
        check(
            holds != Ok(cel::Value::Bool(true)),
            rule["message"].as_str().unwrap(),
        );
    }
    if let Some(entries) = value.as_array() {
        let count = f64::from(u32::try_from(entries.len()).unwrap());
        check(
            limit("maxItems").is_some_and(|most| count > most),
            "maxItems",
        );
        check(
            limit("minItems").is_some_and(|least| count < least),
            "minItems",
        );
        for (index, entry) in entries.iter().enumerate() {
            problems(&schema["items"], entry, &format!("{path}[{index}]"), found);
        }
    } else if let Some(fields) = value.as_object() {
        let count = f64::from(u32::try_from(fields.len()).unwrap());
        check(
            limit("maxProperties").is_some_and(|most| count > most),
            "maxProperties",
        );
        for name in schema["required"].as_array().into_iter().flatten() {
            check(!fields.contains_key(name.as_str().unwrap()), "required");
        }
        if schema["x-kubernetes-preserve-unknown-fields"] == json!(true) {
            return;
        }
        for (name, field) in fields {
            let path = format!("{path}.{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Null) => found.push(format!("{path}: unknown field")),
                (Value::Null, map) => problems(map, field, &path, found),
                (property, _) => problems(property, field, &path, found),
            }
        }
    }
}

/// What is wrong with the spec of an object of this kind.
fn refused(group: &str, kind: &str, spec: &Value) -> Vec<String> {
    let all = gatewright_crds::all().unwrap();
    let crd = all
        .into_iter()
        .find(|crd| crd.spec.group == group && crd.spec.names.kind == kind)
        .unwrap();
    let schema = crd.spec.versions[0]
        .schema
        .as_ref()
        .unwrap()
        .open_api_v3_schema
        .as_ref()
        .unwrap();
    let schema = serde_json::to_value(schema).unwrap();
    let mut found = Vec::new();
    problems(&schema["properties"]["spec"], spec, "spec", &mut found);
    found
}

#[track_caller]
fn assert_refused(group: &str, kind: &str, cases: &[(Value, &str)]) {
    for (spec, expected) in cases {
        assert_eq!(refused(group, kind, spec), [*expected], "{spec}");
    }
}

#[track_caller]
fn assert_accepted(group: &str, kind: &str, specs: &[Value]) {
    for spec in specs {
        assert_eq!(refused(group, kind, spec), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn bad_gateways_are_refused() {
    assert_refused(
        "istio.alibabacloud.com",
        "IstioGateway",
        &[
            (
                json!({"gatewayType": "cross-network"}),
                "spec.gatewayType: enum",
            ),
            (
                json!({"serviceType": "ExternalName"}),
                "spec.serviceType: enum",
            ),
            (
                json!({"rollingMaxSurge": "abc"}),
                "spec.rollingMaxSurge: pattern",
            ),
            (json!({"replicaCount": -1}), "spec.replicaCount: minimum"),
            (json!({"replicas": 2}), "spec.replicas: unknown field"),
            (
                json!({"ports": [{"port": 70000}]}),
                "spec.ports[0].port: maximum",
            ),
            (
                json!({"ports": [{"port": 0}]}),
                "spec.ports[0].port: minimum",
            ),
            (
                json!({"secretVolumes": [{"name": "a", "secretName": "b"}]}),
                "spec.secretVolumes[0]: required",
            ),
            (
                json!({"ports": [{"port": 80, "targetPort": 70000}]}),
                "spec.ports[0].targetPort: maximum",
            ),
            (
                json!({"ports": [{"port": 80, "protocol": "QUIC"}]}),
                "spec.ports[0].protocol: pattern",
            ),
            (
                json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
                "spec.ports: port numbers must be unique for a transport protocol",
            ),
            (
                json!({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]}),
                "spec.ports: port names must be unique",
            ),
            (
                json!({"ports": [{"name": "a", "port": 80}, {"port": 81}]}),
                "spec.ports: each port needs a name when there is more than one",
            ),
            (
                json!({"minReplicas": 3, "maxReplicas": 2}),
                "spec: minReplicas must not be greater than maxReplicas",
            ),
            (
                json!({"overrides": {"c1": {"minReplicas": 3, "maxReplicas": 2}}}),
                "spec.overrides.c1: minReplicas must not be greater than maxReplicas",
            ),
            (
                json!({"serviceType": "ClusterIP", "loadBalancerClass": "gatewright.dev/clb"}),
                "spec: loadBalancerClass needs serviceType LoadBalancer",
            ),
        ],
    );
}

#[test]
fn good_gateways_pass() {
    assert_accepted(
        "istio.alibabacloud.com",
        "IstioGateway",
        &[
            json!({}),
            json!({"rollingMaxSurge": "100%", "rollingMaxUnavailable": "1"}),
            json!({"ports": [{"port": 80, "protocol": "HTTP2", "targetPort": "http"}]}),
            json!({"ports": [
                {"name": "https", "port": 443, "protocol": "TCP"},
                {"name": "quic", "port": 443, "protocol": "UDP"},
            ]}),
            json!({"compression": {}, "cpu": {}, "kernel": {"parameters": {}}, "sds": {}}),
        ],
    );
}

fn certificate(more: &Value) -> Value {
    let mut spec = json!({"secretName": "s", "issuerRef": {"name": "i"}});
    spec.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    spec
}

#[test]
fn bad_certificates_are_refused() {
    let name = |name: &str| certificate(&json!({"dnsNames": [name]}));
    let with = |more: Value| {
        let mut spec = certificate(&json!({"dnsNames": ["a.example.com"]}));
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec
    };
    let pattern = "spec.dnsNames[0]: pattern";
    let long = format!("{}.example.com", "a".repeat(64));
    let key = "spec.privateKey: the size of an";
    assert_refused(
        "cert-manager.io",
        "Certificate",
        &[
            (name("a_b.example.com"), pattern),
            (name("a..example.com"), pattern),
            (name("-a.example.com"), pattern),
            (name("a.*.example.com"), pattern),
            (name("a*.example.com"), pattern),
            (name("*"), pattern),
            (name("https://a.example.com"), pattern),
            (name("a.example.com."), pattern),
            (name(&long), pattern),
            (
                certificate(&json!({})),
                "spec: at least one of commonName, literalSubject, dnsNames, ipAddresses, uris, \
                 emailAddresses and otherNames is needed",
            ),
            (
                with(json!({"secretName": "Not_A_Name"})),
                "spec.secretName: pattern",
            ),
            (
                with(json!({"duration": "59m"})),
                "spec: duration must be 1h or more",
            ),
            (
                with(json!({"renewBefore": "4m"})),
                "spec: renewBefore must be 5m or more",
            ),
            (
                with(json!({"renewBefore": "2160h"})),
                "spec: renewBefore must be less than duration, which is 2160h by default",
            ),
            (
                with(json!({"duration": "24h", "renewBefore": "24h"})),
                "spec: renewBefore must be less than duration, which is 2160h by default",
            ),
            (
                with(json!({"renewBefore": "24h", "renewBeforePercentage": 30})),
                "spec: only one of renewBefore and renewBeforePercentage can be given",
            ),
            (
                with(json!({"privateKey": {"size": 1024}})),
                &format!("{key} RSA key must be 2048 to 8192"),
            ),
            (
                with(json!({"privateKey": {"algorithm": "ECDSA", "size": 2048}})),
                &format!("{key} ECDSA key must be 256, 384 or 521"),
            ),
            (
                with(json!({"dnsNamez": []})),
                "spec.dnsNamez: unknown field",
            ),
        ],
    );
}

#[test]
fn good_certificates_pass() {
    assert_accepted(
        "cert-manager.io",
        "Certificate",
        &[
            certificate(
                &json!({"dnsNames": ["a.example.com", "*.b.example.com", "localhost", "xn--bcher-kva.example"]}),
            ),
            certificate(&json!({"commonName": "me", "duration": "1h", "renewBefore": "30m"})),
            certificate(&json!({"ipAddresses": ["127.0.0.1"], "renewBefore": "360h"})),
            certificate(
                &json!({"uris": ["spiffe://x/y"], "privateKey": {"algorithm": "ECDSA", "size": 384}}),
            ),
            certificate(&json!({"dnsNames": ["a.b"], "privateKey": {"algorithm": "Ed25519"}})),
        ],
    );
}

#[test]
fn an_issuer_has_exactly_one_kind() {
    let acme = json!({"server": "https://acme.test", "privateKeySecretRef": {"name": "k"}});
    let message = "spec: exactly one of acme, ca, selfSigned, vault and venafi is needed";
    for kind in ["Issuer", "ClusterIssuer"] {
        let both = json!({"acme": acme, "selfSigned": {}});
        assert_refused(
            "cert-manager.io",
            kind,
            &[(json!({}), message), (both, message)],
        );
        assert_accepted(
            "cert-manager.io",
            kind,
            &[
                json!({"acme": acme}),
                json!({"selfSigned": {}}),
                json!({"vault": {"server": "x"}}),
            ],
        );
    }
}

#[test]
fn bad_servers_are_refused() {
    let server = |protocol: &str, host: &str, tls: Value| {
        let mut server = json!({
            "port": {"number": 443, "name": "p", "protocol": protocol}, "hosts": [host],
        });
        if !tls.is_null() {
            server["tls"] = tls;
        }
        json!({"servers": [server]})
    };
    let simple = json!({"mode": "SIMPLE", "credentialName": "c"});
    assert_refused(
        "networking.istio.io",
        "Gateway",
        &[
            (
                server("HTTPS", "*", Value::Null),
                "spec.servers[0]: a server with the protocol HTTPS or TLS needs tls",
            ),
            (
                server("HTTPS", "*", json!({"mode": "SIMPLE"})),
                "spec.servers[0].tls: credentialName is needed for the modes SIMPLE, MUTUAL and \
                 OPTIONAL_MUTUAL",
            ),
            (
                server("HTTPS", "*", json!({"mode": "simple"})),
                "spec.servers[0].tls.mode: enum",
            ),
            (
                server("QUIC", "*", Value::Null),
                "spec.servers[0].port.protocol: pattern",
            ),
            (
                server("HTTP", "a.*.b", Value::Null),
                "spec.servers[0].hosts[0]: pattern",
            ),
        ],
    );
    assert_accepted(
        "networking.istio.io",
        "Gateway",
        &[
            server("HTTPS", "*.example.com", simple.clone()),
            server("https", "./a.example.com", simple),
            server("HTTP", "ns/*", json!({"httpsRedirect": true})),
            server("TLS", "*/a.example.com", json!({"mode": "PASSTHROUGH"})),
        ],
    );
}

#[test]
fn bad_routes_are_refused() {
    let route = |route: Value| json!({"hosts": ["a.example.com"], "http": [route]});
    assert_refused(
        "networking.istio.io",
        "VirtualService",
        &[
            (
                route(json!({"match": [{"uri": {"exact": "/", "prefix": "/"}}]})),
                "spec.http[0].match[0].uri: maxProperties",
            ),
            (
                route(json!({"timeout": "5"})),
                "spec.http[0].timeout: pattern",
            ),
            (
                route(json!({"redirect": {"redirectCode": 200}})),
                "spec.http[0].redirect.redirectCode: enum",
            ),
            (
                route(json!({"routes": []})),
                "spec.http[0].routes: unknown field",
            ),
        ],
    );
}

#[test]
fn the_examples_pass_their_schemas() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        let api = object["apiVersion"].as_str().unwrap();
        let Some((group, _)) = api.split_once('/').filter(|(group, _)| group.contains('.')) else {
            continue;
        };
        assert_accepted(
            group,
            object["kind"].as_str().unwrap(),
            &[object["spec"].clone()],
        );
        checked += 1;
    }
    assert_eq!(checked, 5);
}
