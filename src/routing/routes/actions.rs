//! What is done with a request that a route takes.

use gatewright_crds::istio::{
    DirectResponse, HttpMatch, HttpRoute, HttpRouteDestination, Redirect, RedirectPort,
    StringMatch, StringMatchKind,
};
use gatewright_xds::proto::envoy::config::route::v3::{
    DirectResponseAction, RedirectAction, RouteAction, WeightedCluster,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
    route_action::{ClusterSpecifier, HostRewriteSpecifier},
    weighted_cluster::ClusterWeight,
};
use gatewright_xds::proto::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use gatewright_xds::proto::google::protobuf::UInt32Value;
use gatewright_xds::proto::{duration, inline_bytes};
use kube::ResourceExt;

use crate::routing::clusters::Destination;
use crate::routing::headers::{changes, plain};
use crate::routing::patterns;
use crate::routing::problem::Refusal;
use crate::routing::translate::Input;

pub(super) fn redirect(wanted: &Redirect) -> Result<RedirectAction, Refusal> {
    let text = |field: &str, text: &Option<String>| {
        text.as_ref().map(|text| plain(field, text)).transpose()
    };
    Ok(RedirectAction {
        host_redirect: text("redirect.authority", &wanted.authority)?.unwrap_or_default(),
        port_redirect: match (wanted.port, wanted.derive_port) {
            (Some(port), _) => u32::try_from(port).unwrap_or(0),
            (None, Some(RedirectPort::FromProtocolDefault)) => {
                if wanted.scheme.as_deref() == Some("https") {
                    443
                } else {
                    80
                }
            }
            _ => 0,
        },
        response_code: match wanted.redirect_code {
            Some(302) => RedirectResponseCode::Found,
            Some(303) => RedirectResponseCode::SeeOther,
            Some(307) => RedirectResponseCode::TemporaryRedirect,
            Some(308) => RedirectResponseCode::PermanentRedirect,
            _ => RedirectResponseCode::MovedPermanently,
        }
        .into(),
        scheme_rewrite_specifier: text("redirect.scheme", &wanted.scheme)?
            .map(SchemeRewriteSpecifier::SchemeRedirect),
        path_rewrite_specifier: text("redirect.uri", &wanted.uri)?
            .map(PathRewriteSpecifier::PathRedirect),
        ..RedirectAction::default()
    })
}

/// In place of what cannot be done, so that the requests do not fall to the next route.
pub(super) fn unavailable() -> DirectResponseAction {
    DirectResponseAction {
        status: 503,
        ..DirectResponseAction::default()
    }
}

pub(super) fn direct_response(wanted: &DirectResponse) -> DirectResponseAction {
    DirectResponseAction {
        status: u32::try_from(wanted.status).unwrap_or(200),
        body: wanted
            .body
            .as_ref()
            .map(|body| inline_bytes(body.as_bytes().to_vec())),
        ..DirectResponseAction::default()
    }
}

/// Leads to services; which ones is returned too.
pub(super) fn route(
    input: &Input<'_>,
    namespace: &str,
    http: &HttpRoute,
    refuse: &mut impl FnMut(Refusal),
) -> Result<(RouteAction, Vec<Destination>), Refusal> {
    let mut used = Vec::new();
    for target in &http.route {
        used.push(destination(input, namespace, target, refuse)?);
    }
    let cluster_specifier = match (http.route.as_slice(), used.as_slice()) {
        ([target], [only]) if target.headers.is_none() => ClusterSpecifier::Cluster(only.cluster()),
        (targets, _) => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: weighted(targets, &used, refuse)?,
            ..WeightedCluster::default()
        }),
    };
    let action = RouteAction {
        cluster_specifier: Some(cluster_specifier),
        // Istio's default is no limit; Envoy's is 15 s.
        timeout: Some(duration(
            http.timeout
                .map(gatewright_crds::GoDuration::get)
                .unwrap_or_default(),
        )),
        ..RouteAction::default()
    };
    Ok((action, used))
}

