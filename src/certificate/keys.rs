//! Private keys and signing requests.

use gatewright_core::Secret;
use gatewright_crds::cert_manager::{PrivateKey, PrivateKeyAlgorithm};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};

/// Why there is no key or request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum KeyError {
    #[error(
        "spec.privateKey: {0} keys are not made here; use ECDSA of size 256 or 384, or Ed25519"
    )]
    NotMade(String),
    #[error("making the key: {0}")]
    Make(rcgen::Error),
    #[error("making the signing request: {0}")]
    Request(rcgen::Error),
}

/// A new key and a request for it.
pub(super) struct NewKey {
    /// PKCS#8 PEM.
    pub(super) pem: Secret<String>,
    /// PKCS#10 DER.
    pub(super) request: Vec<u8>,
}

/// Makes a key as `wanted` says and a signing request for `names`.
///
/// Without an algorithm the key is ECDSA P-256.
///
/// # Errors
/// A kind of key that cannot be made, or a name that no request can hold.
pub(super) fn new_key(
    wanted: Option<&PrivateKey>,
    common_name: Option<&str>,
    names: &[String],
) -> Result<NewKey, KeyError> {
    let size = wanted.and_then(|key| key.size);
    let algorithm = match wanted.and_then(|key| key.algorithm) {
        None => &PKCS_ECDSA_P256_SHA256,
        Some(PrivateKeyAlgorithm::Ed25519) => &PKCS_ED25519,
        Some(PrivateKeyAlgorithm::Ecdsa) => match size.unwrap_or(256) {
            256 => &PKCS_ECDSA_P256_SHA256,
            384 => &PKCS_ECDSA_P384_SHA384,
            other => return Err(KeyError::NotMade(format!("ECDSA {other}"))),
        },
        Some(PrivateKeyAlgorithm::Rsa) => return Err(KeyError::NotMade("RSA".into())),
    };
    let key = KeyPair::generate_for(algorithm).map_err(KeyError::Make)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(KeyError::Request)?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    let request = params.serialize_request(&key).map_err(KeyError::Request)?;
    Ok(NewKey {
        pem: Secret::new(key.serialize_pem()),
        request: request.der().to_vec(),
    })
}
