use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::endpoint::Endpoint;

/// What happens to a request instead of its normal answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestFault {
    /// 429 `rateLimited` without effect. `Retry-After` is in whole seconds, rounded up.
    RateLimited { retry_after: Duration },
    /// This 5xx status with a `serverInternal` problem, without effect.
    ServerError { status: u16 },
    /// After `wait` the connection breaks; the request had no effect.
    TimeoutBefore { wait: Duration },
    /// The request has its effect; after `wait` the connection breaks without an answer.
    TimeoutAfter { wait: Duration },
    /// Accepted, without effect, and never answered: ends when the client goes or the mock stops.
    NeverAnswer,
}

#[derive(Debug)]
struct Script {
    endpoint: Option<Endpoint>,
    fault: RequestFault,
    left: u32,
}

#[derive(Debug, Default)]
struct Plan {
    bad_nonces: u32,
    scripts: VecDeque<Script>,
    failing_validations: BTreeMap<String, u32>,
    slow_validations: BTreeMap<String, Duration>,
    processing: Duration,
    failing_issuances: u32,
    refused_names: BTreeSet<String>,
    reuse_authorizations: bool,
}

/// The script of failures. Everything is off at first.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Plan>);

impl Faults {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` signed requests are answered `badNonce`, whatever nonce they bring.
    pub fn bad_nonce(&self, times: u32) {
        self.plan().bad_nonces = times;
    }

    /// The next `times` requests to `endpoint` (any, when none) meet `fault`. Scripts are used up
    /// in the order they were given.
    pub fn request(&self, endpoint: impl Into<Option<Endpoint>>, fault: RequestFault, times: u32) {
        let script = Script {
            endpoint: endpoint.into(),
            fault,
            left: times,
        };
        self.plan().scripts.push_back(script);
    }

    /// The next `times` validations of `name` fail without a request being sent.
    pub fn fail_validation(&self, name: &str, times: u32) {
        self.plan()
            .failing_validations
            .insert(name.to_ascii_lowercase(), times);
    }

    /// Every validation of `name` starts only after `delay`.
    pub fn slow_validation(&self, name: &str, delay: Duration) {
        self.plan()
            .slow_validations
            .insert(name.to_ascii_lowercase(), delay);
    }

    /// Orders finalized from now on stay `processing` for `delay`.
    pub fn processing(&self, delay: Duration) {
        self.plan().processing = delay;
    }

    /// The next `times` orders that are finalized become `invalid` with a `serverInternal` problem.
    pub fn fail_issuance(&self, times: u32) {
        self.plan().failing_issuances = times;
    }

    /// How many requests are still to fail.
    pub fn pending(&self) -> u32 {
        self.plan().scripts.iter().map(|script| script.left).sum()
    }

    /// New orders for `name` are refused with `rejectedIdentifier`.
    pub fn refuse_name(&self, name: &str) {
        self.plan().refused_names.insert(name.to_ascii_lowercase());
    }

    /// New orders use the account's valid authorizations again instead of asking for validation.
    pub fn reuse_authorizations(&self, reuse: bool) {
        self.plan().reuse_authorizations = reuse;
    }

    /// Takes back everything that was scripted.
    pub fn clear(&self) {
        *self.plan() = Plan::default();
    }

    pub(crate) fn take_bad_nonce(&self) -> bool {
        let mut plan = self.plan();
        let bad = plan.bad_nonces > 0;
        plan.bad_nonces = plan.bad_nonces.saturating_sub(1);
        bad
    }

    pub(crate) fn take_request(&self, endpoint: Option<Endpoint>) -> Option<RequestFault> {
        let mut plan = self.plan();
        plan.scripts.retain(|script| script.left > 0);
        let script = plan
            .scripts
            .iter_mut()
            .find(|script| script.endpoint.is_none() || script.endpoint == endpoint)?;
        script.left -= 1;
        Some(script.fault)
    }

    pub(crate) fn take_failing_validation(&self, name: &str) -> bool {
        let mut plan = self.plan();
        match plan.failing_validations.get_mut(name) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn take_failing_issuance(&self) -> bool {
        let mut plan = self.plan();
        let fails = plan.failing_issuances > 0;
        plan.failing_issuances = plan.failing_issuances.saturating_sub(1);
        fails
    }

    pub(crate) fn validation_delay(&self, name: &str) -> Duration {
        self.plan()
            .slow_validations
            .get(name)
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn processing_delay(&self) -> Duration {
        self.plan().processing
    }

    pub(crate) fn refused_names(&self) -> BTreeSet<String> {
        self.plan().refused_names.clone()
    }

    pub(crate) fn reuses_authorizations(&self) -> bool {
        self.plan().reuse_authorizations
    }
}
