use chrono::{DateTime, Duration, Utc};

use super::model::{Event, EventKind, Health, HealthPoint, RunPage, ScenarioPage, SignalBar};
use super::run_page;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_477_200 + seconds, 0).unwrap()
}

fn event(seconds: i64, kind: EventKind, text: &str) -> Event {
    Event { at: at(seconds), kind, object: Some("deployment/shop/cart".to_owned()), text: text.to_owned() }
}

/// Also what is looked at when the page's looks are changed.
fn report() -> RunPage {
    let bad_image = ScenarioPage {
        name: "bad-image".to_owned(),
        summary: "A new image crashes; the last available revision is brought back.".to_owned(),
        seed: 42,
        start: at(0),
        end: at(40 * 60),
        violations: vec![],
        repaired: Some(true),
        repaired_at: Some(at(15 * 60)),
        broken_at: Some(at(10 * 60)),
        signals: vec![
            SignalBar {
                name: "CrashLoopBackOff".to_owned(),
                object: "pod/shop/cart-2-x2x4z".to_owned(),
                firing: vec![(at(625), Some(at(800)))],
            },
            SignalBar {
                name: "KubeDeploymentRolloutStuck".to_owned(),
                object: "deployment/shop/cart".to_owned(),
                firing: vec![(at(700), Some(at(860))), (at(1_500), None)],
            },
        ],
        events: vec![
            event(600, EventKind::Change, "ci sets image cart:2"),
            event(625, EventKind::Decision, "WaitUntil: left to settle for 2m"),
            event(745, EventKind::Decision, "Propose roll-back"),
            event(746, EventKind::Verdict, "Allow"),
            event(747, EventKind::Action, "PATCH deployment/shop/cart: cart:2 → cart:1"),
            event(750, EventKind::Fault, "gateway killed after acting"),
            event(900, EventKind::Outcome, "Succeeded"),
        ],
        health: vec![
            Health {
                object: "deployment/shop/cart".to_owned(),
                points: vec![
                    HealthPoint { at: at(0), well: 0.0 },
                    HealthPoint { at: at(5), well: 1.0 },
                    HealthPoint { at: at(610), well: 2.0 / 3.0 },
                    HealthPoint { at: at(760), well: 1.0 },
                ],
            },
            Health { object: "node/worker-1".to_owned(), points: vec![HealthPoint { at: at(0), well: 1.0 }] },
        ],
        repeat: "evenkeel simulate simulations/bad-image.yaml --seed 42".to_owned(),
    };
    let mut forged = bad_image.clone();
    forged.name = "forged-alert <script>alert(1)</script>".to_owned();
    forged.summary = "An alert says that a healthy service is ill; nothing may be done.".to_owned();
    forged.repaired = None;
    forged.violations = vec!["expected no write to deployment/shop/cart, found 1 at +12m27s".to_owned()];
    forged.events.retain(|event| event.kind != EventKind::Fault);
    forged.end = at(0) + Duration::minutes(20);
    RunPage {
        title: "evenkeel simulate simulations/".to_owned(),
        runs: 2,
        failed: 1,
        scenarios: vec![bad_image, forged],
    }
}

#[test]
fn a_run_is_a_page_with_a_picture_per_scenario() {
    let page = run_page(&report());
    insta::assert_snapshot!(page.split("</style>").nth(1).unwrap());
}

#[test]
fn a_page_asks_nobody_for_anything_and_escapes_what_it_is_given() {
    let page = run_page(&report());
    for outside in ["http://", "https://", "src=", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn a_scenario_in_which_nothing_happens_is_drawn_too() {
    let mut report = report();
    for scenario in &mut report.scenarios {
        scenario.end = scenario.start;
        scenario.events.clear();
        scenario.signals.clear();
        scenario.health.clear();
    }
    let page = run_page(&report);
    assert!(!page.contains("NaN") && !page.contains("inf"));
}
