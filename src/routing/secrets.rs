//! Secrets as Envoy takes them.

use gatewright_xds::Resource;
use gatewright_xds::proto::envoy::extensions::transport_sockets::tls::v3::{
    Secret, TlsCertificate, secret,
};
use gatewright_xds::proto::inline_bytes;

use crate::certificate::Material;

/// The name under which a Secret is asked for. It stays the same over rotations: a name with a hash
/// would turn each into a listener update.
pub(super) fn resource_name(namespace: &str, name: &str) -> String {
    format!("kubernetes://{namespace}/{name}")
}

/// The Secret `namespace/name` as a resource.
pub(super) fn resource(namespace: &str, name: &str, material: &Material) -> Resource {
    Resource::secret(&Secret {
        name: resource_name(namespace, name),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline_bytes(material.chain().to_vec())),
            private_key: Some(inline_bytes(material.key().to_vec())),
            ..TlsCertificate::default()
        })),
    })
}
