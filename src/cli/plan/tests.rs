use std::path::Path;

use gatewright_aliyun::{Clb, ClbOptions, Client, ClientOptions, Credentials};
use gatewright_core::IdempotencyToken;
use kube::api::PostParams;
use local_kube::LocalKube;
use mock_cloud::MockCloud;
use tower::util::BoxCloneSyncService;

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
    services
        .map(|service| plan_of(&service, absent(&service), now))
        .collect()
}

fn compare(stored: &str, text: &str) {
    let file = root().join("src/cli/plan").join(stored);
    if std::env::var_os("GATEWRIGHT_UPDATE").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let stored = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        stored,
        text,
        "GATEWRIGHT_UPDATE=1 writes {} anew",
        file.display()
    );
}

#[test]
fn the_quickstart_is_planned_as_stored() {
    let planned = planned(&root().join("examples/quickstart"));
    compare("quickstart.txt", &in_words(&planned));
    compare(
        "quickstart.json",
        &format!("{}\n", serde_json::to_string_pretty(&planned).unwrap()),
    );
}

#[tokio::test]
async fn what_the_cloud_holds_needs_no_plan() {
    let (tasks, clock, random) = (Tasks::new(), Clock::system(), Random::seeded(1));
    let key = mock_cloud::AccessKey {
        id: "id".into(),
        secret: "secret".into(),
    };
    let server = LocalKube::start(local_kube::Options {
        storage: local_kube::Storage::Memory,
        clock,
        random: random.clone(),
        tasks: tasks.clone(),
    })
    .await
    .unwrap();
    let cloud = MockCloud::start(mock_cloud::Options {
        storage: mock_cloud::Storage::Memory,
        clock,
        random: random.clone(),
        tasks: tasks.clone(),
        region: "cn-hangzhou".into(),
        access_keys: vec![key.clone()],
        data_plane: mock_cloud::DataPlane::Off,
    })
    .await
    .unwrap();
    let endpoint = "http://slb.example.com".parse().unwrap();
    let options = ClientOptions::new(
        Credentials::new(key.id, key.secret),
        "cn-hangzhou",
        endpoint,
    );
    let client = Client::new(
        options,
        BoxCloneSyncService::new(cloud.service()),
        clock,
        random,
    );
    let provider: Arc<dyn LoadBalancers> = Arc::new(Clb::new(client, ClbOptions::new("c".into())));
    let kube = kube::Client::new(server.service(), "default");
    let world = World {
        cloud: Some(provider.clone()),
        kube: Some(kube.clone()),
        absent: "no Service",
        cluster: "c".into(),
    };

    let mut service = read_services(&[root().join("examples/quickstart")])
        .unwrap()
        .remove(0);
    service.metadata.namespace = Some("default".into());
    let (before, known) = world.observe(service.clone()).await.unwrap();
    assert_eq!(known.1, "no Service");
    assert!(
        !plan_of(&before, known, clock.now())
            .plan
            .unwrap()
            .is_empty()
    );

    let api: Api<Service> = Api::namespaced(kube, "default");
    let held = api.create(&PostParams::default(), &service).await.unwrap();
    let (found, (mut observed, source)) = world.observe(service.clone()).await.unwrap();
    assert_eq!(found.metadata.uid, held.metadata.uid);
    assert_eq!(source, "absent: the cloud has none for it in cluster c");
    let wanted = plan_of(&found, (observed.clone(), source), clock.now())
        .plan
        .unwrap();
    for step in &wanted.steps {
        let owner = OwnerKey::new(found.metadata.uid.clone().unwrap());
        let token = IdempotencyToken::new(&owner, 1, &step.action);
        provider.apply(step, &mut observed, &token).await.unwrap();
    }
    let (found, known) = world.observe(service).await.unwrap();
    assert_eq!(known.1, CLOUD);
    let left = plan_of(&found, known, clock.now()).plan.unwrap();
    assert!(left.is_empty(), "{left}");
    tasks.stop(std::time::Duration::from_secs(5)).await;
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
    assert!(
        text.contains("invalid: service.beta") && text.contains("mars"),
        "{text}"
    );
    assert!(planned[0].plan.is_none());
}
