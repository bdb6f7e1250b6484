//! What a command prints: results to standard output, errors to standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// Standard output could not be written; most often its reader has gone.
#[derive(Debug, thiserror::Error)]
#[error("writing to standard output")]
pub struct OutputError(#[source] io::Error);

/// Standard output, flushed after every line so that a reader sees what is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output;

impl Output {
    /// Prints `text` and ends the line.
    ///
    /// # Errors
    /// It could not be written. [`is_closed`] tells whether the reader went away.
    pub fn line(self, text: impl Display) -> Result<(), OutputError> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(OutputError)
    }

    /// Prints `text` as it is.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn text(self, text: impl Display) -> Result<(), OutputError> {
        let mut out = io::stdout().lock();
        write!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(OutputError)
    }
}

/// Whether `error` says that the reader of standard output went away (`gatewright … | head`), which
/// is nothing to complain about.
pub fn is_closed(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<OutputError>()
        .is_some_and(|OutputError(cause)| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints `error` with its causes on one line of standard error.
pub(super) fn complain(error: &anyhow::Error) {
    // With standard error gone there is nobody left to tell.
    writeln!(io::stderr(), "gatewright: {}", chain(error)).ok();
}

/// `doing: cause: cause of the cause`, without a cause that the text before it already ends with.
fn chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) {
            text
        } else if text.is_empty() {
            cause
        } else {
            format!("{text}: {cause}")
        }
    })
}

/// Prints a remark to standard error, beside the result.
pub(super) fn remark(text: impl Display) {
    // As in `complain`.
    writeln!(io::stderr(), "gatewright: {text}").ok();
}

/// Prints what is waited for to standard error, so that the result alone is on standard output.
pub(super) fn progress(text: impl Display) {
    // As in `complain`.
    writeln!(io::stderr(), "{text}").ok();
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_follow_each_other_once() {
        let error = anyhow::anyhow!("no such file").context("reading x: no such file");
        assert_eq!(chain(&error), "reading x: no such file");
        let error = anyhow::anyhow!("no such file")
            .context("reading x")
            .context("planning");
        assert_eq!(chain(&error), "planning: reading x: no such file");
    }

    #[test]
    fn a_closed_pipe_of_another_kind_is_an_error() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let ours: anyhow::Result<()> = Err(OutputError(gone())).context("printing");
        assert!(is_closed(&ours.unwrap_err()));
        assert!(!is_closed(&gone().into()));
    }
}
