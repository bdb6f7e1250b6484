//! Version 3: ACS3-HMAC-SHA256 over method, path, query, chosen headers and body.
//!
//! <https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature>

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::{canonical_query, hex};

/// Name of the algorithm, as it stands in the string to sign and in the header.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// Hash of a body as it stands in `x-acs-content-sha256`: lower-case hex.
pub fn hash_payload(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// The canonical request.
///
/// `path` is as on the wire; `query` and `headers` are decoded, in any order and case; of the
/// headers those named in `signed_headers` are used, a missing one counts as empty.
pub fn canonical_request(
    method: &str,
    path: &str,
    query: &[(String, String)],
    headers: &[(String, String)],
    signed_headers: &[String],
    hashed_payload: &str,
) -> String {
    let mut names: Vec<String> = signed_headers
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .collect();
    names.sort();
    names.dedup();
    let mut lines = String::new();
    for name in &names {
        let value = headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.trim());
        lines.extend([name.as_str(), ":", value, "\n"]);
    }
    let query = canonical_query(query.iter().map(|(name, value)| (name, value)));
    format!(
        "{method}\n{path}\n{query}\n{lines}\n{}\n{hashed_payload}",
        names.join(";")
    )
}

/// The text that is signed.
pub fn string_to_sign(canonical_request: &str) -> String {
    format!(
        "{ALGORITHM}\n{}",
        hex(&Sha256::digest(canonical_request.as_bytes()))
    )
}

/// The signature of a string to sign: lower-case hex.
pub fn signature(secret: &str, string_to_sign: &str) -> String {
    // HMAC takes keys of any length, so the error cannot happen; an empty signature fails closed.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(string_to_sign.as_bytes());
    hex(&mac.finalize().into_bytes())
}

/// The parts of an `Authorization` header of this scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The access key id.
    pub credential: String,
    pub signed_headers: Vec<String>,
    pub signature: String,
}

impl Authorization {
    /// Nothing when the header is of another scheme or a part is missing.
    pub fn parse(header: &str) -> Option<Self> {
        let parts = header.strip_prefix(ALGORITHM)?.trim_start();
        let part = |name: &str| {
            parts
                .split(',')
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self {
            credential: part("Credential")?.to_owned(),
            signed_headers: part("SignedHeaders")?
                .split(';')
                .map(str::to_owned)
                .collect(),
            signature: part("Signature")?.to_owned(),
        })
    }

    /// The header's value.
    pub fn header(&self) -> String {
        format!(
            "{ALGORITHM} Credential={},SignedHeaders={},Signature={}",
            self.credential,
            self.signed_headers.join(";"),
            self.signature
        )
    }
}
