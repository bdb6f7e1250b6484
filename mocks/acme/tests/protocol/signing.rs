use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::client::{BASE, World, certificates, urn};

/// A client that can sign wrongly, which a good client cannot.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let rng = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &rng).unwrap())
    }

    fn of(key: &rcgen::KeyPair) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let rng = SystemRandom::new();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, key.serialized_der(), &rng).unwrap())
    }

    fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let text = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) })
    }

    fn sign(&self, header: &Value, payload: &str) -> Value {
        let protected = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        let payload = BASE64_URL_SAFE_NO_PAD.encode(payload);
        let input = format!("{protected}.{payload}");
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        json!({ "protected": protected, "payload": payload, "signature": signature })
    }
}

async fn nonce(world: &World) -> String {
    let request = Request::head(format!("{BASE}/new-nonce"))
        .body(Bytes::new())
        .unwrap();
    let response = world.send(request).await;
    assert_eq!(response.status(), 200);
    response.headers()["replay-nonce"]
        .to_str()
        .unwrap()
        .to_owned()
}

async fn post(world: &World, path: &str, body: &Value) -> (u16, String, Value) {
    let request = Request::post(format!("{BASE}{path}"))
        .header("content-type", "application/jose+json")
        .body(body.to_string().into())
        .unwrap();
    let response = world.send(request).await;
    assert!(response.headers().contains_key("replay-nonce"));
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    let kind = body["type"].as_str().unwrap_or_default().to_owned();
    (response.status().as_u16(), kind, body)
}

