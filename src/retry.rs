//! How long to wait before the next try: the one place that decides it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gatewright_core::ErrorClass;
use gatewright_seams::{Clock, Random};
use kube::runtime::utils::Backoff;

/// First ceiling of the backoff.
const BASE: Duration = Duration::from_millis(500);
/// Last ceiling for what time alone may mend.
const CEILING: Duration = Duration::from_mins(1);
/// For what only a person can mend: often enough that a mended key is noticed without a restart.
const FOR_A_PERSON: Duration = Duration::from_mins(2);

/// The same for a watch that was cut. The last is short: what happened while nobody watched is not
/// acted on before the watch is back, and a watch asks for little.
const WATCH_CEILING: Duration = Duration::from_secs(8);
/// A watch that failed longer ago than this has recovered meanwhile.
const WATCH_RECOVERED: Duration = Duration::from_secs(30);

/// Failures in a row, by object.
#[derive(Debug, Default)]
pub struct Failures(Mutex<BTreeMap<String, Failure>>);

#[derive(Debug, Default)]
struct Failure {
    count: u32,
    /// The resource version under which the failure was told, and until when to wait after it.
    told: Option<(String, Duration)>,
}

impl Failures {
    /// Counts a failure of `key` and says how long to wait.
    pub fn failed(&self, key: &str, class: ErrorClass, random: &Random) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = failures.entry(key.to_owned()).or_default();
        failure.count = failure.count.saturating_add(1);
        // Of its own: how long one object waits does not depend on what others drew.
        let random = random.child(&format!("{key} {}", failure.count));
        delay(class, failure.count, &random)
    }

    /// The failure of `key` was written into the object's status, which now has `version`. The
    /// next try is at `until` on the clock.
    pub fn told(&self, key: &str, version: String, until: Duration) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.entry(key.to_owned()).or_default().told = Some((version, until));
    }

    /// How long `key` has to wait when it was woken by nothing but our own telling of its failure:
    /// a text that differs from try to try would otherwise make each the cause of the next.
    pub fn echo(&self, key: &str, version: &str, now: Duration) -> Option<Duration> {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = &mut failures.get_mut(key)?.told;
        let (_, until) = told.take_if(|(told, _)| told == version)?;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Forgets the failures of `key`.
    pub fn succeeded(&self, key: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// How long watches wait after an error: exponential, and never long.
///
/// kube-rs's own default is not for us. In a controller one backoff stands before all of its
/// watches and each error stops all of them, so that an outage of a minute makes a controller with
/// four watches deaf for two minutes more; and before a single watch every attempt to list again
/// takes it back to its beginning.
pub struct WatchBackoff {
    clock: Clock,
    random: Random,
    /// How many watches stand behind it.
    watches: u32,
    errors: u32,
    last: Option<Duration>,
}

impl WatchBackoff {
    /// For `watches` watches in one stream, each of which has to fail before any waits longer.
    pub fn new(clock: Clock, random: &Random, watches: u32) -> Self {
        Self {
            clock,
            random: random.child(&random.hex(8)),
            watches: watches.max(1),
            errors: 0,
            last: None,
        }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = self.clock.elapsed();
        let before = self.last.replace(now);
        if before.is_none_or(|before| now.saturating_sub(before) > WATCH_RECOVERED) {
            self.errors = 0;
        }
        let round = (self.errors / self.watches).min(16);
        self.errors = self.errors.saturating_add(1);
        let ceiling = (BASE * 2u32.saturating_pow(round)).min(WATCH_CEILING);
        // A wait stops every watch of the stream, so that a round of errors takes as long as one.
        Some((ceiling / 2 + self.random.jitter(ceiling / 2)) / self.watches)
    }
}

impl Backoff for WatchBackoff {
    /// Time alone takes it back to the beginning: a watch tells that it begins to list before it
    /// knows whether anybody answers.
    fn reset(&mut self) {}
}

/// Exponential backoff with full jitter; `attempt` counts from 1.
pub fn delay(class: ErrorClass, attempt: u32, random: &Random) -> Duration {
    let ceiling = (BASE * 2u32.saturating_pow(attempt.min(16))).min(CEILING);
    // A floor keeps two tries apart even when the jitter falls low.
    let backoff = BASE / 2 + random.jitter(ceiling);
    match class {
        ErrorClass::Throttled {
            retry_after: Some(wait),
        } => wait + random.jitter(BASE),
        ErrorClass::Quota | ErrorClass::Refused | ErrorClass::Invalid => backoff
            .max(FOR_A_PERSON / 2 + random.jitter(FOR_A_PERSON / 2))
            .min(FOR_A_PERSON),
        _ => backoff,
    }
}

/// The class of an answer of the API server.
pub fn kube_class(error: &kube::Error) -> ErrorClass {
    match error {
        kube::Error::Api(status) => match status.code {
            409 => ErrorClass::Conflict,
            429 => ErrorClass::Throttled { retry_after: None },
            401 | 403 => ErrorClass::Refused,
            400 | 404 | 405 | 415 | 422 => ErrorClass::Invalid,
            _ => ErrorClass::Transient,
        },
        _ => ErrorClass::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_ceiling_and_start_anew_after_success() {
        let (failures, random) = (Failures::default(), Random::seeded(1));
        for _ in 0..50 {
            assert!(failures.failed("a", ErrorClass::Transient, &random) <= CEILING + BASE);
        }
        failures.succeeded("a");
        assert!(failures.failed("a", ErrorClass::Transient, &random) <= BASE * 3);
    }

    #[test]
    fn a_round_of_failed_watches_waits_no_longer_than_one_and_never_long() {
        let random = Random::seeded(1);
        let backoff = |watches| WatchBackoff::new(Clock::system(), &random, watches);
        let mut alone = backoff(1);
        assert!(alone.next().unwrap() <= BASE);
        for _ in 0..50 {
            // What kube-rs calls whenever it begins to list.
            alone.reset();
            assert!(alone.next().unwrap() <= WATCH_CEILING);
        }
        assert!(alone.next().unwrap() >= WATCH_CEILING / 2, "it grows");
        let mut shared = backoff(4);
        let mut round = || -> Duration { shared.by_ref().take(4).sum() };
        assert!(round() <= BASE, "one cut of all four");
        for _ in 0..50 {
            assert!(round() <= WATCH_CEILING);
        }
    }

    #[test]
    fn our_own_telling_of_a_failure_is_no_reason_to_try_again() {
        let (failures, random) = (Failures::default(), Random::seeded(1));
        let second = Duration::from_secs(1);
        failures.failed("a", ErrorClass::Refused, &random);
        failures.told("a", "7".into(), second * 9);
        assert_eq!(
            failures.echo("a", "6", second),
            None,
            "somebody else's write"
        );
        assert_eq!(failures.echo("a", "7", second), Some(second * 8));
        assert_eq!(
            failures.echo("a", "7", second),
            None,
            "whatever wakes it next is no echo"
        );
        failures.told("a", "8".into(), second * 9);
        assert_eq!(
            failures.echo("a", "8", second * 9),
            None,
            "its time has come"
        );
        failures.told("a", "9".into(), second * 9);
        failures.succeeded("a");
        assert_eq!(failures.echo("a", "9", second), None);
    }

    #[test]
    fn a_time_that_the_cloud_names_is_kept() {
        let wait = Duration::from_secs(7);
        let class = ErrorClass::Throttled {
            retry_after: Some(wait),
        };
        assert!(delay(class, 1, &Random::seeded(1)) >= wait);
    }

    #[test]
    fn what_a_person_must_mend_is_not_hammered() {
        assert!(delay(ErrorClass::Refused, 1, &Random::seeded(1)) >= Duration::from_mins(1));
    }
}
