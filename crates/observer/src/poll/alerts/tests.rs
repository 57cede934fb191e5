use std::time::Duration;

use chrono::DateTime;
use evenkeel_model::{FixedClock, Signal};

use super::*;
use crate::config::Kubernetes;
use crate::silences::{ApiSilence, Quiet, active};
use crate::targets::Resolver;
use crate::world::SharedWorld;
use crate::world::fixture::at;

fn alerts(watchdog_every: Option<Span>) -> (Alerts, Arc<FixedClock>) {
    let metrics = Metrics::register(&mut prometheus_client::registry::Registry::default());
    let clock = Arc::new(FixedClock::new(at(0)));
    let config = Kubernetes::default();
    let sight = Sight::new("test".to_owned(), config, SharedWorld::default(), [], metrics.clone());
    let alerts = Alerts {
        sight: Arc::new(sight),
        normalizer: Arc::new(Normalizer::new("test".to_owned(), Resolver::new(Vec::new()).unwrap())),
        heartbeat: Arc::new(Heartbeat::new(watchdog_every, at(0))),
        watchdog: "Watchdog".to_owned(),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        metrics,
        before: Mutex::default(),
    };
    (alerts, clock)
}

fn answer(alerts: &[(&str, &str, &str)]) -> String {
    let alert = |(name, state, at): &(&str, &str, &str)| {
        format!(
            r#"{{"labels":{{"alertname":"{name}","namespace":"shop","deployment":"cart"}},"annotations":{{}},
            "state":"{state}","activeAt":"{at}","value":"1e+00"}}"#
        )
    };
    let alerts: Vec<String> = alerts.iter().map(alert).collect();
    format!(r#"{{"status":"success","data":{{"alerts":[{}]}}}}"#, alerts.join(","))
}

fn tell(alerts: &Alerts) -> Vec<Signal> {
    let world = world::read(&alerts.sight.world);
    let taken =
        alerts.sight.tracker().take(100, alerts.clock.now(), |signal, _| Sight::complete(&world, signal, false));
    let tell = |telling: crate::tracker::Telling| {
        let signal = telling.signal.clone();
        alerts.sight.tracker().told(telling);
        signal
    };
    taken.into_iter().map(tell).collect()
}

fn states(signals: &[Signal]) -> Vec<(&str, SignalState)> {
    signals.iter().map(|signal| (signal.name.as_str(), signal.state)).collect()
}

const AT: &str = "2024-10-04T08:00:00Z";

#[test]
fn what_fires_is_told_and_its_end_when_it_is_no_longer_there() {
    let (alerts, _) = alerts(None);
    let body =
        answer(&[("A", "firing", AT), ("B", "pending", AT), ("EvenkeelX", "firing", AT), ("Watchdog", "firing", AT)]);
    for _ in 0..2 {
        alerts.take(body.as_bytes()).unwrap();
    }
    let told = tell(&alerts);
    assert_eq!(states(&told), [("A", SignalState::Firing)]);
    assert_eq!(alerts.metrics.ignored_so_far("named like ours"), 1, "EvenkeelX is none of ours; told once");
    assert_eq!(
        (told[0].source, told[0].target.as_ref().unwrap().to_string()),
        (Source::Prometheus, "deployment/shop/cart".to_owned())
    );
    assert_eq!(told[0].starts_at, AT.parse::<DateTime<Utc>>().unwrap());
    alerts.take(answer(&[("Watchdog", "firing", AT)]).as_bytes()).unwrap();
    assert_eq!(states(&tell(&alerts)), [("A", SignalState::Resolved)]);
    assert!(alerts.take(b"<html>").unwrap_err().to_string().contains("Prometheus' alerts"));
    assert!(tell(&alerts).is_empty());
}

#[test]
fn while_the_watchdog_is_silent_nothing_ends() {
    let (alerts, clock) = alerts(Some(Span::minutes(2)));
    alerts.take(answer(&[("A", "firing", AT)]).as_bytes()).unwrap();
    tell(&alerts);
    clock.advance(Duration::from_secs(300));
    alerts.take(answer(&[]).as_bytes()).unwrap();
    assert!(tell(&alerts).is_empty(), "blind");
    alerts.take(answer(&[("Watchdog", "firing", AT)]).as_bytes()).unwrap();
    assert_eq!(states(&tell(&alerts)), [("A", SignalState::Resolved)], "Prometheus has its rules");
}

#[test]
fn a_prometheus_that_was_restarted_ends_nothing() {
    let (alerts, _) = alerts(None);
    let watchdog = ("Watchdog", "firing", AT);
    alerts.take(answer(&[("A", "firing", AT), watchdog]).as_bytes()).unwrap();
    tell(&alerts);
    for _ in 0..3 {
        alerts.take(answer(&[]).as_bytes()).unwrap();
        assert!(tell(&alerts).is_empty(), "its rules have not been evaluated yet");
    }
    alerts.take(answer(&[watchdog]).as_bytes()).unwrap();
    assert_eq!(states(&tell(&alerts)), [("A", SignalState::Resolved)]);
}

#[test]
fn without_a_watchdog_the_second_answer_is_believed() {
    let (alerts, _) = alerts(None);
    let (a, b) = (("A", "firing", AT), ("B", "firing", AT));
    alerts.take(answer(&[a, b]).as_bytes()).unwrap();
    tell(&alerts);
    // Missing once, there again, missing once more: never twice in a row.
    for there in [&[b][..], &[a, b], &[b]] {
        alerts.take(answer(there).as_bytes()).unwrap();
        assert!(tell(&alerts).is_empty());
    }
    alerts.take(answer(&[]).as_bytes()).unwrap();
    assert_eq!(states(&tell(&alerts)), [("A", SignalState::Resolved)]);
}

#[test]
fn a_silenced_alert_is_told_with_the_reason() {
    let (alerts, _) = alerts(None);
    let silences: Vec<ApiSilence> = serde_json::from_str(
        r#"[{"id":"s1","createdBy":"ana","comment":"known","status":{"state":"active"},
            "matchers":[{"name":"alertname","value":"A","isRegex":false,"isEqual":true}]}]"#,
    )
    .unwrap();
    world::write(&alerts.sight.world).quiet = Quiet::new(active(silences), BTreeSet::new());
    alerts.take(answer(&[("A", "firing", AT), ("B", "firing", AT)]).as_bytes()).unwrap();
    let mut told = tell(&alerts);
    told.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(told[0].suppressed.as_deref(), Some("silenced by ana (s1): known"));
    assert_eq!(told[1].suppressed, None);
}
