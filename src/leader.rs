//! One writer among several replicas of the daemon, by a Lease (coordination.k8s.io/v1).
//!
//! Every replica serves proxies. Only the one that holds the Lease writes: to Kubernetes, to the
//! cloud, to certificate authorities. It stops writing when it could not renew the Lease for
//! [`Election::deadline`], which is before others may take it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;

use crate::kubernetes::optional;
use crate::outside::Outside;

/// Name of the Lease, in the daemon's own namespace.
const LEASE: &str = "gatewright";
/// How long writers that were told to stop are waited for. They stop at their next await.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// Where the proxies reach the holder's answers to challenges, `host:port`.
const ANSWERS: &str = "gatewright.dev/challenge-address";

/// How a replica takes part. The times are those of Kubernetes' own components.
#[derive(Clone, Debug)]
pub struct Election {
    /// Name of this replica: its Pod's.
    pub identity: String,
    /// How long the Lease is another's after its last renewal.
    pub duration: Duration,
    /// How long the holder goes on without a renewal. Shorter than `duration`, by what a request
    /// that is under way may still take.
    pub deadline: Duration,
    /// Between two tries to get or to renew it.
    pub retry: Duration,
}

impl Election {
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What a replica knows of who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// This replica does.
    pub leads: bool,
    /// Where the proxies reach the answers to challenges of the one that does: host and port.
    pub answers: (String, u16),
}

/// A replica that writes while it holds the Lease.
pub(crate) struct Candidate {
    outside: Outside,
    namespace: String,
    election: Election,
    /// Where the proxies reach this replica's answers to challenges.
    answers: (String, u16),
    tell: watch::Sender<Standing>,
}

/// Another's Lease, and since when it was not renewed.
struct Sighting {
    version: Option<String>,
    since: Duration,
}

impl Candidate {
    /// The Lease is kept in `namespace`. Who reads the second value knows where the election stands.
    pub(crate) fn new(
        outside: Outside,
        namespace: String,
        election: Election,
        answers: (String, u16),
    ) -> (Self, watch::Receiver<Standing>) {
        let standing = Standing {
            leads: false,
            answers: answers.clone(),
        };
        let (tell, told) = watch::channel(standing);
        let candidate = Self {
            outside,
            namespace,
            election,
            answers,
            tell,
        };
        (candidate, told)
    }

    /// Takes part until dropped. `work` starts the writers, in the tasks of what it is given, which
    /// end with the term.
    pub(crate) async fn run(self, work: impl Fn(&Outside)) {
        let mut sighting = None;
        loop {
            // Others count from when they see the write, which can be long before its answer comes.
            let asked = self.outside.clock.elapsed();
            let limit = self.election.deadline;
            let taken = self.try_to_take(&mut sighting);
            match self.outside.clock.timeout(limit, taken).await {
                Ok(Ok(Some(lease))) => {
                    self.lead(lease, asked, &work).await;
                    sighting = Some(self.unseen());
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "lease not read"),
                Err(_) => tracing::warn!(?limit, "lease not read: no answer"),
            }
            self.outside.clock.sleep(self.election.retry).await;
        }
    }

