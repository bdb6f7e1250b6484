use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::jwk::{ALGORITHMS, Jwk};
use crate::problem::{Kind, Problem};

/// A flattened JWS (RFC 7515, section 7.2.2) as RFC 8555, section 6.2 narrows it.
#[derive(Deserialize)]
struct Flattened {
    protected: String,
    payload: String,
    signature: String,
    header: Option<Value>,
    signatures: Option<Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    nonce: Option<String>,
    url: Option<String>,
    jwk: Option<Jwk>,
    kid: Option<String>,
    crit: Option<Value>,
}

/// Who says to have signed.
#[derive(Debug)]
pub(crate) enum Signer {
    Key(Jwk),
    Account(String),
}

/// A JWS that is well formed. Its signature is not checked yet.
#[derive(Debug)]
pub(crate) struct Jws {
    pub(crate) signer: Signer,
    pub(crate) nonce: Option<String>,
    pub(crate) url: String,
    pub(crate) payload: Vec<u8>,
    alg: String,
    input: String,
    signature: Vec<u8>,
}

impl Jws {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let jws: Flattened = serde_json::from_slice(body)
            .map_err(|_| Problem::malformed("the body is not a flattened json jws"))?;
        if jws.header.is_some() || jws.signatures.is_some() {
            return Err(Problem::malformed(
                "the jws has an unprotected header or several signatures",
            ));
        }
        let decode = |text: &str, part: &str| {
            BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| {
                Problem::malformed(format!("the jws {part} is not unpadded base64url"))
            })
        };
        let header: Header = serde_json::from_slice(&decode(&jws.protected, "header")?)
            .map_err(|_| Problem::malformed("the protected header of the jws cannot be read"))?;
        if !ALGORITHMS.contains(&header.alg.as_str()) {
            return Err(Problem::new(
                Kind::BadSignatureAlgorithm,
                "the signature algorithm is not supported",
            )
            .with_algorithms(&ALGORITHMS));
        }
        if header.crit.is_some() {
            return Err(Problem::malformed("the jws has critical header fields"));
        }
        let signer = match (header.jwk, header.kid) {
            (Some(key), None) => {
                key.check()?;
                Signer::Key(key)
            }
            (None, Some(kid)) => Signer::Account(kid),
            _ => {
                return Err(Problem::malformed(
                    "the jws needs either a jwk or a kid, and not both",
                ));
            }
        };
        Ok(Self {
            signer,
            nonce: header.nonce,
            url: header
                .url
                .ok_or_else(|| Problem::malformed("the jws has no url"))?,
            payload: decode(&jws.payload, "payload")?,
            signature: decode(&jws.signature, "signature")?,
            alg: header.alg,
            input: format!("{}.{}", jws.protected, jws.payload),
        })
    }

    pub(crate) fn verify(&self, key: &Jwk) -> Result<(), Problem> {
        key.verify(&self.alg, self.input.as_bytes(), &self.signature)
    }

    /// The payload as JSON of the wanted form.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.payload)
            .map_err(|error| Problem::malformed(format!("the payload cannot be read: {error}")))
    }

    /// POST-as-GET has an empty payload (RFC 8555, section 6.3).
    pub(crate) fn expect_empty(&self) -> Result<(), Problem> {
        if self.payload.is_empty() {
            Ok(())
        } else {
            Err(Problem::malformed(
                "a POST-as-GET request must have an empty payload",
            ))
        }
    }
}
