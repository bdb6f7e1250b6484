//! A port of a gateway's Service.

use k8s_openapi::api::core::v1::ServicePort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A port of the gateway's Service, and the port of the proxies behind it.
///
/// As a port of a Service, with application protocols allowed in `protocol` (ASM 1.9.7.107 and
/// later).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayPort {
    /// Name of the port, a DNS label; needed when there is more than one port.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Port at which clients reach the gateway, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    /// TCP, UDP or SCTP, or an application protocol that runs over TCP. Default: TCP.
    #[schemars(
        length(max = 16),
        regex(pattern = r"^(TCP|UDP|SCTP|HTTP|HTTPS|HTTP2|GRPC|GRPC-WEB|TLS|MONGO|MYSQL|REDIS)$"),
        extend("default" = "TCP")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,

    /// Port at which the proxies listen, a number from 1 to 65535 or the name of a container port.
    /// Default: the same as port.
    #[schemars(extend("minimum" = 1, "maximum" = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<IntOrString>,

    /// Port on each node for the Service types NodePort and LoadBalancer. Default: chosen by the
    /// cluster.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_port: Option<i32>,

    /// Application protocol as in a Service, such as kubernetes.io/h2c.
    #[schemars(length(max = 316))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

impl GatewayPort {
    /// The protocol below the application: `TCP`, `UDP` or `SCTP`.
    pub fn transport(&self) -> &'static str {
        match self.protocol.as_deref() {
            Some("UDP") => "UDP",
            Some("SCTP") => "SCTP",
            _ => "TCP",
        }
    }

    /// The port of the pods, when it is a number.
    pub fn target_number(&self) -> Option<i32> {
        match &self.target_port {
            None => Some(self.port),
            Some(IntOrString::Int(number)) => Some(*number),
            Some(IntOrString::String(_)) => None,
        }
    }

    /// The port as core/v1 allows it: an application protocol moves to `appProtocol`, since a
    /// Service takes TCP, UDP and SCTP only.
    pub fn to_service_port(&self) -> ServicePort {
        let application = self
            .protocol
            .as_deref()
            .filter(|protocol| !matches!(*protocol, "TCP" | "UDP" | "SCTP"))
            .map(str::to_ascii_lowercase);
        ServicePort {
            app_protocol: self.app_protocol.clone().or(application),
            name: self.name.clone(),
            node_port: self.node_port,
            port: self.port,
            protocol: Some(self.transport().to_owned()),
            target_port: self.target_port.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_protocol_becomes_tcp_in_the_service() {
        let port = GatewayPort {
            port: 80,
            protocol: Some("HTTP2".into()),
            ..Default::default()
        };
        let service = port.to_service_port();
        assert_eq!(service.protocol.as_deref(), Some("TCP"));
        assert_eq!(service.app_protocol.as_deref(), Some("http2"));
        assert_eq!(port.target_number(), Some(80));
    }
}
