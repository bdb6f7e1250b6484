//! Route configurations: which request goes where.

use std::collections::{BTreeMap, BTreeSet};

use gatewright_crds::istio::{
    Headers, HttpMatch, HttpRoute, HttpRouteDestination, Protocol, RedirectPort, StringMatch,
    StringMatchKind, VirtualService,
};
use gatewright_xds::proto::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use gatewright_xds::proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use gatewright_xds::proto::envoy::config::route::v3::{
    DirectResponseAction, HeaderMatcher, RedirectAction, Route, RouteAction, RouteConfiguration,
    RouteMatch, VirtualHost, WeightedCluster,
    header_matcher::HeaderMatchSpecifier,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
    route::Action,
    route_action::{ClusterSpecifier, HostRewriteSpecifier},
    route_match::PathSpecifier,
    weighted_cluster::ClusterWeight,
};
use gatewright_xds::proto::envoy::r#type::matcher::v3::{
    RegexMatchAndSubstitute, RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};
use gatewright_xds::proto::google::protobuf::{BoolValue, UInt32Value};
use gatewright_xds::proto::{duration, inline_bytes};
use kube::ResourceExt;

use super::CHALLENGE_CLUSTER;
use super::clusters::Destination;
use super::translate::{Input, Opened, Problem};
use crate::certificate::CHALLENGE_PATH;
use crate::fronts::takes;

/// Collects route configurations, and the destinations they lead to.
pub(super) struct Routes<'a> {
    input: &'a Input<'a>,
    /// By configuration name, then by domain.
    configurations: BTreeMap<String, BTreeMap<String, Vec<Route>>>,
    used: BTreeSet<Destination>,
}

impl<'a> Routes<'a> {
    pub(super) fn new(input: &'a Input<'a>) -> Self {
        Self {
            input,
            configurations: BTreeMap::new(),
            used: BTreeSet::new(),
        }
    }

    /// Adds what `opened` serves.
    pub(super) fn add(&mut self, opened: &Opened<'_>, problems: &mut Vec<Problem>) {
        let plain = opened.protocol == Protocol::Http;
        let redirects = opened
            .server
            .tls
            .as_ref()
            .is_some_and(|t| t.https_redirect == Some(true));
        let mut domains: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        if plain {
            // Challenges are answered whatever else a host does, redirect included.
            for host in opened.hosts() {
                let routes = domains.entry(host.to_ascii_lowercase()).or_default();
                routes.push(challenge_route());
                if redirects {
                    routes.push(redirect_route(self.input.port_shift));
                }
            }
        }
        if !(plain && redirects) {
            let mut services: Vec<&VirtualService> = self.input.virtual_services.to_vec();
            services.retain(|service| is_bound(service, opened));
            services.sort_by_key(|service| (service.namespace(), service.name_any()));
            for service in services {
                let routes = self.routes_of(service, problems);
                for host in &service.spec.hosts {
                    for domain in opened.hosts().filter_map(|pattern| meet(pattern, host)) {
                        let held = domains
                            .entry(domain)
                            .or_insert_with(|| plain.then(challenge_route).into_iter().collect());
                        held.extend(routes.iter().cloned());
                    }
                }
            }
        }
        let configuration = self.configurations.entry(opened.route_name()).or_default();
        for (domain, routes) in domains {
            configuration.entry(domain).or_default().extend(routes);
        }
    }

    pub(super) fn finish(self) -> (Vec<RouteConfiguration>, BTreeSet<Destination>) {
        let configurations = self.configurations.into_iter().map(|(name, domains)| {
            let virtual_hosts = domains.into_iter().map(|(domain, routes)| VirtualHost {
                name: domain.clone(),
                domains: vec![domain],
                routes,
                ..VirtualHost::default()
            });
            RouteConfiguration {
                name,
                virtual_hosts: virtual_hosts.collect(),
                // `Host: example.com:8443` means the same host behind a shifted port.
                ignore_port_in_host_matching: true,
                ..RouteConfiguration::default()
            }
        });
        (configurations.collect(), self.used)
    }

