use super::*;
use crate::prometheus::rules::Active;

const MINUTE: Millis = 60_000;
const T: Millis = 1_780_477_200_000;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::of(pairs.iter().copied())
}

/// An alert that fires since a time, and may have ended.
fn active(fired: Millis, resolved: Option<Millis>) -> Active {
    Active::at(if resolved.is_some() { Phase::Inactive } else { Phase::Firing }, fired, resolved)
}

struct Stage {
    manager: Alertmanager,
    alerts: BTreeMap<Labels, Active>,
}

impl Stage {
    fn new() -> Self {
        Self { manager: Alertmanager::new(&AlertmanagerOptions::default()), alerts: BTreeMap::new() }
    }

    fn fires(&mut self, pairs: &[(&str, &str)], at: Millis) {
        self.alerts.insert(labels(pairs), active(at, None));
        self.send(at);
    }

    fn ends(&mut self, pairs: &[(&str, &str)], at: Millis) {
        let fired = self.alerts[&labels(pairs)].fired_at;
        self.alerts.insert(labels(pairs), active(fired, Some(at)));
        self.send(at);
    }

    fn send(&mut self, at: Millis) {
        self.manager.receive(self.alerts.iter().map(|(labels, active)| ("up == 0", labels, active)), at);
    }

    /// When what was told until then: seconds, status, alerts with their states.
    fn told(&mut self, until: Millis) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(due) = self.manager.due().filter(|due| *due <= until) {
            for notification in self.manager.notify(due) {
                let body = notification.body;
                let one = |alert: &Value| {
                    format!("{}={}", alert["labels"]["pod"].as_str().unwrap_or("-"), alert["status"].as_str().unwrap())
                };
                let alerts: Vec<String> = body["alerts"].as_array().unwrap().iter().map(one).collect();
                told.push(format!("{}s {}: {}", (due - T) / 1000, body["status"].as_str().unwrap(), alerts.join(" ")));
            }
        }
        told
    }
}

const A: [(&str, &str); 4] = [("alertname", "Down"), ("namespace", "shop"), ("pod", "a"), ("severity", "warning")];
const B: [(&str, &str); 4] = [("alertname", "Down"), ("namespace", "shop"), ("pod", "b"), ("severity", "warning")];

#[test]
fn a_group_waits_then_tells_changes_every_interval_and_repeats_itself_after_hours() {
    let mut stage = Stage::new();
    stage.fires(&A, T);
    stage.fires(&B, T + 20_000);
    assert_eq!(stage.told(T + MINUTE), ["30s firing: a=firing b=firing"]);
    stage.ends(&B, T + 2 * MINUTE);
    assert_eq!(stage.told(T + 20 * MINUTE), ["330s firing: a=firing b=resolved"]);
    // Nothing new for four hours; the first flush after those says it again.
    assert_eq!(stage.told(T + 5 * 60 * MINUTE), ["15030s firing: a=firing"]);
    stage.ends(&A, T + 301 * MINUTE);
    assert_eq!(stage.told(T + 400 * MINUTE), ["18330s resolved: a=resolved"]);
    assert_eq!(stage.manager.due(), None, "the group is gone");
}

#[test]
fn what_fired_and_ended_within_the_wait_is_not_told() {
    let mut stage = Stage::new();
    stage.fires(&A, T);
    stage.ends(&A, T + 15_000);
    assert_eq!(stage.told(T + 60 * MINUTE), Vec::<String>::new());
}

#[test]
fn the_payload_is_that_of_version_4() {
    let mut stage = Stage::new();
    stage.fires(&A, T);
    let body = stage.manager.notify(T + 30_000).remove(0).body;
    let expected = json!({
        "receiver": "evenkeel", "status": "firing", "version": "4", "truncatedAlerts": 0,
        "notification_reason": "first notification", "routeLabels": {},
        "groupKey": r#"{}:{alertname="Down", namespace="shop"}"#,
        "externalURL": "http://alertmanager.monitoring:9093",
        "groupLabels": {"alertname": "Down", "namespace": "shop"},
        "commonLabels": {"alertname": "Down", "namespace": "shop", "pod": "a", "severity": "warning"},
        "commonAnnotations": {"summary": "s"},
        "alerts": [{
            "status": "firing",
            "labels": {"alertname": "Down", "namespace": "shop", "pod": "a", "severity": "warning"},
            "annotations": {"summary": "s"},
            "startsAt": "2026-06-03T09:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.monitoring:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
            "fingerprint": format!("{:016x}", labels(&A).fingerprint()),
        }],
    });
    assert_eq!(body, expected);
}

#[test]
fn the_watchdog_is_told_every_minute_and_the_inhibitor_never() {
    let mut stage = Stage::new();
    stage.fires(&[("alertname", "Watchdog"), ("severity", "none")], T);
    stage.fires(&[("alertname", "InfoInhibitor"), ("severity", "none")], T);
    let told = stage.told(T + 3 * MINUTE);
    assert_eq!(told, ["0s firing: -=firing", "60s firing: -=firing", "120s firing: -=firing", "180s firing: -=firing"]);
}

#[test]
fn critical_holds_back_warning_of_the_same_alert_and_namespace() {
    let mut stage = Stage::new();
    let with = |severity: &'static str| {
        [("alertname", "Full"), ("namespace", "shop"), ("pod", severity), ("severity", severity)]
    };
    stage.fires(&with("warning"), T);
    stage.fires(&with("critical"), T);
    assert_eq!(stage.told(T + MINUTE), ["30s firing: critical=firing"]);
    let held =
        stage.manager.json(&BTreeMap::from([("active".to_owned(), vec!["false".to_owned()])]), T + MINUTE).unwrap();
    assert_eq!(held[0]["status"]["state"], "suppressed");
    assert_eq!(held[0]["status"]["inhibitedBy"], json!([format!("{:016x}", labels(&with("critical")).fingerprint())]));
    assert_eq!(held.as_array().unwrap().len(), 1);
    stage.ends(&with("critical"), T + 2 * MINUTE);
    assert_eq!(stage.told(T + 6 * MINUTE), ["330s firing: critical=resolved warning=firing"]);
}

#[test]
fn a_silence_holds_back_while_it_is_active() {
    let mut stage = Stage::new();
    let silence = json!({
        "matchers": [{"name": "pod", "value": "a|c", "isRegex": true}], "createdBy": "ana", "comment": "known",
        "startsAt": "2026-06-03T09:00:00Z", "endsAt": "2026-06-03T09:03:00Z",
    });
    let id = stage.manager.silences.post(&silence, T).unwrap();
    stage.fires(&A, T);
    assert_eq!(stage.told(T + MINUTE), Vec::<String>::new());
    let listed = stage.manager.silences.json(T + MINUTE);
    assert_eq!((&listed[0]["status"]["state"], &listed[0]["matchers"][0]["isEqual"]), (&json!("active"), &json!(true)));
    assert_eq!(stage.manager.json(&BTreeMap::new(), T + MINUTE).unwrap()[0]["status"]["silencedBy"], json!([id]));
    assert_eq!(stage.told(T + 6 * MINUTE), ["330s firing: a=firing"]);
    assert_eq!(stage.manager.silences.json(T + 6 * MINUTE)[0]["status"]["state"], "expired");
    let never = json!({"matchers": [], "startsAt": "2026-06-03T09:00:00Z", "endsAt": "2026-06-03T09:03:00Z"});
    assert_eq!(stage.manager.silences.post(&never, T).unwrap_err().0, 422);
}
