//! Finalizers, owners and namespaces.

use super::*;

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
