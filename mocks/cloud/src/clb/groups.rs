use serde_json::{Value, json};

use super::{Answer, Context, check_name, members, minute, tags};
use crate::answer::ApiError;
use crate::state::{Group, Member, State};

fn too_many(limit: usize) -> ApiError {
    ApiError::bad(
        "TooManyBackendServers",
        format!("A call may name {limit} back-end servers at most."),
    )
}

/// The servers that the parameter `name` lists.
pub(super) fn read_members(
    context: &Context<'_>,
    name: &str,
    text: &str,
    with_ports: bool,
) -> Result<Vec<members::Entry>, ApiError> {
    let entries = members::read(name, text, with_ports)?;
    if entries.len() > context.quotas.members_per_call {
        return Err(too_many(context.quotas.members_per_call));
    }
    if context.plane.has_sockets()
        && let Some(entry) = entries
            .iter()
            .find(|entry| entry.member.server_ip.is_none())
    {
        // The real cloud knows the addresses of its servers; this one knows what it is told.
        return Err(ApiError::bad(
            "ObtainIpFail",
            format!("The server {} needs ServerIp here.", entry.member.server_id),
        ));
    }
    Ok(entries)
}

/// Refuses what would give `instance` more back-end servers than it may have.
pub(super) fn check_quota(
    state: &State,
    context: &Context<'_>,
    instance: &str,
) -> Result<(), ApiError> {
    let groups = state
        .groups
        .values()
        .filter(|group| group.instance == instance);
    let default = state
        .instances
        .get(instance)
        .map_or(0, |i| i.default_members.len());
    let count = groups.map(|group| group.members.len()).sum::<usize>() + default;
    if count > context.quotas.members_per_instance {
        return Err(ApiError::bad(
            "QuotaLimitExceeds.BackendServers",
            format!(
                "An instance may have {} back-end servers at most.",
                context.quotas.members_per_instance
            ),
        ));
    }
    Ok(())
}

pub(super) fn create(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let params = context.params;
    let instance = state.instance(context)?.id.clone();
    let id = context.new_id("rsp");
    let name = match params.get("VServerGroupName") {
        Some(name) => check_name("VServerGroupName", name).map(|()| name.to_owned())?,
        None => id.clone(),
    };
    let mut list = Vec::new();
    if let Some(text) = params.get("BackendServers") {
        members::add(
            &mut list,
            read_members(context, "BackendServers", text, true)?,
        );
    }
    let answer = json!({ "VServerGroupId": id, "BackendServers": members::with_ports(&list) });
    let group = Group {
        id: id.clone(),
        instance: instance.clone(),
        name,
        created: context.now,
        tags: tags::read(context)?,
        members: list,
    };
    state.groups.insert(id, group);
    check_quota(state, context, &instance)?;
    Ok(answer)
}

/// Changes the members of the group that the call names by `change`, which gets the call's list.
fn change_members(
    state: &mut State,
    context: &Context<'_>,
    change: impl FnOnce(&mut Vec<Member>) -> Result<(), ApiError>,
) -> Answer {
    context.region(true)?;
    let group = state.group_mut(context)?;
    change(&mut group.members)?;
    let answer = json!({
        "VServerGroupId": group.id,
        "BackendServers": members::with_ports(&group.members),
    });
    let instance = group.instance.clone();
    check_quota(state, context, &instance)?;
    Ok(answer)
}

pub(super) fn add_members(state: &mut State, context: &Context<'_>) -> Answer {
    change_members(state, context, |list| {
        let text = context.params.require("BackendServers")?;
        members::add(list, read_members(context, "BackendServers", text, true)?);
        Ok(())
    })
}

pub(super) fn remove_members(state: &mut State, context: &Context<'_>) -> Answer {
    change_members(state, context, |list| {
        let entries = members::read(
            "BackendServers",
            context.params.require("BackendServers")?,
            true,
        )?;
        if entries.len() > context.quotas.members_per_call {
            return Err(too_many(context.quotas.members_per_call));
        }
        members::remove(list, &entries);
        Ok(())
    })
}

pub(super) fn replace_members(state: &mut State, context: &Context<'_>) -> Answer {
    change_members(state, context, |list| {
        if let Some(text) = context.params.get("OldBackendServers") {
            members::remove(list, &members::read("OldBackendServers", text, true)?);
        }
        if let Some(text) = context.params.get("NewBackendServers") {
            members::add(
                list,
                read_members(context, "NewBackendServers", text, true)?,
            );
        }
        Ok(())
    })
}

pub(super) fn set(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let params = context.params;
    let group = state.group_mut(context)?;
    if let Some(name) = params.get("VServerGroupName") {
        check_name("VServerGroupName", name)?;
        name.clone_into(&mut group.name);
    }
    if let Some(text) = params.get("BackendServers") {
        let entries = members::read("BackendServers", text, true)?;
        if entries.len() > context.quotas.members_per_call {
            return Err(too_many(context.quotas.members_per_call));
        }
        members::set(&mut group.members, &entries);
    }
    Ok(json!({
        "VServerGroupId": group.id,
        "VServerGroupName": group.name,
        "BackendServers": members::with_ports(&group.members),
    }))
}

pub(super) fn delete(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let id = state.group(context)?.id.clone();
    let mut listeners = state
        .instances
        .values()
        .flat_map(|instance| &instance.listeners);
    if listeners.any(|listener| listener.group.as_ref() == Some(&id)) {
        return Err(ApiError::bad(
            "RspoolVipExist",
            "A listener uses the vServer group.",
        ));
    }
    state.groups.remove(&id);
    Ok(json!({}))
}

pub(super) fn describe(state: &State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let group = state.group(context)?;
    Ok(json!({
        "VServerGroupId": group.id,
        "VServerGroupName": group.name,
        "LoadBalancerId": group.instance,
        "CreateTime": minute(group.created),
        "BackendServers": members::with_ports(&group.members),
        "Tags": tags::wrapped(&group.tags),
    }))
}

pub(super) fn describe_all(state: &State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let params = context.params;
    let instance = state.instance(context)?;
    let wanted = tags::filter(context)?;
    let description = params.get("Description");
    let with_listeners = params.flag("IncludeListener")?.unwrap_or(false);
    let with_rules = params.flag("IncludeRule")?.unwrap_or(false);
    let groups: Vec<Value> = state
        .groups
        .values()
        .filter(|group| group.instance == instance.id && tags::matches(&group.tags, &wanted))
        .filter(|group| description.is_none_or(|text| group.name.contains(text)))
        .map(|group| {
            let mut objects = json!({});
            if with_listeners {
                let users: Vec<Value> = instance
                    .listeners
                    .iter()
                    .filter(|listener| listener.group.as_ref() == Some(&group.id))
                    .map(|l| json!({ "Port": l.port, "Protocol": l.protocol.as_str() }))
                    .collect();
                objects["Listeners"] = json!({ "Listener": users });
            }
            if with_rules {
                objects["Rules"] = json!({ "Rule": [] });
            }
            json!({
                "VServerGroupId": group.id,
                "VServerGroupName": group.name,
                "ServerCount": group.members.len(),
                "CreateTime": minute(group.created),
                "AssociatedObjects": objects,
                "Tags": tags::wrapped(&group.tags),
            })
        })
        .collect();
    Ok(json!({ "VServerGroups": { "VServerGroup": groups } }))
}