    /// Another may hold it from now on, whom we have not seen.
    fn unseen(&self) -> Sighting {
        Sighting {
            version: None,
            since: self.outside.clock.elapsed(),
        }
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.outside.kube.clone(), &self.namespace)
    }

    fn tell(&self, leads: bool, answers: (String, u16)) {
        let standing = Standing { leads, answers };
        self.tell
            .send_if_modified(|told| std::mem::replace(told, standing.clone()) != standing);
    }

    /// The Lease, if it is ours now.
    async fn try_to_take(&self, sighting: &mut Option<Sighting>) -> kube::Result<Option<Lease>> {
        let Some(held) = optional(self.api().get(LEASE).await)? else {
            // Somebody may have deleted it, and who held it may have renewed it a moment before.
            let now = self.outside.clock.elapsed();
            let gone_since = match sighting {
                Some(seen) if seen.version.is_none() => seen.since,
                _ => {
                    let limit = self.election.duration;
                    tracing::info!(?limit, "no lease: waiting, should it have a holder");
                    *sighting = Some(self.unseen());
                    now
                }
            };
            if now.saturating_sub(gone_since) < self.election.duration {
                return Ok(None);
            }
            let first = self.next(None);
            let created = won(self.api().create(&PostParams::default(), &first).await)?;
            if created.is_none() {
                // Another was first, and holds it should it be gone before we see it.
                *sighting = Some(self.unseen());
            }
            return Ok(created);
        };
        let spec = held.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if !holder.is_empty() && holder != self.election.identity {
            if let Some(answers) = answers_of(&held) {
                self.tell(false, answers);
            }
            // Measured on our own clock, from when we saw the renewal: the holder's clock may differ.
            let now = self.outside.clock.elapsed();
            let version = held.resource_version();
            let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
            let duration = self.election.duration.max(Duration::from_secs(seconds));
            match sighting {
                Some(seen) if seen.version == version => {
                    if now.saturating_sub(seen.since) < duration {
                        return Ok(None);
                    }
                    tracing::info!(holder, "lease not renewed: taking it");
                }
                _ => {
                    *sighting = Some(Sighting {
                        version,
                        since: now,
                    });
                    return Ok(None);
                }
            }
        }
        self.replace(&held).await
    }

    /// Writes as long as the Lease, which is ours, can be renewed. It was asked for at `renewed`.
    async fn lead(&self, mut lease: Lease, mut renewed: Duration, work: &impl Fn(&Outside)) {
        let (clock, election) = (&self.outside.clock, &self.election);
        if clock.elapsed().saturating_sub(renewed) >= election.deadline {
            tracing::warn!("the answer to the hold of the lease came too late");
            return;
        }
        let tasks = self.outside.tasks.child();
        tracing::info!(replica = election.identity, "leading");
        self.tell(true, self.answers.clone());
        work(&Outside {
            tasks: tasks.clone(),
            ..self.outside.clone()
        });
        let why = loop {
            let left = |now: Duration| {
                election
                    .deadline
                    .saturating_sub(now.saturating_sub(renewed))
            };
            let pause = election.retry.min(left(clock.elapsed()));
            if clock.timeout(pause, tasks.cancelled()).await.is_ok() {
                break "a part of it died";
            }
            let asked = clock.elapsed();
            let left = left(asked);
            match clock.timeout(left, self.renew(&lease)).await {
                Ok(Ok(Some(next))) => (lease, renewed) = (next, asked),
                Ok(Ok(None)) => break "another replica holds the lease",
                Ok(Err(error)) => tracing::warn!(%error, "lease not renewed"),
                Err(_) => break "the lease could not be renewed",
            }
        };
        // Until another's is known, challenges in flight are still answered here.
        self.tell(false, self.answers.clone());
        tracing::warn!(replica = election.identity, why, "leading no more");
        if !tasks.stop(STOP_LIMIT).await {
            tracing::warn!(replica = election.identity, "a writer is still running");
        }
        if tasks.failed().is_some() {
            // As without an election: a part that died takes the process with it.
            self.outside.tasks.cancel();
        }
    }

    /// The renewed Lease; nothing when it is another's.
    async fn renew(&self, lease: &Lease) -> kube::Result<Option<Lease>> {
        let refused = match self.replace(lease).await {
            Ok(Some(next)) => return Ok(Some(next)),
            Ok(None) => None,
            // What it says when there is none to replace, among other things.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 500) => {
                Some(kube::Error::Api(status))
            }
            Err(error) => return Err(error),
        };
        let Some(held) = optional(self.api().get(LEASE).await)? else {
            // Somebody deleted it. Others wait as long as if it had been renewed.
            let params = PostParams::default();
            return won(self.api().create(&params, &self.next(None)).await);
        };
        if let Some(error) = refused {
            return Err(error);
        }
        // An answer to our own last renewal may have been lost on its way.
        let holder = held
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_ref());
        if holder == Some(&self.election.identity) {
            return self.replace(&held).await;
        }
        Ok(None)
    }

    /// Writes our hold in the place of `held`; nothing when somebody wrote meanwhile.
    async fn replace(&self, held: &Lease) -> kube::Result<Option<Lease>> {
        let params = PostParams::default();
        won(self
            .api()
            .replace(LEASE, &params, &self.next(Some(held)))
            .await)
    }

    /// The Lease with us as its holder, from now on.
    fn next(&self, held: Option<&Lease>) -> Lease {
        let identity = &self.election.identity;
        let now = self.outside.clock.now();
        // MicroTime has no more than microseconds.
        let now = MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now));
        let before = held.and_then(|held| held.spec.clone()).unwrap_or_default();
        let ours = before.holder_identity.as_ref() == Some(identity);
        let mut metadata = held.map_or_else(ObjectMeta::default, |held| held.metadata.clone());
        metadata.name = Some(LEASE.to_owned());
        metadata.managed_fields = None;
        let (host, port) = &self.answers;
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(ANSWERS.to_owned(), format!("{host}:{port}"));
        let (acquired, transitions) = if ours {
            (before.acquire_time, before.lease_transitions)
        } else {
            let taken = held.map(|_| before.lease_transitions.unwrap_or(0).saturating_add(1));
            (Some(now.clone()), Some(taken.unwrap_or(0)))
        };
        let spec = LeaseSpec {
            holder_identity: Some(identity.clone()),
            lease_duration_seconds: i32::try_from(self.election.duration.as_secs()).ok(),
            acquire_time: acquired,
            renew_time: Some(now),
            lease_transitions: transitions,
            ..before
        };
        Lease {
            metadata,
            spec: Some(spec),
        }
    }
}

/// A write that came too late is no error: another was first.
fn won(result: kube::Result<Lease>) -> kube::Result<Option<Lease>> {
    match result {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

fn answers_of(lease: &Lease) -> Option<(String, u16)> {
    let (host, port) = lease.annotations().get(ANSWERS)?.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests;
