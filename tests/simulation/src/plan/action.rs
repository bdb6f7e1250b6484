use std::fmt;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use mock_acme::Endpoint;

use super::wanted::Internal;
use super::{REPLICAS, side};
use crate::{KubeFault, Side};

/// Something that happens to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The users change an object.
    User(Change),
    /// Somebody edits one of our load balancers, by number, in the console.
    Console(usize, Edit),
    /// The next calls of one kind to the cloud go wrong.
    Cloud(&'static str, CloudFault, u32),
    /// The cloud answers again as it should.
    CloudMends,
    /// The next requests to the certificate authority, or to one of its endpoints, go wrong.
    Authority(Option<Endpoint>, AuthorityFault, u32),
    /// The authority answers again as it should.
    AuthorityMends,
    /// After `others` more, the next requests of a replica to the API server go wrong.
    Kube {
        replica: usize,
        fault: KubeFault,
        others: usize,
        times: usize,
    },
    /// Somebody deletes the Lease of the replicas.
    DeleteLease,
    /// Every watch breaks; with `true` nobody can resume.
    CutWatches(bool),
    /// A replica does not reach the API server, or does again.
    Partition(usize, bool),
    /// A proxy answers nobody.
    Dark(usize),
    /// Every proxy answers again.
    Light,
    /// A replica dies.
    Kill(usize),
    /// A replica dies at a request to come, counted from 0.
    KillAt(usize, Seam, usize, Side),
    /// A replica that died is started.
    Start(usize),
}

/// What users do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Scale(i32),
    /// Another Pod template: a rolling update.
    Update(u32),
    /// One of the proxies' Pods is deleted.
    DeletePod(usize),
    Internal(Internal),
    DeleteInternal,
    DeleteGateway,
    ApplyGateway,
    /// How many names the Certificate has.
    Names(usize),
    DeleteCertificate,
    DeleteSecret,
    Rotate,
}

/// What is done by hand in the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    DeleteListener,
    /// All backends of a group but one, by number, get no connections any more.
    Weights(usize),
    /// The load balancer loses its tags, until the end of the history.
    Untag,
    DeleteInstance,
}

