//! When a policy lets things be done: hours of the week and days without, on the clocks of one place.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use chrono_tz::Tz;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// When something may be begun, by the clocks of one time zone. A moment is inside when one of the
/// hours holds and no freeze does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Windows {
    /// By which clocks: a name of the IANA time zone database, such as `Europe/Berlin` or `UTC`.
    pub time_zone: TimeZone,
    /// Hours of the week in which it may; `[]` is never.
    #[schemars(length(max = 64))]
    pub allow: Vec<Hours>,
    /// Days on which it may not, whatever the hours; `[]` is none.
    #[schemars(length(max = 64))]
    pub freeze: Vec<FrozenDays>,
}

impl Windows {
    /// At any time, said aloud.
    pub fn always() -> Self {
        let hours = Hours { days: vec![Day::All], from: TimeOfDay::MIDNIGHT, to: TimeOfDay::END_OF_DAY };
        Self { time_zone: TimeZone(Tz::UTC), allow: vec![hours], freeze: Vec::new() }
    }
}

/// Hours of some days of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hours {
    /// The days on which they begin; `"*"` is all.
    #[schemars(length(min = 1, max = 7))]
    pub days: Vec<Day>,
    /// The first minute inside, `HH:MM`.
    pub from: TimeOfDay,
    /// The first minute outside again, `HH:MM`, up to `24:00`. Earlier than `from`: on the next day.
    pub to: TimeOfDay,
}

/// Days on which nothing may be begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FrozenDays {
    /// The first day, `YYYY-MM-DD`, from its midnight.
    pub from: NaiveDate,
    /// The last day, to its end.
    pub to: NaiveDate,
    /// Why, for the people who ask.
    #[schemars(length(max = 256))]
    pub reason: String,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
    /// All of them, written `"*"`.
    #[serde(rename = "*")]
    All,
}

impl Day {
    /// Whether it is, or holds, that weekday.
    pub fn holds(self, weekday: chrono::Weekday) -> bool {
        use chrono::Weekday;
        match self {
            Self::All => true,
            Self::Mon => weekday == Weekday::Mon,
            Self::Tue => weekday == Weekday::Tue,
            Self::Wed => weekday == Weekday::Wed,
            Self::Thu => weekday == Weekday::Thu,
            Self::Fri => weekday == Weekday::Fri,
            Self::Sat => weekday == Weekday::Sat,
            Self::Sun => weekday == Weekday::Sun,
        }
    }
}

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeZone(Tz);

impl TimeZone {
    /// For arithmetic.
    pub fn tz(self) -> Tz {
        self.0
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// Text that names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time zone of the IANA database such as Europe/Berlin or UTC, found {0:?}")]
pub struct UnknownTimeZone(pub String);

impl FromStr for TimeZone {
    type Err = UnknownTimeZone;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self).map_err(|_| UnknownTimeZone(s.to_owned()))
    }
}

/// A time of day to the minute: `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// `00:00`.
    pub const MIDNIGHT: Self = Self(0);
    /// `24:00`.
    pub const END_OF_DAY: Self = Self(24 * 60);

    /// Minutes since `00:00`, at most 1440.
    pub fn minutes(self) -> u32 {
        self.0.into()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// Text that is no time of day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time of day from 00:00 to 24:00 such as 08:30, found {0:?}")]
pub struct BadTimeOfDay(pub String);

impl FromStr for TimeOfDay {
    type Err = BadTimeOfDay;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || BadTimeOfDay(s.to_owned());
        let two = |text: &str| -> Option<u16> {
            (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
        };
        let (hours, minutes) = s.split_once(':').ok_or_else(bad)?;
        let (hours, minutes) = (two(hours).ok_or_else(bad)?, two(minutes).ok_or_else(bad)?);
        let at = Self(hours * 60 + minutes);
        if minutes > 59 || at > Self::END_OF_DAY {
            return Err(bad());
        }
        Ok(at)
    }
}

macro_rules! as_text {
    ($type:ident, $schema:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

as_text!(TimeZone, json_schema!({ "type": "string", "minLength": 1, "maxLength": 64 }));
as_text!(TimeOfDay, json_schema!({ "type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$" }));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_read_and_shown() {
        for text in ["00:00", "08:30", "23:59", "24:00"] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), text);
        }
        for text in ["", "8:30", "08:60", "24:01", "25:00", "08:3", "+8:30", "08-30", "0830", "08:30:00"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_zone_has_to_exist() {
        for text in ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Argentina/Buenos_Aires"] {
            assert_eq!(text.parse::<TimeZone>().unwrap().to_string(), text);
        }
        for text in ["", "Berlin", "Europe/Atlantis", "+01:00", "europe/berlin"] {
            assert!(text.parse::<TimeZone>().is_err(), "{text}");
        }
    }

    #[test]
    fn windows_are_read_as_the_page_writes_them() {
        let windows: Windows = serde_json::from_value(serde_json::json!({
            "timeZone": "Europe/Berlin",
            "allow": [{"days": ["Mon", "Fri"], "from": "22:00", "to": "06:00"}, {"days": ["*"], "from": "12:00", "to": "13:00"}],
            "freeze": [{"from": "2026-12-20", "to": "2027-01-03", "reason": "peak season"}],
        }))
        .unwrap();
        assert_eq!(windows.allow[1].days, [Day::All]);
        assert!(Day::Fri.holds(chrono::Weekday::Fri) && !Day::Fri.holds(chrono::Weekday::Sat));
    }
}
