//! Rate limits, one per action, kept on our side so that the account's share is not used up.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gatewright_seams::Clock;

/// Calls a minute for each action that has a limit of its own; the defaults that the cloud
/// publishes for an account and region:
/// <https://alibabacloud.com/help/en/slb/classic-load-balancer/developer-reference/api-slb-2014-05-15-quota>.
const PER_MINUTE: [(&str, u32); 4] = [
    ("SetLoadBalancerDeleteProtection", 400),
    ("TagResources", 180),
    ("UntagResources", 180),
    ("ListTagResources", 180),
];
const READS_PER_MINUTE: u32 = 3000;
const WRITES_PER_MINUTE: u32 = 90;

fn per_minute(action: &str) -> u32 {
    if let Some((_, limit)) = PER_MINUTE.iter().find(|(name, _)| *name == action) {
        return *limit;
    }
    let read = ["Describe", "List", "Get"]
        .iter()
        .any(|prefix| action.starts_with(prefix));
    if read {
        READS_PER_MINUTE
    } else {
        WRITES_PER_MINUTE
    }
}

/// Token buckets on the clock. A third of a minute's calls may come at once and the rest is spread,
/// so that no minute holds more than its limit.
pub(super) struct Limiter {
    clock: Clock,
    /// For each action, the time on the clock up to which its calls are accounted for.
    accounted: Mutex<BTreeMap<&'static str, Duration>>,
}

impl Limiter {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            accounted: Mutex::default(),
        }
    }

    /// Waits for a turn. Turns are given in the order in which they are asked for; one that is
    /// given up while waiting is lost.
    pub(super) async fn take(&self, action: &'static str) {
        let wait = self.reserve(action);
        if !wait.is_zero() {
            tracing::debug!(action, ?wait, "waiting for the rate limit");
            self.clock.sleep(wait).await;
        }
    }

    fn reserve(&self, action: &'static str) -> Duration {
        let limit = per_minute(action);
        let burst = limit / 3;
        let spacing = Duration::from_mins(1) / (limit - burst);
        let now = self.clock.elapsed();
        let mut accounted = self
            .accounted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let until = accounted.entry(action).or_default();
        let start = (*until).max(now);
        *until = start + spacing;
        (start + spacing)
            .saturating_sub(spacing * burst)
            .saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_minute_holds_more_calls_than_the_limit() {
        let clock = Clock::starting_at(jiff::Timestamp::UNIX_EPOCH);
        let limiter = Limiter::new(clock);
        let mut times = Vec::new();
        for _ in 0..300 {
            limiter.take("CreateVServerGroup").await;
            times.push(clock.elapsed());
        }
        for window in times.windows(91) {
            assert!(
                window[90] >= window[0] + Duration::from_mins(1),
                "{window:?}"
            );
        }
        assert!(times[29].is_zero(), "a burst passes at once");
        assert!(times[299] < Duration::from_mins(5), "the limit is used");
    }

    #[tokio::test(start_paused = true)]
    async fn actions_do_not_wait_for_each_other() {
        let clock = Clock::starting_at(jiff::Timestamp::UNIX_EPOCH);
        let limiter = Limiter::new(clock);
        for _ in 0..30 {
            limiter.take("CreateVServerGroup").await;
        }
        limiter.take("DescribeVServerGroups").await;
        assert!(clock.elapsed().is_zero());
        assert!(!limiter.reserve("CreateVServerGroup").is_zero());
    }
}
