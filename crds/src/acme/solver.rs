//! How it is proven to an ACME server that a name is ours.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How it is proven that names are ours. Exactly one of http01 and dns01 is given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Solver {
    /// For which names. Default: for all that no other solver fits better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<SolverSelector>,
    /// By a file on the web server behind the name (RFC 8555, 8.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http01: Option<Http01Solver>,
    /// By a TXT record in the zone of the name (RFC 8555, 8.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns01: Option<Dns01Solver>,
}

/// For which names a solver is used.
///
/// An exact name wins over a zone, a longer zone over a shorter one, more labels over fewer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SolverSelector {
    /// Labels the Certificate must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Names, exactly as in the Certificate, a wildcard included.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// Zones, which hold all names below them.
    #[schemars(length(max = 1000))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_zones: Vec<String>,
}

/// How the file of an HTTP-01 challenge is served.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Http01Solver {
    /// By the gateways themselves: the proxies of this daemon answer, no Ingress and no pod is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSolver>,
    /// By an HTTPRoute of Gateway API.
    #[serde(rename = "gatewayHTTPRoute")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_http_route: Option<GatewayHttpRouteSolver>,
}

/// An HTTP-01 challenge answered behind an ingress.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressSolver {
    /// Class of the ingress that answers. Default: the gateways of this daemon.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// The same in its older form.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// An Ingress that exists and is extended.
    #[schemars(length(max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Type of the Service of the solver's pod.
    #[schemars(extend("enum" = ["ClusterIP", "NodePort"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// Template of the solver's pod.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub pod_template: Map<String, Value>,
    /// Template of the Ingress.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub ingress_template: Map<String, Value>,
}

/// An HTTP-01 challenge answered behind a Gateway of Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayHttpRouteSolver {
    /// Labels of the HTTPRoute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Gateways the route belongs to.
    #[schemars(length(max = 32), schema_with = "crate::schema::any_objects")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<Map<String, Value>>,
    /// Type of the Service of the solver's pod.
    #[schemars(extend("enum" = ["ClusterIP", "NodePort"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// Template of the solver's pod.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub pod_template: Map<String, Value>,
}

/// Who writes the TXT record of a DNS-01 challenge.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dns01Solver {
    /// Whether a CNAME of the record's name is followed: None or Follow. Default: None.
    #[schemars(extend("enum" = ["None", "Follow"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cname_strategy: Option<String>,
    /// A webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSolver>,
    /// A server of acme-dns.
    #[serde(rename = "acmeDNS")]
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub acme_dns: Map<String, Value>,
    /// Akamai's DNS.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub akamai: Map<String, Value>,
    /// Azure's DNS.
    #[serde(rename = "azureDNS")]
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub azure_dns: Map<String, Value>,
    /// Google's DNS.
    #[serde(rename = "cloudDNS")]
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub cloud_dns: Map<String, Value>,
    /// Cloudflare's DNS.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub cloudflare: Map<String, Value>,
    /// DigitalOcean's DNS.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub digitalocean: Map<String, Value>,
    /// Dynamic updates (RFC 2136).
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub rfc2136: Map<String, Value>,
    /// Amazon's DNS.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub route53: Map<String, Value>,
}

/// A webhook that writes TXT records.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookSolver {
    /// API group of the webhook.
    pub group_name: String,
    /// Name of the solver in it.
    pub solver_name: String,
    /// Settings of the solver.
    #[schemars(schema_with = "crate::schema::any_object")]
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
}
