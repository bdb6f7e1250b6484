use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gatewright_seams::{AddressMap, Clock, Random, Tasks};

/// Where the cloud keeps what it holds.
#[derive(Clone, Debug)]
pub enum Storage {
    /// Gone with the process.
    Memory,
    /// One JSON file, replaced as a whole after each change. Its directory must exist.
    File(PathBuf),
}

/// Whether started listeners are real sockets.
#[derive(Clone, Copy, Debug)]
pub enum DataPlane {
    /// Listeners change their state and nothing listens. Members count as healthy.
    Off,
    /// A started TCP or HTTP listener listens on the instance's address.
    Sockets {
        /// The first two octets are used: internet instances get `a.b.0.0/17`, intranet instances
        /// `a.b.128.0/17`. A loopback network such as 127.90.0.0 needs no set-up on Linux.
        network: Ipv4Addr,
        /// Added to the listener's port, so that ports below 1024 need no privilege.
        port_shift: u16,
        /// Where the address of a group member is dialled.
        addresses: AddressMap,
    },
}

/// A key pair that callers sign with.
#[derive(Clone)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .field("secret", &"***")
            .finish()
    }
}

/// What [`crate::MockCloud::start`] needs.
#[derive(Clone, Debug)]
pub struct Options {
    pub storage: Storage,
    pub clock: Clock,
    /// Ids of instances, groups and requests come from here.
    pub random: Random,
    /// Everything the cloud runs ends with this group.
    pub tasks: Tasks,
    /// The one region the cloud has, for example `cn-hangzhou`.
    pub region: String,
    pub access_keys: Vec<AccessKey>,
    pub data_plane: DataPlane,
}

/// How long listeners stay in their passing states. See [`crate::MockCloud::set_timings`].
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// `starting`, after Start.
    pub starting: Duration,
    /// `configuring`, after Set.
    pub configuring: Duration,
    /// `stopping`, after Stop.
    pub stopping: Duration,
    /// How long a call lasts whose fault is a timeout, before its connection is cut.
    pub hang: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            starting: Duration::from_millis(50),
            configuring: Duration::from_millis(50),
            stopping: Duration::from_millis(50),
            hang: Duration::from_mins(2),
        }
    }
}

/// The limits of the account. The defaults are the published ones.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    pub instances: usize,
    pub listeners_per_instance: usize,
    pub members_per_instance: usize,
    pub members_per_call: usize,
    pub tags_per_resource: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            instances: 60,
            listeners_per_instance: 50,
            members_per_instance: 200,
            members_per_call: 20,
            tags_per_resource: 20,
        }
    }
}

/// Why the cloud did not start or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read the state of the mock cloud from {path}")]
    ReadState {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the state of the mock cloud in {path} is not in its format")]
    ParseState {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("cannot write the state of the mock cloud to {path}")]
    WriteState {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot encode the state of the mock cloud")]
    EncodeState(#[source] serde_json::Error),
    #[error("cannot open listener {port} of {instance}: {reason}")]
    OpenListener {
        instance: String,
        port: u16,
        reason: String,
    },
    #[error("cannot accept connections for the cloud API on {address:?}")]
    Accept {
        address: Option<SocketAddr>,
        source: std::io::Error,
    },
}
