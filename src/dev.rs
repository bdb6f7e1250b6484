//! `gatewright dev`: a working gateway on a laptop.

mod state;
mod waiting;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use gatewright_crds::cert_manager::Certificate;
use gatewright_seams::{Clock, Random, Tasks};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use local_kube::Access;
use mock_cloud::AccessKey;
use tokio::net::TcpListener;

use crate::cli::dev_args::{DevArgs, kubeconfig_in};
use crate::cli::output::Output;
use crate::cli::signals::Signals;
use crate::cli::table::{self, View};
use crate::fronts::{FrontKind, Fronts};
use crate::laptop::{Laptop, Layout, Slot, Storage, apply_yaml, listen};
use crate::outside::Outside;

use state::State;
use waiting::{silent, unmet};

/// How long everything may take to stop: Envoys are killed, not drained.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How long the start may take before `--once` gives up.
const READY_LIMIT: Duration = Duration::from_mins(3);
/// Where the mock cloud's API is served, on the daemon's address.
const CLOUD_PORT: u16 = 8090;

/// Runs until a signal ends it, or with `--once` until everything is ready.
///
/// # Errors
/// Anything that keeps it from starting, in words that say what to do.
pub async fn run(args: DevArgs, tasks: Tasks) -> Result<ExitCode> {
    let mut signals = Signals::catch()?;
    let stop = tasks.clone();
    tasks.spawn("signals", async move {
        signals.next().await;
        stop.cancel();
    });
    let envoy = args.find_envoy()?;
    let directory = args.state_dir()?;
    let mut state = State::open(&directory, args.fresh)?;
    let slot = take_slot(&mut state)?;
    let daemon_address = slot.daemon();
    let layout = Layout {
        storage: Storage::Directory(directory.clone()),
        port_shift: args.port_shift(),
        access_key: AccessKey {
            id: state.kept.access_key_id.clone(),
            secret: state.kept.access_key_secret.clone(),
        },
        certificate_lifetime: mock_acme::DEFAULT_LIFETIME,
        audit_interval: args.audit_interval.into(),
    };
    let port_shift = layout.port_shift;
    let world = Tasks::new();
    let seams = (Clock::system(), Random::system(), world.clone());
    let laptop = Laptop::start(layout, Some(slot), None, seams).await?;
    let cloud = listen(SocketAddr::new(daemon_address.into(), CLOUD_PORT)).await?;
    serve_cloud(&laptop, cloud);
    serve_kube(&laptop, &args, &mut state, &directory).await?;
    let root = directory.join("acme-root.pem");
    std::fs::write(&root, laptop.acme.root_pem())
        .with_context(|| format!("writing {}", root.display()))?;

    let out = Output;
    out.line(format_args!("state       {}", directory.display()))?;
    out.line(format_args!(
        "kubeconfig  {}",
        kubeconfig_in(&directory).display()
    ))?;
    out.line(format_args!(
        "cloud API   http://{daemon_address}:{CLOUD_PORT}, key id {}",
        state.kept.access_key_id
    ))?;
    if port_shift > 0 {
        out.line(format_args!(
            "ports       load balancers listen at port + {port_shift}: 443 is at {}",
            443 + port_shift
        ))?;
    }
    let ran = drive(
        &args, &tasks, &laptop, &mut state, &envoy, &directory, &root,
    )
    .await;
    out.line("stopping")?;
    if !world.stop(STOP_LIMIT).await {
        bail!("some parts did not stop within {STOP_LIMIT:?}");
    }
    ran
}

