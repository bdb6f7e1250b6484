use std::time::Duration;

use bytes::Bytes;
use gatewright_seams::{Clock, Tasks};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::options::Error;
use crate::service::{BoxError, CloudService};

/// The largest body that is read. Certificates are the largest things that calls carry.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// The pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How many accepts may fail in a row.
const ACCEPT_FAILURES: u32 = 100;

pub(crate) async fn serve(
    service: CloudService,
    listener: TcpListener,
    tasks: &Tasks,
    clock: Clock,
) -> Result<(), Error> {
    let address = listener.local_addr().ok();
    let mut failures = 0;
    loop {
        let Ok(accepted) = tasks.until_cancelled(listener.accept()).await else {
            return Ok(());
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                // Without it small answers wait for acknowledgements; failing costs only time.
                let _ = stream.set_nodelay(true);
                let service = service.clone();
                tasks.spawn("mock cloud connection", async move {
                    let answer = service_fn(move |request| answer(service.clone(), request));
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                    if let Err(error) = served {
                        tracing::debug!(%error, "connection to the mock cloud ended");
                    }
                });
            }
            Err(source) => {
                failures += 1;
                if failures > ACCEPT_FAILURES {
                    return Err(Error::Accept { address, source });
                }
                clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(
    service: CloudService,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, BoxError> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        let mut refusal = Response::new(Full::default());
        *refusal.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(refusal);
    };
    let answer = service
        .oneshot(Request::from_parts(head, body.to_bytes()))
        .await?;
    Ok(answer.map(Full::new))
}
