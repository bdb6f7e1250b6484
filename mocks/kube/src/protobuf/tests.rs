use serde_json::{Value, json};

use super::{DecodeError, decode, is_protobuf};

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("seven bits"));
}

/// A field with bytes.
fn bytes(number: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3 | 2, &mut out);
    varint(value.len() as u64, &mut out);
    out.extend(value);
    out
}

/// A field with a number.
fn number(number: u64, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3, &mut out);
    varint(value.cast_unsigned(), &mut out);
    out
}

fn text(number: u64, value: &str) -> Vec<u8> {
    bytes(number, value.as_bytes())
}

fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [text(1, version), text(2, kind)].concat();
    [b"k8s\0".to_vec(), bytes(1, &meta), bytes(2, raw)].concat()
}

/// ObjectMeta as Go writes it: the fields that are no pointers are there even when they are empty.
fn metadata(name: &str) -> Vec<u8> {
    let entry = [text(1, "app"), text(2, "x")].concat();
    [
        text(1, name),
        text(2, ""),
        text(3, "ns"),
        text(4, ""),
        text(5, ""),
        text(6, ""),
        number(7, 0),
        bytes(8, &[]),
        bytes(11, &entry),
    ]
    .concat()
}

#[test]
fn a_service_as_kubectl_sends_it_becomes_json() {
    let target = [number(1, 1), number(2, 0), text(3, "http")].concat();
    let port = [
        text(1, "web"),
        text(2, "TCP"),
        number(3, 80),
        bytes(4, &target),
        number(5, 0),
    ]
    .concat();
    let spec = [
        bytes(1, &port),
        text(3, ""),
        text(4, "ClusterIP"),
        number(20, 0),
    ]
    .concat();
    let status = bytes(1, &[]);
    let raw = [bytes(1, &metadata("s")), bytes(2, &spec), bytes(3, &status)].concat();
    let body = envelope("v1", "Service", &raw);
    assert!(is_protobuf(&body));
    assert_eq!(
        decode(&body),
        Ok(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "s", "namespace": "ns", "labels": {"app": "x"}},
            "spec": {
                "ports": [{"name": "web", "protocol": "TCP", "port": 80, "targetPort": "http"}],
                "type": "ClusterIP", "allocateLoadBalancerNodePorts": false,
            },
            "status": {"loadBalancer": {}},
        }))
    );
}

#[test]
fn secrets_config_maps_and_pods_keep_bytes_quantities_times_and_embedded_structs() {
    let entry = [text(1, "tls.key"), bytes(2, &[0xff, 0x00])].concat();
    let secret = [
        bytes(1, &metadata("a")),
        bytes(2, &entry),
        text(3, "Opaque"),
    ]
    .concat();
    let secret = decode(&envelope("v1", "Secret", &secret)).expect("a Secret");
    assert_eq!(secret["data"], json!({"tls.key": "/wA="}));

    let quantity = [text(1, "cpu"), bytes(2, &text(1, "500m"))].concat();
    let resources = bytes(1, &quantity);
    let get = [
        text(1, "/healthz"),
        bytes(2, &[number(1, 0), number(2, 8080), text(3, "")].concat()),
    ]
    .concat();
    let handler = bytes(2, &get);
    let probe = [bytes(1, &handler), number(4, -1)].concat();
    let container = [
        text(1, "c"),
        text(2, "i"),
        bytes(8, &resources),
        bytes(10, &probe),
    ]
    .concat();
    let volume = [text(1, "v"), bytes(2, &bytes(2, &[]))].concat();
    let spec = [bytes(1, &volume), bytes(2, &container)].concat();
    let pod = decode(&envelope("v1", "Pod", &bytes(2, &spec))).expect("a Pod");
    assert_eq!(
        pod["spec"],
        json!({
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{
                "name": "c", "image": "i", "resources": {"limits": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": -1},
            }],
        })
    );

    let time = [number(1, 1_767_225_600), number(2, 123_456_000)].concat();
    let lease = bytes(2, &[text(1, "me"), number(2, 15), bytes(4, &time)].concat());
    let lease = decode(&envelope("coordination.k8s.io/v1", "Lease", &lease)).expect("a Lease");
    assert_eq!(
        lease["spec"],
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.123456Z"})
    );
}

#[test]
fn delete_options_come_in_any_group() {
    let raw = [number(1, 0), text(4, "Background"), text(5, "All")].concat();
    for version in ["v1", "apps/v1", "meta.k8s.io/v1"] {
        assert_eq!(
            decode(&envelope(version, "DeleteOptions", &raw)),
            Ok(json!({
                "apiVersion": version, "kind": "DeleteOptions", "gracePeriodSeconds": 0,
                "propagationPolicy": "Background", "dryRun": ["All"],
            }))
        );
    }
}

#[test]
fn raw_parts_are_json() {
    let raw = [bytes(2, &bytes(1, br#"{"a":[1]}"#)), number(3, 4)].concat();
    let revision = decode(&envelope("apps/v1", "ControllerRevision", &raw)).expect("a revision");
    assert_eq!(
        (&revision["data"], &revision["revision"]),
        (&json!({"a": [1]}), &json!(4))
    );
    let broken = bytes(2, &bytes(1, b"{"));
    assert_eq!(
        decode(&envelope("apps/v1", "ControllerRevision", &broken)),
        Err(DecodeError::EmbeddedJson("RawExtension"))
    );
}

#[test]
fn what_is_no_message_is_refused() {
    assert_eq!(decode(b"{}"), Err(DecodeError::Prefix));
    assert_eq!(
        decode(b"k8s\0\x0a\x05"),
        Err(DecodeError::Malformed("Unknown"))
    );
    let cut = envelope("v1", "Secret", &[0x0a, 0x10, 0x01]);
    assert_eq!(
        decode(&cut),
        Err(DecodeError::Malformed("io.k8s.api.core.v1.Secret"))
    );
    assert_eq!(
        decode(&envelope("example.com/v1", "Foo", &[])).map_err(|e| e.to_string()),
        Err("no kind \"Foo\" is registered for version \"example.com/v1\"".to_owned())
    );
}

/// Go writes null where a list that JSON always shows is nil; both mean nothing.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, v)| (k, without_nulls(v)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[test]
fn bodies_written_by_kubernetes_become_the_json_it_writes() {
    let mut lines = include_str!("fixtures.txt").lines();
    let mut count = 0;
    while let (Some(hex), Some(text)) = (lines.next(), lines.next()) {
        let body: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal"))
            .collect();
        let expected: Value = serde_json::from_str(text).expect("JSON");
        let decoded = decode(&body).expect("the body is well formed");
        assert_eq!(
            without_nulls(decoded),
            without_nulls(expected.clone()),
            "{}",
            expected["kind"]
        );
        count += 1;
    }
    assert_eq!(count, 13);
}
