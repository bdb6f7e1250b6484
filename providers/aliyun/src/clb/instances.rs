//! Creating, protecting and deleting instances.

use std::time::Duration;

use gatewright_core::{
    Action, AddressType, Error, ErrorClass, Found, IdempotencyToken, LoadBalancerId,
    LoadBalancerStatus, Observed, ObservedLoadBalancer, OwnerKey,
};
use jiff::SignedDuration;

use super::answers::{Accepted, CreatedInstance, Instance};
use super::{CLUSTER_TAG, Clb, OWNER_TAG, is_gone, on_off, read, write};

/// How old a look at the cloud may be to be relied on for a creation or a deletion.
const FRESH: Duration = Duration::from_mins(1);

impl Clb {
    fn is_fresh(&self, observed: &Observed) -> bool {
        let limit = SignedDuration::try_from(FRESH).unwrap_or(SignedDuration::ZERO);
        let now = self.now();
        observed
            .read_at
            .is_some_and(|at| now.duration_since(at) <= limit)
    }

    pub(super) async fn create(
        &self,
        action: &Action,
        observed: &mut Observed,
        token: &IdempotencyToken,
    ) -> Result<(), Error> {
        let Action::CreateLoadBalancer {
            name,
            address_type,
            ip_version,
            subnet,
            tags,
            deletion_protection,
        } = action
        else {
            return Ok(());
        };
        if observed.load_balancer.is_some() {
            return Ok(());
        }
        if !self.is_fresh(observed) {
            *observed = self.read_all(&observed.owner).await?;
            if observed.load_balancer.is_some() {
                return Ok(());
            }
        }
        // From here on an instance may exist.
        observed.read_at = None;
        let internal = *address_type == AddressType::Intranet;
        let subnet = subnet
            .as_ref()
            .or(self.options.default_subnet.as_ref())
            .filter(|_| internal);
        let marks = [
            (OWNER_TAG, observed.owner.as_str()),
            (CLUSTER_TAG, self.options.cluster.as_str()),
        ];
        let own = tags
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let call = write("CreateLoadBalancer", action.to_string())
            .with("AddressType", address_type)
            .with("AddressIPVersion", ip_version)
            .with_some("LoadBalancerName", name.as_ref())
            .with_some("DeleteProtection", deletion_protection.map(on_off))
            .with_some("VSwitchId", subnet)
            .with_some(
                "InstanceChargeType",
                self.options.instance_charge_type.as_ref(),
            )
            .with_some("LoadBalancerSpec", self.options.spec.as_ref())
            .with("ClientToken", token)
            .with_tags(marks.into_iter().chain(own));
        let answer: CreatedInstance = self.write(&call).await?;
        let name = Some(answer.load_balancer_name).filter(|name| !name.is_empty());
        observed.load_balancer = Some(ObservedLoadBalancer {
            name: name.unwrap_or_else(|| answer.load_balancer_id.clone()),
            id: answer.load_balancer_id.into(),
            address: answer.address.parse().ok(),
            address_type: *address_type,
            ip_version: *ip_version,
            subnet: answer
                .v_switch_id
                .filter(|id| !id.is_empty())
                .map(Into::into),
            status: LoadBalancerStatus::Active,
            tags: tags.clone(),
            own_tags: tags.keys().cloned().collect(),
            deletion_protection: deletion_protection.unwrap_or(false),
            listeners: Vec::new(),
            groups: Vec::new(),
        });
        Ok(())
    }

    pub(super) async fn look_at(
        &self,
        owner: &OwnerKey,
        id: &LoadBalancerId,
    ) -> Result<Found, Error> {
        let doing = format!("looking at load balancer {id}");
        Ok(match self.instance(&doing, id).await? {
            None => Found::Gone,
            Some(instance) if self.is_ours(&instance, owner) => Found::Ours,
            Some(_) => Found::NotOurs,
        })
    }

    /// Reads one instance; nothing when it does not exist.
    async fn instance(&self, doing: &str, id: &LoadBalancerId) -> Result<Option<Instance>, Error> {
        let call = read("DescribeLoadBalancerAttribute", doing).with("LoadBalancerId", id);
        match self.client.send(&call).await {
            Ok(instance) => Ok(Some(instance)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it carries the marks of `owner` and of this cluster.
    fn is_ours(&self, instance: &Instance, owner: &OwnerKey) -> bool {
        instance.tag(OWNER_TAG) == Some(owner.as_str())
            && instance.tag(CLUSTER_TAG) == Some(self.options.cluster.as_str())
    }

    /// Reads one instance and makes sure that it is this owner's and that nobody else's listener
    /// is on it. Nothing when it does not exist.
    async fn check_mark(
        &self,
        observed: &Observed,
        id: &LoadBalancerId,
    ) -> Result<Option<Instance>, Error> {
        let doing = format!("checking whose load balancer {id} is");
        let Some(instance) = self.instance(&doing, id).await? else {
            return Ok(None);
        };
        if !self.is_ours(&instance, &observed.owner) {
            return Err(Error::new(
                ErrorClass::Refused,
                doing,
                "it does not carry the marks of this owner and cluster",
            ));
        }
        let mark = observed.mark();
        if let Some((port, _)) = instance
            .described_listeners()
            .find(|(_, description)| !mark.is_on(description))
        {
            let message = format!("the listener on port {port} is somebody else's");
            return Err(Error::new(ErrorClass::Conflict, doing, message));
        }
        Ok(Some(instance))
    }

    pub(super) async fn protect(
        &self,
        observed: &mut Observed,
        id: &LoadBalancerId,
        on: bool,
    ) -> Result<(), Error> {
        if !on && !self.is_fresh(observed) {
            if self.check_mark(observed, id).await?.is_none() {
                forget(observed, id);
                return Ok(());
            }
            observed.read_at = Some(self.now());
        }
        let call = write(
            "SetLoadBalancerDeleteProtection",
            format!(
                "switching deletion protection of load balancer {id} {}",
                on_off(on)
            ),
        )
        .with("LoadBalancerId", id)
        .with("DeleteProtection", on_off(on));
        match self.write::<Accepted>(&call).await {
            Ok(_) => {}
            Err(error) if is_gone(&error) && !on => {
                forget(observed, id);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if let Some(lb) = observed.load_balancer.as_mut().filter(|lb| lb.id == *id) {
            lb.deletion_protection = on;
        }
        for duplicate in observed
            .duplicates
            .iter_mut()
            .filter(|known| known.id == *id)
        {
            duplicate.deletion_protection = on;
        }
        Ok(())
    }

    pub(super) async fn delete(
        &self,
        observed: &mut Observed,
        id: &LoadBalancerId,
    ) -> Result<(), Error> {
        if !self.is_fresh(observed) && self.check_mark(observed, id).await?.is_none() {
            forget(observed, id);
            return Ok(());
        }
        let call = write("DeleteLoadBalancer", format!("deleting load balancer {id}"))
            .with("LoadBalancerId", id);
        match self.write::<Accepted>(&call).await {
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
        forget(observed, id);
        Ok(())
    }
}

/// Takes a deleted instance out of the record.
fn forget(observed: &mut Observed, id: &LoadBalancerId) {
    if observed
        .load_balancer
        .as_ref()
        .is_some_and(|lb| lb.id == *id)
    {
        observed.load_balancer = None;
    }
    observed.duplicates.retain(|duplicate| duplicate.id != *id);
}
