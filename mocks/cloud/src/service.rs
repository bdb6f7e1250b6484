use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::sync::oneshot;

use crate::answer::{ApiError, failure, success};
use crate::call::{Call, manners};
use crate::clb::{self, Action};
use crate::cloud::Shared;
use crate::faults::{Fault, Hit};
use crate::ledger::LedgerEntry;
use crate::state::State;

/// What a call that has no answer ends with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The cloud's API without a socket. Errors are cut connections; refusals are answers.
#[derive(Clone)]
pub struct CloudService(pub(crate) Arc<Shared>);

/// How a call ends.
pub(crate) enum Outcome {
    Answer(Response<Bytes>),
    /// No answer: the connection is cut after this time.
    Cut(Duration),
}

#[derive(Debug, thiserror::Error)]
#[error("connection to the mock cloud was cut")]
struct Cut;

impl tower::Service<Request<Bytes>> for CloudService {
    type Response = Response<Bytes>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Bytes>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            // A task of its own: once a call has arrived it runs to its end, whether or not its
            // caller still waits.
            let (sender, receiver) = oneshot::channel();
            let worker = shared.clone();
            shared.tasks.spawn("mock cloud call", async move {
                // The caller may be gone.
                let _ = sender.send(worker.handle(&request).await);
            });
            match receiver.await {
                Ok(Outcome::Answer(answer)) => Ok(answer),
                Ok(Outcome::Cut(after)) => {
                    shared.clock.sleep(after).await;
                    Err(Cut.into())
                }
                Err(_) => Err(Cut.into()),
            }
        })
    }
}

/// The parameters that go into the ledger.
fn is_key_parameter(name: &str) -> bool {
    const KEYS: &[&str] = &[
        "BackendServers",
        "ClientToken",
        "DeleteProtection",
        "ListenerPort",
        "ListenerProtocol",
        "LoadBalancerId",
        "LoadBalancerName",
        "NewBackendServers",
        "OldBackendServers",
        "PageNumber",
        "ResourceType",
        "VServerGroupId",
        "VServerGroupName",
    ];
    KEYS.contains(&name)
        || name.starts_with("Tag.")
        || name.starts_with("ResourceId.")
        || name.starts_with("LoadBalancerId.")
}

impl Shared {
    async fn handle(&self, request: &Request<Bytes>) -> Outcome {
        let request_id = self.random.uuid().to_uppercase();
        let mut entry = LedgerEntry {
            time: self.clock.now(),
            action: String::new(),
            write: false,
            parameters: BTreeMap::new(),
            outcome: String::new(),
            status: 0,
            request_id: request_id.clone(),
            ignored: Vec::new(),
        };
        let (host, format) = manners(request);
        let call = match Call::read(request) {
            Ok(call) => call,
            Err(error) => {
                entry.outcome = error.code.to_string();
                entry.status = error.status;
                self.ledger.record(entry);
                return Outcome::Answer(failure(&error, &request_id, &host, format));
            }
        };
        entry.action.clone_from(&call.action);
        entry.parameters = call.params.select(is_key_parameter);
        let (format, host) = (call.format, call.host.clone());
        let mut lost = None;
        let result = match self.admit(&call) {
            Err(error) => Err(error),
            Ok(action) => {
                entry.write = action.is_write();
                self.act(action, call, &mut lost, &mut entry.ignored).await
            }
        };
        let answer = match &result {
            Ok(body) => success(body.clone(), &request_id),
            Err(error) => failure(error, &request_id, &host, format),
        };
        match lost {
            None => {
                entry.outcome = result
                    .err()
                    .map_or_else(|| "OK".to_owned(), |error| error.code.into_owned());
                entry.status = answer.status().as_u16();
                self.ledger.record(entry);
                Outcome::Answer(answer)
            }
            Some((what, after)) => {
                what.clone_into(&mut entry.outcome);
                self.ledger.record(entry);
                Outcome::Cut(after)
            }
        }
    }

    fn admit(&self, call: &Call) -> Result<Action, ApiError> {
        self.gateway.admit(call, self.clock.now())?;
        if call.version != clb::VERSION {
            let message = format!("The mock cloud serves slb {} only.", clb::VERSION);
            return Err(ApiError::bad("InvalidVersion", message));
        }
        clb::find(&call.action)
    }

    /// Does what the call asks, with the fault that is due. `lost` says how the answer gets lost.
    async fn act(
        &self,
        action: Action,
        call: Call,
        lost: &mut Option<(&'static str, Duration)>,
        ignored: &mut Vec<String>,
    ) -> Result<serde_json::Value, ApiError> {
        let hang = self.settings().1.hang;
        let mut stale: Option<Arc<State>> = None;
        let hit: Option<Hit> = self.faults.take(&call.action);
        let mut delay = Duration::ZERO;
        match hit.as_ref().map(|hit| &hit.fault) {
            None => {}
            Some(Fault::Throttle { retry_after }) => {
                let mut error = ApiError::bad(
                    "Throttling.User",
                    "Request was denied due to user flow control.",
                );
                error.retry_after = *retry_after;
                return Err(error);
            }
            Some(Fault::Unavailable) => {
                let message = "The request has failed due to a temporary failure of the server.";
                return Err(ApiError::new(503, "ServiceUnavailable", message));
            }
            Some(Fault::Internal) => {
                let message = "The request processing has failed due to some unknown error.";
                return Err(ApiError::new(500, "InternalError", message));
            }
            Some(Fault::Refuse { status, code }) => {
                return Err(ApiError::new(
                    *status,
                    code.clone(),
                    "The call was refused as scripted.",
                ));
            }
            Some(Fault::TimeoutBefore) => {
                *lost = Some(("timeout before", hang));
                return Err(ApiError::new(500, "InternalError", ""));
            }
            Some(Fault::TimeoutAfter) => *lost = Some(("timeout after", hang)),
            Some(Fault::CutAnswer) => *lost = Some(("cut", Duration::ZERO)),
            Some(Fault::Delay(time)) => delay = *time,
            Some(Fault::StaleRead) => stale = hit.as_ref().map(|hit| hit.seen.clone()),
        }
        let result = match action {
            Action::Read(read) => {
                let state = stale.unwrap_or_else(|| self.state());
                self.with_context(&call, |context| read(&state, context))
            }
            Action::Write(write) => {
                self.change(|state| self.with_context(&call, |context| write(state, context)))
                    .await
            }
        };
        if result.is_ok() {
            *ignored = call.params.unused();
        }
        if !delay.is_zero() {
            self.clock.sleep(delay).await;
        }
        result
    }
}
