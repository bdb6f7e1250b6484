//! The sample backend: answers every request with what it saw of it.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use gatewright_seams::Tasks;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

/// Serves HTTP/1.1 and HTTP/2 at `address` until the tasks are cancelled.
///
/// # Errors
/// The address cannot be bound.
pub(super) async fn serve(pod: String, address: SocketAddr, tasks: &Tasks) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let connections = tasks.clone();
    tasks.spawn("sample-backend", async move {
        loop {
            // An accept error is about one connection (or a full file table); the next may work.
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let pod = pod.clone();
            connections.spawn("sample-backend-connection", async move {
                let service = service_fn(move |request| {
                    let pod = pod.clone();
                    async move { Ok::<_, Infallible>(answer(&pod, &request)) }
                });
                let served = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "sample backend connection ended");
                }
            });
        }
    });
    Ok(())
}

fn answer(pod: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let host = request.uri().host().map(str::to_owned).or_else(|| {
        request
            .headers()
            .get(http::header::HOST)
            .and_then(|h| h.to_str().ok())
            .map(str::to_owned)
    });
    let body = format!(
        "hello from {pod}\n{} {} for {}\n",
        request.method(),
        request.uri().path(),
        host.as_deref().unwrap_or("no host"),
    );
    Response::new(Full::new(Bytes::from(body)))
}
