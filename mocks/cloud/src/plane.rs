//! The data plane: a real socket for every started listener.

mod balance;
mod check;
mod forward;
mod http;
mod pool;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use gatewright_seams::{AddressMap, Clock, Tasks};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::options::DataPlane;
use crate::state::{Instance, Listener, ListenerStatus, Member, Protocol, State};
use pool::Pool;
pub(crate) use pool::Seen;
use settings::Settings;

/// Connections that wait to be accepted. A load test opens many at once.
const BACKLOG: u32 = 1024;

/// What a listener knows about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The first check has not ended.
    Unknown,
    Healthy,
    Unhealthy,
    /// The listener has its checks off.
    Unchecked,
}

/// What the parts of the data plane need from outside.
#[derive(Clone, Debug)]
struct Outside {
    clock: Clock,
    tasks: Tasks,
    addresses: AddressMap,
}

pub(crate) struct Plane {
    kind: DataPlane,
    outside: Outside,
    /// By instance and port. UDP listeners have no socket.
    open: Mutex<BTreeMap<(String, u16), Open>>,
}

/// An open listener.
struct Open {
    address: SocketAddr,
    pool: Arc<Pool>,
    /// Ends when the socket is closed.
    closed: watch::Receiver<()>,
}

/// The socket, and behind it what tells that it is closed: fields drop in this order.
struct Door {
    listener: TcpListener,
    _closed: watch::Sender<()>,
}

/// What an open listener should be.
struct Wanted {
    address: SocketAddr,
    settings: Settings,
    members: Vec<Member>,
    opens_at: Timestamp,
}

/// Why a listener cannot be opened.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) instance: String,
    pub(crate) port: u16,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Plane {
    pub(crate) fn new(kind: DataPlane, clock: Clock, tasks: Tasks) -> Self {
        let addresses = match kind {
            DataPlane::Off => AddressMap::Identity,
            DataPlane::Sockets { addresses, .. } => addresses,
        };
        Self {
            kind,
            outside: Outside {
                clock,
                tasks,
                addresses,
            },
            open: Mutex::default(),
        }
    }

    pub(crate) fn has_sockets(&self) -> bool {
        matches!(self.kind, DataPlane::Sockets { .. })
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<(String, u16), Open>) -> T) -> T {
        f(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The socket of a listener, when it is open.
    pub(crate) fn address(&self, instance: &str, port: u16) -> Option<SocketAddr> {
        self.with(|open| {
            open.get(&(instance.to_owned(), port))
                .map(|open| open.address)
        })
    }

    /// The members as an open listener sees them.
    pub(crate) fn members_seen(&self, instance: &str, listener: &Listener) -> Vec<Seen> {
        if listener.protocol == Protocol::Udp {
            return Vec::new();
        }
        let key = (instance.to_owned(), listener.port);
        let pool = self.with(|open| open.get(&key).map(|open| open.pool.clone()));
        pool.map(|pool| pool.seen()).unwrap_or_default()
    }

    /// Opens, changes and closes listeners until they are as `state` says. Sockets that close are
    /// closed when this returns, so that their ports are free.
    ///
    /// # Errors
    /// When a listener cannot be opened; then nothing has changed.
    pub(crate) async fn follow(&self, state: &State) -> Result<(), Refusal> {
        let DataPlane::Sockets { port_shift, .. } = self.kind else {
            return Ok(());
        };
        let mut wanted = wanted(state, port_shift)?;
        let missing = self.with(|open| {
            let keys = wanted.keys().filter(|key| !open.contains_key(*key));
            keys.cloned().collect::<Vec<_>>()
        });
        let mut doors = Vec::new();
        for key in missing {
            if let Some(listener) = wanted.get(&key) {
                let door =
                    bind(listener.address).map_err(|error| refusal(&key, listener, &error))?;
                doors.push((key, door));
            }
        }
        for (key, listener) in doors {
            if let Some(wanted) = wanted.remove(&key) {
                let open = self.open(listener, wanted);
                self.with(|all| all.insert(key, open));
            }
        }
        // What is left in `wanted` was open before; what is open and was not wanted goes.
        let keep = |key: &(String, u16)| {
            state.instances.get(&key.0).is_some_and(|instance| {
                let mut listeners = instance.listeners.iter();
                listeners.any(|listener| listener.port == key.1 && has_socket(instance, listener))
            })
        };
        let mut gone = Vec::new();
        self.with(|open| {
            let keys: Vec<_> = open.keys().filter(|key| !keep(key)).cloned().collect();
            gone.extend(keys.iter().filter_map(|key| open.remove(key)));
            for (key, wanted) in wanted {
                if let Some(open) = open.get(&key) {
                    open.pool.change(wanted.settings, &wanted.members);
                }
            }
        });
        for mut open in gone {
            open.pool.close();
            // An error says that the sender is gone, and with it the socket.
            while open.closed.changed().await.is_ok() {}
        }
        Ok(())
    }

    fn open(&self, listener: TcpListener, wanted: Wanted) -> Open {
        let (sender, closed) = watch::channel(());
        let pool = Arc::new(Pool::new(self.outside.clone(), wanted.settings));
        pool.start(&wanted.members);
        let door = Door {
            listener,
            _closed: sender,
        };
        let (outside, accepting) = (self.outside.clone(), pool.clone());
        self.outside
            .tasks
            .spawn("load balancer listener", async move {
                let scope = accepting.scope();
                let accept = async move {
                    outside.clock.sleep_until(wanted.opens_at).await;
                    forward::accept(&door.listener, &accepting, &outside).await;
                };
                // Ends when the listener is closed.
                let _ = scope.until_cancelled(accept).await;
            });
        Open {
            address: wanted.address,
            pool,
            closed,
        }
    }
}

fn has_socket(instance: &Instance, listener: &Listener) -> bool {
    instance.active
        && listener.status == ListenerStatus::Running
        && matches!(listener.protocol, Protocol::Tcp | Protocol::Http)
}

/// The listeners that should be open.
fn wanted(state: &State, port_shift: u16) -> Result<BTreeMap<(String, u16), Wanted>, Refusal> {
    let mut all = BTreeMap::new();
    for instance in state.instances.values() {
        for listener in instance
            .listeners
            .iter()
            .filter(|l| has_socket(instance, l))
        {
            let key = (instance.id.clone(), listener.port);
            let Some(port) = listener.port.checked_add(port_shift) else {
                let message = format!(
                    "cannot listen for port {} of {}: with the port_shift {port_shift} it is above 65535",
                    listener.port, instance.id
                );
                return Err(Refusal {
                    instance: key.0,
                    port: key.1,
                    message,
                });
            };
            let wanted = Wanted {
                address: SocketAddr::new(instance.address, port),
                settings: Settings::of(instance, listener),
                members: state.members_of(instance, listener),
                opens_at: listener
                    .change
                    .map_or(Timestamp::UNIX_EPOCH, |change| change.until),
            };
            all.insert(key, wanted);
        }
    }
    Ok(all)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Connections of an earlier process may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn refusal(key: &(String, u16), wanted: &Wanted, error: &io::Error) -> Refusal {
    let address = wanted.address;
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "the address and port are in use by another process".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; ports below 1024 need a privilege or a port_shift".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        _ => error.to_string(),
    };
    Refusal {
        instance: key.0.clone(),
        port: key.1,
        message: format!(
            "cannot listen on {address} for port {} of {}: {why}",
            key.1, key.0
        ),
    }
}
