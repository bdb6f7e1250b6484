use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use gatewright_seams::Clock;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize, Serializer};
use x509_parser::extensions::ParsedExtension;
use zeroize::Zeroizing;

use crate::error::Error;

const DAY: Duration = Duration::from_hours(24);
const ROOT_LIFETIME: Duration = Duration::from_hours(30 * 365 * 24);
const INTERMEDIATE_LIFETIME: Duration = Duration::from_hours(20 * 365 * 24);
/// The longest that browsers accept for a server certificate.
const SERVER_LIFETIME: Duration = Duration::from_hours(397 * 24);
/// The common name of a certificate holds at most this many characters (RFC 5280, appendix A.1).
const MAX_COMMON_NAME: usize = 64;

/// A private key as PEM. It shows itself to nobody but the state file.
#[derive(Deserialize)]
#[serde(from = "String")]
pub(crate) struct SecretPem(Zeroizing<String>);

impl From<String> for SecretPem {
    fn from(pem: String) -> Self {
        Self(Zeroizing::new(pem))
    }
}

impl fmt::Debug for SecretPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SecretPem {
    /// For the state file alone. There is no `Serialize`, so that nothing else does it by accident.
    fn reveal<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The authority as the state file holds it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredAuthority {
    root_certificate: String,
    #[serde(serialize_with = "SecretPem::reveal")]
    root_key: SecretPem,
    intermediate_certificate: String,
    #[serde(serialize_with = "SecretPem::reveal")]
    intermediate_key: SecretPem,
}

/// A root, and the intermediate that signs all leaves.
pub(crate) struct Authority {
    stored: StoredAuthority,
    intermediate: Issuer<'static, KeyPair>,
    intermediate_key_id: Vec<u8>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

/// What a leaf certificate shall say.
pub(crate) struct Leaf<'a> {
    pub(crate) names: &'a BTreeSet<String>,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public_key: &'a [u8],
    /// 16 bytes, the first of them not 0.
    pub(crate) serial: &'a [u8],
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

fn making(object: &'static str) -> impl Fn(rcgen::Error) -> Error {
    move |source| Error::Authority { object, source }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// Sets both dates of a certificate. Fractions of a second are cut off.
fn set_validity(
    params: &mut CertificateParams,
    object: &'static str,
    from: Timestamp,
    until: Timestamp,
) -> Result<(), Error> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let seconds = |at: Timestamp| u64::try_from(at.as_second()).map_err(|_| Error::Dates(object));
    params.not_before = epoch + Duration::from_secs(seconds(from)?);
    params.not_after = epoch + Duration::from_secs(seconds(until)?);
    Ok(())
}

fn later(at: Timestamp, by: Duration, object: &'static str) -> Result<Timestamp, Error> {
    at.checked_add(by).map_err(|_| Error::Dates(object))
}

fn earlier(at: Timestamp, by: Duration, object: &'static str) -> Result<Timestamp, Error> {
    at.checked_sub(by).map_err(|_| Error::Dates(object))
}

impl Authority {
    /// Makes a new root and intermediate, valid from a day before the clock's time on.
    pub(crate) fn generate(clock: &Clock) -> Result<StoredAuthority, Error> {
        let now = clock.now();
        let root_key = KeyPair::generate().map_err(making("root key"))?;
        let mut root = CertificateParams::default();
        root.distinguished_name = common_name("Gatewright mock ACME root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let from = earlier(now, DAY, "root")?;
        set_validity(&mut root, "root", from, later(now, ROOT_LIFETIME, "root")?)?;
        let root_certificate = root.self_signed(&root_key).map_err(making("root"))?;

        let intermediate_key = KeyPair::generate().map_err(making("intermediate key"))?;
        let mut intermediate = CertificateParams::default();
        intermediate.distinguished_name = common_name("Gatewright mock ACME intermediate");
        intermediate.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        intermediate.key_usages.clone_from(&root.key_usages);
        intermediate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        intermediate.use_authority_key_identifier_extension = true;
        let until = later(now, INTERMEDIATE_LIFETIME, "intermediate")?;
        set_validity(&mut intermediate, "intermediate", from, until)?;
        let signer = Issuer::from_params(&root, &root_key);
        let intermediate_certificate = intermediate
            .signed_by(&intermediate_key, &signer)
            .map_err(making("intermediate"))?;

        Ok(StoredAuthority {
            root_certificate: root_certificate.pem(),
            root_key: root_key.serialize_pem().into(),
            intermediate_certificate: intermediate_certificate.pem(),
            intermediate_key: intermediate_key.serialize_pem().into(),
        })
    }

    pub(crate) fn load(stored: StoredAuthority) -> Result<Self, Error> {
        let broken = |object: &'static str| Error::StoredAuthority { object };
        CertificateDer::from_pem_slice(stored.root_certificate.as_bytes())
            .map_err(|_| broken("root"))?;
        KeyPair::from_pem(&stored.root_key.0).map_err(|_| broken("root key"))?;
        let der = CertificateDer::from_pem_slice(stored.intermediate_certificate.as_bytes())
            .map_err(|_| broken("intermediate"))?;
        let key = KeyPair::from_pem(&stored.intermediate_key.0)
            .map_err(|_| broken("intermediate key"))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|_| broken("intermediate"))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(broken("intermediate key"));
        }
        let intermediate_key_id = parsed
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
            .ok_or_else(|| broken("intermediate"))?;
        let intermediate =
            Issuer::from_ca_cert_der(&der, key).map_err(|_| broken("intermediate"))?;
        Ok(Self {
            stored,
            intermediate,
            intermediate_key_id,
        })
    }

