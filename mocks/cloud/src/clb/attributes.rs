//! The attributes of listeners: names, values and defaults by protocol.

use serde_json::{Value, json};

use crate::answer::ApiError;
use crate::params::Params;
use crate::state::{Listener, Protocol};

/// What an attribute may be.
#[derive(Clone, Copy)]
enum Kind {
    Number(i64, i64),
    /// `on` or `off`.
    Switch,
    /// `true` or `false`.
    Flag,
    Choice(&'static [&'static str]),
    /// Up to so many characters.
    Text(usize),
    /// Up to 80 characters that start with a slash.
    Uri,
    /// A comma list of status classes.
    Codes,
}

/// One attribute: the name in Create, in Set and in Describe; none where it does not exist.
struct Attribute {
    create: Option<&'static str>,
    set: Option<&'static str>,
    describe: &'static str,
    kind: Kind,
    default: Option<Value>,
}

const HEALTH_CODES: &[&str] = &["http_2xx", "http_3xx", "http_4xx", "http_5xx"];

/// An attribute with one name everywhere.
fn same(name: &'static str, kind: Kind, default: impl Into<Option<Value>>) -> Attribute {
    named(Some(name), Some(name), name, kind, default)
}

fn named(
    create: Option<&'static str>,
    set: Option<&'static str>,
    describe: &'static str,
    kind: Kind,
    default: impl Into<Option<Value>>,
) -> Attribute {
    Attribute {
        create,
        set,
        describe,
        kind,
        default: default.into(),
    }
}

fn of(protocol: Protocol) -> Vec<Attribute> {
    let mut list = vec![
        same("Bandwidth", Kind::Number(-1, 5120), json!(-1)),
        same("AclStatus", Kind::Switch, json!("off")),
        same("AclType", Kind::Choice(&["white", "black"]), None),
        same("AclId", Kind::Text(80), None),
        same("HealthyThreshold", Kind::Number(2, 10), json!(3)),
        same("UnhealthyThreshold", Kind::Number(2, 10), json!(3)),
        same("HealthCheckConnectPort", Kind::Number(1, 65535), None),
    ];
    match protocol {
        Protocol::Tcp => list.extend(tcp()),
        Protocol::Udp => list.extend(udp()),
        Protocol::Http | Protocol::Https => list.extend(http()),
    }
    list
}

/// What TCP and UDP have in common.
fn layer_4(schedulers: &'static [&'static str]) -> Vec<Attribute> {
    vec![
        same("Scheduler", Kind::Choice(schedulers), json!("wrr")),
        same("ProxyProtocolV2Enabled", Kind::Flag, json!(false)),
        named(
            Some("HealthCheckSwitch"),
            Some("HealthCheckSwitch"),
            "HealthCheck",
            Kind::Switch,
            json!("on"),
        ),
        same("HealthCheckConnectTimeout", Kind::Number(1, 300), json!(5)),
        // The API's own spelling: lower-case in Create only.
        named(
            Some("healthCheckInterval"),
            Some("HealthCheckInterval"),
            "HealthCheckInterval",
            Kind::Number(1, 50),
            json!(2),
        ),
    ]
}

fn tcp() -> Vec<Attribute> {
    let mut list = layer_4(&["wrr", "rr", "sch", "tch"]);
    list.extend([
        same("PersistenceTimeout", Kind::Number(0, 3600), json!(0)),
        same("EstablishedTimeout", Kind::Number(10, 900), json!(900)),
        same("ConnectionDrain", Kind::Switch, json!("off")),
        same("ConnectionDrainTimeout", Kind::Number(10, 900), None),
        named(
            None,
            Some("SynProxy"),
            "SynProxy",
            Kind::Choice(&["enable", "disable"]),
            json!("disable"),
        ),
        same(
            "HealthCheckType",
            Kind::Choice(&["tcp", "http"]),
            json!("tcp"),
        ),
        same("HealthCheckDomain", Kind::Text(80), None),
        same("HealthCheckURI", Kind::Uri, None),
        same("HealthCheckHttpCode", Kind::Codes, json!("http_2xx")),
    ]);
    list
}

fn udp() -> Vec<Attribute> {
    let mut list = layer_4(&["wrr", "rr", "sch", "tch", "qch"]);
    list.extend([
        named(
            Some("healthCheckReq"),
            Some("healthCheckReq"),
            "HealthCheckReq",
            Kind::Text(64),
            None,
        ),
        named(
            Some("healthCheckExp"),
            Some("healthCheckExp"),
            "HealthCheckExp",
            Kind::Text(64),
            None,
        ),
    ]);
    list
}

