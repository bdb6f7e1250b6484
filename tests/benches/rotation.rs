//! From a Secret written to the first handshake that shows it, beside Envoy's own floor: the same
//! secret put straight into the discovery service's store.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use gatewright::laptop::Slot;
use gatewright::outside::Probe as _;
use gatewright::probe::NetworkProbe;
use gatewright_tests::PUBLIC;
use gatewright_xds::{ChangeKind, Resource};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::oneshot;

use crate::Effort;
use crate::certificates::{Authority, Pair};
use crate::figures::{Figure, Report, between};
use crate::world::{Directory, HOST, Keep, NAMESPACE, SECRET, World};

/// Rotations for each way and place.
const ROTATIONS: usize = 200;
/// How often the unrelated Secret changes where one does.
const CHURN: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(20);
const ELSEWHERE: &str = "default";

/// How the new certificate gets in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The Secret is written through the API.
    Secret,
    /// The resource is put into the store: what is left is Envoy and the stream to it.
    Store,
}

/// The moments of one rotation.
struct Moments {
    sent: Duration,
    answered: Duration,
    /// The publisher has put it into the store.
    stored: Duration,
    /// The first handshake that showed it.
    began: Duration,
    ended: Duration,
}

/// What else is in the API server.
struct Around {
    name: &'static str,
    keep: Keep,
    secrets: usize,
    churn: bool,
}

pub(crate) async fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let all = [(1, false), (100, false), (1000, false), (1, true)];
    for (secrets, churn) in all {
        let name = match (secrets, churn) {
            (_, true) => "one other Secret changes every 50 ms",
            (1, _) => "1 other Secret",
            (100, _) => "100 other Secrets",
            _ => "1,000 other Secrets",
        };
        measure(
            effort,
            report,
            &Around {
                name,
                keep: Keep::Memory,
                secrets,
                churn,
            },
        )
        .await?;
    }
    let on_disk = Around {
        name: "state on disk",
        keep: Keep::Disk,
        secrets: 1,
        churn: false,
    };
    measure(effort, report, &on_disk).await?;
    report.note("shown: from the call to the end of the first handshake that showed the new leaf; began: to its start");
    report.note(
        "the client shakes hands back to back, so each figure is late by up to one handshake",
    );
    report.note("no Certificate object is there: nobody but this client shakes hands meanwhile");
    Ok(())
}

async fn measure(effort: Effort, report: &mut Report, around: &Around) -> Result<()> {
    let directory = Directory::new("rotation")?;
    let world = World::start(directory.path(), around.keep, Slot::find()?, |_| ()).await?;
    let authority = Authority::new()?;
    let secrets: Api<Secret> = Api::namespaced(world.kube(), NAMESPACE);
    let first = authority.pair(HOST)?;
    secrets
        .create(&PostParams::default(), &first.secret(NAMESPACE, SECRET))
        .await?;
    fill(&world, &authority, around.secrets).await?;
    world
        .apply(|yaml| !yaml.contains("cert-manager.io/v1"))
        .await?;
    let proxies = world.wait("two proxies", || world.proxies(2)).await?;
    let proxy = *proxies.first().context("a proxy")?;
    let balancer = world
        .wait("a load balancer", || world.balancer(PUBLIC))
        .await?;
    let probe = Arc::new(NetworkProbe::new(world.clock())?);
    for place in [proxy, balancer] {
        let probe = &probe;
        let shown = || async move { probe.leaf(place, HOST).await.ok() };
        world.wait("the first certificate", shown).await?;
    }
    let churn = around
        .churn
        .then(|| start_churn(&world, &authority))
        .transpose()?;

    let places = [("proxy", proxy), ("load balancer", balancer)];
    for (place, address) in places {
        let mut handshakes = Vec::new();
        for _ in 0..effort.times(200) {
            let began = world.clock().elapsed();
            probe.leaf(address, HOST).await?;
            handshakes.push(between(began, world.clock().elapsed()));
        }
        report.add(Figure::new(
            format!("{}: one handshake, {place}", around.name),
            "ms",
            handshakes,
        ));
    }

    let rounds = effort.times(ROTATIONS);
    let pairs = authority.pairs(HOST, rounds * 4)?;
    let mut pairs = pairs.into_iter();
    let mut seen: [[Vec<Moments>; 2]; 2] = Default::default();
    for _ in 0..rounds {
        for (index, (_, address)) in places.into_iter().enumerate() {
            for (way, into) in [(Way::Secret, 0), (Way::Store, 1)] {
                let pair = pairs.next().context("a pair")?;
                let moments = rotate(&world, &probe, address, way, pair).await?;
                seen[into][index].push(moments);
            }
        }
    }
    if let Some(churn) = churn {
        churn.stop(Duration::from_secs(5)).await;
    }
    for (index, (place, _)) in places.into_iter().enumerate() {
        let [by_secret, by_store] = [&seen[0][index], &seen[1][index]];
        let name = |what: &str| format!("{}: {what}, {place}", around.name);
        let from_call = |moments: &[Moments], to: fn(&Moments) -> Duration| {
            moments
                .iter()
                .map(|each| between(each.sent, to(each)))
                .collect::<Vec<_>>()
        };
        if index == 0 {
            report.add(Figure::new(
                name("Secret, answered"),
                "ms",
                from_call(by_secret, |m| m.answered),
            ));
            report.add(Figure::new(
                name("Secret, in the store"),
                "ms",
                from_call(by_secret, |m| m.stored),
            ));
        }
        let after_answer = by_secret
            .iter()
            .map(|each| between(each.answered, each.ended))
            .collect();
        let shown = Figure::new(
            name("Secret, shown"),
            "ms",
            from_call(by_secret, |m| m.ended),
        );
        let floor = Figure::new(name("floor, shown"), "ms", from_call(by_store, |m| m.ended));
        report.note(format!(
            "{}: Secret to floor at the {place}: p50 {:.2}, p99 {:.2}",
            around.name,
            shown.percentile(50) / floor.percentile(50),
            shown.percentile(99) / floor.percentile(99),
        ));
        report.add(Figure::new(
            name("Secret, began"),
            "ms",
            from_call(by_secret, |m| m.began),
        ));
        report.add(Figure::new(
            name("floor, began"),
            "ms",
            from_call(by_store, |m| m.began),
        ));
        report.add(Figure::new(
            name("Secret, shown after the answer"),
            "ms",
            after_answer,
        ));
        report.add(shown);
        report.add(floor);
    }
    world.stop().await;
    Ok(())
}

