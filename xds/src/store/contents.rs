use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Resource, ResourceKey, ResourceType, Version};

/// Remembered refusals of one resource; older ones are forgotten. More than one is kept so that a
/// content that goes bad, good, bad while a proxy reconnects is not sent to it again.
const REJECTIONS_KEPT: usize = 8;

/// Proxies whose doubtful names are kept until they come back. Most that are gone never do.
const DOUBTFUL_KEPT: usize = 1000;

type Column<T> = BTreeMap<Arc<str>, T>;

/// The resources of one gateway and what its proxies said about them.
#[derive(Default)]
pub(crate) struct Contents {
    /// False until the owner said that the resources are complete. Until then "not there" is
    /// unknown, so nothing is sent at all.
    pub(crate) synced: bool,
    resources: [Column<Resource>; 5],
    verdicts: [Column<Verdict>; 5],
    /// By node id: what a proxy had not answered when its stream ended.
    doubtful: BTreeMap<Arc<str>, BTreeSet<ResourceKey>>,
}

#[derive(Default)]
struct Verdict {
    last_good: Option<Resource>,
    /// Content that an Envoy of this version refused.
    rejected: Vec<(Version, Arc<str>)>,
}

impl Contents {
    pub(crate) fn get(&self, kind: ResourceType, name: &str) -> Option<&Resource> {
        self.resources[kind.index()].get(name)
    }

    pub(crate) fn of_kind(&self, kind: ResourceType) -> &Column<Resource> {
        &self.resources[kind.index()]
    }

    /// Stores `resource`; false when the same content is there already.
    pub(crate) fn put(&mut self, resource: Resource) -> bool {
        let column = &mut self.resources[resource.kind().index()];
        let same = column.get(resource.name()).is_some_and(|old| {
            old.version() == resource.version() && old.deps() == resource.deps()
        });
        if !same {
            column.insert(resource.name().clone(), resource);
        }
        !same
    }

    /// Drops a resource and its last good content; false when it was not there. Refusals stay known,
    /// since a proxy remembers the bytes it refused even if the resource goes and comes back.
    pub(crate) fn remove(&mut self, kind: ResourceType, name: &str) -> bool {
        let verdicts = &mut self.verdicts[kind.index()];
        if let Some(verdict) = verdicts.get_mut(name) {
            verdict.last_good = None;
            if verdict.rejected.is_empty() {
                verdicts.remove(name);
            }
        }
        self.resources[kind.index()].remove(name).is_some()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Notes that a proxy accepted `resource`. True when that lifts a refusal by another proxy.
    pub(crate) fn accept(&mut self, resource: &Resource) -> bool {
        let index = resource.kind().index();
        let Some(wanted) = self.resources[index].get(resource.name()) else {
            return false;
        };
        let is_wanted = wanted.version() == resource.version();
        let verdict = self.verdicts[index]
            .entry(resource.name().clone())
            .or_default();
        let was = verdict.last_good.as_ref().map(Resource::version);
        if was == Some(resource.version()) {
            return false;
        }
        // A late answer about an older content must not push the newer good one out.
        if is_wanted || was != Some(wanted.version()) {
            verdict.last_good = Some(resource.clone());
        }
        is_wanted
            && verdict
                .rejected
                .iter()
                .any(|(version, _)| *version == resource.version())
    }

    /// Notes that an Envoy of version `agent` refused this content.
    pub(crate) fn reject(
        &mut self,
        kind: ResourceType,
        name: &Arc<str>,
        version: Version,
        agent: &Arc<str>,
    ) {
        let verdict = self.verdicts[kind.index()].entry(name.clone()).or_default();
        let entry = (version, agent.clone());
        if !verdict.rejected.contains(&entry) {
            if verdict.rejected.len() == REJECTIONS_KEPT {
                verdict.rejected.remove(0);
            }
            verdict.rejected.push(entry);
        }
    }

    /// Whether an Envoy of version `agent` refused this content and no proxy is known to like it.
    /// A content that some proxy runs is tried on others: the refusal may be that proxy's own
    /// trouble, such as a port that is in use.
    pub(crate) fn is_rejected(
        &self,
        kind: ResourceType,
        name: &str,
        version: Version,
        agent: &str,
    ) -> bool {
        let Some(verdict) = self.verdicts[kind.index()].get(name) else {
            return false;
        };
        let mut rejected = verdict.rejected.iter();
        verdict.last_good.as_ref().map(Resource::version) != Some(version)
            && rejected.any(|(refused, by)| *refused == version && **by == *agent)
    }

    pub(crate) fn keep_doubtful(&mut self, node_id: Arc<str>, keys: BTreeSet<ResourceKey>) {
        if !keys.is_empty() && self.doubtful.len() < DOUBTFUL_KEPT {
            self.doubtful.entry(node_id).or_default().extend(keys);
        }
    }

    pub(crate) fn take_doubtful(&mut self, node_id: &str) -> BTreeSet<ResourceKey> {
        self.doubtful.remove(node_id).unwrap_or_default()
    }

    /// The last content that a proxy accepted.
    pub(crate) fn last_good(&self, kind: ResourceType, name: &str) -> Option<&Resource> {
        self.verdicts[kind.index()].get(name)?.last_good.as_ref()
    }
}
