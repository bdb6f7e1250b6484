//! Where a control plane keeps its files and listens.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where a control plane keeps its files and listens.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Everything it writes is in here, absolute.
    pub directory: PathBuf,
    /// The folder with the programs, by their own names.
    pub programs: PathBuf,
    /// A loopback address.
    pub address: IpAddr,
    /// Where the API server listens. etcd has the next two.
    pub port: u16,
    pub durability: Durability,
}

/// Whether etcd waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What was acknowledged outlives a power cut.
    Disk,
    /// Faster; for what is thrown away.
    None,
}

impl Layout {
    /// Where the API server listens, with TLS.
    pub fn api_server(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// Where etcd listens for the API server.
    pub fn etcd(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.wrapping_add(1))
    }

    /// Where etcd would listen for other etcds.
    pub fn etcd_peers(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.wrapping_add(2))
    }

    /// The kubeconfig of a user of [`Layout::write`].
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.file(&format!("{user}.kubeconfig"))
    }

    /// The API server's log of the requests it had: one JSON object of `audit.k8s.io/v1` a line,
    /// without bodies.
    pub fn audit_log(&self) -> PathBuf {
        self.file("audit.log")
    }

    /// The certificate that the API server makes for itself, with its issuer, as PEM.
    pub fn certificate(&self) -> PathBuf {
        self.certificates().join("apiserver.crt")
    }

    /// The key of that certificate. It also signs the tokens of service accounts: the API server
    /// makes it before it reads the keys it was told to sign with, so no other program has to make
    /// one.
    pub(crate) fn key(&self) -> PathBuf {
        self.certificates().join("apiserver.key")
    }

    pub(crate) fn certificates(&self) -> PathBuf {
        self.directory.join("certificates")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where a program's output goes.
    pub fn log(&self, program: &Path) -> PathBuf {
        let name = program.file_name().unwrap_or_default();
        self.file(&format!("{}.log", name.to_string_lossy()))
    }
}
