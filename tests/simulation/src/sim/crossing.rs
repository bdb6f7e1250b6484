//! Where a replica's requests leave it: each is counted, and can fail or be the last one.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::iter::repeat_n;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gatewright::outside::Transport;
use gatewright_seams::Clock;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full};
use kube::client::Body;
use local_kube::{KubeService, ResponseBody};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt};

use super::network::Network;

/// On which side of a request's effect the daemon stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Before,
    After,
}

/// What goes wrong with a request to the API server, for the replica that makes it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeFault {
    /// Refused with this status code, without effect.
    Refused(u16),
    /// The connection breaks before the request arrives.
    CutBefore,
    /// The request has its effect, and the connection breaks.
    CutAfter,
    /// The answer comes this much later.
    Slow(Duration),
}

/// Who is told of each request, by number and name, on both sides of its effect.
type Observer = Arc<dyn Fn(Side, usize, &str) + Send + Sync>;

#[derive(Default)]
struct Seen {
    /// What was asked, in order.
    names: Vec<String>,
    /// Where to stop.
    stop: Option<Stop>,
    /// The bodies of the last requests, for tests that look for what must not be elsewhere.
    bodies: VecDeque<Bytes>,
    /// What the next requests meet.
    faults: VecDeque<Option<KubeFault>>,
    /// Nothing arrives.
    cut: bool,
    observer: Option<Observer>,
}

impl Seen {
    /// The side of a new request on which the sender stops, if it does.
    fn stops(&mut self, number: usize, name: &str) -> Option<Side> {
        match self.stop.as_mut()? {
            Stop::Number(at, side) => (*at == number).then_some(*side),
            Stop::Named(stop, _, _) if stop != name => None,
            Stop::Named(_, 0, side) => {
                let side = *side;
                self.stop = None;
                Some(side)
            }
            Stop::Named(_, others, _) => {
                *others -= 1;
                None
            }
        }
    }
}

enum Stop {
    /// At the request of this number, counted from 0.
    Number(usize, Side),
    /// At a request of this name, after this many others of that name.
    Named(String, usize, Side),
}

/// The requests that crossed. Clones are the same.
#[derive(Clone)]
pub struct Crossings {
    /// Who sends here, and how requests arrive; without one, at once.
    network: Option<(String, Network)>,
    seen: Arc<Mutex<Seen>>,
    reached: watch::Sender<Option<String>>,
}

impl fmt::Debug for Crossings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crossings")
            .field("names", &self.seen().names)
            .finish_non_exhaustive()
    }
}

impl Default for Crossings {
    fn default() -> Self {
        Self {
            network: None,
            seen: Arc::default(),
            reached: watch::Sender::new(None),
        }
    }
}

impl Crossings {
    /// The requests of `sender`, which take their time.
    pub(super) fn over(sender: &str, network: Option<&Network>) -> Self {
        Self {
            network: network.map(|network| (sender.to_owned(), network.clone())),
            ..Self::default()
        }
    }

