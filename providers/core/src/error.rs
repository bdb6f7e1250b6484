//! What can go wrong with a provider, by what there is to do about it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorClass {
    /// A rate limit. The provider has retried; try again later, not before `retry_after` when the
    /// cloud named a time.
    Throttled { retry_after: Option<Duration> },
    /// A fault of the other side or of the way to it, without effect; try again with backoff.
    Transient,
    /// The object is busy or in another state than expected; look again, then repeat.
    Conflict,
    /// A quota is used up; only a person can help, or time.
    Quota,
    /// Not allowed: credentials, permissions, protection, a locked account.
    Refused,
    /// The request makes no sense to the cloud; repeating it changes nothing.
    Invalid,
    /// The request may or may not have had its effect; read back before going on.
    UnknownOutcome,
}

impl ErrorClass {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::Throttled { .. } | Self::Transient | Self::Conflict | Self::UnknownOutcome
        )
    }

    /// The name used in conditions and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::Transient => "transient",
            Self::Conflict => "conflict",
            Self::Quota => "quota",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::UnknownOutcome => "unknown-outcome",
        }
    }
}

/// A provider's answer that is not a success.
///
/// The texts never hold a request, a key or a signature: providers build them from the action, the
/// object and the cloud's code.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    class: ErrorClass,
    /// What was being done and to which object, e.g. `creating load balancer shop`.
    pub doing: String,
    /// The cloud's own code, for people who look it up.
    pub code: Option<String>,
    /// What went wrong, in words.
    pub message: String,
    /// The cloud's id of the request, for its support.
    pub request_id: Option<String>,
}

impl Error {
    pub fn new(class: ErrorClass, doing: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            doing: doing.into(),
            code: None,
            message: message.into(),
            request_id: None,
        }
    }

    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    #[must_use]
    pub fn with_request_id(mut self, request_id: Option<String>) -> Self {
        self.request_id = request_id;
        self
    }

    /// The same error of another class.
    #[must_use]
    pub fn with_class(mut self, class: ErrorClass) -> Self {
        self.class = class;
        self
    }

    pub fn class(&self) -> ErrorClass {
        self.class
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.message)?;
        match (&self.code, &self.request_id) {
            (Some(code), Some(id)) => write!(f, " ({code}, request {id})"),
            (Some(code), None) => write!(f, " ({code})"),
            (None, Some(id)) => write!(f, " (request {id})"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