#[tokio::test(start_paused = true)]
async fn each_broken_rule_of_signing_has_its_problem() {
    let world = World::new().await;
    let signer = Signer::new();
    let url = format!("{BASE}/new-account");
    let agreed = r#"{"termsOfServiceAgreed":true}"#;
    let header = |changes: Value, nonce: String| {
        let mut header = json!({ "alg": "ES256", "nonce": nonce, "url": url, "jwk": signer.jwk() });
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        header
    };

    let cases = [
        (json!({ "nonce": "made up" }), 400, "badNonce"),
        (
            json!({ "url": format!("{BASE}/new-order") }),
            403,
            "unauthorized",
        ),
        (json!({ "alg": "HS256" }), 400, "badSignatureAlgorithm"),
        (json!({ "alg": "RS256" }), 400, "badSignatureAlgorithm"),
        (
            json!({ "kid": format!("{BASE}/account/x") }),
            400,
            "malformed",
        ),
        (json!({ "crit": ["x"] }), 400, "malformed"),
        (
            json!({ "jwk": { "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" } }),
            400,
            "badPublicKey",
        ),
        (json!({ "jwk": Signer::new().jwk() }), 400, "malformed"),
    ];
    for (changes, status, kind) in cases {
        let header = header(changes.clone(), nonce(&world).await);
        let (found, problem, body) =
            post(&world, "/new-account", &signer.sign(&header, agreed)).await;
        assert_eq!((found, problem), (status, urn(kind)), "{changes}: {body}");
        if kind == "badSignatureAlgorithm" {
            assert!(
                body["algorithms"]
                    .as_array()
                    .unwrap()
                    .contains(&json!("ES256"))
            );
        }
    }

    let kid = json!({
        "alg": "ES256", "nonce": nonce(&world).await, "url": format!("{BASE}/new-order"),
        "kid": format!("{BASE}/account/none"),
    });
    let (status, problem, _) = post(&world, "/new-order", &signer.sign(&kid, "{}")).await;
    assert_eq!((status, problem), (400, urn("accountDoesNotExist")));

    let header = header(
        json!({ "url": format!("{BASE}/new-order") }),
        nonce(&world).await,
    );
    let (status, problem, _) = post(&world, "/new-order", &signer.sign(&header, "{}")).await;
    assert_eq!((status, problem), (400, urn("malformed")));
    assert_eq!(world.acme.ledger().accounts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_is_good_for_one_request() {
    let world = World::new().await;
    let signer = Signer::new();
    let header = json!({
        "alg": "ES256", "nonce": nonce(&world).await, "url": format!("{BASE}/new-account"),
        "jwk": signer.jwk(),
    });
    let body = signer.sign(&header, r#"{"termsOfServiceAgreed":true}"#);
    assert_eq!(post(&world, "/new-account", &body).await.0, 201);
    let (status, problem, _) = post(&world, "/new-account", &body).await;
    assert_eq!((status, problem), (400, urn("badNonce")));
}

#[tokio::test(start_paused = true)]
async fn an_account_is_found_again_by_its_key_and_made_only_when_terms_are_agreed() {
    let world = World::new().await;
    let signer = Signer::new();
    let cases = [
        (r#"{"onlyReturnExisting":true}"#, 400, "accountDoesNotExist"),
        ("{}", 400, "malformed"),
        (
            r#"{"termsOfServiceAgreed":true,"externalAccountBinding":{}}"#,
            400,
            "malformed",
        ),
        (
            r#"{"termsOfServiceAgreed":true,"contact":["tel:1"]}"#,
            400,
            "unsupportedContact",
        ),
        (r#"{"termsOfServiceAgreed":true}"#, 201, ""),
        (r#"{"onlyReturnExisting":true}"#, 200, ""),
        (r#"{"termsOfServiceAgreed":true}"#, 200, ""),
    ];
    for (payload, status, kind) in cases {
        let header = json!({
            "alg": "ES256", "nonce": nonce(&world).await, "url": format!("{BASE}/new-account"),
            "jwk": signer.jwk(),
        });
        let (found, problem, _) =
            post(&world, "/new-account", &signer.sign(&header, payload)).await;
        let expected = if kind.is_empty() {
            String::new()
        } else {
            urn(kind)
        };
        assert_eq!((found, problem), (status, expected), "{payload}");
    }
    assert_eq!(world.acme.ledger().accounts, 1);
}

#[tokio::test(start_paused = true)]
async fn wrong_methods_paths_and_content_types_are_refused() {
    let world = World::new().await;
    let ask = |method: Method, path: &str, kind: &str| {
        Request::builder()
            .method(method)
            .uri(format!("{BASE}{path}"))
            .header("content-type", kind)
            .body(Bytes::new())
            .unwrap()
    };
    let jose = "application/jose+json";
    for (request, status) in [
        (ask(Method::GET, "/new-order", jose), 405),
        (ask(Method::POST, "/directory", jose), 405),
        (ask(Method::POST, "/new-order", "application/json"), 415),
        (ask(Method::POST, "/new-order", jose), 400),
        (ask(Method::GET, "/nothing", jose), 404),
        (ask(Method::GET, "/renewal-info/AA.AA", jose), 404),
    ] {
        let response: Response<Bytes> = world.send(request).await;
        assert_eq!(response.status(), status);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
    let directory = world.get(&format!("{BASE}/directory")).await;
    let directory: Value = serde_json::from_slice(directory.body()).unwrap();
    assert_eq!(directory["newOrder"], format!("{BASE}/new-order"));
    let response = world.get(&format!("{BASE}/new-nonce")).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(
        world.get(&format!("{BASE}/root.pem")).await.body(),
        &world.acme.root_pem()
    );
}

#[tokio::test(start_paused = true)]
async fn the_key_of_a_certificate_revokes_it_and_another_key_does_not() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    let (chain, key) = world
        .certificate_with_key(&account, &["a.example.test"])
        .await;
    let leaf = certificates(&chain).swap_remove(0);
    let revoke = async |signer: Signer, reason: u8| {
        let header = json!({
            "alg": "ES256", "nonce": nonce(&world).await,
            "url": format!("{BASE}/revoke-certificate"), "jwk": signer.jwk(),
        });
        let payload =
            json!({ "certificate": BASE64_URL_SAFE_NO_PAD.encode(&leaf), "reason": reason });
        let body = signer.sign(&header, &payload.to_string());
        let request = Request::post(format!("{BASE}/revoke-certificate"))
            .header("content-type", "application/jose+json")
            .body(body.to_string().into())
            .unwrap();
        world.send(request).await.status().as_u16()
    };
    assert_eq!(revoke(Signer::new(), 1).await, 403);
    assert_eq!(revoke(Signer::of(&key), 2).await, 400);
    assert!(world.acme.ledger().certificates[0].revoked_at.is_none());
    assert_eq!(revoke(Signer::of(&key), 1).await, 200);
    assert!(world.acme.ledger().certificates[0].revoked_at.is_some());
}
