use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Caller, POLL, rfc3339};
use crate::csr;
use crate::jws::Jws;
use crate::model::{
    Authorization, AuthorizationStatus, Challenge, ChallengeKind, ChallengeStatus, Finalized,
    Identifier, Order, OrderStatus, Records,
};
use crate::names::order_names;
use crate::problem::{Kind, Problem};
use crate::server::{Inner, State};

const ORDER_LIFETIME: Duration = Duration::from_hours(7 * 24);
/// How long an order can still be read after it has expired.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_hours(30 * 24);

/// The profiles that the directory names (draft-aaron-acme-profiles, section 3).
pub(super) fn profiles() -> Value {
    json!({
        "classic": "the certificate lifetime that the server was started with",
        "shortlived": "160 hours",
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    identifiers: Vec<Identifier>,
    not_before: Option<Value>,
    not_after: Option<Value>,
    replaces: Option<String>,
    profile: Option<String>,
}

#[derive(Deserialize)]
struct Finalize {
    csr: String,
}

impl Inner {
    fn order_url(&self, id: &str) -> String {
        self.url(&format!("/order/{id}"))
    }

    fn order_answer(&self, id: &str, order: &Order) -> Answer {
        let identifiers: Vec<Identifier> = order
            .names
            .iter()
            .map(|name| Identifier::dns(name.as_str()))
            .collect();
        let authorizations: Vec<String> = order
            .authorizations
            .iter()
            .map(|id| self.url(&format!("/authorization/{id}")))
            .collect();
        let mut body = json!({
            "status": order.status,
            "expires": rfc3339(order.expires),
            "identifiers": identifiers,
            "authorizations": authorizations,
            "finalize": format!("{}/finalize", self.order_url(id)),
        });
        if let Some(serial) = &order.certificate {
            body["certificate"] = self.url(&format!("/certificate/{serial}")).into();
        }
        if let Some(problem) = &order.error {
            body["error"] = json!(problem);
        }
        if let Some(replaces) = &order.replaces {
            body["replaces"] = replaces.as_str().into();
        }
        if let Some(profile) = &order.profile {
            body["profile"] = profile.as_str().into();
        }
        let answer = Answer::json(&body).location(self.order_url(id));
        match order.status {
            OrderStatus::Pending | OrderStatus::Processing => answer.retry_after(POLL),
            OrderStatus::Ready | OrderStatus::Valid | OrderStatus::Invalid => answer,
        }
    }

    /// RFC 8555, section 7.4; `replaces` is RFC 9773, section 5.
    pub(super) fn new_order(
        &self,
        state: &mut State,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        let wanted: NewOrder = jws.json()?;
        if wanted.not_before.is_some() || wanted.not_after.is_some() {
            return Err(Problem::malformed(
                "orders cannot choose notBefore or notAfter",
            ));
        }
        if let Some(profile) = &wanted.profile
            && profiles().get(profile).is_none()
        {
            let detail = "the profile is not one that the directory names";
            return Err(Problem::new(Kind::InvalidProfile, detail));
        }
        let names = order_names(&wanted.identifiers, &self.faults.refused_names())?;
        let replaced = match &wanted.replaces {
            Some(id) => Some(self.replaceable(state, id, &names, caller)?),
            None => None,
        };

        let now = self.clock.now();
        forget_old(&mut state.records, now);
        let expires = now.saturating_add(ORDER_LIFETIME).unwrap_or(now);
        let mut authorizations = Vec::new();
        for name in &names {
            let id = match self.reusable(&state.records, name, caller, now) {
                Some(id) => id,
                None => self.new_authorization(&mut state.records, name, caller, expires),
            };
            authorizations.push(id);
        }
        let id = self.fresh_id(|id| state.records.orders.contains_key(id));
        let order = Order {
            account: caller.id.clone(),
            status: OrderStatus::Pending,
            expires,
            names,
            authorizations,
            profile: wanted.profile,
            replaces: wanted.replaces,
            error: None,
            finalized: None,
            certificate: None,
        };
        state.records.orders.insert(id.clone(), order);
        if let Some(serial) = replaced
            && let Some(issued) = state.records.certificates.get_mut(&serial)
        {
            issued.replaced_by = Some(id.clone());
        }
        state.records.settle(&id, now);
        state.touch();
        let order = state
            .records
            .orders
            .get(&id)
            .ok_or_else(|| Problem::not_found("order"))?;
        Ok(self
            .order_answer(&id, order)
            .status(StatusCode::CREATED)
            .changed())
    }

    /// The serial number of the certificate that `id` names, if an order may replace it.
    fn replaceable(
        &self,
        state: &State,
        id: &str,
        names: &BTreeSet<String>,
        caller: &Caller,
    ) -> Result<String, Problem> {
        let (serial, issued) = self
            .certificate_of_id(&state.records, id)
            .ok_or_else(|| Problem::malformed("the order replaces an unknown certificate"))?;
        if issued.account != caller.id {
            let detail = "the order replaces a certificate of another account";
            return Err(Problem::unauthorized(detail));
        }
        if !issued.names.iter().any(|name| names.contains(name)) {
            let detail = "the order has no name of the certificate that it replaces";
            return Err(Problem::malformed(detail));
        }
        let taken = issued
            .replaced_by
            .as_ref()
            .and_then(|id| state.records.orders.get(id));
        if taken.is_some_and(|order| order.status != OrderStatus::Invalid) {
            let detail = "another order replaces this certificate already";
            return Err(Problem::new(Kind::AlreadyReplaced, detail));
        }
        Ok(serial)
    }

    /// A valid authorization of the account for `name`, when the script says to use it again.
    fn reusable(
        &self,
        records: &Records,
        name: &str,
        caller: &Caller,
        now: Timestamp,
    ) -> Option<String> {
        if !self.faults.reuses_authorizations() {
            return None;
        }
        let wildcard = name.starts_with("*.");
        let name = name.strip_prefix("*.").unwrap_or(name);
        let found = records.authorizations.iter().find(|(_, authorization)| {
            authorization.account == caller.id
                && authorization.status == AuthorizationStatus::Valid
                && authorization.expires > now
                && authorization.name == name
                && authorization.wildcard == wildcard
        });
        found.map(|(id, _)| id.clone())
    }

    fn new_authorization(
        &self,
        records: &mut Records,
        name: &str,
        caller: &Caller,
        expires: Timestamp,
    ) -> String {
        let wildcard = name.starts_with("*.");
        // RFC 8555, section 8.3: HTTP-01 cannot prove a wildcard; nor can TLS-ALPN-01 (RFC 8737).
        let kinds: &[ChallengeKind] = if wildcard {
            &[ChallengeKind::Dns01]
        } else {
            &[
                ChallengeKind::Http01,
                ChallengeKind::Dns01,
                ChallengeKind::TlsAlpn01,
            ]
        };
        let challenges = kinds
            .iter()
            .map(|&kind| Challenge {
                kind,
                status: ChallengeStatus::Pending,
                token: self.random.hex(32),
                validated: None,
                error: None,
            })
            .collect();
        let id = self.fresh_id(|id| records.authorizations.contains_key(id));
        let authorization = Authorization {
            account: caller.id.clone(),
            status: AuthorizationStatus::Pending,
            expires,
            name: name.strip_prefix("*.").unwrap_or(name).to_owned(),
            wildcard,
            challenges,
        };
        records.authorizations.insert(id.clone(), authorization);
        id
    }

    /// POST-as-GET of an order.
    pub(super) fn order(
        &self,
        state: &mut State,
        id: &str,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        jws.expect_empty()?;
        let changed = self.advance(state, id, caller)?;
        let order = state
            .records
            .orders
            .get(id)
            .ok_or_else(|| Problem::not_found("order"))?;
        let answer = self.order_answer(id, order);
        Ok(if changed { answer.changed() } else { answer })
    }

    /// RFC 8555, section 7.4.
    pub(super) fn finalize(
        &self,
        state: &mut State,
        id: &str,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        let wanted: Finalize = jws.json()?;
        self.advance(state, id, caller)?;
        let order = state
            .records
            .orders
            .get_mut(id)
            .ok_or_else(|| Problem::not_found("order"))?;
        if order.status != OrderStatus::Ready {
            let detail = "the order is not ready: its status is not `ready`";
            return Err(Problem::new(Kind::OrderNotReady, detail));
        }
        let csr = BASE64_URL_SAFE_NO_PAD
            .decode(&wanted.csr)
            .map_err(|_| Problem::new(Kind::BadCsr, "the csr is not unpadded base64url"))?;
        let public_key = csr::public_key(&csr, &order.names, &caller.key)?;
        let now = self.clock.now();
        order.status = OrderStatus::Processing;
        order.finalized = Some(Finalized {
            public_key: BASE64_STANDARD.encode(public_key),
            issue_at: now
                .saturating_add(self.faults.processing_delay())
                .unwrap_or(now),
        });
        state.touch();
        self.advance(state, id, caller)?;
        let order = state
            .records
            .orders
            .get(id)
            .ok_or_else(|| Problem::not_found("order"))?;
        Ok(self.order_answer(id, order).changed())
    }
}

/// Drops orders that expired long ago, and the authorizations that only they knew.
fn forget_old(records: &mut Records, now: Timestamp) {
    let Ok(limit) = now.checked_sub(KEPT_AFTER_EXPIRY) else {
        return;
    };
    records.orders.retain(|_, order| order.expires > limit);
    records
        .authorizations
        .retain(|_, authorization| authorization.expires > limit);
}