/// Where a replica's requests leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seam {
    Cloud,
    Authority,
    Kube,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudFault {
    Throttled,
    ThrottledFor(Duration),
    Unavailable,
    Internal,
    Refused(&'static str),
    TimeoutBefore,
    TimeoutAfter,
    CutAnswer,
    Slow(Duration),
    StaleRead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityFault {
    BadNonce,
    RateLimited(Duration),
    ServerError,
    TimeoutBefore,
    TimeoutAfter,
    FailedValidation,
    SlowValidation(Duration),
    Processing(Duration),
    FailedIssuance,
}

const CALLS: [&str; 13] = [
    "*",
    "CreateLoadBalancer",
    "DescribeLoadBalancers",
    "DescribeLoadBalancerAttribute",
    "CreateVServerGroup",
    "AddVServerGroupBackendServers",
    "RemoveVServerGroupBackendServers",
    "SetVServerGroupAttribute",
    "CreateLoadBalancerTCPListener",
    "StartLoadBalancerListener",
    "DeleteLoadBalancer",
    "DescribeVServerGroupAttribute",
    "TagResources",
];

/// Where an authority's answers matter most, and anywhere.
const ENDPOINTS: [Option<Endpoint>; 6] = [
    None,
    None,
    Some(Endpoint::NewOrder),
    Some(Endpoint::Order),
    Some(Endpoint::Finalize),
    Some(Endpoint::Certificate),
];

/// Nothing is answered as it should be until that ends.
const OUTAGE: u32 = 100_000;

/// What happens next, and what follows from it.
pub(super) fn random(rng: &mut Rng) -> Vec<Action> {
    let replica = rng.usize(0..REPLICAS);
    let few = |rng: &mut Rng| rng.u32(1..=4);
    match rng.u8(0..24) {
        0..8 => vec![Action::User(change(rng))],
        // What follows acts on what is remembered from before the edit.
        8 => {
            let edit = Action::Console(rng.usize(0..2), edit(rng));
            let edit = std::iter::once(edit);
            let changes = (0..rng.usize(1..=3)).map(|_| Action::User(change(rng)));
            edit.chain(changes).collect()
        }
        9..12 => {
            let call = CALLS[rng.usize(0..CALLS.len())];
            vec![Action::Cloud(call, cloud_fault(rng), few(rng))]
        }
        12..14 => {
            let endpoint = ENDPOINTS[rng.usize(0..ENDPOINTS.len())];
            vec![Action::Authority(endpoint, authority_fault(rng), few(rng))]
        }
        14 => vec![kube(rng, replica, 0..1)],
        15 => vec![Action::CutWatches(rng.bool())],
        16 => vec![
            Action::Partition(replica, true),
            Action::Partition(replica, false),
        ],
        17 => vec![
            Action::Dark(rng.usize(0..3)),
            Action::User(Change::Rotate),
            Action::Light,
        ],
        18 => {
            // It starts with an API server that answers badly, or not.
            let fault = kube(rng, replica, 0..30);
            let fault = rng.bool().then_some(fault);
            let kill = std::iter::once(Action::Kill(replica)).chain(fault);
            kill.chain([Action::Start(replica)]).collect()
        }
        19 => {
            // All proxies come to replicas that have read nothing yet.
            let kills = (0..REPLICAS).map(Action::Kill);
            let mut actions: Vec<_> = kills.collect();
            actions.extend((0..REPLICAS).map(|replica| kube(rng, replica, 0..30)));
            actions.extend((0..REPLICAS).map(Action::Start));
            actions
        }
        20 => vec![
            Action::Cloud("*", outage(rng), OUTAGE),
            Action::User(change(rng)),
            Action::User(change(rng)),
            Action::CloudMends,
        ],
        21 => {
            let endpoint = ENDPOINTS[rng.usize(0..ENDPOINTS.len())];
            vec![
                Action::Authority(endpoint, authority_fault(rng), OUTAGE),
                Action::User(Change::Rotate),
                Action::User(change(rng)),
                Action::AuthorityMends,
            ]
        }
        22 => vec![Action::DeleteLease, Action::User(change(rng))],
        _ => {
            let seam = [Seam::Cloud, Seam::Authority, Seam::Kube][rng.usize(0..3)];
            let side = if rng.bool() {
                Side::Before
            } else {
                Side::After
            };
            // Something that makes requests follows, or the last one stands still.
            vec![
                Action::KillAt(replica, seam, rng.usize(0..12), side),
                Action::User(change(rng)),
                Action::Start(replica),
            ]
        }
    }
}

fn change(rng: &mut Rng) -> Change {
    match rng.u8(0..16) {
        0..4 => Change::Scale(rng.i32(1..=3)),
        4..6 => Change::Update(rng.u32(0..2)),
        6 => Change::DeletePod(rng.usize(0..3)),
        7..9 => Change::Internal(Internal::random(rng)),
        9 => Change::DeleteInternal,
        10 => Change::DeleteGateway,
        11 => Change::ApplyGateway,
        12 => Change::Names(rng.usize(1..=2)),
        13 => Change::DeleteCertificate,
        14 => Change::DeleteSecret,
        _ => Change::Rotate,
    }
}

fn edit(rng: &mut Rng) -> Edit {
    match rng.u8(0..5) {
        0 => Edit::DeleteListener,
        1..3 => Edit::Weights(rng.usize(0..3)),
        3 => Edit::Untag,
        _ => Edit::DeleteInstance,
    }
}

fn cloud_fault(rng: &mut Rng) -> CloudFault {
    match rng.u8(0..11) {
        0 => CloudFault::Throttled,
        1 => CloudFault::ThrottledFor(Duration::from_secs(rng.u64(1..30))),
        2 => CloudFault::Unavailable,
        3 => CloudFault::Internal,
        4 => CloudFault::Refused("VServerGroupProcessing"),
        5 => CloudFault::Refused("OperationFailed.ListenerStatusNotSupport"),
        6 => CloudFault::TimeoutBefore,
        7 => CloudFault::TimeoutAfter,
        8 => CloudFault::CutAnswer,
        9 => CloudFault::Slow(Duration::from_secs(rng.u64(1..50))),
        _ => CloudFault::StaleRead,
    }
}

/// What a cloud says to everything while it is down, or while it does not like us.
fn outage(rng: &mut Rng) -> CloudFault {
    match rng.u8(0..5) {
        0 => CloudFault::Throttled,
        1 => CloudFault::Unavailable,
        2 => CloudFault::Internal,
        3 => CloudFault::Refused("Forbidden.RAM"),
        _ => CloudFault::TimeoutBefore,
    }
}

fn authority_fault(rng: &mut Rng) -> AuthorityFault {
    match rng.u8(0..9) {
        0 => AuthorityFault::BadNonce,
        1 => AuthorityFault::RateLimited(Duration::from_secs(rng.u64(1..60))),
        2 => AuthorityFault::ServerError,
        3 => AuthorityFault::TimeoutBefore,
        4 => AuthorityFault::TimeoutAfter,
        5 => AuthorityFault::FailedValidation,
        6 => AuthorityFault::SlowValidation(Duration::from_secs(rng.u64(1..20))),
        7 => AuthorityFault::FailedIssuance,
        _ => AuthorityFault::Processing(Duration::from_secs(rng.u64(1..20))),
    }
}

/// Bad answers of the API server, after some of `others` more.
fn kube(rng: &mut Rng, replica: usize, others: Range<usize>) -> Action {
    Action::Kube {
        replica,
        fault: kube_fault(rng),
        others: rng.usize(others),
        times: rng.usize(1..=6),
    }
}

fn kube_fault(rng: &mut Rng) -> KubeFault {
    match rng.u8(0..7) {
        0 => KubeFault::Refused(409),
        1 => KubeFault::Refused(429),
        2 => KubeFault::Refused(500),
        3 => KubeFault::Refused(503),
        4 => KubeFault::CutBefore,
        5 => KubeFault::CutAfter,
        _ => KubeFault::Slow(Duration::from_secs(rng.u64(1..20))),
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(change) => write!(f, "users: {change:?}"),
            Self::Console(balancer, edit) => {
                write!(f, "the console: {edit:?} of load balancer {balancer}")
            }
            Self::Cloud(call, fault, times) => {
                write!(f, "fault: the next {times} {call} of the cloud: {fault:?}")
            }
            Self::CloudMends => f.write_str("the cloud answers as it should"),
            Self::Authority(endpoint, fault, times) => {
                let what = endpoint.map(|held| format!("{held:?} "));
                let what = what.unwrap_or_default();
                write!(
                    f,
                    "fault: the next {times} {what}of the authority: {fault:?}"
                )
            }
            Self::AuthorityMends => f.write_str("the authority answers as it should"),
            Self::Kube {
                replica,
                fault,
                others,
                times,
            } => {
                write!(
                    f,
                    "fault: after {others} more, the next {times} requests of replica {replica} to \
                     Kubernetes: {fault:?}"
                )
            }
            Self::DeleteLease => f.write_str("somebody deletes the Lease"),
            Self::CutWatches(false) => f.write_str("fault: every watch is cut"),
            Self::CutWatches(true) => {
                f.write_str("fault: every watch is cut and the history is gone")
            }
            Self::Partition(replica, true) => {
                write!(f, "fault: replica {replica} does not reach Kubernetes")
            }
            Self::Partition(replica, false) => write!(f, "replica {replica} reaches Kubernetes"),
            Self::Dark(proxy) => write!(f, "fault: proxy {proxy} answers nobody"),
            Self::Light => f.write_str("every proxy answers"),
            Self::Kill(replica) => write!(f, "death: replica {replica}"),
            Self::KillAt(replica, seam, number, at) => write!(
                f,
                "death to come: replica {replica} {} request {number} from now at the seam {seam:?}",
                side(*at)
            ),
            Self::Start(replica) => write!(f, "start: replica {replica}, unless it runs"),
        }
    }
}
