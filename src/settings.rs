//! Every setting of the daemon: name, default, meaning, and where it is read from.
//!
//! What differs by process is a flag. Credentials alone come from the environment, so that they
//! stand in no process list and no shell history. `docs/reference/configuration.md` is made from
//! this module.

mod address;
mod credentials;
mod effective;
mod span;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gatewright_seams::AddressMap;
use http::Uri;

use crate::daemon::Config;
use crate::leader::Election;
use crate::outside::Network;

pub use address::{HostPort, HostPortError};
pub use credentials::{CREDENTIALS, CredentialsError, EnvironmentSetting, credentials};
pub use effective::Effective;
pub use span::{Span, SpanError};

const XDS_PORT: u16 = 15012;
const CHALLENGE_PORT: u16 = 8089;
const ADMIN_PORT: u16 = 8088;
/// The image of the proxies that goes with this version.
pub const DEFAULT_PROXY_IMAGE: &str = concat!("gatewright/proxy:", env!("CARGO_PKG_VERSION"));

/// The settings of a daemon in a cluster (`gatewright run`).
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Namespace of the daemon's own Secrets, and of those that ClusterIssuers refer to
    #[arg(
        long,
        help_heading = "Cluster",
        value_name = "NAME",
        default_value = "gatewright-system"
    )]
    pub namespace: String,

    /// Name of this cluster. Load balancers are tagged with it; two clusters in one account and
    /// region need different names
    #[arg(
        long,
        help_heading = "Cluster",
        value_name = "NAME",
        default_value = "default"
    )]
    pub cluster_name: String,

    /// Name of this replica, where several run: its Pod's. One of them is chosen by a Lease in
    /// --namespace to write; the others serve proxies and stand by. Needs --challenge-address, of
    /// this replica [default: the only one]
    #[arg(
        long,
        help_heading = "Cluster",
        value_name = "NAME",
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        requires = "challenge_address"
    )]
    pub replica: Option<String>,

    /// Region of the load balancers
    #[arg(
        long,
        help_heading = "Alibaba Cloud",
        value_name = "ID",
        default_value = "cn-hangzhou"
    )]
    pub region: String,

    /// URL of the load balancer API, for a mock cloud or an endpoint inside a VPC [default: the
    /// product's own in the region]
    #[arg(long, help_heading = "Alibaba Cloud", value_name = "URL")]
    pub cloud_endpoint: Option<Uri>,

    /// How often the cloud is read although nothing changed, to find what others changed there
    #[arg(
        long,
        help_heading = "Alibaba Cloud",
        value_name = "DURATION",
        default_value = "30m"
    )]
    pub audit_interval: Span,

    /// Image of the gateways' proxies
    #[arg(long, help_heading = "Proxies", value_name = "IMAGE", default_value = DEFAULT_PROXY_IMAGE)]
    pub proxy_image: String,

    /// Where the discovery service listens for proxies
    #[arg(
        long,
        help_heading = "Proxies",
        value_name = "ADDRESS",
        default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), XDS_PORT)
    )]
    pub xds_listen: SocketAddr,

    /// Where the proxies reach the discovery service [default: gatewright.NAMESPACE.svc:15012]
    #[arg(long, help_heading = "Proxies", value_name = "HOST:PORT")]
    pub xds_address: Option<HostPort>,

    /// Whether Gatewright acts on Certificates and Issuers
    #[arg(long, help_heading = "Certificates", value_name = "WHAT", value_enum, default_value_t = Certificates::Manage)]
    pub certificates: Certificates,

    /// PEM file with root certificates of ACME servers, trusted beside those of the system
    #[arg(long, help_heading = "Certificates", value_name = "FILE")]
    pub acme_root: Option<PathBuf>,

    /// Where the answers to HTTP-01 challenges are served to the proxies
    #[arg(
        long,
        help_heading = "Certificates",
        value_name = "ADDRESS",
        default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), CHALLENGE_PORT)
    )]
    pub challenge_listen: SocketAddr,

    /// Where the proxies reach the answers to challenges; with --replica, those of this replica
    /// [default: gatewright.NAMESPACE.svc:8089]
    #[arg(long, help_heading = "Certificates", value_name = "HOST:PORT")]
    pub challenge_address: Option<HostPort>,

    /// Where the admin page listens: /healthz, and /settings with the effective configuration
    #[arg(
        long,
        help_heading = "Process",
        value_name = "ADDRESS",
        default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT)
    )]
    pub admin_listen: SocketAddr,

    /// Where Pod addresses are dialled; `loopback` is for a laptop, where 10.a.b.c is at 127.a.b.c
    #[arg(long, hide = true, value_name = "WHERE", value_enum, default_value_t = PodAddresses::Kubernetes)]
    pub pod_addresses: PodAddresses,

    /// Added to the ports of load balancers, where ports below 1024 cannot be bound
    #[arg(long, hide = true, value_name = "N", default_value_t = 0)]
    pub load_balancer_port_shift: u16,
}

