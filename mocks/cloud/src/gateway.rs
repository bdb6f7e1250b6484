//! The front of the API: who calls, when, and whether this call was seen before. Rules and codes:
//! <https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature>.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use gatewright_aliyun::sign;
use jiff::{SignedDuration, Timestamp};

use crate::answer::ApiError;
use crate::call::{Call, Proof};
use crate::options::AccessKey;

/// How far the time of a call may be from the cloud's.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// What a V3 call must have signed.
const MUST_SIGN: &[&str] = &[
    "host",
    "x-acs-action",
    "x-acs-version",
    "x-acs-date",
    "x-acs-signature-nonce",
];

#[derive(Debug)]
pub(crate) struct Gateway {
    keys: BTreeMap<String, String>,
    /// Nonces by key id and when they came. One older than the window cannot be replayed.
    nonces: Mutex<BTreeMap<(String, String), Timestamp>>,
}

impl Gateway {
    pub(crate) fn new(keys: Vec<AccessKey>) -> Self {
        let keys = keys.into_iter().map(|key| (key.id, key.secret)).collect();
        Self {
            keys,
            nonces: Mutex::default(),
        }
    }

    /// Whether `call` may go on.
    pub(crate) fn admit(&self, call: &Call, now: Timestamp) -> Result<(), ApiError> {
        if call.action.is_empty() {
            return Err(ApiError::mandatory("Action"));
        }
        if call.version.is_empty() {
            return Err(ApiError::mandatory("Version"));
        }
        let key_id = call
            .key_id
            .as_deref()
            .ok_or_else(|| ApiError::mandatory("AccessKeyId"))?;
        let secret = self.keys.get(key_id).ok_or_else(|| {
            ApiError::new(
                404,
                "InvalidAccessKeyId.NotFound",
                "Specified access key is not found.",
            )
        })?;
        let nonce = call
            .nonce
            .as_deref()
            .ok_or_else(|| ApiError::mandatory("SignatureNonce"))?;
        let time = check_date(call, now)?;
        check_signature(&call.proof, secret)?;
        self.take_nonce(key_id, nonce, time.max(now))
    }

    fn take_nonce(&self, key_id: &str, nonce: &str, time: Timestamp) -> Result<(), ApiError> {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        // The twofold window also covers calls that came with a time ahead of ours. Looking once in
        // a while keeps the cost of a call constant.
        if nonces.len() % 4096 == 4095 {
            nonces.retain(|_, seen| time.duration_since(*seen) <= WINDOW + WINDOW);
        }
        if nonces
            .insert((key_id.to_owned(), nonce.to_owned()), time)
            .is_some()
        {
            return Err(ApiError::bad(
                "SignatureNonceUsed",
                "The signature nonce was used before.",
            ));
        }
        Ok(())
    }
}

fn check_date(call: &Call, now: Timestamp) -> Result<Timestamp, ApiError> {
    let text = call
        .date
        .as_deref()
        .ok_or_else(|| ApiError::mandatory("Timestamp"))?;
    let time: Timestamp = text.parse().map_err(|_| {
        ApiError::bad(
            "InvalidTimeStamp.Format",
            "The time is not in the form 2026-01-31T08:00:00Z.",
        )
    })?;
    if now.duration_since(time).abs() > WINDOW {
        return Err(ApiError::bad(
            "InvalidTimeStamp.Expired",
            "The time is more than 15 minutes from the cloud's.",
        ));
    }
    Ok(time)
}

fn check_signature(proof: &Proof, secret: &str) -> Result<(), ApiError> {
    let (string, expected, sent) = match proof {
        Proof::Rpc { method, parameters } => {
            let value = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value.as_str())
            };
            if value("SignatureMethod").is_some_and(|method| method != "HMAC-SHA1") {
                let message = "Only HMAC-SHA1 is served for this style.";
                return Err(ApiError::bad("InvalidSignatureMethod", message));
            }
            let sent = value("Signature").ok_or_else(|| {
                ApiError::bad("IncompleteSignature", "The request has no Signature.")
            })?;
            let pairs = parameters.iter().map(|(name, value)| (name, value));
            let string = sign::rpc::string_to_sign(method, pairs);
            let expected = sign::rpc::signature(secret, &string);
            (string, expected, sent)
        }
        Proof::Acs3 {
            authorization,
            canonical_request,
            claimed_hash,
            hash,
        } => {
            let signed = &authorization.signed_headers;
            if let Some(name) = MUST_SIGN
                .iter()
                .find(|name| !signed.iter().any(|s| s.eq_ignore_ascii_case(name)))
            {
                let message = format!("SignedHeaders must hold {name}.");
                return Err(ApiError::new(400, "IncompleteSignature", message));
            }
            if claimed_hash.as_ref().is_some_and(|claimed| claimed != hash) {
                let message = "x-acs-content-sha256 is not the hash of the body.";
                return Err(ApiError::bad("InvalidParameter.ContentSha256", message));
            }
            let string = sign::acs3::string_to_sign(canonical_request);
            let expected = sign::acs3::signature(secret, &string);
            (string, expected, authorization.signature.as_str())
        }
    };
    if sign::signatures_match(&expected, sent) {
        return Ok(());
    }
    // Official SDKs compare the text after the colon with their own and say where they differ.
    let what = "Specified signature is not matched with our calculation. server string to sign is:";
    Err(ApiError::bad(
        "SignatureDoesNotMatch",
        format!("{what}{string}"),
    ))
}
