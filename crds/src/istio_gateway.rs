//! `IstioGateway`, the kind with which ASM users declare a gateway.

mod kernel;
mod port;
mod settings;
mod status;

use std::collections::BTreeMap;

use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::FieldPath;
use crate::field_path::set_fields;

pub use kernel::{Kernel, KernelParameters};
pub use port::GatewayPort;
pub use settings::{
    Compression, ConfigVolume, ExternalTrafficPolicy, GatewaySettings, Gzip, ReadinessProbe, Sds,
    SecretVolume, ServiceType, UtilizationTarget,
};
pub use status::{ClusterAddress, GatewayState, IstioGatewayStatus};

/// The one namespace in which a gateway can get its configuration.
pub const GATEWAY_NAMESPACE: &str = "istio-system";

/// Annotation: `"false"` leaves `spec.replicas` of the Deployment to somebody else (an HPA, a person).
pub const REPLICAS_MANAGED: &str = "asm.alibabacloud.com/replicas-managed-by-asm";

/// Annotation: seconds a proxy keeps serving while it is taken out of its load balancers.
pub const DRAIN_TIMEOUT_SECONDS: &str = "asm.alibabacloud.com/gateway-drain-timeout-seconds";

/// Annotation: `"true"` asks for a gateway that runs in Alibaba Cloud's own account.
pub const MANAGED_BY_ASM: &str = "asm.alibabacloud.com/managed-by-asm";

/// Fields that are accepted and have no effect yet, below `spec`. `overrides` is reported by cluster.
const UNSUPPORTED: &[&str] = &[
    "autoscaleEnabled",
    "minReplicas",
    "maxReplicas",
    "cpu",
    "memory",
    "meshExpansionPorts",
    "disableContainerPortExposed",
    "hostNetwork",
    "runAsRoot",
    "secretVolumes",
    "configVolumes",
    "applicationPorts",
    "requestedNetworkView",
    "sds",
    "kernel",
    "compression",
    "autoCreateGatewayYaml",
];

/// An Envoy gateway: its proxies, and the Service through which they are reached.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "istio.alibabacloud.com",
    version = "v1beta1",
    kind = "IstioGateway",
    plural = "istiogateways",
    namespaced,
    doc = "An Envoy gateway: its proxies, and the Service through which they are reached. Lives in the namespace istio-system.",
    status = "IstioGatewayStatus",
    schema = "disabled",
    derive = "PartialEq",
    printcolumn = r#"{"name": "Type", "type": "string", "jsonPath": ".spec.gatewayType"}"#,
    printcolumn = r#"{"name": "Replicas", "type": "integer", "jsonPath": ".status.replicas"}"#,
    printcolumn = r#"{"name": "Available", "type": "integer", "jsonPath": ".status.readyReplicas"}"#,
    printcolumn = r#"{"name": "Address", "type": "string", "jsonPath": ".status.GatewayAddress[0]"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct IstioGatewaySpec {
    /// Which way the traffic goes: `ingress` for clients outside, `egress` for workloads that call
    /// out. Default: ingress.
    #[schemars(extend("default" = "ingress"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_type: Option<GatewayType>,

    /// Ids of the clusters that get the gateway. Gatewright runs in one cluster and serves that one.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_ids: Vec<String>,

    /// What differs in single clusters: the key is a cluster id, a field set here wins over the same
    /// field of spec. The fields are those of spec.
    #[schemars(extend("maxProperties" = 32))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, GatewaySettings>,

    /// Everything else.
    #[serde(flatten)]
    pub settings: GatewaySettings,
}

/// Which way the traffic of a gateway goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GatewayType {
    /// From outside to workloads.
    #[default]
    Ingress,
    /// From workloads to the outside.
    Egress,
}

impl IstioGatewaySpec {
    /// The way the traffic goes, with the default filled in.
    pub fn gateway_type(&self) -> GatewayType {
        self.gateway_type.unwrap_or_default()
    }

    /// The fields that are set and have no effect yet, as paths from the object's root.
    ///
    /// Empty blocks and `false` count as not set. Each path is to become a condition.
    pub fn unsupported(&self) -> Vec<FieldPath> {
        let mut found = Vec::new();
        if self.gateway_type() == GatewayType::Egress {
            found.push(FieldPath::new("spec.gatewayType"));
        }
        found.extend(set_fields("spec", &self.settings, UNSUPPORTED));
        for (cluster, settings) in &self.overrides {
            let root = format!("spec.overrides[{cluster}]");
            if *settings != GatewaySettings::default() {
                found.push(FieldPath::new(root));
            }
        }
        found
    }
}

impl IstioGateway {
    /// Name of the generated Deployment, Service and ServiceAccount, and value of the label `app`.
    pub fn workload_name(&self) -> String {
        format!("istio-{}", self.name_any())
    }

    /// Labels that every pod of the gateway has and that its Services select.
    pub fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app".to_owned(), self.workload_name()),
            ("istio".to_owned(), self.name_any()),
        ])
    }

    /// Whether the number of replicas is ours to write: see [`REPLICAS_MANAGED`].
    pub fn replicas_managed(&self) -> bool {
        self.annotations()
            .get(REPLICAS_MANAGED)
            .is_none_or(|value| value != "false")
    }

    /// The value of [`DRAIN_TIMEOUT_SECONDS`] in seconds. `None`: not given, or not a number.
    pub fn drain_timeout_seconds(&self) -> Option<u32> {
        self.annotations()
            .get(DRAIN_TIMEOUT_SECONDS)?
            .trim()
            .parse()
            .ok()
    }

    /// Annotations that are set and have no effect yet.
    pub fn unsupported_annotations(&self) -> Vec<FieldPath> {
        let set = self
            .annotations()
            .get(MANAGED_BY_ASM)
            .is_some_and(|value| value == "true");
        set.then(|| FieldPath::new(format!("metadata.annotations[{MANAGED_BY_ASM}]")))
            .into_iter()
            .collect()
    }
}
