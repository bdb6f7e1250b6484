//! `Challenge`: one proof for one name.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AcmeState, Solver};
use crate::cel;
use crate::cert_manager::IssuerRef;

/// One proof for one name of an order (RFC 8555, 7.1.5). Made by the controller.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "acme.cert-manager.io",
    version = "v1",
    kind = "Challenge",
    plural = "challenges",
    category = "cert-manager",
    category = "cert-manager-acme",
    namespaced,
    doc = "One proof for one name of an order. Its spec cannot be changed.",
    status = "ChallengeStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".status.state"}"#,
    printcolumn = r#"{"name": "Domain", "type": "string", "jsonPath": ".spec.dnsName"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::rules(&[(
    "self == oldSelf",
    "the spec of a Challenge cannot be changed",
)])))]
pub struct ChallengeSpec {
    /// Address of the challenge at the server.
    pub url: String,
    /// Address of the authorization the challenge belongs to.
    #[serde(rename = "authorizationURL")]
    pub authorization_url: String,
    /// The name, without the star of a wildcard.
    pub dns_name: String,
    /// Whether the name is a wildcard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wildcard: Option<bool>,
    /// Kind of challenge: HTTP-01 or DNS-01.
    #[serde(rename = "type")]
    pub kind: ChallengeType,
    /// The server's random part of the answer.
    pub token: String,
    /// The answer: for HTTP-01 the key authorization, for DNS-01 its digest (RFC 8555, 8.1).
    pub key: String,
    /// How the answer is put in place.
    pub solver: Solver,
    /// The issuer whose account answers.
    pub issuer_ref: IssuerRef,
}

/// Kind of challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ChallengeType {
    /// A file on a web server (RFC 8555, 8.3).
    #[serde(rename = "HTTP-01")]
    Http01,
    /// A TXT record (RFC 8555, 8.4).
    #[serde(rename = "DNS-01")]
    Dns01,
}

/// State of a Challenge.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChallengeStatus {
    /// Whether it is worked on; only some are at a time.
    #[serde(default)]
    pub processing: bool,
    /// Whether the answer is in place.
    #[serde(default)]
    pub presented: bool,
    /// Why the challenge is in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// State of the challenge at the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<AcmeState>,
}
