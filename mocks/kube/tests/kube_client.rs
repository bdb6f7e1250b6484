//! The real kube-rs client on the embedded server, in memory and on a paused clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use gatewright_seams::{Clock, Random, Tasks};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use kube::{Client, ResourceExt};
use local_kube::{Fault, LocalKube, Matching, Options, Storage};
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(1);

async fn start_on(storage: Storage, tasks: &Tasks) -> (LocalKube, Client) {
    let options = Options {
        storage,
        clock: Clock::starting_at("2030-01-01T00:00:00Z".parse().unwrap()),
        random: Random::seeded(1),
        tasks: tasks.clone(),
    };
    let local = LocalKube::start(options).await.unwrap();
    let client = Client::new(local.service(), "default");
    (local, client)
}

async fn start() -> (LocalKube, Client) {
    start_on(Storage::Memory, &Tasks::new()).await
}

fn object<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn config(name: &str, data: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name}, "data": {"key": data}}))
}

fn status(error: &kube::Error) -> &kube::core::Status {
    match error {
        kube::Error::Api(status) => status,
        other => panic!("not an answer of the server: {other}"),
    }
}

/// Waits until `gone` says that the object is gone.
async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + kube::Resource,
{
    let clock = Clock::system();
    let wait = async {
        while api.get_opt(name).await.unwrap().is_some() {
            clock.sleep(Duration::from_millis(10)).await;
        }
    };
    clock
        .timeout(LIMIT, wait)
        .await
        .expect("the object is still there");
}

