//! Route configurations: which request goes where.

use std::collections::{BTreeMap, BTreeSet};

use gatewright_crds::istio::{HttpMatch, HttpRoute, Protocol, VirtualService};
use gatewright_xds::proto::envoy::config::route::v3::{
    DirectResponseAction, RedirectAction, Route, RouteAction, RouteConfiguration, RouteMatch,
    VirtualHost,
    redirect_action::{RedirectResponseCode, SchemeRewriteSpecifier},
    route::Action,
    route_action::ClusterSpecifier,
    route_match::PathSpecifier,
};
use gatewright_xds::proto::google::protobuf::UInt32Value;
use kube::ResourceExt;

use super::CHALLENGE_CLUSTER;
use super::bindings::{is_bound, is_host, meet};
use super::clusters::Destination;
use super::headers::changes;
use super::matches::route_match;
use super::problem::{Problem, Refusal};
use super::servers::Opened;
use super::translate::Input;
use crate::certificate::CHALLENGE_PATH;

mod actions;

/// The longest direct response that Envoy takes unless the configuration says more.
const USUAL_BODY_BYTES: usize = 4096;

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
            for host in opened.patterns() {
                let routes = domains.entry(host.to_owned()).or_default();
                routes.push(challenge_route());
                if redirects {
                    routes.push(redirect_route(self.input.port_shift));
                }
            }
        }
        if !(plain && redirects) {
            let own = opened.of.namespace().unwrap_or_default();
            let mut services: Vec<&VirtualService> = self.input.virtual_services.to_vec();
            services.retain(|service| is_bound(service, opened.of));
            services.sort_by_key(|service| (service.namespace(), service.name_any()));
            for service in services {
                let from = service.namespace().unwrap_or_default();
                let routes = self.routes_of(service, problems);
                let patterns = opened.hosts.iter();
                let patterns: BTreeSet<&str> = patterns
                    .filter(|host| host.is_open_to(&from, &own))
                    .map(|host| host.pattern.as_str())
                    .collect();
                // Two of its hosts may come to the same domain, which then has its routes once.
                let hosts = service.spec.hosts.iter().filter(|host| is_host(host));
                let met: BTreeSet<String> = hosts
                    .flat_map(|host| patterns.iter().filter_map(|pattern| meet(pattern, host)))
                    .collect();
                for domain in met {
                    let held = domains
                        .entry(domain)
                        .or_insert_with(|| plain.then(challenge_route).into_iter().collect());
                    held.extend(routes.iter().cloned());
                }
            }
        }
        let configuration = self.configurations.entry(opened.route_name()).or_default();
        for (domain, mut routes) in domains {
            let held = configuration.entry(domain).or_default();
            // Another server of the port has brought it.
            if plain && !held.is_empty() && !routes.is_empty() {
                routes.remove(0);
            }
            held.extend(routes);
        }
    }

    pub(super) fn finish(self) -> (Vec<RouteConfiguration>, BTreeSet<Destination>) {
        let configurations = self.configurations.into_iter().map(|(name, domains)| {
            let routes = domains.values().flatten();
            let longest = routes.map(body_bytes).max().unwrap_or(0);
            let virtual_hosts = domains.into_iter().map(|(domain, routes)| VirtualHost {
                name: domain.clone(),
                domains: vec![domain],
                routes,
                ..VirtualHost::default()
            });
            RouteConfiguration {
                name,
                virtual_hosts: virtual_hosts.collect(),
                max_direct_response_body_size_bytes: (longest > USUAL_BODY_BYTES)
                    .then(|| u32::try_from(longest).unwrap_or(u32::MAX))
                    .map(|value| UInt32Value { value }),
                // `Host: example.com:8443` means the same host behind a shifted port.
                ignore_port_in_host_matching: true,
                ..RouteConfiguration::default()
            }
        });
        (configurations.collect(), self.used)
    }

    fn routes_of(&mut self, service: &VirtualService, problems: &mut Vec<Problem>) -> Vec<Route> {
        let namespace = service.namespace().unwrap_or_default();
        let mut refuse = |refusal| problems.push(Problem::of(service, "VirtualService", refusal));
        let unsupported = service.spec.unsupported();
        if !unsupported.is_empty() {
            let list: Vec<_> = unsupported.iter().map(ToString::to_string).collect();
            let message = format!("accepted but not acted on: {}", list.join(", "));
            refuse(("FieldsNotActedOn", message));
        }
        let mut routes = Vec::new();
        for (index, http) in service.spec.http.iter().enumerate() {
            let mut refuse = |(reason, message): Refusal| {
                refuse((reason, format!("spec.http[{index}]: {message}")));
            };
            let action = self.action(&namespace, http, &mut refuse);
            let action = action.unwrap_or_else(|refusal| {
                refuse(refusal);
                Action::DirectResponse(actions::unavailable())
            });
            let (request, response) = changes(http.headers.as_ref(), &mut refuse);
            let all = [HttpMatch::default()];
            let matches = if http.matches.is_empty() {
                &all
            } else {
                &http.matches[..]
            };
            for (index, wanted) in matches.iter().enumerate() {
                let made = route_match(wanted).and_then(|found| {
                    let mut action = action.clone();
                    if let Action::Route(route) = &mut action {
                        actions::rewrite(route, http, wanted)?;
                    }
                    Ok((found, action))
                });
                match made {
                    Err((reason, message)) => {
                        refuse((reason, format!("match[{index}]: {message}")));
                    }
                    Ok((found, action)) => routes.push(Route {
                        name: http.name.clone().unwrap_or_default(),
                        r#match: Some(found),
                        action: Some(action),
                        request_headers_to_add: request.add.clone(),
                        request_headers_to_remove: request.remove.clone(),
                        response_headers_to_add: response.add.clone(),
                        response_headers_to_remove: response.remove.clone(),
                        ..Route::default()
                    }),
                }
            }
        }
        routes
    }

    fn action(
        &mut self,
        namespace: &str,
        http: &HttpRoute,
        refuse: &mut impl FnMut(Refusal),
    ) -> Result<Action, Refusal> {
        if let Some(wanted) = &http.redirect {
            return actions::redirect(wanted).map(Action::Redirect);
        }
        if let Some(wanted) = &http.direct_response {
            return Ok(Action::DirectResponse(actions::direct_response(wanted)));
        }
        let (action, used) = actions::route(self.input, namespace, http, refuse)?;
        self.used.extend(used);
        Ok(Action::Route(action))
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

/// The size of the body of a direct response.
fn body_bytes(route: &Route) -> usize {
    use gatewright_xds::proto::envoy::config::core::v3::data_source::Specifier;
    let Some(Action::DirectResponse(DirectResponseAction { body, .. })) = &route.action else {
        return 0;
    };
    match body.as_ref().and_then(|body| body.specifier.as_ref()) {
        Some(Specifier::InlineBytes(bytes)) => bytes.len(),
        _ => 0,
    }
}
