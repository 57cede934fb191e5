//! What people have told Alertmanager to hold back: silences that match an object stop automatic
//! action on it, whoever saw the trouble; an inhibited alert stops it for that alert only, since
//! the usual inhibition (critical over warning of the same object) says nothing against acting.

use std::collections::BTreeSet;

use evenkeel_model::ObjectRef;
use regex::Regex;
use serde::Deserialize;

use crate::alert::{Labels, bounded, fingerprint};

/// Labels by which an alert names objects. A silence with one of them is about such an object.
const IDENTITIES: [&str; 12] = [
    "pod",
    "deployment",
    "statefulset",
    "daemonset",
    "replicaset",
    "job_name",
    "cronjob",
    "node",
    "persistentvolumeclaim",
    "horizontalpodautoscaler",
    "poddisruptionbudget",
    "instance",
];

/// What is held back now.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    silences: Vec<Silence>,
    /// Fingerprints of inhibited alerts.
    inhibited: BTreeSet<String>,
}

/// One active silence.
#[derive(Debug)]
pub(crate) struct Silence {
    id: String,
    by: String,
    comment: String,
    matchers: Vec<Matcher>,
}

#[derive(Debug)]
struct Matcher {
    name: String,
    equal: bool,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Pattern(Regex),
    /// A pattern that can't be read matches everything: doubt does not widen what may be done.
    Anything,
}

impl Matcher {
    fn matches(&self, value: &str) -> bool {
        let same = match &self.value {
            Value::Text(text) => text == value,
            Value::Pattern(pattern) => pattern.is_match(value),
            Value::Anything => return true,
        };
        same == self.equal
    }
}

impl Quiet {
    pub(crate) fn new(silences: Vec<Silence>, inhibited: BTreeSet<String>) -> Self {
        Self { silences, inhibited }
    }

    pub(crate) fn len(&self) -> usize {
        self.silences.len() + self.inhibited.len()
    }

    /// Whether a silence matches the object, and which. Matchers on labels that objects don't have
    /// (severity, team) are passed over; one on an alert's name counts only together with one that
    /// names the object, or silencing one alert would stop everything in its namespace.
    pub(crate) fn holds(&self, object: &ObjectRef) -> Option<String> {
        if self.silences.is_empty() {
            return None;
        }
        let identity = match object.kind.as_str() {
            "Job" => "job_name".to_owned(),
            kind => kind.to_ascii_lowercase(),
        };
        self.silences.iter().find(|silence| silence.is_about(object, &identity)).map(Silence::reason)
    }

    /// Whether an alert of these labels is silenced or inhibited.
    pub(crate) fn holds_alert(&self, labels: &Labels<'_>) -> Option<String> {
        let silenced = self.silences.iter().find(|silence| {
            let value = |name: &str| labels.get(name).unwrap_or_default();
            silence.matchers.iter().all(|matcher| matcher.matches(value(&matcher.name)))
        });
        let inhibited = || {
            let held = !self.inhibited.is_empty() && self.inhibited.contains(&fingerprint(labels));
            held.then(|| "inhibited by another alert".to_owned())
        };
        silenced.map(Silence::reason).or_else(inhibited)
    }
}

impl Silence {
    fn is_about(&self, object: &ObjectRef, identity: &str) -> bool {
        let (mut named, mut alert, mut placed) = (false, false, false);
        for matcher in &self.matchers {
            match matcher.name.as_str() {
                "namespace" => {
                    let Some(namespace) = &object.namespace else { return false };
                    if !matcher.matches(namespace) {
                        return false;
                    }
                    placed = true;
                }
                name if name == identity => {
                    if !matcher.matches(&object.name) {
                        return false;
                    }
                    named = true;
                }
                "alertname" => alert = true,
                // Of another object.
                name if IDENTITIES.contains(&name) => return false,
                _ => {}
            }
        }
        named || (placed && !alert)
    }

    fn reason(&self) -> String {
        let comment = evenkeel_runtime::redact::text(&bounded(&self.comment, 200));
        format!("silenced by {} ({}): {comment}", bounded(&self.by, 64), self.id)
    }
}

/// A silence as Alertmanager's API v2 gives it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiSilence {
    id: String,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    comment: String,
    status: ApiStatus,
    matchers: Vec<ApiMatcher>,
}