/// From a prepared world to the end of the command.
async fn drive(
    args: &DevArgs,
    tasks: &Tasks,
    laptop: &Laptop,
    state: &mut State,
    envoy: &Path,
    directory: &Path,
    root: &Path,
) -> Result<ExitCode> {
    let out = Output;
    laptop.prepare().await?;
    let outside = laptop.outside(laptop.tasks.clone())?;
    laptop.start_daemon(&outside).await?;
    laptop.start_runner(envoy, &directory.join("pods"));
    if state.kept.applied {
        out.line("objects     those of the last run; --fresh starts clean")?;
    } else {
        for (name, text) in args.manifests()? {
            apply_yaml(&outside.kube, &text)
                .await
                .with_context(|| format!("applying {name}"))?;
        }
        state.kept.applied = true;
        state.save()?;
    }
    let ready = await_ready(&outside, tasks, args.once).await?;
    if ready {
        let view = View {
            namespace: None,
            port_shift: outside.network.port_shift,
        };
        out.text(table::overview(&outside.kube, &view).await?)?;
        for line in curl_lines(&outside, root).await? {
            out.line(line)?;
        }
    }
    if args.once || tasks.is_cancelled() {
        return Ok(if ready {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    out.line("Ctrl-C stops everything; the next start goes on from here")?;
    tokio::select! {
        _ = tasks.cancelled() => {}
        _ = laptop.tasks.cancelled() => {}
    }
    match laptop.tasks.failed() {
        Some(task) => bail!("the task {task} died; its panic is in the log above"),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn take_slot(state: &mut State) -> Result<Slot> {
    if let Some(number) = state.kept.slot {
        return Slot::take(number).with_context(|| {
            format!(
                "the addresses 127.{number}.x.y and 127.{}.x.y of this state directory are in use \
                 by another process; end it, or start clean with --fresh",
                number + 1
            )
        });
    }
    let slot = Slot::find()?;
    state.kept.slot = Some(slot.number());
    state.save()?;
    Ok(slot)
}

fn serve_cloud(laptop: &Laptop, listener: TcpListener) {
    let cloud = laptop.cloud.clone();
    laptop.tasks.spawn("mock-cloud", async move {
        if let Err(error) = cloud.serve(listener).await {
            tracing::error!(%error, "the mock cloud's API ended");
        }
    });
}

/// Serves the API server at the address asked for; without a port, at the one of the last run if
/// it is free.
async fn serve_kube(
    laptop: &Laptop,
    args: &DevArgs,
    state: &mut State,
    directory: &Path,
) -> Result<()> {
    let mut wanted = args.kube_listen;
    let listener = match state.kept.kube_port.filter(|_| wanted.port() == 0) {
        Some(port) => {
            wanted.set_port(port);
            match TcpListener::bind(wanted).await {
                Ok(listener) => listener,
                Err(_) => listen(args.kube_listen).await?,
            }
        }
        None => listen(wanted).await?,
    };
    let address = listener.local_addr().context("the API server's address")?;
    let access = Access::load_or_generate(directory.join("access"))?;
    let kubeconfig = kubeconfig_in(directory);
    state::write_private(&kubeconfig, &laptop.kube.kubeconfig(address, &access))?;
    state.kept.kube_port = Some(address.port());
    state.save()?;
    let kube = laptop.kube.clone();
    laptop.tasks.spawn("api-server", async move {
        if let Err(error) = kube.serve(listener, access).await {
            tracing::error!(%error, "the API server ended");
        }
    });
    Ok(())
}

/// Prints what is waited for whenever that changes, until nothing is. False when cancelled first.
async fn await_ready(outside: &Outside, tasks: &Tasks, limited: bool) -> Result<bool> {
    let out = Output;
    let clock = outside.clock;
    let end = clock.elapsed() + READY_LIMIT;
    let mut told = Vec::new();
    loop {
        let mut waiting = unmet(&outside.kube).await?;
        if waiting.is_empty() {
            waiting = silent(outside).await?;
        }
        for line in waiting.iter().filter(|line| !told.contains(*line)) {
            out.line(format_args!("waiting     {line}"))?;
        }
        if waiting.is_empty() {
            return Ok(true);
        }
        if limited && clock.elapsed() >= end {
            bail!("not ready within {READY_LIMIT:?}: {}", waiting.join("; "));
        }
        told = waiting;
        if outside.tasks.is_cancelled() {
            return Ok(false);
        }
        if tasks
            .until_cancelled(clock.sleep(Duration::from_millis(100)))
            .await
            .is_err()
        {
            return Ok(false);
        }
    }
}

/// One line for each certificate and load balancer address, to be pasted into a shell.
async fn curl_lines(outside: &Outside, root: &Path) -> Result<Vec<String>> {
    let api: Api<Certificate> = Api::all(outside.kube.clone());
    let fronts = Fronts::read(outside).await?;
    let mut lines = Vec::new();
    for certificate in api.list(&ListParams::default()).await? {
        let namespace = certificate.namespace().unwrap_or_default();
        let named = certificate
            .spec
            .dns_names
            .iter()
            .find(|name| !name.starts_with('*'));
        let Some(name) = named else { continue };
        for front in fronts.of_secret(&namespace, &certificate.spec.secret_name) {
            if front.kind != FrontKind::LoadBalancer {
                continue;
            }
            let (ip, port) = (front.address.ip(), front.address.port());
            let shown = if port == 443 {
                String::new()
            } else {
                format!(":{port}")
            };
            lines.push(format!(
                "curl --cacert {} --resolve {name}:{port}:{ip} https://{name}{shown}/",
                root.display()
            ));
        }
    }
    Ok(lines)
}