    /// Waits until the request for `what` arrives.
    async fn arrive(&self, what: String) {
        if let Some((sender, network)) = &self.network {
            network.arrive(&format!("{sender} {what}")).await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.seen().names.len()
    }

    /// What was asked, in order.
    pub fn names(&self) -> Vec<String> {
        self.seen().names.clone()
    }

    /// The bodies of the requests, the newest 1,000.
    pub fn bodies(&self) -> Vec<Bytes> {
        self.seen().bodies.iter().cloned().collect()
    }

    /// The request of this number, counted from 0, never returns.
    pub fn stop_at(&self, number: usize, side: Side) {
        self.seen().stop = Some(Stop::Number(number, side));
        self.reached.send_replace(None);
    }

    /// The request of this name never returns that comes after `others` more of that name.
    pub fn stop_at_named(&self, name: &str, others: usize, side: Side) {
        self.seen().stop = Some(Stop::Named(name.to_owned(), others, side));
        self.reached.send_replace(None);
    }

    /// All requests return again.
    pub fn never_stop(&self) {
        self.seen().stop = None;
        self.reached.send_replace(None);
    }

    /// Waits until the request to stop at is made; returns what it is.
    pub async fn reached(&self) -> String {
        let mut reached = self.reached.subscribe();
        let found = reached.wait_for(Option::is_some).await;
        found
            .map(|found| found.clone().unwrap_or_default())
            .unwrap_or_default()
    }

    /// After `others` more, the next `times` requests to the API server meet `fault`.
    pub fn fail(&self, fault: KubeFault, others: usize, times: usize) {
        let mut seen = self.seen();
        seen.faults.extend(repeat_n(None, others));
        seen.faults.extend(repeat_n(Some(fault), times));
    }

    /// While `cut`, no request arrives.
    pub fn set_cut(&self, cut: bool) {
        self.seen().cut = cut;
    }

    /// Takes back what was to go wrong.
    pub fn mend(&self) {
        let mut seen = self.seen();
        seen.faults.clear();
        seen.cut = false;
    }

    /// `observer` is told the number and the name of each request before it is sent and after its
    /// effect; of one that is given up only before.
    pub fn observe(&self, observer: impl Fn(Side, usize, &str) + Send + Sync + 'static) {
        self.seen().observer = Some(Arc::new(observer));
    }

    /// Counts a request. Gives where it stops, and what it meets.
    fn enter(&self, name: &str, body: Option<&Bytes>) -> Crossing {
        let mut seen = self.seen();
        let number = seen.names.len();
        seen.names.push(name.to_owned());
        if let Some(body) = body {
            seen.bodies.push_back(body.clone());
            if seen.bodies.len() > 1_000 {
                seen.bodies.pop_front();
            }
        }
        Crossing {
            number,
            stop: seen.stops(number, name),
            fault: seen.faults.pop_front().flatten(),
            cut: seen.cut,
            observer: seen.observer.clone(),
        }
    }

    /// Sends a request by `call`, unless the sender is to stop before it.
    async fn cross<T>(
        &self,
        name: &str,
        crossing: Crossing,
        call: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        if crossing.cut {
            return Err("the network is down".into());
        }
        let tell = |side| {
            if let Some(observer) = &crossing.observer {
                observer(side, crossing.number, name);
            }
        };
        let stop = |side: &str| {
            let words = format!("{side} {name} (request {})", crossing.number + 1);
            self.reached.send_replace(Some(words));
        };
        if crossing.stop == Some(Side::Before) {
            stop("before");
            return std::future::pending().await;
        }
        tell(Side::Before);
        let answer = call.await;
        tell(Side::After);
        if crossing.stop == Some(Side::After) {
            stop("after");
            drop(answer);
            return std::future::pending().await;
        }
        answer
    }

    /// `inner`, counted here under the name that `name` gives a request.
    pub(super) fn through(&self, inner: &Switch, name: fn(&Request<Bytes>) -> String) -> Transport {
        let (this, inner) = (self.clone(), inner.clone());
        BoxCloneSyncService::new(tower::service_fn(move |request: Request<Bytes>| {
            let (this, inner) = (this.clone(), inner.get());
            async move {
                let name = name(&request);
                this.arrive(subject(&request)).await;
                let crossing = this.enter(&name, Some(request.body()));
                this.cross(&name, crossing, inner.oneshot(request)).await
            }
        }))
    }

    /// A client of `inner` whose requests are counted here.
    pub(super) fn client(&self, inner: KubeService, clock: Clock) -> kube::Client {
        let this = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (this, inner) = (this.clone(), inner.clone());
            async move {
                let name = format!("{} {}", request.method(), request.uri().path());
                let (request, body) = opened(request).await?;
                let query = request.uri().query().unwrap_or_default();
                let what = format!("{name}?{query} {}", created(&request, &body));
                this.arrive(what).await;
                let crossing = this.enter(&name, None);
                let fault = crossing.fault;
                let call = async {
                    match fault {
                        Some(KubeFault::Refused(code)) => Ok(refusal(code)),
                        Some(KubeFault::CutBefore) => Err("the connection broke".into()),
                        Some(KubeFault::CutAfter) => {
                            // The answer is lost on its way.
                            drop(answer(inner, request).await);
                            Err("the connection broke".into())
                        }
                        Some(KubeFault::Slow(time)) => {
                            let answer = answer(inner, request).await;
                            clock.sleep(time).await;
                            answer
                        }
                        None => answer(inner, request).await,
                    }
                };
                this.cross(&name, crossing, call).await
            }
        });
        kube::Client::new(service, "default")
    }
}

/// A request, and what it holds.
async fn opened(request: Request<Body>) -> Result<(Request<Body>, Bytes), BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok((Request::from_parts(head, body.clone().into()), body))
}

/// What a request creates, in words that two of them for one path differ by. What holds keys differs
/// from run to run.
fn created(request: &Request<Body>, body: &Bytes) -> String {
    if request.method() != Method::POST {
        return String::new();
    }
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    let told = ["regarding", "reason", "action", "note", "spec"];
    let told = told.map(|field| object[field].to_string());
    format!("{} {}", object["metadata"]["name"], told.concat())
}

async fn answer(inner: KubeService, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
    let answer = inner.oneshot(request).await?;
    Ok(answer.map(Either::Left))
}

/// What the API server says when it does not do something, with this status code.
fn refusal(code: u16) -> Response<Answer> {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "scripted",
        "reason": reason,
        "code": code,
    });
    let mut response = Response::new(Either::Right(Full::from(status.to_string())));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

type Answer = Either<ResponseBody, Full<Bytes>>;

/// A request on its way.
struct Crossing {
    number: usize,
    stop: Option<Side>,
    fault: Option<KubeFault>,
    cut: bool,
    observer: Option<Observer>,
}

/// A transport that can be exchanged while it is in use.
#[derive(Clone, Debug)]
pub struct Switch(Arc<Mutex<Transport>>);

impl Switch {
    pub(super) fn new(first: Transport) -> Self {
        Self(Arc::new(Mutex::new(first)))
    }

    /// From now on requests go to `other`.
    pub fn set(&self, other: Transport) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = other;
    }

    fn get(&self) -> Transport {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What a request asks for, without what differs from try to try.
fn subject(request: &Request<Bytes>) -> String {
    let body = String::from_utf8_lossy(request.body());
    // A signed call; what goes to an authority is not sent twice at one moment.
    let form = body.contains("AccessKeyId=");
    let kept = body.split('&').filter(|pair| {
        let (key, _) = pair.split_once('=').unwrap_or((pair, ""));
        form && !["Signature", "SignatureNonce", "Timestamp"].contains(&key)
    });
    let kept: Vec<_> = kept.collect();
    format!("{} {} {}", request.method(), request.uri(), kept.join("&"))
}

/// The action of a signed call.
pub(super) fn action(request: &Request<Bytes>) -> String {
    let body = String::from_utf8_lossy(request.body());
    let mut pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    let action = pairs.find(|(key, _)| *key == "Action");
    action.map_or_else(|| "nothing".to_owned(), |(_, value)| value.to_owned())
}

/// Method and first path segment of a request to an ACME server.
pub(super) fn resource(request: &Request<Bytes>) -> String {
    let path = request.uri().path();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let what = match parts.as_slice() {
        ["order", _, "finalize"] => "finalize",
        [first, ..] => first,
        [] => "nothing",
    };
    format!("{} {what}", request.method())
}
