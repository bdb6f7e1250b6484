//! The server as a whole: kinds of others, faults, restarts, controllers.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_definition_is_served_at_once_with_defaults_pruning_and_validation() {
    let (_local, client) = start().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .create(&PostParams::default(), &definition())
        .await
        .unwrap();
    let established = kube::runtime::conditions::is_crd_established();
    let wait = kube::runtime::wait::await_condition(
        definitions.clone(),
        "widgets.example.com",
        established,
    );
    Clock::system().timeout(LIMIT, wait).await.unwrap().unwrap();
    let api = widgets(client);
    let post = PostParams::default();
    let made = api
        .create(&post, &widget(&json!({"size": 2, "shape": "round"})))
        .await
        .unwrap();
    assert_eq!(made.data["spec"], json!({"size": 2, "color": "red"}));
    let mut bad = widget(&json!({"size": 0}));
    bad.metadata.name = Some("bad".into());
    let refused = api.create(&post, &bad).await.unwrap_err();
    assert_eq!(
        status(&refused).message,
        "Widget.example.com \"bad\" is invalid: spec.size: Invalid value: 0: spec.size in body \
         should be greater than or equal to 1"
    );
    let patch = Patch::Merge(json!({"status": {"ready": true}}));
    let changed = api
        .patch_status("w", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(changed.data["status"], json!({"ready": true}));
    assert_eq!(changed.metadata.generation, Some(1));

    definitions
        .delete("widgets.example.com", &DeleteParams::default())
        .await
        .unwrap();
    until_gone(&definitions, "widgets.example.com").await;
    let gone = api.list(&ListParams::default()).await.unwrap_err();
    // With the last kind of a group the group is gone too.
    assert_eq!(status(&gone).message, "404 page not found");
}

