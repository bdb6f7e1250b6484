use serde_json::{Value, json};

use super::instances::ip_version;
use super::{Answer, Context, members, minute, tags};
use crate::answer::ApiError;
use crate::state::{Instance, Protocol, State};

/// What both describe calls say about an instance.
fn instance_fields(instance: &Instance, context: &Context<'_>) -> Value {
    let mut fields = json!({
        "LoadBalancerId": instance.id,
        "LoadBalancerName": instance.name,
        "LoadBalancerStatus": if instance.active { "active" } else { "inactive" },
        "Address": instance.address,
        "AddressType": instance.address_type,
        "AddressIPVersion": ip_version(instance),
        "RegionId": context.region,
        "RegionIdAlias": context.region,
        "NetworkType": instance.network_type,
        "VpcId": instance.vpc_id,
        "VSwitchId": instance.vswitch_id,
        "ResourceGroupId": instance.resource_group_id,
        "MasterZoneId": instance.master_zone,
        "SlaveZoneId": instance.slave_zone,
        "InstanceChargeType": instance.charge_type,
        "InternetChargeType": instance.internet_charge_type,
        "PayType": instance.pay_type,
        "Bandwidth": instance.bandwidth,
        "DeleteProtection": if instance.delete_protection { "on" } else { "off" },
        "ModificationProtectionStatus": match instance.modification_protection {
            Some(_) => "ConsoleProtection",
            None => "NonProtection",
        },
        "ModificationProtectionReason": instance.modification_protection.as_deref().unwrap_or(""),
        "CreateTime": minute(instance.created),
        "CreateTimeStamp": instance.created.as_millisecond(),
        "Tags": tags::wrapped(&instance.tags),
    });
    if let Some(spec) = &instance.spec {
        fields["LoadBalancerSpec"] = json!(spec);
    }
    fields
}

/// The comma-separated values of a filter, at most ten.
fn filter_list<'a>(context: &'a Context<'_>, name: &str) -> Result<Option<Vec<&'a str>>, ApiError> {
    let Some(text) = context.params.get(name) else {
        return Ok(None);
    };
    let values: Vec<_> = text.split(',').map(str::trim).collect();
    if values.len() > 10 {
        return Err(ApiError::invalid(name, "it must have at most 10 values"));
    }
    Ok(Some(values))
}

pub(super) fn describe_load_balancers(state: &State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let params = context.params;
    let ids = filter_list(context, "LoadBalancerId")?;
    let names = filter_list(context, "LoadBalancerName")?;
    let wanted_tags = tags::filter(context)?;
    let server = params.get("ServerId");
    let number = params.number("PageNumber", 1..=usize::MAX)?.unwrap_or(1);
    let size = params.number("PageSize", 1..=100_usize)?.unwrap_or(50);
    let is = |name: &str, value: &str| params.get(name).is_none_or(|wanted| wanted == value);
    let found: Vec<&Instance> = state
        .instances
        .values()
        .filter(|i| ids.as_ref().is_none_or(|ids| ids.contains(&i.id.as_str())))
        .filter(|i| {
            names
                .as_ref()
                .is_none_or(|names| names.contains(&i.name.as_str()))
        })
        .filter(|i| is("Address", &i.address.to_string()))
        .filter(|i| is("AddressType", &i.address_type))
        .filter(|i| is("AddressIPVersion", ip_version(i)))
        .filter(|i| is("VpcId", &i.vpc_id))
        .filter(|i| is("VSwitchId", &i.vswitch_id))
        .filter(|i| is("NetworkType", &i.network_type))
        .filter(|i| is("PayType", &i.pay_type))
        .filter(|i| is("InternetChargeType", &i.internet_charge_type))
        .filter(|i| is("ResourceGroupId", &i.resource_group_id))
        .filter(|i| is("MasterZoneId", &i.master_zone))
        .filter(|i| is("SlaveZoneId", &i.slave_zone))
        .filter(|i| {
            is(
                "LoadBalancerStatus",
                if i.active { "active" } else { "inactive" },
            )
        })
        .filter(|i| tags::matches(&i.tags, &wanted_tags))
        .filter(|i| server.is_none_or(|server| has_server(state, i, server)))
        .collect();
    let page: Vec<Value> = found
        .iter()
        .skip((number - 1).saturating_mul(size))
        .take(size)
        .map(|instance| instance_fields(instance, context))
        .collect();
    Ok(json!({
        "LoadBalancers": { "LoadBalancer": page },
        "TotalCount": found.len(),
        "PageNumber": number,
        "PageSize": size,
    }))
}

fn has_server(state: &State, instance: &Instance, server: &str) -> bool {
    let groups = state
        .groups
        .values()
        .filter(|group| group.instance == instance.id);
    let mut members = groups
        .flat_map(|group| &group.members)
        .chain(&instance.default_members);
    members.any(|member| member.server_id == server)
}

pub(super) fn describe_load_balancer_attribute(state: &State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let instance = state.instance(context)?;
    let mut fields = instance_fields(instance, context);
    let listeners = &instance.listeners;
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
    let named: Vec<Value> = listeners
        .iter()
        .map(|listener| {
            let mut entry = json!({
                "ListenerPort": listener.port,
                "ListenerProtocol": listener.protocol.as_str(),
                "Description": listener.description,
            });
            if listener.protocol == Protocol::Http {
                entry["ListenerForward"] = json!(listener.text("ListenerForward").unwrap_or("off"));
                if let Some(port) = listener.number("ForwardPort") {
                    entry["ForwardPort"] = json!(port);
                }
            }
            entry
        })
        .collect();
    // The API answers the list a second time under a misspelt name, and clients read that one.
    let misspelt: Vec<Value> = listeners
        .iter()
        .map(|listener| {
            json!({
                "ListenerPort": listener.port,
                "ListenerProtocal": listener.protocol.as_str(),
            })
        })
        .collect();
    fields["ListenerPorts"] = json!({ "ListenerPort": ports });
    fields["ListenerPortsAndProtocol"] = json!({ "ListenerPortAndProtocol": named });
    fields["ListenerPortsAndProtocal"] = json!({ "ListenerPortAndProtocal": misspelt });
    fields["BackendServers"] = members::without_ports(&instance.default_members);
    Ok(fields)
}
