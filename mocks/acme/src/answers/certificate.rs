use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::{Answer, Authenticated, Caller, PEM_CHAIN};
use crate::jws::Jws;
use crate::model::{AuthorizationStatus, Issued, Records, Revoked};
use crate::problem::{Kind, Problem};
use crate::server::{Inner, State};

#[derive(Deserialize)]
struct Revocation {
    certificate: String,
    #[serde(default)]
    reason: u8,
}

/// The reasons of RFC 5280, section 5.3.1 that a subscriber may give.
const REASONS: [u8; 6] = [0, 1, 3, 4, 5, 9];

/// Lower-case hex of a DER serial number, without the zero byte that keeps it positive.
pub(super) fn serial_hex(der: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    der.iter()
        .skip_while(|&&byte| byte == 0)
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}

impl Inner {
    /// RFC 8555, section 7.4.2.
    pub(super) fn certificate(
        state: &State,
        serial: &str,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        jws.expect_empty()?;
        match state.records.certificates.get(serial) {
            Some(issued) if issued.account == caller.id => {
                Ok(Answer::text(PEM_CHAIN, issued.chain_pem.clone()))
            }
            _ => Err(Problem::not_found("certificate")),
        }
    }

    /// RFC 8555, section 7.6.
    pub(super) fn revoke(
        &self,
        state: &mut State,
        signer: &Authenticated,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        let wanted: Revocation = jws.json()?;
        let der = BASE64_URL_SAFE_NO_PAD
            .decode(&wanted.certificate)
            .map_err(|_| Problem::malformed("the certificate is not unpadded base64url"))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|_| Problem::malformed("the certificate cannot be read"))?;
        let serial = serial_hex(parsed.raw_serial());
        let issued = state
            .records
            .certificates
            .get(&serial)
            .filter(|issued| is_leaf_of(&der, issued))
            .ok_or_else(|| Problem::not_found("certificate"))?;
        let may = match signer {
            Authenticated::Key(key) => key.is_key_of(parsed.public_key()),
            Authenticated::Account(caller) => {
                issued.account == caller.id || holds_all(&state.records, caller, &issued.names)
            }
        };
        if !may {
            let detail = "the signer may not revoke this certificate";
            return Err(Problem::unauthorized(detail));
        }
        if issued.revoked.is_some() {
            return Err(Problem::new(
                Kind::AlreadyRevoked,
                "the certificate is revoked already",
            ));
        }
        if !REASONS.contains(&wanted.reason) {
            let detail = "the reason is not one that a subscriber may give";
            return Err(Problem::new(Kind::BadRevocationReason, detail));
        }
        let at = self.clock.now();
        if let Some(issued) = state.records.certificates.get_mut(&serial) {
            issued.revoked = Some(Revoked {
                at,
                reason: wanted.reason,
            });
        }
        state.touch();
        Ok(Answer::empty(StatusCode::OK).changed())
    }
}

fn is_leaf_of(der: &[u8], issued: &Issued) -> bool {
    CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).is_ok_and(|leaf| *leaf == *der)
}

/// Has the account a valid authorization for each of `names`?
fn holds_all(records: &Records, caller: &Caller, names: &[String]) -> bool {
    names.iter().all(|name| {
        let wildcard = name.starts_with("*.");
        let host = name.strip_prefix("*.").unwrap_or(name);
        records.authorizations.values().any(|authorization| {
            authorization.account == caller.id
                && authorization.status == AuthorizationStatus::Valid
                && authorization.name == host
                && authorization.wildcard == wildcard
        })
    })
}
