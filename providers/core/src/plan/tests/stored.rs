//! Plans against stored files. `GATEWRIGHT_UPDATE=1` writes them anew.

use std::path::Path;

use jiff::SignedDuration;

use super::cloud::Cloud;
use super::{gateway, noon};
use crate::plan::plan;
use crate::step::Plan;

fn assert_stored(name: &str, plan: &Plan) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let json = serde_json::to_string_pretty(plan).unwrap() + "\n";
    for (ending, text) in [("txt", plan.to_string()), ("json", json.clone())] {
        let path = folder.join(format!("{name}.{ending}"));
        if std::env::var_os("GATEWRIGHT_UPDATE").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            text,
            stored,
            "{} differs; GATEWRIGHT_UPDATE=1 rewrites it",
            path.display()
        );
    }
    assert_eq!(&serde_json::from_str::<Plan>(&json).unwrap(), plan);
}

#[test]
fn creating_a_gateway_is_as_stored() {
    let mut desired = gateway(&[1, 2]);
    desired.deletion_protection = Some(true);
    assert_stored(
        "create",
        &plan(Some(&desired), &Cloud::empty().observed, noon()),
    );
}

#[test]
fn replacing_a_pod_is_as_stored() {
    let mut cloud = Cloud::empty();
    cloud.now = noon() - SignedDuration::from_hours(1);
    cloud.apply_all(&plan(Some(&gateway(&[1, 2])), &cloud.observed, cloud.now));
    assert_stored(
        "replace-pod",
        &plan(Some(&gateway(&[2, 3])), &cloud.observed, noon()),
    );
}

#[test]
fn deleting_a_gateway_is_as_stored() {
    let mut cloud = Cloud::empty();
    let mut desired = gateway(&[1, 2]);
    desired.deletion_protection = Some(true);
    cloud.apply_all(&plan(Some(&desired), &cloud.observed, noon()));
    assert_stored("delete", &plan(None, &cloud.observed, noon()));
}
