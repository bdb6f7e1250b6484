//! Changes of headers, and texts that are put into headers.

use std::collections::BTreeMap;

use gatewright_crds::istio::{HeaderOperations, Headers};
use gatewright_xds::proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use gatewright_xds::proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};

use super::problem::Refusal;

/// The longest name and value that Envoy's API takes.
const LONGEST: usize = 16_384;
/// What `%NAME%` in a value may stand for: the commands that need no parameter
/// (<https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/advanced/substitution_formatter>).
const COMMANDS: [&str; 23] = [
    "BYTES_RECEIVED",
    "CONNECTION_ID",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_VERSION",
    "DURATION",
    "HOSTNAME",
    "PROTOCOL",
    "REQUESTED_SERVER_NAME",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_FLAGS",
    "ROUTE_NAME",
    "START_TIME",
    "STREAM_ID",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_HOST",
];
/// The commands whose parameter is a header.
const HEADER_COMMANDS: [&str; 2] = ["REQ", "RESP"];

/// Headers that are put in or changed, and names of those that are taken away.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) add: Vec<HeaderValueOption>,
    pub(super) remove: Vec<String>,
}

/// What `headers` asks for: of the request, of the response. A change that Envoy would refuse is left
/// out and told to `refuse`.
pub(super) fn changes(
    headers: Option<&Headers>,
    refuse: &mut impl FnMut(Refusal),
) -> (Changes, Changes) {
    let mut of = |operations: Option<&HeaderOperations>| {
        operations.map_or_else(Changes::default, |wanted| of(wanted, refuse))
    };
    (
        of(headers.and_then(|headers| headers.request.as_ref())),
        of(headers.and_then(|headers| headers.response.as_ref())),
    )
}

fn of(wanted: &HeaderOperations, refuse: &mut impl FnMut(Refusal)) -> Changes {
    let mut changes = Changes::default();
    let mut add = |list: &BTreeMap<String, String>, action: HeaderAppendAction| {
        for (key, value) in list {
            match check_name(key).and_then(|()| check_format(key, value)) {
                Err(refusal) => refuse(refusal),
                Ok(()) => changes.add.push(HeaderValueOption {
                    header: Some(HeaderValue {
                        key: key.clone(),
                        value: value.clone(),
                        ..HeaderValue::default()
                    }),
                    append_action: action.into(),
                    ..HeaderValueOption::default()
                }),
            }
        }
    };
    add(&wanted.set, HeaderAppendAction::OverwriteIfExistsOrAdd);
    add(&wanted.add, HeaderAppendAction::AppendIfExistsOrAdd);
    for key in &wanted.remove {
        match check_name(key) {
            Err(refusal) => refuse(refusal),
            Ok(()) => changes.remove.push(key.clone()),
        }
    }
    changes
}

/// Whether a header of this name can be changed.
fn check_name(name: &str) -> Result<(), Refusal> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        let message = format!("header {name} cannot be changed here; rewrite and redirect can");
        return Err(("InvalidHeader", message));
    }
    if !is_name(name) {
        return Err(("InvalidHeader", format!("{name:?} is no header name")));
    }
    Ok(())
}

/// Whether it can be the name of a header (RFC 9110 section 5.6.2: a token).
pub(super) fn is_name(name: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(token)
}

/// A text that goes into a header as it is: Envoy refuses line ends and NUL in it.
pub(super) fn plain(field: &str, text: &str) -> Result<String, Refusal> {
    if text.len() > LONGEST || text.contains(['\r', '\n', '\0']) {
        let message = format!("{field} is too long or has a line end in it");
        return Err(("InvalidValue", message));
    }
    Ok(text.to_owned())
}

/// Whether Envoy can read the `%COMMAND%`s in a value.
fn check_format(name: &str, value: &str) -> Result<(), Refusal> {
    plain(&format!("the value of header {name}"), value)?;
    let mut rest = value;
    while let Some((_, behind)) = rest.split_once('%') {
        let known = behind.split_once('%').filter(|(command, _)| {
            let command = *command;
            command.is_empty() || COMMANDS.contains(&command) || is_header_command(command)
        });
        let Some((_, behind)) = known else {
            let message = format!(
                "the value of header {name} has a % that begins nothing known; %% stands for one"
            );
            return Err(("InvalidHeader", message));
        };
        rest = behind;
    }
    Ok(())
}

/// `REQ(name)`, `REQ(name?other)`, each with `:LENGTH` after it or not.
fn is_header_command(command: &str) -> bool {
    let Some((name, parameter)) = command.split_once('(') else {
        return false;
    };
    let Some((headers, length)) = parameter.split_once(')') else {
        return false;
    };
    let length = length.is_empty()
        || length.strip_prefix(':').is_some_and(|digits| {
            (1..=4).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit())
        });
    let mut headers = headers.split('?');
    let all = headers.by_ref().take(2).all(|header| {
        let name = header.strip_prefix(':').unwrap_or(header);
        is_name(name) && !name.contains('%')
    });
    HEADER_COMMANDS.contains(&name) && length && all && headers.next().is_none()
}
