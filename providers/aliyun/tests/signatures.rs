//! Signatures against vectors that the official SDKs made.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "readers of vectors panic on a bad file"
)]

use gatewright_aliyun::sign::{self, acs3, rpc};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("data/signature-vectors.json")).unwrap()
}

fn of_scheme(scheme: &str) -> Vec<Value> {
    let all = vectors();
    let list = all["vectors"].as_array().unwrap();
    list.iter()
        .filter(|v| v["scheme"] == scheme)
        .cloned()
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {}", value["id"]))
}

fn pairs(map: &Value) -> Vec<(String, String)> {
    let map = map.as_object().unwrap();
    map.iter()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn percent_encoding_keeps_only_unreserved_characters() {
    for case in vectors()["percent_encoding"].as_array().unwrap() {
        let (plain, encoded) = (case["in"].as_str().unwrap(), case["out"].as_str().unwrap());
        assert_eq!(sign::encode(plain), encoded);
        assert_eq!(sign::decode(encoded).as_deref(), Some(plain));
    }
    assert_eq!(sign::decode("a+b").as_deref(), Some("a b"));
    assert_eq!(sign::decode("%4"), None);
    assert_eq!(sign::decode("%zz"), None);
}

#[test]
fn every_rpc_vector_is_reproduced() {
    let vectors = of_scheme("RPC-HMAC-SHA1");
    assert_eq!(vectors.len(), 6);
    for vector in vectors {
        let wire = &vector["wire_request"];
        let method = vector["method"]
            .as_str()
            .or(wire["method"].as_str())
            .unwrap();
        let params = pairs(&vector["params"]);
        let string = rpc::string_to_sign(method, params.iter().map(|(k, v)| (k, v)));
        assert_eq!(string, text(&vector, "string_to_sign"), "{}", vector["id"]);
        let signature = rpc::signature(text(&vector, "access_key_secret"), &string);
        assert_eq!(signature, text(&vector, "signature"), "{}", vector["id"]);
    }
}

/// What a server does: it knows the request line and the body only.
#[test]
fn every_rpc_request_on_the_wire_verifies() {
    let mut checked = 0;
    for vector in of_scheme("RPC-HMAC-SHA1") {
        let wire = &vector["wire_request"];
        let Some(target) = wire["target"].as_str() else {
            continue;
        };
        let (_, query) = target.split_once('?').unwrap();
        let mut params = sign::decode_query(query).unwrap();
        params.extend(sign::decode_query(wire["body_utf8"].as_str().unwrap_or("")).unwrap());
        let sent = params
            .iter()
            .find(|(name, _)| name == "Signature")
            .unwrap()
            .1
            .clone();
        let string = rpc::string_to_sign(text(wire, "method"), params.iter().map(|(k, v)| (k, v)));
        let signature = rpc::signature(text(&vector, "access_key_secret"), &string);
        assert!(
            sign::signatures_match(&signature, &sent),
            "{}",
            vector["id"]
        );
        assert!(!sign::signatures_match(
            &rpc::signature("other", &string),
            &sent
        ));
        checked += 1;
    }
    assert_eq!(checked, 3);
}

#[test]
fn every_acs3_vector_is_reproduced() {
    let vectors = of_scheme("ACS3-HMAC-SHA256");
    assert_eq!(vectors.len(), 6);
    for vector in vectors {
        let authorization = acs3::Authorization::parse(text(&vector, "authorization")).unwrap();
        assert_eq!(authorization.header(), text(&vector, "authorization"));
        let wire = &vector["wire_request"];
        let (method, path, query, headers, body) = if wire.is_object() {
            let target = text(wire, "target");
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let headers = wire["headers"].as_array().unwrap();
            let headers = headers
                .iter()
                .map(|h| {
                    (
                        h[0].as_str().unwrap().to_owned(),
                        h[1].as_str().unwrap().to_owned(),
                    )
                })
                .collect();
            let body = wire["body_utf8"].as_str().unwrap_or("");
            (
                text(wire, "method"),
                path,
                sign::decode_query(query).unwrap(),
                headers,
                body,
            )
        } else {
            (
                text(&vector, "method"),
                text(&vector, "path"),
                pairs(&vector["query_decoded"]),
                pairs(&vector["headers_in"]),
                text(&vector, "body_utf8"),
            )
        };
        let hashed = acs3::hash_payload(body.as_bytes());
        assert_eq!(hashed, text(&vector, "hashed_payload"), "{}", vector["id"]);
        let canonical = acs3::canonical_request(
            method,
            path,
            &query,
            &headers,
            &authorization.signed_headers,
            &hashed,
        );
        assert_eq!(
            canonical,
            text(&vector, "canonical_request"),
            "{}",
            vector["id"]
        );
        let string = acs3::string_to_sign(&canonical);
        assert_eq!(string, text(&vector, "string_to_sign"), "{}", vector["id"]);
        let signature = acs3::signature(text(&vector, "access_key_secret"), &string);
        assert_eq!(signature, text(&vector, "signature"), "{}", vector["id"]);
    }
}
