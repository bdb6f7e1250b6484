//! The daemon dies at every request of its work, before and after the request has its effect, and
//! another one takes over: what it comes to is what an undisturbed one comes to.

mod phase;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::campaign::{self, Options, say};
use crate::plan::{Change, Seam, side};
use crate::run::{Run, difference, history, in_a_world, state};
use crate::{Crossings, Gates, Outcome, Side, SimOptions};
use phase::Phase;

const SEAMS: [Seam; 3] = [Seam::Cloud, Seam::Authority, Seam::Kube];
/// From the users' objects to a world at rest. Proxies count as healthy for a while by then.
const SETTLED: Duration = Duration::from_mins(1);
/// How long an undisturbed world is watched: longer than any work takes.
const WATCHED: Duration = Duration::from_mins(8);
/// How long nothing must happen at the end of it for the work to be done.
const STILL: Duration = Duration::from_mins(3);
const TICK: Duration = Duration::from_secs(1);
/// From a death to the next daemon.
const DEAD: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_secs(5);
/// How long a world may take after a death. Nothing that went wrong is to be waited for.
const LIMIT: Duration = Duration::from_mins(10);

/// What a phase ends in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct End {
    state: String,
    /// How often the certificate was issued and stored.
    revision: Option<i32>,
}

impl End {
    async fn of(run: &Run, phase: Phase) -> Self {
        let state = phase.plain(&state(&run.sim).await.expect("a state"));
        let certificate = run.sim.certificate().await;
        let status = certificate.and_then(|held| held.status);
        Self {
            state,
            revision: status.and_then(|status| status.revision),
        }
    }

    fn words(&self) -> String {
        format!("{}\nrevision {:?}", self.state, self.revision)
    }
}

/// A phase in which nobody dies.
struct Undisturbed {
    phase: Phase,
    end: End,
    /// How many certificates were ordered in the phase.
    orders: usize,
    took: Duration,
    /// What was asked at each seam until the work was done.
    requests: [Vec<String>; 3],
}

/// A moment of an undisturbed phase.
struct Sample {
    end: End,
    counts: [usize; 3],
    /// How many requests were more than looks at Kubernetes.
    acts: usize,
}

/// Where the daemon dies.
struct Point<'a> {
    undisturbed: &'a Undisturbed,
    seam: Seam,
    side: Side,
    /// Counted from 0 within the phase.
    number: usize,
}

