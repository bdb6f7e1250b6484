//! What a request must be like for a route.

use gatewright_crds::istio::{HttpMatch, StringMatch, StringMatchKind};
use gatewright_xds::proto::envoy::config::route::v3::{
    HeaderMatcher, RouteMatch, header_matcher::HeaderMatchSpecifier, route_match::PathSpecifier,
};
use gatewright_xds::proto::envoy::r#type::matcher::v3::{
    StringMatcher, string_matcher::MatchPattern,
};
use gatewright_xds::proto::google::protobuf::BoolValue;

use super::headers::is_name;
use super::patterns;
use super::problem::Refusal;

pub(super) fn route_match(wanted: &HttpMatch) -> Result<RouteMatch, Refusal> {
    let path = match wanted.uri.as_ref().map(StringMatch::kind) {
        Some(StringMatchKind::Exact(path)) => PathSpecifier::Path(path.to_owned()),
        Some(StringMatchKind::Prefix(path)) => PathSpecifier::Prefix(path.to_owned()),
        Some(StringMatchKind::Regex(path)) => PathSpecifier::SafeRegex(patterns::matcher(path)?),
        Some(StringMatchKind::Present) | None => PathSpecifier::Prefix("/".into()),
    };
    let mut headers = Vec::new();
    if let Some(method) = &wanted.method {
        headers.push(header_matcher(":method", method)?);
    }
    if let Some(authority) = &wanted.authority {
        headers.push(header_matcher(":authority", authority)?);
    }
    for (name, value) in &wanted.headers {
        if !is_name(name.strip_prefix(':').unwrap_or(name)) {
            return Err(("InvalidHeader", format!("{name:?} is no header name")));
        }
        headers.push(header_matcher(name, value)?);
    }
    Ok(RouteMatch {
        path_specifier: Some(path),
        case_sensitive: Some(BoolValue {
            value: wanted.ignore_uri_case != Some(true),
        }),
        headers,
        ..RouteMatch::default()
    })
}

fn header_matcher(name: &str, wanted: &StringMatch) -> Result<HeaderMatcher, Refusal> {
    let text = |pattern| {
        HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(pattern),
            ..StringMatcher::default()
        })
    };
    Ok(HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(match wanted.kind() {
            StringMatchKind::Exact(value) => text(MatchPattern::Exact(value.to_owned())),
            // Envoy refuses an empty prefix, which every value has.
            StringMatchKind::Present | StringMatchKind::Prefix("") => {
                HeaderMatchSpecifier::PresentMatch(true)
            }
            StringMatchKind::Prefix(value) => text(MatchPattern::Prefix(value.to_owned())),
            StringMatchKind::Regex(value) => {
                text(MatchPattern::SafeRegex(patterns::matcher(value)?))
            }
        }),
        ..HeaderMatcher::default()
    })
}
