use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use gatewright_seams::{Clock, Tasks};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{Error, GatewayId, Store, identity};

mod grpc;
mod refusals;
mod tls;

pub use tls::server_tls;

/// Time for a TLS handshake; a peer that is slower is no proxy of ours.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// HTTP/2 pings, so that a proxy whose node is gone is noticed; Envoy's own documentation has the
/// same 30 s for the other direction.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(10);

/// A proxy that reconnects sends all its names and versions in one request: 0.5 MB for 10,000
/// secrets. The windows let it pass without waiting for updates in between.
const WINDOW_BYTES: u32 = 1 << 20;

/// The TLS setup of the server, replaceable while it runs: a new connection gets the newest.
#[derive(Clone, Debug)]
pub struct TlsSource(Arc<RwLock<Arc<rustls::ServerConfig>>>);

impl TlsSource {
    /// Starts with `config`, best made by [`server_tls`].
    pub fn new(config: Arc<rustls::ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// Uses `config` from the next connection on. Connections that are open stay.
    pub fn replace(&self, config: Arc<rustls::ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn current(&self) -> Arc<rustls::ServerConfig> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Says which resources a proxy gets: from its verified gateway and its Pod's name.
type Groups = Arc<dyn Fn(&GatewayId, &str) -> GatewayId + Send + Sync>;

/// The delta ADS server. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    store: Store,
    tls: TlsSource,
    identify: fn(&CertificateDer<'_>) -> Option<GatewayId>,
    groups: Groups,
    tasks: Tasks,
    clock: Clock,
    refusals: refusals::Refusals,
}

impl Server {
    /// A server that tells gateways apart by [`identity::gateway_of`].
    pub fn new(store: Store, tls: TlsSource, tasks: Tasks, clock: Clock) -> Self {
        let refusals = refusals::Refusals::new(clock);
        Self {
            store,
            tls,
            identify: identity::gateway_of,
            groups: Arc::new(|gateway, _| gateway.clone()),
            tasks,
            clock,
            refusals,
        }
    }

    /// Uses `identify` to tell from a verified client certificate whose proxy it is.
    pub fn with_identify(mut self, identify: fn(&CertificateDer<'_>) -> Option<GatewayId>) -> Self {
        self.identify = identify;
        self
    }

    /// Gives the proxy `pod` of a gateway the resources of the group that `groups` names, instead of
    /// those of the gateway. For proxies that share a machine and must bind different addresses.
    pub fn with_groups(
        mut self,
        groups: impl Fn(&GatewayId, &str) -> GatewayId + Send + Sync + 'static,
    ) -> Self {
        self.groups = Arc::new(groups);
        self
    }

    /// Accepts connections until the tasks are cancelled. Returns the address that is listened on.
    ///
    /// # Errors
    /// [`Error::Listener`] when the socket cannot be used.
    pub fn serve(&self, listener: TcpListener) -> Result<SocketAddr, Error> {
        let address = listener.local_addr().map_err(Error::Listener)?;
        let server = self.clone();
        self.tasks.spawn("xds-accept", async move {
            loop {
                match listener.accept().await {
                    Ok((socket, peer)) => {
                        // A push is one small write; waiting to fill a packet would only delay it.
                        // Failure costs nothing but that delay.
                        drop(socket.set_nodelay(true));
                        server.serve_connection(socket, peer);
                    }
                    // Out of file descriptors, mostly: trying at once would spin.
                    Err(error) => {
                        tracing::warn!(%error, "accepting a proxy's connection failed");
                        server.clock.sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(address)
    }

    /// Serves one connection, TLS handshake included; `peer` is for the log. The connection may be
    /// a socket or a pipe in memory.
    pub fn serve_connection<C>(&self, connection: C, peer: SocketAddr)
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let server = self.clone();
        self.tasks.spawn("xds-connection", async move {
            server.connection(connection, peer).await;
        });
    }

    async fn connection<C>(self, connection: C, peer: SocketAddr)
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = TlsAcceptor::from(self.tls.current()).accept(connection);
        let stream = match self.clock.timeout(HANDSHAKE_LIMIT, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.refusals.log(peer, &error.to_string()),
            Err(_) => return self.refusals.log(peer, "no TLS handshake in time"),
        };
        let certificate = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        let Some(gateway) = certificate.and_then(self.identify) else {
            return self
                .refusals
                .log(peer, "client certificate names no gateway");
        };
        tracing::debug!(%peer, %gateway, "proxy connected");
        let service = grpc::Ads {
            store: self.store.clone(),
            gateway: gateway.clone(),
            groups: self.groups.clone(),
        };
        let served = http2::Builder::new(TaskExecutor(self.tasks.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_LIMIT)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(2 * WINDOW_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        // A proxy that goes away is an everyday event; it comes back by itself.
        tracing::debug!(%peer, %gateway, error = ?served.err(), "proxy disconnected");
    }
}

/// Runs hyper's tasks among ours, so that they end with the server.
#[derive(Clone)]
struct TaskExecutor(Tasks);

impl<F> hyper::rt::Executor<F> for TaskExecutor
where
    F: Future + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("xds-http2", async move {
            // The output of hyper's tasks carries nothing; errors come from the connection.
            drop(future.await);
        });
    }
}
