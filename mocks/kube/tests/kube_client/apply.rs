//! Server-side apply: who owns what.

use super::*;

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
async fn an_applied_status_is_owned_apart_from_the_spec() {
    let (_local, client) = start().await;
    let api = defined_widgets(client).await;
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
