use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Caller, POLL, rfc3339};
use crate::jws::Jws;
use crate::model::{
    Authorization, AuthorizationStatus, Challenge, ChallengeKind, ChallengeStatus, Identifier,
};
use crate::problem::Problem;
use crate::server::{Inner, State};

#[derive(Deserialize)]
struct AuthorizationUpdate {
    status: String,
}

impl Inner {
    fn challenge_json(&self, authorization: &str, challenge: &Challenge) -> Value {
        let kind = challenge.kind.as_str();
        let mut body = json!({
            "type": kind,
            "url": self.url(&format!("/challenge/{authorization}/{kind}")),
            "status": challenge.status,
            "token": challenge.token,
        });
        if let Some(at) = challenge.validated {
            body["validated"] = rfc3339(at).into();
        }
        if let Some(problem) = &challenge.error {
            body["error"] = json!(problem);
        }
        body
    }

    fn authorization_answer(&self, id: &str, authorization: &Authorization) -> Answer {
        let challenges: Vec<Value> = authorization
            .challenges
            .iter()
            // RFC 8555, section 7.1.4: once it is decided, only the challenge that was tried.
            .filter(|challenge| {
                authorization.status == AuthorizationStatus::Pending
                    || challenge.status != ChallengeStatus::Pending
            })
            .map(|challenge| self.challenge_json(id, challenge))
            .collect();
        let mut body = json!({
            "identifier": Identifier::dns(authorization.name.as_str()),
            "status": authorization.status,
            "expires": rfc3339(authorization.expires),
            "challenges": challenges,
        });
        if authorization.wildcard {
            body["wildcard"] = true.into();
        }
        let answer = Answer::json(&body);
        if authorization.status == AuthorizationStatus::Pending {
            answer.retry_after(POLL)
        } else {
            answer
        }
    }

    /// RFC 8555, sections 7.5 and 7.5.2.
    pub(super) fn authorization(
        &self,
        state: &mut State,
        id: &str,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        let now = self.clock.now();
        let authorization = own(state, id, caller)?;
        authorization.settle(now);
        if jws.payload.is_empty() {
            return Ok(self.authorization_answer(id, authorization));
        }
        let update: AuthorizationUpdate = jws.json()?;
        if update.status != "deactivated" {
            return Err(Problem::malformed(
                "an authorization can only be deactivated",
            ));
        }
        let live = matches!(
            authorization.status,
            AuthorizationStatus::Pending | AuthorizationStatus::Valid
        );
        if !live {
            return Err(Problem::malformed(
                "the authorization is neither pending nor valid",
            ));
        }
        authorization.status = AuthorizationStatus::Deactivated;
        let answer = self.authorization_answer(id, authorization).changed();
        state.touch();
        Ok(answer)
    }

    /// RFC 8555, section 7.5.1: reads a challenge, or says that it is ready to be validated. A
    /// challenge that is being or was validated is not started again.
    pub(super) fn challenge(
        &self,
        state: &mut State,
        id: &str,
        kind: &str,
        caller: &Caller,
        jws: &Jws,
    ) -> Result<Answer, Problem> {
        let now = self.clock.now();
        let authorization = own(state, id, caller)?;
        authorization.settle(now);
        let busy = authorization.is_processing();
        let status = authorization.status;
        let challenge = authorization
            .challenges
            .iter_mut()
            .find(|challenge| challenge.kind.as_str() == kind)
            .ok_or_else(|| Problem::not_found("challenge"))?;
        let mut start = false;
        let mut changed = false;
        if !jws.payload.is_empty() {
            // RFC 8555, section 7.5.1: an empty object; unknown fields are ignored.
            jws.json::<serde_json::Map<String, Value>>()?;
            if challenge.status == ChallengeStatus::Pending {
                if status != AuthorizationStatus::Pending {
                    return Err(Problem::malformed("the authorization is no longer pending"));
                }
                if busy {
                    let detail = "another challenge of the authorization is being validated";
                    return Err(Problem::malformed(detail));
                }
                changed = true;
                if challenge.kind == ChallengeKind::Http01 {
                    challenge.status = ChallengeStatus::Processing;
                    start = true;
                } else {
                    let detail = format!("this server validates http-01 only, not {kind}");
                    challenge.status = ChallengeStatus::Invalid;
                    challenge.error = Some(Problem::malformed(detail));
                }
            }
        }
        let mut answer = Answer::json(&self.challenge_json(id, challenge))
            .link(&self.url(&format!("/authorization/{id}")), "up");
        if challenge.status == ChallengeStatus::Processing {
            answer = answer.retry_after(POLL);
        }
        if changed {
            if !start {
                authorization.status = AuthorizationStatus::Invalid;
            }
            answer = answer.changed();
            state.touch();
        }
        answer.validate = start.then(|| id.to_owned());
        Ok(answer)
    }
}

fn own<'a>(
    state: &'a mut State,
    id: &str,
    caller: &Caller,
) -> Result<&'a mut Authorization, Problem> {
    state
        .records
        .authorizations
        .get_mut(id)
        .filter(|authorization| authorization.account == caller.id)
        .ok_or_else(|| Problem::not_found("authorization"))
}
