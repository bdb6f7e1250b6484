//! Makes the plan of a history that fails shorter, as long as what is left still fails.

use crate::plan::Plan;

/// The shortest plan found by leaving steps out of `plan` for which `fails` is true; `tries` is how
/// often it may be asked.
pub fn shrink(plan: &Plan, mut tries: usize, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut shortest = plan.clone();
    let mut count = (shortest.steps.len() / 2).max(1);
    loop {
        let mut shorter = false;
        let mut from = 0;
        while from < shortest.steps.len() {
            if tries == 0 {
                return shortest;
            }
            tries -= 1;
            let tried = shortest.without(from, count);
            if fails(&tried) {
                shortest = tried;
                shorter = true;
            } else {
                from += count;
            }
        }
        if count > 1 {
            count /= 2;
        } else if !shorter {
            return shortest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, Change};

    #[test]
    fn only_the_steps_that_matter_are_left() {
        let mut plan = Plan::of(4);
        for number in [1, 3] {
            let step = &mut plan.steps[number];
            step.action = Action::User(Change::Scale(77));
        }
        let matters = |plan: &Plan| {
            let scales = plan.steps.iter();
            let scales = scales.filter(|step| step.action == Action::User(Change::Scale(77)));
            scales.count() == 2
        };
        let shortest = shrink(&plan, 1_000, matters);
        assert_eq!(shortest.steps.len(), 2);
    }
}
