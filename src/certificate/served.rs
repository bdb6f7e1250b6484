//! Seeing a certificate served: the end of the loop.

use std::time::Duration;

use futures::future::join_all;

use super::material::Leaf;
use crate::fronts::Fronts;
use crate::outside::Outside;

/// The condition that says the certificate in the Secret was seen at every proxy and every load
/// balancer address.
pub const SERVED: &str = "Served";

/// First and longest wait between two looks.
const FIRST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No gateway uses the Secret.
    NowhereUsed,
    /// Everywhere: how many places.
    Everywhere(usize),
    /// Not everywhere within the limit: what was seen where it was missing.
    Missing(Vec<String>),
}

/// Looks until `leaf` is shown wherever `namespace/secret` is used, or `limit` has passed.
///
/// # Errors
/// What the API server answered when asked where that is.
pub(super) async fn look(
    outside: &Outside,
    namespace: &str,
    secret: &str,
    leaf: &Leaf,
    limit: Duration,
) -> kube::Result<Seen> {
    let end = outside.clock.elapsed() + limit;
    let host = leaf
        .names
        .first()
        .map_or("gatewright.invalid".to_owned(), |name| {
            name.strip_prefix("*.")
                .map_or_else(|| name.clone(), |rest| format!("gatewright-probe.{rest}"))
        });
    let mut wait = FIRST_WAIT;
    loop {
        // Read anew each time: proxies come and go meanwhile.
        let fronts = Fronts::read(outside).await?.of_secret(namespace, secret);
        if fronts.is_empty() {
            return Ok(Seen::NowhereUsed);
        }
        let host = &host;
        let looks = fronts.iter().map(|front| async move {
            let shown = outside.probe.leaf(front.address, host).await;
            match shown.map(|der| Leaf::from_der(&der)) {
                Ok(Ok(shown)) if shown.fingerprint == leaf.fingerprint => None,
                Ok(Ok(shown)) => Some(format!("{front} shows serial {}", shown.serial)),
                Ok(Err(error)) => Some(format!("{front}: {error}")),
                Err(error) => Some(format!("{front}: {error}")),
            }
        });
        let missing: Vec<String> = join_all(looks).await.into_iter().flatten().collect();
        if missing.is_empty() {
            return Ok(Seen::Everywhere(fronts.len()));
        }
        if outside.clock.elapsed() >= end {
            return Ok(Seen::Missing(missing));
        }
        outside.clock.sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