#[tokio::test(start_paused = true)]
async fn objects_are_created_read_changed_and_deleted() {
    let (local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let made = api
        .create(&PostParams::default(), &config("a", "1"))
        .await
        .unwrap();
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());
    let again = api
        .create(&PostParams::default(), &config("a", "1"))
        .await
        .unwrap_err();
    assert_eq!(status(&again).message, "configmaps \"a\" already exists");
    assert_eq!(status(&again).reason, "AlreadyExists");

    let mut stale = made.clone();
    let mut changed = made.clone();
    changed.data = config("a", "2").data;
    let changed = api
        .replace("a", &PostParams::default(), &changed)
        .await
        .unwrap();
    assert_ne!(changed.resource_version(), made.resource_version());
    stale.data = config("a", "3").data;
    let conflict = api
        .replace("a", &PostParams::default(), &stale)
        .await
        .unwrap_err();
    assert_eq!(status(&conflict).code, 409);
    assert_eq!(
        status(&conflict).message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please \
         apply your changes to the latest version and try again"
    );
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let missing = api.get("a").await.unwrap_err();
    assert_eq!(status(&missing).message, "configmaps \"a\" not found");
    assert_eq!(local.requests().count("update", "configmaps"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_keeps_the_revision() {
    let (_local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let made = api
        .create(&PostParams::default(), &config("a", "1"))
        .await
        .unwrap();
    let patch = Patch::Merge(json!({"data": {"key": "1"}}));
    let same = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(same.resource_version(), made.resource_version());
}

#[tokio::test(start_paused = true)]
async fn all_pages_of_a_list_show_one_revision() {
    let (_local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for name in ["a", "b", "c", "d", "e"] {
        api.create(&PostParams::default(), &config(name, "1"))
            .await
            .unwrap();
    }
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    api.delete("d", &DeleteParams::default()).await.unwrap();
    api.create(&PostParams::default(), &config("cc", "1"))
        .await
        .unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    let rest = api
        .list(&ListParams::default().continue_token(&token))
        .await
        .unwrap();
    let names: Vec<_> = rest.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["c", "d", "e"]);
    assert_eq!(
        rest.metadata.resource_version,
        first.metadata.resource_version
    );
}

#[tokio::test(start_paused = true)]
async fn selectors_select() {
    let (_local, client) = start().await;
    let api: Api<Pod> = Api::default_namespaced(client);
    for (name, app, node) in [("a", "x", "n1"), ("b", "y", "n1"), ("c", "z", "n2")] {
        let pod = object(json!({
            "metadata": {"name": name, "labels": {"app": app}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        }));
        api.create(&PostParams::default(), &pod).await.unwrap();
    }
    let params = ListParams::default()
        .labels("app in (x,z)")
        .fields("spec.nodeName=n1");
    let found = api.list(&params).await.unwrap();
    assert_eq!(
        found
            .items
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>(),
        ["a"]
    );
    let wrong = api
        .list(&ListParams::default().fields("spec.foo=1"))
        .await
        .unwrap_err();
    assert_eq!(
        status(&wrong).message,
        "field label not supported: spec.foo"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_where_it_ended_and_expires_with_the_history() {
    let (local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let made = api
        .create(&PostParams::default(), &config("a", "1"))
        .await
        .unwrap();
    let from = made.resource_version().unwrap();
    api.create(&PostParams::default(), &config("b", "1"))
        .await
        .unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let params = WatchParams::default().timeout(1).disable_bookmarks();
    let events: Vec<_> = api
        .watch(&params, &from)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert!(matches!(
        events.as_slice(),
        [WatchEvent::Added(b), WatchEvent::Deleted(a)]
            if b.name_any() == "b" && a.name_any() == "a"
    ));
    local.faults().expire_history();
    // Not an error of the request: kube-rs lists anew only for one inside of the stream.
    let watch = api.watch(&params, &from).await.unwrap();
    match std::pin::pin!(watch).try_next().await {
        Ok(Some(WatchEvent::Error(status))) => assert_eq!(status.code, 410),
        other => panic!("the watch went on: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn objects_that_leave_a_selector_are_deleted_for_its_watch() {
    let (_local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let mut labelled = config("a", "1");
    labelled.labels_mut().insert("on".into(), "yes".into());
    let made = api.create(&PostParams::default(), &labelled).await.unwrap();
    let from = made.resource_version().unwrap();
    let patch = Patch::Merge(json!({"metadata": {"labels": {"on": null}}}));
    api.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let params = WatchParams::default()
        .labels("on=yes")
        .timeout(1)
        .disable_bookmarks();
    let events: Vec<_> = api
        .watch(&params, &from)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert!(matches!(events.as_slice(), [WatchEvent::Deleted(a)] if a.name_any() == "a"));
}

#[tokio::test(start_paused = true)]
async fn a_streaming_watcher_survives_cut_watches_and_lost_history() {
    let (local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &config("a", "1"))
        .await
        .unwrap();
    let stream = watcher(api.clone(), watcher::Config::default().streaming_lists());
    let mut stream = std::pin::pin!(stream);
    let mut seen = Vec::new();
    while seen.is_empty() {
        if let Ok(watcher::Event::InitApply(found)) = stream.next().await.unwrap() {
            seen.push(found.name_any());
        }
    }
    local.faults().cut_watches();
    local.faults().expire_history();
    api.create(&PostParams::default(), &config("b", "1"))
        .await
        .unwrap();
    let clock = Clock::system();
    let wait = async {
        loop {
            match stream.next().await.unwrap() {
                Ok(watcher::Event::Apply(found) | watcher::Event::InitApply(found))
                    if found.name_any() == "b" =>
                {
                    break;
                }
                _ => {}
            }
        }
    };
    clock
        .timeout(LIMIT, wait)
        .await
        .expect("the watcher missed an object");
}

#[tokio::test(start_paused = true)]
async fn server_side_apply_owns_conflicts_forces_and_removes() {
    let (_local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let body = |data: serde_json::Value| {
        Patch::Apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data,
        }))
    };
    let one = PatchParams::apply("one");
    let two = PatchParams::apply("two");
    api.patch("a", &one, &body(json!({"x": "1", "y": "1"})))
        .await
        .unwrap();
    let conflict = api
        .patch("a", &two, &body(json!({"x": "2"})))
        .await
        .unwrap_err();
    assert_eq!(
        status(&conflict).message,
        "Apply failed with 1 conflict: conflict with \"one\": .data.x"
    );
    let forced = api
        .patch("a", &two.clone().force(), &body(json!({"x": "2"})))
        .await
        .unwrap();
    assert_eq!(forced.data.as_ref().unwrap()["x"], "2");
    let managers: Vec<_> = forced
        .managed_fields()
        .iter()
        .map(|entry| entry.manager.clone().unwrap())
        .collect();
    assert_eq!(managers, ["one", "two"]);
    // `one` leaves out both: `y` goes, `x` belongs to `two` and stays.
    let left = api.patch("a", &one, &body(json!({}))).await.unwrap();
    assert_eq!(serde_json::to_value(left.data).unwrap(), json!({"x": "2"}));
}

#[tokio::test(start_paused = true)]
async fn containers_are_owned_one_by_one() {
    let (_local, client) = start().await;
    let api: Api<Deployment> = Api::default_namespaced(client);
    let body = |containers: serde_json::Value| {
        Patch::Apply(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
            "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {"containers": containers},
                },
            },
        }))
    };
    let (one, two) = (PatchParams::apply("one"), PatchParams::apply("two"));
    let made = api
        .patch("a", &one, &body(json!([{"name": "c1", "image": "i:1"}])))
        .await
        .unwrap();
    assert_eq!(made.spec.replicas, Some(1));
    assert_eq!(made.metadata.generation, Some(1));
    let both = api
        .patch("a", &two, &body(json!([{"name": "c2", "image": "i:2"}])))
        .await
        .unwrap();
    let names = |d: &Deployment| -> Vec<String> {
        let spec = d.spec.template.spec.as_ref().unwrap();
        spec.containers.iter().map(|c| c.name.clone()).collect()
    };
    let mut all = names(&both);
    all.sort();
    assert_eq!(all, ["c1", "c2"]);
    assert_eq!(both.metadata.generation, Some(2));
    let conflict = api
        .patch("a", &two, &body(json!([{"name": "c1", "image": "i:9"}])))
        .await
        .unwrap_err();
    assert_eq!(
        status(&conflict).message,
        "Apply failed with 1 conflict: conflict with \"one\": \
         .spec.template.spec.containers[name=\"c1\"].image"
    );
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let (_local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let mut held = config("a", "1");
    held.finalizers_mut().push("example.com/hold".into());
    api.create(&PostParams::default(), &held).await.unwrap();
    let deleted = api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(
        deleted
            .left()
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let patch = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/other"]}}));
    let refused = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap_err();
    assert_eq!(status(&refused).code, 422);
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

fn owned(name: &str, owner: &ConfigMap, block: bool) -> ConfigMap {
    let mut object = config(name, "1");
    object.metadata.owner_references = Some(vec![self::object(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(),
        "uid": owner.uid().unwrap(), "blockOwnerDeletion": block,
    }))]);
    object
}

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_owner() {
    let (_local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let post = PostParams::default();
    let owner = api.create(&post, &config("owner", "1")).await.unwrap();
    let child = api
        .create(&post, &owned("child", &owner, false))
        .await
        .unwrap();
    api.create(&post, &owned("grandchild", &child, false))
        .await
        .unwrap();
    api.delete("owner", &DeleteParams::background())
        .await
        .unwrap();
    until_gone(&api, "grandchild").await;
    until_gone(&api, "child").await;
}

#[tokio::test(start_paused = true)]
async fn foreground_deletion_waits_for_dependents_and_orphaning_frees_them() {
    let (_local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let post = PostParams::default();
    let owner = api.create(&post, &config("owner", "1")).await.unwrap();
    let mut child = owned("child", &owner, true);
    child.finalizers_mut().push("example.com/hold".into());
    api.create(&post, &child).await.unwrap();
    api.delete("owner", &DeleteParams::foreground())
        .await
        .unwrap();
    let clock = Clock::system();
    let wait = async {
        while api
            .get("child")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_none()
        {
            clock.sleep(Duration::from_millis(10)).await;
        }
    };
    clock.timeout(LIMIT, wait).await.unwrap();
    assert!(api.get_opt("owner").await.unwrap().is_some());
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("child", &PatchParams::default(), &patch)
        .await
        .unwrap();
    until_gone(&api, "owner").await;

    let owner = api.create(&post, &config("owner", "1")).await.unwrap();
    api.create(&post, &owned("child", &owner, true))
        .await
        .unwrap();
    api.delete("owner", &DeleteParams::orphan()).await.unwrap();
    until_gone(&api, "owner").await;
    assert!(
        api.get("child")
            .await
            .unwrap()
            .owner_references()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_namespace_takes_its_contents_along() {
    let (_local, client) = start().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let space: Namespace = object(json!({"metadata": {"name": "space"}}));
    namespaces
        .create(&PostParams::default(), &space)
        .await
        .unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client, "space");
    let mut held = config("a", "1");
    held.finalizers_mut().push("example.com/hold".into());
    api.create(&PostParams::default(), &held).await.unwrap();
    namespaces
        .delete("space", &DeleteParams::default())
        .await
        .unwrap();
    let phase = namespaces.get("space").await.unwrap().status.unwrap().phase;
    assert_eq!(phase.as_deref(), Some("Terminating"));
    let refused = api
        .create(&PostParams::default(), &config("b", "1"))
        .await
        .unwrap_err();
    assert_eq!(status(&refused).code, 403);
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    until_gone(&namespaces, "space").await;
}

#[tokio::test(start_paused = true)]
async fn services_and_secrets_get_what_the_server_assigns() {
    let (_local, client) = start().await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service = object(json!({
        "metadata": {"name": "a"},
        "spec": {"type": "LoadBalancer", "selector": {"a": "b"}, "ports": [{"port": 80}]},
    }));
    let made = services
        .create(&PostParams::default(), &service)
        .await
        .unwrap();
    let spec = made.spec.unwrap();
    assert!(spec.cluster_ip.unwrap().starts_with("10.96."));
    let port = &spec.ports.unwrap()[0];
    assert!(port.node_port.unwrap() >= 30_000);
    assert_eq!(port.protocol.as_deref(), Some("TCP"));
    let secrets: Api<Secret> = Api::default_namespaced(client);
    let secret = object(json!({"metadata": {"name": "a"}, "stringData": {"k": "v"}}));
    let made = secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    assert_eq!(made.type_.as_deref(), Some("Opaque"));
    assert_eq!(made.data.unwrap()["k"].0, b"v");
}

#[tokio::test(start_paused = true)]
async fn status_and_spec_are_written_apart() {
    let (_local, client) = start().await;
    let api: Api<Deployment> = Api::default_namespaced(client);
    let deployment = object(json!({
        "metadata": {"name": "a"},
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
        "status": {"replicas": 7},
    }));
    let made = api
        .create(&PostParams::default(), &deployment)
        .await
        .unwrap();
    assert_eq!(made.status.unwrap().replicas, None);
    let patch = Patch::Merge(json!({"spec": {"replicas": 9}, "status": {"replicas": 3}}));
    let changed = api
        .patch_status("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(changed.status.as_ref().unwrap().replicas, Some(3));
    assert_eq!(changed.spec.replicas, Some(1));
    assert_eq!(changed.metadata.generation, Some(1));
    let changed = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(changed.spec.replicas, Some(9));
    assert_eq!(changed.metadata.generation, Some(2));
    assert_eq!(
        api.get_scale("a").await.unwrap().spec.unwrap().replicas,
        Some(9)
    );
    let patch = Patch::Merge(json!({"spec": {"replicas": 2}}));
    api.patch_scale("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(api.get("a").await.unwrap().spec.replicas, Some(2));
}

fn definition() -> CustomResourceDefinition {
    object(json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object",
                            "required": ["size"],
                            "properties": {
                                "size": {"type": "integer", "minimum": 1},
                                "color": {"type": "string", "default": "red"},
                            },
                        },
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                }},
            }],
        },
    }))
}

fn widget_kind() -> ApiResource {
    ApiResource {
        group: "example.com".into(),
        version: "v1".into(),
        api_version: "example.com/v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
    }
}

fn widgets(client: Client) -> Api<DynamicObject> {
    Api::default_namespaced_with(client, &widget_kind())
}

fn widget(spec: &serde_json::Value) -> DynamicObject {
    object(json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec,
    }))
}

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
async fn both_kinds_of_events_are_one() {
    let (_local, client) = start().await;
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::default_namespaced(client.clone());
    let event = object(json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "note": "text", "reason": "Testing", "type": "Normal", "action": "Test",
        "eventTime": "2030-01-01T00:00:00.000000Z",
        "reportingController": "example.com/c", "reportingInstance": "c-1",
    }));
    events.create(&PostParams::default(), &event).await.unwrap();
    let core: Api<Event> = Api::default_namespaced(client);
    let params = ListParams::default().fields("involvedObject.name=p,involvedObject.kind=Pod");
    let found = core.list(&params).await.unwrap().items;
    assert_eq!(found[0].message.as_deref(), Some("text"));
    assert_eq!(events.get("e").await.unwrap().note.as_deref(), Some("text"));
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
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        definitions
            .create(&PostParams::default(), &definition())
            .await
            .unwrap();
        let api = widgets(client);
        let made = api
            .create(&PostParams::default(), &widget(&json!({"size": 2})))
            .await
            .unwrap();
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

