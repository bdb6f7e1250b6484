use std::fmt;
use std::sync::Arc;

use gatewright_seams::Clock;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use crate::Error;
use crate::identity::{Identity, certificates};

/// The TLS setup of the xDS server: `identity` is shown, and a client certificate under one of the
/// `client_roots_pem` (one or more certificates) is mandatory. TLS 1.2 and 1.3, ALPN `h2`.
///
/// # Errors
/// [`Error::Pem`], [`Error::Tls`] or [`Error::ClientRoots`] when one of the two cannot be used.
pub fn server_tls(
    identity: &Identity,
    client_roots_pem: &str,
    clock: Clock,
) -> Result<Arc<rustls::ServerConfig>, Error> {
    let failed = |what| move |source| Error::Tls { what, source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for root in certificates(client_roots_pem, "client root certificates")? {
        roots.add(root).map_err(failed("client root certificate"))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .map_err(Error::ClientRoots)?;
    let mut config = rustls::ServerConfig::builder_with_details(provider, Arc::new(Wall(clock)))
        .with_safe_default_protocol_versions()
        .map_err(failed("protocol versions"))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain()?, identity.key()?)
        .map_err(failed("server certificate"))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the check of the client certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Lets rustls read the clock that everything else reads.
struct Wall(Clock);

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.0.now().duration_since(jiff::Timestamp::UNIX_EPOCH);
        Some(UnixTime::since_unix_epoch(now.try_into().ok()?))
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wall")
    }
}
