//! A certificate chain with its key, checked before anybody is given it.
//!
//! Envoy takes an expired certificate, and one for another host; and one bad secret among many
//! keeps good ones from being installed. So everything is refused here that would not work there.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// Why a chain and key cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialError {
    #[error("the secret has no {0}")]
    Missing(&'static str),
    #[error("{0} is not PEM that can be read")]
    Pem(&'static str),
    #[error("certificate {index} of the chain cannot be read")]
    Certificate { index: usize },
    #[error("certificate {index} of the chain is not issued by the one after it")]
    Order { index: usize },
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    #[error("the certificate expired at {0}")]
    Expired(Timestamp),
    #[error("the certificate is not valid before {0}")]
    NotYetValid(Timestamp),
    #[error("the certificate does not cover {0}")]
    Name(String),
}

/// What there is to know of a leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Lower-case hex, without leading zeros.
    pub serial: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// DNS names, as the certificate spells them.
    pub names: Vec<String>,
    /// SHA-256 of the DER.
    pub fingerprint: [u8; 32],
}

impl Leaf {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn from_der(der: &[u8]) -> Result<Self, MaterialError> {
        let unreadable = || MaterialError::Certificate { index: 0 };
        let (_, cert) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
        let time = |seconds| Timestamp::from_second(seconds).map_err(|_| unreadable());
        let names = cert.subject_alternative_name().ok().flatten();
        let names = names
            .into_iter()
            .flat_map(|extension| &extension.value.general_names);
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        Ok(Self {
            serial: format!("{:x}", cert.tbs_certificate.serial),
            not_before: time(cert.validity().not_before.timestamp())?,
            not_after: time(cert.validity().not_after.timestamp())?,
            names: names.filter_map(dns).collect(),
            fingerprint: Sha256::digest(der).into(),
        })
    }

    /// Whether a TLS client that asks for `host` takes this certificate (RFC 6125 section 6.4: a
    /// wildcard stands for exactly one leftmost label).
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) if host.starts_with("*.") => host[2..].eq_ignore_ascii_case(parent),
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

/// A chain and its key that fit together. `Debug` shows no key; its memory is wiped on drop.
#[derive(Clone)]
pub struct Material {
    leaf: Leaf,
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("leaf", &self.leaf)
            .finish_non_exhaustive()
    }
}

impl Material {
    /// Checks that `chain` (PEM, leaf first) and `key` (PEM) can be read, are in order, and belong
    /// together.
    ///
    /// # Errors
    /// What is wrong; never with any part of the key.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, MaterialError> {
        let ders: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| MaterialError::Pem("tls.crt"))?;
        let first = ders.first().ok_or(MaterialError::Pem("tls.crt"))?;
        let leaf = Leaf::from_der(first)?;
        let mut parsed = Vec::new();
        for (index, der) in ders.iter().enumerate() {
            let (_, cert) =
                X509Certificate::from_der(der).map_err(|_| MaterialError::Certificate { index })?;
            parsed.push(cert);
        }
        for (index, pair) in parsed.windows(2).enumerate() {
            if pair[0].issuer().as_raw() != pair[1].subject().as_raw() {
                return Err(MaterialError::Order { index });
            }
        }
        let private =
            PrivateKeyDer::from_pem_slice(key).map_err(|_| MaterialError::Pem("tls.key"))?;
        let signer = rustls::crypto::ring::sign::any_supported_type(&private)
            .map_err(|_| MaterialError::Pem("tls.key"))?;
        // The whole SubjectPublicKeyInfo, algorithm included, must be the same bytes.
        let public = signer.public_key().ok_or(MaterialError::KeyMismatch)?;
        if public.as_ref() != parsed[0].public_key().raw {
            return Err(MaterialError::KeyMismatch);
        }
        Ok(Self {
            leaf,
            chain: chain.to_vec(),
            key: Zeroizing::new(key.to_vec()),
        })
    }

    /// Reads a Secret with `tls.crt` and `tls.key`, or with `cert` and `key` as Istio's generic
    /// secrets have them. The Secret's type does not matter.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn from_secret(secret: &Secret) -> Result<Self, MaterialError> {
        let data = secret.data.as_ref();
        let part = |name: &'static str| {
            data.and_then(|data| data.get(name))
                .filter(|value| !value.0.is_empty())
                .map(|value| value.0.as_slice())
                .ok_or(MaterialError::Missing(name))
        };
        let generic = data.is_some_and(|data| {
            data.contains_key("cert") && data.contains_key("key") && !data.contains_key("tls.crt")
        });
        if generic {
            return Self::new(part("cert")?, part("key")?);
        }
        Self::new(part("tls.crt")?, part("tls.key")?)
    }

    /// Whether it may be served at `now`.
    ///
    /// # Errors
    /// Expired or not yet valid.
    pub fn check_time(&self, now: Timestamp) -> Result<(), MaterialError> {
        if now >= self.leaf.not_after {
            return Err(MaterialError::Expired(self.leaf.not_after));
        }
        if now < self.leaf.not_before {
            return Err(MaterialError::NotYetValid(self.leaf.not_before));
        }
        Ok(())
    }

    /// Whether it covers all of `names`.
    ///
    /// # Errors
    /// The first name that it does not cover.
    pub fn check_names<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Result<(), MaterialError> {
        let missing = names.into_iter().find(|name| !self.leaf.covers(name));
        missing.map_or(Ok(()), |name| Err(MaterialError::Name(name.clone())))
    }

    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// PEM, leaf first.
    pub fn chain(&self) -> &[u8] {
        &self.chain
    }

    /// PEM. Call it where the key is used, never where something is logged.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let cert = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        (cert.pem(), key.serialize_pem())
    }

    #[test]
    fn a_pair_that_belongs_together_is_taken() {
        let (chain, key) = pair(&["shop.example.com", "*.shop.example.com"]);
        let material = Material::new(chain.as_bytes(), key.as_bytes()).unwrap();
        let leaf = material.leaf();
        assert!(leaf.covers("shop.example.com") && leaf.covers("www.shop.example.com"));
        assert!(!leaf.covers("a.b.shop.example.com") && !leaf.covers("example.com"));
        assert!(!format!("{material:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_foreign_key_and_garbage_are_refused() {
        let (chain, key) = pair(&["a.example.com"]);
        let (_, other) = pair(&["a.example.com"]);
        let refused =
            |chain: &str, key: &str| Material::new(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(refused(&chain, &other), MaterialError::KeyMismatch);
        assert_eq!(refused("garbage", &key), MaterialError::Pem("tls.crt"));
        assert_eq!(refused(&chain, "garbage"), MaterialError::Pem("tls.key"));
    }

    #[test]
    fn a_chain_in_the_wrong_order_is_refused() {
        let (chain, key) = pair(&["a.example.com"]);
        let params = CertificateParams::new(vec!["x.example.com".to_owned()]).unwrap();
        let mut params = params;
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "somebody else");
        let other = params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .pem();
        let error =
            Material::new(format!("{chain}{other}").as_bytes(), key.as_bytes()).unwrap_err();
        assert_eq!(error, MaterialError::Order { index: 0 });
    }
}
