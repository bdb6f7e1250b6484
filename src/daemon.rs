//! The daemon's parts and how they are connected. What it runs against is not its business.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gatewright_xds::{Server, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::certificate::{self, Accounts, Challenges, IssuerController, Unwritten};
use crate::gateway;
use crate::identity::{Identity, IdentityError};
use crate::leader::{Candidate, Election, Standing};
use crate::load_balancer;
use crate::outside::Outside;
use crate::routing::{Publisher, group_of};

/// What is the same for everything the daemon does.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the daemon's own Secrets are, and those of ClusterIssuers.
    pub namespace: String,
    /// Image of the proxies, with tag.
    pub proxy_image: String,
    /// Where the proxies reach the discovery service: host and port.
    pub xds_address: (String, u16),
    /// Where the proxies reach the answers to challenges, of this replica if there are several: host
    /// and port.
    pub challenge_address: (String, u16),
    /// How often the cloud is read although nothing changed.
    pub audit_interval: Duration,
    /// Whether Certificates are acted on; if not, another cert-manager writes the Secrets.
    pub manage_certificates: bool,
    /// How one of several replicas is chosen to write; none when this is the only one.
    pub election: Option<Election>,
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error("listening for proxies at {0}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("preparing the discovery service: {0}")]
    Discovery(#[from] gatewright_xds::Error),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The sockets of the daemon. A simulation has none: its model proxies read the store.
pub struct Sockets {
    pub xds: TcpListener,
    pub challenges: TcpListener,
}

/// A started daemon. It runs in the tasks of its [`Outside`] until they are cancelled; there is
/// nothing to shut down, because it may be killed at any instant.
#[derive(Clone)]
pub struct Daemon {
    /// What the proxies are told.
    pub store: Store,
    /// The answers to challenges in flight.
    pub challenges: Challenges,
}

impl Daemon {
    /// Starts all parts.
    ///
    /// # Errors
    /// The API server cannot be reached, or a socket cannot be used.
    pub async fn start(
        outside: &Outside,
        config: &Config,
        sockets: Option<Sockets>,
    ) -> Result<Self, StartError> {
        let identity = Identity::load_or_create(outside, &config.namespace).await?;
        let store = Store::new(outside.clock);
        let challenges = Challenges::default();
        let tasks = &outside.tasks;
        if let Some(sockets) = sockets {
            let pods = outside.network.pods;
            let server = Server::new(
                store.clone(),
                identity.server_tls(outside)?,
                tasks.clone(),
                outside.clock,
            )
            .with_groups(move |gateway, pod| group_of(pods, gateway, pod));
            server.serve(sockets.xds)?;
            let serving = challenges.clone().serve(sockets.challenges, tasks.clone());
            tasks.spawn("challenges", serving);
        }
        let writers = Writers {
            config: config.clone(),
            identity,
            challenges: challenges.clone(),
            unwritten: Unwritten::default(),
        };
        let standing = if let Some(election) = config.election.clone() {
            let (namespace, answers) = (config.namespace.clone(), config.challenge_address.clone());
            let (candidate, standing) =
                Candidate::new(outside.clone(), namespace, election, answers);
            let writing = candidate.run(move |outside| writers.start(outside));
            tasks.spawn("leader", writing);
            standing
        } else {
            writers.start(outside);
            let standing = Standing {
                leads: true,
                answers: config.challenge_address.clone(),
            };
            watch::channel(standing).1
        };
        let publisher = Publisher::new(outside.clone(), store.clone(), standing);
        tasks.spawn("publisher", publisher.run());
        Ok(Self { store, challenges })
    }
}

/// What writes to Kubernetes, to the cloud and to certificate authorities.
struct Writers {
    config: Config,
    identity: Identity,
    challenges: Challenges,
    unwritten: Unwritten,
}

impl Writers {
    /// Starts them all in the tasks of `outside`.
    fn start(&self, outside: &Outside) {
        let (config, tasks) = (&self.config, &outside.tasks);
        let (xds_host, xds_port) = config.xds_address.clone();
        let settings = gateway::Settings {
            proxy_image: config.proxy_image.clone(),
            xds_host,
            xds_port,
        };
        let gateways = gateway::Controller::new(outside.clone(), settings, self.identity.clone());
        tasks.spawn("gateways", gateways.run());
        if let Some(provider) = outside.load_balancers.clone() {
            let balancers =
                load_balancer::Controller::new(outside.clone(), provider, config.audit_interval);
            tasks.spawn("load-balancers", balancers.run());
        }
        if config.manage_certificates {
            let accounts = Accounts::new(outside.clone(), config.namespace.clone());
            let issuers = IssuerController::new(outside.clone(), accounts.clone());
            tasks.spawn("issuers", issuers.run());
            let certificates = certificate::Controller::new(
                outside.clone(),
                accounts,
                self.challenges.clone(),
                self.unwritten.clone(),
            );
            tasks.spawn("certificates", certificates.run());
        }
    }
}
