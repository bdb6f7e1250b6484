//! Requests to the API server come to an end.
//!
//! kube-rs sets no limit to an answer, so that one lost on the way would hold an object's pass for
//! ever; and it sends what was answered with 429, 503 or 504 again by itself, up to fifteen times,
//! where nobody sees it. What to do about a failure is decided in `retry`.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use gatewright_seams::Clock;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::{Body, ClientBuilder};
use tower::{BoxError, Service};

/// For a whole answer; of a watch, for its beginning. The API server's own limit is a minute
/// (`--request-timeout`): nothing comes after it.
const LIMIT: Duration = Duration::from_secs(65);

/// No answer in time. Whether the request had its effect is not known.
#[derive(Debug, thiserror::Error)]
#[error("no answer of the API server in {LIMIT:?}")]
struct TimedOut;

/// A client for the daemon.
///
/// # Errors
/// The configuration cannot be used.
pub fn client(mut config: kube::Config, clock: Clock) -> kube::Result<kube::Client> {
    config.default_retry = false;
    let limit = tower::layer::layer_fn(|service| Limited { service, clock });
    Ok(ClientBuilder::try_from(config)?.with_layer(&limit).build())
}

#[derive(Clone)]
struct Limited<S> {
    service: S,
    clock: Clock,
}

impl<S, B> Service<Request<Body>> for Limited<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: hyper::body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let endless = is_watch(&request);
        let answer = self.service.call(request);
        let whole = async move {
            let (head, body) = answer.await?.into_parts();
            let body = if endless {
                body.boxed_unsync()
            } else {
                let bytes = body.collect().await?.to_bytes();
                Full::new(bytes)
                    .map_err(|never| match never {})
                    .boxed_unsync()
            };
            Ok(Response::from_parts(head, body))
        };
        let clock = self.clock;
        async move {
            let ended = clock.timeout(LIMIT, whole).await;
            ended.unwrap_or_else(|_| Err(TimedOut.into()))
        }
        .boxed()
    }
}

/// Whether the answer goes on until somebody ends it.
fn is_watch<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tower::ServiceExt;

    use super::*;

    /// An API server that answers at once, with a body that never ends.
    fn endless() -> Limited<
        impl Service<
            Request<Body>,
            Response = Response<UnsyncBoxBody<Bytes, BoxError>>,
            Error = BoxError,
            Future: Send + 'static,
        >,
    > {
        let service = tower::service_fn(|_| async {
            let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"{}\n")))]);
            let body = futures::StreamExt::chain(first, futures::stream::pending());
            Ok(Response::new(StreamBody::new(body).boxed_unsync()))
        });
        let clock = Clock::system();
        Limited { service, clock }
    }

    fn get(path: &str) -> Request<Body> {
        Request::get(path).body(Body::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_end_is_given_up() {
        let clock = Clock::system();
        let before = clock.elapsed();
        let error = endless().oneshot(get("/api/v1/secrets")).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer of the API server in 65s");
        assert!(clock.elapsed().saturating_sub(before) >= LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_goes_on() {
        let request = get("/api/v1/secrets?allowWatchBookmarks=true&watch=true");
        let mut answer = endless().oneshot(request).await.unwrap();
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "{}\n");
        let clock = Clock::system();
        let next = clock.timeout(10 * LIMIT, answer.body_mut().frame()).await;
        assert!(next.is_err(), "it ended");
    }
}
