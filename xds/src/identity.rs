//! Who may speak to the xDS server: a small certificate authority of the daemon's own.
//!
//! The server has a certificate for the names that proxies dial; each gateway has a client
//! certificate whose URI SAN says which gateway it is. All keys are ECDSA P-256.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use gatewright_core::Secret;
use gatewright_seams::Clock;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{Error, GatewayId};

/// Certificates are valid from this long before they are made: clocks of nodes differ.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The leaf certificate.
    pub certificate_pem: String,
    /// The private key as PKCS #8 PEM, to be written where only its owner can read it.
    pub key_pem: Secret<String>,
    pub not_after: Timestamp,
}

impl Identity {
    /// The certificate chain, as rustls takes it.
    ///
    /// # Errors
    /// [`Error::Pem`] when the text holds no certificate.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        certificates(&self.certificate_pem, "certificate")
    }

    /// The key, as rustls takes it.
    ///
    /// # Errors
    /// [`Error::Pem`] when the text holds no key.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(self.key_pem.expose().as_bytes()).map_err(|_| Error::Pem {
            what: "private key",
        })
    }
}

/// The certificate authority of the xDS channel.
pub struct Authority {
    certificate_pem: String,
    key_pem: Secret<String>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority, valid for `lifetime` from now.
    ///
    /// # Errors
    /// [`Error::Certificate`] or [`Error::Time`].
    pub fn generate(clock: &Clock, lifetime: Duration) -> Result<Self, Error> {
        let object = "the xDS authority";
        let failed = |source| certificate_error("making the certificate", object, source);
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(object, clock, lifetime)?.0;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key).map_err(failed)?.pem();
        let key_pem = Secret::new(key.serialize_pem());
        Ok(Self {
            certificate_pem,
            key_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority that [`Authority::certificate_pem`] and [`Authority::key_pem`] were saved from.
    ///
    /// # Errors
    /// [`Error::Certificate`] when one of the two cannot be read.
    pub fn from_pem(certificate_pem: &str, key_pem: &Secret<String>) -> Result<Self, Error> {
        let failed =
            |source| certificate_error("reading key and certificate", "the xDS authority", source);
        let key = KeyPair::from_pem(key_pem.expose()).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(failed)?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.clone(),
            issuer,
        })
    }

    /// The root that both sides check the other's certificate against.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn key_pem(&self) -> &Secret<String> {
        &self.key_pem
    }

    /// Issues the server's certificate for DNS names and IP addresses.
    ///
    /// # Errors
    /// [`Error::Certificate`] when a name is neither, or [`Error::Time`].
    pub fn issue_server(
        &self,
        clock: &Clock,
        names: &[String],
        lifetime: Duration,
    ) -> Result<Identity, Error> {
        let mut sans = Vec::new();
        for name in names {
            sans.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into().map_err(|source| {
                    certificate_error("naming the server in its certificate", name, source)
                })?),
            });
        }
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        self.issue("the xDS server", sans, usage, clock, lifetime)
    }

    /// Issues the client certificate of the proxies of `gateway`.
    ///
    /// # Errors
    /// [`Error::Certificate`] or [`Error::Time`].
    pub fn issue_client(
        &self,
        clock: &Clock,
        gateway: &GatewayId,
        lifetime: Duration,
    ) -> Result<Identity, Error> {
        let object = format!("gateway {gateway}");
        let uri = gateway.spiffe_uri().try_into().map_err(|source| {
            certificate_error("naming the gateway in its certificate", &object, source)
        })?;
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.issue(&object, vec![SanType::URI(uri)], usage, clock, lifetime)
    }

    fn issue(
        &self,
        object: &str,
        sans: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        clock: &Clock,
        lifetime: Duration,
    ) -> Result<Identity, Error> {
        let failed = |source| certificate_error("issuing the certificate", object, source);
        let (mut params, not_after) = params(object, clock, lifetime)?;
        params.subject_alt_names = sans;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: Secret::new(key.serialize_pem()),
            not_after,
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// The gateway that a client certificate names, if it names exactly one.
pub fn gateway_of(certificate: &CertificateDer<'_>) -> Option<GatewayId> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let sans = parsed.subject_alternative_name().ok()??;
    let mut uris = sans
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    let id = GatewayId::from_spiffe_uri(uris.next()?)?;
    uris.next().is_none().then_some(id)
}

/// The certificates in a PEM text, at least one.
pub(crate) fn certificates(
    pem: &str,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    all.ok()
        .filter(|all| !all.is_empty())
        .ok_or(Error::Pem { what })
}

fn params(
    object: &str,
    clock: &Clock,
    lifetime: Duration,
) -> Result<(CertificateParams, Timestamp), Error> {
    let out_of_range = || Error::Time {
        object: object.to_owned(),
    };
    let now = clock.now();
    let not_before = now.checked_sub(BACKDATE).map_err(|_| out_of_range())?;
    let not_after = now.checked_add(lifetime).map_err(|_| out_of_range())?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, object);
    let since_epoch = |at: Timestamp| {
        u64::try_from(at.as_second())
            .map(Duration::from_secs)
            .map_err(|_| out_of_range())
    };
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(not_before)?;
    params.not_after = epoch + since_epoch(not_after)?;
    Ok((params, not_after))
}

fn certificate_error(action: &'static str, object: &str, source: rcgen::Error) -> Error {
    Error::Certificate {
        action,
        object: object.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
