use std::path::Path;

use super::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn absent(service: &Service) -> Known {
    let owner = OwnerKey::new(service.metadata.uid.as_deref().unwrap_or_default());
    (Observed::absent(owner), "taken as absent: a test".into())
}

fn planned(path: &Path) -> Vec<Planned> {
    let now = "2030-01-01T12:00:00Z".parse().unwrap();
    let services = read_services(&[path.to_owned()]).unwrap();
    let with_uid = |mut service: Service| {
        service.metadata.uid = Some(NO_UID.into());
        service
    };
    let services = services.into_iter().map(with_uid);
    services.map(|service| plan_of(&service, absent(&service), now)).collect()
}

fn compare(stored: &str, text: &str) {
    let file = root().join("src/cli/plan").join(stored);
    if std::env::var_os("GATEWRIGHT_UPDATE").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let stored = std::fs::read_to_string(&file).unwrap();
    assert_eq!(stored, text, "GATEWRIGHT_UPDATE=1 writes {} anew", file.display());
}

#[test]
fn the_quickstart_is_planned_as_stored() {
    let planned = planned(&root().join("examples/quickstart"));
    compare("quickstart.txt", &in_words(&planned));
    compare("quickstart.json", &format!("{}\n", serde_json::to_string_pretty(&planned).unwrap()));
}

#[test]
fn what_is_applied_needs_no_second_plan() {
    let services = read_services(&[root().join("examples/quickstart")]).unwrap();
    let mut service = services[0].clone();
    service.metadata.uid = Some(NO_UID.into());
    let now = "2030-01-01T12:00:00Z".parse().unwrap();
    let first = plan_of(&service, absent(&service), now).plan.unwrap();
    assert!(!first.is_empty());
}

#[test]
fn a_wrong_annotation_is_told_in_place_of_a_plan() {
    let directory = std::env::temp_dir().join(format!("gatewright-plan-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("service.yaml");
    std::fs::write(
        &file,
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  annotations:\n    \
         service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type: mars\nspec:\n  \
         type: LoadBalancer\n  loadBalancerClass: gatewright.dev/clb\n  ports: [{port: 80}]\n",
    )
    .unwrap();
    let planned = planned(&file);
    std::fs::remove_dir_all(&directory).unwrap();
    let text = in_words(&planned);
    assert!(text.contains("invalid: service.beta") && text.contains("mars"), "{text}");
    assert!(planned[0].plan.is_none());
}
