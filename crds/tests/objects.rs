//! Objects as users write them: the examples, what has no effect yet, and defaults.

#![recursion_limit = "256"]
#![expect(
    clippy::unwrap_used,
    reason = "a test file: a panic is how a helper fails"
)]

use std::path::Path;

use gatewright_crds::istio_gateway::{ExternalTrafficPolicy, GatewayType, ServiceType};
use gatewright_crds::{Certificate, Gateway, Issuer, IstioGateway, VirtualService};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Reads an object and checks that writing it gives the same: a field the type does not know, or a
/// value it changes, would be a difference.
fn round_trip<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let object: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&object).unwrap(), *value);
    object
}

#[test]
fn each_example_is_read_and_has_no_unknown_field() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    let mut kinds = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == "yaml"))
    {
        let text = std::fs::read_to_string(file).unwrap();
        let value: Value = serde_saphyr::from_str(&text).unwrap();
        let kind = format!(
            "{} {}",
            value["kind"].as_str().unwrap(),
            value["metadata"]["name"].as_str().unwrap()
        );
        let unsupported = match value["apiVersion"].as_str().unwrap() {
            "istio.alibabacloud.com/v1beta1" => {
                round_trip::<IstioGateway>(&value).spec.unsupported()
            }
            "cert-manager.io/v1" if value["kind"] == "Issuer" => {
                round_trip::<Issuer>(&value).spec.unsupported()
            }
            "cert-manager.io/v1" => round_trip::<Certificate>(&value).spec.unsupported(),
            "networking.istio.io/v1" if value["kind"] == "Gateway" => {
                round_trip::<Gateway>(&value).spec.unsupported()
            }
            "networking.istio.io/v1" => round_trip::<VirtualService>(&value).spec.unsupported(),
            "apps/v1" => {
                round_trip::<Deployment>(&value);
                Vec::new()
            }
            "v1" => {
                round_trip::<Service>(&value);
                Vec::new()
            }
            other => panic!("{}: {other}", file.display()),
        };
        assert_eq!(unsupported, [], "{}", file.display());
        kinds.push(kind);
    }
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "Certificate shop",
            "Deployment hello",
            "Gateway shop",
            "Issuer acme",
            "IstioGateway ingressgateway",
            "Service hello",
            "Service istio-ingressgateway-internal",
            "VirtualService shop",
        ]
    );
}

fn gateway(spec: &Value) -> IstioGateway {
    serde_json::from_value(json!({
        "apiVersion": "istio.alibabacloud.com/v1beta1",
        "kind": "IstioGateway",
        "metadata": {"name": "ingressgateway", "namespace": "istio-system"},
        "spec": spec,
    }))
    .unwrap()
}

fn paths(found: &[gatewright_crds::FieldPath]) -> Vec<&str> {
    found
        .iter()
        .map(gatewright_crds::FieldPath::as_str)
        .collect()
}

#[test]
fn an_empty_gateway_has_the_documented_defaults() {
    let gateway = gateway(&json!({}));
    assert_eq!(gateway.spec.gateway_type(), GatewayType::Ingress);
    assert_eq!(gateway.spec.settings.replicas(), 1);
    assert_eq!(
        gateway.spec.settings.service_type(),
        ServiceType::LoadBalancer
    );
    assert_eq!(
        gateway.spec.settings.external_traffic_policy(),
        ExternalTrafficPolicy::Cluster
    );
    assert_eq!(gateway.workload_name(), "istio-ingressgateway");
    assert_eq!(gateway.selector()["app"], "istio-ingressgateway");
    assert_eq!(gateway.selector()["istio"], "ingressgateway");
    assert!(gateway.replicas_managed());
    assert_eq!(gateway.drain_timeout_seconds(), None);
}

