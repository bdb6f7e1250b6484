//! The history of one run, in the words that people read: kept for each thread.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use gatewright_seams::Clock;
use tracing_subscriber::fmt::MakeWriter;

/// What the daemon says is part of a history from this level on.
const LEVELS: &str = "off,gatewright=info,gatewright_xds=info,gatewright_aliyun=info";

struct History {
    clock: Clock,
    lines: Vec<String>,
}

thread_local! {
    static HISTORY: RefCell<Option<History>> = const { RefCell::new(None) };
}

/// Begins a history on this thread, with the times of `clock`.
pub(super) fn begin(clock: Clock) {
    static LOG: Once = Once::new();
    LOG.call_once(|| {
        // For all threads: their lines go to their own histories.
        let made = tracing_subscriber::fmt()
            .with_env_filter(LEVELS)
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .with_writer(ToHistory)
            .try_init();
        // A test that shows the log was first.
        drop(made);
    });
    let lines = Vec::new();
    HISTORY.set(Some(History { clock, lines }));
}

/// Adds a line.
pub(crate) fn line(text: impl AsRef<str>) {
    HISTORY.with_borrow_mut(|history| {
        if let Some(history) = history {
            let at = history.clock.elapsed().as_secs_f64();
            history
                .lines
                .push(format!("{at:>10.3}s  {}", text.as_ref()));
        }
    });
}

/// Ends the history of this thread.
pub(super) fn end() -> Vec<String> {
    HISTORY
        .take()
        .map_or_else(Vec::new, |history| history.lines)
}

struct ToHistory;

impl<'a> MakeWriter<'a> for ToHistory {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl io::Write for ToHistory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        line(format!("daemon: {}", String::from_utf8_lossy(bytes).trim()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
