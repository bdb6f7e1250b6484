//! A client that sees what a person with curl sees: status, headers, and the certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    /// Serial of the leaf certificate in hex; empty over plain HTTP.
    pub serial: String,
}

/// Trusts one root and nothing else.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
}

/// A kept-alive connection.
pub struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    pub serial: String,
}

impl Client {
    /// # Errors
    /// `root` is no certificate in PEM.
    pub fn trusting(root: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).context("the root")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A resumed session would show the certificate of the first handshake.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Opens an HTTPS connection to `address` for `host`; the chain must verify to the root.
    ///
    /// # Errors
    /// Refused, cut, or not trusted.
    pub async fn connect(&self, address: SocketAddr, host: &str) -> Result<Connection> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .context("tls handshake")?;
        let leaf = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first());
        let leaf = leaf.context("no certificate")?;
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf)?;
        let serial = format!("{:x}", leaf.tbs_certificate.serial);
        open(TokioIo::new(stream), host, serial).await
    }

    /// One request over HTTPS on a connection of its own.
    ///
    /// # Errors
    /// As [`Client::connect`], or no answer.
    pub async fn get(&self, address: SocketAddr, host: &str, path: &str) -> Result<Answer> {
        self.connect(address, host).await?.get(path).await
    }

    /// One request over plain HTTP on a connection of its own.
    ///
    /// # Errors
    /// Refused, cut, or no answer.
    pub async fn get_plain(&self, address: SocketAddr, host: &str, path: &str) -> Result<Answer> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        open(TokioIo::new(stream), host, String::new())
            .await?
            .get(path)
            .await
    }
}

async fn open<S>(stream: TokioIo<S>, host: &str, serial: String) -> Result<Connection>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(stream).await.context("http handshake")?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the connection ends with its sender"
    )]
    drop(tokio::spawn(connection));
    Ok(Connection {
        sender,
        host: host.to_owned(),
        serial,
    })
}

impl Connection {
    /// One request on this connection.
    ///
    /// # Errors
    /// The connection was closed, or cut in the middle.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.try_get(path)
            .await?
            .context("the connection was closed before the request was sent")
    }

    /// One request on this connection; nothing when the server had closed it before any of the
    /// request was sent, so that it may go over another one.
    ///
    /// # Errors
    /// Cut in the middle.
    pub async fn try_get(&mut self, path: &str) -> Result<Option<Answer>> {
        if self.sender.ready().await.is_err() {
            return Ok(None);
        }
        let request = http::Request::get(path)
            .header(http::header::HOST, &self.host)
            .body(Empty::new())?;
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            // The request comes back exactly when nothing of it was sent.
            Err(mut error) => match error.take_message() {
                Some(_unsent) => return Ok(None),
                None => return Err(error.into_error()).context("request"),
            },
        };
        let (parts, body) = response.into_parts();
        let body = body.collect().await.context("body")?.to_bytes();
        let (status, headers) = (parts.status.as_u16(), parts.headers);
        Ok(Some(Answer {
            status,
            headers,
            body,
            serial: self.serial.clone(),
        }))
    }

    /// Whether the server has said that it closes the connection.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}
