//! From an empty state directory to the first 200 over HTTPS through both load balancers, and the
//! second start from the same directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::try_join_all;
use futures::{FutureExt as _, future::BoxFuture};
use gatewright::laptop::Slot;
use gatewright_seams::Clock;
use gatewright_tests::{Client, INTERNAL, PUBLIC};

use crate::Effort;
use crate::figures::{Figure, Report};
use crate::world::{Directory, HOST, Keep, LOOK, World};

/// Phases in the order in which they were reached, with the moment of each.
type Phases = Vec<(&'static str, Duration)>;

const FIRST_ANSWER: &str = "first 200 through both, chain verified";

pub(crate) async fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for number in 0..effort.times(50).min(7) {
        let directory = Directory::new(&format!("quickstart-{number}"))?;
        let slot = Slot::find()?;
        let number = slot.number();
        first.push(start(directory.path(), slot, true).await?);
        second.push(start(directory.path(), Slot::take(number)?, false).await?);
    }
    add(report, "first start", &first);
    add(report, "second start", &second);
    report.note(format!(
        "seconds since the start of the world in this process; state on disk; a phase is seen within {LOOK:?}"
    ));
    report
        .note("second start: objects still say what the last run wrote, so only the answer counts");
    report.note("not in it: building, starting the process, serving the API server to kubectl");
    Ok(())
}

fn add(report: &mut Report, title: &str, runs: &[Phases]) {
    let mut by_name: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, at) in runs.iter().flatten() {
        by_name.entry(name).or_default().push(at.as_secs_f64());
    }
    for (name, _) in runs.first().into_iter().flatten() {
        let values = by_name.remove(name).unwrap_or_default();
        report.add(Figure::new(format!("{title}: {name}"), "s", values));
    }
}

/// One start, and the end of the world.
async fn start(directory: &Path, slot: Slot, empty: bool) -> Result<Phases> {
    let clock = Clock::system();
    let mut phases = Vec::new();
    let told = |name| phases.push((name, clock.elapsed()));
    let world = World::start(directory, Keep::Disk, slot, told).await?;
    if empty {
        world.apply(|_| true).await?;
        phases.push(("objects applied", clock.elapsed()));
    }
    phases.extend(reach(&world, clock, empty).await?);
    phases.sort_by_key(|(_, at)| *at);
    if !world.stop().await {
        bail!("the world did not stop in time");
    }
    Ok(phases)
}

/// Waits for what the daemon and the Envoys do, all phases at once.
async fn reach(world: &World, clock: Clock, empty: bool) -> Result<Phases> {
    let client = Client::trusting(&world.laptop.acme.root_pem())?;
    let client = &client;
    let answers = |name: &'static str| async move {
        let address = world.balancer(name).await?;
        let answer = client.get(address, HOST, "/").await.ok()?;
        (answer.status == 200).then_some(())
    };
    let both = async move {
        // Both at once: each has its own listener and its own health checks.
        let one = world.wait("200 at the public address", || answers(PUBLIC));
        let other = world.wait("200 at the internal address", || answers(INTERNAL));
        futures::future::try_join(one, other).await.map(drop)
    };
    let balancers = async move {
        for name in [PUBLIC, INTERNAL] {
            world
                .wait("a load balancer", || world.balancer(name))
                .await?;
        }
        Ok(())
    };
    let proxies = world
        .wait("two proxies", || world.proxies(2))
        .map(|done| done.map(drop));
    let stored = world.wait("the Secret", || world.is_stored());
    let served = world.wait("the certificate served", || world.is_served());
    let mut rest = vec![at(clock, FIRST_ANSWER, both.boxed())];
    if empty {
        rest.extend([
            at(
                clock,
                "both load balancers have an address",
                balancers.boxed(),
            ),
            at(clock, "both proxies ready", proxies.boxed()),
            at(clock, "certificate stored", stored.boxed()),
            at(clock, "certificate seen served everywhere", served.boxed()),
        ]);
    }
    try_join_all(rest).await
}

/// Waits for a phase and notes the moment.
async fn at(
    clock: Clock,
    name: &'static str,
    reached: BoxFuture<'_, Result<()>>,
) -> Result<(&'static str, Duration)> {
    reached.await?;
    Ok((name, clock.elapsed()))
}
