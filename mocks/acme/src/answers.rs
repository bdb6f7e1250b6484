mod account;
mod authorization;
mod certificate;
mod issuing;
mod order;
mod renewal;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Route};
use crate::jwk::Jwk;
use crate::jws::{Jws, Signer};
use crate::model::{Account, AccountStatus};
use crate::problem::{Kind, Problem};
use crate::server::{Inner, State};

/// Tells a client when to ask again while something is under way. It is the shortest that the
/// header can say; what is awaited here takes milliseconds.
const POLL: Duration = Duration::from_secs(1);

const TERMS: &str = "This authority is for tests. Nobody should trust its root but a test.\n";

const JSON: &str = "application/json";
const JOSE_JSON: &str = "application/jose+json";
const PEM_CHAIN: &str = "application/pem-certificate-chain";
const PROBLEM_JSON: &str = "application/problem+json";

/// An answer before it is HTTP, and what must happen before it is sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Bytes,
    pub(crate) location: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) links: Vec<String>,
    /// The type of the problem, if it is one.
    pub(crate) problem: Option<String>,
    /// The records changed and must be made durable first.
    pub(crate) changed: bool,
    /// The authorization whose validation must be started.
    pub(crate) validate: Option<String>,
}

impl Answer {
    fn empty(status: StatusCode) -> Self {
        Self {
            status,
            content_type: None,
            body: Bytes::new(),
            location: None,
            retry_after: None,
            links: Vec::new(),
            problem: None,
            changed: false,
            validate: None,
        }
    }

    fn json(value: &Value) -> Self {
        Self::text(JSON, value.to_string())
    }

    fn text(content_type: &'static str, body: String) -> Self {
        Self {
            content_type: Some(content_type),
            body: body.into(),
            ..Self::empty(StatusCode::OK)
        }
    }

    pub(crate) fn problem(problem: Problem) -> Self {
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        Self {
            status,
            content_type: Some(PROBLEM_JSON),
            body: body.into(),
            problem: Some(problem.kind),
            ..Self::empty(status)
        }
    }

    fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    fn location(mut self, url: String) -> Self {
        self.location = Some(url);
        self
    }

    fn link(mut self, url: &str, relation: &str) -> Self {
        self.links.push(format!("<{url}>;rel=\"{relation}\""));
        self
    }

    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    fn changed(mut self) -> Self {
        self.changed = true;
        self
    }
}

/// The account that signed a request.
#[derive(Debug)]
struct Caller {
    id: String,
    key: Jwk,
}

/// Who signed a request, once the signature is checked.
#[derive(Debug)]
enum Authenticated {
    Account(Caller),
    Key(Jwk),
}

