//! `Order`: one order at an ACME server.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cert_manager::IssuerRef;
use crate::{GoDuration, cel};

/// One order at an ACME server (RFC 8555, 7.1.3). Made by the controller.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "acme.cert-manager.io",
    version = "v1",
    kind = "Order",
    plural = "orders",
    category = "cert-manager",
    category = "cert-manager-acme",
    namespaced,
    doc = "One order at an ACME server. Its spec cannot be changed.",
    status = "OrderStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name": "State", "type": "string", "jsonPath": ".status.state"}"#,
    printcolumn = r#"{"name": "Issuer", "type": "string", "jsonPath": ".spec.issuerRef.name", "priority": 1}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.reason", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::rules(&[(
    "self == oldSelf",
    "the spec of an Order cannot be changed",
)])))]
pub struct OrderSpec {
    /// The issuer whose ACME server and account are used.
    pub issuer_ref: IssuerRef,
    /// The signing request: PEM of a PKCS#10 request.
    #[schemars(schema_with = "crate::schema::bytes")]
    pub request: ByteString,
    /// Common name of the request; must be among the DNS names or IP addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// DNS names that are ordered.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// IP addresses that are ordered.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<String>,
    /// For how long the certificate is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<GoDuration>,
    /// Profile of certificate that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// State of an Order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatus {
    /// Address of the order at the server. Set before anything else, so that a restart goes on with
    /// the same order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Address at which the order is finalized.
    #[serde(rename = "finalizeURL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finalize_url: Option<String>,
    /// What must be proven.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorizations: Vec<OrderAuthorization>,
    /// The certificate and its chain, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::bytes")]
    pub certificate: Option<ByteString>,
    /// State of the order at the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<AcmeState>,
    /// Why the order is in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the order failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_time: Option<Time>,
}

/// What must be proven for one name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderAuthorization {
    /// Address of the authorization at the server.
    pub url: String,
    /// The name, without the star of a wildcard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// Whether the name is a wildcard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wildcard: Option<bool>,
    /// State the authorization was in at first; `valid` needs no challenge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_state: Option<AcmeState>,
    /// Ways to prove it.
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub challenges: Vec<OrderChallenge>,
}

/// One way to prove a name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderChallenge {
    /// Address of the challenge at the server.
    pub url: String,
    /// The server's random part of the answer.
    pub token: String,
    /// Kind of challenge as the server spells it: http-01, dns-01, tls-alpn-01.
    #[serde(rename = "type")]
    pub kind: String,
}

/// State of an order, authorization or challenge at the server (RFC 8555, 7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AcmeState {
    /// Proven, or issued.
    Valid,
    /// All proven; the order can be finalized.
    Ready,
    /// Something must be proven.
    Pending,
    /// The server is at work.
    Processing,
    /// Failed.
    Invalid,
    /// Too late.
    Expired,
    /// The server's answer could not be understood or was an error.
    Errored,
}

impl AcmeState {
    /// Whether nothing changes any more.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Valid | Self::Invalid | Self::Expired | Self::Errored
        )
    }
}
