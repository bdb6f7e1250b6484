//! The life of one Pod: volumes, process, readiness, drain, end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatewright_seams::{AddressMap, Tasks};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::kubelet::Addresses;
use super::leftovers::PID_FILE;
use super::{MANAGER, PROXY_IMAGE, Runner, SAMPLE_IMAGE, sample, volumes};
use crate::kubernetes::{Events, is_ready};
use crate::proxy::{Proxy, ProxyOptions, admin_get};

/// Where the bootstrap puts Envoy's admin interface.
const ADMIN_PORT: u16 = 15000;
/// How often volumes are compared with their sources, as a kubelet does.
const VOLUME_SYNC: Duration = Duration::from_secs(10);
const READINESS_POLL: Duration = Duration::from_millis(50);
const READY_POLL: Duration = Duration::from_secs(2);
/// How long a Pod that was ready when an earlier run of this program ended gets to be ready again
/// before that is reported: its load balancers would drain it for the moment that a start takes.
const RESUME_GRACE: Duration = Duration::from_secs(10);
/// How often in a row a ready Pod must fail its probe to be unready (Kubernetes' default for
/// `failureThreshold`): one slow answer must not take a proxy out of its load balancers.
const READY_FAILURES: u32 = 3;

/// What a Pod is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    No,
    /// Finish open connections within the grace period, then end and remove the object.
    Drain(Duration),
    /// End at once; the object is gone or outlives this process.
    Now,
}

enum Process {
    Envoy(Box<Proxy>),
    Sample(Tasks),
}

impl Process {
    async fn exited(&mut self) {
        match self {
            Self::Envoy(proxy) => drop(proxy.exited().await),
            Self::Sample(tasks) => drop(tasks.cancelled().await),
        }
    }
}

struct PodRun {
    runner: Runner,
    pod: Pod,
    /// What Kubernetes holds: 10.a.b.c.
    address: Ipv4Addr,
    /// Where the process listens: 127.a.b.c.
    local: IpAddr,
    directory: PathBuf,
    tasks: Tasks,
    restarts: i32,
    started: Option<Time>,
    /// Whether the API server holds the Pod as ready.
    held: watch::Receiver<bool>,
}

/// Runs `pod` until it is told to end.
pub(super) async fn run(
    runner: Runner,
    addresses: Addresses,
    pod: Pod,
    tasks: Tasks,
    held: watch::Receiver<bool>,
    mut exit: watch::Receiver<Exit>,
) {
    if pod.metadata.deletion_timestamp.is_some() {
        // Left over from an earlier run of this program: its process ended with that one.
        remove(&runner, &pod).await;
        return;
    }
    let before = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_ref());
    let address = addresses.take(before.and_then(|ip| ip.parse().ok()));
    let directory = runner.directory.join(pod.uid().unwrap_or_default());
    let local = AddressMap::Loopback.dial_ip(address.into());
    let mut this = PodRun {
        runner,
        pod,
        address,
        local,
        directory,
        tasks,
        restarts: 0,
        started: None,
        held,
    };
    let told = this.live(&mut exit).await;
    addresses.give_back(address);
    if let Err(error) = std::fs::remove_dir_all(&this.directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(pod = this.pod.name_any(), %error, "removing the pod's directory");
    }
    if told != Exit::Now {
        remove(&this.runner, &this.pod).await;
    }
}

async fn remove(runner: &Runner, pod: &Pod) {
    let api: Api<Pod> = Api::namespaced(runner.kube.clone(), &pod.namespace().unwrap_or_default());
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    for attempt in 0..5u32 {
        match api.delete(&pod.name_any(), &params).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(error) => {
                tracing::warn!(pod = pod.name_any(), %error, "removing a pod that has ended");
                runner
                    .clock
                    .sleep(Duration::from_millis(100 << attempt))
                    .await;
            }
        }
    }
}

impl PodRun {
    fn container(&self) -> Option<&Container> {
        self.pod
            .spec
            .as_ref()
            .and_then(|spec| spec.containers.first())
    }

