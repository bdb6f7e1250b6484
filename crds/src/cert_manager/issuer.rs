//! `Issuer`: who signs certificates in one namespace.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::SecretRef;
use crate::acme::Solver;
use crate::field_path::set_fields;
use crate::{FieldPath, cel};

/// Fields that are accepted and have no effect yet, below `spec`.
const UNSUPPORTED: &[&str] = &[
    "vault",
    "venafi",
    "ca.crlDistributionPoints",
    "ca.ocspServers",
    "ca.issuingCertificateURLs",
    "selfSigned.crlDistributionPoints",
    "acme.enableDurationFeature",
    "acme.solvers[].dns01",
    "acme.solvers[].http01.gatewayHTTPRoute",
    "acme.solvers[].http01.ingress.serviceType",
    "acme.solvers[].http01.ingress.name",
    "acme.solvers[].http01.ingress.podTemplate",
    "acme.solvers[].http01.ingress.ingressTemplate",
];

/// Who signs certificates for the Certificates of its namespace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "Issuer",
    plural = "issuers",
    category = "cert-manager",
    namespaced,
    doc = "Who signs certificates for the Certificates of its namespace.",
    status = "IssuerStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type == \"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.conditions[?(@.type == \"Ready\")].message", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::rules(&[(
    "[has(self.acme), has(self.ca), has(self.selfSigned), has(self.vault), \
     has(self.venafi)].filter(given, given).size() == 1",
    "exactly one of acme, ca, selfSigned, vault and venafi is needed",
)])))]
pub struct IssuerSpec {
    /// An ACME server (RFC 8555), such as Let's Encrypt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeIssuer>,
    /// A CA whose key pair is in a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaIssuer>,
    /// Each certificate is signed with its own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<SelfSignedIssuer>,
    /// A HashiCorp Vault.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Map<String, Value>>,
    /// A CyberArk Certificate Manager.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venafi: Option<Map<String, Value>>,
}

/// An ACME server and the account on it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcmeIssuer {
    /// Address of the server's directory (RFC 8555, 7.1.1).
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub server: String,
    /// Secret for the key of the account. It is made if it does not exist. Default key: tls.key.
    pub private_key_secret_ref: SecretRef,
    /// Mail address at which the server can reach the owner of the account.
    #[schemars(length(max = 320))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Certificates the server is verified with, PEM. Default: the roots of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::bytes")]
    pub ca_bundle: Option<ByteString>,
    /// Whether the server is not verified at all. Default: false.
    #[serde(rename = "skipTLSVerify")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_tls_verify: Option<bool>,
    /// Common name of the issuer by which a chain is chosen when the server offers several.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_chain: Option<String>,
    /// Profile of certificate to ask for, one that the server's directory lists.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Account at the CA to which the ACME account belongs (RFC 8555, 7.3.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_account_binding: Option<ExternalAccountBinding>,
    /// Whether a missing account key is an error in place of a reason to make one. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_account_key_generation: Option<bool>,
    /// Whether the duration of a Certificate is sent to the server. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_duration_feature: Option<bool>,
    /// How it is proven that a name is ours; the solver whose selector fits best is used.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub solvers: Vec<Solver>,
}

/// Account at the CA to which the ACME account belongs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalAccountBinding {
    /// Id of the key, given by the CA.
    #[serde(rename = "keyID")]
    #[schemars(length(min = 1, max = 1024))]
    pub key_id: String,
    /// Secret that holds the key, base64url.
    pub key_secret_ref: SecretRef,
    /// Algorithm of the binding. No effect: HS256 is used.
    #[schemars(extend("enum" = ["HS256", "HS384", "HS512"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_algorithm: Option<String>,
}

/// A CA whose key pair is in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaIssuer {
    /// Secret that holds certificate and key of the CA.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// Addresses of revocation lists to write into certificates.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crl_distribution_points: Vec<String>,
    /// Addresses of OCSP responders to write into certificates.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ocsp_servers: Vec<String>,
    /// Addresses of the CA's certificate to write into certificates.
    #[serde(rename = "issuingCertificateURLs")]
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuing_certificate_urls: Vec<String>,
}

/// Each certificate is signed with its own key.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelfSignedIssuer {
    /// Addresses of revocation lists to write into certificates.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crl_distribution_points: Vec<String>,
}

/// State of an Issuer or ClusterIssuer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// Findings by name; `Ready` says whether certificates can be asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
    /// The ACME account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeIssuerStatus>,
}

/// The ACME account of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcmeIssuerStatus {
    /// Address of the account at the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Mail address the account was last registered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_registered_email: Option<String>,
    /// Hash of the account key the account was last registered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_private_key_hash: Option<String>,
}

impl IssuerSpec {
    /// The fields that are set and have no effect yet, as paths from the object's root.
    pub fn unsupported(&self) -> Vec<FieldPath> {
        let mut found = set_fields("spec", self, UNSUPPORTED);
        for (set, path) in [
            (self.vault.is_some(), "spec.vault"),
            (self.venafi.is_some(), "spec.venafi"),
        ] {
            let path = FieldPath::new(path);
            if set && !found.contains(&path) {
                found.push(path);
            }
        }
        found
    }
}
