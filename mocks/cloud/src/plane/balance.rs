//! Which member a new connection goes to.

use std::net::SocketAddr;

use super::Health;
use super::settings::Scheduler;

/// A member as the choice sees it.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) id: u64,
    pub(super) weight: u32,
    pub(super) health: Health,
    /// The credit of smooth weighted round robin.
    pub(super) credit: &'a mut i64,
}

/// The index of the member for a connection from `client`, without those in `tried`.
///
/// Members with weight 0 get nothing. Healthy ones come first; where there are none, the others are
/// tried, because a check can be wrong and nothing else is left.
pub(super) fn choose(
    scheduler: Scheduler,
    candidates: &mut [Candidate<'_>],
    tried: &[u64],
    client: SocketAddr,
    turn: &mut u64,
) -> Option<usize> {
    let usable = |c: &Candidate<'_>| c.weight > 0 && !tried.contains(&c.id);
    let well = |c: &Candidate<'_>| matches!(c.health, Health::Healthy | Health::Unchecked);
    let mut open: Vec<usize> = (0..candidates.len())
        .filter(|&i| usable(&candidates[i]) && well(&candidates[i]))
        .collect();
    if open.is_empty() {
        open = (0..candidates.len())
            .filter(|&i| usable(&candidates[i]))
            .collect();
    }
    match scheduler {
        _ if open.is_empty() => None,
        Scheduler::Weighted => smooth(candidates, &open),
        Scheduler::RoundRobin => {
            *turn = turn.wrapping_add(1);
            let count = u64::try_from(open.len()).unwrap_or(1);
            usize::try_from(*turn % count)
                .ok()
                .and_then(|index| open.get(index).copied())
        }
        Scheduler::Source => by_hash(candidates, &open, &client.ip().to_string()),
        Scheduler::Tuple => by_hash(candidates, &open, &client.to_string()),
    }
}

/// Smooth weighted round robin: each gets its weight as credit, the richest is chosen and pays the
/// sum. Members of one weight alternate instead of coming in runs.
fn smooth(candidates: &mut [Candidate<'_>], open: &[usize]) -> Option<usize> {
    let mut sum = 0;
    let mut best: Option<(usize, i64)> = None;
    for &index in open {
        let candidate = &mut candidates[index];
        let weight = i64::from(candidate.weight);
        sum += weight;
        *candidate.credit += weight;
        if best.is_none_or(|(_, credit)| *candidate.credit > credit) {
            best = Some((index, *candidate.credit));
        }
    }
    let (index, _) = best?;
    *candidates[index].credit -= sum;
    Some(index)
}

/// Rendezvous hashing: a member that leaves moves only its own clients.
fn by_hash(candidates: &[Candidate<'_>], open: &[usize], client: &str) -> Option<usize> {
    open.iter().copied().max_by_key(|&index| {
        let candidate = &candidates[index];
        (hash(client, candidate.id) >> 8).saturating_mul(u64::from(candidate.weight))
    })
}

/// FNV-1a with a final mix: the same in every process.
fn hash(client: &str, id: u64) -> u64 {
    let bytes = client.bytes().chain(id.to_be_bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table {
        rows: Vec<(u32, Health, i64)>,
        turn: u64,
    }

    impl Table {
        fn new(rows: &[(u32, Health)]) -> Self {
            Self {
                rows: rows.iter().map(|(w, h)| (*w, *h, 0)).collect(),
                turn: 0,
            }
        }

        fn choose(&mut self, scheduler: Scheduler, tried: &[u64], client: &str) -> Option<usize> {
            let mut candidates: Vec<Candidate<'_>> = (0..)
                .zip(&mut self.rows)
                .map(|(id, (weight, health, credit))| Candidate {
                    id,
                    weight: *weight,
                    health: *health,
                    credit,
                })
                .collect();
            let client = client.parse().unwrap();
            choose(scheduler, &mut candidates, tried, client, &mut self.turn)
        }
    }

    const CLIENT: &str = "127.0.0.1:4000";

    #[test]
    fn connections_follow_the_weights() {
        let mut table = Table::new(&[
            (3, Health::Healthy),
            (1, Health::Healthy),
            (0, Health::Healthy),
        ]);
        let mut counts = [0; 3];
        for _ in 0..40 {
            counts[table.choose(Scheduler::Weighted, &[], CLIENT).unwrap()] += 1;
        }
        assert_eq!(counts, [30, 10, 0]);
    }

    #[test]
    fn unhealthy_members_are_the_last_resort() {
        let mut table = Table::new(&[(100, Health::Unhealthy), (1, Health::Healthy)]);
        assert_eq!(table.choose(Scheduler::Weighted, &[], CLIENT), Some(1));
        assert_eq!(table.choose(Scheduler::Weighted, &[1], CLIENT), Some(0));
        assert_eq!(table.choose(Scheduler::Weighted, &[0, 1], CLIENT), None);
    }

    #[test]
    fn weight_zero_gets_nothing_even_when_all_are_unhealthy() {
        let mut table = Table::new(&[(0, Health::Healthy), (5, Health::Unhealthy)]);
        assert_eq!(table.choose(Scheduler::RoundRobin, &[], CLIENT), Some(1));
        assert_eq!(
            Table::new(&[(0, Health::Healthy)]).choose(Scheduler::RoundRobin, &[], CLIENT),
            None
        );
    }

    #[test]
    fn a_source_keeps_its_member() {
        let mut table = Table::new(&[(1, Health::Healthy); 5]);
        let first = table.choose(Scheduler::Source, &[], "127.0.0.9:1").unwrap();
        for port in 2..50 {
            let client = format!("127.0.0.9:{port}");
            assert_eq!(table.choose(Scheduler::Source, &[], &client), Some(first));
        }
        let spread: std::collections::BTreeSet<_> = (1..50)
            .map(|host| {
                table
                    .choose(Scheduler::Source, &[], &format!("127.0.0.{host}:1"))
                    .unwrap()
            })
            .collect();
        assert_eq!(spread.len(), 5);
    }
}