#[test]
fn a_gateway_with_every_field_survives() {
    round_trip::<IstioGateway>(&json!({
        "apiVersion": "istio.alibabacloud.com/v1beta1",
        "kind": "IstioGateway",
        "metadata": {"name": "ingressgateway", "namespace": "istio-system"},
        "spec": {
            "gatewayType": "ingress",
            "clusterIds": ["c1", "c2"],
            "overrides": {"c1": {"replicaCount": 3, "serviceAnnotations": {"a": "b"}}},
            "replicaCount": 2,
            "autoscaleEnabled": true,
            "minReplicas": 2,
            "maxReplicas": 4,
            "cpu": {"targetAverageUtilization": 80},
            "memory": {"targetAverageUtilization": 80},
            "rollingMaxSurge": "100%",
            "rollingMaxUnavailable": "25%",
            "readinessProbe": {"failureThreshold": 30, "periodSeconds": 2, "successThreshold": 1},
            "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
            "serviceType": "LoadBalancer",
            "loadBalancerClass": "alibabacloud.com/nlb",
            "loadBalancerIP": "10.0.0.1",
            "externalTrafficPolicy": "Local",
            "ports": [
                {"name": "status-port", "port": 15020, "protocol": "TCP", "targetPort": 15020},
                {"name": "http2", "port": 80, "protocol": "HTTP2", "targetPort": "http", "nodePort": 30080},
            ],
            "meshExpansionPorts": [{"name": "tcp-pilot", "port": 15011}],
            "serviceAnnotations": {"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type": "internet"},
            "serviceLabels": {"a": "b"},
            "disableContainerPortExposed": true,
            "podAnnotations": {"a": "b"},
            "podLabels": {"a": "b"},
            "resources": {"limits": {"cpu": "2", "memory": "2G"}, "requests": {"cpu": "200m", "memory": "256Mi"}},
            "env": [{"name": "A", "value": "b"}],
            "nodeSelector": {"a": "b"},
            "affinity": {"nodeAffinity": {}},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "hostNetwork": true,
            "dnsPolicy": "ClusterFirst",
            "runAsRoot": true,
            "secretVolumes": [{"name": "certs", "secretName": "certs", "mountPath": "/etc/certs"}],
            "configVolumes": [{"name": "lua", "configMapName": "lua", "mountPath": "/var/lib/lua"}],
            "applicationPorts": "80,443",
            "requestedNetworkView": "net1",
            "sds": {"enabled": true, "image": "sds", "resources": {"limits": {"cpu": "1"}}},
            "kernel": {"enabled": true, "parameters": {"net.core.somaxconn": "65535", "vm.swappiness": "10"}},
            "compression": {
                "enabled": true, "min_content_length": 100, "content_type": ["text/html"],
                "disable_on_etag_header": true, "remove_accept_encoding_header": true,
                "gzip": {"memory_level": 9, "compression_level": "BEST", "compression_strategy": "RLE", "window_bits": 15, "chunk_size": 4096},
            },
            "autoCreateGatewayYaml": true,
        },
        "status": {
            "Status": "Available",
            "GatewayAddress": ["127.0.0.1"],
            "ClusterIdGatewayAddressMap": [{"ipAddress": "127.0.0.1", "clusterId": "c1"}],
            "ErrorMessage": "none",
            "observedGeneration": 3,
            "replicas": 2,
            "readyReplicas": 2,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": "",
                "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 3}],
        },
    }));
}

#[test]
fn gateway_fields_without_effect_are_named() {
    let object = gateway(&json!({
        "gatewayType": "egress",
        "autoscaleEnabled": true,
        "compression": {"enabled": true},
        "overrides": {"c1": {"replicaCount": 3}, "c2": {}},
    }));
    assert_eq!(
        paths(&object.spec.unsupported()),
        [
            "spec.gatewayType",
            "spec.autoscaleEnabled",
            "spec.compression",
            "spec.overrides[c1]"
        ]
    );
    let empty = gateway(&json!({
        "compression": {}, "cpu": {}, "kernel": {"parameters": {}}, "readinessProbe": {}, "sds": {},
        "hostNetwork": false, "autoscaleEnabled": false,
    }));
    assert_eq!(empty.spec.unsupported(), []);
}

#[test]
fn a_gateway_hosted_by_asm_is_named() {
    let mut object = gateway(&json!({}));
    assert_eq!(object.unsupported_annotations(), []);
    let key = gatewright_crds::istio_gateway::MANAGED_BY_ASM;
    object.metadata.annotations = Some([(key.to_owned(), "true".to_owned())].into());
    assert_eq!(object.unsupported_annotations().len(), 1);
}

#[test]
fn virtual_service_fields_without_effect_are_named() {
    let object: VirtualService = serde_json::from_value(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v"},
        "spec": {"hosts": ["a.example.com"], "http": [
            {"match": [{"uri": {"prefix": "/"}, "queryParams": {"a": {"exact": "b"}}}],
             "route": [{"destination": {"host": "h", "subset": "v1"}}], "timeout": "5s"},
            {"retries": {"attempts": 3}, "redirect": {"uri": "/x"}},
        ]},
    }))
    .unwrap();
    assert_eq!(
        paths(&object.spec.unsupported()),
        [
            "spec.http[1].retries",
            "spec.http[0].match[0].queryParams",
            "spec.http[0].route[0].destination.subset",
        ]
    );
}

#[test]
fn istio_gateway_servers_without_effect_are_named() {
    let object: Gateway = serde_json::from_value(json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g"},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": [
            {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"],
             "tls": {"mode": "MUTUAL", "credentialName": "c"}},
            {"port": {"number": 9000, "name": "tcp", "protocol": "TCP"}, "hosts": ["*"]},
            {"port": {"number": 80, "name": "http", "protocol": "http"}, "hosts": ["*"],
             "tls": {"httpsRedirect": true}},
        ]},
    }))
    .unwrap();
    assert_eq!(
        paths(&object.spec.unsupported()),
        ["spec.servers[0].tls.mode", "spec.servers[1].port.protocol"]
    );
}

#[test]
fn issuer_fields_without_effect_are_named() {
    let object: Issuer = serde_json::from_value(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "i"},
        "spec": {"vault": {}, "acme": {"server": "https://acme.test", "privateKeySecretRef": {"name": "k"},
            "solvers": [{"http01": {"ingress": {}}}, {"dns01": {"cloudflare": {"email": "a@b"}}}]}},
    }))
    .unwrap();
    assert_eq!(
        paths(&object.spec.unsupported()),
        ["spec.acme.solvers[1].dns01", "spec.vault"]
    );
}
