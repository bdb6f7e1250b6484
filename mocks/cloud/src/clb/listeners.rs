use std::collections::BTreeMap;

use serde_json::json;

use super::{Answer, Context, attributes, no_group, tags};
use crate::answer::ApiError;
use crate::state::{Instance, Listener, ListenerStatus, Protocol, State};

fn not_found() -> ApiError {
    ApiError::new(
        404,
        "ListenerNotFound",
        "The specified listener does not exist.",
    )
}

/// The listener that the call names, in `instance`.
pub(super) fn find(
    instance: &Instance,
    context: &Context<'_>,
    protocol: Option<Protocol>,
) -> Result<usize, ApiError> {
    let port = context.params.require_port("ListenerPort")?;
    let found: Vec<usize> = (0..instance.listeners.len())
        .filter(|&index| instance.listeners[index].port == port)
        .filter(|&index| protocol.is_none_or(|p| instance.listeners[index].protocol == p))
        .collect();
    match found[..] {
        [] => Err(not_found()),
        [index] => Ok(index),
        _ => Err(ApiError::bad(
            "TooManyListeners",
            format!("Several listeners have the port {port}; ListenerProtocol must say which."),
        )),
    }
}

pub(super) fn protocol_of(context: &Context<'_>) -> Result<Option<Protocol>, ApiError> {
    match context.params.get("ListenerProtocol") {
        None => Ok(None),
        Some(text) => Protocol::parse(text).map(Some).ok_or_else(|| {
            ApiError::invalid("ListenerProtocol", "it must be tcp, udp, http or https")
        }),
    }
}

pub(super) fn create(state: &mut State, context: &Context<'_>, protocol: Protocol) -> Answer {
    context.region(false)?;
    let params = context.params;
    let instance = state.instance(context)?;
    let port = params.require_port("ListenerPort")?;
    if protocol != Protocol::Http {
        params.require("Bandwidth")?;
    }
    if let Some(other) = instance
        .listeners
        .iter()
        .find(|l| l.port == port && l.protocol.shares_port_with(protocol))
    {
        let code = if other.protocol == protocol {
            "ListenerAlreadyExists"
        } else {
            "ListenerPortConflict"
        };
        return Err(ApiError::bad(
            code,
            format!("The instance has a listener on port {port}."),
        ));
    }
    if instance.listeners.len() >= context.quotas.listeners_per_instance {
        return Err(ApiError::bad(
            "ListenerNumberOverLimit",
            format!(
                "An instance may have {} listeners at most.",
                context.quotas.listeners_per_instance
            ),
        ));
    }
    refuse_master_slave(context)?;
    let group = params.get("VServerGroupId").map(str::to_owned);
    let backend_port = params.number("BackendServerPort", 1..=u16::MAX)?;
    let mut listener = Listener {
        protocol,
        port,
        backend_port,
        group,
        description: read_description(context)?.unwrap_or_default(),
        tags: tags::read(context)?,
        attributes: BTreeMap::new(),
        status: ListenerStatus::Stopped,
        change: None,
    };
    attributes::apply(&mut listener, params, true)?;
    if listener.is_on("ListenerForward") {
        return Err(ApiError::unsupported(
            "ListenerForward, a redirect to an HTTPS listener",
        ));
    }
    if listener.group.is_none() && backend_port.is_none() {
        return Err(ApiError::missing("BackendServerPort"));
    }
    check_group(state, &instance.id, &listener)?;
    state.instance_mut(context)?.add_listener(listener);
    Ok(json!({}))
}

fn read_description(context: &Context<'_>) -> Result<Option<String>, ApiError> {
    match context.params.get("Description") {
        Some(text) if text.chars().count() > 256 => Err(ApiError::invalid(
            "Description",
            "it must have at most 256 characters",
        )),
        text => Ok(text.map(str::to_owned)),
    }
}

fn refuse_master_slave(context: &Context<'_>) -> Result<(), ApiError> {
    match context.params.get("MasterSlaveServerGroupId") {
        Some(_) => Err(ApiError::unsupported("master-slave server groups")),
        None => Ok(()),
    }
}

fn check_group(state: &State, instance: &str, listener: &Listener) -> Result<(), ApiError> {
    match &listener.group {
        Some(id)
            if state
                .groups
                .get(id)
                .is_none_or(|group| group.instance != instance) =>
        {
            Err(no_group())
        }
        _ => Ok(()),
    }
}

/// The instance's listener that the call names, when its state lets it change.
fn changeable<'a>(
    state: &'a mut State,
    context: &Context<'_>,
    protocol: Option<Protocol>,
) -> Result<&'a mut Listener, ApiError> {
    let instance = state.instance_mut(context)?;
    let index = find(instance, context, protocol)?;
    let listener = &mut instance.listeners[index];
    let status = listener.status_at(context.now);
    if !matches!(status, ListenerStatus::Stopped | ListenerStatus::Running) {
        return Err(ApiError::bad(
            "OperationFailed.ListenerStatusNotSupport",
            format!(
                "The listener is {} and does not take the call now.",
                status.as_str()
            ),
        ));
    }
    Ok(listener)
}

pub(super) fn set(state: &mut State, context: &Context<'_>, protocol: Protocol) -> Answer {
    context.region(false)?;
    let params = context.params;
    let dry_run = params.flag("DryRun")?.unwrap_or(false);
    refuse_master_slave(context)?;
    let use_group = params.switch("VServerGroup")?;
    let group = params.get("VServerGroupId").map(str::to_owned);
    let description = read_description(context)?;
    let timings = context.timings;
    let now = context.now;
    let listener = changeable(state, context, Some(protocol))?;
    attributes::apply(listener, params, false)?;
    match (use_group, group) {
        (Some(true), None) => return Err(ApiError::missing("VServerGroupId")),
        (Some(false), _) if listener.backend_port.is_none() => {
            return Err(ApiError::bad(
                "Operation.NotAllowed",
                "The listener was created without BackendServerPort and needs a vServer group.",
            ));
        }
        (Some(false), _) => listener.group = None,
        (Some(true) | None, Some(group)) => listener.group = Some(group),
        (None, None) => {}
    }
    if let Some(description) = description {
        listener.description = description;
    }
    listener.pass(
        ListenerStatus::Configuring,
        listener.status,
        now,
        timings.configuring,
    );
    let changed = listener.clone();
    let instance = context.params.require("LoadBalancerId")?;
    check_group(state, instance, &changed)?;
    if dry_run {
        return Err(ApiError::bad("DryRunOperation", "The call would succeed."));
    }
    Ok(json!({}))
}

pub(super) fn start(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let protocol = protocol_of(context)?;
    let (now, time) = (context.now, context.timings.starting);
    let listener = changeable(state, context, protocol)?;
    if listener.status == ListenerStatus::Stopped {
        listener.pass(ListenerStatus::Starting, ListenerStatus::Running, now, time);
    }
    Ok(json!({}))
}

pub(super) fn stop(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let protocol = protocol_of(context)?;
    let (now, time) = (context.now, context.timings.stopping);
    let listener = changeable(state, context, protocol)?;
    if listener.status == ListenerStatus::Running {
        listener.pass(ListenerStatus::Stopping, ListenerStatus::Stopped, now, time);
    }
    Ok(json!({}))
}

pub(super) fn delete(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let protocol = protocol_of(context)?;
    changeable(state, context, protocol)?;
    let instance = state.instance_mut(context)?;
    let index = find(instance, context, protocol)?;
    instance.listeners.remove(index);
    Ok(json!({}))
}
