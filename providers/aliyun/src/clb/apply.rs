//! One step, one effect.

use gatewright_core::{
    Action, Error, ErrorClass, IdempotencyToken, Observed, ObservedLoadBalancer,
};

use super::answers::Accepted;
use super::listener_writes::Target;
use super::{Clb, write};

impl Clb {
    pub(super) async fn apply_action(
        &self,
        action: &Action,
        observed: &mut Observed,
        token: &IdempotencyToken,
    ) -> Result<(), Error> {
        match action {
            Action::CreateLoadBalancer { .. } => self.create(action, observed, token).await,
            Action::SetDeletionProtection { id, on } => self.protect(observed, id, *on).await,
            Action::DeleteLoadBalancer { id } => self.delete(observed, id).await,
            _ => {
                let lb = observed.load_balancer.as_mut().ok_or_else(|| {
                    Error::new(
                        ErrorClass::Conflict,
                        action.to_string(),
                        "there is no load balancer",
                    )
                })?;
                self.apply_inside(action, lb).await
            }
        }
    }

    async fn apply_inside(
        &self,
        action: &Action,
        lb: &mut ObservedLoadBalancer,
    ) -> Result<(), Error> {
        match action {
            Action::RenameLoadBalancer { name } => {
                let call = write("SetLoadBalancerName", action.to_string())
                    .with("LoadBalancerId", &lb.id)
                    .with("LoadBalancerName", name);
                self.write::<Accepted>(&call).await?;
                lb.name.clone_from(name);
                Ok(())
            }
            Action::SetTags { tags } => {
                let call = write("TagResources", action.to_string())
                    .with("ResourceType", "instance")
                    .with("ResourceId.1", &lb.id)
                    .with_tags(
                        tags.iter()
                            .map(|(key, value)| (key.as_str(), value.as_str())),
                    );
                self.write::<Accepted>(&call).await?;
                lb.own_tags.extend(tags.keys().cloned());
                lb.tags.extend(tags.clone());
                Ok(())
            }
            Action::RemoveTags { keys } => {
                let mut call = write("UntagResources", action.to_string())
                    .with("ResourceType", "instance")
                    .with("ResourceId.1", &lb.id);
                for (number, key) in (1..).zip(keys) {
                    call = call.with(format!("TagKey.{number}"), key);
                }
                self.write::<Accepted>(&call).await?;
                for key in keys {
                    lb.own_tags.remove(key);
                    lb.tags.remove(key);
                }
                Ok(())
            }
            Action::CreateGroup { group, backends } => self.create_group(lb, group, backends).await,
            Action::AddBackends { group, backends } => {
                let group = Self::group_of(lb, group, action)?;
                self.add_backends(group, backends).await
            }
            Action::SetWeights { group, backends } => {
                self.set_weights(Self::group_of(lb, group, action)?, backends)
                    .await
            }
            Action::Drain {
                group, backends, ..
            } => {
                self.drain(Self::group_of(lb, group, action)?, backends)
                    .await
            }
            Action::RemoveBackends { group, backends } => {
                self.remove_backends(Self::group_of(lb, group, action)?, backends)
                    .await
            }
            Action::DeleteGroup { group, id } => self.delete_group(lb, group, id).await,
            Action::CreateListener {
                port,
                protocol,
                description,
                group,
                settings,
            } => {
                let target = Target {
                    port: *port,
                    protocol: *protocol,
                    description,
                    group,
                    settings,
                };
                self.create_listener(action, lb, &target).await
            }
            Action::UpdateListener {
                port,
                protocol,
                description,
                group,
                settings,
                ..
            } => {
                let target = Target {
                    port: *port,
                    protocol: *protocol,
                    description,
                    group,
                    settings,
                };
                self.update_listener(action, lb, &target).await
            }
            Action::StartListener { port, protocol } => {
                self.start_listener(action, lb, *port, *protocol).await
            }
            Action::DeleteListener { port, protocol } => {
                self.delete_listener(action, lb, *port, *protocol).await
            }
            _ => Err(Error::new(
                ErrorClass::Invalid,
                action.to_string(),
                "this kind of load balancer does not know such a step",
            )),
        }
    }
}