    fn routes_of(&mut self, service: &VirtualService, problems: &mut Vec<Problem>) -> Vec<Route> {
        let namespace = service.namespace().unwrap_or_default();
        let mut refuse = |reason, message: String| {
            problems.push(Problem {
                kind: "VirtualService",
                namespace: namespace.clone(),
                name: service.name_any(),
                reason,
                message,
            });
        };
        let unsupported = service.spec.unsupported();
        if !unsupported.is_empty() {
            let list: Vec<_> = unsupported.iter().map(ToString::to_string).collect();
            refuse(
                "FieldsNotActedOn",
                format!("accepted but not acted on: {}", list.join(", ")),
            );
        }
        let mut routes = Vec::new();
        for (index, http) in service.spec.http.iter().enumerate() {
            let action = match self.action(&namespace, http) {
                Ok(action) => action,
                Err((reason, message)) => {
                    refuse(reason, format!("spec.http[{index}]: {message}"));
                    continue;
                }
            };
            let matches = if http.matches.is_empty() {
                vec![HttpMatch::default()]
            } else {
                http.matches.clone()
            };
            for wanted in &matches {
                let mut action = action.clone();
                if let Action::Route(route) = &mut action {
                    rewrite(route, http, wanted);
                }
                routes.push(with_headers(
                    Route {
                        name: http.name.clone().unwrap_or_default(),
                        r#match: Some(route_match(wanted)),
                        action: Some(action),
                        ..Route::default()
                    },
                    http.headers.as_ref(),
                ));
            }
        }
        routes
    }

    fn action(
        &mut self,
        namespace: &str,
        http: &HttpRoute,
    ) -> Result<Action, (&'static str, String)> {
        if let Some(redirect) = &http.redirect {
            return Ok(Action::Redirect(RedirectAction {
                host_redirect: redirect.authority.clone().unwrap_or_default(),
                port_redirect: match (redirect.port, redirect.derive_port) {
                    (Some(port), _) => u32::try_from(port).unwrap_or(0),
                    (None, Some(RedirectPort::FromProtocolDefault)) => {
                        if redirect.scheme.as_deref() == Some("https") {
                            443
                        } else {
                            80
                        }
                    }
                    _ => 0,
                },
                response_code: match redirect.redirect_code {
                    Some(302) => RedirectResponseCode::Found,
                    Some(303) => RedirectResponseCode::SeeOther,
                    Some(307) => RedirectResponseCode::TemporaryRedirect,
                    Some(308) => RedirectResponseCode::PermanentRedirect,
                    _ => RedirectResponseCode::MovedPermanently,
                }
                .into(),
                scheme_rewrite_specifier: redirect
                    .scheme
                    .clone()
                    .map(SchemeRewriteSpecifier::SchemeRedirect),
                path_rewrite_specifier: redirect
                    .uri
                    .clone()
                    .map(PathRewriteSpecifier::PathRedirect),
                ..RedirectAction::default()
            }));
        }
        if let Some(direct) = &http.direct_response {
            return Ok(Action::DirectResponse(DirectResponseAction {
                status: u32::try_from(direct.status).unwrap_or(200),
                body: direct
                    .body
                    .as_ref()
                    .map(|body| inline_bytes(body.as_bytes().to_vec())),
                ..DirectResponseAction::default()
            }));
        }
        let mut weighted = Vec::new();
        for target in &http.route {
            let destination = self.destination(namespace, target)?;
            weighted.push((
                destination.cluster(),
                target.weight,
                target.headers.as_ref(),
            ));
            self.used.insert(destination);
        }
        let cluster_specifier = match weighted.as_slice() {
            [] => {
                return Err((
                    "NoDestination",
                    "has neither route, redirect nor answer".into(),
                ));
            }
            [(cluster, _, None)] => ClusterSpecifier::Cluster(cluster.clone()),
            several => ClusterSpecifier::WeightedClusters(WeightedCluster {
                clusters: several
                    .iter()
                    .map(|(cluster, weight, headers)| {
                        // Without weights, all get the same share.
                        let weight = weight.map_or(1, |weight| u32::try_from(weight).unwrap_or(0));
                        let (add, remove) = request_headers(*headers);
                        let (response_add, response_remove) = response_headers(*headers);
                        ClusterWeight {
                            name: cluster.clone(),
                            weight: Some(UInt32Value { value: weight }),
                            request_headers_to_add: add,
                            request_headers_to_remove: remove,
                            response_headers_to_add: response_add,
                            response_headers_to_remove: response_remove,
                            ..ClusterWeight::default()
                        }
                    })
                    .collect(),
                ..WeightedCluster::default()
            }),
        };
        Ok(Action::Route(RouteAction {
            cluster_specifier: Some(cluster_specifier),
            // Istio's default is no limit; Envoy's is 15 s.
            timeout: Some(duration(http.timeout.map(|t| t.get()).unwrap_or_default())),
            ..RouteAction::default()
        }))
    }

