use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use gatewright_seams::{Clock, Random, Tasks};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::answer::ApiError;
use crate::call::Call;
use crate::clb::Context;
use crate::faults::Faults;
use crate::gateway::Gateway;
use crate::inventory::Inventory;
use crate::ledger::Ledger;
use crate::options::{DataPlane, Error, Options, Quotas, Timings};
use crate::plane::Plane;
use crate::serve;
use crate::service::CloudService;
use crate::state::{AddressPlan, State};
use crate::storage::Store;

/// How often [`MockCloud::wait_for`] looks.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) tasks: Tasks,
    pub(crate) gateway: Gateway,
    pub(crate) ledger: Ledger,
    pub(crate) faults: Faults,
    region: String,
    addresses: AddressPlan,
    plane: Plane,
    state: RwLock<Arc<State>>,
    /// Held by the one write that is under way.
    store: tokio::sync::Mutex<Store>,
    settings: Mutex<(Quotas, Timings)>,
}

impl Shared {
    /// What is true now.
    pub(crate) fn state(&self) -> Arc<State> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn settings(&self) -> (Quotas, Timings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn with_context<T>(&self, call: &Call, f: impl FnOnce(&Context<'_>) -> T) -> T {
        let (quotas, timings) = self.settings();
        f(&Context {
            params: &call.params,
            now: self.clock.now(),
            region: &self.region,
            random: &self.random,
            addresses: self.addresses,
            quotas,
            timings,
            plane: &self.plane,
        })
    }

    /// Runs a write on a copy of the state. The copy becomes the state when the write succeeded,
    /// its listeners could be opened and it is stored.
    pub(crate) async fn change(
        &self,
        write: impl FnOnce(&mut State) -> Result<Value, ApiError> + Send,
    ) -> Result<Value, ApiError> {
        let store = self.store.lock().await;
        let old = self.state();
        let mut new = State::clone(&old);
        let answer = write(&mut new)?;
        if new == *old {
            return Ok(answer);
        }
        let new = Arc::new(new);
        if let Err(refusal) = self.plane.follow(&new).await {
            // Not the code for a port that another listener has: callers take that as "look again".
            return Err(ApiError::bad("Operation.Deny", refusal.to_string()));
        }
        if let Err(error) = store.save(&new).await {
            tracing::error!(%error, "state of the mock cloud is not stored");
            if let Err(refusal) = self.plane.follow(&old).await {
                tracing::error!(%refusal, "listeners of the mock cloud are not as they were");
            }
            return Err(ApiError::new(500, "InternalError", error.to_string()));
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = new.clone();
        self.faults.see(new);
        Ok(answer)
    }
}

/// A running cloud. Clones are the same cloud.
#[derive(Clone)]
pub struct MockCloud(Arc<Shared>);

impl MockCloud {
    /// Starts a cloud with what its storage holds; listeners that were started are open again
    /// when this returns.
    ///
    /// # Errors
    /// When the storage cannot be read, or a started listener cannot be opened again.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let (store, state) = Store::open(options.storage).await?;
        let state = Arc::new(state);
        let network = match options.data_plane {
            // A private range; nothing is dialled there.
            DataPlane::Off => Ipv4Addr::new(172, 16, 0, 0),
            DataPlane::Sockets { network, .. } => network,
        };
        let plane = Plane::new(options.data_plane, options.clock, options.tasks.clone());
        plane
            .follow(&state)
            .await
            .map_err(|refusal| Error::OpenListener {
                reason: refusal.to_string(),
                instance: refusal.instance,
                port: refusal.port,
            })?;
        let faults = Faults::default();
        faults.see(state.clone());
        Ok(Self(Arc::new(Shared {
            clock: options.clock,
            random: options.random,
            tasks: options.tasks,
            gateway: Gateway::new(options.access_keys),
            ledger: Ledger::default(),
            faults,
            region: options.region,
            addresses: AddressPlan::halves_of(network),
            plane,
            state: RwLock::new(state),
            store: tokio::sync::Mutex::new(store),
            settings: Mutex::default(),
        })))
    }

    /// The API for callers in this process.
    pub fn service(&self) -> CloudService {
        CloudService(self.0.clone())
    }

    /// Serves the API over HTTP/1.1 until the tasks of the options are cancelled.
    ///
    /// # Errors
    /// When `listener` cannot accept connections any more.
    pub async fn serve(&self, listener: TcpListener) -> Result<(), Error> {
        serve::serve(self.service(), listener, &self.0.tasks, self.0.clock).await
    }

    /// Every call so far.
    pub fn ledger(&self) -> Ledger {
        self.0.ledger.clone()
    }

    /// Failures to script.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// What the cloud holds now.
    pub fn inventory(&self) -> Inventory {
        Inventory::of(&self.0.state(), &self.0.plane, self.0.clock.now())
    }

    /// Waits until the inventory is as `wanted` says, at most `limit`; the last look either way.
    ///
    /// # Errors
    /// The inventory as it was when the limit passed.
    pub async fn wait_for(
        &self,
        limit: Duration,
        wanted: impl Fn(&Inventory) -> bool,
    ) -> Result<Inventory, Inventory> {
        let end = self.0.clock.elapsed() + limit;
        loop {
            let inventory = self.inventory();
            if wanted(&inventory) {
                return Ok(inventory);
            }
            if self.0.clock.elapsed() >= end {
                return Err(inventory);
            }
            self.0.clock.sleep(LOOK).await;
        }
    }

    /// The real socket of the listener on `port` of `instance`: the instance's address and the
    /// port with the shift. Nothing unless it listens.
    pub fn listen_address(&self, instance: &str, port: u16) -> Option<SocketAddr> {
        self.0.plane.address(instance, port)
    }

    /// Changes the limits of the account for the calls from now on.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.0
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0 = quotas;
    }

    /// Changes how long passing states last, for the calls from now on.
    pub fn set_timings(&self, timings: Timings) {
        self.0
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1 = timings;
    }
}
