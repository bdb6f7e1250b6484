//! What a cloud holds, without what differs from run to run: ids and generated names.

use std::collections::BTreeMap;

use mock_cloud::{InstanceView, Inventory, MemberView};

pub use gatewright_aliyun::clb::OWNER_TAG;

/// The instances that carry our mark, in words that two runs can be compared by.
pub fn shape(inventory: &Inventory) -> String {
    let ours = inventory
        .instances
        .iter()
        .filter(|held| held.tags.contains_key(OWNER_TAG));
    let mut all: Vec<String> = ours.map(instance).collect();
    all.sort();
    all.join("\n")
}

fn instance(instance: &InstanceView) -> String {
    let owner = instance.tags.get(OWNER_TAG).cloned().unwrap_or_default();
    let plain = |text: &str| text.replace(&owner, "OWNER");
    let names: BTreeMap<&str, String> = instance
        .groups
        .iter()
        .map(|group| (group.id.as_str(), plain(&group.name)))
        .collect();
    let mut text = String::new();
    let tags: Vec<_> = instance.tags.keys().map(String::as_str).collect();
    let kind = if instance.internet {
        "internet"
    } else {
        "intranet"
    };
    line(
        &mut text,
        &format!(
            "{kind}, active {}, protected {}, tags {}",
            instance.active,
            instance.delete_protection,
            tags.join(" ")
        ),
    );
    for listener in &instance.listeners {
        let group = listener.group.as_deref().and_then(|id| names.get(id));
        line(
            &mut text,
            &format!(
                "  {:?} {} {:?} {} to {group:?}, drain {:?}",
                listener.protocol,
                listener.port,
                listener.status,
                plain(&listener.description),
                listener.drain,
            ),
        );
    }
    let mut groups: Vec<String> = instance
        .groups
        .iter()
        .map(|group| format!("  {}: {}", plain(&group.name), members(&group.members)))
        .collect();
    groups.sort();
    for group in groups {
        line(&mut text, &group);
    }
    text
}

fn line(text: &mut String, words: &str) {
    text.push_str(words);
    text.push('\n');
}

fn members(members: &[MemberView]) -> String {
    let mut all: Vec<String> = members
        .iter()
        .map(|member| {
            let ip = member
                .server_ip
                .map_or_else(String::new, |ip| ip.to_string());
            format!(
                "{} {ip}:{} weight {}",
                member.server_id, member.port, member.weight
            )
        })
        .collect();
    all.sort();
    all.join(", ")
}
