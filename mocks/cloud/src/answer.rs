use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// The format a caller asked errors in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Xml,
}

/// A refusal in the words of the API.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
}

impl ApiError {
    pub(crate) fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            retry_after: None,
        }
    }

    /// A 400 with `code`.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// The gateway's answer to a missing parameter that every call of the action needs.
    pub(crate) fn mandatory(name: &str) -> Self {
        Self::new(
            400,
            format!("Missing{name}"),
            format!("{name} is mandatory for this action."),
        )
    }

    /// The product's answer to a parameter that this call needs because of another one.
    pub(crate) fn missing(name: &str) -> Self {
        Self::bad(
            "MissingParameter",
            format!(
                "The input parameter \"{name}\" that is mandatory for processing this request is \
                 not supplied."
            ),
        )
    }

    pub(crate) fn invalid(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad(
            "InvalidParameter",
            format!("The parameter {name} is not valid: {why}."),
        )
    }

    /// The product's known call that the mock does not have.
    pub(crate) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::bad(
            "UnsupportedOperation",
            format!("The mock cloud does not support {what}."),
        )
    }
}

/// The HTTP answer of a call that succeeded. `body` is an object; the request id is added to it.
pub(crate) fn success(mut body: Value, request_id: &str) -> Response<Bytes> {
    if let Value::Object(fields) = &mut body {
        fields.insert("RequestId".to_owned(), request_id.into());
    }
    respond(
        StatusCode::OK,
        "application/json;charset=utf-8",
        body.to_string(),
        request_id,
    )
}

/// The HTTP answer of a call that was refused.
pub(crate) fn failure(
    error: &ApiError,
    request_id: &str,
    host: &str,
    format: Format,
) -> Response<Bytes> {
    let recommend = format!(
        "https://api.aliyun.com/troubleshoot?q={}&product=Slb&requestId={request_id}",
        error.code
    );
    let (kind, body) = match format {
        Format::Json => {
            let body = json!({
                "RequestId": request_id,
                "HostId": host,
                "Code": error.code,
                "Message": error.message,
                "Recommend": recommend,
            });
            ("application/json;charset=utf-8", body.to_string())
        }
        Format::Xml => {
            let fields = [
                ("RequestId", request_id),
                ("HostId", host),
                ("Code", &error.code),
                ("Message", &error.message),
                ("Recommend", &recommend),
            ];
            let mut body = "<?xml version='1.0' encoding='UTF-8'?><Error>".to_owned();
            for (name, value) in fields {
                body.extend(["<", name, ">", &xml_text(value), "</", name, ">"]);
            }
            body.push_str("</Error>");
            ("text/xml;charset=utf-8", body)
        }
    };
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = respond(status, kind, body, request_id);
    if let Some(after) = error.retry_after {
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        answer
            .headers_mut()
            .insert("x-acs-retry-after", HeaderValue::from(millis));
    }
    answer
}

fn respond(
    status: StatusCode,
    kind: &'static str,
    body: String,
    request_id: &str,
) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        answer.headers_mut().insert("x-acs-request-id", id);
    }
    answer
}

fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
