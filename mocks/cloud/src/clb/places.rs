use serde_json::json;

use super::{Answer, Context};
use crate::state::State;

pub(super) fn describe_regions(_: &State, context: &Context<'_>) -> Answer {
    let region = context.region;
    context.region(false)?;
    Ok(json!({ "Regions": { "Region": [{
        "RegionId": region,
        "LocalName": region,
        "RegionEndpoint": format!("slb.{region}.aliyuncs.com"),
    }] } }))
}

pub(super) fn describe_zones(_: &State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let (first, second) = zones(context);
    let zone = |id: &str, other: &str| {
        json!({
            "ZoneId": id,
            "LocalName": id,
            "SlaveZones": { "SlaveZone": [{ "ZoneId": other, "LocalName": other }] },
        })
    };
    Ok(json!({ "Zones": { "Zone": [zone(&first, &second), zone(&second, &first)] } }))
}

pub(super) fn describe_available_resource(_: &State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let wanted_type = context.params.choice(
        "AddressType",
        &["vpc", "classic-internet", "classic-intranet"],
    )?;
    let wanted_version = context
        .params
        .choice("AddressIPVersion", &["ipv4", "ipv6"])?;
    let mut versions = vec!["ipv4"];
    if !context.plane.has_sockets() {
        versions.push("ipv6");
    }
    let mut supported = Vec::new();
    for kind in ["vpc", "classic-internet", "classic-intranet"] {
        for version in &versions {
            if wanted_type.is_none_or(|wanted| wanted == kind)
                && wanted_version.is_none_or(|wanted| wanted == *version)
            {
                supported.push(json!({ "AddressType": kind, "AddressIPVersion": version }));
            }
        }
    }
    let (first, second) = zones(context);
    let pair = |master: &str, slave: &str| {
        json!({
            "MasterZoneId": master,
            "SlaveZoneId": slave,
            "SupportResources": { "SupportResource": supported },
        })
    };
    let pairs = [pair(&first, &second), pair(&second, &first)];
    Ok(json!({ "AvailableResources": { "AvailableResource": pairs } }))
}

fn zones(context: &Context<'_>) -> (String, String) {
    (
        format!("{}-h", context.region),
        format!("{}-i", context.region),
    )
}
