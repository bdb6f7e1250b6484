//! Kernel parameters of a gateway's pods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kernel parameters that an init container sets in the network namespace of the pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kernel {
    /// Whether the parameters are set. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// The parameters by their sysctl name; every value is a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<KernelParameters>,
}

/// Kernel parameters by their sysctl name, dots included; every value is a text.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct KernelParameters {
    /// Longest queue of connections that wait to be accepted.
    #[serde(rename = "net.core.somaxconn")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub somaxconn: Option<String>,
    /// Longest queue of packets that wait for the kernel.
    #[serde(rename = "net.core.netdev_max_backlog")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netdev_max_backlog: Option<String>,
    /// Receive buffer of a socket: least, default and greatest bytes.
    #[serde(rename = "net.ipv4.tcp_rmem")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_rmem: Option<String>,
    /// Send buffer of a socket: least, default and greatest bytes.
    #[serde(rename = "net.ipv4.tcp_wmem")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_wmem: Option<String>,
    /// First and last port for connections to upstreams.
    #[serde(rename = "net.ipv4.ip_local_port_range")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_local_port_range: Option<String>,
    /// Seconds a closed connection waits for its peer.
    #[serde(rename = "net.ipv4.tcp_fin_timeout")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_fin_timeout: Option<String>,
    /// Seconds a connection stays in TIME-WAIT.
    #[serde(rename = "net.ipv4.tcp_tw_timeout")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_tw_timeout: Option<String>,
    /// Whether TIME-WAIT sockets are used again for new connections.
    #[serde(rename = "net.ipv4.tcp_tw_reuse")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_tw_reuse: Option<String>,
    /// Whether TIME-WAIT sockets are recycled fast (old kernels).
    #[serde(rename = "net.ipv4.tcp_tw_recycle")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_tw_recycle: Option<String>,
    /// Whether TCP timestamps are sent.
    #[serde(rename = "net.ipv4.tcp_timestamps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_timestamps: Option<String>,
    /// Retransmissions before a connection is given up.
    #[serde(rename = "net.ipv4.tcp_retries2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_retries2: Option<String>,
    /// Whether an idle connection starts slowly again.
    #[serde(rename = "net.ipv4.tcp_slow_start_after_idle")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_slow_start_after_idle: Option<String>,
    /// Most sockets without an owner.
    #[serde(rename = "net.ipv4.tcp_max_orphans")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_max_orphans: Option<String>,
    /// Longest queue of half-open connections.
    #[serde(rename = "net.ipv4.tcp_max_syn_backlog")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_max_syn_backlog: Option<String>,
    /// Whether connection metrics are forgotten at close.
    #[serde(rename = "net.ipv4.tcp_no_metrics_save")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_no_metrics_save: Option<String>,
    /// Whether small writes are joined.
    #[serde(rename = "net.ipv4.tcp_autocorking")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_autocorking: Option<String>,
    /// Log levels of the kernel.
    #[serde(rename = "kernel.printk")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub printk: Option<String>,
    /// How readily memory is swapped, 0 to 100.
    #[serde(rename = "vm.swappiness")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<String>,
}
