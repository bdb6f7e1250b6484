use serde_json::{Map, Value, json};

use super::listeners::{find, protocol_of};
use super::{Answer, Context, attributes, no_instance, tags};
use crate::answer::ApiError;
use crate::plane::Health;
use crate::state::{Instance, Listener, ListenerStatus, Protocol, State};

/// What every description of a listener says.
fn common(listener: &Listener, context: &Context<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("ListenerPort".to_owned(), json!(listener.port));
    fields.insert(
        "Status".to_owned(),
        json!(listener.status_at(context.now).as_str()),
    );
    fields.insert("Description".to_owned(), json!(listener.description));
    if let Some(port) = listener.backend_port {
        fields.insert("BackendServerPort".to_owned(), json!(port));
    }
    if let Some(group) = &listener.group {
        fields.insert("VServerGroupId".to_owned(), json!(group));
    }
    fields
}

pub(super) fn describe(state: &State, context: &Context<'_>, protocol: Protocol) -> Answer {
    context.region(false)?;
    let instance = state.instance(context)?;
    let listener = &instance.listeners[find(instance, context, Some(protocol))?];
    let mut fields = common(listener, context);
    fields.insert("LoadBalancerId".to_owned(), json!(instance.id));
    fields.insert("Tags".to_owned(), tags::wrapped(&listener.tags));
    fields.insert("AclIds".to_owned(), json!({ "AclId": [] }));
    if protocol == Protocol::Http {
        fields.insert("Rules".to_owned(), json!({ "Rule": [] }));
        fields.insert("SecurityStatus".to_owned(), json!("on"));
    }
    fields.extend(listener.attributes.clone());
    Ok(Value::Object(fields))
}

pub(super) fn describe_all(state: &State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let params = context.params;
    let ids = params.list("LoadBalancerId");
    if ids.len() > 10 {
        return Err(ApiError::invalid(
            "LoadBalancerId",
            "it must have at most 10 values",
        ));
    }
    if let [id] = ids[..]
        && !state.instances.contains_key(id)
    {
        return Err(no_instance());
    }
    let protocol = protocol_of(context)?;
    let port = params.number("ListenerPort", 1..=u16::MAX)?;
    let description = params.get("Description");
    let wanted = tags::filter(context)?;
    let size = params.number("MaxResults", 1..=100_usize)?.unwrap_or(20);
    let start = params.number("NextToken", 0..=usize::MAX)?.unwrap_or(0);
    let found: Vec<(&Instance, &Listener)> = state
        .instances
        .values()
        .filter(|instance| ids.is_empty() || ids.contains(&instance.id.as_str()))
        .flat_map(|instance| {
            instance
                .listeners
                .iter()
                .map(move |listener| (instance, listener))
        })
        .filter(|(_, listener)| protocol.is_none_or(|protocol| listener.protocol == protocol))
        .filter(|(_, listener)| port.is_none_or(|port| listener.port == port))
        .filter(|(_, listener)| description.is_none_or(|text| listener.description == text))
        .filter(|(_, listener)| tags::matches(&listener.tags, &wanted))
        .collect();
    let end = start.saturating_add(size);
    let next = if end < found.len() {
        end.to_string()
    } else {
        String::new()
    };
    let page: Vec<Value> = found
        .iter()
        .skip(start)
        .take(size)
        .map(|(instance, listener)| in_list(instance, listener, context))
        .collect();
    Ok(json!({
        "Listeners": page,
        "TotalCount": found.len(),
        "MaxResults": size,
        "NextToken": next,
    }))
}

/// A listener as DescribeLoadBalancerListeners shows it: its protocol's attributes are an object
/// of their own.
fn in_list(instance: &Instance, listener: &Listener, context: &Context<'_>) -> Value {
    let mut fields = common(listener, context);
    fields.insert("LoadBalancerId".to_owned(), json!(instance.id));
    fields.insert(
        "ListenerProtocol".to_owned(),
        json!(listener.protocol.as_str()),
    );
    fields.insert("Tags".to_owned(), json!(tags::bare(&listener.tags)));
    fields.insert("AclIds".to_owned(), json!([]));
    let mut own = Map::new();
    for (name, value) in &listener.attributes {
        if attributes::SHARED.contains(&name.as_str()) {
            fields.insert(name.clone(), value.clone());
        } else if let Value::Bool(flag) = value {
            // Flags are texts in this answer, unlike in the answers for one listener.
            own.insert(name.clone(), json!(flag.to_string()));
        } else {
            own.insert(name.clone(), value.clone());
        }
    }
    let name = format!(
        "{}ListenerConfig",
        listener.protocol.as_str().to_uppercase()
    );
    fields.insert(name, Value::Object(own));
    Value::Object(fields)
}

pub(super) fn describe_health(state: &State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let instance = state.instance(context)?;
    let protocol = protocol_of(context)?;
    let port = context.params.number("ListenerPort", 1..=u16::MAX)?;
    if port.is_some() {
        find(instance, context, protocol)?;
    }
    let mut servers = Vec::new();
    for listener in &instance.listeners {
        if port.is_some_and(|port| port != listener.port)
            || protocol.is_some_and(|protocol| protocol != listener.protocol)
        {
            continue;
        }
        let seen = context.plane.members_seen(&instance.id, listener);
        for member in state.members_of(instance, listener) {
            let checked = listener.is_on("HealthCheck")
                && listener.status == ListenerStatus::Running
                && instance.active;
            let health = seen
                .iter()
                .find(|seen| seen.is(&member))
                .map(|seen| seen.health);
            let status = match health {
                _ if !checked => "unavailable",
                None if context.plane.has_sockets() && listener.protocol != Protocol::Udp => {
                    "abnormal"
                }
                Some(Health::Unhealthy | Health::Unknown) => "abnormal",
                None | Some(Health::Healthy | Health::Unchecked) => "normal",
            };
            servers.push(json!({
                "ServerId": member.server_id,
                "ServerIp": member.server_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                "Port": member.port,
                "ListenerPort": listener.port,
                "Protocol": listener.protocol.as_str(),
                "ServerHealthStatus": status,
            }));
        }
    }
    Ok(json!({ "BackendServers": { "BackendServer": servers } }))
}
