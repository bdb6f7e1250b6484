//! Reading instances, listeners and groups.

use std::net::IpAddr;

use gatewright_core::{
    AddressType, BackendKey, Duplicate, Error, ErrorClass, IpVersion, LoadBalancerStatus, Observed,
    ObservedBackend, ObservedGroup, ObservedListener, ObservedLoadBalancer, OwnedLoadBalancer,
    OwnerKey, Port, Weight,
};

use super::answers::{Groups, Instance, Instances, ListenerPage, Members, Server};
use super::{CLUSTER_TAG, Clb, OWNER_TAG, listeners, read};
use crate::client::call::Call;

/// Instances a page of DescribeLoadBalancers, and listeners a page of
/// DescribeLoadBalancerListeners.
const PAGE: usize = 100;
/// Instances that one DescribeLoadBalancerListeners may name.
const INSTANCES_A_CALL: usize = 10;
/// A page number that no account reaches: the end of a list that never ends.
const LAST_PAGE: usize = 1000;

impl Clb {
    /// Instances with all these tags. That they carry them is checked in the answer, because what
    /// is found here may be changed and deleted.
    async fn instances(&self, call: Call, tags: &[(&str, &str)]) -> Result<Vec<Instance>, Error> {
        let call = call.with_tags(tags.iter().copied()).with("PageSize", PAGE);
        let mut found: Vec<Instance> = Vec::new();
        for page in 1..=LAST_PAGE {
            let answer: Instances = self
                .client
                .send(&call.clone().with("PageNumber", page))
                .await?;
            let count = answer.load_balancers.load_balancer.len();
            found.extend(answer.load_balancers.load_balancer);
            let total = answer
                .total_count
                .and_then(|total| usize::try_from(total).ok());
            if count == 0 || total.map_or(count < PAGE, |total| page * PAGE >= total) {
                break;
            }
        }
        found.retain(|instance| {
            tags.iter()
                .all(|(key, value)| instance.tag(key) == Some(*value))
        });
        // An instance that is created while pages are read can move another onto the next page.
        found.sort_by(|a, b| a.load_balancer_id.cmp(&b.load_balancer_id));
        found.dedup_by(|a, b| a.load_balancer_id == b.load_balancer_id);
        found.sort_by_key(|instance| instance.create_time_stamp);
        Ok(found)
    }

    /// Instances of one owner, oldest first.
    pub(super) async fn find(&self, owner: &OwnerKey) -> Result<Vec<Instance>, Error> {
        let call = read(
            "DescribeLoadBalancers",
            format!("looking for load balancers of owner {owner}"),
        );
        let tags = [
            (OWNER_TAG, owner.as_str()),
            (CLUSTER_TAG, self.options.cluster.as_str()),
        ];
        self.instances(call, &tags).await
    }

    pub(super) async fn read_owned(&self) -> Result<Vec<OwnedLoadBalancer>, Error> {
        let call = read(
            "DescribeLoadBalancers",
            format!("listing load balancers of cluster {}", self.options.cluster),
        );
        let found = self
            .instances(call, &[(CLUSTER_TAG, self.options.cluster.as_str())])
            .await?;
        let mut owned: Vec<OwnedLoadBalancer> = found
            .iter()
            .filter_map(|instance| {
                Some(OwnedLoadBalancer {
                    id: instance.load_balancer_id.clone().into(),
                    name: instance.load_balancer_name.clone(),
                    owner: instance.tag(OWNER_TAG)?.into(),
                    address: instance.address(),
                })
            })
            .collect();
        owned.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(owned)
    }

    pub(super) async fn read_all(&self, owner: &OwnerKey) -> Result<Observed, Error> {
        let instances = self.find(owner).await?;
        let mut observed = Observed::absent(owner.clone());
        observed.read_at = Some(self.now());
        if instances.is_empty() {
            return Ok(observed);
        }
        let ids: Vec<&str> = instances
            .iter()
            .map(|lb| lb.load_balancer_id.as_str())
            .collect();
        let mut found_listeners = self.listeners(&ids).await?;
        let has_listeners = |instance: &&Instance| {
            found_listeners
                .iter()
                .any(|(id, _)| *id == instance.load_balancer_id)
        };
        // Of several, the one in use; else the oldest.
        let main = instances
            .iter()
            .find(has_listeners)
            .or(instances.first())
            .map(|instance| instance.load_balancer_id.clone())
            .unwrap_or_default();
        for instance in &instances {
            let id = &instance.load_balancer_id;
            if *id == main {
                let groups = self.groups(id).await?;
                let mut lb = load_balancer(instance);
                found_listeners
                    .iter_mut()
                    .filter(|(lb_id, _)| lb_id == id)
                    .for_each(|(_, listener)| lb.put_listener(listener.clone()));
                for group in groups {
                    lb.put_group(group);
                }
                observed.load_balancer = Some(lb);
            } else {
                let bare = !found_listeners.iter().any(|(lb_id, _)| lb_id == id)
                    && self.group_names(id).await?.is_empty();
                observed.duplicates.push(Duplicate {
                    id: id.clone().into(),
                    deletion_protection: instance.is_protected(),
                    bare,
                });
            }
        }
        Ok(observed)
    }

