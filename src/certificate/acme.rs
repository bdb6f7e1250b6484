//! The ACME protocol (RFC 8555), by `instant-acme` over our own transport.
//!
//! The transport adds what that client lacks: a deadline for each request, and the status of
//! answers that are no JSON.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use gatewright_core::ErrorClass;
use gatewright_seams::Clock;
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, HttpClient,
    Identifier, NewOrder, OrderStatus, Problem,
};
use tower::ServiceExt;

use super::challenges::Challenges;
use crate::outside::{Outside, Transport};
use crate::retry::delay;

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// First and longest wait between two looks at an order.
const FIRST_POLL: Duration = Duration::from_millis(50);
const LONGEST_POLL: Duration = Duration::from_secs(3);
/// How long validation, and then issuance, may take.
const ORDER_LIMIT: Duration = Duration::from_secs(90);

/// The reason of [`AcmeError::NotRouted`] in conditions.
pub(super) const NOT_ROUTED: &str = "ChallengeNotRouted";

/// What went wrong with an ACME server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    #[error("{doing}: {}", describe(.problem))]
    Problem {
        doing: &'static str,
        problem: Box<Problem>,
    },
    #[error("{doing}: the server cannot be reached or does not answer as an ACME server: {cause}")]
    Unreachable { doing: &'static str, cause: String },
    #[error("validation failed: {0}")]
    Validation(String),
    #[error("{name} has no http-01 challenge; only that kind is answered")]
    NoChallenge { name: String },
    #[error("no answer for {name} reached {address} within {limit:?}: {cause}")]
    NotRouted {
        name: String,
        address: String,
        limit: Duration,
        cause: String,
    },
    #[error("the order is still {0:?} after {ORDER_LIMIT:?}")]
    Stuck(OrderStatus),
    #[error("the certificate was asked for, and did not arrive within {ORDER_LIMIT:?}: {0}")]
    NotFetched(String),
    #[error("the order became invalid: {0}")]
    Rejected(String),
}

impl AcmeError {
    /// What there is to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } | Self::NotRouted { .. } => ErrorClass::Transient,
            Self::Problem { problem, .. } => {
                let kind = problem.r#type.as_deref().unwrap_or_default();
                match kind.rsplit(':').next().unwrap_or_default() {
                    "rateLimited" => ErrorClass::Throttled { retry_after: None },
                    "badNonce" | "serverInternal" => ErrorClass::Transient,
                    "rejectedIdentifier" | "malformed" | "badCSR" | "unsupportedIdentifier" => {
                        ErrorClass::Invalid
                    }
                    _ if problem.status.is_some_and(|status| status >= 500) => {
                        ErrorClass::Transient
                    }
                    _ => ErrorClass::Refused,
                }
            }
            // The authority counts these.
            Self::Validation(_)
            | Self::NoChallenge { .. }
            | Self::Stuck(_)
            | Self::NotFetched(_)
            | Self::Rejected(_) => ErrorClass::Refused,
        }
    }

    /// Whether the same request may get another answer a moment later: the authority is busy, an answer
    /// was lost, an earlier request is still under way, or it was no ACME server that answered.
    fn may_pass(&self) -> bool {
        let Self::Problem { problem, .. } = self else {
            return matches!(self, Self::Unreachable { .. });
        };
        let kind = problem.r#type.as_deref().unwrap_or_default();
        !kind.starts_with("urn:ietf:params:acme:error:")
            || kind.ends_with(":orderNotReady")
            || matches!(
                self.class(),
                ErrorClass::Transient | ErrorClass::Throttled { .. }
            )
    }

    /// The condition's reason.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "AcmeUnreachable",
            Self::Validation(_) | Self::NoChallenge { .. } => "ValidationFailed",
            Self::NotRouted { .. } => NOT_ROUTED,
            Self::Stuck(_) => "OrderStuck",
            Self::NotFetched(_) => "CertificateNotFetched",
            Self::Rejected(_) => "OrderInvalid",
            Self::Problem { .. } => match self.class() {
                ErrorClass::Throttled { .. } => "RateLimited",
                ErrorClass::Invalid => "OrderRejected",
                _ => "AcmeError",
            },
        }
    }

    pub(super) fn from_client(doing: &'static str, error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Api(problem) => Self::Problem {
                doing,
                problem: Box::new(problem),
            },
            other => Self::Unreachable {
                doing,
                cause: other.to_string(),
            },
        }
    }
}

