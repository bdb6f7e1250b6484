use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gatewright_seams::Clock;

/// A refused proxy tries again every few seconds, for ever.
const QUIET: Duration = Duration::from_mins(1);

/// Addresses remembered; more would be a flood, of which a sample is enough.
const REMEMBERED: usize = 1024;

/// Logs refused connections: once a minute for each address.
#[derive(Clone)]
pub(super) struct Refusals {
    clock: Clock,
    last: Arc<Mutex<BTreeMap<IpAddr, Duration>>>,
}

impl Refusals {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            last: Arc::default(),
        }
    }

    pub(super) fn log(&self, peer: SocketAddr, reason: &str) {
        if self.is_news(peer.ip()) {
            tracing::warn!(%peer, reason, "refused a connection to the xDS server");
        }
    }

    fn is_news(&self, peer: IpAddr) -> bool {
        let now = self.clock.elapsed();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= REMEMBERED {
            last.retain(|_, at| now < *at + QUIET);
        }
        if last.get(&peer).is_some_and(|at| now < *at + QUIET) || last.len() >= REMEMBERED {
            return false;
        }
        last.insert(peer, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_address_is_logged_once_a_minute() {
        let clock = Clock::system();
        let refusals = Refusals::new(clock);
        let peer = IpAddr::from([127, 0, 0, 1]);
        assert!(refusals.is_news(peer));
        assert!(!refusals.is_news(peer));
        assert!(refusals.is_news(IpAddr::from([127, 0, 0, 2])));
        clock.sleep(QUIET).await;
        assert!(refusals.is_news(peer));
    }
}