#[tokio::test(start_paused = true)]
async fn ten_thousand_objects_are_listed_and_watched_in_linear_time() {
    let (local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    for number in 0..10_000 {
        let object = config(&format!("c-{number:05}"), "1");
        api.create(&PostParams::default(), &object).await.unwrap();
    }
    let all = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(all.items.len(), 10_000);
    let stream = watcher(api.clone(), watcher::Config::default().streaming_lists());
    let mut stream = std::pin::pin!(stream);
    let mut count = 0;
    while let Some(event) = stream.next().await {
        match event.unwrap() {
            watcher::Event::InitApply(_) => count += 1,
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(count, 10_000);
    assert_eq!(local.requests().count("watch", "configmaps"), 1);
    pages_stay_what_they_were(&api).await;
    watchers_miss_nothing(&api).await;
}

/// Twenty pages, with a deletion, a change and a creation after the first.
async fn pages_stay_what_they_were(api: &Api<ConfigMap>) {
    let page = ListParams::default().limit(500);
    let mut part = api.list(&page).await.unwrap();
    assert_eq!(part.metadata.remaining_item_count, Some(9_500));
    api.delete("c-05000", &DeleteParams::default())
        .await
        .unwrap();
    let change = Patch::Merge(json!({"data": {"key": "2"}}));
    api.patch("c-06000", &PatchParams::default(), &change)
        .await
        .unwrap();
    api.create(&PostParams::default(), &config("c-05000-late", "1"))
        .await
        .unwrap();
    let mut names: Vec<String> = Vec::new();
    loop {
        assert_eq!(part.items.len(), 500);
        for item in &part.items {
            assert_eq!(item.data.as_ref().unwrap()["key"], "1");
            names.push(item.name_any());
        }
        let token = part.metadata.continue_.clone().unwrap_or_default();
        if token.is_empty() {
            break;
        }
        part = api
            .list(&page.clone().continue_token(&token))
            .await
            .unwrap();
    }
    let all: Vec<String> = (0..10_000).map(|number| format!("c-{number:05}")).collect();
    assert_eq!(names, all);
}

/// A hundred watchers see each of a hundred changes, in order.
async fn watchers_miss_nothing(api: &Api<ConfigMap>) {
    let version = api.list(&ListParams::default().limit(1)).await.unwrap();
    let version = version.metadata.resource_version.unwrap();
    let watch = WatchParams::default();
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(api.watch(&watch, &version).await.unwrap().boxed());
    }
    for number in 0..100 {
        let change = Patch::Merge(json!({"data": {"number": number.to_string()}}));
        let name = format!("c-{:05}", number * 97);
        api.patch(&name, &PatchParams::default(), &change)
            .await
            .unwrap();
    }
    for stream in &mut streams {
        for number in 0..100 {
            let event = stream.next().await.unwrap().unwrap();
            let WatchEvent::Modified(object) = event else {
                panic!("another event: {event:?}");
            };
            assert_eq!(object.data.unwrap()["number"], number.to_string());
        }
    }
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

#[tokio::test(start_paused = true)]
async fn an_applied_status_is_owned_apart_from_the_spec() {
    let (_local, client) = start().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .create(&PostParams::default(), &definition())
        .await
        .unwrap();
    let api = widgets(client);
    let whole = |size: i64| {
        Patch::Apply(json!({
            "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"},
            "spec": {"size": size}, "status": {"ready": true},
        }))
    };
    let (user, daemon) = (PatchParams::apply("user"), PatchParams::apply("daemon"));
    let made = api.patch("w", &user, &whole(1)).await.unwrap();
    assert!(made.data.get("status").is_none());
    let changed = api.patch_status("w", &daemon, &whole(2)).await.unwrap();
    assert_eq!(changed.data["spec"]["size"], 1);
    assert_eq!(changed.data["status"], json!({"ready": true}));
    let again = api.patch_status("w", &daemon, &whole(2)).await.unwrap();
    assert_eq!(again.resource_version(), changed.resource_version());
    let user_again = api.patch("w", &user, &whole(2)).await.unwrap();
    assert_eq!(user_again.data["status"], json!({"ready": true}));
    let unknown = Patch::Apply(json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"},
        "spec": {"size": 2, "colour": "red"},
    }));
    let refused = api.patch("w", &user, &unknown).await.unwrap_err();
    assert_eq!(
        status(&refused).message,
        "failed to create typed patch object (/w; example.com/v1, Kind=Widget): \
         .spec.colour: field not declared in schema"
    );
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
async fn metadata_alone_is_read_listed_and_watched() {
    let (_local, client) = start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let made = api
        .create(&PostParams::default(), &config("a", "1"))
        .await
        .unwrap();
    assert_eq!(
        api.get_metadata("a").await.unwrap().metadata.uid,
        made.metadata.uid
    );
    assert_eq!(
        api.list_metadata(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let params = WatchParams::default().timeout(1).disable_bookmarks();
    let events: Vec<_> = api
        .watch_metadata(&params, "0")
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert!(matches!(events.as_slice(), [WatchEvent::Added(a)] if a.name_any() == "a"));
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
