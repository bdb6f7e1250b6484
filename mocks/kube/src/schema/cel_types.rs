//! Values in CEL: JSON as rules see it, and the types that Kubernetes adds.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cel::objects::{Key, Map, Opaque};
use cel::{ExecutionError, FunctionContext, Program, Value};
use serde_json::Value as Json;

use super::cel_library::{ENV, ROOT};
use super::node::{Additional, Node, NodeId, Type};
use super::{Quantity, Schema};

/// The receiver and the arguments of a call.
pub(super) fn arguments(call: &FunctionContext) -> Result<Vec<Value>, ExecutionError> {
    call.this
        .iter()
        .chain(&call.args)
        .map(|value| Value::try_from(&**value))
        .collect()
}

/// An extension type as a value.
pub(super) fn wrap<T: Opaque>(value: T) -> Value {
    Value::Opaque(Arc::new(value))
}

impl Opaque for Quantity {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.Quantity"
    }
}

/// An address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ip(pub(super) IpAddr);

impl Opaque for Ip {
    fn runtime_type_name(&self) -> &'static str {
        "net.IP"
    }
}

impl Ip {
    /// Addresses with zones and IPv4 addresses in IPv6 form are refused.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
                Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
            }
            Ok(ip) => Ok(Self(ip)),
            Err(_) => Err(format!(
                "IP Address {text:?} parse error during conversion from string"
            )),
        }
    }

    pub(super) fn ask(&self, name: &str) -> Value {
        let (link_local, local_multicast) = match self.0 {
            IpAddr::V4(a) => (a.is_link_local(), a.octets()[..3] == [224, 0, 0]),
            IpAddr::V6(a) => (
                a.segments()[0] & 0xffc0 == 0xfe80,
                a.segments()[0] & 0xff0f == 0xff02,
            ),
        };
        let broadcast = matches!(self.0, IpAddr::V4(a) if a.is_broadcast());
        match name {
            "family" => Value::Int(if self.0.is_ipv4() { 4 } else { 6 }),
            "isUnspecified" => Value::Bool(self.0.is_unspecified()),
            "isLoopback" => Value::Bool(self.0.is_loopback()),
            "isLinkLocalMulticast" => Value::Bool(local_multicast),
            "isLinkLocalUnicast" => Value::Bool(link_local),
            _ => Value::Bool(
                !broadcast
                    && !self.0.is_unspecified()
                    && !self.0.is_loopback()
                    && !self.0.is_multicast()
                    && !link_local,
            ),
        }
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cidr {
    pub(super) address: IpAddr,
    pub(super) bits: u8,
}

impl Opaque for Cidr {
    fn runtime_type_name(&self) -> &'static str {
        "net.CIDR"
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let problem =
            || format!("network address parse error during conversion from string: {text:?}");
        if !super::formats::cidr(text) {
            return Err(problem());
        }
        let (address, bits) = text.split_once('/').ok_or_else(problem)?;
        Ok(Self {
            address: address.parse().map_err(|_| problem())?,
            bits: bits.parse().map_err(|_| problem())?,
        })
    }

    pub(super) fn masked(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4((u32::from(a) & mask).into())
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.bits))
                    .unwrap_or(0);
                IpAddr::V6((u128::from(a) & mask).into())
            }
        };
        Self {
            address,
            bits: self.bits,
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Self {
                address,
                bits: self.bits,
            }
            .masked()
            .address
                == self.masked().address
    }
}

/// A URL with a scheme and a host, or an absolute path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    scheme: String,
    host: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Opaque for Url {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.URL"
    }
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let problem = || format!("URL parse error during conversion from string: {text:?}");
        if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(problem());
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => (scheme, rest),
            _ if text.starts_with('/') => ("", text),
            _ => return Err(problem()),
        };
        let letters = scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !letters
            || (!scheme.is_empty() && !scheme.starts_with(|c: char| c.is_ascii_alphabetic()))
        {
            return Err(problem());
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = if scheme.is_empty() {
            ("", rest)
        } else {
            rest.find('/').map_or((rest, ""), |i| rest.split_at(i))
        };
        let host = authority.rsplit('@').next().unwrap_or_default();
        if !scheme.is_empty() && host.is_empty() && path.is_empty() {
            return Err(problem());
        }
        let pairs = query.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        });
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_owned(),
            path: path.to_owned(),
            query: pairs.collect(),
        })
    }

    pub(super) fn part(&self, name: &str) -> Value {
        let bracket = self.host.rfind(']').map_or(0, |i| i + 1);
        let (hostname, port) = match self.host[bracket..].rfind(':') {
            Some(colon) => {
                let at = bracket + colon;
                (&self.host[..at], &self.host[at + 1..])
            }
            None => (self.host.as_str(), ""),
        };
        match name {
            "getScheme" => Value::from(self.scheme.as_str()),
            "getHost" => Value::from(self.host.as_str()),
            "getHostname" => Value::from(hostname.trim_matches(|c| c == '[' || c == ']')),
            "getPort" => Value::from(port),
            "getEscapedPath" => Value::from(self.path.as_str()),
            _ => {
                let mut map: HashMap<Key, Vec<Value>> = HashMap::new();
                for (key, value) in &self.query {
                    map.entry(Key::from(key.clone()))
                        .or_default()
                        .push(Value::from(value.as_str()));
                }
                let map = map
                    .into_iter()
                    .map(|(k, v)| (k, Value::List(Arc::new(v))))
                    .collect();
                Value::Map(Map { map: Arc::new(map) })
            }
        }
    }
}

