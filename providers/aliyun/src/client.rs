//! Signed calls with deadlines, rate limits and retries of throttled ones.

pub mod call;
pub mod credentials;
mod failure;
mod limiter;
#[cfg(test)]
pub(crate) mod tests;
pub mod transport;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatewright_core::{Error, ErrorClass};
use gatewright_seams::{Clock, Random};
use http::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri};
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use crate::sign::{canonical_query, rpc};
use call::{Call, Effect};
use credentials::Credentials;
use limiter::Limiter;
use transport::{NotSent, Transport};

/// Longest time for one request and its answer; the official SDKs wait 10 s to read.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a throttled call is sent in all.
const THROTTLED_TRIES: u32 = 6;
/// First and longest wait of the backoff after throttling; full jitter below.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_CEILING: Duration = Duration::from_secs(30);

/// What a [`Client`] is made of.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub credentials: Credentials,
    /// E.g. `cn-hangzhou`.
    pub region: String,
    /// Base URL of the product, e.g. `https://slb.cn-hangzhou.aliyuncs.com`.
    pub endpoint: Uri,
    /// Longest time for one request and its answer.
    pub call_timeout: Duration,
}

impl ClientOptions {
    pub fn new(credentials: Credentials, region: impl Into<String>, endpoint: Uri) -> Self {
        Self {
            credentials,
            region: region.into(),
            endpoint,
            call_timeout: CALL_TIMEOUT,
        }
    }
}

/// Makes calls of RPC-style products in one region with one key. Cheap to clone; clones share
/// their rate limits, which the cloud counts for the whole account and region.
#[derive(Clone)]
pub struct Client {
    options: Arc<ClientOptions>,
    transport: Transport,
    limiter: Arc<Limiter>,
    clock: Clock,
    /// For waits.
    random: Random,
    nonces: Random,
}

impl Client {
    pub fn new(options: ClientOptions, transport: Transport, clock: Clock, random: Random) -> Self {
        let limiter = Arc::new(Limiter::new(clock));
        Self {
            options: Arc::new(options),
            transport,
            limiter,
            clock,
            nonces: random.child("nonces"),
            random,
        }
    }

    pub fn region(&self) -> &str {
        &self.options.region
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Sends `call` and reads its answer.
    ///
    /// Throttled calls are repeated with a fresh nonce and otherwise the same parameters, so with
    /// the same ClientToken. Everything else goes up at once.
    ///
    /// # Errors
    /// Classified by the cloud's code. A write whose answer did not arrive is
    /// [`ErrorClass::UnknownOutcome`]; a read then is [`ErrorClass::Transient`].
    pub async fn send<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        let mut ceiling = BACKOFF_FIRST;
        let mut tries = 1;
        let body = loop {
            self.limiter.take(call.action).await;
            let error = match self.send_once(call).await {
                Ok(body) => break body,
                Err(error) => error,
            };
            let ErrorClass::Throttled { retry_after } = error.class() else {
                return Err(error);
            };
            if tries == THROTTLED_TRIES {
                return Err(error);
            }
            let wait = retry_after.map_or_else(
                || self.random.jitter(ceiling),
                |wait| wait.min(BACKOFF_CEILING),
            );
            tracing::debug!(action = call.action, tries, ?wait, "throttled");
            self.clock.sleep(wait).await;
            ceiling = (ceiling * 2).min(BACKOFF_CEILING);
            tries += 1;
        };
        serde_json::from_slice(&body).map_err(|error| {
            // Of a serde error only the place is told: its text can quote the answer.
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = format!("the answer is not of the expected form ({place})");
            Error::new(call.effect.without_answer(), call.doing.clone(), message)
        })
    }

    async fn send_once(&self, call: &Call) -> Result<Bytes, Error> {
        let request = self.request(call)?;
        let answer = self.transport.clone().oneshot(request);
        let response = match self.clock.timeout(self.options.call_timeout, answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if NotSent::is(error.as_ref()) => {
                return Err(call.error(ErrorClass::Transient, "the cloud could not be reached"));
            }
            Ok(Err(_)) => {
                return Err(call.error(
                    call.effect.without_answer(),
                    "the connection broke before the answer came",
                ));
            }
            Err(_) => {
                return Err(call.error(call.effect.without_answer(), "no answer came in time"));
            }
        };
        let outcome = self.outcome(call, response);
        match &outcome {
            Ok(_) => tracing::debug!(action = call.action, "called"),
            Err(error) => tracing::debug!(
                action = call.action,
                code = error.code.as_deref().unwrap_or(""),
                class = error.class().as_str(),
                request_id = error.request_id.as_deref().unwrap_or(""),
                "call failed"
            ),
        }
        outcome
    }

    fn outcome(&self, call: &Call, response: Response<Bytes>) -> Result<Bytes, Error> {
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(failure::read(call, &response, &self.options.credentials))
    }

    /// Everything travels in the form body: a URL ends up in logs of proxies and in errors of HTTP
    /// libraries, and this one says nothing.
    fn request(&self, call: &Call) -> Result<Request<Bytes>, Error> {
        let Credentials {
            access_key_id,
            access_key_secret,
            security_token,
        } = &self.options.credentials;
        let timestamp = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let nonce = self.nonces.uuid();
        let mut params: Vec<(&str, &str)> = vec![
            ("AccessKeyId", access_key_id.expose()),
            ("Action", call.action),
            ("Format", "JSON"),
            ("RegionId", &self.options.region),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureNonce", &nonce),
            ("SignatureVersion", "1.0"),
            ("Timestamp", &timestamp),
            ("Version", call.version),
        ];
        if let Some(token) = security_token {
            params.push(("SecurityToken", token.expose()));
        }
        params.extend(
            call.params
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let string = rpc::string_to_sign("POST", params.iter().copied());
        let signature = rpc::signature(access_key_secret.expose(), &string);
        params.push(("Signature", &signature));
        let body = canonical_query(params);

        let unusable = || call.error(ErrorClass::Invalid, "the endpoint is not a usable URL");
        let mut uri = self.options.endpoint.clone().into_parts();
        uri.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        let uri = Uri::from_parts(uri).map_err(|_| unusable())?;
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(host).map_err(|_| unusable())?;
        Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(HOST, host)
            .header(
                USER_AGENT,
                concat!("gatewright/", env!("CARGO_PKG_VERSION")),
            )
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(body))
            .map_err(|_| unusable())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Effect {
    /// The class of an error after which it is not known what the other side did.
    fn without_answer(self) -> ErrorClass {
        match self {
            Self::Read => ErrorClass::Transient,
            Self::Write => ErrorClass::UnknownOutcome,
        }
    }
}
