//! `gatewright proxy`: what runs in a gateway's Pod.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use clap::Args;
use gatewright_seams::Clock;

use super::FAILED;
use super::signals::Signals;
use crate::proxy::{Proxy, ProxyOptions};

/// What the end may take beyond the drain; the Pod's grace period leaves 15 seconds.
const END: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
SIGTERM or SIGINT lets open connections finish and then ends Envoy. If Envoy ends by itself, this \
ends with its exit code (128 and the signal's number, if a signal ended it).

Examples:
  gatewright proxy --config envoy.json --node istio-system/ingressgateway/pod-0 \\
      --cluster istio-ingressgateway --drain-seconds 30";

/// Run one Envoy, and let its connections finish before it ends (in a gateway's Pod)
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ProxyArgs {
    /// Envoy's bootstrap file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Who the proxy is to the discovery service: NAMESPACE/GATEWAY/POD
    #[arg(long, value_name = "ID")]
    node: String,

    /// The gateway's workload
    #[arg(long, value_name = "NAME")]
    cluster: String,

    /// How long open connections get to finish
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_seconds: u32,

    /// The Envoy program
    #[arg(long, value_name = "PATH", default_value = "envoy")]
    envoy: PathBuf,

    /// Where the bootstrap puts Envoy's admin interface
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15000")]
    admin: SocketAddr,

    /// Envoy's worker threads [default: one for each CPU that this process may use]
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
}

pub(super) async fn run(args: &ProxyArgs) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::catch()?;
    let clock = Clock::system();
    let drain = Duration::from_secs(args.drain_seconds.into());
    let usable = || std::thread::available_parallelism().map_or(1, usize::from);
    let mut proxy = Proxy::start(ProxyOptions {
        envoy: args.envoy.clone(),
        config: args.config.clone(),
        node: args.node.clone(),
        cluster: args.cluster.clone(),
        admin: args.admin,
        log: None,
        drain,
        concurrency: args
            .concurrency
            .unwrap_or_else(|| usable().try_into().unwrap_or(1)),
    })?;
    tokio::select! {
        exited = proxy.exited() => {
            let code = exit_code(exited?);
            tracing::error!(code, "envoy ended by itself");
            Ok(ExitCode::from(code))
        }
        signal = signals.next() => {
            tracing::info!(signal, drain = args.drain_seconds, "draining");
            proxy.drain_and_stop(&clock, drain + END).await;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The exit code of another program as a shell gives it on.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_envoy_is_told_as_a_shell_does() {
        // The low seven bits of a wait status are a signal, the next eight a code.
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(11)), 139);
    }
}
