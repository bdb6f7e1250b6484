use std::net::IpAddr;

use jiff::SignedDuration;
use serde_json::json;

use super::{Answer, Context, check_name, tags};
use crate::answer::ApiError;
use crate::state::{AddressPlan, Instance, State, Token};

const SPECS: &[&str] = &[
    "slb.s1.small",
    "slb.s2.small",
    "slb.s2.medium",
    "slb.s3.small",
    "slb.s3.medium",
    "slb.s3.large",
];

/// How long a client token is remembered.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn create(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let params = context.params;
    let token = params.get("ClientToken");
    if token.is_some_and(|token| token.len() > 64 || !token.is_ascii()) {
        return Err(ApiError::invalid(
            "ClientToken",
            "it must be at most 64 ASCII characters",
        ));
    }
    let now = context.now;
    state
        .tokens
        .retain(|_, token| now.duration_since(token.used) < TOKEN_LIFE);
    let parameters = params.fingerprint();
    let instance = read_instance(state, context)?;
    if let Some(known) = token.and_then(|token| state.tokens.get(token)) {
        if known.parameters != parameters {
            return Err(ApiError::bad(
                "LX_REQUEST_TOKEN_CONFLICT",
                "The ClientToken was used with other parameters.",
            ));
        }
        let first = state.instances.get(&known.instance).cloned();
        let (id, address) = (known.instance.clone(), known.address);
        return Ok(created(&first.unwrap_or(Instance {
            id,
            address,
            ..instance
        })));
    }
    if state.instances.len() >= context.quotas.instances {
        return Err(ApiError::bad(
            "QuotaLimitExceeds.LoadBalancers",
            format!(
                "The account may have {} instances at most.",
                context.quotas.instances
            ),
        ));
    }
    let answer = created(&instance);
    if let Some(token) = token {
        let (id, address) = (instance.id.clone(), instance.address);
        let token_entry = Token {
            parameters,
            instance: id,
            address,
            used: context.now,
        };
        state.tokens.insert(token.to_owned(), token_entry);
    }
    state.instances.insert(instance.id.clone(), instance);
    Ok(answer)
}

fn created(instance: &Instance) -> serde_json::Value {
    json!({
        "LoadBalancerId": instance.id,
        "LoadBalancerName": instance.name,
        "Address": instance.address,
        "AddressIPVersion": ip_version(instance),
        "NetworkType": instance.network_type,
        "VpcId": instance.vpc_id,
        "VSwitchId": instance.vswitch_id,
        "ResourceGroupId": instance.resource_group_id,
        "OrderId": 0,
    })
}

pub(super) fn ip_version(instance: &Instance) -> &'static str {
    if instance.address.is_ipv6() {
        "ipv6"
    } else {
        "ipv4"
    }
}

