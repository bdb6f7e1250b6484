//! The classic load balancer: product `slb`, version 2014-05-15. Behaviour follows the API
//! reference of each action (<https://api.aliyun.com/document/Slb/2014-05-15>).

mod attributes;
mod default_group;
mod describe;
mod groups;
mod instance_changes;
mod instances;
mod listener_reads;
mod listeners;
mod members;
mod places;
mod tags;

use gatewright_seams::Random;
use jiff::Timestamp;
use serde_json::Value;

use crate::answer::ApiError;
use crate::options::{Quotas, Timings};
use crate::params::Params;
use crate::plane::Plane;
use crate::state::{AddressPlan, Group, Instance, Protocol, State};

pub(crate) const VERSION: &str = "2014-05-15";

/// What an action may look at besides the state.
pub(crate) struct Context<'a> {
    pub(crate) params: &'a Params,
    pub(crate) now: Timestamp,
    pub(crate) region: &'a str,
    pub(crate) random: &'a Random,
    pub(crate) addresses: AddressPlan,
    pub(crate) quotas: Quotas,
    pub(crate) timings: Timings,
    pub(crate) plane: &'a Plane,
}

pub(crate) type Answer = Result<Value, ApiError>;

#[derive(Clone, Copy)]
pub(crate) enum Action {
    Read(fn(&State, &Context<'_>) -> Answer),
    Write(fn(&mut State, &Context<'_>) -> Answer),
}

impl Action {
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Write(_))
    }
}

/// Actions of the product that are refused with a clear answer.
const UNSUPPORTED: &[&str] = &[
    "AddAccessControlListEntry",
    "AddListenerWhiteListItem",
    "CreateAccessControlList",
    "CreateDomainExtension",
    "CreateLoadBalancerHTTPSListener",
    "CreateMasterSlaveServerGroup",
    "CreateRules",
    "CreateTLSCipherPolicy",
    "DeleteAccessControlList",
    "DeleteAccessLogsDownloadAttribute",
    "DeleteCACertificate",
    "DeleteDomainExtension",
    "DeleteMasterSlaveServerGroup",
    "DeleteRules",
    "DeleteServerCertificate",
    "DeleteTLSCipherPolicy",
    "DescribeAccessControlListAttribute",
    "DescribeAccessControlLists",
    "DescribeAccessLogsDownloadAttribute",
    "DescribeCACertificates",
    "DescribeDomainExtensionAttribute",
    "DescribeDomainExtensions",
    "DescribeHighDefinationMonitor",
    "DescribeListenerAccessControlAttribute",
    "DescribeLoadBalancerHTTPSListenerAttribute",
    "DescribeMasterSlaveServerGroupAttribute",
    "DescribeMasterSlaveServerGroups",
    "DescribeRuleAttribute",
    "DescribeRules",
    "DescribeServerCertificates",
    "EnableHighDefinationMonitor",
    "ListTLSCipherPolicies",
    "ModifyHighDefinationMonitor",
    "ModifyLoadBalancerPayType",
    "MoveResourceGroup",
    "RemoveAccessControlListEntry",
    "RemoveListenerWhiteListItem",
    "SetAccessControlListAttribute",
    "SetAccessLogsDownloadAttribute",
    "SetCACertificateName",
    "SetDomainExtensionAttribute",
    "SetListenerAccessControlStatus",
    "SetLoadBalancerHTTPSListenerAttribute",
    "SetRule",
    "SetServerCertificateName",
    "SetTLSCipherPolicyAttribute",
    "UploadCACertificate",
    "UploadServerCertificate",
];

/// The action called `name`.
pub(crate) fn find(name: &str) -> Result<Action, ApiError> {
    use Action::{Read, Write};
    Ok(match name {
        "CreateLoadBalancer" => Write(instances::create),
        "DeleteLoadBalancer" => Write(instances::delete),
        "DescribeLoadBalancers" => Read(describe::describe_load_balancers),
        "DescribeLoadBalancerAttribute" => Read(describe::describe_load_balancer_attribute),
        "SetLoadBalancerName" => Write(instance_changes::set_name),
        "SetLoadBalancerStatus" => Write(instance_changes::set_status),
        "SetLoadBalancerDeleteProtection" => Write(instance_changes::set_delete_protection),
        "SetLoadBalancerModificationProtection" => {
            Write(instance_changes::set_modification_protection)
        }
        "ModifyLoadBalancerInstanceSpec" => Write(instance_changes::modify_spec),
        "ModifyLoadBalancerInternetSpec" => Write(instance_changes::modify_internet_spec),
        "ModifyLoadBalancerInstanceChargeType" => Write(instance_changes::modify_charge_type),
        "DescribeRegions" => Read(places::describe_regions),
        "DescribeZones" => Read(places::describe_zones),
        "DescribeAvailableResource" => Read(places::describe_available_resource),
        "CreateLoadBalancerTCPListener" => Write(|s, c| listeners::create(s, c, Protocol::Tcp)),
        "CreateLoadBalancerUDPListener" => Write(|s, c| listeners::create(s, c, Protocol::Udp)),
        "CreateLoadBalancerHTTPListener" => Write(|s, c| listeners::create(s, c, Protocol::Http)),
        "SetLoadBalancerTCPListenerAttribute" => Write(|s, c| listeners::set(s, c, Protocol::Tcp)),
        "SetLoadBalancerUDPListenerAttribute" => Write(|s, c| listeners::set(s, c, Protocol::Udp)),
        "SetLoadBalancerHTTPListenerAttribute" => {
            Write(|s, c| listeners::set(s, c, Protocol::Http))
        }
        "StartLoadBalancerListener" => Write(listeners::start),
        "StopLoadBalancerListener" => Write(listeners::stop),
        "DeleteLoadBalancerListener" => Write(listeners::delete),
        "DescribeLoadBalancerTCPListenerAttribute" => {
            Read(|s, c| listener_reads::describe(s, c, Protocol::Tcp))
        }
        "DescribeLoadBalancerUDPListenerAttribute" => {
            Read(|s, c| listener_reads::describe(s, c, Protocol::Udp))
        }
        "DescribeLoadBalancerHTTPListenerAttribute" => {
            Read(|s, c| listener_reads::describe(s, c, Protocol::Http))
        }
        "DescribeLoadBalancerListeners" => Read(listener_reads::describe_all),
        "DescribeHealthStatus" => Read(listener_reads::describe_health),
        "CreateVServerGroup" => Write(groups::create),
        "SetVServerGroupAttribute" => Write(groups::set),
        "DeleteVServerGroup" => Write(groups::delete),
        "DescribeVServerGroups" => Read(groups::describe_all),
        "DescribeVServerGroupAttribute" => Read(groups::describe),
        "AddVServerGroupBackendServers" => Write(groups::add_members),
        "RemoveVServerGroupBackendServers" => Write(groups::remove_members),
        "ModifyVServerGroupBackendServers" => Write(groups::replace_members),
        "AddBackendServers" => Write(default_group::add),
        "RemoveBackendServers" => Write(default_group::remove),
        "SetBackendServers" => Write(default_group::set),
        "TagResources" => Write(tags::tag),
        "UntagResources" => Write(tags::untag),
        "ListTagResources" => Read(tags::list),
        "AddTags" => Write(tags::add_old),
        "RemoveTags" => Write(tags::remove_old),
        "DescribeTags" => Read(tags::describe_old),
        _ if UNSUPPORTED.contains(&name) => return Err(ApiError::unsupported(name)),
        _ => {
            let message = format!("The product slb has no action {name}.");
            return Err(ApiError::new(404, "InvalidAction.NotFound", message));
        }
    })
}

impl Context<'_> {
    /// Checks `RegionId`, which must be the cloud's own where it is given.
    fn region(&self, required: bool) -> Result<(), ApiError> {
        let region = if required {
            Some(self.params.require("RegionId")?)
        } else {
            self.params.get("RegionId")
        };
        match region {
            Some(region) if region != self.region => Err(ApiError::new(
                404,
                "InvalidRegionId.NotFound",
                format!("The cloud has no region {region}, only {}.", self.region),
            )),
            _ => Ok(()),
        }
    }

    fn new_id(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.random.hex(10))
    }
}

