//! A control plane of a test's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use control_plane::{ADMIN, Durability, Layout, ROLES, Role};
use gatewright::laptop::Slot;
use gatewright_seams::Clock;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::process::{Directory, Process, tool};

/// How long the API server gets to be ready: three seconds on an idle machine.
const READY_LIMIT: Duration = Duration::from_mins(3);
const READY_POLL: Duration = Duration::from_millis(100);
const PORT: u16 = 6443;

/// etcd, kube-apiserver, kube-controller-manager and kube-scheduler on a loopback address. They are
/// killed and their directory is removed when this is dropped.
pub struct ControlPlane {
    clock: Clock,
    layout: Layout,
    client: kube::Client,
    programs: Vec<(Role, Process)>,
    /// What only it uses.
    own: Option<(Directory, Slot)>,
}

impl ControlPlane {
    /// Starts it on addresses and in a directory of its own, and waits until it is ready.
    ///
    /// # Panics
    /// It is not ready within three minutes.
    pub async fn start() -> Self {
        let slot = Slot::find().expect("a free range of loopback addresses");
        let directory = Directory::make("control-plane", slot.number());
        let clock = Clock::system();
        let mut this = Self::start_at(clock, slot.daemon(), directory.join("state"), &[]).await;
        this.own = Some((directory, slot));
        this
    }

    /// As [`ControlPlane::start`], at an address that the caller holds, with a kubeconfig for each
    /// of `users`.
    ///
    /// # Panics
    /// As [`ControlPlane::start`].
    pub async fn start_at(
        clock: Clock,
        address: Ipv4Addr,
        directory: PathBuf,
        users: &[&str],
    ) -> Self {
        drop(std::fs::remove_dir_all(&directory));
        let programs = tool(Role::ApiServer.name())
            .parent()
            .expect("a folder")
            .to_owned();
        let layout = Layout {
            directory,
            programs,
            address: address.into(),
            port: PORT,
            durability: Durability::None,
        };
        layout.write(users).expect("the files of a control plane");
        let mut programs = Vec::new();
        let mut client = None;
        for role in ROLES {
            tool(role.name());
            let log = layout.program(role).log;
            programs.push((role, start(&layout, role, log)));
            if role == Role::ApiServer {
                client = Some(ready(clock, &layout, &mut programs).await);
            }
        }
        Self {
            clock,
            layout,
            client: client.expect("an API server"),
            programs,
            own: None,
        }
    }

    /// A client that may do everything.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig(ADMIN)
    }

    /// The kubeconfig of one of the users that were asked for.
    pub fn kubeconfig_of(&self, user: &str) -> PathBuf {
        self.layout.kubeconfig(user)
    }

    /// Where the API server listens.
    pub fn api_server(&self) -> SocketAddr {
        self.layout.api_server()
    }

    /// Kills a program, as a crash of its machine does.
    pub async fn kill(&mut self, role: Role) {
        self.process(role).kill().await;
    }

    /// Starts a program that was killed, with what it had, and waits until the API server is ready.
    ///
    /// # Panics
    /// It is not within three minutes.
    pub async fn start_again(&mut self, role: Role) {
        let name = format!("{}-{:?}.log", role.name(), self.clock.elapsed());
        let log = self.layout.directory.join(name);
        *self.process(role) = start(&self.layout, role, log);
        ready(self.clock, &self.layout, &mut self.programs).await;
    }

    /// Stops a program where it stands. Its sockets stay open and nothing is answered.
    pub async fn pause(&mut self, role: Role) {
        self.process(role).signal("STOP").await;
    }

    /// Lets a program that was paused go on.
    pub async fn resume(&mut self, role: Role) {
        self.process(role).signal("CONT").await;
    }

    fn process(&mut self, wanted: Role) -> &mut Process {
        let mut programs = self.programs.iter_mut();
        let found = programs.find(|(role, _)| *role == wanted);
        &mut found.expect("a program of each role").1
    }

    /// Where everything of it is.
    pub fn directory(&self) -> &Path {
        &self.layout.directory
    }

    /// Who asked for what, so far: the API server's audit log.
    pub fn audit_log(&self) -> String {
        std::fs::read_to_string(self.layout.audit_log()).unwrap_or_default()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // The last started first: nothing then complains of what it can no longer reach.
        while self.programs.pop().is_some() {}
        drop(std::fs::remove_dir_all(&self.layout.directory));
    }
}

fn start(layout: &Layout, role: Role, log: PathBuf) -> Process {
    let program = layout.program(role);
    let mut command = tokio::process::Command::new(program.path);
    command
        .args(program.arguments)
        .current_dir(&layout.directory);
    Process::start(command, log)
}

/// Waits until the API server says that it is ready.
async fn ready(clock: Clock, layout: &Layout, programs: &mut [(Role, Process)]) -> kube::Client {
    let end = clock.elapsed() + READY_LIMIT;
    loop {
        // The certificate appears a moment after the program started.
        if layout.certificate().exists()
            && let Some(client) = client(&layout.kubeconfig(ADMIN)).await
        {
            let request = http::Request::get("/readyz")
                .body(Vec::new())
                .expect("a request");
            if client.request_text(request).await.is_ok() {
                return client;
            }
        }
        for (role, process) in programs.iter_mut() {
            let ended = process.ended();
            assert!(
                ended.is_none(),
                "{} ended:\n{}",
                role.name(),
                process.last_words()
            );
        }
        assert!(
            clock.elapsed() < end,
            "no API server within {READY_LIMIT:?}:\n{}",
            programs.last().expect("a program").1.last_words()
        );
        clock.sleep(READY_POLL).await;
    }
}

async fn client(kubeconfig: &Path) -> Option<kube::Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).ok()?;
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .ok()?;
    // A refusal (429) is an answer that a test wants to see.
    config.default_retry = false;
    kube::Client::try_from(config).ok()
}
