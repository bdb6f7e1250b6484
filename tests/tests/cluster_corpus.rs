//! The embedded API server answers as the real one does.
#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fmt::Write as _;
use std::path::Path;

use gatewright_seams::{Clock, Random, Tasks};
use gatewright_tests::ControlPlane;
use gatewright_tests::corpus::{Answer, Step, replay, steps};
use kube::config::{KubeConfigOptions, Kubeconfig};
use local_kube::{LocalKube, Options, Storage};
use serde_json::Value;

/// The documented limits, each under a heading of its own.
const LIMITS: &str = include_str!("../../docs/limits.md");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_api_servers_answer_the_corpus_alike() {
    let steps = steps(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")));
    let clock = Clock::system();
    let tasks = Tasks::new();
    let options = Options {
        storage: Storage::Memory,
        clock,
        random: Random::system(),
        tasks: tasks.clone(),
    };
    let embedded = LocalKube::start(options).await.unwrap();
    let embedded = kube::Client::new(embedded.service(), "default");
    let ours = replay(clock, &embedded, &steps).await;
    tasks.cancel();

    let real = ControlPlane::start().await;
    let theirs = replay(clock, &impatient(&real.kubeconfig()).await, &steps).await;

    let mut found = String::new();
    let mut count = 0;
    for (step, (ours, theirs)) in steps.iter().zip(ours.iter().zip(&theirs)) {
        let difference = difference(ours, theirs);
        let complaint = match (&step.limit, difference.is_empty()) {
            (None, false) => difference,
            (Some(limit), _) if !LIMITS.contains(&format!("## {limit}\n")) => {
                format!("  docs/limits.md has no heading {limit:?}\n")
            }
            (None, true) | (Some(_), false) => continue,
            (Some(limit), true) => format!("  the limit {limit:?} is no more\n"),
        };
        count += 1;
        writeln!(
            found,
            "{}: {} ({})\n{complaint}",
            step.file, step.name, step.call
        )
        .unwrap();
    }
    assert!(
        count == 0,
        "{count} of {} requests differ\n\n{found}",
        steps.len()
    );
}

/// A client that gives back refusals which say "try again" instead of trying again.
async fn impatient(kubeconfig: &Path) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

/// Each field in which the embedded server's answer differs, one a line.
fn difference(ours: &Answer, theirs: &Answer) -> String {
    let mut found = String::new();
    if ours.status != theirs.status {
        writeln!(
            found,
            "  status {} instead of {}",
            ours.status, theirs.status
        )
        .unwrap();
    }
    if ours.warnings != theirs.warnings {
        let (ours, theirs) = (&ours.warnings, &theirs.warnings);
        writeln!(found, "  warnings {ours:?} instead of {theirs:?}").unwrap();
    }
    differ("", &ours.body, &theirs.body, &mut found);
    found
}

fn differ(path: &str, ours: &Value, theirs: &Value, found: &mut String) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, value) in theirs {
                let path = format!("{path}.{name}");
                match ours.get(name) {
                    Some(held) => differ(&path, held, value, found),
                    None => writeln!(found, "  {path} is missing: {value}").unwrap(),
                }
            }
            for (name, value) in ours.iter().filter(|(name, _)| !theirs.contains_key(*name)) {
                writeln!(found, "  {path}.{name} is too much: {value}").unwrap();
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                differ(&format!("{path}.{index}"), ours, theirs, found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let (ours, theirs) = (ours.len(), theirs.len());
            writeln!(found, "  {path} has {ours} elements instead of {theirs}").unwrap();
        }
        _ if ours == theirs => {}
        _ => writeln!(found, "  {path} is\n    {ours}\n  instead of\n    {theirs}").unwrap(),
    }
}

/// A request that is found by the heading of its limit is one that is sent.
#[test]
fn every_request_has_a_method_and_a_path() {
    let steps: Vec<Step> = steps(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")));
    for step in &steps {
        let (method, path) = step.call.split_once(' ').unwrap();
        assert!(
            ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method),
            "{}",
            step.name
        );
        assert!(path.starts_with('/'), "{}", step.name);
    }
}
