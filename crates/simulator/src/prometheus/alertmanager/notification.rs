//! What Alertmanager posts to a webhook, version 4.

use serde_json::{Value, json};

use super::super::labels::{Labels, Text};
use super::super::rules::time;
use super::super::storage::Millis;
use super::Alert;

/// A notification that was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// To whom.
    pub receiver: String,
    /// The body of the POST.
    pub body: Value,
}

/// Go's zero time: what Alertmanager writes for the end of an alert that fires.
const NEVER: &str = "0001-01-01T00:00:00Z";

pub(super) fn of(
    receiver: &str,
    external_url: &str,
    key: &str,
    group: &Labels,
    alerts: &[Alert],
    reason: &str,
    now: Millis,
) -> Notification {
    let mut sorted: Vec<&Alert> = alerts.iter().collect();
    sorted.sort_by_key(|alert| order(&alert.labels));
    let is_firing = sorted.iter().any(|alert| !alert.is_resolved(now));
    let listed: Vec<Value> = sorted.iter().map(|alert| one(alert, now)).collect();
    let body = json!({
        "receiver": receiver,
        "status": if is_firing { "firing" } else { "resolved" },
        "alerts": listed,
        "notification_reason": reason,
        "groupLabels": group.json(),
        "commonLabels": common(sorted.iter().map(|alert| &alert.labels)).json(),
        "commonAnnotations": common(sorted.iter().map(|alert| &alert.annotations)).json(),
        "routeLabels": {},
        "externalURL": external_url,
        "version": "4",
        "groupKey": key,
        "truncatedAlerts": 0,
    });
    Notification { receiver: receiver.to_owned(), body }
}

fn one(alert: &Alert, now: Millis) -> Value {
    let is_resolved = alert.is_resolved(now);
    let ends = alert.ends_at.filter(|_| is_resolved).map_or(Value::from(NEVER), time);
    json!({
        "status": if is_resolved { "resolved" } else { "firing" },
        "labels": alert.labels.json(),
        "annotations": alert.annotations.json(),
        "startsAt": time(alert.starts_at),
        "endsAt": ends,
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint(),
    })
}

/// By job, then instance, those without last; then by all labels, fewer first.
fn order(labels: &Labels) -> impl Ord {
    let last = |name: &str| (!labels.has(name), Text::from(labels.get(name)));
    (last("job"), last("instance"), labels.len(), labels.clone())
}

fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = all.next() else { return Labels::default() };
    all.fold(first.clone(), |common, labels| {
        let same = |name: &str| labels.get(name) == common.get(name);
        common.filtered(same)
    })
}

/// The page of Prometheus that shows the expression.
pub(super) fn generator_url(expression: &str) -> String {
    let mut url = String::from("http://prometheus.monitoring:9090/graph?g0.expr=");
    for byte in expression.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            b' ' => url.push('+'),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url.push_str("&g0.tab=1");
    url
}
