//! Pairs of keys and certificates, made before a clock starts.

use anyhow::{Context as _, Result};
use gatewright::certificate::Material;
use gatewright_xds::Resource;
use gatewright_xds::proto::envoy::extensions::transport_sockets::tls::v3::{
    Secret as EnvoySecret, TlsCertificate, secret,
};
use gatewright_xds::proto::inline_bytes;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// A P-256 leaf with the certificate of its authority behind it, as an ACME server gives it.
pub(crate) struct Pair {
    chain: String,
    key: String,
    /// What a handshake shows.
    pub(crate) leaf: Vec<u8>,
}

/// Makes pairs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?);
        Ok(Self(issuer.context("making an authority")?))
    }

    pub(crate) fn pair(&self, host: &str) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec![host.to_owned()])?.signed_by(&key, &self.0)?;
        Ok(Pair {
            chain: format!("{}{}", leaf.pem(), self.0.pem()),
            key: key.serialize_pem(),
            leaf: leaf.der().to_vec(),
        })
    }

    pub(crate) fn pairs(&self, host: &str, count: usize) -> Result<Vec<Pair>> {
        (0..count).map(|_| self.pair(host)).collect()
    }
}

impl Pair {
    /// The pair as a Secret.
    pub(crate) fn secret(&self, namespace: &str, name: &str) -> Secret {
        let data = [("tls.crt", &self.chain), ("tls.key", &self.key)];
        let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())));
        Secret {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".into()),
            data: Some(data.into()),
            ..Secret::default()
        }
    }

    /// The pair as the publisher gives it to Envoy.
    pub(crate) fn resource(&self, namespace: &str, name: &str) -> Result<Resource> {
        let material = Material::new(self.chain.as_bytes(), self.key.as_bytes())?;
        Ok(Resource::secret(&EnvoySecret {
            name: format!("kubernetes://{namespace}/{name}"),
            r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
                certificate_chain: Some(inline_bytes(material.chain().to_vec())),
                private_key: Some(inline_bytes(material.key().to_vec())),
                ..TlsCertificate::default()
            })),
        }))
    }
}
