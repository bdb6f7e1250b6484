use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Error;

/// The IstioGateway a proxy belongs to: the unit that resources are kept for and shown to.
///
/// Written `namespace/name`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId {
    namespace: Arc<str>,
    name: Arc<str>,
}

/// The trust domain in front of every identity.
const PREFIX: &str = "spiffe://gatewright/ns/";

impl GatewayId {
    /// The gateway `name` in `namespace`.
    ///
    /// # Errors
    /// [`Error::GatewayId`] when one is not an RFC 1123 label or subdomain, which is all that
    /// Kubernetes allows: a slash in a name would let one gateway pose as another.
    pub fn new(namespace: &str, name: &str) -> Result<Self, Error> {
        if is_name(namespace) && is_name(name) {
            Ok(Self {
                namespace: namespace.into(),
                name: name.into(),
            })
        } else {
            Err(Error::GatewayId {
                text: format!("{namespace}/{name}"),
            })
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name in its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URI SAN of this gateway's client certificates:
    /// `spiffe://gatewright/ns/NAMESPACE/gateway/NAME`.
    pub fn spiffe_uri(&self) -> String {
        format!("{PREFIX}{}/gateway/{}", self.namespace, self.name)
    }

    /// Reads what [`GatewayId::spiffe_uri`] wrote; anything else is `None`.
    pub fn from_spiffe_uri(uri: &str) -> Option<Self> {
        let (namespace, name) = uri.strip_prefix(PREFIX)?.split_once("/gateway/")?;
        Self::new(namespace, name).ok()
    }

    /// The `node.id` an Envoy of this gateway must have in its bootstrap: `NAMESPACE/NAME/POD`.
    ///
    /// The server refuses a stream whose node id names another gateway than the certificate does.
    pub fn node_id(&self, pod: &str) -> String {
        format!("{self}/{pod}")
    }

    /// Whether `node_id` has the form of [`GatewayId::node_id`] for this gateway.
    pub fn owns_node(&self, node_id: &str) -> bool {
        let mut parts = node_id.splitn(3, '/');
        parts.next() == Some(&self.namespace)
            && parts.next() == Some(&self.name)
            && parts.next().is_some_and(|pod| !pod.is_empty())
    }
}

/// RFC 1123 subdomain: lower-case letters, digits, `-` and `.`; starts and ends with no mark.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text.chars().all(|c| plain(c) || c == '-' || c == '.')
        && text.starts_with(plain)
        && text.ends_with(plain)
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GatewayId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (namespace, name) = text.split_once('/').ok_or_else(|| Error::GatewayId {
            text: text.to_owned(),
        })?;
        Self::new(namespace, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_reads_back_and_nothing_else_passes() {
        let id: GatewayId = "shop/edge".parse().unwrap();
        assert_eq!(GatewayId::from_spiffe_uri(&id.spiffe_uri()), Some(id));
        for uri in [
            "spiffe://gatewright/ns/shop/gateway/",
            "spiffe://gatewright/ns/shop/gateway/a/b",
            "spiffe://gatewright/ns/a/gateway/b/gateway/c",
            "spiffe://other/ns/shop/gateway/edge",
            "spiffe://gatewright/ns/Shop/gateway/edge",
        ] {
            assert_eq!(GatewayId::from_spiffe_uri(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_node_belongs_to_exactly_one_gateway() {
        let id = GatewayId::new("shop", "edge").unwrap();
        assert!(id.owns_node(&id.node_id("edge-0")));
        for node in [
            "shop/edge",
            "shop/edge/",
            "shop/edge-2/pod",
            "edge/shop/pod",
            "",
        ] {
            assert!(!id.owns_node(node), "{node}");
        }
    }
}
