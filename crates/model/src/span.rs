use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time as people write it: `45s`, `2m`, `1h30m`, `24h`, `7d`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

impl Span {
    /// Whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes * 60)
    }

    /// Whole hours.
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours * 60)
    }

    /// As the standard library's type.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// As chrono's type.
    pub fn chrono(self) -> chrono::Duration {
        chrono::Duration::from_std(self.0).unwrap_or(chrono::Duration::MAX)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, seconds) in [("h", 3600), ("m", 60), ("s", 1)] {
            if rest >= seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

/// Text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a length of time such as 45s, 2m, 1h30m or 7d, found {0:?}")]
pub struct BadSpan(pub String);

impl FromStr for Span {
    type Err = BadSpan;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || BadSpan(s.to_owned());
        let mut total: u64 = 0;
        let mut digits = String::new();
        let mut last = u64::MAX;
        for c in s.chars() {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            let unit = match c {
                'd' => 86_400,
                'h' => 3_600,
                'm' => 60,
                's' => 1,
                _ => return Err(bad()),
            };
            if unit >= last {
                return Err(bad());
            }
            last = unit;
            let n: u64 = digits.parse().map_err(|_| bad())?;
            digits.clear();
            total = n.checked_mul(unit).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
        }
        // A century: longer is a slip, and would overflow calendar arithmetic.
        if !digits.is_empty() || last == u64::MAX || total > 100 * 366 * 86_400 {
            return Err(bad());
        }
        Ok(Self::seconds(total))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "minLength": 2 })
    }
}

/// At most so many in any window of so long: `3/1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long.
    pub window: Span,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.window)
    }
}

/// Text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a rate such as 3/1h (a count from 1 and a window of at most 7d), found {0:?}")]
pub struct BadRate(pub String);

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || BadRate(s.to_owned());
        let (count, window) = s.split_once('/').ok_or_else(bad)?;
        let count = count.parse().map_err(|_| bad())?;
        let window: Span = window.parse().map_err(|_| bad())?;
        if window.get().is_zero() || window > Span::hours(7 * 24) {
            return Err(bad());
        }
        Ok(Self { count, window })
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[1-9][0-9]*/([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, seconds, shown) in
            [("45s", 45, "45s"), ("2m", 120, "2m"), ("1h30m", 5400, "1h30m"), ("7d", 604_800, "168h"), ("0s", 0, "0s")]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span, Span::seconds(seconds));
            assert_eq!(span.to_string(), shown);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "5", "m", "5m5m", "1s1h", "-5m", "5 m", "1y", "99999999999999999999s", "999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["", "3", "0/1h", "3/0s", "3/8d", "-1/1h", "3/h"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert_eq!("3/1h".parse::<Rate>().unwrap().to_string(), "3/1h");
    }
}