    /// Every listener of these instances, with the instance's id.
    pub(super) async fn listeners(
        &self,
        instances: &[&str],
    ) -> Result<Vec<(String, ObservedListener)>, Error> {
        let mut found = Vec::new();
        for ids in instances.chunks(INSTANCES_A_CALL) {
            let doing = format!("reading listeners of load balancer {}", ids.join(", "));
            let mut call = read("DescribeLoadBalancerListeners", doing).with("MaxResults", PAGE);
            for (number, id) in (1..).zip(ids) {
                call = call.with(format!("LoadBalancerId.{number}"), id);
            }
            let mut next: Option<String> = None;
            for _ in 1..=LAST_PAGE {
                let page: ListenerPage = self
                    .client
                    .send(&call.clone().with_some("NextToken", next.as_ref()))
                    .await?;
                found.extend(page.listeners.iter().filter_map(|answer| {
                    Some((
                        answer.load_balancer_id.clone(),
                        listeners::observed(answer)?,
                    ))
                }));
                next = page.next_token.filter(|token| !token.is_empty());
                if next.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Ids and names of an instance's groups.
    pub(super) async fn group_names(&self, id: &str) -> Result<Vec<(String, String)>, Error> {
        let call = read(
            "DescribeVServerGroups",
            format!("reading backend groups of load balancer {id}"),
        )
        .with("LoadBalancerId", id);
        let answer: Groups = self.client.send(&call).await?;
        Ok(answer
            .groups
            .group
            .into_iter()
            .map(|group| (group.id, group.name))
            .collect())
    }

    async fn groups(&self, id: &str) -> Result<Vec<ObservedGroup>, Error> {
        let mut groups = Vec::new();
        for (id, name) in self.group_names(id).await? {
            let doing = format!("reading members of backend group {id}");
            let call = read("DescribeVServerGroupAttribute", &*doing).with("VServerGroupId", &id);
            let answer: Members = self.client.send(&call).await?;
            let members = answer.servers.unwrap_or_default().backend_server;
            let mut backends = members
                .iter()
                .map(backend)
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| {
                    Error::new(
                        ErrorClass::Transient,
                        doing,
                        "the answer has a member without port",
                    )
                })?;
            backends.sort_by(|a, b| a.key.cmp(&b.key));
            groups.push(ObservedGroup {
                id: id.into(),
                name,
                backends,
            });
        }
        Ok(groups)
    }
}

fn backend(server: &Server) -> Option<ObservedBackend> {
    let ip: Option<IpAddr> = server.ip.as_deref().and_then(|ip| ip.parse().ok());
    // Machines are named by id alone, even where the cloud tells their address too.
    let is_machine = server
        .kind
        .as_deref()
        .map_or(ip.is_none(), |kind| kind == "ecs");
    Some(ObservedBackend {
        key: BackendKey {
            server: server.id.clone().into(),
            ip: ip.filter(|_| !is_machine),
            port: server
                .port
                .and_then(|port| u16::try_from(port).ok())
                .and_then(Port::new)?,
        },
        weight: server
            .weight
            .and_then(|weight| u8::try_from(weight).ok())
            .and_then(Weight::new)
            .unwrap_or(Weight::FULL),
        added_at: None,
        drained_at: None,
    })
}

fn load_balancer(instance: &Instance) -> ObservedLoadBalancer {
    let mut tags = instance.tags();
    tags.remove(OWNER_TAG);
    tags.remove(CLUSTER_TAG);
    ObservedLoadBalancer {
        id: instance.load_balancer_id.clone().into(),
        name: instance.load_balancer_name.clone(),
        address: instance.address(),
        address_type: if instance.address_type == "intranet" {
            AddressType::Intranet
        } else {
            AddressType::Internet
        },
        ip_version: if instance.address_ip_version == "ipv6" {
            IpVersion::Ipv6
        } else {
            IpVersion::Ipv4
        },
        subnet: instance.subnet().map(Into::into),
        status: match instance.load_balancer_status.as_str() {
            "inactive" => LoadBalancerStatus::Inactive,
            "locked" => LoadBalancerStatus::Locked,
            _ => LoadBalancerStatus::Active,
        },
        tags,
        own_tags: std::collections::BTreeSet::new(),
        deletion_protection: instance.is_protected(),
        listeners: Vec::new(),
        groups: Vec::new(),
    }
}
