use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::certificate::serial_hex;
use super::{Answer, rfc3339};
use crate::model::{Issued, Records};
use crate::problem::Problem;
use crate::server::{Inner, State};

/// What RFC 9773, section 4.3.2 gives as an example of a sensible interval.
const ASK_AGAIN: Duration = Duration::from_hours(6);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

impl Inner {
    /// The certificate that a unique identifier (RFC 9773, section 4.1) names.
    pub(super) fn certificate_of_id<'a>(
        &self,
        records: &'a Records,
        id: &str,
    ) -> Option<(String, &'a Issued)> {
        let (key_id, serial) = id.split_once('.')?;
        if BASE64_URL_SAFE_NO_PAD.decode(key_id).ok()? != self.authority.key_id() {
            return None;
        }
        let serial = serial_hex(&BASE64_URL_SAFE_NO_PAD.decode(serial).ok()?);
        let issued = records.certificates.get(&serial)?;
        Some((serial, issued))
    }

    /// RFC 9773, section 4.2. A revoked certificate is to be renewed at once.
    pub(super) fn renewal_info(&self, state: &State, id: &str) -> Result<Answer, Problem> {
        let (_, issued) = self
            .certificate_of_id(&state.records, id)
            .ok_or_else(|| Problem::not_found("certificate"))?;
        let (start, end) = window(issued);
        let body = json!({
            "suggestedWindow": { "start": rfc3339(start), "end": rfc3339(end) },
        });
        Ok(Answer::json(&body).retry_after(ASK_AGAIN))
    }
}

/// From two thirds of the lifetime on, for a thirtieth of it.
fn window(issued: &Issued) -> (Timestamp, Timestamp) {
    if let Some(revoked) = &issued.revoked {
        return (
            revoked.at.saturating_sub(HOUR).unwrap_or(revoked.at),
            revoked.at,
        );
    }
    let lifetime = issued.not_after.duration_since(issued.not_before);
    let at = |passed: SignedDuration| {
        issued
            .not_before
            .saturating_add(passed)
            .unwrap_or(issued.not_after)
    };
    let start = lifetime / 3 * 2;
    (at(start), at(start + lifetime / 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Revoked;

    #[test]
    fn the_window_is_in_the_last_third_and_past_once_revoked() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let mut issued = Issued {
            account: String::new(),
            names: Vec::new(),
            not_before: time("2026-01-01T00:00:00Z"),
            not_after: time("2026-04-01T00:00:00Z"),
            at: time("2026-01-01T01:00:00Z"),
            chain_pem: String::new(),
            revoked: None,
            replaced_by: None,
        };
        let expected = (time("2026-03-02T00:00:00Z"), time("2026-03-05T00:00:00Z"));
        assert_eq!(window(&issued), expected);
        let at = time("2026-02-01T00:00:00Z");
        issued.revoked = Some(Revoked { at, reason: 1 });
        assert_eq!(window(&issued), (time("2026-01-31T23:00:00Z"), at));
    }
}
