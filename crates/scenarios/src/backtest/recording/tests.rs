use std::io::Write as _;

use evenkeel_model::SignalState;

use super::*;

const SIGNAL: &str = r#"{"id":"1","source":"Kubernetes","name":"CrashLoopBackOff","state":"Firing","severity":"Warning","cluster":"prod","target":{"kind":"Deployment","namespace":"shop","name":"cart"},"startsAt":"2026-01-05T08:00:00Z","observedAt":"2026-01-05T08:00:00Z"}"#;

const WEBHOOK: &str = r#"{"version":"4","groupKey":"{}","status":"firing","receiver":"r","alerts":[{"status":"firing","labels":{"alertname":"KubePodCrashLooping","namespace":"shop","pod":"cart-5d9f7c8b6d-x2x4z","severity":"warning"},"annotations":{"summary":"It crashes."},"startsAt":"2026-01-05T08:00:00Z","endsAt":"0001-01-01T00:00:00Z"},{"status":"resolved","labels":{"alertname":"Other","namespace":"shop","deployment":"pay"},"startsAt":"2026-01-05T07:00:00Z","endsAt":"2026-01-05T08:01:00Z"},{"status":"firing","labels":{"alertname":"Watchdog"},"startsAt":"2026-01-05T07:00:00Z"}]}"#;

const LISTED: &str = r#"[
  {"labels": {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "db-0"},
   "annotations": {}, "startsAt": "2026-01-05T08:00:00Z", "endsAt": "2026-01-05T08:04:00Z",
   "updatedAt": "2026-01-05T08:00:10Z", "fingerprint": "507a62d79ee76c9a", "receivers": [],
   "status": {"state": "active", "inhibitedBy": [], "silencedBy": []}}
]
[
  {"labels": {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "db-0"},
   "annotations": {}, "startsAt": "2026-01-05T08:00:00Z", "endsAt": "2026-01-05T08:09:00Z",
   "fingerprint": "507a62d79ee76c9a", "status": {"state": "active"}}
]"#;

const RANGE: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[
  {"metric":{"__name__":"ALERTS","alertname":"KubeDeploymentRolloutStuck","alertstate":"firing","namespace":"shop","deployment":"cart"},
   "values":[[1767600000,"1"],[1767600060,"1"],[1767600120,"1"],[1767600600,"1"],[1767600660,"1"]]},
  {"metric":{"__name__":"ALERTS","alertname":"KubeDeploymentRolloutStuck","alertstate":"pending","namespace":"shop","deployment":"cart"},
   "values":[[1767599940,"1"]]},
  {"metric":{"__name__":"ALERTS","alertname":"NodeDown","alertstate":"firing","node":"w1"},
   "values":[[1767600600,"1"],[1767600660,"1"],[1767600720,"1"]]}
]}}"#;

fn alerts() -> RecordedAlerts {
    RecordedAlerts::new("prod", &evenkeel_observer::Config::default()).unwrap()
}

fn read(bytes: &[u8]) -> (Vec<String>, Account) {
    let alerts = alerts();
    let mut recording = Recording::open("f", bytes, Span::minutes(10), &alerts).unwrap();
    let mut told = Vec::new();
    loop {
        let batch = recording.next_batch(3).unwrap();
        if batch.is_empty() {
            return (told, recording.account().clone());
        }
        told.extend(batch.iter().map(|recorded| {
            let signal = &recorded.arrival.signal;
            let state = if signal.state == SignalState::Firing { "firing" } else { "resolved" };
            let subject = signal.subject().map(ToString::to_string).unwrap_or_default();
            format!("{} {} {state} {subject}", recorded.at.format("%H:%M:%S"), signal.name)
        }));
    }
}

#[test]
fn each_format_is_told_by_its_shape() {
    let (signals, account) = read(SIGNAL.as_bytes());
    assert_eq!(account.format, Some(Format::Signals));
    assert_eq!(signals, ["08:00:00 CrashLoopBackOff firing deployment/shop/cart"]);

    let (signals, account) = read(format!("[{SIGNAL}]").as_bytes());
    assert_eq!((account.format, signals.len()), (Some(Format::Signals), 1));

    let (signals, account) = read(WEBHOOK.as_bytes());
    assert_eq!((account.format, account.roots_guessed), (Some(Format::AlertmanagerWebhooks), 1));
    assert_eq!(
        signals,
        ["08:00:00 KubePodCrashLooping firing deployment/shop/cart", "08:01:00 Other resolved deployment/shop/pay"]
    );

    let (signals, account) = read(LISTED.as_bytes());
    assert_eq!(account.format, Some(Format::Alerts));
    assert_eq!(
        signals,
        [
            "08:00:00 KubePodCrashLooping firing statefulset/shop/db",
            "08:09:00 KubePodCrashLooping resolved statefulset/shop/db"
        ]
    );

    let (signals, account) = read(RANGE.as_bytes());
    assert_eq!(account.format, Some(Format::PrometheusRange));
    assert_eq!(
        signals,
        [
            "08:00:00 KubeDeploymentRolloutStuck firing deployment/shop/cart",
            "08:03:00 KubeDeploymentRolloutStuck resolved deployment/shop/cart",
            "08:10:00 KubeDeploymentRolloutStuck firing deployment/shop/cart",
            "08:10:00 NodeDown firing node/w1",
            "08:12:00 KubeDeploymentRolloutStuck resolved deployment/shop/cart"
        ]
    );
}

#[test]
fn gzip_is_read_as_plain() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(SIGNAL.as_bytes()).unwrap();
    assert_eq!(read(&encoder.finish().unwrap()).0.len(), 1);
}

#[test]
fn bad_lines_are_named_and_leave_the_rest() {
    let text = format!("oops\n\n{SIGNAL}\n{{\"id\": 5}}\n{}", SIGNAL.replace("Kubernetes", "Tea"));
    let (signals, account) = read(text.as_bytes());
    assert_eq!((signals.len(), account.bad), (1, 3));
    let told: Vec<String> = account.bad_lines.iter().map(ToString::to_string).collect();
    let expected = "expected a signal as `evenkeel get signals -o jsonl` writes it, found";
    assert_eq!(
        told,
        [
            format!("f:1: {expected} \"oops\""),
            format!("f:4: {expected} invalid type: integer `5`, expected a string at column 8"),
            format!(
                "f:5: {expected} unknown variant `Tea`, expected one of `Alertmanager`, `Prometheus`, `Kubernetes` at column 24"
            ),
        ]
    );
}

#[test]
fn what_is_none_of_the_formats_is_refused() {
    let alerts = alerts();
    for text in ["", "hello\nworld\n", "{}", "[{\"a\": 1}]"] {
        let refused = Recording::open("f", text.as_bytes(), Span::minutes(10), &alerts).err().unwrap().to_string();
        assert!(refused.starts_with("f: expected signals (evenkeel get signals -o jsonl)"), "{refused}");
    }
}

#[test]
fn lines_out_of_order_within_the_bound_are_put_in_order_and_later_ones_told() {
    let line =
        |id: u32, time: &str| SIGNAL.replace(r#""id":"1""#, &format!(r#""id":"{id}""#)).replace("08:00:00", time);
    let text =
        [line(1, "08:05:00"), line(2, "08:00:00"), line(3, "08:30:00"), line(4, "08:02:00"), line(5, "08:25:00")];
    let (signals, account) = read(text.join("\n").as_bytes());
    let times: Vec<&str> = signals.iter().map(|signal| &signal[..5]).collect();
    assert_eq!(times, ["08:00", "08:05", "08:02", "08:25", "08:30"]);
    assert_eq!(account.late, 1);
}
