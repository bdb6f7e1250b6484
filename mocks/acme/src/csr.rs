use std::collections::BTreeSet;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;

use crate::jwk::Jwk;
use crate::problem::{Kind, Problem};

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadCsr, detail)
}

/// Checks a certificate signing request against the order's names (RFC 8555, section 7.4) and gives
/// its SubjectPublicKeyInfo as DER. Extensions other than the names are not looked at: the profile
/// of the certificate is the authority's.
pub(crate) fn public_key(
    der: &[u8],
    names: &BTreeSet<String>,
    account_key: &Jwk,
) -> Result<Vec<u8>, Problem> {
    let (rest, csr) = X509CertificationRequest::from_der(der)
        .map_err(|_| bad("the csr is not a der pkcs#10 request"))?;
    if !rest.is_empty() {
        return Err(bad("there are bytes after the csr"));
    }
    let info = &csr.certification_request_info;
    match info.subject_pki.parsed() {
        // The length of an uncompressed point tells the curve: 65 bytes for P-256, 97 for P-384.
        Ok(PublicKey::EC(point)) if matches!(point.data().len(), 65 | 97) => {}
        Ok(PublicKey::RSA(key)) if (2048..=4096).contains(&key.key_size()) => {}
        _ => {
            return Err(bad(
                "the key of the csr is not p-256, p-384 or rsa of 2048 to 4096 bits",
            ));
        }
    }
    csr.verify_signature()
        .map_err(|_| bad("the signature of the csr does not verify"))?;
    if account_key.is_key_of(&info.subject_pki) {
        // RFC 8555, section 11.1.
        return Err(bad("the key of the csr is the account key"));
    }

    let mut asked = BTreeSet::new();
    for attribute in info.subject.iter_common_name() {
        let name = attribute
            .as_str()
            .map_err(|_| bad("the common name cannot be read"))?;
        asked.insert(name.to_ascii_lowercase());
    }
    for extension in csr.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(san) = extension else {
            continue;
        };
        for name in &san.general_names {
            let GeneralName::DNSName(name) = name else {
                return Err(bad("the csr asks for a name that is not a dns name"));
            };
            asked.insert(name.to_ascii_lowercase());
        }
    }
    if asked != *names {
        let missing: Vec<&str> = names.difference(&asked).map(String::as_str).collect();
        let extra: Vec<&str> = asked.difference(names).map(String::as_str).collect();
        return Err(bad(format!(
            "the names of the csr differ from the order's (missing: [{}], too many: [{}])",
            missing.join(", "),
            extra.join(", "),
        )));
    }
    Ok(info.subject_pki.raw.to_vec())
}

#[cfg(test)]
mod tests {
    use gatewright_seams::Clock;
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

    use super::*;
    use crate::authority::{Authority, Leaf};

    fn other_key() -> Jwk {
        Jwk::Okp {
            crv: "Ed25519".to_owned(),
            x: "A".repeat(43),
        }
    }

    // Both files are made with `openssl req -new -newkey rsa:BITS`; their keys are gone.
    fn der(pem: &str) -> Vec<u8> {
        CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .unwrap()
            .to_vec()
    }

    #[test]
    fn extensions_that_the_csr_asks_for_do_not_reach_the_certificate() {
        let names: BTreeSet<String> = ["a.example.test", "b.example.test"]
            .map(str::to_owned)
            .into();
        let csr = der(include_str!("csr/testdata/rsa-2048-asks-for-ca.pem"));
        let key = public_key(&csr, &names, &other_key()).unwrap();

        let clock = Clock::starting_at("2026-11-24T12:00:00Z".parse().unwrap());
        let authority = Authority::load(Authority::generate(&clock).unwrap()).unwrap();
        let leaf = Leaf {
            names: &names,
            public_key: &key,
            serial: &[1; 16],
            not_before: clock.now(),
            not_after: "2027-01-01T00:00:00Z".parse().unwrap(),
        };
        let chain = authority.issue(&leaf).unwrap();
        let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        assert!(!leaf.is_ca());
        assert_eq!(leaf.public_key().raw, key);
        // RFC 7633: the must-staple extension.
        let stapling = "1.3.6.1.5.5.7.1.24";
        assert!(
            leaf.iter_extensions()
                .all(|extension| extension.oid.to_id_string() != stapling)
        );
    }

    #[test]
    fn a_weak_rsa_key_is_refused() {
        let names = BTreeSet::from(["a.example.test".to_owned()]);
        let csr = der(include_str!("csr/testdata/rsa-1024.pem"));
        let problem = public_key(&csr, &names, &other_key()).unwrap_err();
        assert_eq!(problem.kind, Kind::BadCsr.urn());
        assert!(problem.detail.contains("2048"), "{}", problem.detail);
    }
}