#[derive(Debug, Deserialize)]
struct ApiStatus {
    state: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiMatcher {
    name: String,
    value: String,
    is_regex: bool,
    /// Absent before Alertmanager 0.22.
    #[serde(default = "yes")]
    is_equal: bool,
}

fn yes() -> bool {
    true
}

/// An alert as Alertmanager's API v2 gives it, as far as it is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiAlert {
    fingerprint: String,
    status: ApiAlertStatus,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiAlertStatus {
    #[serde(default)]
    inhibited_by: Vec<String>,
}

/// The silences that are active.
pub(crate) fn active(silences: Vec<ApiSilence>) -> Vec<Silence> {
    silences.into_iter().filter(|silence| silence.status.state == "active").map(silence).collect()
}

/// Fingerprints of the alerts that are inhibited.
pub(crate) fn inhibited(alerts: Vec<ApiAlert>) -> BTreeSet<String> {
    alerts.into_iter().filter(|it| !it.status.inhibited_by.is_empty()).map(|it| it.fingerprint).collect()
}

fn silence(silence: ApiSilence) -> Silence {
    let matcher = |matcher: ApiMatcher| {
        // Anchored at both ends, as Prometheus does.
        let pattern = || Regex::new(&format!("^(?s:{})$", matcher.value)).map_or(Value::Anything, Value::Pattern);
        let value = if matcher.is_regex { pattern() } else { Value::Text(matcher.value.clone()) };
        Matcher { name: matcher.name, equal: matcher.is_equal, value }
    };
    Silence {
        id: silence.id,
        by: silence.created_by,
        comment: silence.comment,
        matchers: silence.matchers.into_iter().map(matcher).collect(),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Kind;

    use super::*;

    fn quiet(matchers: &str) -> Quiet {
        let text = format!(
            r#"[{{"id":"1","createdBy":"ana","comment":"known","status":{{"state":"active"}},"matchers":[{matchers}]}},
                {{"id":"2","status":{{"state":"expired"}},"matchers":[]}}]"#
        );
        Quiet::new(active(serde_json::from_str(&text).unwrap()), BTreeSet::from(["507a62d79ee76c9a".to_owned()]))
    }

    fn equal(name: &str, value: &str) -> String {
        format!(r#"{{"name":"{name}","value":"{value}","isRegex":false,"isEqual":true}}"#)
    }

    fn like(name: &str, value: &str) -> String {
        format!(r#"{{"name":"{name}","value":"{value}","isRegex":true}}"#)
    }

    #[test]
    fn a_silence_holds_the_objects_it_names() {
        let cart = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
        let pod = ObjectRef::namespaced(Kind::Pod, "shop", "cart-1");
        let holds = |matchers: &[String]| {
            let quiet = quiet(&matchers.join(","));
            (quiet.holds(&cart).is_some(), quiet.holds(&pod).is_some())
        };
        assert_eq!(holds(&[equal("namespace", "shop")]), (true, true));
        assert_eq!(holds(&[equal("namespace", "shop"), equal("severity", "warning")]), (true, true));
        assert_eq!(holds(&[equal("namespace", "till")]), (false, false));
        assert_eq!(holds(&[equal("namespace", "shop"), like("deployment", "ca.*")]), (true, false));
        assert_eq!(holds(&[like("pod", "cart-.*")]), (false, true));
        assert_eq!(holds(&[like("pod", "art")]), (false, false), "anchored");
        assert_eq!(holds(&[equal("alertname", "KubePodCrashLooping"), equal("namespace", "shop")]), (false, false));
        assert_eq!(holds(&[equal("alertname", "KubePodCrashLooping"), equal("pod", "cart-1")]), (false, true));
        assert_eq!(holds(&[like("deployment", "(")]), (true, false), "doubt does not widen");
        assert_eq!(quiet(&equal("pod", "cart-1")).holds(&pod).unwrap(), "silenced by ana (1): known");
    }

    #[test]
    fn an_alert_is_held_by_all_matchers_or_by_inhibition() {
        let quiet = quiet(
            &[equal("alertname", "A"), r#"{"name":"team","value":"x","isRegex":false,"isEqual":false}"#.to_owned()]
                .join(","),
        );
        assert!(quiet.holds_alert(&Labels::from_pairs([("alertname", "A"), ("team", "y")])).is_some());
        assert!(quiet.holds_alert(&Labels::from_pairs([("alertname", "A"), ("team", "x")])).is_none());
        let inhibited = Labels::from_pairs([("name", "garland, briggs"), ("fear", "love is not enough")]);
        assert_eq!(quiet.holds_alert(&inhibited).unwrap(), "inhibited by another alert");
    }
}
