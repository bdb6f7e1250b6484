//! Whether the answer to a challenge reaches where the authority will ask.

use std::time::Duration;

use super::acme::{AcmeError, Routed};
use crate::fronts::Fronts;
use crate::outside::Outside;

/// How long a name may be served by no gateway before it is left to the authority.
const UNSERVED_GRACE: Duration = Duration::from_secs(5);
/// How long an answer to a challenge gets to be reachable before the authority is told.
const ROUTED_LIMIT: Duration = Duration::from_mins(1);
/// First and longest wait between two looks: each asks the API server for all that leads there.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The gateways, seen from outside.
pub(super) struct Gateways<'a>(pub(super) &'a Outside);

impl Routed for Gateways<'_> {
    /// Asks every load balancer that takes plain HTTP for `name`, as the authority will. A name
    /// that no gateway serves is left to the authority.
    async fn routed(&self, name: &str, path: &str, answer: &str) -> Result<(), AcmeError> {
        let clock = &self.0.clock;
        let (end, grace) = (
            clock.elapsed() + ROUTED_LIMIT,
            clock.elapsed() + UNSERVED_GRACE,
        );
        let mut wait = FIRST_WAIT;
        loop {
            let read = Fronts::read(self.0).await;
            // A load balancer on its way is waited for: authorities count failed validations.
            let awaited = read.as_ref().ok().and_then(|all| all.awaited_for(name));
            let fronts = read.map(|all| all.of_http_host(name));
            let mut missing = None;
            match &fronts {
                Err(error) => missing = Some(("the gateways".to_owned(), error.to_string())),
                // Objects that are applied together come one after the other.
                Ok(fronts) if fronts.is_empty() && clock.elapsed() < grace => {
                    missing = Some(("any gateway".to_owned(), "none serves it".to_owned()));
                }
                Ok(_) => {}
            }
            if let Some(service) = awaited {
                missing = Some((service, "it has no address yet".to_owned()));
            }
            for front in fronts.as_deref().unwrap_or_default() {
                let got = self.0.probe.get(front.address, name, path).await;
                let cause = match got {
                    Ok((200, body)) if body.as_ref() == answer.as_bytes() => continue,
                    Ok((status, _)) => format!("status {status}"),
                    Err(error) => error.to_string(),
                };
                missing = Some((front.to_string(), cause));
                break;
            }
            let Some((address, cause)) = missing else {
                return Ok(());
            };
            if clock.elapsed() >= end {
                let name = name.to_owned();
                return Err(AcmeError::NotRouted {
                    name,
                    address,
                    limit: ROUTED_LIMIT,
                    cause,
                });
            }
            clock.sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