    fn destination(
        &self,
        namespace: &str,
        target: &HttpRouteDestination,
    ) -> Result<Destination, (&'static str, String)> {
        let host = &target.destination.host;
        let Some((namespace, service)) = target.destination.service(namespace) else {
            let message = format!("{host} is not a service of this cluster");
            return Err(("DestinationNotActedOn", message));
        };
        let found = self.input.services.iter().find(|held| {
            held.namespace().as_deref() == Some(namespace) && held.name_any() == service
        });
        let port = match (&target.destination.port, found) {
            (Some(port), _) => u16::try_from(port.number).ok(),
            (None, Some(found)) => {
                let ports = found.spec.as_ref().and_then(|spec| spec.ports.as_deref());
                match ports {
                    Some([only]) => u16::try_from(only.port).ok(),
                    _ => {
                        let message = format!("{host} has several ports; say which");
                        return Err(("PortNeeded", message));
                    }
                }
            }
            (None, None) => return Err(("DestinationNotFound", format!("no service {host}"))),
        };
        let port = port.ok_or_else(|| ("InvalidPort", format!("{host} has no such port")))?;
        Ok(Destination {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            port,
        })
    }
}

/// Whether `service` names the Gateway of `opened`: by `namespace/name`, or by name in its own
/// namespace.
fn is_bound(service: &VirtualService, opened: &Opened<'_>) -> bool {
    let (namespace, name) = (
        opened.of.namespace().unwrap_or_default(),
        opened.of.name_any(),
    );
    service
        .spec
        .gateways
        .iter()
        .any(|wanted| match wanted.split_once('/') {
            Some((in_namespace, wanted)) => in_namespace == namespace && wanted == name,
            None => *wanted == name && service.namespace().as_deref() == Some(&namespace),
        })
}

/// The hosts that both a server's pattern and a VirtualService's host take: the narrower of both.
fn meet(pattern: &str, host: &str) -> Option<String> {
    if takes(pattern, host) {
        Some(host.to_ascii_lowercase())
    } else if takes(host, pattern) {
        Some(pattern.to_ascii_lowercase())
    } else {
        None
    }
}

fn challenge_route() -> Route {
    Route {
        name: "acme-challenge".into(),
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(CHALLENGE_PATH.into())),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(CHALLENGE_CLUSTER.into())),
            ..RouteAction::default()
        })),
        ..Route::default()
    }
}

fn redirect_route(port_shift: u16) -> Route {
    let port = if port_shift == 0 {
        0
    } else {
        u32::from(port_shift) + 443
    };
    Route {
        name: "https-redirect".into(),
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".into())),
            ..RouteMatch::default()
        }),
        action: Some(Action::Redirect(RedirectAction {
            port_redirect: port,
            response_code: RedirectResponseCode::MovedPermanently.into(),
            scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::HttpsRedirect(true)),
            ..RedirectAction::default()
        })),
        ..Route::default()
    }
}

fn regex(pattern: &str) -> RegexMatcher {
    RegexMatcher {
        regex: pattern.to_owned(),
        ..RegexMatcher::default()
    }
}

