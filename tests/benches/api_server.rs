//! The embedded API server alone, through kube-rs and without a socket.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use gatewright_crds::cert_manager::Certificate;
use gatewright_seams::{Clock, Random, Tasks};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use local_kube::{LocalKube, Options, Storage};
use serde_json::json;
use tokio::sync::mpsc;

use crate::Effort;
use crate::figures::{Figure, Report, between, microseconds_each, resident_megabytes};
use crate::world::Directory;

const OBJECTS: usize = 10_000;
const ON_DISK: usize = 1_000;
const AT_ONCE: usize = 16;
const WATCHERS: usize = 100;
const CHANGES: usize = 100;
const LISTS: usize = 20;

/// A server of this benchmark.
struct Server {
    clock: Clock,
    tasks: Tasks,
    client: kube::Client,
}

impl Server {
    async fn start(storage: Storage) -> Result<Self> {
        let (clock, tasks) = (Clock::system(), Tasks::new());
        let options = Options {
            storage,
            clock,
            random: Random::system(),
            tasks: tasks.clone(),
        };
        let kube = LocalKube::start(options).await?;
        let client = kube::Client::new(kube.service(), "default");
        for definition in gatewright_crds::all()? {
            gatewright::laptop::apply_object(&client, serde_json::to_value(&definition)?).await?;
        }
        Ok(Self {
            clock,
            tasks,
            client,
        })
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), "default")
    }
}

pub(crate) async fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let server = Server::start(Storage::Memory).await?;
    let (clock, post) = (server.clock, PostParams::default());
    let objects = effort.times(OBJECTS);
    let empty = resident_megabytes();
    report.one("memory of the process, empty server", "MB", empty);

    let maps = server.maps();
    let mut times = Vec::new();
    for number in 0..objects {
        let map = config_map(number)?;
        let began = clock.elapsed();
        maps.create(&post, &map).await?;
        times.push(microseconds_each(began, clock.elapsed(), 1));
    }
    report.add(Figure::new("create one ConfigMap", "µs", times));
    let with_maps = resident_megabytes();
    report.one(
        format!("memory added by {objects} ConfigMaps"),
        "MB",
        with_maps - empty,
    );

    let certificates: Api<Certificate> = Api::namespaced(server.client.clone(), "default");
    let mut times = Vec::new();
    for number in 0..objects {
        let certificate = certificate(number)?;
        let began = clock.elapsed();
        certificates
            .create(&post, &certificate)
            .await
            .context("creating a Certificate")?;
        times.push(microseconds_each(began, clock.elapsed(), 1));
    }
    report.add(Figure::new(
        "create one Certificate (schema, defaults, rules)",
        "µs",
        times,
    ));
    let with_all = resident_megabytes();
    report.one(
        format!("memory added by {objects} Certificates"),
        "MB",
        with_all - with_maps,
    );

    let mut changes = Vec::new();
    for number in 0..effort.times(1000) {
        let change = json!({ "data": { "changed": number.to_string() } });
        let began = clock.elapsed();
        maps.patch("map-7", &PatchParams::default(), &Patch::Merge(&change))
            .await?;
        changes.push(microseconds_each(began, clock.elapsed(), 1));
    }
    report.add(Figure::new("merge patch of one ConfigMap", "µs", changes));

    let (mut texts, mut lists, mut pages) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.times(LISTS) {
        let request =
            http::Request::get("/api/v1/namespaces/default/configmaps").body(Vec::new())?;
        let began = clock.elapsed();
        server.client.request_text(request).await?;
        texts.push(between(began, clock.elapsed()));
        let began = clock.elapsed();
        let list = maps.list(&ListParams::default()).await?;
        lists.push(between(began, clock.elapsed()));
        anyhow::ensure!(list.items.len() >= objects, "the list is short");
        let began = clock.elapsed();
        maps.list(&ListParams::default().limit(500)).await?;
        pages.push(between(began, clock.elapsed()));
    }
    report.add(Figure::new(
        format!("list {objects} ConfigMaps, as text"),
        "ms",
        texts,
    ));
    report.add(Figure::new(
        format!("list {objects} ConfigMaps, decoded"),
        "ms",
        lists,
    ));
    report.add(Figure::new("first page of 500, decoded", "ms", pages));

    fan_out(&server, effort, report).await?;
    server.tasks.stop(Duration::from_secs(5)).await;
    on_disk(effort, report).await?;
    report.note("through kube-rs in the same process, one call after the other: encoding and decoding by the client are in it");
    Ok(())
}

