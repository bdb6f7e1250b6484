//! The translation of routing objects: compared with stored files, and given to a real Envoy.
//!
//! `tests/golden/routing/NAME.yaml` holds the objects of a case, `NAME.listeners.txt` and so on what
//! they become. `GATEWRIGHT_UPDATE=1` writes them anew.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a step that fails is a test that fails"
)]

#[path = "envoy_routing/case.rs"]
mod case;
#[path = "envoy_routing/envoy.rs"]
mod envoy;
#[path = "envoy_routing/text.rs"]
mod text;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use case::{Case, cases, files, folder};
use envoy::World;
use gatewright_xds::ResourceType;

const KINDS: [(ResourceType, &str); 4] = [
    (ResourceType::Cluster, "clusters"),
    (ResourceType::Endpoints, "endpoints"),
    (ResourceType::Listener, "listeners"),
    (ResourceType::Route, "routes"),
];

/// What the cases become, as file name and content.
fn results() -> Vec<(String, String)> {
    let mut results = Vec::new();
    for case in cases() {
        let output = case.translate_for_pods();
        for (kind, name) in KINDS {
            let text = text::of(&output.resources, kind);
            results.push((format!("{}.{name}.txt", case.name), text));
        }
        let mut text = String::new();
        for problem in &output.problems {
            writeln!(text, "{} {problem}", problem.reason).unwrap();
        }
        results.push((format!("{}.problems.txt", case.name), text));
    }
    results
}

#[test]
fn objects_become_what_is_stored() {
    let update = std::env::var_os("GATEWRIGHT_UPDATE").is_some();
    let results = results();
    let mut different = Vec::new();
    for (name, text) in &results {
        let path = folder().join(name);
        if update {
            std::fs::write(&path, text).unwrap();
        } else if std::fs::read_to_string(&path).ok().as_ref() != Some(text) {
            different.push(format!("{name} is now:\n{text}"));
        }
    }
    let made: BTreeSet<&str> = results.iter().map(|(name, _)| name.as_str()).collect();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    for path in files(&folder(), ".txt") {
        if made.contains(name(&path).as_str()) {
            continue;
        }
        if update {
            std::fs::remove_file(&path).unwrap();
        } else {
            different.push(format!("{} comes from no case", name(&path)));
        }
    }
    assert!(
        different.is_empty(),
        "{}\nGATEWRIGHT_UPDATE=1 writes them anew",
        different.join("\n")
    );
}

#[test]
fn the_order_of_objects_does_not_matter() {
    for case in cases() {
        let forward = case.translate_for_pods();
        let name = case.name.clone();
        let backward = case.reversed().translate_for_pods();
        let keys = |output: &gatewright::routing::Output| {
            let all = output.resources.iter();
            all.map(|each| (each.key(), each.version()))
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&forward), keys(&backward), "{name}");
        assert_eq!(forward.problems, backward.problems, "{name}");
    }
}

