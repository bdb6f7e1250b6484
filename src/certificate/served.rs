//! Seeing a certificate served: the end of the loop.

use std::time::Duration;

use futures::future::join_all;
use gatewright_crds::cert_manager::Certificate;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;

use super::material::Leaf;
use crate::fronts::Fronts;
use crate::kubernetes::optional;
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
    /// A gateway may, and none of its proxies is up yet.
    NowhereUp,
    /// Everywhere: how many places.
    Everywhere(usize),
    /// Not everywhere within the limit: what was seen where it was missing.
    Missing(Vec<String>),
    /// Somebody wrote the Certificate or the Secret meanwhile: there is something newer to do.
    Overtaken,
}

/// Looks until `leaf`, which `secret` holds, is shown wherever that is used, or `limit` has passed,
/// or there is something newer to do for `certificate`.
///
/// # Errors
/// What the API server answered when asked where that is.
pub(super) async fn look(
    outside: &Outside,
    certificate: &Certificate,
    secret: &Secret,
    leaf: &Leaf,
    limit: Duration,
) -> kube::Result<Seen> {
    let namespace = secret.namespace().unwrap_or_default();
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
        let read = Fronts::read(outside).await?;
        let fronts = read.of_secret(&namespace, &secret.name_any());
        if fronts.is_empty() {
            return Ok(if read.use_secret(&secret.name_any()) {
                Seen::NowhereUp
            } else {
                Seen::NowhereUsed
            });
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
        if is_overtaken(outside, certificate, secret).await? {
            return Ok(Seen::Overtaken);
        }
        outside.clock.sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Whether `certificate` or `secret` is another now than when it was read.
async fn is_overtaken(
    outside: &Outside,
    certificate: &Certificate,
    secret: &Secret,
) -> kube::Result<bool> {
    let namespace = secret.namespace().unwrap_or_default();
    let certificates: Api<Certificate> = Api::namespaced(outside.kube.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(outside.kube.clone(), &namespace);
    let asked = optional(certificates.get_metadata(&certificate.name_any()).await)?;
    let held = optional(secrets.get_metadata(&secret.name_any()).await)?;
    Ok(
        asked.and_then(|now| now.resource_version()) != certificate.resource_version()
            || held.and_then(|now| now.resource_version()) != secret.resource_version(),
    )
}
