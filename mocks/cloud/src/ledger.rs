use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

/// How many calls are kept; counts go on for ever.
const KEPT: usize = 20_000;

/// One call to the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// When it arrived.
    pub time: Timestamp,
    /// Empty when the request named none.
    pub action: String,
    /// Whether the action changes something when it succeeds.
    pub write: bool,
    /// The parameters that say what it was about; never a signature or a credential.
    pub parameters: BTreeMap<String, String>,
    /// `OK`, the error code, or for a scripted fault `timeout before`, `timeout after`, `cut`.
    pub outcome: String,
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    pub request_id: String,
    /// Parameters that were sent and had no meaning for the action; the API ignores them silently.
    pub ignored: Vec<String>,
}

/// A place in the ledger. See [`Ledger::since`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

#[derive(Debug, Default)]
struct Book {
    entries: VecDeque<LedgerEntry>,
    written: u64,
    counts: BTreeMap<String, u64>,
}

/// Every call the cloud got, oldest first. The last 20,000 are kept.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    fn with<T>(&self, f: impl FnOnce(&mut Book) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn record(&self, entry: LedgerEntry) {
        self.with(|book| {
            *book.counts.entry(entry.action.clone()).or_default() += 1;
            book.written += 1;
            if book.entries.len() == KEPT {
                book.entries.pop_front();
            }
            book.entries.push_back(entry);
        });
    }

    /// The place after the last call so far.
    pub fn mark(&self) -> Mark {
        Mark(self.with(|book| book.written))
    }

    /// The calls after `mark` that are still kept.
    pub fn since(&self, mark: Mark) -> Vec<LedgerEntry> {
        self.with(|book| {
            let new = usize::try_from(book.written.saturating_sub(mark.0)).unwrap_or(usize::MAX);
            let old = book.entries.len().saturating_sub(new);
            book.entries.iter().skip(old).cloned().collect()
        })
    }

    /// All calls that are still kept.
    pub fn entries(&self) -> Vec<LedgerEntry> {
        self.since(Mark(0))
    }

    /// How often each action was called since the start.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.with(|book| book.counts.clone())
    }

    /// How often each action was called after `mark`.
    pub fn counts_since(&self, mark: Mark) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for entry in self.since(mark) {
            *counts.entry(entry.action).or_default() += 1;
        }
        counts
    }

    /// How many calls there were since the start.
    pub fn total(&self) -> u64 {
        self.with(|book| book.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(action: &str) -> LedgerEntry {
        LedgerEntry {
            time: Timestamp::UNIX_EPOCH,
            action: action.to_owned(),
            write: false,
            parameters: BTreeMap::new(),
            outcome: "OK".to_owned(),
            status: 200,
            request_id: String::new(),
            ignored: Vec::new(),
        }
    }

    #[test]
    fn old_entries_leave_and_counts_stay() {
        let ledger = Ledger::default();
        for _ in 0..KEPT + 5 {
            ledger.record(entry("A"));
        }
        let mark = ledger.mark();
        ledger.record(entry("B"));
        assert_eq!(ledger.entries().len(), KEPT);
        assert_eq!(ledger.counts()["A"], KEPT as u64 + 5);
        assert_eq!(ledger.since(mark), [entry("B")]);
        assert_eq!(
            ledger.counts_since(mark),
            BTreeMap::from([("B".to_owned(), 1)])
        );
    }
}
