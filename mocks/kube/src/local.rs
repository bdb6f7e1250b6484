use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::access::Access;
use crate::error::Error;
use crate::faults::Faults;
use crate::kinds::Registry;
use crate::options::{Options, Snapshot, Storage};
use crate::requests::RequestLog;
use crate::service::KubeService;
use crate::shared::Shared;
use crate::store::Store;
use crate::write::{self, At, WriteOptions};
use crate::{collector, expiry, meta, serve};

/// An embedded Kubernetes API server. Clones are the same server.
#[derive(Clone)]
pub struct LocalKube {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for LocalKube {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalKube").finish_non_exhaustive()
    }
}

/// What a fresh cluster has: API version, plural, namespace, object. `kubernetes` keeps the first address of
/// the network of cluster addresses.
fn fresh() -> Vec<(
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Value,
)> {
    let mut all = Vec::new();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        all.push((
            "",
            "v1",
            "namespaces",
            "",
            json!({"metadata": {"name": name}}),
        ));
    }
    all.push((
        "",
        "v1",
        "services",
        "default",
        json!({
            "metadata": {
                "name": "kubernetes",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "clusterIP": "10.96.0.1",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            },
        }),
    ));
    let rbac = "rbac.authorization.k8s.io";
    all.push((
        rbac,
        "v1",
        "clusterroles",
        "",
        json!({
            "metadata": {"name": "cluster-admin"},
            "rules": [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ],
        }),
    ));
    all.push((
        rbac,
        "v1",
        "clusterrolebindings",
        "",
        json!({
            "metadata": {"name": "cluster-admin"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": rbac, "kind": "Group", "name": "system:masters"}],
        }),
    ));
    all
}

impl LocalKube {
    /// Starts a server on `options.storage` and creates what a fresh cluster has, where it is missing.
    ///
    /// # Errors
    /// When the file cannot be opened or read, or the first objects cannot be written.
    pub async fn start(options: Options) -> Result<Self, Error> {
        if options.tasks.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let store = Store::open(&options.storage, &options.tasks)?;
        let shared = Arc::new(Shared {
            faults: Faults::new(store.clone()),
            store,
            registry: Registry::new(),
            clock: options.clock,
            random: options.random,
            tasks: options.tasks,
            log: RequestLog::default(),
            documents: std::sync::Mutex::default(),
        });
        if let Storage::Copy(snapshot) = &options.storage {
            shared.registry.set_all_custom(snapshot.kinds.clone());
        } else {
            restore_definitions(&shared)?;
        }
        bootstrap(&shared)?;
        if !shared.store.durable().await {
            let message = "the database cannot be written".to_owned();
            return Err(Error::Bootstrap { message });
        }
        collector::start(&shared);
        expiry::start(&shared);
        Ok(Self { shared })
    }

    /// What it has now, for other servers to begin with ([`Storage::Copy`]). Not for use while
    /// definitions are written.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            store: self.shared.store.copy(),
            kinds: self.shared.registry.all_custom(),
        }
    }

    /// The API without a socket and without authentication.
    pub fn service(&self) -> KubeService {
        KubeService::new(self.shared.clone())
    }

    /// Serves HTTPS (HTTP/1.1 and HTTP/2) on `listener` until the server's tasks are cancelled. Every request needs
    /// the bearer token of `access`.
    ///
    /// # Errors
    /// When the certificate of `access` cannot be used.
    pub async fn serve(&self, listener: TcpListener, access: Access) -> Result<(), Error> {
        serve::serve(&self.shared, self.service(), listener, access).await
    }

    /// A kubeconfig file (YAML) for clients of a server at `address`. It holds the token.
    pub fn kubeconfig(&self, address: SocketAddr, access: &Access) -> String {
        serve::kubeconfig(address, access)
    }

    /// Scripted faults, for tests.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What was asked so far.
    pub fn requests(&self) -> RequestLog {
        self.shared.log.clone()
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.shared.store.revision()
    }
}

/// Serves the kinds of stored definitions.
fn restore_definitions(shared: &Shared) -> Result<(), Error> {
    let definitions = Arc::from("apiextensions.k8s.io/customresourcedefinitions");
    for definition in shared.store.all(&definitions, None) {
        if !write::restore_definition(shared, &definition) {
            let name = meta::name(&definition).to_owned();
            return Err(Error::Definition { name });
        }
    }
    Ok(())
}

fn bootstrap(shared: &Shared) -> Result<(), Error> {
    let kinds = shared.registry.kinds();
    for (group, version, plural, namespace, object) in fresh() {
        let Some(resource) = kinds.find(group, version, plural) else {
            continue;
        };
        let at = At {
            resource: resource.clone(),
            namespace: namespace.to_owned(),
            name: meta::name(&object).to_owned(),
        };
        let location = at.location();
        if shared
            .store
            .get(&location.collection, &location.key)
            .is_some()
        {
            continue;
        }
        let options = WriteOptions::internal(shared, &resource, "");
        let result = write::create(shared, &at, object, &options, false);
        result.map_err(|error| Error::Bootstrap {
            message: error.message().to_owned(),
        })?;
    }
    Ok(())
}
