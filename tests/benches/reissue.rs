//! A forced rotation from the wish to the end: order at the certificate authority, Secret, push,
//! seen served at every proxy and load balancer.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use gatewright::certificate::SERVED;
use gatewright_crds::cert_manager::{Certificate, names};
use gatewright_crds::conditions::{self, Finding};
use kube::ResourceExt as _;
use kube::api::{Api, PostParams, WatchEvent, WatchParams};

use crate::Effort;
use crate::figures::{Figure, Report, between};
use crate::world::{CERTIFICATE, Directory, Keep, NAMESPACE, World};

const ROTATIONS: usize = 20;
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) async fn run(effort: Effort, report: &mut Report) -> Result<()> {
    for (title, keep) in [("in memory", Keep::Memory), ("state on disk", Keep::Disk)] {
        let directory = Directory::new("reissue")?;
        let world = World::quickstart(directory.path(), keep).await?;
        let (mut stored, mut served) = (Vec::new(), Vec::new());
        // One before the count starts, so that everything was used once.
        for number in 0..=effort.times(ROTATIONS) {
            let (at_stored, at_served) = rotate(&world).await?;
            if number > 0 {
                stored.push(at_stored);
                served.push(at_served);
            }
        }
        report.add(Figure::new(
            format!("{title}: Issuing set → issued and stored"),
            "ms",
            stored,
        ));
        report.add(Figure::new(
            format!("{title}: Issuing set → Served is True"),
            "ms",
            served,
        ));
        world.stop().await;
    }
    report.note("one order of two names with the mock authority, which asks both over HTTP through a load balancer");
    report.note(
        "Served is True when 2 proxies and 2 load balancer addresses have shown the new leaf",
    );
    Ok(())
}

/// One rotation: milliseconds until the status says issued, and until it says served.
async fn rotate(world: &World) -> Result<(f64, f64)> {
    let clock = world.clock();
    let api: Api<Certificate> = Api::namespaced(world.kube(), NAMESPACE);
    let (held, before) = loop {
        let mut held = api.get(CERTIFICATE).await?;
        let before = held
            .status
            .as_ref()
            .and_then(|status| status.revision)
            .unwrap_or(0);
        let generation = held.metadata.generation;
        let wish = Finding::new(
            names::ISSUING,
            true,
            "ManuallyTriggered",
            "asked for by a benchmark",
        );
        let status = held.status.get_or_insert_default();
        conditions::set(&mut status.conditions, wish, generation, clock.now());
        let params = PostParams::default();
        match api.replace_status(CERTIFICATE, &params, &held).await {
            Ok(written) => break (written, before),
            // Somebody wrote in between.
            Err(kube::Error::Api(answer)) if answer.code == 409 => {}
            Err(error) => return Err(error).context("asking for a new certificate"),
        }
    };
    let asked = clock.elapsed();
    let version = held.resource_version().context("a resource version")?;
    let one = WatchParams::default().fields(&format!("metadata.name={CERTIFICATE}"));
    let mut events = api.watch(&one, &version).await?.boxed();
    let mut stored = None;
    let watching = async {
        while let Some(event) = events.try_next().await? {
            let WatchEvent::Modified(seen) = event else {
                continue;
            };
            let status = seen.status.unwrap_or_default();
            if status.revision.unwrap_or(0) <= before {
                continue;
            }
            let now = clock.elapsed();
            let stored = *stored.get_or_insert(now);
            if conditions::is_true(&status.conditions, SERVED) {
                return Ok((between(asked, stored), between(asked, now)));
            }
        }
        bail!("the watch ended")
    };
    clock
        .timeout(LIMIT, watching)
        .await
        .with_context(|| format!("not served within {LIMIT:?}"))?
}
