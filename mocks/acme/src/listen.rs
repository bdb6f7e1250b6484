use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatewright_seams::{Clock, Tasks};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring};
use tower::{BoxError, Service as _};

use crate::error::Error;
use crate::server::Inner;
use crate::service::AcmeService;

const HANDSHAKE: Duration = Duration::from_secs(10);
/// A finalize request for a hundred names has about 20 KiB.
const MAX_REQUEST: usize = 256 * 1024;
/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs hyper's own futures in the group that the mock's tasks belong to.
#[derive(Clone)]
struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn("acme stream", async move {
            future.await;
        });
    }
}

/// See [`crate::MockAcme::serve`].
pub(crate) async fn serve(
    inner: Arc<Inner>,
    service: AcmeService,
    listener: TcpListener,
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(|source| Error::Listen {
        action: "reading the listener's address",
        source,
    })?;
    let ip = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let host = inner
        .base_url
        .parse::<Uri>()
        .ok()
        .and_then(|uri| uri.host().map(str::to_owned));
    let host = host.unwrap_or_else(|| ip.to_string());
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let (chain, key) = inner
        .authority
        .server_identity(host, ip, inner.clock.now())?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(Error::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (tasks, clock) = (inner.tasks.clone(), inner.clock);
    loop {
        let Ok(accepted) = tasks.until_cancelled(listener.accept()).await else {
            return Ok(());
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // A connection that broke before it was accepted, or no descriptor left: both pass.
                tracing::warn!(%error, "accepting a connection for the acme server");
                clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, service, executor) =
            (acceptor.clone(), service.clone(), Executor(tasks.clone()));
        tasks.spawn("acme connection", async move {
            if let Err(error) = connection(stream, acceptor, service, executor, clock).await {
                tracing::debug!(error, "a connection to the acme server ended");
            }
        });
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    service: AcmeService,
    executor: Executor,
    clock: Clock,
) -> Result<(), BoxError> {
    let stream = clock.timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let handler = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut service = service.clone();
        async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = Limited::new(body, MAX_REQUEST).collect().await else {
                let mut refused = Response::new(Full::new(Bytes::new()));
                *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                return Ok(refused);
            };
            let request = Request::from_parts(parts, body.to_bytes());
            // hyper asks for an error type without a lifetime of its own.
            let response = service.call(request).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(response.map(Full::new))
        }
    });
    auto::Builder::new(executor)
        .serve_connection(TokioIo::new(stream), handler)
        .await
}