fn http() -> Vec<Attribute> {
    vec![
        same("Scheduler", Kind::Choice(&["wrr", "rr"]), json!("wrr")),
        same("HealthCheck", Kind::Switch, None),
        same("HealthCheckInterval", Kind::Number(1, 50), json!(2)),
        same("HealthCheckTimeout", Kind::Number(1, 300), json!(5)),
        same(
            "HealthCheckMethod",
            Kind::Choice(&["head", "get"]),
            json!("head"),
        ),
        same("HealthCheckDomain", Kind::Text(80), None),
        same("HealthCheckURI", Kind::Uri, json!("/")),
        same("HealthCheckHttpCode", Kind::Codes, json!("http_2xx")),
        same("StickySession", Kind::Switch, json!("off")),
        same(
            "StickySessionType",
            Kind::Choice(&["insert", "server"]),
            None,
        ),
        same("CookieTimeout", Kind::Number(1, 86400), None),
        same("Cookie", Kind::Text(200), None),
        same("XForwardedFor", Kind::Switch, json!("on")),
        same("XForwardedFor_SLBIP", Kind::Switch, json!("off")),
        same("XForwardedFor_SLBID", Kind::Switch, json!("off")),
        same("XForwardedFor_SLBPORT", Kind::Switch, json!("off")),
        same("XForwardedFor_proto", Kind::Switch, json!("off")),
        same("XForwardedFor_ClientSrcPort", Kind::Switch, json!("off")),
        same("Gzip", Kind::Switch, json!("on")),
        same("IdleTimeout", Kind::Number(1, 60), json!(15)),
        same("RequestTimeout", Kind::Number(1, 180), json!(60)),
        named(
            Some("ListenerForward"),
            None,
            "ListenerForward",
            Kind::Switch,
            json!("off"),
        ),
        named(
            Some("ForwardPort"),
            None,
            "ForwardPort",
            Kind::Number(1, 65535),
            None,
        ),
    ]
}

impl Kind {
    fn read(self, params: &Params, name: &str) -> Result<Option<Value>, ApiError> {
        Ok(match self {
            Self::Number(low, high) => params.number(name, low..=high)?.map(|number| json!(number)),
            Self::Switch => params.choice(name, &["on", "off"])?.map(|text| json!(text)),
            Self::Flag => params.flag(name)?.map(|flag| json!(flag)),
            Self::Choice(choices) => params.choice(name, choices)?.map(|text| json!(text)),
            Self::Text(limit) => match params.get(name) {
                Some(text) if text.chars().count() > limit => {
                    let why = format_args!("it must have at most {limit} characters");
                    return Err(ApiError::invalid(name, why));
                }
                text => text.map(|text| json!(text)),
            },
            Self::Uri => match params.get(name) {
                Some(text) if text.chars().count() > 80 || !text.starts_with('/') => {
                    let why = "it must have 1 to 80 characters and start with a slash";
                    return Err(ApiError::invalid(name, why));
                }
                text => text.map(|text| json!(text)),
            },
            Self::Codes => match params.get(name) {
                Some(text)
                    if !text
                        .split(',')
                        .all(|code| HEALTH_CODES.contains(&code.trim())) =>
                {
                    let why = format_args!("it must list some of {}", HEALTH_CODES.join(", "));
                    return Err(ApiError::invalid(name, why));
                }
                text => text.map(|text| json!(text)),
            },
        })
    }
}

/// Puts the attributes that a Create or Set call carries, and for Create the defaults, into
/// `listener`, and checks what must go together.
pub(super) fn apply(
    listener: &mut Listener,
    params: &Params,
    create: bool,
) -> Result<(), ApiError> {
    for attribute in of(listener.protocol) {
        let name = if create {
            attribute.create
        } else {
            attribute.set
        };
        let sent = name
            .map(|name| attribute.kind.read(params, name))
            .transpose()?
            .flatten();
        let value = if create {
            sent.or(attribute.default)
        } else {
            sent
        };
        if let Some(value) = value {
            listener
                .attributes
                .insert(attribute.describe.to_owned(), value);
        }
    }
    check(listener)
}

fn check(listener: &mut Listener) -> Result<(), ApiError> {
    if listener.attributes.get("Bandwidth") == Some(&json!(0)) {
        return Err(ApiError::invalid(
            "Bandwidth",
            "it must be -1 or from 1 to 5120",
        ));
    }
    if listener.is_on("ConnectionDrain") {
        if listener.number("ConnectionDrainTimeout").is_none() {
            return Err(ApiError::missing("ConnectionDrainTimeout"));
        }
    } else {
        listener.attributes.remove("ConnectionDrainTimeout");
    }
    if listener.is_on("AclStatus") {
        for name in ["AclType", "AclId"] {
            if listener.text(name).is_none() {
                return Err(ApiError::missing(name));
            }
        }
        return Err(ApiError::bad(
            "AclNotExist",
            "The specified AclId does not exist.",
        ));
    }
    if listener.is_on("StickySession") {
        match listener.text("StickySessionType") {
            None => return Err(ApiError::missing("StickySessionType")),
            Some("insert") if listener.number("CookieTimeout").is_none() => {
                return Err(ApiError::missing("CookieTimeout"));
            }
            Some("server") if listener.text("Cookie").is_none() => {
                return Err(ApiError::missing("Cookie"));
            }
            Some(_) => {}
        }
    }
    if listener.protocol == Protocol::Http
        && listener.text("HealthCheck").is_none()
        && !listener.is_on("ListenerForward")
    {
        return Err(ApiError::mandatory("HealthCheck"));
    }
    Ok(())
}

/// The attributes that DescribeLoadBalancerListeners shows beside the protocol's own.
pub(super) const SHARED: &[&str] = &["AclId", "AclStatus", "AclType", "Bandwidth", "Scheduler"];
