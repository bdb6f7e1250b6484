use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::state::State;

/// What goes wrong with a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// `Throttling.User`, HTTP 400, with `x-acs-retry-after` when given.
    Throttle { retry_after: Option<Duration> },
    /// `ServiceUnavailable`, HTTP 503.
    Unavailable,
    /// `InternalError`, HTTP 500.
    Internal,
    /// Refused with this HTTP status and code, for example 400 `VServerGroupProcessing`.
    Refuse { status: u16, code: String },
    /// Nothing happens and no answer comes; the connection is cut after [`crate::Timings::hang`].
    TimeoutBefore,
    /// The call takes effect and no answer comes; the connection is cut after
    /// [`crate::Timings::hang`].
    TimeoutAfter,
    /// The call takes effect and the connection is cut at once.
    CutAnswer,
    /// The call takes effect and is answered, this much later.
    Delay(Duration),
    /// A read answers what was true when the fault was scripted.
    StaleRead,
}

#[derive(Debug)]
struct Script {
    action: String,
    skip: u32,
    times: u32,
    fault: Fault,
    seen: Arc<State>,
}

/// A fault that a call runs into, with the state that a stale read shows.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) fault: Fault,
    pub(crate) seen: Arc<State>,
}

/// Scripted failures. Faults of one action happen in the order in which they were scripted.
#[derive(Debug, Default)]
pub struct Faults {
    scripts: Mutex<Vec<Script>>,
    state: Mutex<Arc<State>>,
}

impl Faults {
    fn with<T>(&self, f: impl FnOnce(&mut Vec<Script>) -> T) -> T {
        f(&mut self.scripts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the next `times` calls of `action` (`*` for any) run into `fault`.
    pub fn next(&self, action: &str, times: u32, fault: Fault) {
        self.after(action, 0, times, fault);
    }

    /// Lets `skip` calls of `action` (`*` for any) pass, then makes the next `times` run into `fault`.
    pub fn after(&self, action: &str, skip: u32, times: u32, fault: Fault) {
        let seen = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let script = Script {
            action: action.to_owned(),
            skip,
            times,
            fault,
            seen,
        };
        self.with(|scripts| scripts.push(script));
    }

    /// Forgets every script that has not run out.
    pub fn clear(&self) {
        self.with(Vec::clear);
    }

    /// Forgets the stale reads that were not used: no cloud is behind for ever.
    pub fn forget_stale_reads(&self) {
        self.with(|scripts| scripts.retain(|held| !matches!(held.fault, Fault::StaleRead)));
    }

    /// How many calls are still to fail.
    pub fn pending(&self) -> u32 {
        self.with(|scripts| {
            scripts
                .iter()
                .fold(0_u32, |sum, script| sum.saturating_add(script.times))
        })
    }

    /// Remembers what is true now, for stale reads that are scripted later.
    pub(crate) fn see(&self, state: Arc<State>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The fault for this call of `action`, if one is due.
    pub(crate) fn take(&self, action: &str) -> Option<Hit> {
        self.with(|scripts| {
            let mut hit = None;
            for script in scripts
                .iter_mut()
                .filter(|s| s.action == action || s.action == "*")
            {
                if script.skip > 0 {
                    script.skip -= 1;
                } else if script.times > 0 {
                    script.times -= 1;
                    hit = Some(Hit {
                        fault: script.fault.clone(),
                        seen: script.seen.clone(),
                    });
                    break;
                }
            }
            scripts.retain(|script| script.times > 0);
            hit
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_hit_the_scripted_calls_only() {
        let faults = Faults::default();
        faults.after("A", 1, 2, Fault::Internal);
        faults.next("*", 1, Fault::Unavailable);
        assert!(matches!(
            faults.take("A").unwrap().fault,
            Fault::Unavailable
        ));
        assert!(faults.take("B").is_none());
        assert!(matches!(faults.take("A").unwrap().fault, Fault::Internal));
        assert_eq!(faults.pending(), 1);
        assert!(matches!(faults.take("A").unwrap().fault, Fault::Internal));
        assert!(faults.take("A").is_none());
    }
}
