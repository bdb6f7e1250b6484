use serde_json::json;

use super::{Answer, Context, check_name};
use crate::answer::ApiError;
use crate::state::State;

pub(super) fn set_name(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let name = context.params.require("LoadBalancerName")?;
    check_name("LoadBalancerName", name)?;
    name.clone_into(&mut state.instance_mut(context)?.name);
    Ok(json!({}))
}

pub(super) fn set_status(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    context.params.require("LoadBalancerStatus")?;
    let status = context
        .params
        .choice("LoadBalancerStatus", &["active", "inactive"])?;
    state.instance_mut(context)?.active = status == Some("active");
    Ok(json!({}))
}

pub(super) fn set_delete_protection(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    context.params.require("DeleteProtection")?;
    let on = context.params.switch("DeleteProtection")?.unwrap_or(false);
    state.instance_mut(context)?.delete_protection = on;
    Ok(json!({}))
}

pub(super) fn set_modification_protection(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    let params = context.params;
    params.require("ModificationProtectionStatus")?;
    let status = params.choice(
        "ModificationProtectionStatus",
        &["NonProtection", "ConsoleProtection"],
    )?;
    let reason = params
        .get("ModificationProtectionReason")
        .unwrap_or_default();
    let starts_well = reason.is_empty() || reason.starts_with(char::is_alphabetic);
    if !starts_well || reason.chars().count() > 80 {
        return Err(ApiError::invalid(
            "ModificationProtectionReason",
            "it must be 1 to 80 characters and start with a letter",
        ));
    }
    state.instance_mut(context)?.modification_protection =
        (status == Some("ConsoleProtection")).then(|| reason.to_owned());
    Ok(json!({}))
}

pub(super) fn modify_spec(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let spec = context.params.require("LoadBalancerSpec")?;
    let instance = state.instance_mut(context)?;
    if instance.charge_type == "PayByCLCU" {
        return Err(ApiError::bad(
            "InvalidParameter.Mismatch",
            "An instance with PayByCLCU has no LoadBalancerSpec to change.",
        ));
    }
    instance.spec = Some(spec.to_owned());
    Ok(json!({ "OrderId": 0 }))
}

pub(super) fn modify_internet_spec(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(false)?;
    let params = context.params;
    let charge = params.choice("InternetChargeType", &["paybytraffic", "paybybandwidth"])?;
    let bandwidth = params.number("Bandwidth", 1..=5120)?;
    let instance = state.instance_mut(context)?;
    if !instance.is_internet() {
        return Err(ApiError::bad(
            "InvalidParameter.Mismatch",
            "Only an internet instance has an internet charge type and a bandwidth.",
        ));
    }
    if let Some(charge) = charge {
        charge.clone_into(&mut instance.internet_charge_type);
    }
    if let Some(bandwidth) = bandwidth {
        instance.bandwidth = bandwidth;
    }
    Ok(json!({ "OrderId": 0 }))
}

pub(super) fn modify_charge_type(state: &mut State, context: &Context<'_>) -> Answer {
    context.region(true)?;
    context.params.require("InstanceChargeType")?;
    context
        .params
        .choice("InstanceChargeType", &["PayByCLCU"])?;
    let instance = state.instance_mut(context)?;
    "PayByCLCU".clone_into(&mut instance.charge_type);
    "paybytraffic".clone_into(&mut instance.internet_charge_type);
    instance.spec = Some("slb.lcu.elastic".to_owned());
    Ok(json!({}))
}
