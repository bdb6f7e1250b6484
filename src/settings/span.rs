//! Lengths of time as people write them: `90s`, `30m`, `1h30m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

/// A length of time, longer than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

/// A text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    #[error("write a number with a unit, such as 90s, 30m or 1h30m")]
    Text,
    #[error("must be longer than nothing")]
    NotPositive,
}

impl Span {
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let span: SignedDuration = text.parse().map_err(|_| SpanError::Text)?;
        let span = Duration::try_from(span).map_err(|_| SpanError::NotPositive)?;
        if span.is_zero() {
            Err(SpanError::NotPositive)
        } else {
            Ok(Self(span))
        }
    }
}

/// The shortest text that is read as the same length.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seconds = self.0.as_secs();
        for (unit, length) in [("h", 3600), ("m", 60)] {
            if seconds >= length {
                write!(f, "{}{unit}", seconds / length)?;
                seconds %= length;
            }
        }
        if seconds > 0 || self.0 < Duration::from_mins(1) && self.0.subsec_millis() == 0 {
            write!(f, "{seconds}s")?;
        }
        match self.0.subsec_millis() {
            0 => Ok(()),
            millis => write!(f, "{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_as_people_do() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h", 3600), ("1h30m", 5400)] {
            assert_eq!(
                text.parse::<Span>().unwrap().get(),
                Duration::from_secs(seconds),
                "{text}"
            );
        }
        for text in ["30m", "1h30m", "1m30s", "5s", "250ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("0s".parse::<Span>().unwrap_err(), SpanError::NotPositive);
        assert_eq!("-5m".parse::<Span>().unwrap_err(), SpanError::NotPositive);
        for text in ["", "30", "soon", "1 fortnight"] {
            assert_eq!(text.parse::<Span>().unwrap_err(), SpanError::Text, "{text}");
        }
    }
}
