use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tower::BoxError;

use crate::answers::Answer;
use crate::endpoint::{Endpoint, Route};
use crate::faults::RequestFault;
use crate::ledger::RequestRecord;
use crate::problem::{Kind, Problem};
use crate::server::Inner;

/// The server as a function from request to response.
///
/// An error means that the connection broke without an answer: only a scripted fault does that.
#[derive(Clone)]
pub struct AcmeService(Arc<Inner>);

impl fmt::Debug for AcmeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcmeService").finish_non_exhaustive()
    }
}

impl AcmeService {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}

impl tower::Service<Request<Bytes>> for AcmeService {
    type Response = Response<Bytes>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Bytes>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        handle(self.0.clone(), request).boxed()
    }
}

async fn handle(inner: Arc<Inner>, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
    let path = request.uri().path();
    let route = path
        .strip_prefix(inner.base_path.as_str())
        .and_then(Route::parse);
    let endpoint = route.as_ref().map(|route| route.endpoint);
    let number = {
        let at = inner.clock.now();
        inner.state().ledger.asked(RequestRecord {
            at,
            method: request.method().to_string(),
            endpoint,
            status: None,
            problem: None,
        })
    };
    let fault = inner.faults.take_request(endpoint);
    let answer = match fault {
        Some(RequestFault::RateLimited { retry_after }) => {
            let detail = "too many requests; this was scripted";
            Answer::problem(Problem::new(Kind::RateLimited, detail)).retry_after(retry_after)
        }
        Some(RequestFault::ServerError { status }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let detail = "the server failed; this was scripted";
            Answer::problem(Problem::new(Kind::ServerInternal, detail).with_status(status))
        }
        Some(RequestFault::TimeoutBefore { wait }) => return lost(&inner, wait).await,
        Some(RequestFault::NeverAnswer) => {
            inner.tasks.cancelled().await;
            return Err("the acme server stopped".into());
        }
        Some(RequestFault::TimeoutAfter { .. }) | None => perform(&inner, route, &request).await,
    };
    if let Some(RequestFault::TimeoutAfter { wait }) = fault {
        return lost(&inner, wait).await;
    }
    inner
        .state()
        .ledger
        .answered(number, answer.status.as_u16(), answer.problem.clone());
    respond(&inner, endpoint, request.method(), answer)
}

async fn lost(inner: &Inner, wait: Duration) -> Result<Response<Bytes>, BoxError> {
    inner.clock.sleep(wait).await;
    Err("the connection to the acme server broke; this was scripted".into())
}

/// Lets the request have its effect, makes it durable, then starts what follows from it.
async fn perform(inner: &Arc<Inner>, route: Option<Route<'_>>, request: &Request<Bytes>) -> Answer {
    let outcome = match route {
        Some(route) => inner.answer(&route, request),
        None => Err(Problem::not_found("resource")),
    };
    let answer = outcome.unwrap_or_else(Answer::problem);
    if answer.changed
        && let Err(error) = inner.persist().await
    {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a request was not stored"
        );
        return Answer::problem(Problem::new(Kind::ServerInternal, error.to_string()));
    }
    if let Some(authorization) = &answer.validate {
        inner.start_validation(authorization.clone());
    }
    answer
}

fn respond(
    inner: &Inner,
    endpoint: Option<Endpoint>,
    method: &Method,
    answer: Answer,
) -> Result<Response<Bytes>, BoxError> {
    let mut response = Response::builder().status(answer.status);
    if let Some(kind) = answer.content_type {
        response = response.header(header::CONTENT_TYPE, kind);
    }
    if let Some(location) = answer.location {
        response = response.header(header::LOCATION, location);
    }
    if let Some(after) = answer.retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response = response.header(header::RETRY_AFTER, seconds);
    }
    for link in answer.links {
        response = response.header(header::LINK, link);
    }
    if endpoint != Some(Endpoint::Directory) {
        // RFC 8555, section 7.1.
        let index = format!("<{}>;rel=\"index\"", inner.url("/directory"));
        response = response.header(header::LINK, index);
    }
    if endpoint == Some(Endpoint::NewNonce) || method == Method::POST {
        // RFC 8555, section 6.5: in every answer to a POST, errors too.
        let nonce = inner.random.hex(16);
        let nonce = inner.state().nonces.give_out(nonce);
        response = response
            .header("replay-nonce", nonce)
            .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let body = if method == Method::HEAD {
        Bytes::new()
    } else {
        answer.body
    };
    Ok(response.body(body)?)
}
