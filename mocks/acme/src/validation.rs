use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::fetch::Fetched;
use crate::ledger::ValidationRecord;
use crate::model::{AuthorizationStatus, ChallengeKind, ChallengeStatus};
use crate::problem::{Kind, Problem};
use crate::server::Inner;

/// RFC 8555, section 8.2 lets a server try again, since a new answer may take time to be everywhere.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a validation counts (RFC 8555, section 7.1.4).
const VALID_FOR: Duration = Duration::from_hours(30 * 24);
/// How much of a wrong answer is quoted.
const QUOTED: usize = 60;

impl Inner {
    /// Starts the validation of the HTTP-01 challenge of an authorization.
    pub(crate) fn start_validation(self: &Arc<Self>, authorization: String) {
        let inner = self.clone();
        self.tasks.spawn("acme validation", async move {
            inner.validate(&authorization).await;
        });
    }

    async fn validate(&self, id: &str) {
        let Some((name, token, key_authorization)) = self.expected(id) else {
            return;
        };
        self.clock.sleep(self.faults.validation_delay(&name)).await;
        let mut outcome;
        if self.faults.take_failing_validation(&name) {
            outcome = Err(Problem::unauthorized(format!(
                "validation of {name} was told to fail"
            )));
            self.note_attempt(&name, 1, &outcome);
        } else {
            let mut attempt = 1;
            let mut pauses = PAUSES.iter();
            loop {
                outcome = self.ask(&name, &token, &key_authorization).await;
                self.note_attempt(&name, attempt, &outcome);
                if outcome.is_ok() {
                    break;
                }
                let Some(pause) = pauses.next() else { break };
                self.clock.sleep(*pause).await;
                attempt += 1;
            }
        }
        self.settle_validation(id, outcome);
        if let Err(error) = self.persist().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "validation was not stored"
            );
        }
    }

    /// The name, the token and the key authorization (RFC 8555, section 8.1) of a challenge that
    /// is being validated.
    fn expected(&self, id: &str) -> Option<(String, String, String)> {
        let state = self.state();
        let authorization = state.records.authorizations.get(id)?;
        let account = state.records.accounts.get(&authorization.account)?;
        let challenge = authorization.challenges.iter().find(|challenge| {
            challenge.kind == ChallengeKind::Http01
                && challenge.status == ChallengeStatus::Processing
        })?;
        let expected = format!("{}.{}", challenge.token, account.key.thumbprint());
        Some((
            authorization.name.clone(),
            challenge.token.clone(),
            expected,
        ))
    }

    async fn ask(&self, name: &str, token: &str, expected: &str) -> Result<(), Problem> {
        let path = format!("/.well-known/acme-challenge/{token}");
        let fetch = self.validator.get(name, &path);
        let fetched = match self.clock.timeout(DEADLINE, fetch).await {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(reason)) => return Err(Problem::new(Kind::Connection, reason)),
            Err(_) => {
                let detail = format!("{name} did not answer within {} s", DEADLINE.as_secs());
                return Err(Problem::new(Kind::Connection, detail));
            }
        };
        judge(name, expected, &fetched)
    }

    fn note_attempt(&self, name: &str, attempt: u32, outcome: &Result<(), Problem>) {
        let at = self.clock.now();
        self.state().ledger.validated(ValidationRecord {
            at,
            name: name.to_owned(),
            attempt,
            failure: outcome.as_ref().err().map(|problem| problem.detail.clone()),
        });
    }

    fn settle_validation(&self, id: &str, outcome: Result<(), Problem>) {
        let now = self.clock.now();
        let mut state = self.state();
        state.touch();
        let Some(authorization) = state.records.authorizations.get_mut(id) else {
            return;
        };
        let Some(challenge) = authorization
            .challenges
            .iter_mut()
            .find(|c| c.status == ChallengeStatus::Processing)
        else {
            return;
        };
        let status = match outcome {
            Ok(()) => {
                challenge.status = ChallengeStatus::Valid;
                challenge.validated = Some(now);
                AuthorizationStatus::Valid
            }
            Err(problem) => {
                challenge.status = ChallengeStatus::Invalid;
                challenge.error = Some(problem);
                AuthorizationStatus::Invalid
            }
        };
        // A client may have deactivated the authorization meanwhile; that stays.
        authorization.settle(now);
        if authorization.status == AuthorizationStatus::Pending {
            authorization.status = status;
            if status == AuthorizationStatus::Valid {
                authorization.expires = now.saturating_add(VALID_FOR).unwrap_or(now);
            }
        }
    }
}

/// RFC 8555, section 8.3: status 200, and a body that is the key authorization, white space at its
/// end aside.
fn judge(name: &str, expected: &str, fetched: &Fetched) -> Result<(), Problem> {
    if fetched.status != StatusCode::OK.as_u16() {
        let detail = format!("{name} answered status {} to the challenge", fetched.status);
        return Err(Problem::unauthorized(detail));
    }
    if fetched.body.trim_ascii_end() == expected.as_bytes() {
        return Ok(());
    }
    let start: Vec<u8> = fetched.body.iter().copied().take(QUOTED).collect();
    Err(Problem::unauthorized(format!(
        "{name} answered {} bytes that are not the key authorization: \"{}\"",
        fetched.body.len(),
        start.escape_ascii(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_authorization_with_status_200_passes() {
        let answer = |status, body: &'static str| {
            judge(
                "a.test",
                "token.print",
                &Fetched {
                    status,
                    body: body.into(),
                },
            )
            .is_ok()
        };
        assert!(answer(200, "token.print"));
        assert!(answer(200, "token.print \r\n"));
        assert!(!answer(200, " token.print"));
        assert!(!answer(200, "token.other"));
        assert!(!answer(200, ""));
        assert!(!answer(404, "token.print"));
        assert!(!answer(204, "token.print"));
    }
}
