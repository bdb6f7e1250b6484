use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, StreamBody};

use crate::dispatch;
use crate::request::Request;
use crate::shared::Shared;
use crate::status::ApiError;

/// The largest body that is read, in bytes: the limit of the real server.
pub(crate) const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Why a request got no answer at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// A scripted fault broke the connection.
    #[error("the connection to the local API server was cut")]
    Cut,
    /// The body of the request could not be read.
    #[error("reading the body of a request")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The body of an answer. A watch goes on until its timeout, or until it is dropped.
pub struct ResponseBody(UnsyncBoxBody<Bytes, Infallible>);

impl ResponseBody {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Full::new(bytes.into()).boxed_unsync())
    }

    pub(crate) fn stream(stream: impl futures::Stream<Item = Bytes> + Send + 'static) -> Self {
        let frames = futures::StreamExt::map(stream, |bytes| Ok(Frame::data(bytes)));
        Self(StreamBody::new(frames).boxed_unsync())
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The API as a service, without a socket and without authentication: for `kube::Client::new`.
#[derive(Clone)]
pub struct KubeService {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for KubeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeService").finish_non_exhaustive()
    }
}

impl KubeService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl<B> tower::Service<http::Request<B>> for KubeService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<ResponseBody>;
    type Error = ServiceError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ServiceError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ServiceError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let request = Request::new(parts);
            let body = match Limited::new(body, BODY_LIMIT).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<LengthLimitError>() => {
                    return Ok(dispatch::refuse(&ApiError::too_large()));
                }
                Err(error) => return Err(ServiceError::Body(error)),
            };
            dispatch::handle(&shared, &request, body).await
        })
    }
}
