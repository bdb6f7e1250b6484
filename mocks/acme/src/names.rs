use std::collections::BTreeSet;

use crate::model::Identifier;
use crate::problem::{Kind, Problem, Subproblem};

/// As many as Let's Encrypt takes in one certificate.
const MAX_NAMES: usize = 100;

/// The names that an order asks for, lower case and without doubles.
///
/// `refused` are names that policy forbids; a wildcard of such a name is forbidden too.
pub(crate) fn order_names(
    identifiers: &[Identifier],
    refused: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Problem> {
    if identifiers.is_empty() {
        return Err(Problem::malformed("the order has no identifiers"));
    }
    if identifiers.len() > MAX_NAMES {
        return Err(Problem::malformed(format!(
            "the order has more than {MAX_NAMES} identifiers"
        )));
    }
    let mut names = BTreeSet::new();
    let mut wrong: Vec<(Kind, Subproblem)> = Vec::new();
    for identifier in identifiers {
        let name = identifier.value.to_ascii_lowercase();
        let fault = if identifier.kind == "dns" {
            check(&name, refused)
        } else {
            Some((
                Kind::UnsupportedIdentifier,
                format!(
                    "identifiers of type `{}` are not supported",
                    identifier.kind
                ),
            ))
        };
        match fault {
            Some((kind, detail)) => {
                wrong.push((kind, Subproblem::new(kind, detail, identifier.clone())));
            }
            None => {
                names.insert(name);
            }
        }
    }
    let Some((first, _)) = wrong.first() else {
        return Ok(names);
    };
    // RFC 8555, section 6.7.1: the type of the whole is that of the parts where they agree.
    let kind = if wrong.iter().all(|(kind, _)| kind == first) {
        *first
    } else {
        Kind::Malformed
    };
    let listed: Vec<String> = wrong
        .iter()
        .map(|(_, part)| format!("{}: {}", part.identifier.value, part.detail))
        .collect();
    Err(
        Problem::new(kind, format!("the order is refused: {}", listed.join("; ")))
            .with_subproblems(wrong.into_iter().map(|(_, part)| part).collect()),
    )
}

/// What is wrong with `name`, if anything. `name` is lower case.
fn check(name: &str, refused: &BTreeSet<String>) -> Option<(Kind, String)> {
    let malformed = |detail: &str| Some((Kind::Malformed, detail.to_owned()));
    let host = name.strip_prefix("*.").unwrap_or(name);
    if host.is_empty() {
        return malformed("the name is empty");
    }
    if !name.is_ascii() {
        return malformed("the name is not ascii; write it in punycode");
    }
    if host.len() > 253 {
        return malformed("the name is longer than 253 characters");
    }
    if host.contains('*') {
        return malformed("a wildcard may only be the whole leftmost label");
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        return malformed("the name is an ip address");
    }
    if host.ends_with('.') {
        return malformed("the name ends with a dot");
    }
    for label in host.split('.') {
        if label.is_empty() {
            return malformed("the name has an empty label");
        }
        if label.len() > 63 {
            return malformed("a label of the name is longer than 63 characters");
        }
        if !label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return malformed("the name has a character that host names cannot have");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return malformed("a label of the name starts or ends with a hyphen");
        }
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return malformed("the last label of the name is a number");
    }
    if !host.contains('.') {
        let detail = "the name has one label; this server issues for two or more";
        return Some((Kind::RejectedIdentifier, detail.to_owned()));
    }
    if refused.contains(host) || refused.contains(name) {
        let detail = "policy forbids issuing for this name";
        return Some((Kind::RejectedIdentifier, detail.to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(names: &[&str]) -> Vec<Identifier> {
        names.iter().map(|name| Identifier::dns(*name)).collect()
    }

    #[test]
    fn names_are_lower_case_and_single() {
        let names = order_names(&dns(&["A.Test", "a.test", "*.b.test"]), &BTreeSet::new()).unwrap();
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            ["*.b.test", "a.test"]
        );
    }

    #[test]
    fn each_malformed_name_is_named_in_a_subproblem() {
        let label = format!("{}.test", "a".repeat(64));
        for bad in [
            "",
            "*.",
            "a..test",
            "a.test.",
            ".test",
            "-a.test",
            "a-.test",
            "a_b.test",
            "b.*.test",
            "*a.test",
            "10.0.0.1",
            "::1",
            "a.test:80",
            "exämple.test",
            "a.1",
            &label,
            "a b.test",
        ] {
            let problem = order_names(&dns(&["ok.test", bad]), &BTreeSet::new()).unwrap_err();
            assert_eq!(problem.kind, Kind::Malformed.urn(), "{bad}");
            assert_eq!(problem.subproblems.len(), 1, "{bad}");
            assert_eq!(problem.subproblems[0].identifier.value, bad);
        }
    }

    #[test]
    fn policy_rejects_single_labels_and_refused_names_with_their_wildcards() {
        let refused = BTreeSet::from(["no.test".to_owned()]);
        for bad in ["localhost", "no.test", "*.no.test", "NO.test"] {
            let problem = order_names(&dns(&[bad]), &refused).unwrap_err();
            assert_eq!(problem.kind, Kind::RejectedIdentifier.urn(), "{bad}");
        }
        assert!(order_names(&dns(&["yes.no.test"]), &refused).is_ok());
    }

    #[test]
    fn an_order_with_different_faults_is_malformed_as_a_whole() {
        let problem = order_names(&dns(&["localhost", "a_b.test"]), &BTreeSet::new()).unwrap_err();
        assert_eq!(problem.kind, Kind::Malformed.urn());
        assert_eq!(problem.subproblems.len(), 2);
    }
}
