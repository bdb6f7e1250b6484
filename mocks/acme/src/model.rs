use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::jwk::Jwk;
use crate::problem::Problem;

/// RFC 8555, section 9.7.7.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Identifier {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) value: String,
}

impl Identifier {
    pub(crate) fn dns(value: impl Into<String>) -> Self {
        Self {
            kind: "dns".to_owned(),
            value: value.into(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccountStatus {
    Valid,
    Deactivated,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) key: Jwk,
    pub(crate) status: AccountStatus,
    pub(crate) contact: Vec<String>,
    pub(crate) created: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OrderStatus {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) account: String,
    pub(crate) status: OrderStatus,
    pub(crate) expires: Timestamp,
    /// As they go into the certificate: lower case, wildcards with their `*.`.
    pub(crate) names: BTreeSet<String>,
    pub(crate) authorizations: Vec<String>,
    pub(crate) profile: Option<String>,
    pub(crate) replaces: Option<String>,
    pub(crate) error: Option<Problem>,
    /// Set by finalize. The certificate is issued once the clock has reached it.
    pub(crate) finalized: Option<Finalized>,
    /// Serial number of the certificate, lower-case hex.
    pub(crate) certificate: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Finalized {
    /// SubjectPublicKeyInfo, base64.
    pub(crate) public_key: String,
    pub(crate) issue_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    Deactivated,
    Expired,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Authorization {
    pub(crate) account: String,
    pub(crate) status: AuthorizationStatus,
    pub(crate) expires: Timestamp,
    /// Without the `*.` of a wildcard (RFC 8555, section 7.1.4).
    pub(crate) name: String,
    pub(crate) wildcard: bool,
    pub(crate) challenges: Vec<Challenge>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChallengeStatus {
    Pending,
    Processing,
    Valid,
    Invalid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ChallengeKind {
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "dns-01")]
    Dns01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl ChallengeKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Challenge {
    pub(crate) kind: ChallengeKind,
    pub(crate) status: ChallengeStatus,
    pub(crate) token: String,
    pub(crate) validated: Option<Timestamp>,
    pub(crate) error: Option<Problem>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Issued {
    pub(crate) account: String,
    pub(crate) names: Vec<String>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) at: Timestamp,
    /// Leaf and intermediate.
    pub(crate) chain_pem: String,
    pub(crate) revoked: Option<Revoked>,
    /// An order that replaces this certificate exists (RFC 9773, section 5).
    pub(crate) replaced_by: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Revoked {
    pub(crate) at: Timestamp,
    pub(crate) reason: u8,
}

/// Everything that survives a restart except the keys of the authority.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Records {
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) authorizations: BTreeMap<String, Authorization>,
    /// By serial number, lower-case hex.
    pub(crate) certificates: BTreeMap<String, Issued>,
}

impl Records {
    /// Brings the states of an order and its authorizations up to `now` (RFC 8555, section 7.1.6).
    pub(crate) fn settle(&mut self, order_id: &str, now: Timestamp) {
        let Some(order) = self.orders.get_mut(order_id) else {
            return;
        };
        for id in &order.authorizations {
            if let Some(authorization) = self.authorizations.get_mut(id) {
                authorization.settle(now);
            }
        }
        if !matches!(order.status, OrderStatus::Pending | OrderStatus::Ready) {
            return;
        }
        let parts: Vec<&Authorization> = order
            .authorizations
            .iter()
            .filter_map(|id| self.authorizations.get(id))
            .collect();
        if now >= order.expires {
            order.fail(Problem::malformed("the order has expired"));
        } else if parts.iter().all(|a| a.status == AuthorizationStatus::Valid) {
            order.status = OrderStatus::Ready;
        } else if let Some(failed) = parts.iter().find(|a| {
            !matches!(
                a.status,
                AuthorizationStatus::Valid | AuthorizationStatus::Pending
            )
        }) {
            let problem = failed.challenges.iter().find_map(|c| c.error.clone());
            order.fail(problem.unwrap_or_else(|| {
                Problem::unauthorized(format!("the authorization of {} ended", failed.name))
            }));
        } else {
            order.status = OrderStatus::Pending;
        }
    }

    /// The account that holds `key`, whatever its status.
    pub(crate) fn account_of_key(&self, key: &Jwk) -> Option<(&String, &Account)> {
        self.accounts
            .iter()
            .find(|(_, account)| account.key == *key)
    }
}

impl Order {
    fn fail(&mut self, problem: Problem) {
        self.status = OrderStatus::Invalid;
        self.error = Some(problem);
    }
}

impl Authorization {
    pub(crate) fn settle(&mut self, now: Timestamp) {
        let live = matches!(
            self.status,
            AuthorizationStatus::Pending | AuthorizationStatus::Valid
        );
        if live && now >= self.expires {
            self.status = AuthorizationStatus::Expired;
        }
    }

    pub(crate) fn is_processing(&self) -> bool {
        self.challenges
            .iter()
            .any(|c| c.status == ChallengeStatus::Processing)
    }
}
