//! Answers of the product, as far as they are used.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

/// Of answers that say nothing but that the call was taken.
#[derive(Deserialize)]
pub(super) struct Accepted {}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(i64),
    Text(String),
    Truth(bool),
}

/// A number that some versions of the API send as text; nothing when it is empty.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Option::<NumberOrText>::deserialize(deserializer)? {
        Some(NumberOrText::Number(number)) => Some(number),
        Some(NumberOrText::Text(text)) => text.parse().ok(),
        Some(NumberOrText::Truth(_)) | None => None,
    })
}

/// `true`, `"true"`, `"True"` or `"on"`.
fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(match Option::<NumberOrText>::deserialize(deserializer)? {
        Some(NumberOrText::Truth(truth)) => Some(truth),
        Some(NumberOrText::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "on" => Some(true),
            "false" | "off" => Some(false),
            _ => None,
        },
        Some(NumberOrText::Number(_)) | None => None,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    #[serde(alias = "Key")]
    pub(super) tag_key: String,
    #[serde(default, alias = "Value")]
    pub(super) tag_value: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Tags {
    tag: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instance {
    pub(super) load_balancer_id: String,
    #[serde(default)]
    pub(super) load_balancer_name: String,
    #[serde(default)]
    pub(super) load_balancer_status: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    pub(super) address_type: String,
    #[serde(default, rename = "AddressIPVersion")]
    pub(super) address_ip_version: String,
    #[serde(rename = "VSwitchId")]
    v_switch_id: Option<String>,
    #[serde(default)]
    delete_protection: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) create_time_stamp: Option<i64>,
    #[serde(default)]
    tags: Tags,
    /// Of DescribeLoadBalancerAttribute.
    #[serde(default)]
    listener_ports_and_protocol: PortsAndProtocols,
}

impl Instance {
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }

    pub(super) fn subnet(&self) -> Option<&str> {
        self.v_switch_id.as_deref().filter(|id| !id.is_empty())
    }

    pub(super) fn is_protected(&self) -> bool {
        self.delete_protection == "on"
    }

    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        self.tags
            .tag
            .iter()
            .find(|tag| tag.tag_key == key)
            .map(|tag| tag.tag_value.as_str())
    }

    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        self.tags
            .tag
            .iter()
            .map(|tag| (tag.tag_key.clone(), tag.tag_value.clone()))
            .collect()
    }

    /// Port and description of each listener that has a description.
    pub(super) fn described_listeners(&self) -> impl Iterator<Item = (u16, &str)> {
        self.listener_ports_and_protocol
            .listener_port_and_protocol
            .iter()
            .filter_map(|listener| Some((listener.listener_port, listener.description.as_deref()?)))
            .filter(|(_, description)| !description.is_empty())
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PortsAndProtocols {
    listener_port_and_protocol: Vec<PortAndProtocol>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortAndProtocol {
    listener_port: u16,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instances {
    pub(super) load_balancers: InstanceList,
    #[serde(default, deserialize_with = "number")]
    pub(super) total_count: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct InstanceList {
    pub(super) load_balancer: Vec<Instance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreatedInstance {
    pub(super) load_balancer_id: String,
    #[serde(default)]
    pub(super) load_balancer_name: String,
    #[serde(default)]
    pub(super) address: String,
    #[serde(rename = "VSwitchId")]
    pub(super) v_switch_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListenerPage {
    #[serde(default)]
    pub(super) listeners: Vec<ListenerAnswer>,
    pub(super) next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListenerAnswer {
    pub(super) load_balancer_id: String,
    pub(super) listener_port: u16,
    #[serde(default)]
    pub(super) listener_protocol: String,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) scheduler: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) bandwidth: Option<i64>,
    #[serde(rename = "VServerGroupId")]
    pub(super) v_server_group_id: Option<String>,
    #[serde(rename = "TCPListenerConfig")]
    pub(super) tcp: Option<ListenerConfig>,
    #[serde(rename = "UDPListenerConfig")]
    pub(super) udp: Option<ListenerConfig>,
    #[serde(rename = "HTTPListenerConfig")]
    pub(super) http: Option<ListenerConfig>,
    #[serde(rename = "HTTPSListenerConfig")]
    pub(super) https: Option<ListenerConfig>,
}

/// The union of what the four kinds of listener tell.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListenerConfig {
    pub(super) connection_drain: Option<String>,
    #[serde(deserialize_with = "number")]
    pub(super) connection_drain_timeout: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) established_timeout: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) persistence_timeout: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) idle_timeout: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) request_timeout: Option<i64>,
    #[serde(deserialize_with = "truth")]
    pub(super) proxy_protocol_v2_enabled: Option<bool>,
    pub(super) server_certificate_id: Option<String>,
    #[serde(deserialize_with = "truth")]
    pub(super) health_check: Option<bool>,
    pub(super) health_check_type: Option<String>,
    #[serde(deserialize_with = "number")]
    pub(super) health_check_connect_port: Option<i64>,
    #[serde(rename = "HealthCheckURI")]
    pub(super) health_check_uri: Option<String>,
    pub(super) health_check_domain: Option<String>,
    pub(super) health_check_method: Option<String>,
    pub(super) health_check_http_code: Option<String>,
    #[serde(deserialize_with = "number")]
    pub(super) health_check_interval: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) health_check_connect_timeout: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) health_check_timeout: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) healthy_threshold: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) unhealthy_threshold: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Groups {
    #[serde(default, rename = "VServerGroups")]
    pub(super) groups: GroupList,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct GroupList {
    #[serde(rename = "VServerGroup")]
    pub(super) group: Vec<GroupAnswer>,
}

#[derive(Deserialize)]
pub(super) struct GroupAnswer {
    #[serde(rename = "VServerGroupId")]
    pub(super) id: String,
    #[serde(default, rename = "VServerGroupName")]
    pub(super) name: String,
}

/// Members of a group, as reads and writes of groups tell them.
#[derive(Deserialize)]
pub(super) struct Members {
    #[serde(rename = "VServerGroupId")]
    pub(super) group: Option<String>,
    #[serde(rename = "BackendServers")]
    pub(super) servers: Option<Servers>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Servers {
    pub(super) backend_server: Vec<Server>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Server {
    #[serde(rename = "ServerId")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) port: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) weight: Option<i64>,
    #[serde(default, rename = "ServerIp")]
    pub(super) ip: Option<String>,
    #[serde(default, rename = "Type")]
    pub(super) kind: Option<String>,
}
