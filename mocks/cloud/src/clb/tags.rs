use serde_json::{Value, json};

use super::{Answer, Context, no_group, no_instance};
use crate::answer::ApiError;
use crate::state::{Protocol, State, Tags};

/// How many entries ListTagResources answers at once.
const PAGE: usize = 50;

/// The tags of `Tag.N.Key` and `Tag.N.Value`, checked.
pub(super) fn read(context: &Context<'_>) -> Result<Tags, ApiError> {
    let pairs = context.params.pairs("Tag", "Key", "Value");
    check(context, &pairs)?;
    Ok(owned(&pairs))
}

fn owned(pairs: &[(&str, Option<&str>)]) -> Tags {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.unwrap_or_default().to_owned()))
        .collect()
}

fn check(context: &Context<'_>, pairs: &[(&str, Option<&str>)]) -> Result<(), ApiError> {
    check_count(context, pairs.len())?;
    for (key, value) in pairs {
        let value = value.unwrap_or_default();
        if key.chars().count() > 64 || value.chars().count() > 128 {
            return Err(ApiError::invalid(
                "Tag",
                "a key has up to 64 characters, a value 128",
            ));
        }
        if key.starts_with("aliyun") || key.starts_with("acs:") {
            return Err(ApiError::invalid(
                "Tag",
                "a key must not start with aliyun or acs:",
            ));
        }
        if [*key, value]
            .iter()
            .any(|text| text.contains("http://") || text.contains("https://"))
        {
            return Err(ApiError::invalid(
                "Tag",
                "it must not contain http:// or https://",
            ));
        }
    }
    Ok(())
}

fn check_count(context: &Context<'_>, count: usize) -> Result<(), ApiError> {
    let limit = context.quotas.tags_per_resource;
    if count > limit {
        return Err(ApiError::bad(
            "SizeLimitExceeded.Tag",
            format!("A resource may have {limit} tags at most."),
        ));
    }
    Ok(())
}

/// The tags a call filters by: `Tag.N` or the older `Tags`, a JSON list. No value: any value.
pub(super) fn filter(context: &Context<'_>) -> Result<Vec<(String, Option<String>)>, ApiError> {
    let new = context.params.pairs("Tag", "Key", "Value");
    let mut wanted: Vec<_> = new
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.map(str::to_owned)))
        .collect();
    if let Some(text) = context.params.get("Tags") {
        wanted.extend(read_old(text)?);
    }
    Ok(wanted)
}

pub(super) fn matches(tags: &Tags, wanted: &[(String, Option<String>)]) -> bool {
    wanted.iter().all(|(key, value)| {
        tags.get(key)
            .is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
    })
}

/// The wrapped list that answers carry.
pub(super) fn wrapped(tags: &Tags) -> Value {
    json!({ "Tag": bare(tags) })
}

pub(super) fn bare(tags: &Tags) -> Vec<Value> {
    tags.iter()
        .map(|(key, value)| json!({ "TagKey": key, "TagValue": value }))
        .collect()
}

/// The tags of the resource `id`.
fn tags_of<'a>(state: &'a mut State, kind: &str, id: &str) -> Result<&'a mut Tags, ApiError> {
    match kind {
        "instance" => state
            .instances
            .get_mut(id)
            .map(|i| &mut i.tags)
            .ok_or_else(no_instance),
        "vservergroup" => state
            .groups
            .get_mut(id)
            .map(|g| &mut g.tags)
            .ok_or_else(no_group),
        "listener" => {
            let mut parts = id.rsplitn(3, '_');
            let port = parts.next().and_then(|port| port.parse::<u16>().ok());
            let protocol = parts.next().and_then(Protocol::parse);
            let instance = parts.next().and_then(|id| state.instances.get_mut(id));
            instance
                .and_then(|instance| {
                    let mut listeners = instance.listeners.iter_mut();
                    listeners.find(|l| Some(l.port) == port && Some(l.protocol) == protocol)
                })
                .map(|listener| &mut listener.tags)
                .ok_or_else(|| {
                    ApiError::new(
                        404,
                        "ResourceNotFound.Listener",
                        "The listener does not exist.",
                    )
                })
        }
        _ => Err(ApiError::unsupported(format_args!(
            "resources of the type {kind}"
        ))),
    }
}

fn targets<'a>(context: &'a Context<'_>) -> Result<(&'a str, Vec<&'a str>), ApiError> {
    context.region(true)?;
    let kind = context.params.require("ResourceType")?;
    let ids = context.params.list("ResourceId");
    if ids.is_empty() {
        return Err(ApiError::mandatory("ResourceId"));
    }
    Ok((kind, ids))
}

pub(super) fn tag(state: &mut State, context: &Context<'_>) -> Answer {
    let (kind, ids) = targets(context)?;
    let new = read(context)?;
    if new.is_empty() {
        return Err(ApiError::mandatory("Tag"));
    }
    for id in ids {
        let tags = tags_of(state, kind, id)?;
        tags.extend(new.clone());
        check_count(context, tags.len())?;
    }
    Ok(json!({}))
}

