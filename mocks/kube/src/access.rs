use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls;

use crate::error::Error;

const CA_FILE: &str = "ca.crt";
const CERTIFICATE_FILE: &str = "server.crt";
const KEY_FILE: &str = "server.key";
const TOKEN_FILE: &str = "token";

/// How clients find the server and prove who they are: a certificate authority of its own, the server's
/// certificate for loopback names, and one bearer token. `Debug` shows none of it.
#[derive(Clone)]
pub struct Access {
    ca_pem: String,
    certificate_pem: String,
    key_pem: String,
    token: String,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.key_pem.zeroize();
        self.token.zeroize();
    }
}

impl Access {
    /// Makes a certificate authority, a server certificate and a token. The authority's key is not kept.
    ///
    /// # Errors
    /// When the TLS library cannot make a key.
    pub fn generate() -> Result<Self, Error> {
        let failed = |what: &'static str| move |source| Error::Certificate { what, source };
        let ca_key = KeyPair::generate().map_err(failed("authority's key"))?;
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.distinguished_name
            .push(DnType::CommonName, "local-kube authority");
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(ca, ca_key).map_err(failed("authority"))?;

        let key = KeyPair::generate().map_err(failed("server's key"))?;
        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ];
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut server = CertificateParams::new(names).map_err(failed("server certificate"))?;
        for address in [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            server.subject_alt_names.push(SanType::IpAddress(address));
        }
        server
            .distinguished_name
            .push(DnType::CommonName, "local-kube");
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let certificate = server
            .signed_by(&key, &issuer)
            .map_err(failed("server certificate"))?;
        // Two random keys make the token: `Random` is not for secrets, and this is what the TLS library offers.
        let token_key = KeyPair::generate().map_err(failed("token"))?;
        let token = {
            use sha2::Digest as _;
            let digest = sha2::Sha256::digest(token_key.serialize_der());
            base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, digest)
        };
        Ok(Self {
            ca_pem: issuer.pem(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            token,
        })
    }

    /// Reads what an earlier call wrote into `folder`, or generates and writes it there. The folder is made when it is
    /// absent; all files have mode 0600.
    ///
    /// # Errors
    /// When files cannot be read or written, or hold something else.
    pub fn load_or_generate(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        // The token is written last: where it is, the rest is.
        if folder.join(TOKEN_FILE).exists() {
            return Self::load(folder);
        }
        let access = Self::generate()?;
        std::fs::create_dir_all(folder).map_err(|source| Error::File {
            doing: "making the folder",
            path: folder.to_owned(),
            source,
        })?;
        write(&folder.join(CA_FILE), &access.ca_pem)?;
        write(&folder.join(CERTIFICATE_FILE), &access.certificate_pem)?;
        write(&folder.join(KEY_FILE), &access.key_pem)?;
        write(&folder.join(TOKEN_FILE), &access.token)?;
        Ok(access)
    }

    fn load(folder: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|source| Error::File {
                doing: "reading",
                path,
                source,
            })
        };
        let access = Self {
            ca_pem: read(CA_FILE)?,
            certificate_pem: read(CERTIFICATE_FILE)?,
            key_pem: read(KEY_FILE)?,
            token: read(TOKEN_FILE)?,
        };
        let holds = |name: &str, what: &'static str, pem: &str, tag: &str| {
            if pem.contains(tag) {
                Ok(())
            } else {
                Err(Error::Content {
                    what,
                    path: folder.join(name),
                })
            }
        };
        holds(CA_FILE, "certificate", &access.ca_pem, "BEGIN CERTIFICATE")?;
        holds(
            CERTIFICATE_FILE,
            "certificate",
            &access.certificate_pem,
            "BEGIN CERTIFICATE",
        )?;
        holds(KEY_FILE, "private key", &access.key_pem, "PRIVATE KEY")?;
        Ok(access)
    }

    /// The certificate authority, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The bearer token. It opens everything: show it to nobody.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether an `Authorization` header carries the token. Takes the same time for every wrong one of its length.
    pub(crate) fn allows(&self, header: &str) -> bool {
        let given = header
            .strip_prefix("Bearer ")
            .unwrap_or_default()
            .as_bytes();
        let wanted = self.token.as_bytes();
        given.len() == wanted.len()
            && given
                .iter()
                .zip(wanted)
                .fold(0, |differ, (a, b)| differ | (a ^ b))
                == 0
    }

    pub(crate) fn tls(&self) -> Result<Arc<rustls::ServerConfig>, Error> {
        let wrong = |_| {
            Error::Tls(rustls::Error::General(
                "the server's PEM is not valid".into(),
            ))
        };
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(wrong)?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(wrong)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(Error::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn write(path: &Path, content: &str) -> Result<(), Error> {
    let failed = |source| Error::File {
        doing: "writing",
        path: path.to_owned(),
        source,
    };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(content.as_bytes()).map_err(failed)
}
