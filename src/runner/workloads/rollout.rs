//! What a Deployment's rolling update does next, from the counts of its replica sets.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The counts of one replica set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetState {
    pub(super) name: String,
    /// It has the current template.
    pub(super) current: bool,
    /// How many Pods it is to have.
    pub(super) wanted: usize,
    /// How many of its Pods are ready.
    pub(super) ready: usize,
}

/// How far a rolling update may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// How many Pods the Deployment wants.
    pub(super) wanted: usize,
    /// How many Pods there may be above that.
    pub(super) surge: usize,
    /// How many ready Pods there may be below that.
    pub(super) unavailable: usize,
}

/// The sets whose number of Pods changes now, and to what. Sets are in the order of their age, the
/// oldest first. New Pods come before old ones go; of the old ones those go first that serve nobody.
///
/// The rules are those of Kubernetes' Deployment controller: a step either adds to the current set or
/// takes from the old ones.
pub(super) fn next(room: Room, sets: &[SetState]) -> Vec<(String, usize)> {
    let all: usize = sets.iter().map(|set| set.wanted).sum();
    let Some(current) = sets.iter().find(|set| set.current) else {
        return Vec::new();
    };
    if current.wanted > room.wanted {
        return vec![(current.name.clone(), room.wanted)];
    }
    let more = (room.wanted - current.wanted).min((room.wanted + room.surge).saturating_sub(all));
    if more > 0 {
        return vec![(current.name.clone(), current.wanted + more)];
    }
    let needed = room.wanted.saturating_sub(room.unavailable);
    let coming = current.wanted.saturating_sub(current.ready);
    // Never below what is needed, even if all that comes is late.
    let mut spare = all.saturating_sub(needed + coming);
    let mut left = Vec::new();
    for set in sets.iter().filter(|set| !set.current) {
        let unready = set.wanted.saturating_sub(set.ready).min(spare);
        spare -= unready;
        left.push(set.wanted - unready);
    }
    let ready: usize = sets.iter().map(|set| set.ready.min(set.wanted)).sum();
    let mut spare_ready = ready.saturating_sub(needed).min(spare);
    let old = sets.iter().filter(|set| !set.current).zip(left);
    old.filter_map(|(set, wanted)| {
        let fewer = wanted.min(spare_ready);
        spare_ready -= fewer;
        (wanted - fewer != set.wanted).then(|| (set.name.clone(), wanted - fewer))
    })
    .collect()
}

/// A count or a share of `of`.
pub(super) fn share(value: Option<&IntOrString>, of: usize, round_up: bool) -> usize {
    match value {
        Some(IntOrString::Int(n)) => usize::try_from(*n).unwrap_or(0),
        Some(IntOrString::String(text)) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(25);
            (of * percent + if round_up { 99 } else { 0 }) / 100
        }
        None => (of + if round_up { 3 } else { 0 }) / 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Room = Room {
        wanted: 2,
        surge: 1,
        unavailable: 0,
    };

    fn set(name: &str, wanted: usize, ready: usize) -> SetState {
        SetState {
            name: name.to_owned(),
            current: name == "new",
            wanted,
            ready,
        }
    }

    fn step(name: &str, wanted: usize) -> Vec<(String, usize)> {
        vec![(name.to_owned(), wanted)]
    }

    #[test]
    fn a_rollout_adds_before_it_removes() {
        assert_eq!(
            next(TWO, &[set("old", 2, 2), set("new", 0, 0)]),
            step("new", 1)
        );
        assert_eq!(next(TWO, &[set("old", 2, 2), set("new", 1, 0)]), []);
        assert_eq!(
            next(TWO, &[set("old", 2, 2), set("new", 1, 1)]),
            step("old", 1)
        );
        assert_eq!(
            next(TWO, &[set("old", 1, 2), set("new", 1, 1)]),
            step("new", 2)
        );
        assert_eq!(next(TWO, &[set("old", 1, 1), set("new", 2, 1)]), []);
        assert_eq!(
            next(TWO, &[set("old", 1, 1), set("new", 2, 2)]),
            step("old", 0)
        );
        assert_eq!(next(TWO, &[set("old", 0, 0), set("new", 2, 2)]), []);
    }

    #[test]
    fn a_count_that_is_not_up_to_date_removes_nobody() {
        // The old set was told to have one Pod and still counts two.
        assert_eq!(next(TWO, &[set("old", 1, 2), set("new", 2, 1)]), []);
    }

    #[test]
    fn old_ones_that_are_not_ready_make_room() {
        assert_eq!(
            next(TWO, &[set("old", 2, 1), set("new", 1, 1)]),
            step("old", 1)
        );
        let sets = [set("older", 1, 1), set("old", 1, 0), set("new", 1, 1)];
        assert_eq!(next(TWO, &sets), step("old", 0));
    }

    #[test]
    fn scale_in_is_of_the_current_set() {
        assert_eq!(next(TWO, &[set("new", 3, 3)]), step("new", 2));
        let none = Room { wanted: 0, ..TWO };
        assert_eq!(next(none, &[set("new", 2, 2)]), step("new", 0));
    }
}
