use serde_json::{Value, json};

use super::*;

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    })
}

fn gateway() -> IstioGateway {
    object(json!({
        "apiVersion": "istio.alibabacloud.com/v1beta1", "kind": "IstioGateway",
        "metadata": { "name": "ingressgateway", "namespace": "istio-system", "generation": 2 },
        "spec": { "replicaCount": 2 },
        "status": {
            "Status": "Available", "replicas": 2, "readyReplicas": 2,
            "GatewayAddress": ["127.90.0.1", "127.90.128.1"],
            "conditions": [condition("Ready", "True", "Available", "")],
        },
    }))
}

fn service(state: (&str, &str, &str)) -> Service {
    object(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "istio-ingressgateway-internal", "namespace": "istio-system",
            "annotations": {
                "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type": "intranet",
            },
        },
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "gatewright.dev/clb",
            "ports": [{ "port": 80 }, { "port": 443 }],
        },
        "status": {
            "loadBalancer": { "ingress": [{ "ip": "127.90.128.1" }] },
            "conditions": [condition("gatewright.dev/LoadBalancerReady", state.0, state.1, state.2)],
        },
    }))
}

fn certificate(conditions: &[Value]) -> Certificate {
    object(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": { "name": "shop", "namespace": "istio-system" },
        "spec": {
            "secretName": "shop-tls", "issuerRef": { "name": "acme" },
            "dnsNames": ["shop.example.com", "www.shop.example.com"],
        },
        "status": { "notAfter": "2030-03-01T00:00:00Z", "conditions": conditions },
    }))
}

fn pod() -> Pod {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "istio-ingressgateway-5d9f6f4e-7c3b4", "namespace": "istio-system",
            "labels": { "app": "istio-ingressgateway", "istio": "ingressgateway" },
        },
        "status": {
            "phase": "Running", "podIP": "10.91.0.1",
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    }))
}

fn servers() -> Gateway {
    object(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": { "name": "shop", "namespace": "istio-system" },
        "spec": {
            "selector": { "istio": "ingressgateway" },
            "servers": [
                {
                    "port": { "number": 443, "name": "https", "protocol": "HTTPS" },
                    "hosts": ["shop.example.com"],
                    "tls": { "mode": "SIMPLE", "credentialName": "shop-tls" },
                },
                { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] },
            ],
        },
    }))
}

fn working() -> Overview {
    let seen = "serial 4a1f was seen at 4 places";
    Overview {
        gateways: vec![GatewayRow::of(&gateway())],
        load_balancers: LoadBalancerRow::of(&service(("True", "InSync", "lb-1 is so")), 8000)
            .into_iter()
            .collect(),
        certificates: vec![CertificateRow::of(&certificate(&[
            condition("Ready", "True", "Ready", "up to date"),
            condition("Served", "True", "SeenEverywhere", seen),
        ]))],
        proxies: vec![ProxyRow::of(&pod(), &[gateway()], &[servers()])],
    }
}

#[test]
fn a_working_gateway_is_shown_as_stored() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/table/working.txt");
    let text = working().to_string();
    if std::env::var_os("GATEWRIGHT_UPDATE").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

#[test]
fn every_line_fits_and_is_plain() {
    let mut overview = working();
    overview.gateways[0].message = Some("a very long message ".repeat(20));
    overview.certificates[0].served = format!("missing: {}", "x".repeat(300));
    overview.proxies[0].name = "n".repeat(120);
    for line in overview.to_string().lines() {
        assert!(
            line.is_ascii() && line.len() <= usize::from(WIDTH),
            "{}: {line}",
            line.len()
        );
    }
}

#[test]
fn nothing_is_said_to_be_nothing() {
    let text = Overview::default().to_string();
    assert_eq!(
        text,
        "no gateways\n\nno load balancers\n\nno certificates\n\nno proxies\n"
    );
}

#[test]
fn a_failure_is_told_with_its_cause() {
    let refused = service(("False", "CloudRefused", "the key is wrong"));
    let row = LoadBalancerRow::of(&refused, 0).unwrap();
    assert_eq!((row.state.as_str(), row.ready), ("CloudRefused", false));
    assert_eq!(row.message.as_deref(), Some("the key is wrong"));
    assert_eq!(row.ports, ["80", "443"]);
    let row = CertificateRow::of(&certificate(&[
        condition("Ready", "True", "Ready", "up to date"),
        condition("Issuing", "True", "ValidationFailed", "no answer"),
    ]));
    assert_eq!((row.state.as_str(), row.ready), ("Issuing", false));
    assert_eq!(row.message.as_deref(), Some("ValidationFailed: no answer"));
}

#[test]
fn what_was_said_of_an_older_generation_is_not_the_state() {
    let mut old = gateway();
    old.status.as_mut().unwrap().conditions[0].observed_generation = Some(1);
    assert!(!GatewayRow::of(&old).ready);
    old.status.as_mut().unwrap().conditions[0].observed_generation = Some(2);
    assert!(GatewayRow::of(&old).ready);
}

#[test]
fn a_service_of_another_class_is_no_row() {
    let mut other = service(("True", "InSync", ""));
    other.spec.as_mut().unwrap().load_balancer_class = Some("example.com/other".into());
    assert_eq!(LoadBalancerRow::of(&other, 0), None);
}
