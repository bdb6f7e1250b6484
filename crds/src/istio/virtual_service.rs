//! `VirtualService`: where requests for a host go.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HttpRoute, RoutingStatus, TcpRoute, TlsRoute};
use crate::FieldPath;
use crate::field_path::set_fields;

/// Fields that are accepted and have no effect yet, below `spec`.
const UNSUPPORTED: &[&str] = &[
    "exportTo",
    "tls",
    "tcp",
    "http[].fault",
    "http[].retries",
    "http[].mirror",
    "http[].mirrors",
    "http[].mirrorPercent",
    "http[].mirrorPercentage",
    "http[].corsPolicy",
    "http[].delegate",
    "http[].match[].scheme",
    "http[].match[].port",
    "http[].match[].queryParams",
    "http[].match[].withoutHeaders",
    "http[].match[].gateways",
    "http[].match[].sourceLabels",
    "http[].match[].sourceNamespace",
    "http[].match[].statPrefix",
    "http[].route[].destination.subset",
    "http[].rewrite.uriRegexRewrite",
];

/// Where requests for some hosts go.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "VirtualService",
    plural = "virtualservices",
    shortname = "vs",
    category = "istio-io",
    category = "networking-istio-io",
    namespaced,
    doc = "Where requests for some hosts go.",
    status = "RoutingStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Gateways", "type": "string", "jsonPath": ".spec.gateways", "description": "The gateways that use these routes"}"#,
    printcolumn = r#"{"name": "Hosts", "type": "string", "jsonPath": ".spec.hosts", "description": "The hosts the routes are for"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VirtualServiceSpec {
    /// Hosts the routes are for: `www.example.com` or `*.example.com`.
    #[schemars(length(max = 1024), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,

    /// Gateways that use the routes: `name` in the same namespace, or `namespace/name`. `mesh` means
    /// the sidecars of the mesh. Default: mesh.
    #[schemars(length(max = 256), inner(length(min = 1, max = 320)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,

    /// Namespaces that see the routes: `.` for its own, `*` for all. Default: `*`.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub export_to: Vec<String>,

    /// Routes for HTTP, tried in order; the first that matches is used.
    #[schemars(length(max = 4096))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpRoute>,

    /// Routes for TLS that is passed on, tried in order.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<TlsRoute>,

    /// Routes for TCP, tried in order.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp: Vec<TcpRoute>,
}

/// A service that requests go to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// Name of the service: `name`, `name.namespace` or `name.namespace.svc.cluster.local`. A name
    /// without a dot is one of the VirtualService's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Part of the service's pods, as a DestinationRule defines it.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Port of the service. Needed when it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortSelector>,
}

impl Destination {
    /// Namespace and name of the Service meant, for an object that lives in `namespace`. `None`: the
    /// host is not a name of a Service of the cluster (whose domain is `cluster.local`).
    pub fn service<'a>(&'a self, namespace: &'a str) -> Option<(&'a str, &'a str)> {
        let host = self
            .host
            .strip_suffix(".svc.cluster.local")
            .unwrap_or(&self.host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        match host.split_once('.') {
            None => Some((namespace, host)),
            Some((name, namespace)) if !namespace.contains('.') => Some((namespace, name)),
            Some(_) => None,
        }
    }
}

/// A port by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortSelector {
    /// The number, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub number: i32,
}

impl VirtualServiceSpec {
    /// The fields that are set and have no effect yet, as paths from the object's root.
    pub fn unsupported(&self) -> Vec<FieldPath> {
        set_fields("spec", self, UNSUPPORTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_names_of_a_service_mean_the_same() {
        for host in [
            "hello.default.svc.cluster.local",
            "hello.default.svc",
            "hello.default",
        ] {
            let destination = Destination {
                host: host.into(),
                ..Default::default()
            };
            assert_eq!(
                destination.service("shop"),
                Some(("default", "hello")),
                "{host}"
            );
        }
        let short = Destination {
            host: "hello".into(),
            ..Default::default()
        };
        assert_eq!(short.service("shop"), Some(("shop", "hello")));
        let outside = Destination {
            host: "www.example.com".into(),
            ..Default::default()
        };
        assert_eq!(outside.service("shop"), None);
    }
}
