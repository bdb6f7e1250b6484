//! The servers of an instance's default group, which listeners without a vServer group use.

use serde_json::json;

use super::{Answer, Context, groups, members};
use crate::answer::ApiError;
use crate::state::{Member, State};

fn change(
    state: &mut State,
    context: &Context<'_>,
    change: impl FnOnce(&mut Vec<Member>, Vec<members::Entry>),
) -> Answer {
    context.region(false)?;
    let text = context.params.require("BackendServers")?;
    let entries = groups::read_members(context, "BackendServers", text, false)?;
    let instance = state.instance_mut(context)?;
    change(&mut instance.default_members, entries);
    let id = instance.id.clone();
    let answer = json!({
        "LoadBalancerId": id,
        "BackendServers": members::without_ports(&instance.default_members),
    });
    groups::check_quota(state, context, &id)?;
    Ok(answer)
}

pub(super) fn add(state: &mut State, context: &Context<'_>) -> Answer {
    change(state, context, members::add)
}

pub(super) fn set(state: &mut State, context: &Context<'_>) -> Answer {
    change(state, context, |list, entries| members::set(list, &entries))
}

/// Entries need no address here. The older form of the list is one of plain ids: `["i-1","i-2"]`.
pub(super) fn remove(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let text = context.params.require("BackendServers")?;
    let instance = state.instance_mut(context)?;
    if let Ok(ids) = serde_json::from_str::<Vec<String>>(text) {
        instance
            .default_members
            .retain(|member| !ids.contains(&member.server_id));
    } else {
        let entries = members::read("BackendServers", text, false)?;
        if entries.len() > context.quotas.members_per_call {
            return Err(ApiError::bad(
                "TooManyBackendServers",
                "The call names too many servers.",
            ));
        }
        members::remove(&mut instance.default_members, &entries);
    }
    Ok(json!({
        "LoadBalancerId": instance.id,
        "BackendServers": members::without_ports(&instance.default_members),
    }))
}
