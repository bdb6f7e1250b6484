//! What somebody does by hand in the cloud.

use std::collections::BTreeMap;

use gatewright_aliyun::clb::Clb;
use gatewright_core::{
    Action, Error, IdempotencyToken, LoadBalancers, Observed, OwnerKey, Port, Protocol, Seconds,
    Step,
};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use mock_cloud::InstanceView;

use super::{Run, history};
use crate::Sim;
use crate::plan::Edit;
use crate::quickstart::INTERNAL;
use crate::sim::{GATEWAY_NAMESPACE, OWNER_TAG};

/// The cluster whose daemon a laptop's is.
const CLUSTER: &str = "laptop";

impl Run {
    /// Somebody edits one of our load balancers, by number, if there are so many.
    pub(super) async fn edit(&mut self, balancer: usize, edit: Edit) {
        let inventory = self.sim.laptop.cloud.inventory();
        let mut ours = inventory.instances.iter().filter(|held| {
            held.tags.contains_key(OWNER_TAG) && !self.sim.foreign.contains(&held.id)
        });
        let Some(instance) = ours.nth(balancer) else {
            return;
        };
        if let Err(error) = by_hand(&self.sim, instance, edit, &mut self.untagged).await {
            // A fault can hit the console too; what it sends is always right.
            let wrong = error
                .code
                .as_deref()
                .is_some_and(|code| code.starts_with("Signature"));
            assert!(!wrong, "the console's request is refused: {error}");
            history::line(format!("not done: {error}"));
        }
    }

    /// Somebody gives load balancers their tags back, and deletes those whose Service is gone or was of
    /// another type: both is what the daemon asks for.
    pub(super) async fn tag_again(&mut self) {
        let services: Api<Service> = Api::namespaced(self.sim.kube.clone(), GATEWAY_NAMESPACE);
        let services = services.list(&ListParams::default()).await;
        let services = services.expect("Services").items;
        for Untagged { mut observed, tags } in std::mem::take(&mut self.untagged) {
            let there = self.sim.laptop.cloud.inventory().instances;
            let shown = observed.load_balancer.as_ref().map(|held| held.id.clone());
            let Some(id) = shown.filter(|id| there.iter().any(|held| held.id == id.as_str()))
            else {
                continue;
            };
            let mut actions = vec![Action::SetTags { tags }];
            let uid = observed.owner.as_str();
            // One that is going away may be gone before it is looked at again.
            let mut staying = services.iter().filter(|held| {
                let left = self.internal_left && held.name_any() == INTERNAL;
                held.metadata.deletion_timestamp.is_none() && !left
            });
            if !staying.any(|held| held.uid().as_deref() == Some(uid)) {
                history::line(format!("-- the console: {id} goes"));
                let protection = Action::SetDeletionProtection {
                    id: id.clone(),
                    on: false,
                };
                actions.extend([protection, Action::DeleteLoadBalancer { id }]);
            }
            let clb = self.sim.by_hand(CLUSTER);
            for action in actions {
                let done = apply_by_hand(&clb, &mut observed, action).await;
                done.expect("an edit in the console");
            }
        }
    }
}

/// A load balancer without tags, as it was last seen with them.
pub(super) struct Untagged {
    observed: Observed,
    tags: BTreeMap<String, String>,
}

/// Does `edit` to the load balancer `there`, as somebody in the console does. One that may lose its
/// tags by it is added to `untagged`.
async fn by_hand(
    sim: &Sim,
    there: &InstanceView,
    edit: Edit,
    untagged: &mut Vec<Untagged>,
) -> Result<(), Error> {
    let clb = sim.by_hand(CLUSTER);
    let owner = there.tags.get(OWNER_TAG).map_or("", String::as_str);
    let mut observed = clb.observe(&OwnerKey::from(owner)).await?;
    let Some(instance) = observed.load_balancer.clone() else {
        return Ok(());
    };
    let action = match edit {
        Edit::DeleteListener => Action::DeleteListener {
            port: Port::new(443).expect("a port"),
            protocol: Protocol::Tcp,
        },
        Edit::Weights(stays) => {
            let Some(group) = instance
                .groups
                .iter()
                .find(|group| !group.backends.is_empty())
            else {
                return Ok(());
            };
            let stays = stays % group.backends.len();
            let others = group.backends.iter().enumerate();
            let others = others.filter(|(index, _)| *index != stays);
            Action::Drain {
                group: group.name.clone(),
                backends: others.map(|(_, held)| held.key.clone()).collect(),
                time: Seconds(0),
            }
        }
        Edit::Untag => {
            let tags = there.tags.clone();
            let keys = tags.keys().cloned().collect();
            let observed = observed.clone();
            untagged.push(Untagged { observed, tags });
            Action::RemoveTags { keys }
        }
        Edit::DeleteInstance => Action::DeleteLoadBalancer { id: instance.id },
    };
    apply_by_hand(&clb, &mut observed, action).await
}

async fn apply_by_hand(clb: &Clb, observed: &mut Observed, action: Action) -> Result<(), Error> {
    let token = IdempotencyToken::new(&observed.owner, 0, &action);
    let step = Step {
        action,
        reason: "by hand".into(),
    };
    clb.apply(&step, observed, &token).await
}
