use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use super::wanted::Internal;
use super::{REPLICAS, side};
use crate::{KubeFault, Side};

/// Something that happens to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The users change an object.
    User(Change),
    /// Somebody edits one of our load balancers in the console.
    Console(Edit),
    /// The next calls of one kind to the cloud go wrong.
    Cloud(&'static str, CloudFault, u32),
    /// The next requests to the certificate authority go wrong.
    Authority(AuthorityFault, u32),
    /// The next requests of a replica to the API server go wrong.
    Kube(usize, KubeFault, usize),
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
    /// All backends of a group but one get no connections any more.
    Weights,
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

/// What happens next, and what follows from it.
pub(super) fn random(rng: &mut Rng) -> Vec<Action> {
    let replica = rng.usize(0..REPLICAS);
    let few = |rng: &mut Rng| rng.u32(1..=4);
    match rng.u8(0..20) {
        0..8 => vec![Action::User(change(rng))],
        // What follows acts on what is remembered from before the edit.
        8 => vec![Action::Console(edit(rng)), Action::User(change(rng))],
        9..12 => {
            let call = CALLS[rng.usize(0..CALLS.len())];
            vec![Action::Cloud(call, cloud_fault(rng), few(rng))]
        }
        12..14 => vec![Action::Authority(authority_fault(rng), few(rng))],
        14 => vec![Action::Kube(replica, kube_fault(rng), rng.usize(1..=6))],
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
            let fault = Action::Kube(replica, kube_fault(rng), rng.usize(1..=6));
            let fault = rng.bool().then_some(fault);
            let kill = std::iter::once(Action::Kill(replica)).chain(fault);
            kill.chain([Action::Start(replica)]).collect()
        }
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
    match rng.u8(0..3) {
        0 => Edit::DeleteListener,
        1 => Edit::Weights,
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

fn authority_fault(rng: &mut Rng) -> AuthorityFault {
    match rng.u8(0..8) {
        0 => AuthorityFault::BadNonce,
        1 => AuthorityFault::RateLimited(Duration::from_secs(rng.u64(1..60))),
        2 => AuthorityFault::ServerError,
        3 => AuthorityFault::TimeoutBefore,
        4 => AuthorityFault::TimeoutAfter,
        5 => AuthorityFault::FailedValidation,
        6 => AuthorityFault::SlowValidation(Duration::from_secs(rng.u64(1..20))),
        _ => AuthorityFault::Processing(Duration::from_secs(rng.u64(1..20))),
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
            Self::Console(edit) => write!(f, "the console: {edit:?}"),
            Self::Cloud(call, fault, times) => {
                write!(f, "fault: the next {times} {call} of the cloud: {fault:?}")
            }
            Self::Authority(fault, times) => {
                write!(f, "fault: the next {times} of the authority: {fault:?}")
            }
            Self::Kube(replica, fault, times) => {
                write!(
                    f,
                    "fault: the next {times} requests of replica {replica} to Kubernetes: {fault:?}"
                )
            }
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
