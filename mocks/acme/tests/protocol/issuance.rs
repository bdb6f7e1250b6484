use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Key, NewOrder, OrderStatus,
    RevocationRequest,
};
use mock_acme::Endpoint;
use rcgen::KeyPair;
use serde_json::Value;
use x509_parser::extensions::ParsedExtension;

use crate::client::{World, certificates, csr, dns, patience, problem_type, urn, verifies};

#[tokio::test(start_paused = true)]
async fn an_order_for_two_names_gives_a_chain_that_verifies_against_the_root() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    let chain = world
        .certificate(&account, &["b.example.test", "a.example.test"])
        .await;

    let root = world.acme.root_pem();
    for name in ["a.example.test", "b.example.test"] {
        assert!(verifies(&chain, &root, name, &world.clock), "{name}");
    }
    assert!(!verifies(&chain, &root, "c.example.test", &world.clock));

    let ders = certificates(&chain);
    assert_eq!(ders.len(), 2);
    let (_, leaf) = x509_parser::parse_x509_certificate(&ders[0]).unwrap();
    assert!(!leaf.is_ca());
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    let has = |wanted: fn(&ParsedExtension<'_>) -> bool| {
        leaf.iter_extensions()
            .any(|extension| wanted(extension.parsed_extension()))
    };
    assert!(has(|e| matches!(
        e,
        ParsedExtension::SubjectKeyIdentifier(_)
    )));
    assert!(has(|e| matches!(
        e,
        ParsedExtension::AuthorityKeyIdentifier(_)
    )));

    let ledger = world.acme.ledger();
    assert_eq!((ledger.accounts, ledger.orders), (1, 1));
    assert_eq!(ledger.count(Endpoint::NewOrder), 1);
    assert!(
        ledger
            .validations
            .iter()
            .all(|validation| validation.failure.is_none())
    );
    let [record] = ledger.certificates.as_slice() else {
        panic!("one certificate")
    };
    assert_eq!(record.names, ["a.example.test", "b.example.test"]);
    assert_eq!(record.serial.len(), 32);
    assert_eq!(
        format!("{:032x}", leaf.tbs_certificate.serial),
        record.serial
    );
    let hour = record.issued_at.duration_since(record.not_before).as_secs();
    assert!((3600..=3601).contains(&hour));
    assert_eq!(
        record
            .not_after
            .duration_since(record.not_before)
            .as_hours(),
        90 * 24
    );
    assert_eq!(
        leaf.validity().not_before.timestamp(),
        record.not_before.as_second()
    );
    assert_eq!(
        leaf.validity().not_after.timestamp(),
        record.not_after.as_second()
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_authorization_ends_the_order_after_three_attempts() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    let names = dns(&["a.example.test"]);
    let mut order = account.new_order(&NewOrder::new(&names)).await.unwrap();
    let mut authorizations = order.authorizations();
    let mut authorization = authorizations.next().await.unwrap().unwrap();
    let mut challenge = authorization.challenge(ChallengeType::Http01).unwrap();
    world
        .web
        .put("a.example.test", &challenge.token, "something else");
    challenge.set_ready().await.unwrap();

    let error = order.poll_ready(&patience()).await.unwrap_err();
    assert_eq!(problem_type(error), urn("unauthorized"));
    assert_eq!(order.state().status, OrderStatus::Invalid);
    let ledger = world.acme.ledger();
    let attempts: Vec<u32> = ledger.validations.iter().map(|v| v.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let failure = ledger.validations[0].failure.as_deref().unwrap();
    assert!(failure.contains("something else"), "{failure}");
    let error = order
        .finalize_csr(&csr(&["a.example.test"], &KeyPair::generate().unwrap()))
        .await;
    assert_eq!(problem_type(error.unwrap_err()), urn("orderNotReady"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_name_is_named_in_a_subproblem_and_makes_no_order() {
    let world = World::new().await;
    world.acme.faults().refuse_name("no.example.test");
    let (account, _) = world.account().await;
    let names = dns(&["yes.example.test", "no.example.test"]);
    let error = account
        .new_order(&NewOrder::new(&names))
        .await
        .err()
        .unwrap();
    let instant_acme::Error::Api(problem) = error else {
        panic!("not a problem: {error}")
    };
    assert_eq!(problem.r#type, Some(urn("rejectedIdentifier")));
    assert_eq!(problem.subproblems.len(), 1);
    assert_eq!(world.acme.ledger().orders, 0);

    let names = dns(&["under_score.example.test"]);
    let error = account
        .new_order(&NewOrder::new(&names))
        .await
        .err()
        .unwrap();
    assert_eq!(problem_type(error), urn("malformed"));
}

#[tokio::test(start_paused = true)]
async fn a_wildcard_has_dns_01_alone_and_that_fails_with_a_reason() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    let names = dns(&["*.example.test"]);
    let mut order = account.new_order(&NewOrder::new(&names)).await.unwrap();
    let mut authorizations = order.authorizations();
    let mut authorization = authorizations.next().await.unwrap().unwrap();
    let offered: Vec<_> = authorization
        .challenges
        .iter()
        .map(|c| c.r#type.clone())
        .collect();
    assert_eq!(offered, [ChallengeType::Dns01]);
    assert!(authorization.wildcard);
    {
        let mut challenge = authorization.challenge(ChallengeType::Dns01).unwrap();
        let error = challenge.set_ready().await.unwrap_err();
        assert!(error.to_string().contains("http-01 only"), "{error}");
    }
    let mut authorizations = order.authorizations();
    let mut authorization = authorizations.next().await.unwrap().unwrap();
    assert_eq!(
        authorization.refresh().await.unwrap().status,
        AuthorizationStatus::Invalid
    );
    assert_eq!(order.refresh().await.unwrap().status, OrderStatus::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_csr_must_ask_for_the_names_of_the_order_with_a_good_key() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    let names = dns(&["a.example.test"]);
    let mut order = account.new_order(&NewOrder::new(&names)).await.unwrap();
    world.answer_challenges(&mut order).await;
    order.poll_ready(&patience()).await.unwrap();

    let key = KeyPair::generate().unwrap();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut torn = csr(&["a.example.test"], &key);
    *torn.last_mut().unwrap() ^= 1;
    for bad in [
        csr(&["a.example.test", "b.example.test"], &key),
        csr(&["b.example.test"], &key),
        csr(&["a.example.test"], &ed25519),
        torn,
        b"no csr".to_vec(),
    ] {
        let error = order.finalize_csr(&bad).await.unwrap_err();
        assert_eq!(problem_type(error), urn("badCSR"));
    }
    // A refusal does not end the order.
    order
        .finalize_csr(&csr(&["A.example.test"], &key))
        .await
        .unwrap();
    order.poll_certificate(&patience()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_order_stays_processing_for_as_long_as_scripted() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    world.acme.faults().processing(Duration::from_secs(20));
    let names = dns(&["a.example.test"]);
    let mut order = account.new_order(&NewOrder::new(&names)).await.unwrap();
    world.answer_challenges(&mut order).await;
    order.poll_ready(&patience()).await.unwrap();
    let before = world.clock.elapsed();
    order
        .finalize_csr(&csr(&["a.example.test"], &KeyPair::generate().unwrap()))
        .await
        .unwrap();
    assert_eq!(order.state().status, OrderStatus::Processing);
    order.poll_certificate(&patience()).await.unwrap();
    assert!(world.clock.elapsed() >= before + Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_short_lived_certificate_lives_160_hours() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    let names = dns(&["a.example.test"]);
    let mut order = account
        .new_order(&NewOrder::new(&names).profile("shortlived"))
        .await
        .unwrap();
    world.answer_challenges(&mut order).await;
    order.poll_ready(&patience()).await.unwrap();
    order
        .finalize_csr(&csr(&["a.example.test"], &KeyPair::generate().unwrap()))
        .await
        .unwrap();
    let ledger = world.acme.ledger();
    let record = &ledger.certificates[0];
    assert_eq!(
        record
            .not_after
            .duration_since(record.not_before)
            .as_hours(),
        160
    );
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_replaced_once_and_revoked_once() {
    let world = World::new().await;
    let (account, _) = world.account().await;
    let chain = world.certificate(&account, &["a.example.test"]).await;
    let leaf = certificates(&chain).swap_remove(0);
    let id = identifier(&leaf);
    let info = format!("{}/renewal-info/{id}", crate::client::BASE);

    let response = world.get(&info).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("retry-after"));
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    let start = body["suggestedWindow"]["start"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(start.starts_with("2027-01-23"), "{start}");

    let names = dns(&["a.example.test"]);
    let replacing = NewOrder::new(&names).replaces(id.clone());
    account.new_order(&replacing).await.unwrap();
    let error = account.new_order(&replacing).await.err().unwrap();
    assert_eq!(problem_type(error), urn("alreadyReplaced"));

    let (stranger, _) = world.account().await;
    let request = RevocationRequest {
        certificate: &leaf,
        reason: None,
    };
    let error = stranger.revoke(&request).await.unwrap_err();
    assert_eq!(problem_type(error), urn("unauthorized"));
    account.revoke(&request).await.unwrap();
    assert!(world.acme.ledger().certificates[0].revoked_at.is_some());
    let error = account.revoke(&request).await.unwrap_err();
    assert_eq!(problem_type(error), urn("alreadyRevoked"));
    let body: Value = serde_json::from_slice(world.get(&info).await.body()).unwrap();
    assert!(
        body["suggestedWindow"]["end"]
            .as_str()
            .unwrap()
            .starts_with("2026-11-24")
    );
}

fn identifier(leaf: &[u8]) -> CertificateIdentifier<'static> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).unwrap();
    let key_id = parsed
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(key) => key.key_identifier.clone(),
            _ => None,
        })
        .unwrap();
    CertificateIdentifier::new(key_id.0.into(), parsed.raw_serial().into()).into_owned()
}

#[tokio::test(start_paused = true)]
async fn an_account_changes_its_key_and_ends_when_deactivated() {
    let world = World::new().await;
    let (mut account, old) = world.account().await;
    let new = account.update_key().await.unwrap();
    account
        .update_contacts(&["mailto:new@example.test"])
        .await
        .unwrap();
    let account = Account::builder_with_http(world.http())
        .from_credentials(new)
        .await
        .unwrap();
    world.certificate(&account, &["a.example.test"]).await;

    let old = Account::builder_with_http(world.http())
        .from_credentials(old)
        .await;
    let names = dns(&["a.example.test"]);
    let error = old
        .unwrap()
        .new_order(&NewOrder::new(&names))
        .await
        .err()
        .unwrap();
    assert_eq!(problem_type(error), urn("malformed"));

    let gone = account.clone();
    account.deactivate().await.unwrap();
    let error = gone.new_order(&NewOrder::new(&names)).await.err().unwrap();
    let instant_acme::Error::Api(problem) = error else {
        panic!("not a problem: {error}")
    };
    assert_eq!(
        (problem.r#type, problem.status),
        (Some(urn("unauthorized")), Some(401))
    );
}

#[tokio::test(start_paused = true)]
async fn the_account_key_cannot_be_the_key_of_a_certificate() {
    let world = World::new().await;
    let (key, pkcs8) = Key::generate_pkcs8().unwrap();
    let certificate_key = KeyPair::try_from(pkcs8.secret_pkcs8_der()).unwrap();
    let (account, _) = Account::builder_with_http(world.http())
        .create_from_key((key, pkcs8.into()), world.acme.directory_url())
        .await
        .unwrap();
    let names = dns(&["a.example.test"]);
    let mut order = account.new_order(&NewOrder::new(&names)).await.unwrap();
    world.answer_challenges(&mut order).await;
    order.poll_ready(&patience()).await.unwrap();
    let error = order
        .finalize_csr(&csr(&["a.example.test"], &certificate_key))
        .await
        .unwrap_err();
    assert_eq!(problem_type(error), urn("badCSR"));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_ledger() {
    let mut ledgers = Vec::new();
    for _ in 0..2 {
        let world = World::new().await;
        let (account, _) = world.account().await;
        world
            .certificate(&account, &["b.example.test", "a.example.test"])
            .await;
        let ledger = world.acme.ledger();
        let requests: Vec<_> = ledger
            .requests
            .iter()
            .map(|r| (r.endpoint, r.status))
            .collect();
        let names: Vec<_> = ledger.validations.iter().map(|v| v.name.clone()).collect();
        ledgers.push((
            account.id().to_owned(),
            requests,
            names,
            ledger.certificates[0].serial.clone(),
        ));
    }
    assert_eq!(ledgers[0], ledgers[1]);
}