/// Puts `count` unrelated TLS Secrets in.
async fn fill(world: &World, authority: &Authority, count: usize) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(world.kube(), ELSEWHERE);
    for number in 0..count {
        let pair = authority.pair(&format!("other-{number}.example.com"))?;
        let secret = pair.secret(ELSEWHERE, &format!("other-{number}"));
        secrets.create(&PostParams::default(), &secret).await?;
    }
    Ok(())
}

/// Changes one unrelated Secret for ever.
fn start_churn(world: &World, authority: &Authority) -> Result<gatewright_seams::Tasks> {
    let tasks = world.laptop.tasks.child();
    let (kube, clock) = (world.kube(), world.clock());
    let pairs = authority.pairs("other-0.example.com", 2)?;
    tasks.spawn("churn", async move {
        let api = Api::<Secret>::namespaced(kube, ELSEWHERE);
        for pair in pairs.iter().cycle() {
            clock.sleep(CHURN).await;
            if let Err(error) = write(&api, &pair.secret(ELSEWHERE, "other-0"), "other-0").await {
                tracing::warn!(%error, "the unrelated Secret was not written");
            }
        }
    });
    Ok(tasks)
}

/// Writes a Secret as the certificate controller does: by server-side apply.
async fn write(api: &Api<Secret>, secret: &Secret, name: &str) -> kube::Result<()> {
    let params = PatchParams::apply("gatewright-bench").force();
    api.patch(name, &params, &Patch::Apply(secret))
        .await
        .map(drop)
}

async fn rotate(
    world: &World,
    probe: &Arc<NetworkProbe>,
    address: SocketAddr,
    way: Way,
    pair: Pair,
) -> Result<Moments> {
    let clock = world.clock();
    let secret = pair.secret(NAMESPACE, SECRET);
    let resource = pair.resource(NAMESPACE, SECRET)?;
    let api: Api<Secret> = Api::namespaced(world.kube(), NAMESPACE);
    let groups = world.daemon.store.gateways();
    let mut changes = world.daemon.store.watch_changes();
    let (tell_warm, warm) = oneshot::channel();
    let (tell_shown, shown) = oneshot::channel();
    let (probe, leaf) = (probe.clone(), pair.leaf);
    world.laptop.tasks.spawn("client", async move {
        let mut tell_warm = Some(tell_warm);
        loop {
            let began = clock.elapsed();
            let answer = probe.leaf(address, HOST).await;
            let ended = clock.elapsed();
            if let Some(warm) = tell_warm.take() {
                // Nobody waits any more when the benchmark failed.
                warm.send(()).ok();
            }
            match answer {
                Ok(shown) if shown == leaf => {
                    tell_shown.send(Ok((began, ended))).ok();
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    tell_shown.send(Err(error)).ok();
                    return;
                }
            }
        }
    });
    warm.await.context("the client")?;
    // Not always at the same point of a handshake.
    let pause = Duration::from_micros(world.laptop.random.below(3000));
    clock.sleep(pause).await;
    let stored = async {
        loop {
            let change = changes.next().await;
            if change.kind == ChangeKind::Resources {
                return clock.elapsed();
            }
        }
    };
    let written = async {
        let sent = clock.elapsed();
        match way {
            Way::Secret => write(&api, &secret, SECRET).await?,
            Way::Store => put(world, &groups, &resource),
        }
        Ok::<_, kube::Error>((sent, clock.elapsed()))
    };
    let all = async {
        let (written, stored, shown) = futures::join!(written, stored, shown);
        let ((sent, answered), (began, ended)) = (written?, shown.context("the client")??);
        Ok::<_, anyhow::Error>(Moments {
            sent,
            answered,
            stored,
            began,
            ended,
        })
    };
    clock
        .timeout(LIMIT, all)
        .await
        .with_context(|| format!("not shown within {LIMIT:?}"))?
}

/// What the publisher does with a Secret that changed.
fn put(world: &World, groups: &[gatewright_xds::GatewayId], resource: &Resource) {
    for group in groups {
        world.daemon.store.put_secret(group, resource.clone());
    }
}