/// One change, and when each of many watchers has it.
async fn fan_out(server: &Server, effort: Effort, report: &mut Report) -> Result<()> {
    let (clock, maps) = (server.clock, server.maps());
    // The collection's own: the object's may be older than the history that is kept.
    let newest = maps.list(&ListParams::default().limit(1)).await?;
    let version = newest.metadata.resource_version.context("a version")?;
    let (tell, mut told) = mpsc::channel(WATCHERS);
    let watchers = server.tasks.child();
    for _ in 0..WATCHERS {
        let one = WatchParams::default().fields("metadata.name=map-3");
        let mut events = maps.watch(&one, &version).await?.boxed();
        let tell = tell.clone();
        watchers.spawn("watcher", async move {
            while let Ok(Some(event)) = events.try_next().await {
                // Nobody listens any more when the benchmark failed.
                if matches!(event, WatchEvent::Modified(_))
                    && tell.send(clock.elapsed()).await.is_err()
                {
                    return;
                }
            }
        });
    }
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    for number in 0..effort.times(CHANGES) {
        let change = json!({ "data": { "changed": number.to_string() } });
        let began = clock.elapsed();
        maps.patch("map-3", &PatchParams::default(), &Patch::Merge(&change))
            .await?;
        let all = async {
            let mut at = Vec::new();
            while at.len() < WATCHERS {
                at.push(told.recv().await.context("the watchers")?);
            }
            Ok::<_, anyhow::Error>(at)
        };
        let at = clock
            .timeout(Duration::from_secs(10), all)
            .await
            .context("a watcher heard nothing")??;
        let ends = at.iter().min().zip(at.iter().max()).context("no watcher")?;
        firsts.push(microseconds_each(began, *ends.0, 1));
        lasts.push(microseconds_each(began, *ends.1, 1));
    }
    watchers.stop(Duration::from_secs(5)).await;
    report.add(Figure::new(
        format!("one change, call to the first of {WATCHERS} watchers"),
        "µs",
        firsts,
    ));
    report.add(Figure::new(
        format!("one change, call to the last of {WATCHERS} watchers"),
        "µs",
        lasts,
    ));
    Ok(())
}

/// Each write is on disk before it is answered; writes that come together share one commit.
async fn on_disk(effort: Effort, report: &mut Report) -> Result<()> {
    let directory = Directory::new("api-server")?;
    let server = Server::start(Storage::File(directory.path().join("kube.redb"))).await?;
    let (clock, post, maps) = (server.clock, PostParams::default(), server.maps());
    let objects = effort.times(ON_DISK);
    let mut times = Vec::new();
    for number in 0..objects {
        let map = config_map(number)?;
        let began = clock.elapsed();
        maps.create(&post, &map).await?;
        times.push(microseconds_each(began, clock.elapsed(), 1));
    }
    report.add(Figure::new("on disk: create one ConfigMap", "µs", times));
    let some = objects.div_ceil(AT_ONCE);
    let began = clock.elapsed();
    let writers = (0..AT_ONCE).map(|writer| {
        let (maps, post) = (&maps, &post);
        async move {
            for number in 0..some {
                maps.create(post, &config_map(1_000_000 * (writer + 1) + number)?)
                    .await?;
            }
            Ok::<_, anyhow::Error>(())
        }
    });
    try_join_all(writers).await?;
    let each = microseconds_each(began, clock.elapsed(), some * AT_ONCE);
    report.one(
        format!("on disk: create one ConfigMap, {AT_ONCE} at once"),
        "µs",
        each,
    );
    server.tasks.stop(Duration::from_secs(5)).await;
    Ok(())
}

fn config_map(number: usize) -> Result<ConfigMap> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": format!("map-{number}"), "labels": { "app": "bench" } },
        "data": { "mode": "fast", "limit": "100", "text": "a few dozen bytes of configuration" },
    });
    serde_json::from_value(object).context("a ConfigMap")
}

fn certificate(number: usize) -> Result<Certificate> {
    let object = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": { "name": format!("cert-{number}") },
        "spec": {
            "secretName": format!("cert-{number}"),
            "issuerRef": { "name": "acme" },
            "dnsNames": [format!("shop-{number}.example.com"), format!("www.shop-{number}.example.com")],
            "privateKey": { "algorithm": "ECDSA", "size": 256 },
        },
    });
    serde_json::from_value(object).context("a Certificate")
}
