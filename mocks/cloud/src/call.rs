//! A request as the API gateway reads it.

use std::collections::BTreeMap;

use bytes::Bytes;
use gatewright_aliyun::sign::{self, acs3::Authorization};
use http::{Method, Request, header};

use crate::answer::{ApiError, Format};
use crate::params::Params;

/// Parameters of the RPC style itself, which no action has.
const PUBLIC: &[&str] = &[
    "AccessKeyId",
    "Action",
    "Format",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureNonce",
    "SignatureType",
    "SignatureVersion",
    "Timestamp",
    "Version",
];

/// How a call says who makes it.
#[derive(Debug)]
pub(crate) enum Proof {
    /// RPC v1: the parameters, with the signature among them.
    Rpc {
        method: String,
        parameters: Vec<(String, String)>,
    },
    /// V3: ACS3-HMAC-SHA256.
    Acs3 {
        authorization: Authorization,
        canonical_request: String,
        claimed_hash: Option<String>,
        hash: String,
    },
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) action: String,
    pub(crate) version: String,
    pub(crate) key_id: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) host: String,
    pub(crate) format: Format,
    pub(crate) params: Params,
    pub(crate) proof: Proof,
}

/// The host and format to answer in when the call itself cannot be read.
pub(crate) fn manners(request: &Request<Bytes>) -> (String, Format) {
    let host =
        header_text(request, "host").or_else(|| request.uri().authority().map(ToString::to_string));
    let json = request.headers().contains_key("x-acs-action")
        || request
            .uri()
            .query()
            .is_some_and(|q| q.to_ascii_lowercase().contains("format=json"));
    (
        host.unwrap_or_default(),
        if json { Format::Json } else { Format::Xml },
    )
}

fn header_text(request: &Request<Bytes>, name: &str) -> Option<String> {
    Some(
        request
            .headers()
            .get(name)?
            .to_str()
            .ok()?
            .trim()
            .to_owned(),
    )
}

impl Call {
    /// Reads a request of either style. Nothing is believed yet.
    pub(crate) fn read(request: &Request<Bytes>) -> Result<Self, ApiError> {
        if request.method() != Method::GET && request.method() != Method::POST {
            return Err(ApiError::new(
                405,
                "UnsupportedHTTPMethod",
                "Only GET and POST are served.",
            ));
        }
        let malformed =
            |part: &str| ApiError::invalid(part, "its percent encoding or its text is broken");
        let query = sign::decode_query(request.uri().query().unwrap_or_default())
            .ok_or_else(|| malformed("query"))?;
        let form = if is_form(request) {
            let body = std::str::from_utf8(request.body()).map_err(|_| malformed("body"))?;
            sign::decode_query(body).ok_or_else(|| malformed("body"))?
        } else {
            Vec::new()
        };
        let (host, _) = manners(request);
        match header_text(request, "authorization") {
            Some(header) => Self::read_acs3(request, query, form, &header, host),
            None => Self::read_rpc(request, query, form, host),
        }
    }

    fn read_acs3(
        request: &Request<Bytes>,
        query: Vec<(String, String)>,
        form: Vec<(String, String)>,
        header: &str,
        host: String,
    ) -> Result<Self, ApiError> {
        let authorization = Authorization::parse(header).ok_or_else(|| {
            ApiError::bad(
                "IncompleteSignature",
                "The Authorization header is not ACS3-HMAC-SHA256.",
            )
        })?;
        let mut headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .filter_map(|(name, value)| {
                Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
            })
            .collect();
        if !request.headers().contains_key(header::HOST) {
            headers.push(("host".to_owned(), host.clone()));
        }
        let hash = sign::acs3::hash_payload(request.body());
        let canonical_request = sign::acs3::canonical_request(
            request.method().as_str(),
            request.uri().path(),
            &query,
            &headers,
            &authorization.signed_headers,
            &hash,
        );
        let values: BTreeMap<_, _> = query.into_iter().chain(form).collect();
        Ok(Self {
            action: header_text(request, "x-acs-action").unwrap_or_default(),
            version: header_text(request, "x-acs-version").unwrap_or_default(),
            key_id: Some(authorization.credential.clone()),
            nonce: header_text(request, "x-acs-signature-nonce"),
            date: header_text(request, "x-acs-date"),
            host,
            format: Format::Json,
            params: Params::new(values),
            proof: Proof::Acs3 {
                claimed_hash: header_text(request, "x-acs-content-sha256"),
                authorization,
                canonical_request,
                hash,
            },
        })
    }

    fn read_rpc(
        request: &Request<Bytes>,
        query: Vec<(String, String)>,
        form: Vec<(String, String)>,
        host: String,
    ) -> Result<Self, ApiError> {
        let parameters: Vec<(String, String)> = query.into_iter().chain(form).collect();
        let mut values: BTreeMap<String, String> = parameters.iter().cloned().collect();
        let mut public: BTreeMap<&str, String> = PUBLIC
            .iter()
            .filter_map(|name| values.remove(*name).map(|value| (*name, value)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let format = match public.get("Format") {
            Some(format) if format.eq_ignore_ascii_case("json") => Format::Json,
            None => Format::Xml,
            Some(format) if format.eq_ignore_ascii_case("xml") => Format::Xml,
            Some(_) => return Err(ApiError::invalid("Format", "it must be JSON or XML")),
        };
        Ok(Self {
            action: public.remove("Action").unwrap_or_default(),
            version: public.remove("Version").unwrap_or_default(),
            key_id: public.remove("AccessKeyId"),
            nonce: public.remove("SignatureNonce"),
            date: public.remove("Timestamp"),
            host,
            format,
            params: Params::new(values),
            proof: Proof::Rpc {
                method: request.method().as_str().to_owned(),
                parameters,
            },
        })
    }
}

fn is_form(request: &Request<Bytes>) -> bool {
    match header_text(request, "content-type") {
        None => !request.body().is_empty(),
        Some(kind) => kind
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded"),
    }
}
