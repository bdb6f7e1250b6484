//! The real transports, and the one that keeps some hosts in the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatewright_seams::Tasks;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt, service_fn};

use crate::outside::Transport;

/// Largest answer that is read. A directory, an order or a chain of an ACME server has a few
/// kilobytes.
const BODY_LIMIT: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    #[error("reading the machine's trusted certificates: none found, and no other is given")]
    NoRoots,
    #[error("reading root certificates: {0}")]
    Pem(#[source] rustls_pki_types::pem::Error),
    #[error("reading root certificates: none in the file")]
    NoneInPem,
    #[error("taking a root certificate")]
    Root(#[source] rustls::Error),
    #[error("setting up TLS")]
    Tls(#[source] rustls::Error),
}

/// The certificates of a PEM file.
///
/// # Errors
/// It is no PEM, or holds no certificate.
pub fn roots_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let roots: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(TransportError::Pem)?;
    if roots.is_empty() {
        Err(TransportError::NoneInPem)
    } else {
        Ok(roots)
    }
}

/// HTTPS with the certificates that the machine trusts (`SSL_CERT_FILE` works) and `extra_roots`.
/// Anything but HTTPS is refused (RFC 8555 section 6.1). Connections live in `tasks`.
///
/// # Errors
/// There is no certificate to trust, or one of `extra_roots` cannot be used.
pub fn https(
    tasks: &Tasks,
    extra_roots: &[CertificateDer<'static>],
) -> Result<Transport, TransportError> {
    let mut roots = RootCertStore::empty();
    // Single unreadable certificates are common in system stores; what matters is that some are.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in extra_roots {
        roots.add(root.clone()).map_err(TransportError::Root)?;
    }
    if roots.is_empty() {
        return Err(TransportError::NoRoots);
    }
    trusting(roots, tasks)
}

fn trusting(roots: RootCertStore, tasks: &Tasks) -> Result<Transport, TransportError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TransportError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_all_versions()
        .wrap_connector(tcp);
    let client: Client<_, Full<Bytes>> = Client::builder(InTasks(tasks.clone()))
        .pool_idle_timeout(IDLE)
        .build(connector);
    Ok(BoxCloneSyncService::new(service_fn(
        move |request: Request<Bytes>| {
            let client = client.clone();
            async move {
                let response = client.request(request.map(Full::new)).await?;
                let (head, body) = response.into_parts();
                let body = Limited::new(body, BODY_LIMIT).collect().await?.to_bytes();
                Ok::<_, BoxError>(Response::from_parts(head, body))
            }
        },
    )))
}

/// Starts hyper's connection tasks in the daemon's group.
#[derive(Clone)]
struct InTasks(Tasks);

impl<F> hyper::rt::Executor<F> for InTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("https connection", future);
    }
}

/// Sends requests for some host names to services in this process, and the rest on.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// By host name in lower case.
    services: BTreeMap<String, Transport>,
    rest: Transport,
}

impl Hosts {
    /// All requests go to `rest`, until a host is added.
    pub fn new(rest: Transport) -> Self {
        Self {
            services: BTreeMap::new(),
            rest,
        }
    }

    /// Requests for `host`, at whatever port, go to `service`.
    #[must_use]
    pub fn with(mut self, host: &str, service: Transport) -> Self {
        self.services.insert(host.to_ascii_lowercase(), service);
        self
    }

    /// As one transport.
    pub fn into_transport(self) -> Transport {
        BoxCloneSyncService::new(service_fn(move |request: Request<Bytes>| {
            let host = request
                .uri()
                .host()
                .unwrap_or_default()
                .to_ascii_lowercase();
            let service = self.services.get(&host).unwrap_or(&self.rest).clone();
            service.oneshot(request)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers everything with `name`.
    fn named(name: &'static str) -> Transport {
        BoxCloneSyncService::new(service_fn(move |_| async move {
            Ok::<_, BoxError>(Response::new(Bytes::from_static(name.as_bytes())))
        }))
    }

    #[tokio::test]
    async fn a_request_goes_where_its_host_is() {
        let hosts = Hosts::new(named("internet")).with("acme.gatewright.test", named("mock"));
        let transport = hosts.into_transport();
        for (uri, answer) in [
            ("https://acme.gatewright.test/directory", "mock"),
            ("https://ACME.gatewright.test:14000/", "mock"),
            ("https://acme-v02.example.com/directory", "internet"),
            ("/no-host", "internet"),
        ] {
            let request = Request::get(uri).body(Bytes::new()).unwrap();
            let got = transport.clone().oneshot(request).await.unwrap();
            assert_eq!(got.body(), answer, "{uri}");
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_in_the_clear() {
        let transport = trusting(RootCertStore::empty(), &Tasks::new()).unwrap();
        let request = Request::get("http://127.0.0.1:1/")
            .body(Bytes::new())
            .unwrap();
        let error = transport.oneshot(request).await.unwrap_err();
        let mut causes = Vec::new();
        let mut next: Option<&dyn std::error::Error> = Some(error.as_ref());
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        assert!(causes.join(": ").contains("scheme http"), "{causes:?}");
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        assert!(matches!(
            roots_from_pem(b"hello"),
            Err(TransportError::NoneInPem)
        ));
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        assert_eq!(roots_from_pem(pem.as_bytes()).unwrap().len(), 1);
        assert!(https(&Tasks::new(), &roots_from_pem(pem.as_bytes()).unwrap()).is_ok());
    }
}
