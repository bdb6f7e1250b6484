//! The transport to certificate authorities.

use bytes::Bytes;
use gatewright_aliyun::https_transport;
use gatewright_seams::Tasks;
use http::Request;
use http::uri::Scheme;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt, service_fn};

use crate::outside::Transport;

/// Why there is no transport.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    #[error("reading root certificates: {0}")]
    Pem(#[source] rustls_pki_types::pem::Error),
    #[error("reading root certificates: none in the file")]
    NoneInPem,
    #[error(transparent)]
    Https(#[from] gatewright_aliyun::TransportError),
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

/// The transport to the cloud, for HTTPS alone: an ACME server is never asked in the clear
/// (RFC 8555 section 6.1). Connections live in `tasks`.
///
/// # Errors
/// There is no certificate to trust, or one of `extra_roots` cannot be used.
pub fn https(
    tasks: &Tasks,
    extra_roots: &[CertificateDer<'static>],
) -> Result<Transport, TransportError> {
    let inner = https_transport(tasks, extra_roots)?;
    Ok(BoxCloneSyncService::new(service_fn(
        move |request: Request<Bytes>| {
            let inner = inner.clone();
            async move {
                if request.uri().scheme() != Some(&Scheme::HTTPS) {
                    return Err(BoxError::from("an ACME server is only asked over HTTPS"));
                }
                inner.oneshot(request).await
            }
        },
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate to trust, so that the machine's own need not be there.
    fn root() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[tokio::test]
    async fn nothing_is_sent_in_the_clear() {
        let roots = roots_from_pem(root().as_bytes()).unwrap();
        let transport = https(&Tasks::new(), &roots).unwrap();
        let request = Request::get("http://127.0.0.1:1/")
            .body(Bytes::new())
            .unwrap();
        let error = transport.oneshot(request).await.unwrap_err();
        assert!(
            error.to_string().contains("only asked over HTTPS"),
            "{error}"
        );
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        assert!(matches!(
            roots_from_pem(b"hello"),
            Err(TransportError::NoneInPem)
        ));
        assert_eq!(roots_from_pem(root().as_bytes()).unwrap().len(), 1);
    }
}