/// A semantic version (semver.org 2.0.0).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Semver {
    pub(super) numbers: [i64; 3],
    pre: Vec<String>,
}

impl Opaque for Semver {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.Semver"
    }
}

impl Semver {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.split('+').next()?;
        let (core, pre) = text
            .split_once('-')
            .map_or((text, None), |(c, p)| (c, Some(p)));
        let mut numbers = [0; 3];
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() != 3 {
            return None;
        }
        for (number, part) in numbers.iter_mut().zip(parts) {
            let plain = part == "0" || !part.starts_with('0');
            if !plain || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            *number = part.parse().ok()?;
        }
        let pre: Vec<String> = pre
            .map(|p| p.split('.').map(str::to_owned).collect())
            .unwrap_or_default();
        if pre
            .iter()
            .any(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        {
            return None;
        }
        Some(Self { numbers, pre })
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            if self.pre.is_empty() || other.pre.is_empty() {
                // A release comes after its pre-releases.
                return self.pre.is_empty().cmp(&other.pre.is_empty());
            }
            for (a, b) in self.pre.iter().zip(&other.pre) {
                let ordering = match (a.parse::<u64>(), b.parse::<u64>()) {
                    (Ok(a), Ok(b)) => a.cmp(&b),
                    (Ok(_), Err(_)) => Ordering::Less,
                    (Err(_), Ok(_)) => Ordering::Greater,
                    _ => a.cmp(b),
                };
                if ordering != Ordering::Equal {
                    return ordering;
                }
            }
            self.pre.len().cmp(&other.pre.len())
        })
    }
}

static TIMESTAMP: LazyLock<Option<Program>> = LazyLock::new(|| ENV.compile("timestamp(text)").ok());
static DURATION: LazyLock<Option<Program>> = LazyLock::new(|| ENV.compile("duration(text)").ok());

fn convert(program: &LazyLock<Option<Program>>, text: &str) -> Option<Value> {
    let mut context = ROOT.new_inner_scope();
    context.add_variable_from_value("text", text);
    program.as_ref()?.execute(&context).ok()
}

/// A JSON value as rules at `id` see it: only declared fields, dates as timestamps, numbers by their declared type.
pub(super) fn typed(schema: &Schema, id: NodeId, value: &Json) -> Value {
    let node = schema.at(id);
    match (value, node.ty) {
        (Json::Object(map), _) => {
            let mut out: HashMap<Key, Value> = HashMap::new();
            for (name, inner) in map {
                if let Some((name, inner)) = member(schema, id, node, name, inner) {
                    out.insert(Key::from(name), inner);
                }
            }
            Value::Map(Map { map: Arc::new(out) })
        }
        (Json::Array(items), _) => Value::List(Arc::new(
            items
                .iter()
                .map(|item| match node.items {
                    Some(next) => typed(schema, next, item),
                    None => untyped(item),
                })
                .collect(),
        )),
        (Json::Number(n), Some(Type::Number)) => n.as_f64().map_or(Value::Null, Value::Float),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "1.0 is the integer 1 in JSON"
        )]
        (Json::Number(n), Some(Type::Integer)) => n
            .as_i64()
            .or_else(|| n.as_f64().map(|f| f as i64))
            .map_or(Value::Null, Value::Int),
        (Json::String(text), _) => match node.format.as_deref() {
            Some("date-time" | "datetime") => convert(&TIMESTAMP, text),
            Some("date") => convert(&TIMESTAMP, &format!("{text}T00:00:00Z")),
            Some("duration") => convert(&DURATION, text),
            Some("byte") => {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok();
                bytes.map(|bytes| Value::Bytes(Arc::new(bytes)))
            }
            _ => None,
        }
        .unwrap_or_else(|| Value::from(text.as_str())),
        _ => untyped(value),
    }
}

fn member(
    schema: &Schema,
    id: NodeId,
    node: &Node,
    name: &str,
    inner: &Json,
) -> Option<(String, Value)> {
    let resource = node.embedded || (schema.resource && id == schema.root);
    if resource && matches!(name, "apiVersion" | "kind") {
        return Some((name.to_owned(), untyped(inner)));
    }
    // Rules see the name of an object and nothing else of its metadata.
    if resource && name == "metadata" {
        let mut seen: HashMap<Key, Value> = HashMap::new();
        for field in ["name", "generateName"] {
            if let Some(text) = inner.get(field).and_then(Json::as_str) {
                seen.insert(Key::from(field.to_owned()), Value::from(text));
            }
        }
        return Some((
            name.to_owned(),
            Value::Map(Map {
                map: Arc::new(seen),
            }),
        ));
    }
    if let Some(next) = node.properties.get(name) {
        return Some((escape(name), typed(schema, *next, inner)));
    }
    match node.additional {
        Some(Additional::Schema(next)) => Some((name.to_owned(), typed(schema, next, inner))),
        Some(Additional::Any) => Some((name.to_owned(), untyped(inner))),
        _ => None,
    }
}

fn untyped(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => Value::Int(i),
            (None, Some(f)) => Value::Float(f),
            _ => Value::Null,
        },
        Json::String(s) => Value::from(s.as_str()),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(untyped).collect())),
        Json::Object(map) => {
            let map = map
                .iter()
                .map(|(k, v)| (Key::from(k.clone()), untyped(v)))
                .collect();
            Value::Map(Map { map: Arc::new(map) })
        }
    }
}

/// A property name as rules write it (Kubernetes, "CEL: escaped property names").
fn escape(name: &str) -> String {
    const KEYWORDS: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if KEYWORDS.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}
