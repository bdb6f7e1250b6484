use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatewright_seams::{Clock, Random, Tasks};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use mock_acme::{DEFAULT_LIFETIME, Fetch as _, HttpFetch, MockAcme, Options, Storage};
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::client::{Web, certificates};

const LIMIT: Duration = Duration::from_secs(20);

/// A web server on loopback that answers each path by `answer`: status, location, body.
async fn web_server(
    tasks: &Tasks,
    answer: fn(&str, &str) -> (u16, Option<&'static str>, String),
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = tasks.clone();
    tasks.spawn("test web server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn("test web connection", async move {
                let service =
                    hyper::service::service_fn(move |request: Request<Incoming>| async move {
                        let host = request.headers()["host"].to_str().unwrap().to_owned();
                        let (status, location, body) = answer(&host, request.uri().path());
                        let mut response = Response::builder().status(status);
                        if let Some(location) = location {
                            response = response.header("location", location);
                        }
                        response.body(Full::new(Bytes::from(body)))
                    });
                let server = hyper::server::conn::http1::Builder::new();
                server
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok();
            });
        }
    });
    address
}

#[tokio::test]
async fn http_fetch_asks_the_resolved_address_and_follows_few_redirects() {
    let tasks = Tasks::new();
    let address = web_server(&tasks, |host, path| match (host, path) {
        ("a.test", "/plain") => (200, None, "plain".to_owned()),
        ("a.test", "/moved") => (302, Some("http://b.test/here"), String::new()),
        ("b.test", "/here") => (200, None, "here".to_owned()),
        ("a.test", "/loop") => (301, Some("/loop"), String::new()),
        ("a.test", "/tls") => (301, Some("https://a.test/plain"), String::new()),
        ("a.test", "/long") => (200, None, "x".repeat(64 * 1024)),
        _ => (404, None, String::new()),
    })
    .await;
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let fetch = HttpFetch {
        resolver: Arc::new(move |host| match host {
            "a.test" | "b.test" => Some(address),
            "closed.test" => Some(closed),
            _ => None,
        }),
    };
    let get = |host: &'static str, path: &'static str| {
        let fetch = fetch.clone();
        async move {
            let asked = fetch.get(host, path);
            Clock::system().timeout(LIMIT, asked).await.unwrap()
        }
    };
    let plain = get("a.test", "/plain").await.unwrap();
    assert_eq!(
        (plain.status, plain.body.as_ref()),
        (200, b"plain".as_slice())
    );
    assert_eq!(
        get("a.test", "/moved").await.unwrap().body.as_ref(),
        b"here"
    );
    assert_eq!(get("a.test", "/none").await.unwrap().status, 404);
    for (host, path, reason) in [
        ("a.test", "/loop", "redirects"),
        ("a.test", "/tls", "other than http"),
        ("a.test", "/long", "reading the answer"),
        ("closed.test", "/", "connecting to closed.test"),
        ("unknown.test", "/", "no address is known for unknown.test"),
    ] {
        let error = get(host, path).await.unwrap_err();
        assert!(error.contains(reason), "{host}{path}: {error}");
    }
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn the_directory_is_served_over_tls_that_the_root_vouches_for() {
    let (tasks, clock) = (Tasks::new(), Clock::system());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acme = MockAcme::start(Options {
        storage: Storage::Memory,
        clock,
        random: Random::system(),
        tasks: tasks.clone(),
        base_url: format!("https://acme.test:{}", address.port()),
        validator: Arc::new(Web::default()),
        certificate_lifetime: DEFAULT_LIFETIME,
    })
    .await
    .unwrap();
    let serving = acme.clone();
    tasks.spawn_graceful("acme listener", async move {
        serving.serve(listener).await.unwrap();
    });

    let mut roots = RootCertStore::empty();
    roots
        .add(certificates(&acme.root_pem()).swap_remove(0))
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for name in ["acme.test", "localhost", "127.0.0.1"] {
        let asked = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(name).unwrap();
            let stream = connector.connect(name, stream).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .unwrap();
            let request = Request::get("/directory")
                .header("host", "acme.test")
                .header("connection", "close")
                .body(Empty::<Bytes>::new())
                .unwrap();
            let exchange = async {
                let response = sender.send_request(request).await.unwrap();
                response.into_body().collect().await.unwrap().to_bytes()
            };
            tokio::join!(exchange, connection).0
        };
        let body = clock.timeout(LIMIT, asked).await.unwrap();
        let directory: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            directory["newOrder"],
            acme.directory_url().replace("directory", "new-order")
        );
    }
    assert!(
        tasks.stop(LIMIT).await,
        "the listener did not end with its tasks"
    );
}