/// Who writes the Secrets of Certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Certificates {
    /// It gets and renews them
    Manage,
    /// Another cert-manager does; Gatewright only serves the Secrets it writes
    Consume,
}

/// Where Pod addresses are dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PodAddresses {
    /// Where Kubernetes says
    Kubernetes,
    /// On the loopback network of this machine
    Loopback,
}

/// How the process logs, whatever it does.
#[derive(Clone, Debug, Default, Args)]
pub struct LogSettings {
    /// What is logged to standard error: a level, or levels by module such as
    /// `info,gatewright::routing=debug` [default: info for what runs on, warn for the rest]
    #[arg(
        long,
        global = true,
        help_heading = "Logging",
        value_name = "FILTER",
        value_parser = log_filter
    )]
    pub log: Option<String>,

    /// How a line of the log looks
    #[arg(
        long,
        global = true,
        help_heading = "Logging",
        value_name = "FORMAT",
        value_enum,
        default_value_t = LogFormat::Text
    )]
    pub log_format: LogFormat,
}

/// Takes a filter that the log understands, as it is.
fn log_filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    tracing_subscriber::EnvFilter::builder()
        .parse(text)
        .map(|_| text.to_owned())
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

impl From<PodAddresses> for AddressMap {
    fn from(addresses: PodAddresses) -> Self {
        match addresses {
            PodAddresses::Kubernetes => Self::Identity,
            PodAddresses::Loopback => Self::Loopback,
        }
    }
}

impl Settings {
    /// What the parts of the daemon are told.
    pub fn config(&self) -> Config {
        let pair = |address: HostPort| (address.host, address.port);
        Config {
            namespace: self.namespace.clone(),
            proxy_image: self.proxy_image.clone(),
            xds_address: pair(self.xds_address()),
            challenge_address: pair(self.challenge_address()),
            audit_interval: self.audit_interval.get(),
            manage_certificates: self.certificates == Certificates::Manage,
            election: self.replica.clone().map(Election::new),
        }
    }

    /// Where things are dialled.
    pub fn network(&self) -> Network {
        Network {
            pods: self.pod_addresses.into(),
            port_shift: self.load_balancer_port_shift,
        }
    }

    /// Where the proxies reach the discovery service.
    pub fn xds_address(&self) -> HostPort {
        self.xds_address
            .clone()
            .unwrap_or_else(|| self.service(XDS_PORT))
    }

    /// Where the proxies reach the answers to challenges.
    pub fn challenge_address(&self) -> HostPort {
        self.challenge_address
            .clone()
            .unwrap_or_else(|| self.service(CHALLENGE_PORT))
    }

    /// A port of the daemon's own Service.
    fn service(&self, port: u16) -> HostPort {
        HostPort {
            host: format!("gatewright.{}.svc", self.namespace),
            port,
        }
    }
}

#[cfg(test)]
mod tests;
