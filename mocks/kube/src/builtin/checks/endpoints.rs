//! Endpoints and EndpointSlices (`pkg/apis/discovery/validation`, `ValidateEndpointIP`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::service::INVALID_IP;
use super::{int, invalid, list, one_of, word};
use crate::builtin::{metadata, names};
use crate::schema::FieldError;

/// Addresses that no endpoint can have.
pub(super) fn special_address(
    address: IpAddr,
    text: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let (link_local, multicast) = match address {
        IpAddr::V4(a) => (a.is_link_local(), a.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(a) => (
            a.segments()[0] & 0xffc0 == 0xfe80,
            a.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    let unspecified = format!("may not be unspecified ({text})");
    for (holds, problem) in [
        (address.is_unspecified(), unspecified.as_str()),
        (
            address.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ] {
        if holds {
            errors.push(FieldError::invalid_str(path, text, problem));
        }
    }
}

/// The largest number of endpoints in a slice, and of addresses in an endpoint.
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;

pub(super) fn slice(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let family = word(object, "addressType");
    if family.is_empty() {
        errors.push(FieldError::required("addressType", ""));
    } else {
        let families = ["FQDN", "IPv4", "IPv6"];
        if !families.contains(&family) {
            errors.push(FieldError::not_supported(
                "addressType",
                &json!(family),
                &families,
            ));
        }
    }
    let mut names_seen = BTreeSet::new();
    for (i, port) in list(object, "ports").iter().enumerate() {
        let path = format!("ports[{i}]");
        let name = word(port, "name");
        if !name.is_empty() {
            invalid(
                &format!("{path}.name"),
                name,
                names::dns1123_label(name),
                errors,
            );
        }
        if !names_seen.insert(name) {
            errors.push(FieldError::duplicate(&format!("{path}.name"), &json!(name)));
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
    }
    // Endpoints that were accepted once pass as long as they do not change.
    if old.is_none_or(|old| old.get("endpoints") != object.get("endpoints")) {
        let endpoints = list(object, "endpoints");
        if endpoints.len() > ENDPOINTS_MAX {
            errors.push(FieldError::too_many(
                "endpoints",
                endpoints.len(),
                ENDPOINTS_MAX as u64,
            ));
        } else {
            for (i, endpoint) in endpoints.iter().enumerate() {
                one(endpoint, family, &format!("endpoints[{i}]"), errors);
            }
        }
    }
    if let Some(old) = old {
        metadata::immutable(
            object.get("addressType"),
            old.get("addressType"),
            "addressType",
            errors,
        );
    }
}

fn one(endpoint: &Value, family: &str, path: &str, errors: &mut Vec<FieldError>) {
    let addresses = list(endpoint, "addresses");
    let all = format!("{path}.addresses");
    if addresses.is_empty() {
        errors.push(FieldError::required(
            &all,
            "must contain at least 1 address",
        ));
    } else if addresses.len() > ADDRESSES_MAX {
        errors.push(FieldError::too_many(
            &all,
            addresses.len(),
            ADDRESSES_MAX as u64,
        ));
    }
    for (i, address) in addresses.iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        let path = format!("{all}[{i}]");
        match (family, text.parse::<IpAddr>()) {
            ("IPv4" | "IPv6", Err(_)) => {
                errors.push(FieldError::invalid_str(&path, text, INVALID_IP));
            }
            ("IPv4" | "IPv6", Ok(address)) => {
                if address.is_ipv4() != (family == "IPv4") {
                    let problem = format!("must be an {family} address");
                    errors.push(FieldError::invalid_str(&all, text, &problem));
                }
                special_address(address, text, &path, errors);
            }
            ("FQDN", _) => {
                let name = text.trim_end_matches('.');
                invalid(&path, text, names::dns1123_subdomain(name), errors);
                if !name.contains('.') && !name.is_empty() {
                    let problem = "should be a domain with at least two segments separated by dots";
                    errors.push(FieldError::invalid_str(&path, text, problem));
                }
            }
            _ => {}
        }
    }
    let host = word(endpoint, "hostname");
    if !host.is_empty() {
        invalid(
            &format!("{path}.hostname"),
            host,
            names::dns1123_label(host),
            errors,
        );
    }
    let node = word(endpoint, "nodeName");
    if !node.is_empty() {
        invalid(
            &format!("{path}.nodeName"),
            node,
            names::dns1123_subdomain(node),
            errors,
        );
    }
}

pub(super) fn endpoints(object: &Value, errors: &mut Vec<FieldError>) {
    for (i, subset) in list(object, "subsets").iter().enumerate() {
        let path = format!("subsets[{i}]");
        let ready = list(subset, "addresses");
        let waiting = list(subset, "notReadyAddresses");
        if ready.is_empty() && waiting.is_empty() {
            errors.push(FieldError::required(
                &path,
                "must specify `addresses` or `notReadyAddresses`",
            ));
        }
        for (name, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
            for (j, address) in addresses.iter().enumerate() {
                let text = word(address, "ip");
                let path = format!("{path}.{name}[{j}].ip");
                match text.parse::<IpAddr>() {
                    Ok(address) => special_address(address, text, &path, errors),
                    Err(_) => errors.push(FieldError::invalid_str(&path, text, INVALID_IP)),
                }
            }
        }
        let ports = list(subset, "ports");
        for (j, port) in ports.iter().enumerate() {
            let path = format!("{path}.ports[{j}]");
            let name = word(port, "name");
            if name.is_empty() && ports.len() > 1 {
                errors.push(FieldError::required(&format!("{path}.name"), ""));
            } else if !name.is_empty() {
                invalid(
                    &format!("{path}.name"),
                    name,
                    names::dns1123_label(name),
                    errors,
                );
            }
            let number = int(port, "port");
            if let Some(problem) = names::port_number(number) {
                errors.push(FieldError::invalid(
                    &format!("{path}.port"),
                    &json!(number),
                    problem,
                ));
            }
        }
    }
}
