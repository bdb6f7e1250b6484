//! Where the daemon's requests leave it: each is counted, and can be the last one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use gatewright::outside::Transport;
use http::Request;
use tokio::sync::watch;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// On which side of a request's effect the daemon stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

#[derive(Debug, Default)]
struct Seen {
    /// What was asked, in order.
    names: Vec<String>,
    /// Stop at the request of this number, counted from 0.
    stop: Option<(usize, Side)>,
    /// The bodies of the last requests, for tests that look for what must not be elsewhere.
    bodies: VecDeque<Bytes>,
}

/// The requests that crossed. Clones are the same.
#[derive(Clone, Debug)]
pub struct Crossings {
    seen: Arc<Mutex<Seen>>,
    reached: watch::Sender<Option<String>>,
}

impl Default for Crossings {
    fn default() -> Self {
        Self {
            seen: Arc::default(),
            reached: watch::Sender::new(None),
        }
    }
}

impl Crossings {
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
        self.seen().stop = Some((number, side));
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

    /// `inner`, counted here under the name that `name` gives a request.
    pub(super) fn through(&self, inner: &Switch, name: fn(&Request<Bytes>) -> String) -> Transport {
        let (this, inner) = (self.clone(), inner.clone());
        BoxCloneSyncService::new(tower::service_fn(move |request: Request<Bytes>| {
            let (this, inner) = (this.clone(), inner.get());
            async move {
                let name = name(&request);
                let (number, stop) = {
                    let mut seen = this.seen();
                    seen.names.push(name.clone());
                    seen.bodies.push_back(request.body().clone());
                    if seen.bodies.len() > 1_000 {
                        seen.bodies.pop_front();
                    }
                    let number = seen.names.len() - 1;
                    (
                        number,
                        seen.stop
                            .filter(|(at, _)| *at == number)
                            .map(|(_, side)| side),
                    )
                };
                let words = |side: &str| format!("{side} {name} (request {})", number + 1);
                match stop {
                    None => inner.oneshot(request).await,
                    Some(Side::Before) => {
                        this.reached.send_replace(Some(words("before")));
                        std::future::pending().await
                    }
                    Some(Side::After) => {
                        let answer = inner.oneshot(request).await;
                        this.reached.send_replace(Some(words("after")));
                        drop(answer);
                        std::future::pending().await
                    }
                }
            }
        }))
    }
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
