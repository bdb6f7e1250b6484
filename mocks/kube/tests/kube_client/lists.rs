//! Lists: pages, selectors, many objects, metadata alone.

use super::*;

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
async fn metadata_alone_is_read_listed_and_watched() {
    let (_local, client) = start().await;
    let (api, made) = with_config(client).await;
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
