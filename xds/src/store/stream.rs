use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{ChangeKind, Gateway, Shared, State, lock};
use crate::proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use crate::{Response, StreamError};

/// One proxy's end of the delta protocol. Dropping it is the proxy's disconnect.
pub struct ProxyStream {
    pub(super) shared: Arc<Shared>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) id: u64,
    pub(super) wake: Arc<Notify>,
}

impl ProxyStream {
    /// Takes a request of the proxy. The first one must carry the node.
    ///
    /// # Errors
    /// [`StreamError`] says why the stream has to be ended.
    pub fn request(&self, request: DeltaDiscoveryRequest) -> Result<(), StreamError> {
        let mut state = self.gateway.lock();
        let State {
            sessions, contents, ..
        } = &mut *state;
        let Some((session, wake)) = sessions.get_mut(&self.id) else {
            return Ok(());
        };
        wake.notify_one();
        let lifted = session.receive(request, contents)?;
        if !lifted.is_empty() {
            state.touch(&lifted);
        }
        drop(state);
        self.shared
            .watchers
            .notify(&self.gateway.id, ChangeKind::Proxies);
        Ok(())
    }

    /// Waits for the next response. Can be dropped and called again at any time.
    pub async fn next(&self) -> Response {
        loop {
            let (response, wait) = self.poll();
            if let Some(response) = response {
                return response;
            }
            match wait {
                // Both outcomes lead to another look.
                Some(wait) => drop(self.shared.clock.timeout(wait, self.wake.notified()).await),
                None => self.wake.notified().await,
            }
        }
    }

    pub(super) fn poll(&self) -> (Option<Response>, Option<Duration>) {
        let now = self.shared.clock.elapsed();
        let mut state = self.gateway.lock();
        let State {
            sessions, contents, ..
        } = &mut *state;
        let Some((session, _)) = sessions.get_mut(&self.id) else {
            return (None, None);
        };
        let response = session.poll(contents, now);
        (
            response,
            session.deadline(now).map(|at| at.saturating_sub(now)),
        )
    }
}

impl Drop for ProxyStream {
    fn drop(&mut self) {
        let mut gateways = lock(&self.shared.gateways);
        let mut state = self.gateway.lock();
        if let Some((mut session, _)) = state.sessions.remove(&self.id) {
            let keys = session.doubtful();
            state.contents.keep_doubtful(session.node_id(), keys);
        }
        if !state.known && state.sessions.is_empty() {
            gateways.remove(&self.gateway.id);
        }
        drop(state);
        drop(gateways);
        self.shared
            .watchers
            .notify(&self.gateway.id, ChangeKind::Proxies);
    }
}
