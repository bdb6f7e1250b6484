//! Classic load balancers: product `Slb`, version 2014-05-15.
//!
//! Calls return when the cloud has accepted them. While an instance takes a change in, others are
//! refused with a code that says "busy"; those are repeated here.

mod answers;
mod apply;
mod groups;
mod instances;
mod listener_writes;
mod listeners;
mod observe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use gatewright_core::{
    ClusterName, Error, Found, IdempotencyToken, LoadBalancerId, LoadBalancers, Observed,
    OwnedLoadBalancer, OwnerKey, Step, SubnetId,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::client::call::{Call, Effect};

/// Tag that names the owner of an instance.
pub const OWNER_TAG: &str = "gatewright.dev/owner";
/// Tag that names the cluster whose daemon made an instance.
pub const CLUSTER_TAG: &str = "gatewright.dev/cluster";

const VERSION: &str = "2014-05-15";
/// Time between two tries of a write that met a busy instance, and how many there are. Listeners
/// take a few seconds to change state.
const BUSY_WAIT: Duration = Duration::from_secs(1);
const BUSY_TRIES: u32 = 30;

/// What all instances of a cluster have in common.
#[derive(Clone, Debug)]
pub struct ClbOptions {
    pub cluster: ClusterName,
    /// vSwitch of internal instances that do not name one.
    pub default_subnet: Option<SubnetId>,
    /// `PayBySpec` or `PayByCLCU`; unset leaves it to the cloud.
    pub instance_charge_type: Option<String>,
    /// E.g. `slb.s1.small`, with `PayBySpec`.
    pub spec: Option<String>,
}

impl ClbOptions {
    pub fn new(cluster: ClusterName) -> Self {
        Self {
            cluster,
            default_subnet: None,
            instance_charge_type: None,
            spec: None,
        }
    }
}

/// Classic load balancers of one account and region, made for one cluster.
#[derive(Clone, Debug)]
pub struct Clb {
    client: Client,
    options: ClbOptions,
}

impl Clb {
    pub fn new(client: Client, options: ClbOptions) -> Self {
        Self { client, options }
    }

    fn now(&self) -> Timestamp {
        self.client.clock().now()
    }

    /// Sends a write, again while the instance is busy.
    async fn write<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        let mut tries = 1;
        loop {
            match self.client.send(call).await {
                Err(error) if is_busy(&error) && tries < BUSY_TRIES => {
                    self.client.clock().sleep(BUSY_WAIT).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }
}

/// Whether the same request will be taken once the instance is done with an earlier one.
fn is_busy(error: &Error) -> bool {
    matches!(
        error.code.as_deref(),
        Some(
            "BackendServer.configuring"
                | "VServerGroupProcessing"
                | "ListenerProcessing"
                | "ServiceIsConfiguring"
                | "ServiceIsStopping"
                | "OperationBusy"
                | "SystemBusy"
                | "OperationFailed.ServiceGroupProcessing"
                | "OperationFailed.ListenerStatusNotSupport"
                | "OperationFailed.TokenIsProcessing"
        )
    )
}

/// Whether the object of a deletion is not there.
fn is_gone(error: &Error) -> bool {
    matches!(
        error.code.as_deref(),
        Some(
            "InvalidLoadBalancerId.NotFound"
                | "ListenerNotFound"
                | "ResourceNotFound.Listener"
                | "ResourceNotFound.VServerGroup"
        )
    )
}

fn read(action: &'static str, doing: impl Into<String>) -> Call {
    Call::new(VERSION, action, Effect::Read, doing)
}

fn write(action: &'static str, doing: impl Into<String>) -> Call {
    Call::new(VERSION, action, Effect::Write, doing)
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

impl LoadBalancers for Clb {
    fn observe<'a>(&'a self, owner: &'a OwnerKey) -> BoxFuture<'a, Result<Observed, Error>> {
        self.read_all(owner).boxed()
    }

    fn look<'a>(
        &'a self,
        owner: &'a OwnerKey,
        id: &'a LoadBalancerId,
    ) -> BoxFuture<'a, Result<Found, Error>> {
        self.look_at(owner, id).boxed()
    }

    fn apply<'a>(
        &'a self,
        step: &'a Step,
        observed: &'a mut Observed,
        token: &'a IdempotencyToken,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.apply_action(&step.action, observed, token).boxed()
    }

    fn list_owned(&self) -> BoxFuture<'_, Result<Vec<OwnedLoadBalancer>, Error>> {
        self.read_owned().boxed()
    }
}