#[tokio::test]
async fn envoy_takes_every_resource_of_every_case() {
    let world = World::start("cases").await;
    let mut refused = Vec::new();
    for case in cases() {
        let output = case.translate(world.bind.into());
        let secrets: Vec<_> = output.secrets.keys().cloned().collect();
        let found = world.verdicts(output.resources, &secrets).await;
        refused.extend(
            found
                .into_iter()
                .map(|text| format!("{}: {text}", case.name)),
        );
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn envoy_takes_the_bootstrap_of_the_quickstart() {
    let output = envoy::validate_bootstrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Patterns and values of which Envoy refuses some, one at a time, past the translation: each that
/// Envoy refuses must be a problem, and each that it takes must not be one unless `narrower` says so.
async fn agrees(name: &str, template: &str, texts: &[&str], narrower: &[&str]) {
    let world = World::start(name).await;
    let mut wrong = Vec::new();
    for text in texts.iter().chain(narrower) {
        let quoted = serde_json::to_string(text).unwrap();
        let case = Case::of(name, &template.replace("TEXT", &quoted));
        let problems = case.translate(world.bind.into()).problems;
        // The same routes, with the text put in behind the translation's back.
        let stand_in = template.replace("TEXT", &serde_json::to_string("stand-in").unwrap());
        let output = Case::of(name, &stand_in).translate(world.bind.into());
        assert!(output.problems.is_empty(), "{:?}", output.problems);
        let resources = output.resources.into_iter();
        let resources = resources
            .map(|each| envoy::replace(each, "stand-in", text))
            .collect();
        let refused = world.verdicts(resources, &[]).await;
        let expected = !refused.is_empty() || narrower.contains(text);
        if expected == problems.is_empty() {
            wrong.push(format!(
                "{text:?}: envoy {refused:?}, translation {problems:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const REGEX: &str = "
kind: IstioGateway
metadata: { name: edge, namespace: istio-system }
spec: {}
---
kind: Gateway
metadata: { name: web, namespace: istio-system }
spec:
  selector: { istio: edge }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ['*'] }]
---
kind: VirtualService
metadata: { name: web, namespace: istio-system }
spec:
  hosts: ['*']
  gateways: [web]
  http:
    - match: [{ uri: { regex: TEXT } }]
      directResponse: { status: 200 }
";

#[tokio::test]
async fn a_regex_is_a_problem_when_envoy_refuses_it() {
    let large = "[a-z]{1000}/".repeat(60);
    let long = "a".repeat(2000);
    let common = [
        "/api/v[0-9]+/users/[a-z]{1,63}",
        "(?i)/x",
        "(?s-i)a",
        "[[:alpha:]_-]+",
        r"\d\w\s\D\W\S",
        r"\pL\PN",
        r"\p{Greek}\p{^Lu}",
        "(?P<n>a)",
        "(?<n>a)",
        "[]a]",
        "[^]a]",
        "[a-]",
        "a{0}",
        r"\x41\x{FF}",
        "a||b",
        "()",
        "^$",
        r"\bx\B",
        "é",
        "a{2,}",
        "(a{10}){100}",
        "(?m)^a$",
        r"\.\/\-\ ",
        ".*",
        "x??",
        r"\A\z",
        &long,
    ];
    let refused = [
        "",
        "(",
        "[",
        "[z-a]",
        "*",
        "a**",
        "x{2}{3}",
        "a{1001}",
        "(a{100}){100}",
        "(?x) a",
        "(?u)a",
        "(?R)a",
        "(?=a)",
        "(?#c)a",
        r"\1",
        r"\u0041",
        r"\Z",
        r"\e",
        r"\x{100}",
        r"\x4",
        r"\p{Alphabetic}",
        r"\p{greek}",
        r"\p{Script=Greek}",
        r"\p{Cn}",
        "[[:foo:]]",
        "[a--b]",
        "a{2,1}",
        r"[a-\d]",
        "(?i",
        r"\é",
        &large,
    ];
    let narrower = [
        r"\Qa.b\E",
        r"\C",
        r"\012",
        "[[a]]",
        "[a&&b]",
        "(?P<n>a)(?P<n>b)",
    ];
    let both: Vec<&str> = common.iter().chain(&refused).copied().collect();
    agrees("regex", REGEX, &both, &narrower).await;
}

#[tokio::test]
async fn a_header_value_is_a_problem_when_envoy_refuses_it() {
    let template = REGEX.replace(
        "match: [{ uri: { regex: TEXT } }]",
        "headers: { request: { set: { x-value: TEXT } } }",
    );
    let texts = [
        "plain",
        "",
        "é",
        "100%",
        "%%",
        "%FOO%",
        "%REQ(x)%",
        "%REQ(x?:path):30%",
        "%RESP(x)%",
        "%REQ()%",
        "%REQ%",
        "%REQ(x?y?z)%",
        "%REQ(x",
        "%REQ(x):%",
        "%PROTOCOL(a)%",
        "%protocol%",
        "%BYTES_RECEIVED%",
        "%CONNECTION_ID%",
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%DOWNSTREAM_LOCAL_ADDRESS%",
        "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
        "%DOWNSTREAM_LOCAL_PORT%",
        "%DOWNSTREAM_REMOTE_ADDRESS%",
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%DOWNSTREAM_TLS_CIPHER%",
        "%DOWNSTREAM_TLS_VERSION%",
        "%DURATION%",
        "%HOSTNAME%",
        "%PROTOCOL%",
        "%REQUESTED_SERVER_NAME%",
        "%RESPONSE_CODE%",
        "%RESPONSE_CODE_DETAILS%",
        "%RESPONSE_FLAGS%",
        "%ROUTE_NAME%",
        "%START_TIME%",
        "%STREAM_ID%",
        "%UPSTREAM_CLUSTER%",
        "%UPSTREAM_HOST%",
        "a\nb",
        "a%%b%PROTOCOL%c",
    ];
    agrees("header", &template, &texts, &["%DYNAMIC_METADATA(a:b)%"]).await;
}
