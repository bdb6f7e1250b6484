//! RPC version 1: HMAC-SHA1 over all parameters of query and form.
//!
//! <https://www.alibabacloud.com/help/en/sdk/product-overview/rpc-mechanism>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::{canonical_query, encode};

/// The text that is signed, from the method and the decoded parameters of query and form together.
/// A parameter `Signature` is left out, one with an empty value is kept.
pub fn string_to_sign<N, V>(method: &str, params: impl IntoIterator<Item = (N, V)>) -> String
where
    N: AsRef<str>,
    V: AsRef<str>,
{
    let signed = params
        .into_iter()
        .filter(|(name, _)| name.as_ref() != "Signature");
    format!("{method}&%2F&{}", encode(&canonical_query(signed)))
}

/// The signature of a string to sign: base64, not yet percent-encoded.
pub fn signature(secret: &str, string_to_sign: &str) -> String {
    // HMAC takes keys of any length, so the error cannot happen; an empty signature fails closed.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(format!("{secret}&").as_bytes()) else {
        return String::new();
    };
    mac.update(string_to_sign.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
