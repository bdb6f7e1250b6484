//! `Gateway`: the ports a gateway opens, and for which hosts.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RoutingStatus;
use crate::field_path::set_fields;
use crate::{FieldPath, cel};

/// A host name with an optional namespace before it: `*`, `*.example.com`, `ns/host`, `./host`.
const HOST: &str = r"^(([a-z0-9]([-a-z0-9]*[a-z0-9])?|\.|\*)/)?(\*|(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)$";

/// Fields that are accepted and have no effect yet, below `spec`.
const UNSUPPORTED: &[&str] = &[
    "servers[].bind",
    "servers[].defaultEndpoint",
    "servers[].tls.serverCertificate",
    "servers[].tls.privateKey",
    "servers[].tls.caCertificates",
    "servers[].tls.caCrl",
    "servers[].tls.caCertCredentialName",
    "servers[].tls.tlsCertificates",
    "servers[].tls.credentialNames",
    "servers[].tls.subjectAltNames",
    "servers[].tls.verifyCertificateSpki",
    "servers[].tls.verifyCertificateHash",
    "servers[].port.targetPort",
];

/// The ports that gateways open, and for which hosts.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1",
    kind = "Gateway",
    plural = "gateways",
    shortname = "gw",
    category = "istio-io",
    category = "networking-istio-io",
    namespaced,
    doc = "The ports that gateways open, and for which hosts.",
    status = "RoutingStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Labels of the gateway's pods; all must match.
    #[schemars(extend("maxProperties" = 64))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,

    /// The ports and hosts.
    #[schemars(length(max = 1024))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Server>,
}

/// A port, the hosts served at it, and how TLS is handled.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::rules(&[(
    "!(self.port.protocol in ['HTTPS', 'TLS', 'https', 'tls']) || has(self.tls)",
    "a server with the protocol HTTPS or TLS needs tls",
)])))]
pub struct Server {
    /// The port.
    pub port: ServerPort,

    /// Hosts served: `*`, `*.example.com` or `www.example.com`, with the namespace of the
    /// VirtualServices allowed to use it before a slash.
    #[schemars(length(min = 1, max = 1024), inner(length(min = 1, max = 320), regex(pattern = HOST)))]
    pub hosts: Vec<String>,

    /// How TLS is handled. Needed for HTTPS and TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,

    /// Name of the server, unique among all servers of a gateway.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Address or socket to listen at. Default: all addresses of the pod.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<String>,

    /// Where requests go that no route takes.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_endpoint: Option<String>,
}

/// A port of a server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerPort {
    /// Port of the gateway's Service, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub number: i32,
    /// HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, MONGO, TCP or TLS.
    #[schemars(
        length(max = 16),
        regex(pattern = r"^(?i:http|https|http2|grpc|grpc-web|mongo|tcp|tls)$")
    )]
    pub protocol: String,
    /// Name of the port.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Port of the pods. Default: what the Service says.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<i32>,
}

/// What is spoken at a port of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Plain HTTP; HTTP2, GRPC and GRPC-WEB are served the same way.
    Http,
    /// HTTP in TLS that the gateway ends.
    Https,
    /// Bytes.
    Tcp,
    /// TLS, ended or passed on by its server name.
    Tls,
    /// MongoDB, served as bytes.
    Mongo,
}

impl ServerPort {
    /// The protocol, whatever case it is written in. `None`: not one the schema allows.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.protocol.to_ascii_uppercase().as_str() {
            "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" => Some(Protocol::Http),
            "HTTPS" => Some(Protocol::Https),
            "TCP" => Some(Protocol::Tcp),
            "TLS" => Some(Protocol::Tls),
            "MONGO" => Some(Protocol::Mongo),
            _ => None,
        }
    }
}

/// How TLS is handled at a port.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::rules(&[(
    "!has(self.mode) || !(self.mode in ['SIMPLE', 'MUTUAL', 'OPTIONAL_MUTUAL']) || \
     has(self.credentialName) || has(self.credentialNames) || has(self.serverCertificate) || \
     has(self.tlsCertificates)",
    "credentialName is needed for the modes SIMPLE, MUTUAL and OPTIONAL_MUTUAL",
)])))]
pub struct TlsSettings {
    /// Whether plain HTTP requests are answered with a redirect to https (301). Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https_redirect: Option<bool>,