#[tokio::test(start_paused = true)]
async fn scripted_faults_hit_the_requests_they_are_for() {
    let (local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let faults = local.faults();
    faults.next(Matching::new("create", "configmaps"), Fault::CutBefore, 1);
    api.create(&PostParams::default(), &config("a", "1"))
        .await
        .unwrap_err();
    assert!(api.get_opt("a").await.unwrap().is_none());
    faults.next(Matching::new("create", "configmaps"), Fault::CutAfter, 1);
    api.create(&PostParams::default(), &config("a", "1"))
        .await
        .unwrap_err();
    assert!(api.get_opt("a").await.unwrap().is_some());
    faults.next(
        Matching::new("patch", "configmaps").named("a"),
        Fault::Conflict,
        1,
    );
    let patch = Patch::Merge(json!({"data": {"x": "y"}}));
    let error = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap_err();
    assert_eq!(status(&error).code, 409);
    api.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(faults.pending(), 0);
}

#[tokio::test]
async fn everything_but_history_survives_a_restart_from_the_file() {
    let folder = std::env::temp_dir().join(format!("local-kube-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("state.redb");
    let (uid, revision) = {
        let tasks = Tasks::new();
        let (_local, client) = start_on(Storage::File(path.clone()), &tasks).await;
        let (_api, made) = with_widget(client).await;
        assert!(tasks.stop(LIMIT).await);
        (
            made.uid(),
            made.resource_version().unwrap().parse::<u64>().unwrap(),
        )
    };
    let tasks = Tasks::new();
    let (local, client) = start_on(Storage::File(path), &tasks).await;
    assert!(local.revision() >= revision);
    let api = widgets(client);
    let found = api.get("w").await.unwrap();
    assert_eq!(found.uid(), uid);
    let patch = Patch::Merge(json!({"spec": {"size": 3}}));
    let changed = api
        .patch("w", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert!(changed.resource_version().unwrap().parse::<u64>().unwrap() > revision);
    assert!(tasks.stop(LIMIT).await);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_copy_begins_where_the_other_was_and_goes_its_own_way() {
    let (local, client) = start().await;
    let (api, made) = with_widget(client).await;
    let (copy, client) = start_on(Storage::Copy(local.snapshot()), &Tasks::new()).await;
    assert_eq!(copy.revision(), local.revision());
    let copied = widgets(client);
    let found = copied.get("w").await.unwrap();
    assert_eq!(found.uid(), made.uid());
    let patch = Patch::Merge(json!({"spec": {"size": 3}}));
    let changed = copied
        .patch("w", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_ne!(changed.resource_version(), made.resource_version());
    let other = api.get("w").await.unwrap();
    assert_eq!(other.resource_version(), made.resource_version());
    let wrong = Patch::Merge(json!({"spec": {"size": "three"}}));
    let refused = copied.patch("w", &PatchParams::default(), &wrong).await;
    assert!(refused.is_err(), "its kinds have their schemas");
}

#[tokio::test(start_paused = true)]
async fn old_events_are_forgotten() {
    let (_local, client) = start().await;
    let api: Api<Event> = Api::default_namespaced(client);
    let event = object(json!({
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Testing", "type": "Normal", "message": "text",
    }));
    api.create(&PostParams::default(), &event).await.unwrap();
    let clock = Clock::system();
    clock.sleep(Duration::from_mins(50)).await;
    assert!(api.get_opt("e").await.unwrap().is_some());
    clock.sleep(Duration::from_mins(20)).await;
    assert!(api.get_opt("e").await.unwrap().is_none());
}

#[derive(Debug, thiserror::Error)]
#[error("writing the status")]
struct Failed(#[from] kube::Error);

/// Copies the size of a widget into its status.
async fn reconcile(
    widget: Arc<DynamicObject>,
    api: Arc<Api<DynamicObject>>,
) -> Result<Action, Failed> {
    let status = json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": widget.name_any()}, "status": {"size": widget.data["spec"]["size"]},
    });
    let params = PatchParams::apply("controller").force();
    api.patch_status(&widget.name_any(), &params, &Patch::Apply(status))
        .await?;
    Ok(Action::await_change())
}

fn again(_: Arc<DynamicObject>, _: &Failed, _: Arc<Api<DynamicObject>>) -> Action {
    Action::requeue(Duration::from_secs(1))
}

#[tokio::test(start_paused = true)]
async fn a_controller_follows_its_objects_through_faults_for_a_virtual_day() {
    let (local, client) = start().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .create(&PostParams::default(), &definition())
        .await
        .unwrap();
    let api = widgets(client.clone());
    let kind = widget_kind();
    let config = watcher::Config::default();
    let controller = Controller::new_with(api.clone(), config, kind)
        .run(reconcile, again, Arc::new(api.clone()))
        .for_each(|_| std::future::ready(()));
    let user = async {
        let clock = Clock::system();
        api.create(&PostParams::default(), &widget(&json!({"size": 1})))
            .await
            .unwrap();
        for hour in 1..=24 {
            let faults = local.faults();
            faults.next(
                Matching::new("apply", "widgets.example.com/status"),
                Fault::CutAfter,
                1,
            );
            faults.next(
                Matching::new("watch", "widgets.example.com"),
                Fault::InternalError,
                1,
            );
            faults.expire_history();
            faults.cut_watches();
            let patch = Patch::Merge(json!({"spec": {"size": hour}}));
            api.patch("w", &PatchParams::default(), &patch)
                .await
                .unwrap();
            clock.sleep(Duration::from_hours(1)).await;
            assert_eq!(
                api.get("w").await.unwrap().data["status"],
                json!({"size": hour})
            );
        }
    };
    tokio::select! {
        () = controller => panic!("the controller ended"),
        () = user => {}
    }
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_history() {
    let mut histories = Vec::new();
    for _ in 0..2 {
        let (_local, client) = start().await;
        let api: Api<Service> = Api::default_namespaced(client);
        for _ in 0..3 {
            let service = object(json!({
                "metadata": {"generateName": "s-"}, "spec": {"ports": [{"port": 80}]},
            }));
            api.create(&PostParams::default(), &service).await.unwrap();
        }
        let all = api.list(&ListParams::default()).await.unwrap();
        histories.push(serde_json::to_string(&all).unwrap());
    }
    assert_eq!(histories[0], histories[1]);
}
