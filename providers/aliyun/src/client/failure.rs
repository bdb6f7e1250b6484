//! From an error answer to an error with a class.

use std::time::Duration;

use bytes::Bytes;
use gatewright_core::{Error, ErrorClass};
use http::{Response, StatusCode};
use serde::Deserialize;

use super::call::{Call, Effect};
use super::credentials::Credentials;

/// Longest text of the cloud that is passed on.
const MESSAGE_LIMIT: usize = 300;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    code: String,
    #[serde(default)]
    message: String,
    request_id: Option<String>,
}

/// The error that an answer with a failure status stands for.
pub(super) fn read(call: &Call, response: &Response<Bytes>, secrets: &Credentials) -> Error {
    let status = response.status();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let retry_after = header("x-acs-retry-after")
        .and_then(|text| text.trim().parse::<u64>().ok())
        .filter(|milliseconds| *milliseconds > 0)
        .map(Duration::from_millis);
    let Ok(envelope) = serde_json::from_slice::<Envelope>(response.body()) else {
        // Something in between answered, and the cloud may have acted all the same.
        let class = if retry_after.is_some() || status == StatusCode::TOO_MANY_REQUESTS {
            ErrorClass::Throttled { retry_after }
        } else if status.is_server_error() {
            call.effect.without_answer()
        } else {
            ErrorClass::Invalid
        };
        let message = format!("HTTP status {} without a readable reason", status.as_u16());
        return call
            .error(class, &message)
            .with_request_id(header("x-acs-request-id").map(str::to_owned));
    };
    let code = masked(&envelope.code, secrets);
    let class = classify(&envelope.code, status, retry_after, call.effect);
    call.error(class, &words(&envelope, secrets))
        .with_code(code)
        .with_request_id(envelope.request_id.map(|id| masked(&id, secrets)))
}

/// The class of a code, by the tables of the gateway and of the products:
/// <https://api.aliyun.com/document/Slb/2014-05-15/errorCode>.
fn classify(
    code: &str,
    status: StatusCode,
    retry_after: Option<Duration>,
    effect: Effect,
) -> ErrorClass {
    if code.contains("Throttling")
        || code == "FlowControlError"
        || retry_after.is_some()
        || status == StatusCode::TOO_MANY_REQUESTS
    {
        return ErrorClass::Throttled { retry_after };
    }
    match code {
        // The very same request has arrived before, so its first copy may have had its effect.
        "SignatureNonceUsed" => effect.without_answer(),
        "BackendServer.configuring"
        | "VServerGroupProcessing"
        | "ListenerProcessing"
        | "DomainExtensionProcessing"
        | "TLSPolicyConfiguring"
        | "ServiceIsConfiguring"
        | "ServiceIsStopping"
        | "OperationBusy"
        | "OperationFailed.ServiceGroupProcessing"
        | "OperationFailed.ListenerStatusNotSupport"
        | "OperationFailed.TokenIsProcessing"
        | "IdempotenceProcessing"
        | "LastTokenProcessing"
        | "VipStatusNotSupport"
        | "LbStatusNotSupport"
        | "Conflict.Lock"
        | "ListenerAlreadyExists"
        | "ListenerPortConflict"
        | "InvalidParameter.ListenerPortConflict"
        | "RspoolVipExist"
        | "RspoolRuleExist"
        // What was expected to exist does not: look again.
        | "InvalidLoadBalancerId.NotFound"
        | "ListenerNotFound"
        | "ResourceNotFound.Listener"
        | "ResourceNotFound.VServerGroup" => ErrorClass::Conflict,
        "SystemBusy" | "LocationServiceTimeout" | "VpcSystemBusy" | "ServiceUnavailable"
        | "InternalError" | "UnknownError" | "InternalInvokeError" => ErrorClass::Transient,
        "OverQuota" | "ListenerNumberOverLimit" | "TooManyBackendServers" | "TooManyRules"
        | "AclNumberOverLimit" | "AclEntryExceedLimit" | "DomainExtensionNumberOverLimit"
        | "SizeLimitExceeded.Tag" => ErrorClass::Quota,
        "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "OperationDenied.DeleteProtectionIsOn"
        | "Operation.NotAllowed"
        | "ActionNotAllowed"
        | "NoPermission" => ErrorClass::Refused,
        _ if code.starts_with("IncorrectStatus") || code.starts_with("ResourceInConfiguring") => {
            ErrorClass::Conflict
        }
        _ if code.starts_with("QuotaLimitExceeds") => ErrorClass::Quota,
        _ if code.starts_with("Forbidden")
            || code.starts_with("InvalidAccessKeyId")
            || code.starts_with("InvalidSecurityToken")
            || code.starts_with("InvalidTimeStamp") =>
        {
            ErrorClass::Refused
        }
        _ if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN => {
            ErrorClass::Refused
        }
        _ if status.is_server_error() => ErrorClass::Transient,
        _ => ErrorClass::Invalid,
    }
}

/// What to tell people. Texts about credentials are our own: the cloud's quote the request.
fn words(envelope: &Envelope, secrets: &Credentials) -> String {
    match envelope.code.as_str() {
        "SignatureDoesNotMatch" | "IncompleteSignature" => {
            "the signature was refused: the access key secret is wrong".to_owned()
        }
        code if code.starts_with("InvalidAccessKeyId") || code == "Forbidden.AccessKeyDisabled" => {
            "the access key is unknown or disabled".to_owned()
        }
        code if code.starts_with("InvalidSecurityToken") => {
            "the security token is invalid or has expired".to_owned()
        }
        code if code.starts_with("InvalidTimeStamp") => {
            "the time of the request was refused: this machine's clock is off".to_owned()
        }
        _ if envelope.message.is_empty() => "the cloud gave no reason".to_owned(),
        _ => printable(&envelope.message, secrets),
    }
}

fn masked(text: &str, secrets: &Credentials) -> String {
    secrets.texts().fold(text.to_owned(), |text, secret| {
        text.replace(secret, "[secret]")
    })
}

/// The cloud's text on one line, cut to a length, without secrets, signatures and URLs.
fn printable(text: &str, secrets: &Credentials) -> String {
    let text = masked(text, secrets).replace(['\n', '\r'], " ");
    // What follows these words is the whole request.
    let text = text.split("string to sign").next().unwrap_or_default();
    let words: Vec<&str> = text
        .split(' ')
        .map(|word| {
            let telling = [
                "://",
                "Signature=",
                "AccessKeyId",
                "SecurityToken",
                "%26",
                "&",
            ];
            if telling.iter().any(|part| word.contains(part)) {
                "[left out]"
            } else {
                word
            }
        })
        .collect();
    let text = words.join(" ");
    match text.char_indices().nth(MESSAGE_LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
