//! `Certificate`: what is to be issued, and the Secret it goes to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    IssuerRef, KeyUsage, Keystores, OtherName, OutputFormat, PrivateKey, SecretTemplate, Subject,
};
use crate::field_path::set_fields;
use crate::{FieldPath, GoDuration, cel};

/// How long a certificate is asked for when `duration` is not given: 90 days.
const DEFAULT_DURATION: GoDuration = GoDuration::from_hours(2160);

/// Letters, digits and hyphens in labels of at most 63; a star only as the whole leftmost label.
/// RFC 1123, 2.1 and RFC 6125, 6.4.3.
pub(crate) const DNS_NAME: &str = r"^(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$";

/// A DNS subdomain, as names of Secrets are.
pub(crate) const SUBDOMAIN: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Fields that are accepted and have no effect yet, below `spec`.
const UNSUPPORTED: &[&str] = &[
    "literalSubject",
    "otherNames",
    "keystores",
    "additionalOutputFormats",
    "nameConstraints",
    "isCA",
    "encodeUsagesInRequest",
    "signatureAlgorithm",
];

/// A certificate that shall exist in a Secret, and be renewed in time.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "Certificate",
    plural = "certificates",
    shortname = "cert",
    shortname = "certs",
    category = "cert-manager",
    namespaced,
    doc = "A certificate that shall exist in a Secret of type kubernetes.io/tls, and be renewed in time.",
    status = "CertificateStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type == \"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Secret", "type": "string", "jsonPath": ".spec.secretName"}"#,
    printcolumn = r#"{"name": "Issuer", "type": "string", "jsonPath": ".spec.issuerRef.name", "priority": 1}"#,
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.conditions[?(@.type == \"Ready\")].message", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::rules(&[
    (
        "has(self.commonName) || has(self.literalSubject) || (has(self.dnsNames) && \
         size(self.dnsNames) > 0) || (has(self.ipAddresses) && size(self.ipAddresses) > 0) || \
         (has(self.uris) && size(self.uris) > 0) || (has(self.emailAddresses) && \
         size(self.emailAddresses) > 0) || (has(self.otherNames) && size(self.otherNames) > 0)",
        "at least one of commonName, literalSubject, dnsNames, ipAddresses, uris, emailAddresses \
         and otherNames is needed",
    ),
    (
        "!has(self.duration) || duration(self.duration) >= duration('1h')",
        "duration must be 1h or more",
    ),
    (
        "!has(self.renewBefore) || duration(self.renewBefore) >= duration('5m')",
        "renewBefore must be 5m or more",
    ),
    (
        "!has(self.renewBefore) || duration(self.renewBefore) < (has(self.duration) ? \
         duration(self.duration) : duration('2160h'))",
        "renewBefore must be less than duration, which is 2160h by default",
    ),
    (
        "!has(self.renewBefore) || !has(self.renewBeforePercentage)",
        "only one of renewBefore and renewBeforePercentage can be given",
    ),
    (
        "!has(self.literalSubject) || (!has(self.commonName) && !has(self.subject))",
        "literalSubject cannot be given together with commonName or subject",
    ),
])))]
pub struct CertificateSpec {
    /// Secret that the private key and the certificate go to. It is made if it does not exist.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBDOMAIN))]
    pub secret_name: String,

    /// The issuer that signs.
    pub issuer_ref: IssuerRef,

    /// DNS names of the certificate. A star stands for one label and only at the left: *.example.com.
    #[schemars(length(max = 1000), inner(length(min = 1, max = 253), regex(pattern = DNS_NAME)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,

    /// Common name of the subject, at most 64 characters (RFC 5280, A.1). Clients ignore it when
    /// there are DNS names.
    #[schemars(length(min = 1, max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,

    /// IP addresses of the certificate.
    #[schemars(length(max = 1000), inner(length(max = 45)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<String>,

    /// URIs of the certificate.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,

    /// Mail addresses of the certificate.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub email_addresses: Vec<String>,

    /// Names of other kinds, each with its object identifier.
    #[schemars(length(max = 100))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_names: Vec<OtherName>,

    /// The whole subject as one text (RFC 4514), in place of subject and commonName.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub literal_subject: Option<String>,

    /// The subject beside its common name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,

    /// For how long the certificate is asked for, 1h or more; the issuer may give less. ACME servers
    /// mostly decide by themselves. Default: 2160h (90 days).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<GoDuration>,

    /// How long before its end the certificate is renewed, 5m or more and less than duration.
    /// Default: a third of the certificate's life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<GoDuration>,

    /// The same as a share of the certificate's life, in percent.
    #[schemars(range(min = 1, max = 99))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_before_percentage: Option<i32>,

    /// Key usages of the certificate. Default: digital signature, key encipherment.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usages: Vec<KeyUsage>,

    /// The private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<PrivateKey>,

    /// Signature algorithm the issuer is asked for.
    #[schemars(extend("enum" = ["SHA256WithRSA", "SHA384WithRSA", "SHA512WithRSA", "ECDSAWithSHA256", "ECDSAWithSHA384", "ECDSAWithSHA512", "PureEd25519"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_algorithm: Option<String>,

    /// Whether usages and basic constraints are part of the signing request. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode_usages_in_request: Option<bool>,

    /// Whether the certificate can sign others. Default: false.
    #[serde(rename = "isCA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_ca: Option<bool>,

    /// Labels and annotations of the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_template: Option<SecretTemplate>,

    /// Java and PKCS#12 stores in the same Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keystores: Option<Keystores>,

    /// More forms of key and certificate in the same Secret.
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additional_output_formats: Vec<OutputFormat>,

    /// Names a CA certificate may or may not sign for.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub name_constraints: Map<String, Value>,

    /// How many finished CertificateRequests are kept, 1 or more. Default: 1.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<i32>,
}

/// State of a Certificate.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Findings by name: Ready, and Issuing while an issuance runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
    /// From when the certificate in the Secret is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Until when the certificate in the Secret is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// When the next renewal is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal_time: Option<Time>,
    /// How often a certificate was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i32>,
    /// Issuances that failed in a row; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_issuance_attempts: Option<i32>,
    /// When the last of them failed; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Time>,
    /// Secret that holds the private key of the issuance that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_private_key_secret_name: Option<String>,
}

impl CertificateSpec {
    /// For how long the certificate is asked for, with the default filled in.
    pub fn duration(&self) -> GoDuration {
        self.duration.unwrap_or(DEFAULT_DURATION)
    }

    /// The private key asked for, with the defaults filled in by its own getters.
    pub fn private_key(&self) -> PrivateKey {
        self.private_key.clone().unwrap_or_default()
    }

    /// The fields that are set and have no effect yet, as paths from the object's root.
    pub fn unsupported(&self) -> Vec<FieldPath> {
        set_fields("spec", self, UNSUPPORTED)
    }
}
