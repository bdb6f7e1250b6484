//! What a request is about: path and query.

use http::Method;
use http::request::Parts;

use crate::schema::{FieldError, FieldReason};
use crate::status::{Answer, ApiError};

/// The query of a request, decoded, in the order it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(key, true), decode(value, true))
            });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value.as_str());
        found.filter(|value| !value.is_empty())
    }

    pub(crate) fn all(&self, key: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(k, _)| k == key)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| value == "true" || value == "1")
    }

    /// A count, of which one below nothing is none.
    pub(crate) fn number(&self, key: &str) -> Answer<Option<u64>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number: i64 = value.parse().map_err(|_| {
            // The words of Go's strconv, which the real server passes on.
            ApiError::bad_request(format!(
                "strconv.ParseInt: parsing {value:?}: invalid syntax"
            ))
        })?;
        Ok(u64::try_from(number).ok())
    }

    /// The revision that `resourceVersion` names.
    pub(crate) fn revision(&self) -> Answer<Option<u64>> {
        let parsed = |value: &str| {
            value.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "invalid resource version: resourceVersion: Invalid value: {value:?}: \
                     strconv.ParseUint: parsing {value:?}: invalid syntax"
                ))
            })
        };
        self.get("resourceVersion").map(parsed).transpose()
    }

    /// `dryRun=All` asks for everything but the effect. `options` is the kind of the request's
    /// options.
    pub(crate) fn dry_run(&self, options: &str) -> Answer<bool> {
        match self.all("dryRun").as_slice() {
            [""] => Ok(false),
            values => dry_run(values, options),
        }
    }
}

/// The values of `dryRun`, of a query or of a body.
pub(crate) fn dry_run(values: &[&str], options: &str) -> Answer<bool> {
    if values.iter().all(|value| *value == "All") {
        return Ok(!values.is_empty());
    }
    Err(options_error(
        options,
        "dryRun",
        FieldReason::NotSupported,
        format!("Unsupported value: {values:?}: supported values: \"All\""),
    ))
}

/// The options of a request are refused as an object of a kind of their own would be.
pub(crate) fn options_error(
    kind: &str,
    field: &str,
    reason: FieldReason,
    detail: String,
) -> ApiError {
    let field = field.to_owned();
    ApiError::invalid(
        kind,
        "meta.k8s.io",
        "",
        &[FieldError {
            field,
            reason,
            detail,
        }],
    )
}

/// Percent-decoding; in queries `+` is a space.
fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| {
            bytes
                .get(i)
                .and_then(|b| char::from(*b).to_digit(16))
                .and_then(|d| u8::try_from(d).ok())
        };
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                at += 2;
            }
            (b'+', _, _) if plus => out.push(b' '),
            (other, _, _) => out.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A path below a group and version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) plural: String,
    /// "" for the collection.
    pub(crate) name: String,
    /// "" for the object itself.
    pub(crate) subresource: String,
    /// The path is one of the old ones for watches: `/api/v1/watch/...`.
    pub(crate) watch: bool,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Resource(ResourcePath),
    /// Discovery, health, version, documents: the segments of the path.
    Other(Vec<String>),
}

impl Target {
    pub(crate) fn parse(path: &str) -> Self {
        let segments: Vec<String> = path
            .split('/')
            .filter(|s| !s.is_empty())
            .map(|s| decode(s, false))
            .collect();
        let borrowed: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match borrowed.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Self::Other(segments),
        };
        let mut path = ResourcePath {
            group: group.to_owned(),
            version: version.to_owned(),
            ..ResourcePath::default()
        };
        let rest = match rest {
            ["watch", rest @ ..] if !rest.is_empty() => {
                path.watch = true;
                rest
            }
            rest => rest,
        };
        // `namespaces/x/status` is about the namespace, `namespaces/x/pods` about what is in it.
        let rest = match rest {
            ["namespaces", _, "status" | "finalize"] if group.is_empty() => rest,
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
                (*namespace).clone_into(&mut path.namespace);
                rest
            }
            rest => rest,
        };
        let [plural, rest @ ..] = rest else {
            return Self::Other(segments);
        };
        (*plural).clone_into(&mut path.plural);
        match rest {
            [] => {}
            [name] => (*name).clone_into(&mut path.name),
            [name, subresource] => {
                (*name).clone_into(&mut path.name);
                (*subresource).clone_into(&mut path.subresource);
            }
            _ => return Self::Other(segments),
        }
        Self::Resource(path)
    }
}

impl ResourcePath {
    /// `plural[.group][/subresource]`.
    pub(crate) fn label(&self) -> String {
        let mut label = crate::status::qualified(&self.plural, &self.group);
        if !self.subresource.is_empty() {
            label.push('/');
            label.push_str(&self.subresource);
        }
        label
    }
}

/// Everything of a request but its body.
pub(crate) struct Request {
    pub(crate) parts: Parts,
    pub(crate) target: Target,
    pub(crate) query: Query,
}

impl Request {
    pub(crate) fn new(parts: Parts) -> Self {
        let target = Target::parse(parts.uri.path());
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        Self {
            parts,
            target,
            query,
        }
    }

    pub(crate) fn header(&self, name: http::header::HeaderName) -> &str {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The verb as Kubernetes calls it.
    pub(crate) fn verb(&self) -> &'static str {
        let named = matches!(&self.target, Target::Resource(path) if !path.name.is_empty());
        let resource = matches!(self.target, Target::Resource(_));
        match self.parts.method {
            Method::GET | Method::HEAD if !resource => "get",
            Method::GET if self.old_watch() => "watch",
            Method::GET | Method::HEAD if named => "get",
            Method::GET if self.query.flag("watch") => "watch",
            Method::GET | Method::HEAD => "list",
            Method::POST if resource => "create",
            Method::POST => "post",
            Method::PUT => "update",
            Method::PATCH
                if self
                    .header(http::header::CONTENT_TYPE)
                    .starts_with("application/apply-patch") =>
            {
                "apply"
            }
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ => "unknown",
        }
    }

    fn old_watch(&self) -> bool {
        matches!(&self.target, Target::Resource(path) if path.watch)
    }

    /// The kind of the options that a write takes.
    pub(crate) fn options_kind(&self) -> &'static str {
        match self.parts.method {
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            Method::DELETE => "DeleteOptions",
            _ => "CreateOptions",
        }
    }

    /// Who the managed fields of this request belong to: the parameter, or the program's name.
    pub(crate) fn manager(&self) -> String {
        if let Some(manager) = self.query.get("fieldManager") {
            return manager.to_owned();
        }
        let agent = self.header(http::header::USER_AGENT);
        let name = agent.split('/').next().unwrap_or_default();
        if name.is_empty() {
            "unknown".to_owned()
        } else {
            name.chars().take(128).collect()
        }
    }
}