/// The server's words, with what it says of single names.
fn describe(problem: &Problem) -> String {
    let mut text = problem.detail.clone().unwrap_or_else(|| "no detail".into());
    for sub in &problem.subproblems {
        let name = sub
            .identifier
            .as_ref()
            .map(|i| format!("{}: ", identifier(i)));
        let detail = sub.detail.as_deref().unwrap_or_default();
        text.push_str("; ");
        text.push_str(&name.unwrap_or_default());
        text.push_str(detail);
    }
    if let Some(kind) = &problem.r#type {
        text.push_str(" (");
        text.push_str(kind);
        text.push(')');
    }
    text
}

fn identifier(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Dns(name) => name.clone(),
        other => format!("{other:?}"),
    }
}

/// The HTTP client that `instant-acme` is given.
pub(super) struct AcmeHttp {
    transport: Transport,
    clock: Clock,
}

impl AcmeHttp {
    pub(super) fn new(transport: Transport, clock: Clock) -> Self {
        Self { transport, clock }
    }
}

impl HttpClient for AcmeHttp {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let (transport, clock) = (self.transport.clone(), self.clock);
        Box::pin(async move {
            let other = |message: String| instant_acme::Error::Other(message.into());
            let (parts, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|error| other(error.to_string()))?
                .to_bytes();
            let request = http::Request::from_parts(parts, body);
            let answer = clock
                .timeout(REQUEST_LIMIT, transport.oneshot(request))
                .await
                .map_err(|_| other(format!("no answer in {REQUEST_LIMIT:?}")))?
                .map_err(|error| other(chain(error.as_ref())))?;
            let status = answer.status();
            let json = answer
                .headers()
                .get(http::header::CONTENT_TYPE)
                .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")));
            if !status.is_success() && !json {
                return Err(other(format!("status {status}")));
            }
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

/// The whole chain of causes: the outermost of a connection error says very little.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Makes sure an answer reaches where the authority will ask, before it is told to ask.
pub(super) trait Routed: Sync {
    /// Waits until `path` of `name` gives `answer` at every place where `name` is served.
    fn routed(
        &self,
        name: &str,
        path: &str,
        answer: &str,
    ) -> impl Future<Output = Result<(), AcmeError>> + Send;
}

/// Looks whether answers for `names` would reach where the authority asks, without asking it for
/// anything: authorities count orders.
///
/// # Errors
/// [`AcmeError::NotRouted`].
pub(super) async fn rehearse(
    names: &[String],
    challenges: &Challenges,
    routed: &impl Routed,
    outside: &Outside,
) -> Result<(), AcmeError> {
    let (token, answer) = (outside.random.hex(16), outside.random.hex(16));
    let _answering = challenges.answer(&token, &answer);
    let path = format!("{}{token}", super::CHALLENGE_PATH);
    // A wildcard is not proved by an answer.
    for name in names.iter().filter(|name| !name.starts_with('*')) {
        routed.routed(name, &path, &answer).await?;
    }
    Ok(())
}

/// Orders a certificate for `names`: proves each by HTTP-01, hands in `request` (PKCS#10 DER), and
/// returns the chain as PEM, leaf first.
///
/// # Errors
/// What the server said, or that it said nothing.
pub(super) async fn order(
    account: &Account,
    names: &[String],
    profile: Option<&str>,
    request: &[u8],
    challenges: &Challenges,
    routed: &impl Routed,
    outside: &Outside,
) -> Result<String, AcmeError> {
    let fail = AcmeError::from_client;
    let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
    let mut wanted = NewOrder::new(&identifiers);
    if let Some(profile) = profile {
        wanted = wanted.profile(profile);
    }
    let doing = "ordering a certificate";
    let mut order = account
        .new_order(&wanted)
        .await
        .map_err(|error| fail(doing, error))?;
    let mut answering = Vec::new();
    let doing = "answering challenges";
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| fail(doing, error))?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let name = identifier(authorization.identifier().identifier);
        let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) else {
            return Err(AcmeError::NoChallenge { name });
        };
        let answer = challenge.key_authorization().as_str().to_owned();
        let token = challenge.token.clone();
        answering.push(challenges.answer(&token, &answer));
        let path = format!("{}{token}", super::CHALLENGE_PATH);
        routed.routed(&name, &path, &answer).await?;
        challenge
            .set_ready()
            .await
            .map_err(|error| fail(doing, error))?;
    }
    let doing = "waiting for validation";
    let polled = outside
        .clock
        .timeout(
            ORDER_LIMIT,
            poll(&mut order, &outside.clock, |status| {
                matches!(status, OrderStatus::Ready | OrderStatus::Invalid)
            }),
        )
        .await;
    let status = match polled {
        Ok(Ok(status)) => status,
        // An order that failed says why, and the client takes that for a failed request.
        Ok(Err(_)) if order.state().status == OrderStatus::Invalid => OrderStatus::Invalid,
        Ok(Err(error)) => return Err(fail(doing, error)),
        Err(_) => order.state().status,
    };
    match status {
        OrderStatus::Ready | OrderStatus::Valid => {}
        OrderStatus::Invalid => return Err(failed_validation(&mut order).await),
        other => return Err(AcmeError::Stuck(other)),
    }
    drop(answering);
    finish(&mut order, request, outside).await
}

