//! The kinds of `cert-manager.io/v1`: what is to be issued, and by whom.

mod certificate;
mod certificate_parts;
mod certificate_request;
mod cluster_issuer;
mod issuer;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use certificate::{Certificate, CertificateSpec, CertificateStatus};
pub use certificate_parts::{
    JksKeystore, Keystores, OtherName, OutputFormat, OutputFormatKind, Password, Pkcs12Keystore,
    PrivateKey, PrivateKeyAlgorithm, PrivateKeyEncoding, RotationPolicy, SecretTemplate, Subject,
};
pub use certificate_request::{
    CertificateRequest, CertificateRequestSpec, CertificateRequestStatus,
};
pub use cluster_issuer::{ClusterIssuer, ClusterIssuerSpec};
pub use issuer::{
    AcmeIssuer, AcmeIssuerStatus, CaIssuer, ExternalAccountBinding, Issuer, IssuerSpec,
    IssuerStatus, SelfSignedIssuer,
};

/// API group of these kinds.
pub const GROUP: &str = "cert-manager.io";

/// Names of conditions and annotations that cert-manager's own clients read.
pub mod names {
    /// Condition of a Certificate: an issuance runs.
    pub const ISSUING: &str = "Issuing";
    /// Condition of a CertificateRequest: may be signed.
    pub const APPROVED: &str = "Approved";
    /// Condition of a CertificateRequest: must not be signed.
    pub const DENIED: &str = "Denied";
    /// Condition of a CertificateRequest: the request itself is at fault.
    pub const INVALID_REQUEST: &str = "InvalidRequest";
    /// Annotation and label that tie a Secret or request to its Certificate.
    pub const CERTIFICATE_NAME: &str = "cert-manager.io/certificate-name";
    /// Annotation of a CertificateRequest: which revision of the Certificate it is for.
    pub const CERTIFICATE_REVISION: &str = "cert-manager.io/certificate-revision";
    /// Annotation of a Secret: name of the issuer that signed.
    pub const ISSUER_NAME: &str = "cert-manager.io/issuer-name";
    /// Annotation of a Secret: kind of the issuer that signed.
    pub const ISSUER_KIND: &str = "cert-manager.io/issuer-kind";
    /// Annotation of a Secret: group of the issuer that signed.
    pub const ISSUER_GROUP: &str = "cert-manager.io/issuer-group";
    /// Annotation of a Secret: DNS names of the certificate in it, separated by commas.
    pub const ALT_NAMES: &str = "cert-manager.io/alt-names";
    /// Annotation of a Secret: common name of the certificate in it.
    pub const COMMON_NAME: &str = "cert-manager.io/common-name";
    /// Annotation of a CertificateRequest: Secret that holds the private key.
    pub const PRIVATE_KEY_SECRET_NAME: &str = "cert-manager.io/private-key-secret-name";
}

/// Points at an Issuer or ClusterIssuer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerRef {
    /// Name of the issuer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Issuer, which lives in the same namespace, or ClusterIssuer. Default: Issuer.
    #[schemars(length(max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// API group of the issuer. Default: cert-manager.io.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl IssuerRef {
    /// Kind of the issuer, with the default filled in.
    pub fn kind(&self) -> &str {
        self.kind
            .as_deref()
            .filter(|kind| !kind.is_empty())
            .unwrap_or("Issuer")
    }

    /// API group of the issuer, with the default filled in.
    pub fn group(&self) -> &str {
        self.group
            .as_deref()
            .filter(|group| !group.is_empty())
            .unwrap_or(GROUP)
    }
}

/// Points at a Secret of the same namespace; for a ClusterIssuer, of the controller's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key of its data. Default: depends on the use.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What a key may be used for, as X.509 names it (RFC 5280, 4.2.1.3 and 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum KeyUsage {
    /// Same as digital signature.
    #[serde(rename = "signing")]
    Signing,
    /// Signatures other than on certificates and CRLs.
    #[serde(rename = "digital signature")]
    DigitalSignature,
    /// Signatures that cannot be disowned.
    #[serde(rename = "content commitment")]
    ContentCommitment,
    /// Encryption of keys.
    #[serde(rename = "key encipherment")]
    KeyEncipherment,
    /// Key agreement.
    #[serde(rename = "key agreement")]
    KeyAgreement,
    /// Encryption of data.
    #[serde(rename = "data encipherment")]
    DataEncipherment,
    /// Signatures on certificates.
    #[serde(rename = "cert sign")]
    CertSign,
    /// Signatures on CRLs.
    #[serde(rename = "crl sign")]
    CrlSign,
    /// Only to encrypt, in a key agreement.
    #[serde(rename = "encipher only")]
    EncipherOnly,
    /// Only to decrypt, in a key agreement.
    #[serde(rename = "decipher only")]
    DecipherOnly,
    /// Anything.
    #[serde(rename = "any")]
    Any,
    /// TLS servers.
    #[serde(rename = "server auth")]
    ServerAuth,
    /// TLS clients.
    #[serde(rename = "client auth")]
    ClientAuth,
    /// Signatures on programs.
    #[serde(rename = "code signing")]
    CodeSigning,
    /// Mail.
    #[serde(rename = "email protection")]
    EmailProtection,
    /// Mail, its other name.
    #[serde(rename = "s/mime")]
    SMime,
    /// IPsec end systems.
    #[serde(rename = "ipsec end system")]
    IpsecEndSystem,
    /// IPsec tunnels.
    #[serde(rename = "ipsec tunnel")]
    IpsecTunnel,
    /// IPsec users.
    #[serde(rename = "ipsec user")]
    IpsecUser,
    /// Time stamps.
    #[serde(rename = "timestamping")]
    Timestamping,
    /// Answers of OCSP responders.
    #[serde(rename = "ocsp signing")]
    OcspSigning,
    /// Microsoft's server gated cryptography.
    #[serde(rename = "microsoft sgc")]
    MicrosoftSgc,
    /// Netscape's server gated cryptography.
    #[serde(rename = "netscape sgc")]
    NetscapeSgc,
}
