//! The gRPC face of the engine: one method, and clear words for all others.

use std::convert::Infallible;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt, unfold};
use hyper::body::Incoming;
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status, Streaming};

use crate::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use crate::{GatewayId, ProxyStream, Response, Store, StreamError};

const DELTA_ADS: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const SOTW_ADS: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// The largest request: a proxy with 100,000 long names reconnects with a few megabytes.
const MAX_REQUEST: usize = 64 << 20;

/// The service for one connection, whose peer is known to belong to `gateway`.
#[derive(Clone)]
pub(super) struct Ads {
    pub(super) store: Store,
    pub(super) gateway: GatewayId,
    pub(super) groups: super::Groups,
}

impl hyper::service::Service<http::Request<Incoming>> for Ads {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let ads = self.clone();
        Box::pin(async move {
            let response = match request.uri().path() {
                DELTA_ADS => {
                    let mut grpc = tonic::server::Grpc::new(DeltaCodec)
                        .max_decoding_message_size(MAX_REQUEST)
                        .max_encoding_message_size(usize::MAX);
                    grpc.streaming(Open(ads), request).await
                }
                SOTW_ADS => Status::unimplemented(
                    "only delta is served: set ads_config.api_type to DELTA_GRPC",
                )
                .into_http(),
                _ => Status::unimplemented(
                    "only aggregated discovery is served: use ads in each config source",
                )
                .into_http(),
            };
            Ok(response)
        })
    }
}

/// Opens a stream.
struct Open(Ads);

impl tonic::server::StreamingService<DeltaDiscoveryRequest> for Open {
    type Response = Response;
    type ResponseStream = BoxStream<'static, Result<Response, Status>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        let ads = self.0.clone();
        let requests = request.into_inner();
        let responses = unfold(Some((requests, None)), move |state| {
            let ads = ads.clone();
            async move {
                let (mut requests, stream) = state?;
                let stream = match stream {
                    Some(stream) => stream,
                    None => match ads.introduce(&mut requests).await {
                        Ok(stream) => stream,
                        Err(Some(status)) => return Some((Err(status), None)),
                        Err(None) => return None,
                    },
                };
                match exchange(&mut requests, &stream).await {
                    Ok(response) => Some((Ok(response), Some((requests, Some(stream))))),
                    Err(Some(status)) => Some((Err(status), None)),
                    Err(None) => None,
                }
            }
        });
        Box::pin(async move { Ok(tonic::Response::new(responses.boxed())) })
    }
}

impl Ads {
    /// Waits for the first request, which names the node, and opens the stream it belongs to.
    async fn introduce(
        &self,
        requests: &mut Streaming<DeltaDiscoveryRequest>,
    ) -> Result<ProxyStream, Option<Status>> {
        let Ok(Some(first)) = requests.message().await else {
            return Err(None);
        };
        let node = first.node.as_ref().map_or("", |node| node.id.as_str());
        let group = match node.rsplit_once('/') {
            Some((_, pod)) if self.gateway.owns_node(node) => (self.groups)(&self.gateway, pod),
            // The stream itself refuses a foreign node, and says so.
            _ => self.gateway.clone(),
        };
        let stream = self.store.connect_as(&self.gateway, &group);
        stream.request(first).map_err(|error| {
            tracing::warn!(%error, "ended a proxy's stream");
            Some(status(&error))
        })?;
        Ok(stream)
    }
}

/// Takes requests until there is a response. `Err(None)` when the proxy is gone.
async fn exchange(
    requests: &mut Streaming<DeltaDiscoveryRequest>,
    stream: &ProxyStream,
) -> Result<Response, Option<Status>> {
    loop {
        tokio::select! {
            // Requests first: they say what to leave out of the next response.
            biased;
            request = requests.message() => match request {
                Ok(Some(request)) => stream.request(request).map_err(|error| {
                    tracing::warn!(%error, "ended a proxy's stream");
                    Some(status(&error))
                })?,
                Ok(None) | Err(_) => return Err(None),
            },
            response = stream.next() => return Ok(response),
        }
    }
}

fn status(error: &StreamError) -> Status {
    let code = match error {
        StreamError::WrongNode { .. } => Code::PermissionDenied,
        StreamError::UnknownType { .. } => Code::InvalidArgument,
        StreamError::TooManyNames { .. } => Code::ResourceExhausted,
    };
    Status::new(code, error.to_string())
}

/// Requests are decoded by prost; responses are written from frames that are encoded already.
#[derive(Clone, Copy, Default)]
struct DeltaCodec;

impl Codec for DeltaCodec {
    type Encode = Response;
    type Decode = DeltaDiscoveryRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for DeltaCodec {
    type Item = Response;
    type Error = Status;

    fn encode(&mut self, response: Response, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(response.encoded_len());
        response.encode(buf);
        Ok(())
    }
}

impl Decoder for DeltaCodec {
    type Item = DeltaDiscoveryRequest;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        DeltaDiscoveryRequest::decode(buf)
            .map(Some)
            .map_err(|error| Status::internal(format!("request does not decode: {error}")))
    }
}