fn no_instance() -> ApiError {
    ApiError::new(
        404,
        "InvalidLoadBalancerId.NotFound",
        "The specified LoadBalancerId does not exist.",
    )
}

fn no_group() -> ApiError {
    ApiError::new(
        404,
        "InvalidParameter",
        "The specified VServerGroupId does not exist.",
    )
}

impl State {
    /// The instance that the call names.
    fn instance(&self, context: &Context<'_>) -> Result<&Instance, ApiError> {
        let id = context.params.require("LoadBalancerId")?;
        self.instances.get(id).ok_or_else(no_instance)
    }

    fn instance_mut(&mut self, context: &Context<'_>) -> Result<&mut Instance, ApiError> {
        let id = context.params.require("LoadBalancerId")?;
        self.instances.get_mut(id).ok_or_else(no_instance)
    }

    fn group(&self, context: &Context<'_>) -> Result<&Group, ApiError> {
        let id = context.params.require("VServerGroupId")?;
        self.groups.get(id).ok_or_else(no_group)
    }

    fn group_mut(&mut self, context: &Context<'_>) -> Result<&mut Group, ApiError> {
        let id = context.params.require("VServerGroupId")?;
        self.groups.get_mut(id).ok_or_else(no_group)
    }
}

/// A time as `2020-01-01T00:00Z`.
fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

/// Whether `text` is what the API takes as a name: 1 to 80 letters, digits and `-/._`.
fn check_name(parameter: &str, text: &str) -> Result<(), ApiError> {
    let fits = |c: char| c.is_alphanumeric() || "-/._".contains(c);
    if (1..=80).contains(&text.chars().count()) && text.chars().all(fits) {
        Ok(())
    } else {
        Err(ApiError::invalid(
            parameter,
            "it must be 1 to 80 letters, digits or any of -/._",
        ))
    }
}
