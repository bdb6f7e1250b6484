//! Which API server a command talks to.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use gatewright_seams::Clock;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::dev_args::{default_state_dir, kubeconfig_in};
use super::output;
use crate::kubernetes;

const PREPARING: &str = "preparing the connection";

/// The API server.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ClusterArgs {
    /// Kubeconfig file [default: $KUBECONFIG, then ~/.kube/config, then the one of `gatewright dev`]
    #[arg(long, value_name = "FILE", help_heading = "API server")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", help_heading = "API server")]
    context: Option<String>,
}

/// A way to the API server.
pub(super) struct Cluster {
    pub(super) client: kube::Client,
    /// The namespace of the kubeconfig's context, else `default`.
    pub(super) namespace: String,
}

/// Where the way was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Flag(PathBuf),
    /// `$KUBECONFIG`, which may list several files.
    Variable,
    Home(PathBuf),
    Dev(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(file) | Self::Home(file) => write!(f, "{}", file.display()),
            Self::Variable => f.write_str("$KUBECONFIG"),
            Self::Dev(file) => write!(f, "{} (gatewright dev)", file.display()),
        }
    }
}

impl ClusterArgs {
    /// The API server of a command that a person runs; says on standard error which it is, unless
    /// it was asked for.
    ///
    /// # Errors
    /// No kubeconfig was found, or it cannot be used.
    pub(super) async fn connect(&self) -> anyhow::Result<Cluster> {
        cluster(self.config().await?)
    }

    async fn config(&self) -> anyhow::Result<kube::Config> {
        let Some(source) = self.source() else {
            bail!(
                "no kubeconfig: give --kubeconfig or set KUBECONFIG; there is none in ~/.kube, and \
                 none that gatewright dev wrote"
            );
        };
        if !matches!(source, Source::Flag(_)) {
            output::remark(format_args!("using the kubeconfig {source}"));
        }
        self.open(&source).await
    }

    /// The API server of the daemon: what the flags say, else the cluster it runs in, else as
    /// [`ClusterArgs::connect`].
    ///
    /// # Errors
    /// As [`ClusterArgs::connect`].
    pub(super) async fn connect_daemon(&self, clock: Clock) -> anyhow::Result<kube::Client> {
        let in_cluster = env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        if !in_cluster || self.kubeconfig.is_some() || self.context.is_some() {
            let config = self.config().await?;
            return kubernetes::client(config, clock).context(PREPARING);
        }
        let config = kube::Config::incluster().context("reading the Pod's service account")?;
        kubernetes::client(config, clock).context(PREPARING)
    }

    /// Whether the command line names an API server.
    pub(super) fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    fn source(&self) -> Option<Source> {
        let home = env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
        // `cargo xtask dev` keeps its state below the repository, where its callers are.
        let here = kubeconfig_in(Path::new("target/dev"));
        let usual = || {
            default_state_dir()
                .ok()
                .map(|directory| kubeconfig_in(&directory))
        };
        let dev = Some(here).filter(|file| file.exists()).or_else(usual);
        let variable = env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
        first(self.kubeconfig.clone(), variable, home, dev, &|file| {
            file.exists()
        })
    }

    async fn open(&self, source: &Source) -> anyhow::Result<kube::Config> {
        let read = match source {
            Source::Flag(file) | Source::Home(file) | Source::Dev(file) => {
                Kubeconfig::read_from(file)
            }
            Source::Variable => Kubeconfig::read(),
        };
        let kubeconfig = read.with_context(|| format!("reading the kubeconfig {source}"))?;
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .with_context(|| format!("using the kubeconfig {source}"))
    }
}

fn cluster(config: kube::Config) -> anyhow::Result<Cluster> {
    let namespace = config.default_namespace.clone();
    let client = kube::Client::try_from(config).context(PREPARING)?;
    Ok(Cluster { client, namespace })
}

/// The first kubeconfig there is, in kubectl's order and then that of `gatewright dev`.
fn first(
    flag: Option<PathBuf>,
    variable: bool,
    home: Option<PathBuf>,
    dev: Option<PathBuf>,
    exists: &dyn Fn(&Path) -> bool,
) -> Option<Source> {
    let existing = |file: Option<PathBuf>| file.filter(|file| exists(file));
    flag.map(Source::Flag)
        .or_else(|| variable.then_some(Source::Variable))
        .or_else(|| existing(home).map(Source::Home))
        .or_else(|| existing(dev).map(Source::Dev))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_is_looked_for_in_order() {
        let file = |name: &str| Some(PathBuf::from(name));
        let all = |flag, variable, there: &[&str]| {
            first(flag, variable, file("home"), file("dev"), &|file| {
                there.iter().any(|name| file == Path::new(name))
            })
        };
        let both = ["home", "dev"];
        assert_eq!(
            all(file("flag"), true, &both),
            Some(Source::Flag("flag".into()))
        );
        assert_eq!(all(None, true, &both), Some(Source::Variable));
        assert_eq!(all(None, false, &both), Some(Source::Home("home".into())));
        assert_eq!(all(None, false, &["dev"]), Some(Source::Dev("dev".into())));
        assert_eq!(all(None, false, &[]), None);
    }
}
