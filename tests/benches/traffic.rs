//! How much goes through one load balancer and the Envoys behind it on this machine. Client, mock
//! cloud, daemon and Envoys share its cores: an orientation, not a limit of any of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use gatewright_tests::{Client, PUBLIC};

use crate::Effort;
use crate::figures::{Figure, Report, between};
use crate::world::{Directory, HOST, Keep, World};

/// How many requests are under way at once.
const CLIENTS: usize = 8;
const LASTS: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Connections {
    /// Each request on one of its own.
    New,
    Kept,
}

pub(crate) async fn run(effort: Effort, report: &mut Report) -> Result<()> {
    let directory = Directory::new("traffic")?;
    let world = World::quickstart(directory.path(), Keep::Memory).await?;
    let client = Client::trusting(&world.laptop.acme.root_pem())?;
    let balancer = world
        .wait("a load balancer", || world.balancer(PUBLIC))
        .await?;
    let proxies = world.wait("two proxies", || world.proxies(2)).await?;
    let proxy = *proxies.first().context("a proxy")?;
    let places = [("load balancer", balancer), ("one proxy directly", proxy)];
    for (place, address) in places {
        for (what, connections) in [
            ("requests on new TLS connections", Connections::New),
            ("requests on kept connections", Connections::Kept),
        ] {
            let (mut rates, mut times) = (Vec::new(), Vec::new());
            for _ in 0..effort.times(ROUNDS).min(ROUNDS) {
                let (rate, some) = load(&world, &client, address, connections).await?;
                rates.push(rate);
                times.extend(some);
            }
            report.add(Figure::new(format!("{place}: {what}"), "1/s", rates));
            report.add(Figure::new(format!("{place}: time of each"), "ms", times));
        }
    }
    report.note(format!(
        "{CLIENTS} clients, each with one request under way, for {LASTS:?}"
    ));
    report.note("client, mock cloud, daemon, sample backend and two Envoys (one worker each) share the cores");
    world.stop().await;
    Ok(())
}

/// Requests a second, and the between of each.
async fn load(
    world: &World,
    client: &Client,
    address: SocketAddr,
    connections: Connections,
) -> Result<(f64, Vec<f64>)> {
    let clock = world.clock();
    let began = clock.elapsed();
    let end = began + LASTS;
    let one = || async {
        let mut times = Vec::new();
        let mut kept = None;
        while clock.elapsed() < end {
            let sent = clock.elapsed();
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => client.connect(address, HOST).await?,
            };
            let answer = connection.get("/").await?;
            anyhow::ensure!(answer.status == 200, "status {}", answer.status);
            times.push(between(sent, clock.elapsed()));
            if connections == Connections::Kept {
                kept = Some(connection);
            }
        }
        Ok::<_, anyhow::Error>(times)
    };
    let times: Vec<f64> = try_join_all((0..CLIENTS).map(|_| one())).await?.concat();
    let lasted = between(began, clock.elapsed()) / 1e3;
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    Ok((f64::from(count) / lasted, times))
}
