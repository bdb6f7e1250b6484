//! `gatewright run`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use gatewright_aliyun::{Clb, ClbOptions, Client, ClientOptions, Credentials, https_transport};
use gatewright_core::{ClusterName, LoadBalancers};
use gatewright_seams::{Clock, Random, Tasks};
use http::Uri;
use tokio::net::TcpListener;

use super::cluster::ClusterArgs;
use super::signals::Signals;
use crate::admin::Admin;
use crate::daemon::{Daemon, Sockets};
use crate::kubernetes::Events;
use crate::outside::{Outside, Transport};
use crate::probe::NetworkProbe;
use crate::settings::{Effective, Settings, credentials};
use crate::transport;

const EXAMPLES: &str = "\
In a Pod the API server is that of the cluster; elsewhere it is that of the kubeconfig. The access \
key comes from ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for a temporary \
one, ALIBABA_CLOUD_SECURITY_TOKEN. Without it load balancers are off.

Examples:
  gatewright run --cluster-name shop --region cn-shanghai
  gatewright run --kubeconfig ~/.kube/config --cloud-endpoint http://127.0.0.1:8090 --log debug";

/// Run the daemon against a cluster and the cloud
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(flatten)]
    pub(super) settings: Settings,
}

pub(super) async fn run(args: &RunArgs, tasks: Tasks) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::catch()?;
    let settings = &args.settings;
    let key = credentials(|name| std::env::var(name).ok())?;
    let effective = Effective::of(settings, key.as_ref());
    let shown: Vec<_> = effective
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        settings = shown.join(" "),
        "starting"
    );
    let (clock, random) = (Clock::system(), Random::system());
    let kube = args.cluster.connect_daemon(clock).await?;
    let cloud = Cloud::of(settings);
    if key.is_none() {
        tracing::warn!("no access key in the environment: load balancers are off");
    }
    let load_balancers = key
        .map(|key| cloud.open(key, clock, random.clone(), &tasks))
        .transpose()?;
    let outside = Outside {
        clock,
        random,
        tasks: tasks.clone(),
        events: Events::new(kube.clone(), clock),
        kube,
        load_balancers,
        acme: acme_transport(settings.acme_root.as_deref(), &tasks)?,
        probe: Arc::new(NetworkProbe::new(clock).context("preparing TLS")?),
        network: settings.network(),
    };
    let admin = listen(settings.admin_listen, "the admin page").await?;
    let sockets = Sockets {
        xds: listen(settings.xds_listen, "proxies").await?,
        challenges: listen(settings.challenge_listen, "challenges").await?,
    };
    tasks.spawn(
        "admin",
        Admin::new(&effective, tasks.clone()).serve(admin, clock),
    );
    let config = settings.config();
    let starting = Daemon::start(&outside, &config, Some(sockets));
    tokio::select! {
        started = starting => drop(started.context("starting")?),
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            return Ok(ExitCode::SUCCESS);
        }
    }
    tracing::info!("running");
    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping"),
        _ = tasks.cancelled() => {}
    }
    super::end(&tasks).await
}

async fn listen(address: SocketAddr, whom: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listening for {whom} at {address}"))
}

fn acme_transport(root: Option<&Path>, tasks: &Tasks) -> anyhow::Result<Transport> {
    let extra = match root {
        None => Vec::new(),
        Some(file) => {
            let reading = || format!("reading --acme-root {}", file.display());
            let pem = std::fs::read(file).with_context(reading)?;
            transport::roots_from_pem(&pem).with_context(reading)?
        }
    };
    transport::https(tasks, &extra).context("preparing HTTPS to ACME servers")
}

/// Where the load balancers of a cluster are.
pub(super) struct Cloud<'a> {
    pub(super) region: &'a str,
    pub(super) endpoint: Option<&'a Uri>,
    pub(super) cluster: &'a str,
}

impl<'a> Cloud<'a> {
    fn of(settings: &'a Settings) -> Self {
        Self {
            region: &settings.region,
            endpoint: settings.cloud_endpoint.as_ref(),
            cluster: &settings.cluster_name,
        }
    }

    /// # Errors
    /// There is no certificate to trust, or the endpoint is no URL.
    pub(super) fn open(
        &self,
        key: Credentials,
        clock: Clock,
        random: Random,
        tasks: &Tasks,
    ) -> anyhow::Result<Arc<dyn LoadBalancers>> {
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => product_endpoint(self.region)
                .parse()
                .with_context(|| format!("region {:?} makes no host name", self.region))?,
        };
        let options = ClientOptions::new(key, self.region, endpoint);
        let transport = https_transport(tasks, &[]).context("preparing HTTPS to the cloud")?;
        let client = Client::new(options, transport, clock, random);
        Ok(Arc::new(Clb::new(
            client,
            ClbOptions::new(ClusterName::new(self.cluster)),
        )))
    }
}

/// The public endpoint of the classic load balancer. Old regions share one host; a region that has
/// no host of its own there is named by the rule that the SDKs follow for all others.
fn product_endpoint(region: &str) -> String {
    const CENTRAL: &[&str] = &[
        "ap-southeast-1",
        "cn-beijing",
        "cn-hangzhou",
        "cn-hongkong",
        "cn-qingdao",
        "cn-shanghai",
        "cn-shenzhen",
        "us-east-1",
        "us-west-1",
    ];
    if CENTRAL.contains(&region) {
        "https://slb.aliyuncs.com".to_owned()
    } else {
        format!("https://slb.{region}.aliyuncs.com")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_follows_the_region() {
        assert_eq!(product_endpoint("cn-hangzhou"), "https://slb.aliyuncs.com");
        assert_eq!(
            product_endpoint("cn-zhangjiakou"),
            "https://slb.cn-zhangjiakou.aliyuncs.com"
        );
    }

    #[test]
    fn a_root_file_that_cannot_be_used_is_named() {
        let tasks = Tasks::new();
        let error = acme_transport(Some(Path::new("/no/such.pem")), &tasks).unwrap_err();
        assert!(format!("{error:#}").contains("/no/such.pem"), "{error:#}");
        let empty = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = acme_transport(Some(&empty), &tasks).unwrap_err();
        assert!(
            format!("{error:#}").contains("none in the file"),
            "{error:#}"
        );
    }
}
