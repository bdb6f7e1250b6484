//! Objects are created, read, changed and checked.

use super::*;

#[tokio::test(start_paused = true)]
async fn objects_are_created_read_changed_and_deleted() {
    let (local, client) = start().await;
    let (api, made) = with_config(client).await;
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
    let (api, made) = with_config(client).await;
    let patch = Patch::Merge(json!({"data": {"key": "1"}}));
    let same = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(same.resource_version(), made.resource_version());
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