    /// Starts and restarts the process until told to end; returns what was told.
    async fn live(&mut self, exit: &mut watch::Receiver<Exit>) -> Exit {
        let mut wait = Duration::from_millis(200);
        loop {
            let mut process = match self.start().await {
                Ok(process) => process,
                Err((reason, message)) => {
                    self.report(false, Some((reason, &message))).await;
                    let told = self.wait_told(exit, wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                    if told == Exit::No {
                        continue;
                    }
                    return told;
                }
            };
            self.started = Some(Time(self.runner.clock.now()));
            let envoy = matches!(process, Process::Envoy(_));
            let told = tokio::select! {
                biased;
                told = Self::told(exit) => told,
                () = process.exited() => Exit::No,
                never = self.watch_over(envoy) => match never {},
            };
            match (told, process) {
                (Exit::No, _) => {
                    self.restarts += 1;
                    self.report(false, Some(("CrashLoopBackOff", "the process ended")))
                        .await;
                    let told = self.wait_told(exit, wait).await;
                    if told != Exit::No {
                        return told;
                    }
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                (Exit::Drain(grace), Process::Envoy(proxy)) => {
                    proxy.drain_and_stop(&self.runner.clock, grace).await;
                    return told;
                }
                (Exit::Now, Process::Envoy(proxy)) => {
                    proxy.stop(&self.runner.clock).await;
                    return told;
                }
                (_, Process::Sample(tasks)) => {
                    tasks.stop(Duration::from_secs(1)).await;
                    return told;
                }
            }
        }
    }

    async fn told(exit: &mut watch::Receiver<Exit>) -> Exit {
        match exit.wait_for(|exit| *exit != Exit::No).await {
            Ok(told) => *told,
            Err(_runner_gone) => Exit::Now,
        }
    }

    async fn wait_told(&self, exit: &mut watch::Receiver<Exit>, limit: Duration) -> Exit {
        self.runner
            .clock
            .timeout(limit, Self::told(exit))
            .await
            .unwrap_or(Exit::No)
    }

    async fn start(&self) -> Result<Process, (&'static str, String)> {
        let container = self
            .container()
            .ok_or(("InvalidPod", "no container".to_owned()))?;
        let image = container.image.clone().unwrap_or_default();
        volumes::lay_out(&self.runner.kube, &self.pod, &self.directory)
            .await
            .map_err(|error| ("ContainerCreating", error.to_string()))?;
        match image
            .rsplit_once(':')
            .map_or(image.as_str(), |(name, _)| name)
        {
            PROXY_IMAGE => self
                .start_envoy(container)
                .map(Box::new)
                .map(Process::Envoy),
            SAMPLE_IMAGE => {
                let port = container
                    .ports
                    .iter()
                    .flatten()
                    .next()
                    .map_or(8080, |p| p.container_port);
                let address = SocketAddr::new(self.local, u16::try_from(port).unwrap_or(8080));
                let tasks = self.tasks.child();
                sample::serve(self.pod.name_any(), address, &tasks)
                    .await
                    .map_err(|e| ("RunContainerError", format!("listening at {address}: {e}")))?;
                Ok(Process::Sample(tasks))
            }
            _ => Err((
                "ErrImagePull",
                format!("the local runner runs {PROXY_IMAGE} and {SAMPLE_IMAGE}, not {image:?}"),
            )),
        }
    }

    /// Lays the bootstrap out for this machine, where a Pod has neither its own network nor its
    /// own file tree: wildcard and loopback addresses become the Pod's, mount paths its directory.
    fn start_envoy(&self, container: &Container) -> Result<Proxy, (&'static str, String)> {
        let failed = |what: String| ("RunContainerError", what);
        let argument = |name: &str| {
            let mut args = container.args.iter().flatten();
            args.find(|arg| *arg == name)
                .and_then(|_| args.next())
                .cloned()
        };
        let config = argument("--config").ok_or(failed("no --config argument".into()))?;
        let drain = argument("--drain-seconds")
            .and_then(|s| s.parse().ok())
            .unwrap_or(30);
        let rendered = self.render(container, Path::new(&config)).map_err(failed)?;
        let named = |name: &str| {
            argument(name)
                .unwrap_or_default()
                .replace("$(POD_NAME)", &self.pod.name_any())
        };
        let proxy = Proxy::start(ProxyOptions {
            envoy: self.runner.envoy.clone(),
            config: rendered,
            node: named("--node"),
            cluster: named("--cluster"),
            admin: SocketAddr::new(self.local, ADMIN_PORT),
            log: Some(self.directory.join("envoy.log")),
            drain: Duration::from_secs(drain),
            concurrency: 1,
        })
        .map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            failed(format!("{error}: {}", cause.unwrap_or_default()))
        })?;
        let id = proxy.id().unwrap_or_default().to_string();
        let path = self.directory.join(PID_FILE);
        std::fs::write(&path, id)
            .map_err(|e| failed(format!("writing {}: {e}", path.display())))?;
        Ok(proxy)
    }