    /// PASSTHROUGH, SIMPLE, MUTUAL, AUTO_PASSTHROUGH, ISTIO_MUTUAL or OPTIONAL_MUTUAL. Default:
    /// PASSTHROUGH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,

    /// Secret with the certificate and key, in the namespace of the gateway's pods.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_name: Option<String>,

    /// Several Secrets, for certificates with different kinds of key.
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credential_names: Vec<String>,

    /// Secret with the certificates that clients are verified with.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_cert_credential_name: Option<String>,

    /// Lowest TLS version: TLS_AUTO, TLSV1_0, TLSV1_1, TLSV1_2 or TLSV1_3. Default: TLS 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_protocol_version: Option<TlsVersion>,

    /// Highest TLS version. Default: TLS 1.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_protocol_version: Option<TlsVersion>,

    /// Cipher suites up to TLS 1.2, in OpenSSL's names. Default: Envoy's.
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,

    /// Names of which a client's certificate must have one.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<String>,

    /// Hashes of the public keys that clients may have: SHA-256, base64.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verify_certificate_spki: Vec<String>,

    /// Hashes of the certificates that clients may have: SHA-256, hex.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verify_certificate_hash: Vec<String>,

    /// File with the certificate in the proxy's container.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_certificate: Option<String>,

    /// File with the private key in the proxy's container.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,

    /// File in the proxy's container with the certificates that clients are verified with.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,

    /// File in the proxy's container with a revocation list.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_crl: Option<String>,

    /// Several certificates in files of the proxy's container.
    #[schemars(length(max = 8))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls_certificates: Vec<TlsFiles>,
}

/// A certificate in files of the proxy's container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsFiles {
    /// The certificate and its chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_certificate: Option<String>,
    /// The private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    /// The certificates that clients are verified with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_certificates: Option<String>,
}

/// Who ends TLS, and whether clients show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// The backend ends TLS; the server name selects it.
    #[default]
    Passthrough,
    /// The gateway ends TLS.
    Simple,
    /// The gateway ends TLS and clients must show a certificate.
    Mutual,
    /// As `Passthrough`, without routes.
    AutoPassthrough,
    /// As `Mutual`, with the certificates of the mesh.
    IstioMutual,
    /// As `Mutual`, but clients without a certificate are served too.
    OptionalMutual,
}

/// A version of TLS.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
pub enum TlsVersion {
    /// The default.
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// TLS 1.0.
    #[serde(rename = "TLSV1_0")]
    V1_0,
    /// TLS 1.1.
    #[serde(rename = "TLSV1_1")]
    V1_1,
    /// TLS 1.2.
    #[serde(rename = "TLSV1_2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "TLSV1_3")]
    V1_3,
}

impl TlsSettings {
    /// Who ends TLS, with the default filled in.
    pub fn mode(&self) -> TlsMode {
        self.mode.unwrap_or_default()
    }

    /// Whether plain HTTP requests are answered with a redirect.
    pub fn https_redirect(&self) -> bool {
        self.https_redirect.unwrap_or(false)
    }
}

impl GatewaySpec {
    /// Whether a pod with these labels is meant: all of the selector's labels are there, and the
    /// selector is not empty.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.selector.is_empty()
            && self
                .selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    }

    /// What is set and has no effect yet, as paths from the object's root: fields, protocols other
    /// than HTTP and HTTPS, and TLS modes other than SIMPLE.
    pub fn unsupported(&self) -> Vec<FieldPath> {
        let mut found = set_fields("spec", self, UNSUPPORTED);
        for (index, server) in self.servers.iter().enumerate() {
            let protocol = server.port.protocol();
            if !matches!(protocol, Some(Protocol::Http | Protocol::Https)) {
                found.push(FieldPath::new(format!(
                    "spec.servers[{index}].port.protocol"
                )));
            }
            let tls_ended = server
                .tls
                .as_ref()
                .filter(|_| protocol == Some(Protocol::Https));
            if tls_ended.is_some_and(|tls| tls.mode() != TlsMode::Simple) {
                found.push(FieldPath::new(format!("spec.servers[{index}].tls.mode")));
            }
        }
        found
    }
}
