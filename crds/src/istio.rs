//! The routing kinds of `networking.istio.io`: which ports a gateway opens, and where requests go.

mod gateway;
mod http;
mod http_actions;
mod traffic;
mod virtual_service;

pub use gateway::{
    Gateway, GatewaySpec, Protocol, Server, ServerPort, TlsFiles, TlsMode, TlsSettings, TlsVersion,
};
pub use http::{HttpMatch, HttpRoute, HttpRouteDestination, StringMatch, StringMatchKind};
pub use http_actions::{
    Delegate, DirectResponse, HeaderOperations, Headers, HttpBody, Redirect, RedirectPort,
    RegexRewrite, Rewrite,
};
pub use traffic::{
    Abort, CorsPolicy, Delay, Fault, L4Match, Mirror, Percent, Retries, RouteDestination, TcpRoute,
    TlsMatch, TlsRoute,
};
pub use virtual_service::{Destination, PortSelector, VirtualService, VirtualServiceSpec};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// State of a routing object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingStatus {
    /// Findings by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
    /// `metadata.generation` that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
