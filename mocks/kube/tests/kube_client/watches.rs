//! Watches: resumed, expired, selected, cut.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_where_it_ended_and_expires_with_the_history() {
    let (local, client) = start().await;
    let (api, made) = with_config(client).await;
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
    let (api, _) = with_config(client).await;
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
