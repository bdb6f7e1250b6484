//! `cargo xtask cluster`: a real Kubernetes control plane on loopback that stays until it is stopped.
//!
//! ```text
//! target/cluster/admin.kubeconfig   for kubectl and `gatewright run`
//! target/cluster/audit.log          who asked the API server for what
//! target/cluster/NAME.log           what a program said
//! target/cluster/NAME.pid           which process it is
//! ```
//!
//! It has no nodes: Pods stay pending until something plays the kubelet.

mod process;

use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use control_plane::{ADMIN, Durability, Layout, ROLES, Role};

use self::process::{Process, pause};
use crate::summary::Stopwatch;
use crate::tools::{self, Tool};
use crate::workspace::Workspace;

/// What must be there to start it; kubectl is how it is asked whether it is ready.
const TOOLS: [Tool; 5] = [
    Tool::Etcd,
    Tool::KubeApiserver,
    Tool::KubeControllerManager,
    Tool::KubeScheduler,
    Tool::Kubectl,
];
/// How long the API server gets to be ready: a few seconds on an idle machine.
const READY_LIMIT: Duration = Duration::from_mins(2);
const READY_POLL: Duration = Duration::from_millis(250);

#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Start etcd, kube-apiserver, kube-controller-manager and kube-scheduler
    ///
    /// Builds them first if they are missing, which takes minutes once. State is in target/cluster;
    /// the path of the kubeconfig is printed. There are no nodes.
    Start(StartArgs),
    /// End what start began, and remove its state
    Stop,
}

#[derive(Args)]
pub(crate) struct StartArgs {
    /// Where the API server listens; etcd has the next two ports
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:16443")]
    listen: SocketAddr,
}

pub(crate) fn run(workspace: &Workspace, command: &ClusterCommand) -> Result<ExitCode> {
    match command {
        ClusterCommand::Start(args) => start(workspace, args),
        ClusterCommand::Stop => stop(workspace),
    }
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/cluster")
}

fn start(workspace: &Workspace, args: &StartArgs) -> Result<ExitCode> {
    let (address, port) = (args.listen.ip(), args.listen.port());
    if !address.is_loopback() {
        bail!("{address} is no loopback address: etcd listens there without a password");
    }
    if port == 0 || port > u16::MAX - 2 {
        bail!(
            "port {port} has no two ports after it; choose one from 1 to {}",
            u16::MAX - 2
        );
    }
    let layout = Layout {
        directory: directory(workspace),
        programs: workspace.tools().join("bin"),
        address,
        port,
        durability: Durability::None,
    };
    let held = Process::held(&layout.directory)?;
    if held.iter().any(Process::runs) {
        let names: Vec<&str> = held
            .iter()
            .filter(|held| held.runs())
            .map(Process::name)
            .collect();
        bail!(
            "a cluster runs already ({}); its kubeconfig is {}, and cargo xtask cluster stop ends it",
            names.join(", "),
            layout.kubeconfig(ADMIN).display()
        );
    }
    tools::ensure(workspace, &TOOLS)?;
    for taken in [layout.api_server(), layout.etcd(), layout.etcd_peers()] {
        free(taken)?;
    }
    // What a machine that was switched off left behind: a cluster begins empty.
    remove(&layout.directory)?;
    layout.write(&[])?;
    let started = bring_up(workspace, &layout);
    if started.is_err() {
        end_all(&layout)?;
    }
    started?;
    // The one line on standard output, so that a script can take it.
    writeln!(io::stdout(), "{}", layout.kubeconfig(ADMIN).display())?;
    Ok(ExitCode::SUCCESS)
}

fn free(address: SocketAddr) -> Result<()> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!("{address} cannot be listened at; choose another place with --listen")
        }),
    }
}

fn bring_up(workspace: &Workspace, layout: &Layout) -> Result<()> {
    let watch = Stopwatch::start();
    for role in ROLES {
        let process = Process::start(&layout.directory, &layout.program(role))?;
        if role == Role::ApiServer {
            eprintln!(
                "cluster: waiting for the API server at {}",
                layout.api_server()
            );
            wait_ready(workspace, layout, &process, &watch)?;
        }
    }
    for process in Process::held(&layout.directory)? {
        if !process.runs() {
            bail!("{} ended at once; {}", process.name(), process.last_words());
        }
    }
    eprintln!(
        "cluster: ready after {:.1} s",
        watch.elapsed().as_secs_f64()
    );
    Ok(())
}

fn wait_ready(
    workspace: &Workspace,
    layout: &Layout,
    process: &Process,
    watch: &Stopwatch,
) -> Result<()> {
    loop {
        if !process.runs() {
            bail!("{} ended; {}", process.name(), process.last_words());
        }
        // The certificate appears a moment after the program started.
        if layout.certificate().exists() && answers(workspace, layout) {
            return Ok(());
        }
        if watch.elapsed() > READY_LIMIT {
            bail!(
                "the API server was not ready within {} s; {}",
                READY_LIMIT.as_secs(),
                process.last_words()
            );
        }
        pause(READY_POLL);
    }
}

fn answers(workspace: &Workspace, layout: &Layout) -> bool {
    Command::new(workspace.tools().join("bin/kubectl"))
        .arg("--kubeconfig")
        .arg(layout.kubeconfig(ADMIN))
        .args(["--request-timeout=2s", "get", "--raw", "/readyz"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn stop(workspace: &Workspace) -> Result<ExitCode> {
    let directory = directory(workspace);
    if !directory.exists() {
        eprintln!("cluster: nothing to stop: cargo xtask cluster start begins one");
        return Ok(ExitCode::SUCCESS);
    }
    // Only the directory counts here.
    let layout = Layout {
        directory,
        programs: workspace.tools().join("bin"),
        address: IpAddr::from([127, 0, 0, 1]),
        port: 0,
        durability: Durability::None,
    };
    let ended = end_all(&layout)?;
    if ended.is_empty() {
        eprintln!("cluster: its programs had ended already; removed what they left");
    } else {
        eprintln!("cluster: ended {}", ended.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends the programs, the last started first, and removes the directory. Gives the names of those
/// that ran.
fn end_all(layout: &Layout) -> Result<Vec<&'static str>> {
    let mut ended = Vec::new();
    for process in Process::held(&layout.directory)?.iter().rev() {
        if process.runs() {
            process.end()?;
            ended.push(process.name());
        }
    }
    remove(&layout.directory)?;
    Ok(ended)
}

fn remove(directory: &PathBuf) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", directory.display()))
        }
        _ => Ok(()),
    }
}
