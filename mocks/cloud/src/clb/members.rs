//! The lists of servers that calls carry as JSON text.

use serde_json::{Map, Value, json};

use crate::answer::ApiError;
use crate::state::Member;

/// What a list entry says about one server. What it leaves out keeps its value, where there is one.
pub(super) struct Entry {
    pub(super) member: Member,
    pub(super) weight: Option<u32>,
    pub(super) description: Option<String>,
}

/// Reads a list such as `[{"ServerId":"eni-1","ServerIp":"10.0.0.5","Port":"80","Weight":100}]`.
/// Numbers may be texts. In the default group entries have no port.
pub(super) fn read(name: &str, text: &str, with_ports: bool) -> Result<Vec<Entry>, ApiError> {
    let malformed = |why: &str| {
        ApiError::bad(
            "BackendServersMalformed",
            format!("The parameter {name} is malformed: {why}."),
        )
    };
    let Ok(Value::Array(list)) = serde_json::from_str(text) else {
        return Err(malformed("it must be a JSON list of objects"));
    };
    list.iter()
        .map(|entry| {
            let entry = entry
                .as_object()
                .ok_or_else(|| malformed("it must hold objects"))?;
            read_entry(entry, with_ports, &malformed)
        })
        .collect()
}

fn read_entry(
    entry: &Map<String, Value>,
    with_ports: bool,
    malformed: &dyn Fn(&str) -> ApiError,
) -> Result<Entry, ApiError> {
    let text = |name: &str| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let server_id = text("ServerId").ok_or_else(|| malformed("a server has no ServerId"))?;
    let kind = text("Type").unwrap_or("ecs");
    if !["ecs", "eni", "eci"].contains(&kind) {
        return Err(malformed("Type must be ecs, eni or eci"));
    }
    let server_ip = text("ServerIp")
        .map(|ip| {
            ip.parse()
                .map_err(|_| malformed("ServerIp must be an IP address"))
        })
        .transpose()?;
    let port = if with_ports {
        number(entry, "Port")
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
            .ok_or_else(|| malformed("Port must be a number from 1 to 65535"))?
    } else {
        0
    };
    let weight = number(entry, "Weight").and_then(|weight| u32::try_from(weight).ok());
    let weight = weight.filter(|weight| *weight <= 100);
    if weight.is_none() && entry.contains_key("Weight") {
        let message = "Weight must be a number from 0 to 100.";
        return Err(ApiError::bad("InvalidWeight.Malformed", message));
    }
    let description = text("Description").map(str::to_owned);
    let member = Member {
        server_id: server_id.to_owned(),
        server_ip,
        port,
        weight: weight.unwrap_or(100),
        kind: kind.to_owned(),
        description: description.clone().unwrap_or_default(),
    };
    Ok(Entry {
        member,
        weight,
        description,
    })
}

fn number(entry: &Map<String, Value>, name: &str) -> Option<u64> {
    match entry.get(name)? {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    }
}

/// Adds the servers that are not there yet; repeated ones are ignored.
pub(super) fn add(members: &mut Vec<Member>, entries: Vec<Entry>) {
    for entry in entries {
        if !members
            .iter()
            .any(|member| member.same_server(&entry.member))
        {
            members.push(entry.member);
        }
    }
}

/// Removes the servers that are there; missing ones are ignored.
pub(super) fn remove(members: &mut Vec<Member>, entries: &[Entry]) {
    members.retain(|member| !entries.iter().any(|entry| entry.member.same_server(member)));
}

/// Changes weight and description of the servers that are there; adds and removes nothing.
pub(super) fn set(members: &mut [Member], entries: &[Entry]) {
    for entry in entries {
        for member in members
            .iter_mut()
            .filter(|member| member.same_server(&entry.member))
        {
            if let Some(weight) = entry.weight {
                member.weight = weight;
            }
            if let Some(description) = &entry.description {
                member.description.clone_from(description);
            }
        }
    }
}

/// The wrapped list that answers carry.
pub(super) fn with_ports(members: &[Member]) -> Value {
    let list: Vec<Value> = members
        .iter()
        .map(|member| {
            let mut fields = common(member);
            fields["Port"] = json!(member.port);
            fields
        })
        .collect();
    json!({ "BackendServer": list })
}

/// The same for the default group, whose servers have no ports.
pub(super) fn without_ports(members: &[Member]) -> Value {
    json!({ "BackendServer": members.iter().map(common).collect::<Vec<_>>() })
}

fn common(member: &Member) -> Value {
    json!({
        "ServerId": member.server_id,
        "ServerIp": member.server_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        "Weight": member.weight,
        "Type": member.kind,
        "Description": member.description,
    })
}
