//! Load at a fixed rate: half of the requests on connections of their own, half on kept-alive ones.
//!
//! The schedule is open: a slow answer delays no other request. The client behaves as a real one:
//! it leaves a connection that the server said it closes, and a request that was never sent on a
//! closed connection goes to a new one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use gatewright_seams::{Clock, Tasks};

use crate::client::{Answer, Client, Connection};

/// A request that takes longer has failed.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// At most so many requests in flight; with more the schedule slips, and the rate shows it.
const IN_FLIGHT: usize = 600;
/// Kept-alive connections to each address; more are opened while all are busy, and closed after.
const KEPT: usize = 5;
/// How many causes of failures are kept.
const CAUSES: usize = 10;

/// What is asked for, and how often.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Requests a second, over all addresses.
    pub rate: u32,
    pub host: String,
    pub path: String,
    /// The load ends by itself after this time.
    pub limit: Duration,
}

impl LoadOptions {
    /// 230 requests a second for `host`, for at most five minutes.
    pub fn new(host: &str) -> Self {
        Self {
            rate: 230,
            host: host.to_owned(),
            path: "/basket".to_owned(),
            limit: Duration::from_mins(5),
        }
    }
}

/// A handshake that a new connection made.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// When it was begun, on the clock that the load was given.
    pub began: Duration,
    pub address: SocketAddr,
    pub serial: String,
}

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// From the start to now, or to the end.
    pub lasted: Duration,
    /// Requests that were answered with 200.
    pub good: u64,
    /// Those of them that went over a kept-alive connection that had carried one before.
    pub reused: u64,
    pub failed: u64,
    /// What the first failures were.
    pub causes: Vec<String>,
    /// Kept-alive connections that the server closed between two requests.
    pub closed: u64,
    /// Of all new connections, in the order in which they were done.
    pub handshakes: Vec<Handshake>,
}

impl Report {
    /// Good answers a second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
        let good = self.good as f64;
        good / self.lasted.as_secs_f64().max(f64::EPSILON)
    }

    /// Checks that no request failed, and that close to half of them went over kept-alive
    /// connections.
    ///
    /// # Panics
    /// Not so.
    pub fn assert_nothing_dropped(&self) {
        assert_eq!(
            self.failed,
            0,
            "of {} requests {} failed: {:#?}",
            self.good + self.failed,
            self.failed,
            self.causes
        );
        let kept = self.reused * 100 / self.good.max(1);
        assert!(
            (35..=50).contains(&kept),
            "{kept}% of the requests went over kept-alive connections"
        );
    }

    /// Checks that there were at least `least` good answers a second.
    ///
    /// # Panics
    /// Not so: often because the machine has other things to do.
    pub fn assert_rate(&self, least: f64) {
        let rate = self.rate();
        assert!(rate >= least, "only {rate:.0} requests a second");
    }
}

struct Shared {
    client: Client,
    clock: Clock,
    options: LoadOptions,
    targets: Vec<Target>,
    began: Duration,
    report: Mutex<Report>,
    in_flight: Arc<tokio::sync::Semaphore>,
}

struct Target {
    address: SocketAddr,
    idle: Mutex<VecDeque<Connection>>,
}