fn weighted(
    targets: &[HttpRouteDestination],
    used: &[Destination],
    refuse: &mut impl FnMut(Refusal),
) -> Result<Vec<ClusterWeight>, Refusal> {
    // Without any weight, all get the same share; with some, those without get nothing (Istio's
    // weight is a number whose default is 0).
    let unset = u32::from(targets.iter().all(|target| target.weight.is_none()));
    let weight = |target: &HttpRouteDestination| match target.weight {
        // Any weight is all of the requests where there is one destination.
        _ if targets.len() == 1 => 1,
        Some(weight) => u32::try_from(weight).unwrap_or(0),
        None => unset,
    };
    let sum: u64 = targets.iter().map(|target| u64::from(weight(target))).sum();
    if targets.is_empty() {
        let message = "has neither route, redirect nor answer".into();
        return Err(("NoDestination", message));
    }
    if sum == 0 {
        return Err(("NoDestination", "all weights are 0".into()));
    }
    if sum > u32::MAX.into() {
        let message = format!("the weights come to more than {}", u32::MAX);
        return Err(("InvalidWeight", message));
    }
    let all = targets.iter().zip(used).map(|(target, used)| {
        let (request, response) = changes(target.headers.as_ref(), refuse);
        ClusterWeight {
            name: used.cluster(),
            weight: Some(UInt32Value {
                value: weight(target),
            }),
            request_headers_to_add: request.add,
            request_headers_to_remove: request.remove,
            response_headers_to_add: response.add,
            response_headers_to_remove: response.remove,
            ..ClusterWeight::default()
        }
    });
    Ok(all.collect())
}

fn destination(
    input: &Input<'_>,
    namespace: &str,
    target: &HttpRouteDestination,
    refuse: &mut impl FnMut(Refusal),
) -> Result<Destination, Refusal> {
    let host = &target.destination.host;
    let Some((namespace, service)) = target.destination.service(namespace) else {
        let message = format!("{host} is not a service of this cluster");
        return Err(("DestinationNotActedOn", message));
    };
    let found = input
        .services
        .iter()
        .find(|held| held.namespace().as_deref() == Some(namespace) && held.name_any() == service);
    let spec = found.and_then(|found| found.spec.as_ref());
    let ports = spec
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    let missing = || ("DestinationNotFound", format!("no service {host}"));
    let number = match (&target.destination.port, ports) {
        (Some(port), _) => port.number,
        (None, [only]) => only.port,
        (None, _) if found.is_none() => return Err(missing()),
        (None, _) => {
            let message = format!("{host} has not one port; say which");
            return Err(("PortNeeded", message));
        }
    };
    let no_port = || ("PortNotFound", format!("{host} has no port {number}"));
    let port = u16::try_from(number).map_err(|_| no_port())?;
    // It stays: its share of the requests gets 503, and the others what they are meant to get.
    if found.is_none() {
        refuse(missing());
    } else if !ports.iter().any(|port| port.port == number) {
        refuse(no_port());
    }
    Ok(Destination {
        namespace: namespace.to_owned(),
        service: service.to_owned(),
        port,
    })
}

/// What the backend is asked for in place of what the client asked for.
pub(super) fn rewrite(
    route: &mut RouteAction,
    http: &HttpRoute,
    wanted: &HttpMatch,
) -> Result<(), Refusal> {
    let Some(rewrite) = &http.rewrite else {
        return Ok(());
    };
    if let Some(authority) = &rewrite.authority {
        let authority = plain("rewrite.authority", authority)?;
        route.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(authority));
    }
    let Some(uri) = &rewrite.uri else {
        return Ok(());
    };
    let uri = plain("rewrite.uri", uri)?;
    match wanted.uri.as_ref().map(StringMatch::kind) {
        Some(StringMatchKind::Regex(_)) => {
            route.regex_rewrite = Some(RegexMatchAndSubstitute {
                // The whole path is replaced, as the regex has matched the whole path.
                pattern: Some(patterns::known_good("^[^?]*")),
                // A backslash would ask for a group.
                substitution: uri.replace('\\', r"\\"),
            });
        }
        _ => route.prefix_rewrite = uri,
    }
    Ok(())
}
