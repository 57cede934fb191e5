//! Silences, as the API v2 takes and gives them.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::super::labels::Labels;
use super::super::storage::Millis;
use super::Matcher;

#[derive(Debug, Clone)]
struct Silence {
    matchers: Vec<Matcher>,
    starts_at: Millis,
    ends_at: Millis,
    updated_at: Millis,
    created_by: String,
    comment: String,
}

/// All silences by their id.
#[derive(Debug, Default)]
pub(crate) struct Silences {
    silences: BTreeMap<String, Silence>,
    made: u64,
}

impl Silence {
    fn state(&self, now: Millis) -> &'static str {
        if now < self.starts_at {
            "pending"
        } else if now < self.ends_at {
            "active"
        } else {
            "expired"
        }
    }
}

/// A time as Alertmanager's API writes it: milliseconds.
pub(super) fn time(at: Millis) -> String {
    let at = DateTime::<Utc>::from_timestamp_millis(at);
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default()
}

impl Silences {
    /// Ids of the active silences that match.
    pub(super) fn of(&self, labels: &Labels, now: Millis) -> Vec<String> {
        let is_of = |silence: &Silence| silence.state(now) == "active" && Matcher::match_all(&silence.matchers, labels);
        self.silences.iter().filter(|(_, silence)| is_of(silence)).map(|(id, _)| id.clone()).collect()
    }

    /// `POST /api/v2/silences`: makes or changes one and gives its id.
    pub(crate) fn post(&mut self, body: &Value, now: Millis) -> Result<String, (u16, Value)> {
        let bad = |reason: String| (400, Value::from(reason));
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let at = |name: &str| {
            let parsed: Result<DateTime<Utc>, _> = text(name).parse();
            parsed.map(|at| at.timestamp_millis()).map_err(|_| bad(format!("{name} in body must be of type date-time")))
        };
        let listed = body.get("matchers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let matchers: Result<Vec<Matcher>, String> = listed.iter().map(Matcher::from_json).collect();
        let matchers = matchers.map_err(|reason| bad(format!("invalid silence: {reason}")))?;
        if matchers.is_empty() {
            return Err((422, json!({"code": 612, "message": "matchers in body should have at least 1 items"})));
        }
        let (starts_at, ends_at) = (at("startsAt")?, at("endsAt")?);
        if ends_at < starts_at {
            return Err(bad("Failed to create silence: start time must be before end time".to_owned()));
        }
        if ends_at < now {
            return Err(bad("Failed to create silence: end time can't be in the past".to_owned()));
        }
        let asked = text("id");
        let id = if asked.is_empty() {
            self.made += 1;
            format!("00000000-0000-4000-8000-{:012x}", self.made)
        } else if self.silences.contains_key(&asked) {
            asked
        } else {
            return Err((404, Value::from(format!("silence {asked} not found"))));
        };
        let silence = Silence {
            matchers,
            starts_at: starts_at.max(now),
            ends_at,
            updated_at: now,
            created_by: text("createdBy"),
            comment: text("comment"),
        };
        self.silences.insert(id.clone(), silence);
        Ok(id)
    }

    /// `DELETE /api/v2/silence/{id}`: it ends now.
    pub(crate) fn expire(&mut self, id: &str, now: Millis) -> bool {
        let Some(silence) = self.silences.get_mut(id) else { return false };
        silence.ends_at = silence.ends_at.min(now);
        silence.updated_at = now;
        true
    }

    /// `GET /api/v2/silences`
    pub(crate) fn json(&self, now: Millis) -> Value {
        let one = |(id, silence): (&String, &Silence)| {
            json!({
                "id": id,
                "status": {"state": silence.state(now)},
                "updatedAt": time(silence.updated_at),
                "comment": silence.comment,
                "createdBy": silence.created_by,
                "endsAt": time(silence.ends_at),
                "matchers": silence.matchers.iter().map(Matcher::json).collect::<Vec<Value>>(),
                "startsAt": time(silence.starts_at),
            })
        };
        self.silences.iter().map(one).collect()
    }
}
