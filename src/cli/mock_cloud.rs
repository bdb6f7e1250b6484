//! `gatewright mock-cloud`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use gatewright_seams::{AddressMap, Clock, Random, Tasks};
use mock_cloud::{AccessKey, DataPlane, MockCloud, Options, Storage};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::TcpListener;

use super::output::Output;
use super::signals::Signals;
use crate::settings::{CREDENTIALS, PodAddresses, credentials};

const EXAMPLES: &str = "\
The key pair is that of ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET; without \
them one is made and printed. Official SDKs and command lines work against it: set their endpoint to \
the printed address and their protocol to HTTP.

Examples:
  gatewright mock-cloud --listen 127.0.0.1:8090 --state /tmp/cloud.json --port-shift 8000
  gatewright run --cloud-endpoint http://127.0.0.1:8090";

/// Run a mock Alibaba Cloud that keeps state and forwards traffic
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MockCloudArgs {
    /// Where the API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// File that keeps what the cloud holds [default: kept in memory]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// The one region of the cloud
    #[arg(long, value_name = "ID", default_value = "cn-hangzhou")]
    region: String,

    /// First address of the load balancers' network; its first two numbers count
    #[arg(long, value_name = "ADDRESS", default_value = "127.90.0.0")]
    network: Ipv4Addr,

    /// Added to the ports of listeners, where ports below 1024 cannot be bound
    #[arg(long, value_name = "N", default_value_t = 0)]
    port_shift: u16,

    /// Where the addresses of backends are dialled; on a laptop 10.a.b.c is at 127.a.b.c
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = PodAddresses::Loopback)]
    pod_addresses: PodAddresses,
}

pub(super) async fn run(args: &MockCloudArgs, tasks: Tasks) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::catch()?;
    let (key, made) = match credentials(|name| std::env::var(name).ok())? {
        Some(held) => {
            let id = held.access_key_id.expose().clone();
            (
                AccessKey {
                    id,
                    secret: held.access_key_secret.expose().clone(),
                },
                false,
            )
        }
        None => (made_key()?, true),
    };
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("listening at {}", args.listen))?;
    let address = listener
        .local_addr()
        .context("reading the listener's address")?;
    let cloud = MockCloud::start(Options {
        storage: args.state.clone().map_or(Storage::Memory, Storage::File),
        clock: Clock::system(),
        random: Random::system(),
        tasks: tasks.clone(),
        region: args.region.clone(),
        access_keys: vec![key.clone()],
        data_plane: DataPlane::Sockets {
            network: args.network,
            port_shift: args.port_shift,
            addresses: AddressMap::from(args.pod_addresses),
        },
    })
    .await
    .context("starting the mock cloud")?;
    let [id, secret, _] = CREDENTIALS;
    Output.line(format_args!(
        "mock cloud at http://{address}, region {}",
        args.region
    ))?;
    if made {
        Output.line(format_args!("export {}={}", id.name, key.id))?;
        Output.line(format_args!("export {}={}", secret.name, key.secret))?;
    } else {
        Output.line(format_args!(
            "the key pair is that of {} in the environment",
            id.name
        ))?;
    }
    tokio::select! {
        served = cloud.serve(listener) => served.context("serving the mock cloud")?,
        signal = signals.next() => tracing::info!(signal, "stopping"),
    }
    super::end(&tasks).await
}

/// A key pair of this process's own, in the form of the real ones.
fn made_key() -> anyhow::Result<AccessKey> {
    let mut bytes = [0; 48];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow!("making a key pair"))?;
    let text = URL_SAFE_NO_PAD.encode(bytes);
    Ok(AccessKey {
        id: format!("LTAI{}", &text[..12]),
        secret: text[12..].to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_new_each_time() {
        let (one, other) = (made_key().unwrap(), made_key().unwrap());
        assert!(one.id.starts_with("LTAI") && one.id.len() == 16 && one.secret.len() == 52);
        assert_ne!(one.secret, other.secret);
    }
}