fn read_instance(state: &State, context: &Context<'_>) -> Result<Instance, ApiError> {
    let params = context.params;
    let vswitch = params.get("VSwitchId").unwrap_or_default();
    let vpc = params.get("VpcId").unwrap_or_default();
    let default_type = if vswitch.is_empty() {
        "internet"
    } else {
        "intranet"
    };
    let address_type = params
        .choice("AddressType", &["internet", "intranet"])?
        .unwrap_or(default_type);
    let internet = address_type == "internet";
    if !internet && !vpc.is_empty() && vswitch.is_empty() {
        return Err(ApiError::bad(
            "MissingParam.VSwitchId",
            "An intranet instance in a VPC needs VSwitchId.",
        ));
    }
    let charge_type = params
        .choice("InstanceChargeType", &["PayBySpec", "PayByCLCU"])?
        .unwrap_or("PayBySpec");
    let internet_charge_type = params
        .choice("InternetChargeType", &["paybytraffic", "paybybandwidth"])?
        .unwrap_or("paybytraffic");
    if charge_type == "PayByCLCU" && internet_charge_type == "paybybandwidth" {
        return Err(ApiError::bad(
            "InvalidParameter.Mismatch",
            "PayByCLCU goes with InternetChargeType paybytraffic only.",
        ));
    }
    let bandwidth = params.number("Bandwidth", 1..=5120)?;
    if internet && internet_charge_type == "paybybandwidth" && bandwidth.is_none() {
        return Err(ApiError::missing("Bandwidth"));
    }
    let spec = match params.choice("LoadBalancerSpec", SPECS)? {
        _ if charge_type == "PayByCLCU" => Some("slb.lcu.elastic"),
        spec => spec,
    };
    let id = context.new_id("lb");
    let name = match params.get("LoadBalancerName") {
        Some(name) => check_name("LoadBalancerName", name).map(|()| name.to_owned())?,
        None => id.clone(),
    };
    let protection = params.choice(
        "ModificationProtectionStatus",
        &["NonProtection", "ConsoleProtection"],
    )?;
    let reason = params
        .get("ModificationProtectionReason")
        .unwrap_or_default()
        .to_owned();
    let zone = |name: &str, letter: char| {
        params
            .get(name)
            .map_or_else(|| format!("{}-{letter}", context.region), str::to_owned)
    };
    let pay_type = params
        .choice("PayType", &["PayOnDemand", "PrePay"])?
        .unwrap_or("PayOnDemand");
    if pay_type == "PrePay" {
        return Err(ApiError::unsupported("PayType PrePay"));
    }
    Ok(Instance {
        name,
        address: address(state, context, internet)?,
        address_type: address_type.to_owned(),
        network_type: if internet && vpc.is_empty() {
            "classic"
        } else {
            "vpc"
        }
        .to_owned(),
        vpc_id: vpc.to_owned(),
        vswitch_id: vswitch.to_owned(),
        resource_group_id: params
            .get("ResourceGroupId")
            .unwrap_or("rg-default")
            .to_owned(),
        charge_type: charge_type.to_owned(),
        internet_charge_type: internet_charge_type.to_owned(),
        pay_type: pay_type.to_owned(),
        spec: spec.map(str::to_owned),
        bandwidth: bandwidth.unwrap_or(if internet { 1 } else { 5120 }),
        master_zone: zone("MasterZoneId", 'h'),
        slave_zone: zone("SlaveZoneId", 'i'),
        active: true,
        delete_protection: params.switch("DeleteProtection")?.unwrap_or(false),
        modification_protection: (protection == Some("ConsoleProtection")).then_some(reason),
        created: context.now,
        tags: tags::read(context)?,
        listeners: Vec::new(),
        default_members: Vec::new(),
        id,
    })
}

fn address(state: &State, context: &Context<'_>, internet: bool) -> Result<IpAddr, ApiError> {
    let params = context.params;
    let version = params.choice("AddressIPVersion", &["ipv4", "ipv6"])?;
    if version == Some("ipv6") {
        if !internet {
            return Err(ApiError::bad(
                "InvalidParameter.Mismatch",
                "AddressIPVersion ipv6 goes with AddressType internet only.",
            ));
        }
        if context.plane.has_sockets() {
            return Err(ApiError::bad(
                "RegionOrZonesNotSupportIpv6",
                "The data plane of the mock cloud has IPv4 addresses only.",
            ));
        }
        return Ok(AddressPlan::free_v6(state));
    }
    let free = || {
        context.addresses.free(state, internet).ok_or_else(|| {
            ApiError::bad(
                "OverQuota",
                "The address range of the instance type is used up.",
            )
        })
    };
    match params.get("Address") {
        None => free(),
        Some(_) if internet => Err(ApiError::invalid("Address", "it is for intranet instances")),
        Some(text) => {
            let wanted = text
                .parse()
                .ok()
                .filter(|wanted| context.addresses.is_intranet(*wanted))
                .map(IpAddr::V4)
                .ok_or_else(|| ApiError::invalid("Address", "it is not in the vSwitch's range"))?;
            if state
                .instances
                .values()
                .any(|instance| instance.address == wanted)
            {
                return Err(ApiError::invalid("Address", "another instance has it"));
            }
            Ok(wanted)
        }
    }
}

pub(super) fn delete(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let instance = state.instance(context)?;
    if instance.delete_protection {
        return Err(ApiError::bad(
            "OperationDenied.DeleteProtectionIsOn",
            "The instance has deletion protection.",
        ));
    }
    let id = instance.id.clone();
    state.instances.remove(&id);
    state.groups.retain(|_, group| group.instance != id);
    Ok(json!({}))
}
