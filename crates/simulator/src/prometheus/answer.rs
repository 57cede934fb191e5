//! What Prometheus and Alertmanager answer over HTTP.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::{Value, json};

use super::promql::{Answer, Evaluator, Query, QueryError};
use super::rules::template::shortest;
use super::storage::Millis;
use super::{Monitoring, at};
use crate::simulator::Simulator;

type Parameters = BTreeMap<String, Vec<String>>;

impl Simulator {
    /// Answers a request to Prometheus (`/api/v1/…`) or Alertmanager (`/api/v2/…`): the status and the JSON body.
    /// `target` is the path with its query, `body` that of a POST. What is not simulated is answered with 501.
    pub fn ask(&self, method: &str, target: &str, body: &[u8]) -> (u16, Value) {
        let mut state = self.state();
        let now = at(state.now());
        state.observe();
        let Some(monitoring) = state.monitoring.as_mut() else {
            return not_simulated("a Prometheus: nothing is watched");
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut parameters = Parameters::new();
        read(query, &mut parameters);
        match (method, path) {
            ("GET", "/api/v1/query") => monitoring.query(&parameters, now),
            ("POST", "/api/v1/query") => {
                read(&String::from_utf8_lossy(body), &mut parameters);
                monitoring.query(&parameters, now)
            }
            ("GET", "/api/v1/alerts") => (200, monitoring.rules.json()),
            ("GET", "/api/v2/alerts") => match monitoring.alertmanager.json(&parameters, now) {
                Ok(alerts) => (200, alerts),
                Err(reason) => (400, Value::from(reason)),
            },
            ("GET", "/api/v2/silences") => (200, monitoring.alertmanager.silences.json(now)),
            ("POST", "/api/v2/silences") => match serde_json::from_slice::<Value>(body) {
                Ok(silence) => match monitoring.alertmanager.silences.post(&silence, now) {
                    Ok(id) => (200, json!({"silenceID": id})),
                    Err(refused) => refused,
                },
                Err(error) => (400, json!({"code": 400, "message": format!("parsing silence body failed: {error}")})),
            },
            ("DELETE", path) => match path.strip_prefix("/api/v2/silence/") {
                Some(id) if monitoring.alertmanager.silences.expire(id, now) => (200, Value::Null),
                Some(_) => (404, Value::Null),
                None => not_simulated(&format!("DELETE {path}")),
            },
            (method, path) => not_simulated(&format!("{method} {path}")),
        }
    }
}

fn not_simulated(what: &str) -> (u16, Value) {
    (501, error("not_implemented", &format!("not simulated: {what}")))
}

fn error(kind: &str, reason: &str) -> Value {
    json!({"status": "error", "errorType": kind, "error": reason})
}

impl Monitoring {
    fn query(&self, parameters: &Parameters, now: Millis) -> (u16, Value) {
        let one = |name: &str| parameters.get(name).and_then(|values| values.first()).map(String::as_str);
        let expression = one("query").unwrap_or_default();
        let time = match one("time").map(time) {
            None => now,
            Some(Some(time)) => time,
            Some(None) => {
                return (400, error("bad_data", "invalid parameter \"time\": cannot parse to a valid timestamp"));
            }
        };
        let evaluator = Evaluator { storage: &self.storage, step: self.step };
        let answer = Query::parse(expression).and_then(|query| query.evaluate(evaluator, time));
        match answer {
            Ok(answer) => (200, json!({"status": "success", "data": data(answer, time)})),
            Err(parse @ QueryError::Parse { .. }) => {
                (400, error("bad_data", &format!("invalid parameter \"query\": {parse}")))
            }
            Err(QueryError::Execution(reason)) => (422, error("execution", &reason)),
            Err(other @ QueryError::NotSimulated { .. }) => (501, error("not_implemented", &other.to_string())),
        }
    }
}

fn data(answer: Answer, at: Millis) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit 53 bits")]
    let at = at as f64 / 1000.0;
    let value = |value: f64| json!([at, decimal(value)]);
    match answer {
        Answer::Scalar(scalar) => json!({"resultType": "scalar", "result": value(scalar)}),
        Answer::Text(text) => json!({"resultType": "string", "result": [at, text]}),
        Answer::Vector(samples) => {
            let one =
                |sample: &super::promql::Sample| json!({"metric": sample.labels.json(), "value": value(sample.value)});
            json!({"resultType": "vector", "result": samples.iter().map(one).collect::<Vec<Value>>()})
        }
    }
}

/// Go's `%f` of as few digits as tell the number apart.
fn decimal(of: f64) -> String {
    if of.is_finite() { format!("{of}") } else { shortest(of) }
}

/// Seconds since 1970, or RFC 3339.
fn time(text: &str) -> Option<Millis> {
    if let Ok(seconds) = text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        return Some((seconds * 1000.0).round() as Millis);
    }
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis())
}

/// `a=1&b=x%20y`
fn read(text: &str, parameters: &mut Parameters) {
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.entry(decoded(name)).or_default().push(decoded(value));
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut digits = rest.clone();
                let hex = [digits.next(), digits.next()].map(|digit| digit.and_then(|it| char::from(it).to_digit(16)));
                match hex {
                    [Some(high), Some(low)] => {
                        bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                        rest = digits;
                    }
                    _ => bytes.push(b'%'),
                }
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
