use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use crate::access::Access;
use crate::dispatch;
use crate::error::Error;
use crate::service::KubeService;
use crate::shared::Shared;
use crate::status::ApiError;

/// How long a client may take to finish its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait after an accept failed, for example for want of file descriptors.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Serves HTTPS until the tasks of the server are cancelled.
pub(crate) async fn serve(
    shared: &Shared,
    service: KubeService,
    listener: TcpListener,
    access: Access,
) -> Result<(), Error> {
    let acceptor = TlsAcceptor::from(access.tls()?);
    let access = std::sync::Arc::new(access);
    let tasks = shared.tasks.clone();
    loop {
        let Ok(accepted) = tasks.until_cancelled(listener.accept()).await else {
            return Ok(());
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection to the local API server failed");
                let pause = shared.clock.sleep(AFTER_FAILURE);
                if tasks.until_cancelled(pause).await.is_err() {
                    return Ok(());
                }
                continue;
            }
        };
        let (acceptor, service, access) = (acceptor.clone(), service.clone(), access.clone());
        let clock = shared.clock;
        tasks.spawn("local kube connection", async move {
            if let Ok(Ok(stream)) = clock.timeout(HANDSHAKE, handshake(acceptor, stream)).await {
                connection(stream, service, &access).await;
            }
        });
    }
}

type Stream = tokio_rustls::server::TlsStream<TcpStream>;

async fn handshake(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<Stream> {
    // Watches send small pieces that must not wait for more.
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

async fn connection(stream: Stream, service: KubeService, access: &std::sync::Arc<Access>) {
    let access = access.clone();
    let handler =
        hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (access, mut service) = (access.clone(), service.clone());
            async move {
                let header = request.headers().get(AUTHORIZATION);
                let header = header
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default();
                if !access.allows(header) {
                    let mut reply = dispatch::refuse(&ApiError::unauthorized());
                    let scheme = http::HeaderValue::from_static("Bearer");
                    reply.headers_mut().insert(WWW_AUTHENTICATE, scheme);
                    return Ok(reply);
                }
                service.call(request).await
            }
        });
    let result = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), handler)
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the local API server ended");
    }
}

/// A kubeconfig, as JSON, which is YAML.
pub(crate) fn kubeconfig(address: SocketAddr, access: &Access) -> String {
    let ca = base64::engine::general_purpose::STANDARD.encode(access.ca_pem());
    let token = access.token();
    let host = match address {
        SocketAddr::V4(_) => address.ip().to_string(),
        SocketAddr::V6(_) => format!("[{}]", address.ip()),
    };
    let port = address.port();
    let quoted = |text: &str| json!(text).to_string();
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: gatewright\n  cluster:\n    server: https://{host}:{port}\n    \
         certificate-authority-data: {ca}\n\
         users:\n\
         - name: gatewright\n  user:\n    token: {}\n\
         contexts:\n\
         - name: gatewright\n  context:\n    cluster: gatewright\n    user: gatewright\n    \
         namespace: default\n\
         current-context: gatewright\n",
        quoted(token)
    )
}