/// RFC 3339 without fractions.
fn rfc3339(at: Timestamp) -> String {
    whole_seconds(at).to_string()
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

impl Inner {
    /// Lets a request have its effect on the records and gives its answer.
    pub(crate) fn answer(
        &self,
        route: &Route<'_>,
        request: &Request<Bytes>,
    ) -> Result<Answer, Problem> {
        if !route.endpoint.allows(request.method()) {
            return Err(Problem::malformed("the resource does not take this method")
                .with_status(StatusCode::METHOD_NOT_ALLOWED));
        }
        match route.endpoint {
            Endpoint::Directory => return Ok(self.directory()),
            Endpoint::NewNonce if request.method() == Method::HEAD => {
                return Ok(Answer::empty(StatusCode::OK));
            }
            Endpoint::NewNonce => return Ok(Answer::empty(StatusCode::NO_CONTENT)),
            Endpoint::RenewalInfo => return self.renewal_info(&self.state(), route.id),
            Endpoint::Root => return Ok(Answer::text(PEM_CHAIN, self.authority.root_pem().into())),
            Endpoint::Terms => return Ok(Answer::text("text/plain", TERMS.to_owned())),
            _ => {}
        }
        let content_type = request.headers().get(header::CONTENT_TYPE);
        if content_type.is_none_or(|kind| kind.as_bytes() != JOSE_JSON.as_bytes()) {
            return Err(
                Problem::malformed(format!("the content type must be {JOSE_JSON}"))
                    .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            );
        }
        let jws = Jws::parse(request.body())?;
        let state = &mut *self.state();
        let url = self.url(
            request
                .uri()
                .path()
                .strip_prefix(self.base_path.as_str())
                .unwrap_or_default(),
        );
        let signer = self.authenticate(state, &jws, &url)?;
        match (route.endpoint, signer) {
            (Endpoint::NewAccount, Authenticated::Key(key)) => self.new_account(state, key, &jws),
            (Endpoint::NewAccount, Authenticated::Account(_)) => Err(Problem::malformed(
                "a new account must be asked for with a jwk, not a kid",
            )),
            (Endpoint::RevokeCertificate, signer) => self.revoke(state, &signer, &jws),
            (_, Authenticated::Key(_)) => Err(Problem::malformed(
                "the request must be signed with a kid, not a jwk",
            )),
            (endpoint, Authenticated::Account(caller)) => {
                self.answer_account(state, endpoint, route, &caller, &jws)
            }
        }
    }

    fn answer_account(
        &self,
        state: &mut State,
        endpoint: Endpoint,
        route: &Route<'_>,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        match endpoint {
            Endpoint::Account => self.account(state, route.id, caller, jws),
            Endpoint::AccountOrders => self.account_orders(state, route.id, caller, jws),
            Endpoint::KeyChange => self.change_key(state, caller, jws),
            Endpoint::NewOrder => self.new_order(state, caller, jws),
            Endpoint::Order => self.order(state, route.id, caller, jws),
            Endpoint::Finalize => self.finalize(state, route.id, caller, jws),
            Endpoint::Authorization => self.authorization(state, route.id, caller, jws),
            Endpoint::Challenge => self.challenge(state, route.id, route.part, caller, jws),
            Endpoint::Certificate => Self::certificate(state, route.id, caller, jws),
            Endpoint::Directory
            | Endpoint::NewNonce
            | Endpoint::NewAccount
            | Endpoint::RevokeCertificate
            | Endpoint::RenewalInfo
            | Endpoint::Root
            | Endpoint::Terms => Err(Problem::not_found("resource")),
        }
    }

    /// RFC 8555, section 7.1.1; renewal information is RFC 9773, section 4.
    fn directory(&self) -> Answer {
        Answer::json(&json!({
            "newNonce": self.url("/new-nonce"),
            "newAccount": self.url("/new-account"),
            "newOrder": self.url("/new-order"),
            "revokeCert": self.url("/revoke-certificate"),
            "keyChange": self.url("/key-change"),
            "renewalInfo": self.url("/renewal-info"),
            "meta": {
                "termsOfService": self.url("/terms"),
                "externalAccountRequired": false,
                "profiles": order::profiles(),
            },
        }))
    }

    /// Checks signature, nonce and URL (RFC 8555, sections 6.2 to 6.5).
    fn authenticate(
        &self,
        state: &mut State,
        jws: &Jws,
        url: &str,
    ) -> Result<Authenticated, Problem> {
        let signer = match &jws.signer {
            Signer::Key(key) => {
                jws.verify(key)?;
                Authenticated::Key(key.clone())
            }
            Signer::Account(kid) => {
                let (id, account) = self.account_of_kid(&state.records.accounts, kid)?;
                jws.verify(&account.key)?;
                if account.status != AccountStatus::Valid {
                    // RFC 8555, section 7.3.6.
                    return Err(Problem::unauthorized("the account is deactivated")
                        .with_status(StatusCode::UNAUTHORIZED));
                }
                Authenticated::Account(Caller {
                    id: id.to_owned(),
                    key: account.key.clone(),
                })
            }
        };
        let nonce = jws.nonce.as_deref().unwrap_or_default();
        let known = state.nonces.take(nonce);
        if self.faults.take_bad_nonce() || !known {
            return Err(Problem::new(
                Kind::BadNonce,
                "the nonce is not one that can be used",
            ));
        }
        if jws.url != url {
            return Err(Problem::unauthorized(
                "the url in the jws is not the one asked",
            ));
        }
        Ok(signer)
    }

    fn account_of_kid<'a>(
        &self,
        accounts: &'a BTreeMap<String, Account>,
        kid: &'a str,
    ) -> Result<(&'a str, &'a Account), Problem> {
        kid.strip_prefix(&self.url("/account/"))
            .and_then(|id| Some((id, accounts.get(id)?)))
            .ok_or_else(|| {
                Problem::new(
                    Kind::AccountDoesNotExist,
                    "the kid is not an account of this server",
                )
            })
    }

    /// An identifier for a new record, not in use yet.
    fn fresh_id(&self, in_use: impl Fn(&str) -> bool) -> String {
        loop {
            let id = self.random.hex(10);
            if !in_use(&id) {
                return id;
            }
        }
    }
}
