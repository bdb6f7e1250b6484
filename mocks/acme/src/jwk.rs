use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::problem::{Kind, Problem};

/// The signature algorithms that requests may use (RFC 8555, section 6.2).
pub(crate) const ALGORITHMS: [&str; 4] = ["ES256", "ES384", "RS256", "EdDSA"];

/// A public key of a client (RFC 7517, RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty")]
pub(crate) enum Jwk {
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "OKP")]
    Okp { crv: String, x: String },
}

fn decode(text: &str) -> Result<Vec<u8>, Problem> {
    BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| bad_key("a member of the jwk is not unpadded base64url"))
}

fn bad_key(detail: &str) -> Problem {
    Problem::new(Kind::BadPublicKey, detail)
}

impl Jwk {
    /// Refuses keys that are malformed, weak or of a kind this server does not take.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        match self {
            Self::Ec { .. } => self.point().map(drop),
            Self::Rsa { n, e } => {
                let (n, e) = (decode(n)?, decode(e)?);
                let bits = significant(&n).len() * 8;
                if !(2048..=4096).contains(&bits) {
                    return Err(bad_key("an rsa key must have 2048 to 4096 bits"));
                }
                if significant(&e).is_empty() || significant(&e).len() > 4 {
                    return Err(bad_key("the rsa exponent is out of range"));
                }
                Ok(())
            }
            Self::Okp { crv, x } => {
                if crv != "Ed25519" || decode(x)?.len() != 32 {
                    return Err(bad_key("an okp key must be a 32 byte ed25519 key"));
                }
                Ok(())
            }
        }
    }

    /// The uncompressed point of an EC key (SEC 1, section 2.3.3).
    fn point(&self) -> Result<Vec<u8>, Problem> {
        let Self::Ec { crv, x, y } = self else {
            return Err(bad_key("the key is not an ec key"));
        };
        let size = match crv.as_str() {
            "P-256" => 32,
            "P-384" => 48,
            _ => return Err(bad_key("an ec key must be on p-256 or p-384")),
        };
        let (x, y) = (decode(x)?, decode(y)?);
        if x.len() != size || y.len() != size {
            return Err(bad_key("a coordinate of the ec key has the wrong length"));
        }
        Ok([&[4], x.as_slice(), y.as_slice()].concat())
    }

    /// RFC 7638: base64url SHA-256 of the required members in lexical order.
    pub(crate) fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::Ec { crv, x, y } => {
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Self::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
        };
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
    }

    /// Checks `signature` over `input` under the JWS algorithm `alg` (RFC 7518, RFC 8037).
    pub(crate) fn verify(&self, alg: &str, input: &[u8], signature: &[u8]) -> Result<(), Problem> {
        self.check()?;
        let verified = match (alg, self) {
            ("ES256", Self::Ec { crv, .. }) if crv == "P-256" => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, self.point()?)
                    .verify(input, signature)
            }
            ("ES384", Self::Ec { crv, .. }) if crv == "P-384" => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, self.point()?)
                    .verify(input, signature)
            }
            ("RS256", Self::Rsa { n, e }) => {
                let (n, e) = (decode(n)?, decode(e)?);
                RsaPublicKeyComponents {
                    n: significant(&n),
                    e: significant(&e),
                }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, input, signature)
            }
            ("EdDSA", Self::Okp { x, .. }) => {
                UnparsedPublicKey::new(&signature::ED25519, decode(x)?).verify(input, signature)
            }
            _ => {
                return Err(Problem::new(
                    Kind::BadSignatureAlgorithm,
                    "the signature algorithm is not one this server takes for this kind of key",
                )
                .with_algorithms(&ALGORITHMS));
            }
        };
        verified.map_err(|_| Problem::malformed("the jws signature does not verify"))
    }

    /// Is this the key in `spki`?
    pub(crate) fn is_key_of(&self, spki: &SubjectPublicKeyInfo<'_>) -> bool {
        match (self, spki.parsed()) {
            (Self::Ec { .. }, Ok(PublicKey::EC(point))) => {
                self.point().is_ok_and(|own| own == point.data())
            }
            (Self::Rsa { n, e }, Ok(PublicKey::RSA(key))) => {
                let same = |own: &str, other: &[u8]| {
                    decode(own).is_ok_and(|own| significant(&own) == significant(other))
                };
                same(n, key.modulus) && same(e, key.exponent)
            }
            (Self::Okp { x, .. }, _) => {
                decode(x).is_ok_and(|own| own == spki.subject_public_key.data.as_ref())
            }
            _ => false,
        }
    }
}