    /// Writes the files beside `config` as this machine needs them; returns where `config` is now.
    fn render(&self, container: &Container, config: &Path) -> Result<PathBuf, String> {
        let mounts: Vec<_> = container.volume_mounts.iter().flatten().collect();
        let holds_config = |path: &str| config.parent() == Some(Path::new(path));
        let rendered = self.directory.join("rendered");
        let place = |mount: &k8s_openapi::api::core::v1::VolumeMount| {
            if holds_config(&mount.mount_path) {
                rendered.clone()
            } else {
                self.directory.join(&mount.name)
            }
        };
        let source = mounts
            .iter()
            .find(|mount| holds_config(&mount.mount_path))
            .map(|mount| self.directory.join(&mount.name))
            .ok_or_else(|| format!("{} is on no volume of the pod", config.display()))?;
        let failed =
            |path: &Path, error: io::Error| format!("laying out {}: {error}", path.display());
        std::fs::create_dir_all(&rendered).map_err(|e| failed(&rendered, e))?;
        let entries = std::fs::read_dir(&source).map_err(|e| failed(&source, e))?;
        for entry in entries.flatten() {
            let text =
                std::fs::read_to_string(entry.path()).map_err(|e| failed(&entry.path(), e))?;
            let local = self.local.to_string();
            let mut text = text.replace("0.0.0.0", &local).replace("127.0.0.1", &local);
            for mount in &mounts {
                text = text.replace(&mount.mount_path, &place(mount).display().to_string());
            }
            let path = rendered.join(entry.file_name());
            std::fs::write(&path, text).map_err(|e| failed(&path, e))?;
        }
        Ok(rendered.join(config.file_name().unwrap_or_default()))
    }

    /// Reports readiness whenever it flips or is held otherwise, and keeps volumes equal to their
    /// sources.
    async fn watch_over(&mut self, envoy: bool) -> std::convert::Infallible {
        let clock = self.runner.clock;
        let mut ready = false;
        let mut failures = 0;
        let mut reported = None;
        let mut synced = clock.elapsed();
        let resumed = self.restarts == 0 && is_ready(&self.pod);
        let grace = clock.elapsed() + RESUME_GRACE;
        loop {
            // Kubernetes' node lifecycle controller writes Pods of a node that it has not heard of
            // for a while as unready, and leaves the way back to the kubelet.
            if self.held.has_changed().unwrap_or(false) && *self.held.borrow_and_update() != ready {
                reported = None;
            }
            let held_back = resumed && !ready && reported.is_none() && clock.elapsed() < grace;
            if !held_back && reported != Some(ready) && self.report(ready, None).await {
                reported = Some(ready);
            }
            clock
                .sleep(if ready { READY_POLL } else { READINESS_POLL })
                .await;
            let admin = SocketAddr::new(self.local, ADMIN_PORT);
            if !envoy || admin_get(&clock, admin, "/ready").await.is_ok() {
                (ready, failures) = (true, 0);
            } else {
                failures += 1;
                ready = ready && failures < READY_FAILURES;
            }
            if clock.elapsed().saturating_sub(synced) >= VOLUME_SYNC {
                synced = clock.elapsed();
                if let Err(error) =
                    volumes::lay_out(&self.runner.kube, &self.pod, &self.directory).await
                {
                    tracing::warn!(pod = self.pod.name_any(), %error, "volumes not refreshed");
                }
            }
        }
    }

    /// Writes the Pod's status; false when the API server did not take it.
    async fn report(&self, ready: bool, waiting: Option<(&str, &str)>) -> bool {
        let now = Time(self.runner.clock.now());
        let condition = |kind: &str, on: bool| json!({ "type": kind, "status": if on { "True" } else { "False" }, "lastTransitionTime": now });
        let container = self.container().cloned().unwrap_or_default();
        let state = match (waiting, &self.started) {
            (Some((reason, message)), _) => {
                json!({ "waiting": { "reason": reason, "message": message } })
            }
            (None, Some(at)) => json!({ "running": { "startedAt": at } }),
            (None, None) => json!({ "waiting": { "reason": "ContainerCreating" } }),
        };
        let running = waiting.is_none() && self.started.is_some();
        let status: Value = json!({
            "phase": if running { "Running" } else { "Pending" },
            "podIP": self.address.to_string(),
            "podIPs": [{ "ip": self.address.to_string() }],
            "hostIP": "10.0.0.1",
            "hostIPs": [{ "ip": "10.0.0.1" }],
            "startTime": self.pod.metadata.creation_timestamp,
            "conditions": [
                condition("PodScheduled", true),
                condition("Initialized", true),
                condition("ContainersReady", ready),
                condition("Ready", ready),
            ],
            "containerStatuses": [{
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": ready,
                "started": running,
                "restartCount": self.restarts,
                "state": state,
            }],
        });
        let namespace = self.pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.runner.kube.clone(), &namespace);
        let name = self.pod.name_any();
        let patch =
            Patch::Merge(json!({ "metadata": { "uid": self.pod.uid() }, "status": status }));
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        if let Err(error) = api.patch_status(&name, &params, &patch).await {
            tracing::debug!(pod = name, %error, "pod status not written");
            return false;
        }
        if let Some((reason, message)) = waiting.filter(|(reason, _)| *reason == "ErrImagePull") {
            let events = Events::new(self.runner.kube.clone(), self.runner.clock);
            events
                .warning(&self.pod.object_ref(&()), reason, "Pulling", message)
                .await;
        }
        true
    }
}
