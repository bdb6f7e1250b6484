//! The real probe: sockets, TLS and HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use gatewright_seams::Clock;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::outside::{Probe, ProbeError};

const LIMIT: Duration = Duration::from_secs(3);
const BODY_LIMIT: usize = 16 * 1024;

/// Connects for real.
#[derive(Clone)]
pub struct NetworkProbe {
    clock: Clock,
    tls: TlsConnector,
}

impl NetworkProbe {
    /// # Errors
    /// The TLS library refuses its own defaults.
    pub fn new(clock: Clock) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(SeesAll(provider)))
            .with_no_client_auth();
        // A resumed session would show the certificate of the first handshake.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            clock,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    async fn within<T>(
        &self,
        future: impl Future<Output = Result<T, ProbeError>>,
    ) -> Result<T, ProbeError> {
        self.clock
            .timeout(LIMIT, future)
            .await
            .unwrap_or(Err(ProbeError::TimedOut(LIMIT)))
    }
}

impl Probe for NetworkProbe {
    fn leaf<'a>(
        &'a self,
        address: SocketAddr,
        server_name: &'a str,
    ) -> BoxFuture<'a, Result<Vec<u8>, ProbeError>> {
        Box::pin(self.within(async move {
            let name = ServerName::try_from(server_name.to_owned())
                .map_err(|error| ProbeError::Tls(error.to_string()))?;
            let stream = connect(address).await?;
            let stream = self
                .tls
                .connect(name, stream)
                .await
                .map_err(|error| ProbeError::Tls(error.to_string()))?;
            let (_, session) = stream.get_ref();
            let leaf = session.peer_certificates().and_then(|chain| chain.first());
            leaf.map(|leaf| leaf.to_vec())
                .ok_or_else(|| ProbeError::Tls("the server showed no certificate".into()))
        }))
    }

    fn get<'a>(
        &'a self,
        address: SocketAddr,
        host: &'a str,
        path: &'a str,
    ) -> BoxFuture<'a, Result<(u16, Bytes), ProbeError>> {
        Box::pin(self.within(async move {
            let failed = |error: &dyn std::fmt::Display| ProbeError::Http(error.to_string());
            let stream = connect(address).await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
                    .await
                    .map_err(|error| failed(&error))?;
            let request = http::Request::get(path)
                .header(http::header::HOST, host)
                .header(http::header::CONNECTION, "close")
                .body(Empty::new())
                .map_err(|error| failed(&error))?;
            let exchange = async {
                let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
                let status = response.status().as_u16();
                let body = Limited::new(response.into_body(), BODY_LIMIT);
                let body = body.collect().await.map_err(|e| failed(&e))?.to_bytes();
                Ok((status, body))
            };
            // Once the answer is there, how the connection ends does not matter.
            tokio::pin!(exchange, connection);
            match futures::future::select(exchange, connection).await {
                futures::future::Either::Left((answer, _)) => answer,
                futures::future::Either::Right((_, exchange)) => exchange.await,
            }
        }))
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| ProbeError::Connect(error.to_string()))?;
    stream
        .set_nodelay(true)
        .map_err(|error| ProbeError::Connect(error.to_string()))?;
    Ok(stream)
}

/// Takes any certificate: the probe wants to see what is shown, not to trust it. The handshake's
/// signature is still checked, so that a key that does not match its certificate is noticed.
#[derive(Debug)]
struct SeesAll(Arc<CryptoProvider>);

impl ServerCertVerifier for SeesAll {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
