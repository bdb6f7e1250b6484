use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::endpoint::Endpoint;

/// How many requests and validations are kept one by one. The counts are kept for ever.
const KEPT: usize = 10_000;

/// One request that reached the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRecord {
    pub at: Timestamp,
    pub method: String,
    /// None for a path that does not exist.
    pub endpoint: Option<Endpoint>,
    /// None while there is no answer, and for ever when the connection broke first.
    pub status: Option<u16>,
    /// The type of the problem that was answered, as a URN.
    pub problem: Option<String>,
}

/// One attempt to validate a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValidationRecord {
    /// When the attempt ended.
    pub at: Timestamp,
    pub name: String,
    /// From 1.
    pub attempt: u32,
    /// None when the key authorization was found, else what was wrong.
    pub failure: Option<String>,
}

/// One issued certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateRecord {
    /// Lower-case hex.
    pub serial: String,
    /// In order.
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub issued_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// What the server has seen and done. A copy: it does not change.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Ledger {
    /// Oldest first; the newest 10,000.
    pub requests: VecDeque<RequestRecord>,
    /// Oldest first; the newest 10,000.
    pub validations: VecDeque<ValidationRecord>,
    /// In the order of issue. With a state file, those of earlier runs too.
    pub certificates: Vec<CertificateRecord>,
    pub accounts: usize,
    pub orders: usize,
    pub(crate) counts: BTreeMap<Endpoint, u64>,
    pub(crate) forgotten: u64,
}

impl Ledger {
    /// Requests to `endpoint` since the start, answered or not.
    pub fn count(&self, endpoint: Endpoint) -> u64 {
        self.counts.get(&endpoint).copied().unwrap_or(0)
    }

    /// All requests since the start.
    pub fn total(&self) -> u64 {
        self.forgotten + self.requests.len() as u64
    }

    /// Writes a request down; gives its number for [`Ledger::answered`].
    pub(crate) fn asked(&mut self, record: RequestRecord) -> u64 {
        if let Some(endpoint) = record.endpoint {
            *self.counts.entry(endpoint).or_default() += 1;
        }
        self.requests.push_back(record);
        if self.requests.len() > KEPT {
            self.requests.pop_front();
            self.forgotten += 1;
        }
        self.total() - 1
    }

    pub(crate) fn answered(&mut self, number: u64, status: u16, problem: Option<String>) {
        let index = number
            .checked_sub(self.forgotten)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(record) = index.and_then(|index| self.requests.get_mut(index)) {
            record.status = Some(status);
            record.problem = problem;
        }
    }

    pub(crate) fn validated(&mut self, record: ValidationRecord) {
        self.validations.push_back(record);
        if self.validations.len() > KEPT {
            self.validations.pop_front();
        }
    }
}
