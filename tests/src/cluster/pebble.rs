//! Pebble, Let's Encrypt's small ACME server, and the DNS server that it asks.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use gatewright_seams::Clock;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::process::Command;

use super::process::{Process, tool};
use crate::Client;

const PORT: u16 = 14000;
const MANAGEMENT_PORT: u16 = 15000;
const DNS_PORT: u16 = 8053;
const LIMIT: Duration = Duration::from_mins(1);

/// A running Pebble. It is killed when this is dropped.
pub struct Pebble {
    clock: Clock,
    address: Ipv4Addr,
    directory: PathBuf,
    /// The root of the certificate with which it serves its own API.
    own_root: String,
    server: Process,
    dns: Option<Process>,
}

impl Pebble {
    /// Starts it at `address`, which the caller holds. It validates HTTP-01 at `http_port` of the
    /// addresses that names lead to; no name leads anywhere yet.
    ///
    /// # Panics
    /// It does not answer within a minute.
    pub async fn start(
        clock: Clock,
        address: Ipv4Addr,
        http_port: u16,
        directory: PathBuf,
    ) -> Self {
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).expect("a directory");
        let own_root = write_identity(&directory, address);
        let config = json!({ "pebble": {
            "listenAddress": format!("{address}:{PORT}"),
            "managementListenAddress": format!("{address}:{MANAGEMENT_PORT}"),
            "certificate": directory.join("own.pem"),
            "privateKey": directory.join("own.key.pem"),
            "httpPort": http_port,
            // Nothing proves a name by TLS-ALPN-01 here.
            "tlsPort": 1,
            "keyAlgorithm": "ecdsa",
            "retryAfter": { "authz": 1, "order": 1 },
            "profiles": { "default": { "description": "90 days", "validityPeriod": 7_776_000 } },
        }});
        let file = directory.join("config.json");
        std::fs::write(&file, config.to_string()).expect("a config file");
        let mut command = Command::new(tool("pebble"));
        command
            .arg("-config")
            .arg(file)
            .arg("-dnsserver")
            .arg(format!("{address}:{DNS_PORT}"))
            // It would wait up to fifteen seconds before each validation. Everything else that it
            // does to try its clients stays on: refused nonces, authorisations asked for anew.
            .env("PEBBLE_VA_NOSLEEP", "1");
        let server = Process::start(command, directory.join("pebble.log"));
        let mut this = Self {
            clock,
            address,
            directory,
            own_root,
            server,
            dns: None,
        };
        let end = clock.elapsed() + LIMIT;
        while this.ask("/roots/0").await.is_none() {
            let ended = this.server.ended();
            assert!(
                ended.is_none(),
                "pebble ended:\n{}",
                this.server.last_words()
            );
            assert!(
                clock.elapsed() < end,
                "no pebble: {}",
                this.server.last_words()
            );
            clock.sleep(Duration::from_millis(50)).await;
        }
        this
    }

    /// Where its ACME directory is.
    pub fn directory_url(&self) -> String {
        format!("https://{}:{PORT}/dir", self.address)
    }

    /// A PEM file with the root of the certificate with which it serves its own API.
    pub fn root_file(&self) -> PathBuf {
        self.directory.join("root.pem")
    }

    /// From now on every name leads to `address`.
    ///
    /// # Panics
    /// The DNS server ends at once.
    pub async fn resolve_everything_to(&mut self, address: IpAddr) {
        let mut command = Command::new(tool("pebble-challtestsrv"));
        command
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""])
            .args(["-management", ""])
            .args(["-dnsserver", &format!("{}:{DNS_PORT}", self.address)])
            .args(["-defaultIPv4", &address.to_string(), "-defaultIPv6", ""]);
        let mut dns = Process::start(command, self.directory.join("dns.log"));
        let end = self.clock.elapsed() + LIMIT;
        // It listens over TCP beside UDP.
        while tokio::net::TcpStream::connect((self.address, DNS_PORT))
            .await
            .is_err()
        {
            assert!(
                dns.ended().is_none(),
                "the DNS server ended:\n{}",
                dns.last_words()
            );
            assert!(
                self.clock.elapsed() < end,
                "no DNS server:\n{}",
                dns.last_words()
            );
            self.clock.sleep(Duration::from_millis(50)).await;
        }
        self.dns = Some(dns);
    }

    /// The root of the certificates that it issues, as PEM.
    ///
    /// # Panics
    /// It does not tell.
    pub async fn root_pem(&self) -> String {
        self.ask("/roots/0").await.expect("the root of pebble")
    }

    async fn ask(&self, path: &str) -> Option<String> {
        let client = Client::trusting(&self.own_root).expect("a root");
        let host = self.address.to_string();
        let answer = client.get((self.address, MANAGEMENT_PORT).into(), &host, path);
        let answer = self
            .clock
            .timeout(Duration::from_secs(5), answer)
            .await
            .ok()?
            .ok()?;
        (answer.status == 200).then(|| String::from_utf8_lossy(&answer.body).into_owned())
    }
}

/// Writes the certificate with which Pebble serves its own API, signed by a root that is made for
/// it; returns that root as PEM.
fn write_identity(directory: &std::path::Path, address: Ipv4Addr) -> String {
    let made = || -> Result<(String, String, String), rcgen::Error> {
        let root_key = KeyPair::generate()?;
        let mut root = CertificateParams::new(Vec::new())?;
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_pem = root.self_signed(&root_key)?.pem();
        let issuer = Issuer::new(root, root_key);
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec![address.to_string()])?.signed_by(&key, &issuer)?;
        Ok((root_pem, leaf.pem(), key.serialize_pem()))
    };
    let (root, leaf, key) = made().expect("a certificate");
    for (name, text) in [
        ("root.pem", &root),
        ("own.pem", &leaf),
        ("own.key.pem", &key),
    ] {
        std::fs::write(directory.join(name), text).expect("a file");
    }
    root
}
