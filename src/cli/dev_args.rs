//! What `gatewright dev` is told.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::manifests;
use crate::settings::Span;

/// The shift of load balancer ports where ports below 1024 cannot be bound.
pub const UNPRIVILEGED_SHIFT: u16 = 8000;

const EXAMPLES: &str = "\
Examples:
  gatewright dev                          start, or go on where the last one stopped
  gatewright dev --fresh                  start clean
  gatewright dev --once --fresh           exit 0 as soon as everything is ready
  gatewright dev --examples my/objects    apply these objects in place of the quickstart

While it runs, in another shell:
  export KUBECONFIG=~/.local/state/gatewright/dev/kubeconfig
  kubectl get istiogateways,services,certificates --all-namespaces
  gatewright rotate --all --all-namespaces";

/// Files of `examples/quickstart`, as this program was built.
const QUICKSTART: &[(&str, &str)] = &[
    (
        "10-istiogateway.yaml",
        include_str!("../../examples/quickstart/10-istiogateway.yaml"),
    ),
    (
        "11-service-internal.yaml",
        include_str!("../../examples/quickstart/11-service-internal.yaml"),
    ),
    (
        "20-issuer.yaml",
        include_str!("../../examples/quickstart/20-issuer.yaml"),
    ),
    (
        "21-certificate.yaml",
        include_str!("../../examples/quickstart/21-certificate.yaml"),
    ),
    (
        "30-gateway.yaml",
        include_str!("../../examples/quickstart/30-gateway.yaml"),
    ),
    (
        "31-virtualservice.yaml",
        include_str!("../../examples/quickstart/31-virtualservice.yaml"),
    ),
    (
        "40-deployment-hello.yaml",
        include_str!("../../examples/quickstart/40-deployment-hello.yaml"),
    ),
    (
        "41-service-hello.yaml",
        include_str!("../../examples/quickstart/41-service-hello.yaml"),
    ),
];

/// Run everything on this machine: API server, cloud, certificate authority, daemon and Envoys
///
/// Starts an embedded Kubernetes API server, a mock Alibaba Cloud and a mock certificate authority
/// in one process with the daemon, runs the gateways' replicas as Envoy processes on loopback
/// addresses, and applies the quickstart. No cluster, account, root or internet is needed. Ctrl-C
/// ends everything it started; the next start goes on where this one stopped.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DevArgs {
    /// Where everything is kept [default: $XDG_STATE_HOME/gatewright/dev, or
    /// ~/.local/state/gatewright/dev]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Forget what an earlier start kept in the state directory
    #[arg(long)]
    pub fresh: bool,

    /// Exit as soon as everything is ready and the table is printed
    #[arg(long)]
    pub once: bool,

    /// The Envoy program
    #[arg(long, value_name = "PATH", default_value = "envoy")]
    pub envoy: PathBuf,

    /// Added to the ports of the load balancers [default: 0 where ports below 1024 can be bound,
    /// else 8000]
    #[arg(long, value_name = "N")]
    pub port_shift: Option<u16>,

    /// Where the embedded API server listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub kube_listen: SocketAddr,

    /// Directory or file of objects to apply in place of the built-in quickstart
    #[arg(long, value_name = "DIR", conflicts_with = "no_quickstart")]
    pub examples: Option<PathBuf>,

    /// Apply nothing
    #[arg(long)]
    pub no_quickstart: bool,

    /// How often the mock cloud is read although nothing changed
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    pub audit_interval: Span,
}

/// The state directory that `dev` uses unless told otherwise.
///
/// # Errors
/// Neither `XDG_STATE_HOME` nor `HOME` says where it would be.
pub fn default_state_dir() -> anyhow::Result<PathBuf> {
    state_dir_from(|name| env::var_os(name).map(PathBuf::from))
}

fn state_dir_from(read: impl Fn(&str) -> Option<PathBuf>) -> anyhow::Result<PathBuf> {
    // The XDG base directory specification says that a relative path is to be ignored.
    let absolute = |name| read(name).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .context("neither XDG_STATE_HOME nor HOME is set: give --state-dir")?;
    Ok(base.join("gatewright/dev"))
}

