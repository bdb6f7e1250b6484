//! `CertificateRequest`: one signing request to an issuer.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IssuerRef, KeyUsage};
use crate::{GoDuration, cel};

/// One signing request to an issuer. It is made by the controller and not changed afterwards.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "CertificateRequest",
    plural = "certificaterequests",
    shortname = "cr",
    shortname = "crs",
    category = "cert-manager",
    namespaced,
    doc = "One signing request to an issuer. Its spec cannot be changed.",
    status = "CertificateRequestStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Approved", "type": "string", "jsonPath": ".status.conditions[?(@.type == \"Approved\")].status"}"#,
    printcolumn = r#"{"name": "Denied", "type": "string", "jsonPath": ".status.conditions[?(@.type == \"Denied\")].status"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type == \"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Issuer", "type": "string", "jsonPath": ".spec.issuerRef.name"}"#,
    printcolumn = r#"{"name": "Requester", "type": "string", "jsonPath": ".spec.username"}"#,
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.conditions[?(@.type == \"Ready\")].message", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::rules(&[(
    "self == oldSelf",
    "the spec of a CertificateRequest cannot be changed",
)])))]
pub struct CertificateRequestSpec {
    /// The issuer that signs.
    pub issuer_ref: IssuerRef,
    /// The signing request: PEM (RFC 7468) of a PKCS#10 request.
    #[schemars(schema_with = "crate::schema::bytes")]
    pub request: ByteString,
    /// For how long the certificate is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<GoDuration>,
    /// Whether the certificate can sign others. Default: false.
    #[serde(rename = "isCA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_ca: Option<bool>,
    /// Key usages of the certificate. Default: digital signature, key encipherment.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usages: Vec<KeyUsage>,
    /// Who made this object. Filled in at its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Unique id of who made this object. Filled in at its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Groups of who made this object. Filled in at its creation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// More about who made this object. Filled in at its creation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// State of a CertificateRequest.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRequestStatus {
    /// Findings by name: Approved, Denied, InvalidRequest, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
    /// The certificate and its chain, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::bytes")]
    pub certificate: Option<ByteString>,
    /// Certificate of the CA, PEM, where the issuer gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::bytes")]
    pub ca: Option<ByteString>,
    /// When the request failed for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_time: Option<Time>,
}
