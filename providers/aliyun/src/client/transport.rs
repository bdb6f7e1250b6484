//! How requests reach the cloud.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatewright_seams::Tasks;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

pub use tower::BoxError;

/// Takes a request, gives the answer. The real one is [`https_transport`]; the mock cloud's service
/// goes in as it is with [`BoxCloneSyncService::new`].
pub type Transport = BoxCloneSyncService<Request<Bytes>, Response<Bytes>, BoxError>;

/// Largest answer that is read; a page of 100 listeners is about 200 KiB.
const BODY_LIMIT: usize = 8 << 20;
/// Shorter than the idle limit of the cloud's front ends, so that a request seldom meets a
/// connection that is being closed.
const IDLE: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The request was not sent, so it has no effect. A transport that knows this says so with this
/// error; of any other the outcome is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    #[error("connecting failed")]
    Connect(#[source] BoxError),
    #[error("plain HTTP is only used to loopback addresses")]
    Plain,
}

impl NotSent {
    /// Whether an error of a transport is this one.
    pub fn is(error: &(dyn std::error::Error + 'static)) -> bool {
        error.is::<Self>()
    }
}

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    #[error("reading the machine's trusted certificates: none found, and no other is given")]
    NoRoots,
    #[error("taking a root certificate")]
    Root(#[source] rustls::Error),
    #[error("setting up TLS")]
    Tls(#[source] rustls::Error),
}

/// HTTPS with the certificates that the machine trusts (rustls-native-certs, so `SSL_CERT_FILE` and
/// a company's own roots work) and `extra_roots`. Plain HTTP goes to loopback addresses only.
/// Connections live in `tasks`.
///
/// # Errors
/// When there is nothing to trust, or one of `extra_roots` cannot be used.
pub fn https_transport(
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
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let client: Client<_, Full<Bytes>> = Client::builder(InTasks(tasks.clone()))
        .pool_idle_timeout(IDLE)
        .build(connector);
    Ok(BoxCloneSyncService::new(service_fn(
        move |request: Request<Bytes>| {
            let client = client.clone();
            async move {
                if !may_send(request.uri()) {
                    return Err(BoxError::from(NotSent::Plain));
                }
                let response = client
                    .request(request.map(Full::new))
                    .await
                    .map_err(|error| {
                        if error.is_connect() {
                            BoxError::from(NotSent::Connect(error.into()))
                        } else {
                            error.into()
                        }
                    })?;
                let (head, body) = response.into_parts();
                let body = Limited::new(body, BODY_LIMIT).collect().await?.to_bytes();
                Ok(Response::from_parts(head, body))
            }
        },
    )))
}

fn may_send(uri: &Uri) -> bool {
    if uri.scheme_str() == Some("https") {
        return true;
    }
    let host = uri
        .host()
        .unwrap_or("")
        .trim_start_matches('[')
        .trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Starts hyper's connection tasks in the daemon's group.
#[derive(Clone)]
struct InTasks(Tasks);

impl<F> hyper::rt::Executor<F> for InTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("cloud connection", future);
    }
}

#[cfg(test)]
mod tests {
    use gatewright_seams::Clock;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tower::ServiceExt;

    use super::*;

    async fn post(address: &str) -> Result<Response<Bytes>, BoxError> {
        let transport = trusting(RootCertStore::empty(), &Tasks::new()).unwrap();
        let request = Request::post(address).body(Bytes::from("a=b")).unwrap();
        Clock::system()
            .timeout(Duration::from_secs(10), transport.oneshot(request))
            .await?
    }

    /// Takes one connection, reads the request and writes `answer`.
    async fn serve_once(listener: TcpListener, answer: &'static str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"a=b") {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(seen).unwrap()
    }

    #[tokio::test]
    async fn a_request_travels_over_a_real_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
        let (seen, response) = tokio::join!(serve_once(listener, answer), post(&address));
        let response = response.unwrap();
        assert_eq!(
            (response.status().as_u16(), &**response.body()),
            (400, &b"{}"[..])
        );
        assert!(seen.starts_with("POST / HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn only_what_was_not_sent_is_said_to_be_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let (_, cut) = tokio::join!(serve_once(listener, ""), post(&address));
        assert!(!NotSent::is(cut.unwrap_err().as_ref()));
        // Nobody listens there any more.
        let refused = post(&address).await.unwrap_err();
        assert!(NotSent::is(refused.as_ref()), "{refused:?}");
        let plain = post("http://192.0.2.1/").await.unwrap_err();
        assert!(NotSent::is(plain.as_ref()));
    }

    #[test]
    fn plain_http_goes_to_loopback_only() {
        for (uri, allowed) in [
            ("https://slb.aliyuncs.com/", true),
            ("http://slb.aliyuncs.com/", false),
            ("http://127.0.0.1:8080/", true),
            ("http://[::1]:8080/", true),
            ("http://localhost/", true),
            ("http://127.0.0.1.example.com/", false),
        ] {
            assert_eq!(may_send(&uri.parse().unwrap()), allowed, "{uri}");
        }
    }
}
