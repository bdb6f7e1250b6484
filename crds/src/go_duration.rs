//! Durations as Go writes them: `2160h`, `1h30m`, `1.5s`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the API server accepts: one or more decimal numbers, each with a unit. No sign, since no
/// field of this API has a use for a negative duration.
const PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$";

/// Units as nanoseconds, longest suffix first so that `ms` is not read as `m`.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// A span of time in Go's notation (`time.ParseDuration`), zero or more, up to about 292 years.
///
/// ```
/// use std::time::Duration;
/// use gatewright_crds::GoDuration;
///
/// let d: GoDuration = "1h30m".parse()?;
/// assert_eq!(d.get(), Duration::from_secs(5400));
/// assert_eq!(d.to_string(), "1h30m");
/// # Ok::<(), gatewright_crds::GoDurationError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(Duration);

/// Why a text is not a [`GoDuration`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GoDurationError {
    /// Nothing was there.
    #[error("parsing a duration: the text is empty")]
    Empty,
    /// A part is not a number followed by one of ns, us, ms, s, m, h.
    #[error("parsing the duration {0:?}: expected numbers with a unit, such as 2160h or 1h30m")]
    Syntax(String),
    /// More than Go's int64 nanoseconds hold.
    #[error("parsing the duration {0:?}: it is longer than 292 years")]
    TooLong(String),
}

impl GoDuration {
    /// From a span of time; longer ones than Go can hold still print and compare correctly.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// From whole hours.
    pub const fn from_hours(hours: u32) -> Self {
        Self(Duration::from_secs(hours as u64 * 3_600))
    }

    /// The span of time.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

impl FromStr for GoDuration {
    type Err = GoDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || GoDurationError::Syntax(text.to_owned());
        let too_long = || GoDurationError::TooLong(text.to_owned());
        if text.is_empty() {
            return Err(GoDurationError::Empty);
        }
        if text == "0" {
            return Ok(Self::default());
        }
        let mut total: u128 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(syntax)?;
            let (number, tail) = rest.split_at(end);
            let (unit, nanos) = UNITS
                .iter()
                .find(|(unit, _)| tail.starts_with(unit))
                .ok_or_else(syntax)?;
            let part = nanoseconds(number, *nanos).ok_or_else(syntax)?;
            total = total.saturating_add(part);
            rest = &tail[unit.len()..];
        }
        let nanos = i64::try_from(total)
            .ok()
            .and_then(|nanos| u64::try_from(nanos).ok());
        nanos
            .map(Duration::from_nanos)
            .map(Self)
            .ok_or_else(too_long)
    }
}

/// `number` units of `unit` nanoseconds each, or the greatest number there is. `None`: not a number.
fn nanoseconds(number: &str, unit: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let value = |digits: &str| {
        digits.bytes().fold(0u128, |value, digit| {
            value
                .saturating_mul(10)
                .saturating_add(u128::from(digit - b'0'))
        })
    };
    // Digits beyond a nanosecond have no effect, as in Go; 18 of them cannot overflow.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = fraction.bytes().fold(1u128, |scale, _| scale * 10);
    let unit = u128::from(unit);
    Some(
        value(whole)
            .saturating_mul(unit)
            .saturating_add(value(fraction) * unit / scale),
    )
}

impl fmt::Display for GoDuration {
    /// Hours, minutes and seconds without the parts that are zero; below a second one unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let nanos = self.0.subsec_nanos();
        if seconds == 0 && nanos == 0 {
            return f.write_str("0s");
        }
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0 {
            write!(f, "{seconds}s")?;
        }
        match nanos {
            0 => Ok(()),
            n if n % 1_000_000 == 0 => write!(f, "{}ms", n / 1_000_000),
            n if n % 1_000 == 0 => write!(f, "{}us", n / 1_000),
            n => write!(f, "{n}ns"),
        }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The length bounds the cost the API server estimates for CEL rules on the value.
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": 64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_notation_is_read() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("2160h", 2160 * 3_600_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5h", 1_800_000_000_000),
            ("1.25m", 75_000_000_000),
            ("100ms", 100_000_000),
            ("7us", 7_000),
            ("7µs", 7_000),
            ("3ns", 3),
            ("720h0m0s", 720 * 3_600_000_000_000),
        ] {
            assert_eq!(
                text.parse(),
                Ok(GoDuration(Duration::from_nanos(nanos))),
                "{text}"
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "90d", "5", "h", "-1h", "1h 30m", "1..5s", ".s", "1h30", "ms",
        ] {
            assert_eq!(
                text.parse::<GoDuration>(),
                Err(GoDurationError::Syntax(text.into())),
                "{text}"
            );
        }
        assert_eq!("".parse::<GoDuration>(), Err(GoDurationError::Empty));
        assert_eq!(
            "2600000h".parse::<GoDuration>(),
            Err(GoDurationError::TooLong("2600000h".into()))
        );
        assert_eq!(
            "99999999999999999999h".parse::<GoDuration>(),
            Err(GoDurationError::TooLong("99999999999999999999h".into()))
        );
    }

    #[test]
    fn printing_gives_the_shortest_form_that_reads_back() {
        for (text, printed) in [
            ("2160h0m0s", "2160h"),
            ("90m", "1h30m"),
            ("1.5s", "1s500ms"),
            ("1us", "1us"),
            ("1000001ns", "1000001ns"),
            ("0", "0s"),
        ] {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.to_string(), printed);
            assert_eq!(printed.parse(), Ok(duration));
        }
    }
}
