use k8s_openapi::api::core::v1::ServiceSpec;
use kube::api::ObjectMeta;
use serde_json::json;

use super::*;

fn service(annotations: &[(&str, &str)]) -> Service {
    Service {
        metadata: ObjectMeta {
            uid: Some("6f1c7d2e-0000-4000-8000-000000000001".into()),
            annotations: Some(
                annotations
                    .iter()
                    .map(|(k, v)| (format!("{PREFIX}{k}"), (*v).to_owned()))
                    .collect(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            ports: Some(vec![ServicePort {
                name: Some("https".into()),
                port: 443,
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn slice(endpoints: &serde_json::Value) -> EndpointSlice {
    serde_json::from_value(json!({
        "addressType": "IPv4",
        "ports": [{ "name": "https", "port": 8443, "protocol": "TCP" }],
        "endpoints": endpoints,
    }))
    .unwrap()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature that the lookup has"
)]
fn interface(ip: IpAddr) -> Option<ServerId> {
    Some(ServerId::new(format!("eni-{ip}")))
}

fn backends_of(slices: Option<&[EndpointSlice]>) -> Backends {
    desired(&service(&[]), slices, &interface).unwrap().0.groups[0]
        .backends
        .clone()
}

#[test]
fn a_plain_service_is_a_public_tcp_load_balancer() {
    let (desired, unused) = desired(&service(&[]), None, &interface).unwrap();
    assert_eq!(desired.address_type, AddressType::Internet);
    assert_eq!(
        desired.name.as_deref(),
        Some("a6f1c7d2e00004000800000000000000")
    );
    assert_eq!(desired.listeners[0].protocol, Protocol::Tcp);
    assert_eq!(
        desired.listeners[0].settings.scheduler,
        Some(Scheduler::WeightedRoundRobin)
    );
    assert!(unused.is_empty());
}

#[test]
fn every_wrong_annotation_is_named() {
    let service = service(&[
        ("address-type", "outer"),
        ("connection-drain", "on"),
        ("established-timeout", "5"),
        ("protocol-port", "quic:443"),
    ]);
    let problems = desired(&service, None, &interface).unwrap_err();
    let mut fields: Vec<_> = problems
        .iter()
        .map(|p| p.field.strip_prefix(PREFIX).unwrap())
        .collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "address-type",
            "connection-drain",
            "established-timeout",
            "protocol-port"
        ],
        "{problems:?}"
    );
}

#[test]
fn an_annotation_without_effect_is_told() {
    let (_, unused) = desired(&service(&[("cert-id", "x")]), None, &interface).unwrap();
    assert_eq!(unused, [format!("{PREFIX}cert-id")]);
}

#[test]
fn the_old_prefix_is_read_and_the_new_one_wins() {
    let mut service = service(&[("address-type", "intranet")]);
    let annotations = service.metadata.annotations.get_or_insert_default();
    annotations.insert(format!("{OLD_PREFIX}address-type"), "internet".into());
    annotations.insert(format!("{OLD_PREFIX}name"), "shop".into());
    let (desired, _) = desired(&service, None, &interface).unwrap();
    assert_eq!(desired.address_type, AddressType::Intranet);
    assert_eq!(desired.name.as_deref(), Some("shop"));
}

#[test]
fn endpoints_become_backends_by_their_conditions() {
    let slice = slice(&json!([
        { "addresses": ["10.0.0.1"], "conditions": { "ready": true } },
        { "addresses": ["10.0.0.2"], "conditions": { "ready": false, "serving": true, "terminating": true } },
        { "addresses": ["10.0.0.3"], "conditions": { "ready": false, "serving": false } },
    ]));
    let Backends::Complete(list) = backends_of(Some(&[slice])) else {
        panic!("complete")
    };
    let states: Vec<_> = list.iter().map(|b| (b.key.to_string(), b.state)).collect();
    assert_eq!(
        states,
        [
            ("10.0.0.1:8443".into(), BackendState::Ready),
            ("10.0.0.2:8443".into(), BackendState::Draining)
        ]
    );
}

#[test]
fn no_slice_is_unknown_and_an_empty_slice_is_zero() {
    assert_eq!(backends_of(None), Backends::Unknown);
    assert_eq!(backends_of(Some(&[])), Backends::Unknown);
    assert_eq!(
        backends_of(Some(&[slice(&json!([]))])),
        Backends::ScaledToZero
    );
}
