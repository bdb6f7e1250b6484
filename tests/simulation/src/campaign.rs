//! Many histories, one a seed, on all processors.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::{Outcome, Plan, crashes, run, shrink};

/// What is run.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask sim", max_term_width = 100)]
pub struct Options {
    /// How many histories, one a seed
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,

    /// The first seed
    #[arg(long, default_value_t = 0, value_name = "S")]
    pub from: u64,

    /// How many gateways there are, of which all but one are left alone [default: one, sometimes two]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub gateways: Option<u16>,

    /// Print the history of every seed, also of those that hold
    #[arg(long)]
    pub verbose: bool,

    /// Go on after a history that fails, and count the kinds of failures
    #[arg(long)]
    pub keep_going: bool,

    /// Print the failing history as it is, without making it shorter first
    #[arg(long)]
    pub no_shrink: bool,

    /// How many run at once [default: one a processor]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,

    /// In place of histories from seeds: a death before and after every request of the daemon's work
    #[arg(long)]
    pub crashes: bool,

    /// Of the deaths only those whose line has these words, such as "scale in kube before"
    #[arg(long, requires = "crashes", value_name = "WORDS")]
    pub only: Option<String>,
}

impl Options {
    /// The plan of `seed`.
    fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::of(seed);
        if let Some(gateways) = self.gateways {
            plan.others = usize::from(gateways).saturating_sub(1);
        }
        plan
    }

    /// How many run at once.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
    }
}

/// What came of it so far.
#[derive(Default)]
struct Tally {
    done: u64,
    virtual_time: Duration,
    /// The failures: seed and what did not hold.
    failed: BTreeMap<u64, String>,
}

/// Runs the histories and prints what came of them. Fails when one did.
pub fn run_all(options: &Options) -> ExitCode {
    quiet_panics();
    if options.crashes {
        return crashes::run_all(options);
    }
    let started = now();
    let next = AtomicU64::new(options.from);
    let end = options.from.saturating_add(options.seeds);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..options.jobs() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    let stop = {
                        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                        !tally.failed.is_empty() && !options.keep_going
                    };
                    if seed >= end || stop {
                        return;
                    }
                    let outcome = run(&options.plan(seed));
                    if options.verbose {
                        print(&format!("seed {seed}"), &outcome);
                    }
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.done += 1;
                    tally.virtual_time += outcome.virtual_time;
                    if let Some(violation) = outcome.violation {
                        warn(&format!("seed {seed}: {}", first_line(&violation)));
                        tally.failed.insert(seed, violation);
                    }
                    progress(&tally, options, started);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary(&tally, options, started)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the speed of the simulation is real time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A history that panics is told with its history, and not twice.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn progress(tally: &Tally, options: &Options, started: Instant) {
    let every = if std::io::stderr().is_terminal() {
        1
    } else {
        100
    };
    if !tally.done.is_multiple_of(every) && tally.done != options.seeds {
        return;
    }
    let line = format!(
        "{} of {} histories, {} failed, {:.1} a second",
        tally.done,
        options.seeds,
        tally.failed.len(),
        rate(tally.done, started)
    );
    let mut err = std::io::stderr().lock();
    let written = if every == 1 {
        write!(err, "\r{line}\u{1b}[K")
    } else {
        writeln!(err, "{line}")
    };
    // Nobody reads it.
    drop(written);
}

fn rate(count: u64, started: Instant) -> f64 {
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of histories")]
    let count = count as f64;
    count / seconds.max(0.001)
}

fn summary(tally: &Tally, options: &Options, started: Instant) -> ExitCode {
    let days = tally.virtual_time.as_secs_f64() / 86_400.0;
    let seconds = started.elapsed().as_secs_f64();
    say(&format!(
        "\n{} histories, {days:.1} virtual days in {seconds:.0} s: {:.1} histories and {:.2} virtual \
         days a second",
        tally.done,
        rate(tally.done, started),
        days / seconds.max(0.001)
    ));
    if options.keep_going {
        for (seed, violation) in &tally.failed {
            say(&format!("  seed {seed}: {}", first_line(violation)));
        }
    }
    let Some((seed, violation)) = tally.failed.first_key_value() else {
        say("all of them hold");
        return ExitCode::SUCCESS;
    };
    say(&format!("\nseed {seed} does not hold: {violation}"));
    explain(*seed, violation, options);
    let gateways = options.gateways;
    let gateways = gateways.map_or_else(String::new, |count| format!(" --gateways {count}"));
    say(&format!(
        "again with: cargo xtask sim --seeds 1 --from {seed}{gateways} --verbose"
    ));
    ExitCode::FAILURE
}

/// Prints the shortest history found that fails as that of `seed` does.
fn explain(seed: u64, violation: &str, options: &Options) {
    let plan = options.plan(seed);
    let kind = kind_of(violation);
    let shortest = if options.no_shrink {
        plan.clone()
    } else {
        shrink(&plan, 200, |plan| {
            run(plan)
                .violation
                .is_some_and(|found| kind_of(&found) == kind)
        })
    };
    let outcome = run(&shortest);
    print(
        &format!(
            "the shortest that fails like it has {} of {} steps",
            shortest.steps.len(),
            plan.steps.len()
        ),
        &outcome,
    );
}

/// A violation without what differs from run to run.
pub fn kind_of(violation: &str) -> String {
    let words = first_line(violation).split_whitespace().take(4);
    let plain = words.map(|word| {
        word.chars()
            .filter(|letter| letter.is_alphabetic())
            .collect::<String>()
    });
    plain.collect::<Vec<_>>().join(" ")
}

pub(crate) fn print(title: &str, outcome: &Outcome) {
    let mut text = format!("\n{title}\n");
    for line in &outcome.history {
        text += line;
        text.push('\n');
    }
    say(&text);
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Tells of a failure at once: a long run may be ended before it tells of all.
fn warn(text: &str) {
    // Nobody reads it.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

pub(crate) fn say(text: &str) {
    // Nobody reads it.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}
