//! What the daemon reports about an IstioGateway.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// State of a gateway. The four capitalised keys are ASM's and keep its spelling; the others follow
/// the Kubernetes conventions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IstioGatewayStatus {
    /// One word for the whole gateway: Created, Reconciling, Available, ReconcileFailed, Unmanaged.
    #[serde(rename = "Status")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<GatewayState>,

    /// Addresses of the gateway's load balancer: IP addresses, or a DNS name for NLB.
    #[serde(rename = "GatewayAddress")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway_address: Vec<String>,

    /// The same addresses, each with the cluster it belongs to.
    #[serde(rename = "ClusterIdGatewayAddressMap")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_id_gateway_address_map: Vec<ClusterAddress>,

    /// Why the state is ReconcileFailed; empty otherwise.
    #[serde(rename = "ErrorMessage")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,

    /// `metadata.generation` that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Pods that exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Pods that are ready to serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// Findings by name; `Ready` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
}

/// One word for the state of a gateway.
///
/// ASM's public types leave the values open; these are the ones of the operator the shape comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum GatewayState {
    /// Seen, nothing done yet.
    Created,
    /// On the way to what the spec asks for.
    Reconciling,
    /// Serving as the spec asks.
    Available,
    /// Stuck; `ErrorMessage` says why.
    ReconcileFailed,
    /// Left alone on purpose.
    Unmanaged,
}

/// An address of the gateway and the cluster it leads to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAddress {
    /// IP address or DNS name.
    pub ip_address: String,
    /// Id of the cluster.
    pub cluster_id: String,
}
