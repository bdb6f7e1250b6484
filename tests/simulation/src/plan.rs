//! What happens in a history: made from a seed, told in words, and made shorter when it fails.

mod action;
mod wanted;

use std::time::Duration;

use fastrand::Rng;

pub use action::{Action, AuthorityFault, Change, CloudFault, Edit, Seam};
pub(crate) use wanted::delete;
pub use wanted::{Internal, Wanted};

use crate::Side;

/// How many replicas of the daemon a history has.
pub const REPLICAS: usize = 2;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// How long after the one before.
    pub after: Duration,
    pub action: Action,
}

/// What happens in a history, after the quickstart's objects were applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Of everything that is left to chance: this plan, ids, waiting times.
    pub seed: u64,
    pub steps: Vec<Step>,
    /// Whether the users take everything away in the end.
    pub leave: bool,
    /// How many more gateways there are that nobody changes.
    pub others: usize,
}

impl Plan {
    /// The plan of `seed`: the same one each time.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut steps = Vec::new();
        for _ in 0..rng.usize(3..=16) {
            let after = pause(&mut rng);
            let actions = action::random(&mut rng);
            for (index, action) in actions.into_iter().enumerate() {
                let after = if index == 0 { after } else { short(&mut rng) };
                steps.push(Step { after, action });
            }
        }
        Self {
            seed,
            steps,
            leave: rng.u8(0..8) == 0,
            others: usize::from(rng.u8(0..8) == 0),
        }
    }

    /// The plan without the steps from `from` on, `count` of them.
    pub fn without(&self, from: usize, count: usize) -> Self {
        let mut plan = self.clone();
        let end = (from + count).min(plan.steps.len());
        let gone: Duration = plan.steps.drain(from..end).map(|step| step.after).sum();
        // What is left happens when it did.
        if let Some(next) = plan.steps.get_mut(from) {
            next.after += gone;
        }
        plan
    }

    /// What the users want at first.
    pub(crate) fn first(&self) -> Wanted {
        Wanted {
            others: self.others,
            ..Wanted::default()
        }
    }

    /// What the users want in the end.
    pub fn wanted(&self) -> Wanted {
        let mut wanted = self.first();
        for step in &self.steps {
            if let Action::User(change) = &step.action {
                wanted.change(*change);
            }
        }
        wanted.settle(self.leave);
        wanted
    }
}

/// Mostly moments; now and then long enough for what waits on a timer.
fn pause(rng: &mut Rng) -> Duration {
    match rng.u8(0..10) {
        0..4 => Duration::from_millis(rng.u64(0..3_000)),
        4..8 => Duration::from_secs(rng.u64(2..60)),
        _ => Duration::from_secs(rng.u64(60..900)),
    }
}

fn short(rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(0..120_000))
}

/// Words for a side.
pub(crate) fn side(side: Side) -> &'static str {
    match side {
        Side::Before => "before",
        Side::After => "after",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan() {
        for seed in 0..100 {
            assert_eq!(Plan::of(seed), Plan::of(seed));
        }
        assert_ne!(Plan::of(1), Plan::of(2));
    }

    #[test]
    fn what_is_left_of_a_plan_happens_when_it_did() {
        let plan = Plan::of(3);
        let total = |plan: &Plan| plan.steps.iter().map(|step| step.after).sum::<Duration>();
        let shorter = plan.without(0, 2);
        assert_eq!(shorter.steps.len(), plan.steps.len() - 2);
        assert_eq!(total(&shorter), total(&plan));
    }
}
