//! Quantities (`k8s.io/apimachinery/pkg/api/resource`): a number with a binary, decimal or exponent suffix.

use std::cmp::Ordering;

/// A quantity, exact to a billionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Quantity {
    nanos: i128,
}

const NANO: i128 = 1_000_000_000;

const PROBLEM: &str = "quantities must match the regular expression \
                       '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX: &str = "unable to parse quantity's suffix";

impl Quantity {
    /// Reads a quantity. Fails with the message of the real server.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number_end = text
            .char_indices()
            .find(|(i, c)| !(c.is_ascii_digit() || *c == '.' || (*i == 0 && "+-".contains(*c))))
            .map_or(text.len(), |(i, _)| i);
        let (number, suffix) = text.split_at(number_end);
        let (negative, digits) = match number.as_bytes().first() {
            Some(b'-') => (true, &number[1..]),
            Some(b'+') => (false, &number[1..]),
            _ => (false, number),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(PROBLEM.to_owned());
        }
        let scale = scale(suffix).ok_or_else(|| {
            let fits = suffix
                .chars()
                .all(|c| "eEinumkKMGTP+-0123456789".contains(c));
            if fits {
                SUFFIX.to_owned()
            } else {
                PROBLEM.to_owned()
            }
        })?;
        let mut total: i128 = 0;
        for digit in whole.chars() {
            let digit = i128::from(digit.to_digit(10).unwrap_or_default());
            total = total.saturating_mul(10).saturating_add(digit);
        }
        let mut nanos = total.saturating_mul(scale);
        let mut place = scale;
        for digit in fraction.chars() {
            let digit = i128::from(digit.to_digit(10).unwrap_or_default());
            // Finer than a billionth rounds away from zero, so that nothing becomes zero silently.
            let value = digit.saturating_mul(place);
            nanos = nanos.saturating_add((value + 9) / 10);
            place /= 10;
        }
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
        })
    }

    pub(crate) fn from_i64(value: i64) -> Self {
        Self {
            nanos: i128::from(value).saturating_mul(NANO),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_sub(other.nanos),
        }
    }

    /// -1, 0 or 1.
    pub(crate) fn sign(self) -> i64 {
        match self.nanos.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// The value, if it is whole and fits.
    pub(crate) fn as_integer(self) -> Option<i64> {
        if self.nanos % NANO == 0 {
            i64::try_from(self.nanos / NANO).ok()
        } else {
            None
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "asked for as a float")]
    pub(crate) fn as_float(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }
}

/// The factor of a suffix, in billionths.
fn scale(suffix: &str) -> Option<i128> {
    let binary = |power: u32| NANO.saturating_mul(1024i128.pow(power));
    let decimal = |power: u32| NANO.saturating_mul(10i128.pow(power));
    Some(match suffix {
        "" => NANO,
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent: i32 = exponent.parse().ok()?;
            match u32::try_from(exponent) {
                Ok(power) if power <= 18 => decimal(power),
                Ok(_) => i128::MAX / 2,
                Err(_) if exponent >= -9 => NANO / 10i128.pow(exponent.unsigned_abs()),
                Err(_) => 1,
            }
        }
    })
}