/// Hands in `request` and fetches the certificate. Authorities count what they issue: as long as
/// answers get lost or the authority is busy, the same order is asked again, and no other is begun.
async fn finish(
    order: &mut instant_acme::Order,
    request: &[u8],
    outside: &Outside,
) -> Result<String, AcmeError> {
    let clock = &outside.clock;
    let end = clock.elapsed() + ORDER_LIMIT;
    let mut handed_in = false;
    let mut attempt = 0;
    let mut last = None;
    loop {
        let left = end.saturating_sub(clock.elapsed());
        let tried = try_to_finish(order, request, clock, attempt > 0);
        let failed = match clock.timeout(left, tried).await {
            Ok(Ok(chain)) => return Ok(chain),
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        // A request without an answer may have arrived.
        handed_in |= order.state().status != OrderStatus::Ready
            || matches!(failed, None | Some(AcmeError::Unreachable { .. }));
        if order.state().status == OrderStatus::Invalid {
            let why = order.state().error.as_ref().map(describe);
            let why = why.unwrap_or_else(|| "the server does not say why".into());
            return Err(AcmeError::Rejected(why));
        }
        match failed {
            Some(error) if !error.may_pass() => return Err(error),
            Some(error) => last = Some(error),
            None => {}
        }
        if clock.elapsed() >= end {
            let status = order.state().status;
            let why = match last {
                Some(error) if !handed_in => return Err(error),
                Some(error) if status != OrderStatus::Processing => error.to_string(),
                _ => format!("the order is {status:?}"),
            };
            return Err(AcmeError::NotFetched(why));
        }
        attempt += 1;
        let wait = delay(ErrorClass::Transient, attempt, &outside.random);
        clock
            .sleep(wait.min(end.saturating_sub(clock.elapsed())))
            .await;
    }
}

async fn try_to_finish(
    order: &mut instant_acme::Order,
    request: &[u8],
    clock: &Clock,
    again: bool,
) -> Result<String, AcmeError> {
    let fail = AcmeError::from_client;
    let doing = "waiting for the certificate";
    if again {
        order.refresh().await.map_err(|error| fail(doing, error))?;
    }
    if order.state().status == OrderStatus::Ready {
        let handed_in = order.finalize_csr(request).await;
        handed_in.map_err(|error| fail("handing in the request", error))?;
    }
    let over = |status| matches!(status, OrderStatus::Valid | OrderStatus::Invalid);
    let polled = poll(order, clock, over).await;
    polled.map_err(|error| fail(doing, error))?;
    let chain = order.certificate().await;
    let chain = chain.map_err(|error| fail(doing, error))?;
    chain.ok_or_else(|| AcmeError::Unreachable {
        doing,
        cause: "the order has no certificate".into(),
    })
}

/// Asks for the order until it is `over`, or in error. The client's own polling counts a `Retry-After`
/// of the server by the machine's clock and does not give it to us; of orders it is a few seconds, as
/// our longest wait is.
async fn poll(
    order: &mut instant_acme::Order,
    clock: &Clock,
    over: impl Fn(OrderStatus) -> bool,
) -> Result<OrderStatus, instant_acme::Error> {
    let mut wait = FIRST_POLL;
    loop {
        clock.sleep(wait).await;
        let state = order.refresh().await?;
        if let Some(error) = &state.error {
            return Err(instant_acme::Error::Api(error.clone()));
        }
        if over(state.status) {
            return Ok(state.status);
        }
        wait = (wait * 2).min(LONGEST_POLL);
    }
}

async fn failed_validation(order: &mut instant_acme::Order) -> AcmeError {
    let mut told = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        // What we hold is from before the validation.
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = identifier(authorization.identifier().identifier);
        let errors = authorization
            .challenges
            .iter()
            .filter_map(|held| held.error.as_ref());
        told.extend(errors.map(|problem| format!("{name}: {}", describe(problem))));
    }
    if told.is_empty() {
        told.push("the server does not say why".into());
    }
    AcmeError::Validation(told.join("; "))
}