fn route_match(wanted: &HttpMatch) -> RouteMatch {
    let path = match wanted.uri.as_ref().map(StringMatch::kind) {
        Some(StringMatchKind::Exact(path)) => PathSpecifier::Path(path.to_owned()),
        Some(StringMatchKind::Prefix(path)) => PathSpecifier::Prefix(path.to_owned()),
        Some(StringMatchKind::Regex(path)) => PathSpecifier::SafeRegex(regex(path)),
        Some(StringMatchKind::Present) | None => PathSpecifier::Prefix("/".into()),
    };
    let mut headers = Vec::new();
    headers.extend(wanted.method.as_ref().map(|m| header_matcher(":method", m)));
    headers.extend(
        wanted
            .authority
            .as_ref()
            .map(|m| header_matcher(":authority", m)),
    );
    headers.extend(
        wanted
            .headers
            .iter()
            .map(|(name, m)| header_matcher(name, m)),
    );
    RouteMatch {
        path_specifier: Some(path),
        case_sensitive: Some(BoolValue {
            value: wanted.ignore_uri_case != Some(true),
        }),
        headers,
        ..RouteMatch::default()
    }
}

fn header_matcher(name: &str, wanted: &StringMatch) -> HeaderMatcher {
    let text = |pattern| {
        HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(pattern),
            ..StringMatcher::default()
        })
    };
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(match wanted.kind() {
            StringMatchKind::Exact(value) => text(MatchPattern::Exact(value.to_owned())),
            StringMatchKind::Prefix(value) => text(MatchPattern::Prefix(value.to_owned())),
            StringMatchKind::Regex(value) => text(MatchPattern::SafeRegex(regex(value))),
            StringMatchKind::Present => HeaderMatchSpecifier::PresentMatch(true),
        }),
        ..HeaderMatcher::default()
    }
}

/// What the backend is asked for in place of what the client asked for.
fn rewrite(route: &mut RouteAction, http: &HttpRoute, wanted: &HttpMatch) {
    let Some(wanted_rewrite) = &http.rewrite else {
        return;
    };
    if let Some(authority) = &wanted_rewrite.authority {
        route.host_rewrite_specifier =
            Some(HostRewriteSpecifier::HostRewriteLiteral(authority.clone()));
    }
    let Some(uri) = &wanted_rewrite.uri else {
        return;
    };
    match wanted.uri.as_ref().map(StringMatch::kind) {
        Some(StringMatchKind::Regex(_)) => {
            // The whole path is replaced, as the regex has matched the whole path.
            route.regex_rewrite = Some(RegexMatchAndSubstitute {
                pattern: Some(regex("^[^?]*")),
                substitution: uri.clone(),
            });
        }
        _ => route.prefix_rewrite.clone_from(uri),
    }
}

type HeaderChange = (Vec<HeaderValueOption>, Vec<String>);

fn request_headers(headers: Option<&Headers>) -> HeaderChange {
    operations(headers.and_then(|headers| headers.request.as_ref()))
}

fn response_headers(headers: Option<&Headers>) -> HeaderChange {
    operations(headers.and_then(|headers| headers.response.as_ref()))
}

fn operations(wanted: Option<&gatewright_crds::istio::HeaderOperations>) -> HeaderChange {
    let Some(wanted) = wanted else {
        return HeaderChange::default();
    };
    let option = |(key, value): (&String, &String), action: HeaderAppendAction| HeaderValueOption {
        header: Some(HeaderValue {
            key: key.clone(),
            value: value.clone(),
            ..HeaderValue::default()
        }),
        append_action: action.into(),
        ..HeaderValueOption::default()
    };
    let set = wanted
        .set
        .iter()
        .map(|h| option(h, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = wanted
        .add
        .iter()
        .map(|h| option(h, HeaderAppendAction::AppendIfExistsOrAdd));
    (set.chain(add).collect(), wanted.remove.clone())
}

fn with_headers(mut route: Route, headers: Option<&Headers>) -> Route {
    (
        route.request_headers_to_add,
        route.request_headers_to_remove,
    ) = request_headers(headers);
    (
        route.response_headers_to_add,
        route.response_headers_to_remove,
    ) = response_headers(headers);
    route
}