    pub(crate) fn stored(&self) -> &StoredAuthority {
        &self.stored
    }

    pub(crate) fn root_pem(&self) -> &str {
        &self.stored.root_certificate
    }

    /// The key identifier that stands in every leaf's authority key identifier.
    pub(crate) fn key_id(&self) -> &[u8] {
        &self.intermediate_key_id
    }

    /// Signs a leaf; gives it and the intermediate as PEM, the leaf first.
    ///
    /// The profile is ours: nothing comes from the request but the key and the checked names.
    pub(crate) fn issue(&self, leaf: &Leaf<'_>) -> Result<String, Error> {
        let public_key = SubjectPublicKeyInfo::from_der(leaf.public_key).map_err(making("leaf"))?;
        let mut params = CertificateParams::new(leaf.names.iter().cloned().collect::<Vec<_>>())
            .map_err(making("leaf"))?;
        let first = leaf.names.iter().find(|name| name.len() <= MAX_COMMON_NAME);
        params.distinguished_name = first.map_or_else(DistinguishedName::new, |n| common_name(n));
        params.serial_number = Some(SerialNumber::from_slice(leaf.serial));
        set_validity(&mut params, "leaf", leaf.not_before, leaf.not_after)?;
        self.sign(params, &public_key)
    }

    /// A key and chain for the HTTPS listener of the mock itself.
    pub(crate) fn server_identity(
        &self,
        host: &str,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let object = "server certificate";
        let key = KeyPair::generate().map_err(making("server key"))?;
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(making(object))?;
        for extra in [
            SanType::IpAddress(address),
            SanType::DnsName("localhost".try_into().map_err(making(object))?),
        ] {
            if !params.subject_alt_names.contains(&extra) {
                params.subject_alt_names.push(extra);
            }
        }
        params.distinguished_name = common_name("Gatewright mock ACME server");
        let until = later(now, SERVER_LIFETIME, object)?;
        set_validity(&mut params, object, earlier(now, DAY, object)?, until)?;
        let chain = self.sign(params, &key)?;
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::StoredAuthority {
                object: "intermediate",
            })?;
        Ok((chain, PrivateKeyDer::from(key)))
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        public_key: &impl PublicKeyData,
    ) -> Result<String, Error> {
        // rcgen writes the subject key identifier only together with basic constraints.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params
            .signed_by(public_key, &self.intermediate)
            .map_err(making("leaf"))?;
        Ok(format!(
            "{}{}",
            leaf.pem(),
            self.stored.intermediate_certificate
        ))
    }
}