impl Point<'_> {
    fn name(&self) -> &str {
        &self.undisturbed.requests[self.seam as usize][self.number]
    }

    /// How many requests of the same name there are before it in the phase. A request is found by
    /// its name: of two that are under way at once, either may be the first.
    fn others(&self) -> usize {
        let before = &self.undisturbed.requests[self.seam as usize][..self.number];
        before.iter().filter(|name| *name == self.name()).count()
    }

    fn line(&self) -> String {
        format!(
            "{:<9}  {:<5}  {:<6}  {} (request {})",
            self.undisturbed.phase.name(),
            seam(self.seam),
            side(self.side),
            self.name(),
            self.number + 1
        )
    }

    fn has(&self, words: &str) -> bool {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        plain(&self.line()).contains(&plain(words))
    }

    /// Lets the daemon of a new world die here.
    fn run(&self) -> Outcome {
        in_a_world(SimOptions::default(), async |run| {
            self.undisturbed.phase.begin(run).await;
            let orders = run.sim.laptop.acme.ledger().orders;
            let crossings = crossings(&run.sim.gates[0], self.seam).clone();
            crossings.stop_at_named(self.name(), self.others(), self.side);
            run.doomed.push((0, crossings));
            self.undisturbed.phase.happens(run).await;
            if self.die(run).await {
                run.pass(DEAD).await;
                run.watchman.happens();
                run.bring_up(0).await;
                self.come_to_the_end(run, orders).await;
            }
        })
    }

    /// Waits until the daemon has died.
    async fn die(&self, run: &mut Run) -> bool {
        // A tick more: the count ends with one.
        let mut left = self.undisturbed.took + TICK;
        while !run.doomed.is_empty() {
            if left.is_zero() {
                let violation = "the request was never made";
                run.watchman.violated(violation.to_owned());
            }
            if run.watchman.violation().is_some() {
                return false;
            }
            run.pass(TICK).await;
            left = left.saturating_sub(TICK);
        }
        true
    }

    async fn come_to_the_end(&self, run: &mut Run, orders_before: usize) {
        let expected = &self.undisturbed.end;
        let mut left = LIMIT;
        while run.watchman.violation().is_none() {
            run.pass(LOOK).await;
            let found = End::of(run, self.undisturbed.phase).await;
            if found == *expected {
                break;
            }
            if left.is_zero() {
                let differs = difference(&expected.words(), &found.words());
                run.watchman
                    .violated(format!("not the same within {LIMIT:?}:\n{differs}"));
            }
            left = left.saturating_sub(LOOK);
        }
        if run.watchman.violation().is_some() {
            return;
        }
        history::line("-- as it should be");
        let found = state(&run.sim).await.expect("a state");
        run.stays_quiet(&found).await;
        let orders = run.sim.laptop.acme.ledger().orders - orders_before;
        // One that was under way is lost with the daemon.
        if orders > self.undisturbed.orders + 1 {
            run.watchman
                .violated(format!("{orders} certificates were ordered"));
        }
    }
}

/// Lets the daemon die everywhere and prints what comes of it. Fails when it is not always the same.
pub(crate) fn run_all(options: &Options) -> ExitCode {
    let started = campaign::now();
    let mut phases = Vec::new();
    let mut failed = 0_usize;
    spread(
        &Phase::ALL,
        options.jobs(),
        |phase| undisturbed(*phase),
        |phase, result| match result {
            Ok(undisturbed) => {
                let [cloud, acme, kube] = undisturbed.requests.each_ref().map(Vec::len);
                say(&format!(
                    "{:<9}  undisturbed: {:?}, {cloud} calls to the cloud, {acme} requests to the \
                     authority, {kube} to Kubernetes",
                    phase.name(),
                    undisturbed.took
                ));
                phases.push(undisturbed);
            }
            Err(outcome) => {
                failed += 1;
                tell(phase.name(), &outcome);
            }
        },
    );
    let all = phases.iter().flat_map(points);
    let all: Vec<_> = all
        .filter(|point| options.only.as_ref().is_none_or(|only| point.has(only)))
        .collect();
    spread(&all, options.jobs(), Point::run, |point, outcome| {
        if outcome.violation.is_none() {
            say(&format!("{}  the same", point.line()));
        } else {
            failed += 1;
            tell(&point.line(), &outcome);
        }
    });
    say(&format!(
        "\n{} deaths in {} phases, {failed} failed, {:.0} s",
        all.len(),
        phases.len(),
        started.elapsed().as_secs_f64()
    ));
    if failed == 0 && !all.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn tell(what: &str, outcome: &Outcome) {
    let violation = outcome.violation.as_deref().unwrap_or_default();
    campaign::print(&format!("{what}  FAILED: {violation}"), outcome);
}

/// Runs a phase in which nobody dies.
fn undisturbed(phase: Phase) -> Result<Undisturbed, Outcome> {
    let mut found = None;
    let outcome = in_a_world(SimOptions::default(), async |run| {
        phase.begin(run).await;
        let orders = run.sim.laptop.acme.ledger().orders;
        let base = requests(run).map(|names| names.len());
        phase.happens(run).await;
        let mut samples = Vec::new();
        let mut passed = Duration::ZERO;
        while passed < WATCHED {
            run.pass(TICK).await;
            passed += TICK;
            samples.push(sample(run, phase).await);
        }
        let Some(last) = samples.pop() else { return };
        // The work is done with the first sample after which nothing changes.
        let done = samples
            .iter()
            .rposition(|sample| sample.end != last.end || sample.acts != last.acts)
            .map_or(0, |index| index + 1);
        let took = TICK * u32::try_from(done + 1).expect("a small number");
        if took + STILL > WATCHED {
            run.watchman.violated("it does not come to rest".to_owned());
            return;
        }
        let counts = samples[done].counts;
        let mut all = requests(run);
        for ((names, base), count) in all.iter_mut().zip(base).zip(counts) {
            *names = names[base..count].to_vec();
        }
        found = Some(Undisturbed {
            phase,
            end: last.end,
            orders: run.sim.laptop.acme.ledger().orders - orders,
            took,
            requests: all,
        });
    });
    match found {
        Some(found) if outcome.violation.is_none() => Ok(found),
        _ => Err(outcome),
    }
}

async fn sample(run: &Run, phase: Phase) -> Sample {
    let requests = requests(run);
    let looks = |names: &[String]| names.iter().filter(|name| name.starts_with("GET ")).count();
    let counts = requests.each_ref().map(Vec::len);
    Sample {
        end: End::of(run, phase).await,
        counts,
        acts: counts.iter().sum::<usize>() - looks(&requests[Seam::Kube as usize]),
    }
}

/// What was asked at each seam so far.
fn requests(run: &Run) -> [Vec<String>; 3] {
    SEAMS.map(|seam| crossings(&run.sim.gates[0], seam).names())
}

/// All places to die in a phase.
fn points(undisturbed: &Undisturbed) -> Vec<Point<'_>> {
    let mut points = Vec::new();
    for seam in SEAMS {
        for number in 0..undisturbed.requests[seam as usize].len() {
            for side in [Side::Before, Side::After] {
                points.push(Point {
                    undisturbed,
                    seam,
                    side,
                    number,
                });
            }
        }
    }
    points
}

