//! One Envoy process: started, watched, drained and stopped.
//!
//! This is what runs in a gateway pod (`gatewright proxy`) and what the local runner does for a Pod
//! on a laptop. Envoy ends at once on SIGTERM, so the drain is ours: ask it to finish its
//! connections, wait until it has none, and only then end it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use gatewright_seams::Clock;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long one question to Envoy's admin interface may take.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the drain looks whether connections are left.
const DRAIN_POLL: Duration = Duration::from_millis(100);
/// How long a proxy that leaves stays although it has no connection, unless its drain time is
/// shorter: load balancers learn of it late, and until then send it new connections.
const LEAST_STAY: Duration = Duration::from_secs(30);

/// What an Envoy process is started with.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// The Envoy program.
    pub envoy: PathBuf,
    /// Its bootstrap file.
    pub config: PathBuf,
    /// `--service-node`: `NAMESPACE/GATEWAY/POD`, which the discovery service checks.
    pub node: String,
    /// `--service-cluster`: the gateway's workload.
    pub cluster: String,
    /// Where the bootstrap puts the admin interface.
    pub admin: SocketAddr,
    /// Where Envoy's own log goes; `None` leaves it on standard error.
    pub log: Option<PathBuf>,
    /// How long open connections get to finish.
    pub drain: Duration,
    /// Worker threads.
    pub concurrency: u32,
}

/// Why Envoy could not be started or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    #[error("starting envoy at {path}")]
    Start { path: PathBuf, source: io::Error },
    #[error("asking the admin interface of envoy at {address}: {cause}")]
    Admin { address: SocketAddr, cause: String },
    #[error("waiting for envoy")]
    Wait(#[source] io::Error),
}

/// A running Envoy. Dropping it kills the process.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    options: ProxyOptions,
}

impl Proxy {
    /// Starts Envoy in a process group of its own, so that a Ctrl-C meant for us does not cut its
    /// connections before they are drained.
    ///
    /// # Errors
    /// The program is missing or cannot be executed.
    pub fn start(options: ProxyOptions) -> Result<Self, ProxyError> {
        let drain = options.drain.as_secs().max(1).to_string();
        let mut command = Command::new(&options.envoy);
        command
            .arg("--config-path")
            .arg(&options.config)
            .args([
                "--service-node",
                &options.node,
                "--service-cluster",
                &options.cluster,
            ])
            .args(["--concurrency", &options.concurrency.to_string()])
            // Hot restart keeps a shared memory file outside our directories, and we replace pods.
            .arg("--disable-hot-restart")
            .args(["--drain-time-s", &drain, "--drain-strategy", "immediate"])
            .args(["--log-level", "warning"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(log) = &options.log {
            command.arg("--log-path").arg(log).stderr(Stdio::null());
        }
        let child = command.spawn().map_err(|source| ProxyError::Start {
            path: options.envoy.clone(),
            source,
        })?;
        Ok(Self { child, options })
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends when Envoy ends.
    ///
    /// # Errors
    /// The operating system refused to tell.
    pub async fn exited(&mut self) -> Result<ExitStatus, ProxyError> {
        self.child.wait().await.map_err(ProxyError::Wait)
    }

    /// Lets open connections finish, then stops Envoy; kills it when `limit` has passed.
    ///
    /// New connections are still accepted meanwhile: the load balancers may need a moment to learn
    /// that this proxy leaves, and refusing would drop their requests.
    pub async fn drain_and_stop(mut self, clock: &Clock, limit: Duration) {
        let admin = self.options.admin;
        let drained = clock.timeout(limit, async {
            admin_post(clock, admin, "/drain_listeners?graceful&skip_exit").await?;
            clock.sleep(self.options.drain.min(LEAST_STAY)).await;
            // A client that holds a kept-alive connection learns of the drain with its next answer.
            let deadline = clock.elapsed() + self.options.drain.saturating_sub(LEAST_STAY);
            while clock.elapsed() < deadline && active_connections(clock, admin).await? > 0 {
                clock.sleep(DRAIN_POLL).await;
            }
            Ok::<_, ProxyError>(())
        });
        match drained.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(node = self.options.node, %error, "drain was cut short");
            }
            Err(_) => tracing::warn!(node = self.options.node, "drain did not end in time"),
        }
        self.signal(Signal::SIGTERM);
        if clock
            .timeout(Duration::from_secs(5), self.child.wait())
            .await
            .is_err()
        {
            self.signal(Signal::SIGKILL);
        }
        // Reaps the process; after SIGKILL this cannot take long, and there is nobody to tell.
        drop(
            clock
                .timeout(Duration::from_secs(5), self.child.wait())
                .await,
        );
    }

    /// Stops Envoy without a drain.
    pub async fn stop(mut self, clock: &Clock) {
        self.signal(Signal::SIGKILL);
        drop(
            clock
                .timeout(Duration::from_secs(5), self.child.wait())
                .await,
        );
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        // A process that has ended meanwhile is what we want.
        id.map(Pid::from_raw).and_then(|pid| kill(pid, signal).ok());
    }
}

/// Open downstream connections of the gateway's listeners, the admin interface's own not counted.
async fn active_connections(clock: &Clock, admin: SocketAddr) -> Result<u64, ProxyError> {
    let body = admin_get(
        clock,
        admin,
        "/stats?filter=^http\\.[^a].*downstream_cx_active$",
    )
    .await?;
    Ok(String::from_utf8_lossy(&body)
        .lines()
        .filter(|line| !line.starts_with("http.admin.") && !line.starts_with("http.health."))
        .filter_map(|line| line.rsplit(": ").next()?.trim().parse::<u64>().ok())
        .sum())
}

/// `GET path` on the admin interface at `admin`.
///
/// # Errors
/// Not reachable, too slow, or not a 200.
pub async fn admin_get(clock: &Clock, admin: SocketAddr, path: &str) -> Result<Bytes, ProxyError> {
    admin_call(clock, admin, http::Method::GET, path).await
}

/// `POST path` on the admin interface at `admin`.
///
/// # Errors
/// Not reachable, too slow, or not a 200.
pub async fn admin_post(clock: &Clock, admin: SocketAddr, path: &str) -> Result<Bytes, ProxyError> {
    admin_call(clock, admin, http::Method::POST, path).await
}

async fn admin_call(
    clock: &Clock,
    address: SocketAddr,
    method: http::Method,
    path: &str,
) -> Result<Bytes, ProxyError> {
    let failed = |cause: String| ProxyError::Admin { address, cause };
    let call = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|e| failed(e.to_string()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
                .await
                .map_err(|e| failed(e.to_string()))?;
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "admin")
            .header(http::header::CONNECTION, "close")
            .body(Empty::new())
            .map_err(|e| failed(e.to_string()))?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|e| failed(e.to_string()))?;
            let status = response.status();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|e| failed(e.to_string()))?
                .to_bytes();
            if status.is_success() {
                Ok(body)
            } else {
                Err(failed(format!("status {status}")))
            }
        };
        let (answer, _closed) = futures::future::join(exchange, connection).await;
        answer
    };
    clock
        .timeout(ADMIN_TIMEOUT, call)
        .await
        .map_err(|_| failed("no answer in 2 s".into()))?
}
