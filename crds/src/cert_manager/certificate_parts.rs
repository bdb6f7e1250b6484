//! The parts of a Certificate's spec.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretRef;
use crate::cel;

/// How a private key is made and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::rules(&[
    (
        "!has(self.size) || (has(self.algorithm) && self.algorithm != 'RSA') || (self.size >= 2048 \
         && self.size <= 8192)",
        "the size of an RSA key must be 2048 to 8192",
    ),
    (
        "!has(self.size) || !has(self.algorithm) || self.algorithm != 'ECDSA' || self.size in [256, \
         384, 521]",
        "the size of an ECDSA key must be 256, 384 or 521",
    ),
])))]
pub struct PrivateKey {
    /// RSA, ECDSA or Ed25519. Default: RSA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<PrivateKeyAlgorithm>,
    /// Size of the key in bits: for RSA 2048 to 8192, for ECDSA 256, 384 or 521; no effect on
    /// Ed25519. Default: 2048 for RSA, 256 for ECDSA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i32>,
    /// How the key is written: PKCS1 or PKCS8. Default: PKCS1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<PrivateKeyEncoding>,
    /// Whether each issuance makes a new key (Always) or keeps the one in the Secret (Never).
    /// Default: Always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_policy: Option<RotationPolicy>,
}

impl PrivateKey {
    /// Kind of key, with the default filled in.
    pub fn algorithm(&self) -> PrivateKeyAlgorithm {
        self.algorithm.unwrap_or_default()
    }

    /// Size in bits, with the default for the kind of key filled in; 256 for Ed25519.
    pub fn size(&self) -> i32 {
        match self.algorithm() {
            PrivateKeyAlgorithm::Rsa => self.size.unwrap_or(2048),
            PrivateKeyAlgorithm::Ecdsa => self.size.unwrap_or(256),
            PrivateKeyAlgorithm::Ed25519 => 256,
        }
    }

    /// How the key is written, with the default filled in.
    pub fn encoding(&self) -> PrivateKeyEncoding {
        self.encoding.unwrap_or_default()
    }

    /// When a new key is made, with the default filled in.
    pub fn rotation_policy(&self) -> RotationPolicy {
        self.rotation_policy.unwrap_or_default()
    }
}

/// Kind of private key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PrivateKeyAlgorithm {
    /// RSA (RFC 8017).
    #[default]
    #[serde(rename = "RSA")]
    Rsa,
    /// ECDSA on P-256, P-384 or P-521.
    #[serde(rename = "ECDSA")]
    Ecdsa,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// How a private key is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PrivateKeyEncoding {
    /// PKCS#1 for RSA, SEC 1 for ECDSA.
    #[default]
    #[serde(rename = "PKCS1")]
    Pkcs1,
    /// PKCS#8 (RFC 5958).
    #[serde(rename = "PKCS8")]
    Pkcs8,
}

/// When a new private key is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum RotationPolicy {
    /// At each issuance.
    #[default]
    Always,
    /// Only when the Secret holds none.
    Never,
}

/// The subject of a certificate beside its common name (RFC 5280, 4.1.2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Organizations (O).
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// Countries (C).
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
    /// Units of the organization (OU).
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizational_units: Vec<String>,
    /// Towns (L).
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub localities: Vec<String>,
    /// States or provinces (ST).
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provinces: Vec<String>,
    /// Street addresses.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub street_addresses: Vec<String>,
    /// Postal codes.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub postal_codes: Vec<String>,
    /// Serial number of the subject, which is not that of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
}

/// A name of a kind that has no field of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtherName {
    /// Object identifier of the kind of name, dotted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oid: Option<String>,
    /// The name, as UTF-8.
    #[serde(rename = "utf8Value")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utf8_value: Option<String>,
}

/// Labels and annotations of the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretTemplate {
    /// Annotations to put on the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels to put on the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Java and PKCS#12 stores in the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keystores {
    /// A Java key store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jks: Option<JksKeystore>,
    /// A PKCS#12 store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pkcs12: Option<Pkcs12Keystore>,
}

/// A Java key store in the Secret: keystore.jks, and truststore.jks where the issuer gives its CA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JksKeystore {
    /// Whether the store is made.
    pub create: bool,
    /// Name of the key in the store. Default: certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Secret that holds the store's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretRef>,
    /// The store's password itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// A PKCS#12 store in the Secret: keystore.p12, and truststore.p12 where the issuer gives its CA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pkcs12Keystore {
    /// Whether the store is made.
    pub create: bool,
    /// Algorithms of the store: LegacyRC2, LegacyDES or Modern2023. Default: LegacyRC2.
    #[schemars(extend("enum" = ["LegacyRC2", "LegacyDES", "Modern2023"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Secret that holds the store's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretRef>,
    /// The store's password itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// A password that somebody wrote into an object.
///
/// `Debug` prints a mask. `Serialize` does not: the object goes back to the API server with it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Password(#[schemars(length(min = 1, max = 1024))] String);

impl Password {
    /// The password in the clear.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// One more form of key and certificate in the Secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputFormat {
    /// DER (key.der) or CombinedPEM (tls-combined.pem: key, then chain).
    #[serde(rename = "type")]
    pub kind: OutputFormatKind,
}

/// A form of key and certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OutputFormatKind {
    /// The key in DER, as `key.der`.
    #[serde(rename = "DER")]
    Der,
    /// Key and chain in one PEM, as `tls-combined.pem`.
    #[serde(rename = "CombinedPEM")]
    CombinedPem,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_in_debug_output() {
        let store: JksKeystore =
            serde_json::from_value(serde_json::json!({"create": true, "password": "hunter2"}))
                .unwrap();
        assert!(!format!("{store:?}").contains("hunter2"));
        assert_eq!(store.password.unwrap().reveal(), "hunter2");
    }

    #[test]
    fn sizes_default_by_algorithm() {
        let mut key = PrivateKey::default();
        assert_eq!(key.size(), 2048);
        key.algorithm = Some(PrivateKeyAlgorithm::Ecdsa);
        assert_eq!(key.size(), 256);
    }
}