pub(super) fn untag(state: &mut State, context: &Context<'_>) -> Answer {
    let (kind, ids) = targets(context)?;
    let keys = context.params.list("TagKey");
    let all = context.params.flag("All")?.unwrap_or(false) && keys.is_empty();
    for id in ids {
        tags_of(state, kind, id)?.retain(|key, _| !all && !keys.contains(&key.as_str()));
    }
    Ok(json!({}))
}

pub(super) fn list(state: &State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let params = context.params;
    let kind = params.require("ResourceType")?;
    let ids = params.list("ResourceId");
    let wanted = filter(context)?;
    let resources: Vec<(String, &Tags)> = match kind {
        "instance" => state
            .instances
            .values()
            .map(|i| (i.id.clone(), &i.tags))
            .collect(),
        "vservergroup" => state
            .groups
            .values()
            .map(|g| (g.id.clone(), &g.tags))
            .collect(),
        "listener" => {
            let pairs = state
                .instances
                .values()
                .flat_map(|i| i.listeners.iter().map(move |l| (i, l)));
            pairs
                .map(|(i, l)| {
                    (
                        format!("{}_{}_{}", i.id, l.protocol.as_str(), l.port),
                        &l.tags,
                    )
                })
                .collect()
        }
        "certificate" | "acl" | "masterslaveservergroup" => Vec::new(),
        _ => return Err(ApiError::invalid("ResourceType", "there is no such type")),
    };
    let entries: Vec<Value> = resources
        .iter()
        .filter(|(id, _)| ids.is_empty() || ids.contains(&id.as_str()))
        .filter(|(_, tags)| matches(tags, &wanted))
        .flat_map(|(id, tags)| {
            tags.iter().map(move |(key, value)| {
                json!({ "ResourceId": id, "ResourceType": kind, "TagKey": key, "TagValue": value })
            })
        })
        .collect();
    let start = params.number("NextToken", 0..=usize::MAX)?.unwrap_or(0);
    let end = start.saturating_add(PAGE);
    let next = if end < entries.len() {
        end.to_string()
    } else {
        String::new()
    };
    let page: Vec<Value> = entries.into_iter().skip(start).take(PAGE).collect();
    Ok(json!({ "TagResources": { "TagResource": page }, "NextToken": next }))
}

/// The older list form: `[{"TagKey":"a","TagValue":"b"}]`.
fn read_old(text: &str) -> Result<Vec<(String, Option<String>)>, ApiError> {
    let malformed = || ApiError::invalid("Tags", "it must be a JSON list of TagKey and TagValue");
    let Ok(Value::Array(list)) = serde_json::from_str(text) else {
        return Err(malformed());
    };
    list.iter()
        .map(|entry| {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
            Ok((text("TagKey").ok_or_else(malformed)?, text("TagValue")))
        })
        .collect()
}

pub(super) fn add_old(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let new = read_old(context.params.require("Tags")?)?;
    let pairs: Vec<_> = new
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_deref()))
        .collect();
    check(context, &pairs)?;
    let instance = state.instance_mut(context)?;
    instance.tags.extend(owned(&pairs));
    check_count(context, instance.tags.len())?;
    Ok(json!({}))
}

pub(super) fn remove_old(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let old = read_old(context.params.require("Tags")?)?;
    state.instance_mut(context)?.tags.retain(|key, value| {
        !old.iter()
            .any(|(k, v)| k == key && v.as_ref().is_none_or(|v| v == value))
    });
    Ok(json!({}))
}

pub(super) fn describe_old(state: &State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let params = context.params;
    let instance = params.get("LoadBalancerId");
    let wanted = filter(context)?;
    let distinct = params.flag("DistinctKey")?.unwrap_or(false);
    let number = params.number("PageNumber", 1..=usize::MAX)?.unwrap_or(1);
    let size = params.number("PageSize", 1..=100_usize)?.unwrap_or(50);
    let mut sets = std::collections::BTreeMap::<(&str, &str), usize>::new();
    for found in state
        .instances
        .values()
        .filter(|i| instance.is_none_or(|id| i.id == id))
    {
        for (key, value) in &found.tags {
            let asked = |(k, v): &(String, Option<String>)| {
                k == key && v.as_ref().is_none_or(|v| v == value)
            };
            if wanted.is_empty() || wanted.iter().any(asked) {
                let value = if distinct { "" } else { value.as_str() };
                *sets.entry((key.as_str(), value)).or_default() += 1;
            }
        }
    }
    let page: Vec<Value> = sets
        .iter()
        .skip((number - 1).saturating_mul(size))
        .take(size)
        .map(|((key, value), count)| {
            json!({ "TagKey": key, "TagValue": value, "InstanceCount": count })
        })
        .collect();
    Ok(json!({
        "TagSets": { "TagSet": page },
        "TotalCount": sets.len(),
        "PageNumber": number,
        "PageSize": size,
    }))
}