/// The kubeconfig that `dev` writes into its state directory.
pub fn kubeconfig_in(state_dir: &Path) -> PathBuf {
    state_dir.join("kubeconfig")
}

impl DevArgs {
    /// The state directory: the one given, else the usual one.
    ///
    /// # Errors
    /// As [`default_state_dir`].
    pub fn state_dir(&self) -> anyhow::Result<PathBuf> {
        self.state_dir.clone().map_or_else(default_state_dir, Ok)
    }

    /// The shift of load balancer ports: the one given, else what this machine allows.
    pub fn port_shift(&self) -> u16 {
        self.port_shift.unwrap_or_else(|| {
            if may_bind_low_ports() {
                0
            } else {
                UNPRIVILEGED_SHIFT
            }
        })
    }

    /// The Envoy program as a path that can be executed from anywhere.
    ///
    /// # Errors
    /// There is none; the message says what to do.
    pub fn find_envoy(&self) -> anyhow::Result<PathBuf> {
        find_program(&self.envoy, env::var_os("PATH").as_deref()).with_context(|| {
            format!(
                "no Envoy at {}: `cargo xtask dev` installs one, --envoy names another",
                self.envoy.display()
            )
        })
    }

    /// The objects to apply, as name of the file and text, in the order of the names.
    ///
    /// # Errors
    /// A file cannot be read, or there is none.
    pub fn manifests(&self) -> anyhow::Result<Vec<(String, String)>> {
        let Some(path) = &self.examples else {
            let built_in = if self.no_quickstart { &[] } else { QUICKSTART };
            let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
            return Ok(built_in.iter().map(owned).collect());
        };
        let files = manifests::files(path)?;
        if files.is_empty() {
            bail!("no .yaml, .yml or .json file in {}", path.display());
        }
        let read = |file: PathBuf| {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("reading {}", file.display()))?;
            Ok((file.display().to_string(), text))
        };
        files.into_iter().map(read).collect()
    }
}

/// Whether this process may bind ports below 1024. A port in use is no refusal.
fn may_bind_low_ports() -> bool {
    let low = (Ipv4Addr::LOCALHOST, 80);
    TcpListener::bind(low).map_or_else(
        |error| error.kind() != std::io::ErrorKind::PermissionDenied,
        |_| true,
    )
}

/// `program` itself when it has a directory, else the first of that name on `path`.
fn find_program(program: &Path, path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.canonicalize().ok().filter(|found| found.is_file());
    }
    let directories = env::split_paths(path?).map(|directory| directory.join(program));
    directories.into_iter().find(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_state_directory_follows_the_environment() {
        let dir = |held: &[(&str, &str)]| {
            state_dir_from(|name| {
                let found = held.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| PathBuf::from(value))
            })
        };
        let home = ("HOME", "/home/a");
        assert_eq!(
            dir(&[home]).unwrap(),
            Path::new("/home/a/.local/state/gatewright/dev")
        );
        let state = ("XDG_STATE_HOME", "/state");
        assert_eq!(
            dir(&[home, state]).unwrap(),
            Path::new("/state/gatewright/dev")
        );
        let relative = ("XDG_STATE_HOME", "state");
        assert!(dir(&[home, relative]).unwrap().starts_with("/home/a"));
        assert!(dir(&[]).is_err());
    }

    #[test]
    fn the_built_in_quickstart_is_the_directory() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
        let on_disk: Vec<_> = manifests::files(&directory)
            .unwrap()
            .into_iter()
            .map(|file| {
                let name = file.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(&file).unwrap())
            })
            .collect();
        let built_in: Vec<_> = QUICKSTART
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        assert_eq!(built_in, on_disk);
    }

    #[test]
    fn a_program_is_found_by_path_or_by_name() {
        let path = std::ffi::OsStr::new("/nowhere:/bin");
        assert_eq!(
            find_program(Path::new("sh"), Some(path)),
            Some("/bin/sh".into())
        );
        assert_eq!(find_program(Path::new("no-such-program"), Some(path)), None);
        assert!(find_program(Path::new("/bin/sh"), None).is_some());
        assert_eq!(find_program(Path::new("/bin/no-such-program"), None), None);
    }
}
