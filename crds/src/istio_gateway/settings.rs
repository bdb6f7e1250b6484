//! What a gateway has in every cluster, and what `overrides` can change in one.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, EnvVar, Lifecycle, ResourceRequirements, Toleration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GatewayPort, Kernel};
use crate::cel;

/// Proxies, Service and pods of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel::rules(&[
    (
        "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
        "minReplicas must not be greater than maxReplicas",
    ),
    (
        "!has(self.loadBalancerClass) || !has(self.serviceType) || self.serviceType == \
         'LoadBalancer'",
        "loadBalancerClass needs serviceType LoadBalancer",
    ),
])))]
pub struct GatewaySettings {
    /// Number of proxies while autoscaling is off. Default: 1.
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_count: Option<i32>,

    /// Whether the number of proxies follows the load, between minReplicas and maxReplicas. Default:
    /// false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscale_enabled: Option<bool>,

    /// Fewest proxies with autoscaling.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,

    /// Most proxies with autoscaling.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i32>,

    /// CPU use that autoscaling aims at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<UtilizationTarget>,

    /// Memory use that autoscaling aims at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<UtilizationTarget>,

    /// Pods more than asked for while a rollout runs: a number or a percentage, always a text ("2",
    /// "100%").
    #[schemars(length(max = 16), regex(pattern = "^[0-9]+%?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling_max_surge: Option<String>,

    /// Pods fewer than asked for while a rollout runs: a number or a percentage, always a text ("1",
    /// "25%").
    #[schemars(length(max = 16), regex(pattern = "^[0-9]+%?$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling_max_unavailable: Option<String>,

    /// Timing of the readiness probe. What is probed cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<ReadinessProbe>,

    /// Hooks of the proxy container: after its start, before its stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,

    /// How the gateway is reached: ClusterIP, NodePort or LoadBalancer. Default: LoadBalancer.
    #[schemars(extend("default" = "LoadBalancer"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<ServiceType>,

    /// Kind of load balancer: gatewright.dev/clb, gatewright.dev/nlb, or alibabacloud.com/nlb. Default:
    /// the controller of the cluster decides.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,

    /// Address the load balancer shall have, where the kind of load balancer can.
    #[serde(rename = "loadBalancerIP")]
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_ip: Option<String>,

    /// Which nodes or pods take traffic from outside: Cluster for all, Local for those on the node it
    /// arrives at, which keeps the client's address. Default: Cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,

    /// Ports of the Service.
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = cel::unique_ports()))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<GatewayPort>,

    /// More ports of the Service, for meshes that reach beyond the cluster.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mesh_expansion_ports: Vec<GatewayPort>,

    /// Annotations of the Service. The settings of the load balancer stand here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_annotations: BTreeMap<String, String>,

    /// Labels of the Service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_labels: BTreeMap<String, String>,

    /// Whether the ports are left out of the pod template. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_container_port_exposed: Option<bool>,

    /// Annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,

    /// Labels of the pods, beside app and istio.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,

    /// CPU and memory of a proxy. Default: limits of 2 CPU and 2G, requests of 200m and 256Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Environment of the proxy container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,

    /// Labels a node must have to run the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Rules on which nodes, and beside which pods, the pods run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// Taints of nodes that the pods bear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,

    /// Whether the pods share the network of their node. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,

    /// How the pods resolve names. Default: ClusterFirst.
    #[schemars(length(max = 32), extend("enum" = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_policy: Option<String>,

    /// Whether the proxy runs as root, so that it can listen below port 1024. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_root: Option<bool>,

    /// Secrets mounted into the proxy container.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_volumes: Vec<SecretVolume>,

    /// ConfigMaps mounted into the proxy container.
    #[schemars(length(max = 64))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_volumes: Vec<ConfigVolume>,

    /// Ports of the proxy for traffic between networks, separated by commas.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_ports: Option<String>,

    /// Networks whose endpoints the proxy sees, separated by commas.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_network_view: Option<String>,

    /// A container that fetched secrets for old proxies. Accepted so that old files apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sds: Option<Sds>,

    /// Kernel parameters of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,

    /// Compression of responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,

    /// Whether an Istio Gateway with the same ports is made too. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_create_gateway_yaml: Option<bool>,
}

impl GatewaySettings {
    /// Number of proxies while autoscaling is off, with the default filled in.
    pub fn replicas(&self) -> i32 {
        self.replica_count.unwrap_or(1)
    }

    /// How the gateway is reached, with the default filled in.
    pub fn service_type(&self) -> ServiceType {
        self.service_type.unwrap_or_default()
    }

    /// Which nodes or pods take traffic, with the default filled in.
    pub fn external_traffic_policy(&self) -> ExternalTrafficPolicy {
        self.external_traffic_policy.unwrap_or_default()
    }
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ServiceType {
    /// Inside the cluster.
    ClusterIP,
    /// At a port of every node.
    NodePort,
    /// Through a load balancer.
    #[default]
    LoadBalancer,
}

impl ServiceType {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Which nodes or pods take traffic from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    /// All of them.
    #[default]
    Cluster,
    /// Those on the node at which the traffic arrives.
    Local,
}

impl ExternalTrafficPolicy {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }
}

/// Use of a resource that autoscaling aims at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UtilizationTarget {
    /// Mean over the pods, in percent of what they request.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_average_utilization: Option<i32>,
}

/// Timing of the readiness probe.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessProbe {
    /// Failures in a row after which a pod is not ready.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<i32>,
    /// Seconds between two probes.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<i32>,
    /// Successes in a row after which a pod is ready.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<i32>,
}

/// A Secret mounted into the proxy container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// Name of the volume.
    pub name: String,
    /// Name of the Secret.
    pub secret_name: String,
    /// Folder in the container.
    pub mount_path: String,
}

/// A ConfigMap mounted into the proxy container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigVolume {
    /// Name of the volume.
    pub name: String,
    /// Name of the ConfigMap.
    pub config_map_name: String,
    /// Folder in the container.
    pub mount_path: String,
}

/// A container that fetched secrets for old proxies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sds {
    /// Whether the container is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its CPU and memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

/// Compression of responses. The keys are in snake case, as in ASM.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Compression {
    /// Whether responses are compressed. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Shortest body that is compressed, in bytes. Default: 30.
    #[schemars(range(min = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_content_length: Option<i64>,
    /// Content types that are compressed. Default: text, JSON, XML and scripts.
    #[schemars(length(max = 256))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content_type: Vec<String>,
    /// Whether a response with an ETag stays as it is. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_on_etag_header: Option<bool>,
    /// Whether the backend is not shown that the client takes compressed bodies. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_accept_encoding_header: Option<bool>,
    /// How gzip compresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gzip: Option<Gzip>,
}

/// How gzip compresses. The keys are in snake case, as in ASM.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Gzip {
    /// Memory for the compressor, 1 to 9. Default: 5.
    #[schemars(range(min = 1, max = 9))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_level: Option<i32>,
    /// Speed against size: DEFAULT, BEST, SPEED, or a level of Envoy's gzip. Default: DEFAULT.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_level: Option<String>,
    /// DEFAULT, FILTERED, HUFFMAN, RLE or FIXED. Default: DEFAULT.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_strategy: Option<String>,
    /// Binary logarithm of the window, 9 to 15. Default: 12.
    #[schemars(range(min = 9, max = 15))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_bits: Option<i32>,
    /// Bytes of output at a time. Default: 4096.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<i32>,
}