fn crossings(gates: &Gates, seam: Seam) -> &Crossings {
    match seam {
        Seam::Cloud => &gates.cloud,
        Seam::Authority => &gates.acme,
        Seam::Kube => &gates.kube,
    }
}

fn seam(seam: Seam) -> &'static str {
    match seam {
        Seam::Cloud => "cloud",
        Seam::Authority => "acme",
        Seam::Kube => "kube",
    }
}

/// Does `work` to every item, `jobs` at a time, and gives each result to `done`, in order.
fn spread<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
    done: impl FnMut(&T, R) + Send,
) {
    let next = AtomicUsize::new(0);
    let finished = Mutex::new((0, BTreeMap::new(), done));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    let Some(item) = items.get(index) else { return };
                    let result = work(item);
                    let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
                    let (told, waiting, done) = &mut *finished;
                    waiting.insert(index, result);
                    while let Some(result) = waiting.remove(told) {
                        done(&items[*told], result);
                        *told += 1;
                    }
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_request_is_a_place_to_die_before_and_after() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let undisturbed = Undisturbed {
            phase: Phase::Create,
            end: End::default(),
            orders: 0,
            took: TICK,
            requests: [
                names(&["look", "make", "look"]),
                names(&["order"]),
                names(&[]),
            ],
        };
        let points = points(&undisturbed);
        let places = points.iter().map(|point| {
            let seam = point.seam as usize;
            (seam, point.name(), point.others(), point.side)
        });
        let places: BTreeSet<_> = places.collect();
        assert_eq!((points.len(), places.len()), (8, 8));
        assert!(places.contains(&(0, "look", 1, Side::After)));
    }

    #[test]
    fn results_are_told_in_order() {
        let mut told = Vec::new();
        spread(
            &[3, 1, 2],
            2,
            |item| item * 10,
            |item, result| told.push((*item, result)),
        );
        assert_eq!(told, [(3, 30), (1, 10), (2, 20)]);
    }
}