/// A big-endian number without its leading zero bytes.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        // RFC 7638, section 3.1.
        let key = Jwk::Rsa {
            n: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw".to_owned(),
            e: "AQAB".to_owned(),
        };
        assert_eq!(
            key.thumbprint(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        assert_eq!(key.check(), Ok(()));
    }

    #[test]
    fn weak_and_foreign_keys_are_refused() {
        let short = Jwk::Rsa {
            n: BASE64_URL_SAFE_NO_PAD.encode([0xff; 128]),
            e: "AQAB".into(),
        };
        let curve = Jwk::Ec {
            crv: "P-521".into(),
            x: "AA".into(),
            y: "AA".into(),
        };
        let length = Jwk::Ec {
            crv: "P-256".into(),
            x: "AA".into(),
            y: "AA".into(),
        };
        for key in [short, curve, length] {
            assert_eq!(key.check().unwrap_err().kind, Kind::BadPublicKey.urn());
        }
    }

    #[test]
    fn rs256_signatures_are_verified() {
        // Made with `openssl genrsa 2048` and `openssl dgst -sha256 -sign`; the key is gone.
        let n = concat!(
            "n4p7QvEC6uubPTVUCGSCpjadTcYnYYvIwvd-OHDlh22iiCpCiNJZwoufqsF-VVG6K6k0sP5qEQZh",
            "X7dkcrERDGtuviiyutklAUNnsgJ8IZugB3BuGnuSxI_ck3ok7pyfVLiwo4f4mzodi59og3hc0mW9",
            "y2YadpuKuW710SRRjGA0vYrp8rTzTqV_MFDHvoSyp6krlp8c1qegEjJxabC7mExt069Q2vtpK0Dg",
            "1aGsphDiG8MloqdhL2IASGF-2mJET6w4oPPomdt1NCFJzkZ-pITSjWWS4TCH5tBljVNBUIXDSo3D",
            "kZCtVD2kjNs0qpU5Vxgu6jEy-85RNtA7GDgwIQ",
        );
        let signature = concat!(
            "fQea2Pm7EIArOSfjWc1TvxiCm6phravFDVpzDjCcanCjNFVYw4o4ivQadIcGuejOjQrbPETNBS4r",
            "ljTjvMS7zYEfttA2c5BXVzofpqctxEEyBB99i9JWhR3EDSzE-eL3EyDeI7rrbgmpN5rhQFoF_OJP",
            "cZXxvM4MkcpFNa_xlHd9oZIVaHiHEYZKGGm8FTOX5Q8t_ah5vKre6VgFice9dRoZcG3UjV5JCh1c",
            "Wc_ZHe4-E-y4lRkDJToyKlT2ee-SZ9egDPIyl7uISDBWNdxCLdwb6aMnRYR8t6a_BBvMCzWzMv9C",
            "4subtS0alzaeHasmdiurzWX6GylcfY664QhFBA",
        );
        let key = Jwk::Rsa {
            n: n.to_owned(),
            e: "AQAB".to_owned(),
        };
        let signature = decode(signature).unwrap();
        assert_eq!(key.verify("RS256", b"input", &signature), Ok(()));
        assert!(key.verify("RS256", b"other", &signature).is_err());
        let problem = key.verify("ES256", b"input", &signature).unwrap_err();
        assert_eq!(problem.kind, Kind::BadSignatureAlgorithm.urn());
    }
}
