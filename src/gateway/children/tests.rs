use std::path::Path;

use gatewright_crds::istio_gateway::IstioGateway;
use serde_json::{Value, json};

use super::{Children, Settings};

const QUICKSTART: &str = include_str!("../../../examples/quickstart/10-istiogateway.yaml");

/// ServiceAccount, ConfigMap, Deployment, Service.
fn children(gateway: &Value) -> [Value; 4] {
    let mut gateway: IstioGateway = serde_json::from_value(gateway.clone()).unwrap();
    gateway.metadata.uid = Some("7ab3b9f5-0000-4000-8000-000000000001".into());
    let settings = Settings {
        proxy_image: "registry.example.com/gatewright-proxy:1".into(),
        xds_host: "gatewright.gatewright-system.svc".into(),
        xds_port: 15010,
    };
    let made = Children::of(&gateway, &settings);
    [
        serde_json::to_value(made.account).unwrap(),
        serde_json::to_value(made.bootstrap).unwrap(),
        serde_json::to_value(made.deployment).unwrap(),
        serde_json::to_value(made.service).unwrap(),
    ]
}

#[test]
fn the_quickstart_gateway_becomes_what_is_stored() {
    let gateway: Value = serde_saphyr::from_str(QUICKSTART).unwrap();
    let mut text = String::new();
    for child in children(&gateway) {
        text += "---\n";
        text += serde_saphyr::to_string(&child).unwrap().trim_end();
        text += "\n";
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gateway/quickstart.yaml");
    if std::env::var_os("GATEWRIGHT_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "{} differs; GATEWRIGHT_UPDATE=1 writes it anew:\n{text}",
        path.display()
    );
    let read: Vec<Value> = serde_saphyr::from_multiple(&stored).unwrap();
    assert_eq!(
        read,
        children(&gateway),
        "the text says what the objects say"
    );
}

#[test]
fn every_field_that_is_acted_on_is_seen_in_the_children() {
    const DEPLOYMENT: usize = 2;
    const SERVICE: usize = 3;
    let pod = |rest: &str| format!("/spec/template/spec{rest}");
    let container = |rest: &str| pod(&format!("/containers/0{rest}"));
    let affinity = json!({ "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "kubernetes.io/hostname" }],
    }});
    let lifecycle = json!({ "preStop": { "exec": { "command": ["sleep", "1"] } } });
    let resources = json!({ "limits": { "cpu": "1" } });
    let toleration = json!([{ "key": "edge", "operator": "Exists" }]);
    let variable = json!([{ "name": "TZ", "value": "UTC" }]);
    let port = json!([{ "name": "x", "port": 81, "targetPort": 8081, "protocol": "HTTP2" }]);
    let as_service = json!([{ "name": "x", "port": 81, "targetPort": 8081, "protocol": "TCP", "appProtocol": "http2" }]);
    // Field, value, which child, where in it, and what is seen there.
    let cases: Vec<(&str, Value, usize, String, Value)> = vec![
        (
            "replicaCount",
            json!(5),
            DEPLOYMENT,
            "/spec/replicas".into(),
            json!(5),
        ),
        (
            "rollingMaxSurge",
            json!("2"),
            DEPLOYMENT,
            "/spec/strategy/rollingUpdate/maxSurge".into(),
            json!(2),
        ),
        (
            "rollingMaxUnavailable",
            json!("25%"),
            DEPLOYMENT,
            "/spec/strategy/rollingUpdate/maxUnavailable".into(),
            json!("25%"),
        ),
        (
            "podAnnotations",
            json!({ "a": "b" }),
            DEPLOYMENT,
            "/spec/template/metadata/annotations/a".into(),
            json!("b"),
        ),
        (
            "podLabels",
            json!({ "a": "b" }),
            DEPLOYMENT,
            "/spec/template/metadata/labels/a".into(),
            json!("b"),
        ),
        (
            "resources",
            resources.clone(),
            DEPLOYMENT,
            container("/resources"),
            resources,
        ),
        (
            "env",
            variable,
            DEPLOYMENT,
            container("/env/2/value"),
            json!("UTC"),
        ),
        (
            "nodeSelector",
            json!({ "a": "b" }),
            DEPLOYMENT,
            pod("/nodeSelector/a"),
            json!("b"),
        ),
        (
            "affinity",
            affinity.clone(),
            DEPLOYMENT,
            pod("/affinity"),
            affinity,
        ),
        (
            "tolerations",
            toleration.clone(),
            DEPLOYMENT,
            pod("/tolerations"),
            toleration,
        ),
        (
            "dnsPolicy",
            json!("Default"),
            DEPLOYMENT,
            pod("/dnsPolicy"),
            json!("Default"),
        ),
        (
            "readinessProbe",
            json!({ "failureThreshold": 9 }),
            DEPLOYMENT,
            container("/readinessProbe/failureThreshold"),
            json!(9),
        ),
        (
            "readinessProbe",
            json!({ "periodSeconds": 9 }),
            DEPLOYMENT,
            container("/readinessProbe/periodSeconds"),
            json!(9),
        ),
        (
            "readinessProbe",
            json!({ "successThreshold": 9 }),
            DEPLOYMENT,
            container("/readinessProbe/successThreshold"),
            json!(9),
        ),
        (
            "lifecycle",
            lifecycle.clone(),
            DEPLOYMENT,
            container("/lifecycle"),
            lifecycle,
        ),
        (
            "ports",
            port.clone(),
            DEPLOYMENT,
            container("/ports/0/containerPort"),
            json!(8081),
        ),
        ("ports", port, SERVICE, "/spec/ports".into(), as_service),
        (
            "serviceType",
            json!("NodePort"),
            SERVICE,
            "/spec/type".into(),
            json!("NodePort"),
        ),
        (
            "loadBalancerClass",
            json!("alibabacloud.com/nlb"),
            SERVICE,
            "/spec/loadBalancerClass".into(),
            json!("alibabacloud.com/nlb"),
        ),
        (
            "loadBalancerIP",
            json!("10.0.0.9"),
            SERVICE,
            "/spec/loadBalancerIP".into(),
            json!("10.0.0.9"),
        ),
        (
            "externalTrafficPolicy",
            json!("Local"),
            SERVICE,
            "/spec/externalTrafficPolicy".into(),
            json!("Local"),
        ),
        (
            "serviceAnnotations",
            json!({ "a": "b" }),
            SERVICE,
            "/metadata/annotations/a".into(),
            json!("b"),
        ),
        (
            "serviceLabels",
            json!({ "a": "b" }),
            SERVICE,
            "/metadata/labels/a".into(),
            json!("b"),
        ),
    ];
    let plain: Value = serde_saphyr::from_str(QUICKSTART).unwrap();
    for (field, value, child, pointer, seen) in cases {
        let mut changed = plain.clone();
        changed["spec"][field] = value;
        let (before, after) = (children(&plain), children(&changed));
        assert_ne!(before[child].pointer(&pointer), Some(&seen), "{field}");
        assert_eq!(after[child].pointer(&pointer), Some(&seen), "{field}");
        assert_eq!(
            before[0], after[0],
            "{field} does not touch the ServiceAccount"
        );
        assert_eq!(before[1], after[1], "{field} does not touch the bootstrap");
    }
}

#[test]
fn annotations_of_the_gateway_change_drain_and_who_scales() {
    let plain: Value = serde_saphyr::from_str(QUICKSTART).unwrap();
    let mut changed = plain.clone();
    changed["metadata"]["annotations"] = json!({
        "asm.alibabacloud.com/gateway-drain-timeout-seconds": "90",
        "asm.alibabacloud.com/replicas-managed-by-asm": "false",
    });
    let [_, _, deployment, _] = children(&changed);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 105);
    let args = pod["containers"][0]["args"].as_array().unwrap();
    assert!(
        args.windows(2)
            .any(|pair| pair == ["--drain-seconds", "90"]),
        "{args:?}"
    );
    assert!(deployment["spec"].get("replicas").is_none());
}

#[test]
fn pod_labels_do_not_reach_the_immutable_selector() {
    let mut gateway: Value = serde_saphyr::from_str(QUICKSTART).unwrap();
    gateway["spec"]["podLabels"] = json!({ "tier": "public" });
    let [_, _, deployment, service] = children(&gateway);
    let labels = json!({ "app": "istio-ingressgateway", "istio": "ingressgateway" });
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(service["spec"]["selector"], labels);
}