/// A running load. Ends when dropped.
pub struct Load {
    shared: Arc<Shared>,
    /// Ends with the schedule.
    schedule: Tasks,
    /// What was begun is finished.
    requests: Tasks,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// Starts to send to all of `addresses` in turn.
    pub fn start(
        clock: Clock,
        client: &Client,
        addresses: &[SocketAddr],
        options: LoadOptions,
    ) -> Self {
        let target = |address: &SocketAddr| Target {
            address: *address,
            idle: Mutex::default(),
        };
        let shared = Arc::new(Shared {
            client: client.clone(),
            clock,
            options,
            targets: addresses.iter().map(target).collect(),
            began: clock.elapsed(),
            report: Mutex::default(),
            in_flight: Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT)),
        });
        let (schedule, requests) = (Tasks::new(), Tasks::new());
        schedule.spawn("load", run(shared.clone(), requests.clone()));
        Self {
            shared,
            schedule,
            requests,
        }
    }

    /// What happened so far.
    pub fn report(&self) -> Report {
        let mut report = lock(&self.shared.report).clone();
        report.lasted = self
            .shared
            .clock
            .elapsed()
            .saturating_sub(self.shared.began);
        report
    }

    /// Waits until `address` showed `count` handshakes that were begun at `since` or later; returns
    /// their serials.
    ///
    /// # Panics
    /// They did not come within 20 seconds.
    pub async fn serials_since(
        &self,
        since: Duration,
        address: SocketAddr,
        count: usize,
    ) -> Vec<String> {
        let clock = self.shared.clock;
        let end = clock.elapsed() + Duration::from_secs(20);
        loop {
            let serials: Vec<String> = lock(&self.shared.report)
                .handshakes
                .iter()
                .rev()
                .filter(|seen| seen.address == address && seen.began >= since)
                .map(|seen| seen.serial.clone())
                .take(count)
                .collect();
            if serials.len() >= count {
                return serials;
            }
            assert!(clock.elapsed() < end, "no new connections to {address}");
            clock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until so many more requests were answered: the load is flowing.
    ///
    /// # Panics
    /// They were not within 20 seconds.
    pub async fn wait_good(&self, more: u64) {
        let clock = self.shared.clock;
        let end = clock.elapsed() + Duration::from_secs(20);
        let wanted = lock(&self.shared.report).good + more;
        while lock(&self.shared.report).good < wanted {
            assert!(
                clock.elapsed() < end,
                "the load does not flow: {:#?}",
                self.report()
            );
            clock.sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends no more, waits for what was sent, and tells what happened.
    pub async fn stop(self) -> Report {
        self.schedule.cancel();
        let mut report = self.report();
        // What is still in flight counts too; each request has its own limit.
        let clock = self.shared.clock;
        let all = u32::try_from(IN_FLIGHT).unwrap_or(u32::MAX);
        let limit = REQUEST_LIMIT + Duration::from_secs(5);
        let ended = clock.timeout(limit, self.shared.in_flight.acquire_many(all));
        assert!(ended.await.is_ok(), "requests did not end in time");
        self.requests.cancel();
        let lasted = report.lasted;
        report = lock(&self.shared.report).clone();
        report.lasted = lasted;
        report
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.schedule.cancel();
        self.requests.cancel();
    }
}

async fn run(shared: Arc<Shared>, requests: Tasks) {
    let clock = shared.clock;
    let pause = Duration::from_secs(1) / shared.options.rate.max(1);
    let end = shared.began + shared.options.limit;
    let mut due = shared.began;
    let mut number: usize = 0;
    while clock.elapsed() < end {
        clock.sleep(due.saturating_sub(clock.elapsed())).await;
        due += pause;
        // New and kept-alive in turn, and each kind over all addresses in turn.
        let (keep, target) = (number % 2 == 1, number / 2 % shared.targets.len());
        number += 1;
        let shared = shared.clone();
        let Ok(permit) = shared.in_flight.clone().acquire_owned().await else {
            return;
        };
        requests.spawn("request", async move {
            let _permit = permit;
            let ask = shared.ask(target, keep);
            let answer = clock.timeout(REQUEST_LIMIT, ask).await;
            let answer = answer
                .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {REQUEST_LIMIT:?}")));
            shared.count(target, answer);
        });
    }
}

impl Shared {
    fn count(&self, target: usize, answer: Result<bool>) {
        let at = self.clock.elapsed().saturating_sub(self.began);
        let mut report = lock(&self.report);
        match answer {
            Ok(reused) => {
                report.good += 1;
                report.reused += u64::from(reused);
            }
            Err(error) => {
                report.failed += 1;
                if report.causes.len() < CAUSES {
                    let address = self.targets[target].address;
                    report
                        .causes
                        .push(format!("after {at:.1?} at {address}: {error:#}"));
                }
            }
        }
    }

    /// One request; says whether it went over a connection that had carried one before.
    async fn ask(&self, target: usize, keep: bool) -> Result<bool> {
        let target = &self.targets[target];
        while let Some(mut connection) = keep.then(|| lock(&target.idle).pop_front()).flatten() {
            // Nothing when the server had closed it: the request was not sent.
            match connection.try_get(&self.options.path).await? {
                Some(answer) => {
                    good(&answer)?;
                    target.put_back(connection);
                    return Ok(true);
                }
                None => lock(&self.report).closed += 1,
            }
        }
        let began = self.clock.elapsed();
        let mut connection = self
            .client
            .connect(target.address, &self.options.host)
            .await?;
        lock(&self.report).handshakes.push(Handshake {
            began,
            address: target.address,
            serial: connection.serial.clone(),
        });
        good(&connection.get(&self.options.path).await?)?;
        if keep {
            target.put_back(connection);
        }
        Ok(false)
    }
}

impl Target {
    fn put_back(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        if idle.len() < KEPT {
            idle.push_back(connection);
        }
    }
}

fn good(answer: &Answer) -> Result<()> {
    if answer.status != 200 {
        bail!(
            "status {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
    }
    Ok(())
}
