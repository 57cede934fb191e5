use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use chrono::{DateTime, Utc};
use evenkeel_model::{ActionPolicySpec, Kind, ObjectRef, Severity, Signal, SignalState, Source, Span};
use evenkeel_observer::RecordedAlerts;
use evenkeel_playbook::yaml;

use super::*;

const PLAYBOOKS: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: bad-rollout}
spec:
  summary: Go back to the last revision that was available.
  priority: 100
  match: {signals: [CrashLoopBackOff, ImagePullBackOff], kinds: [Deployment, StatefulSet]}
  settle: 2m
  when:
    - {fact: target.unavailableReplicas, op: AtLeast, value: 1}
    - {fact: target.lastAvailableRevision, op: Exists}
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify: {within: 10m, hold: 3m, that: [{fact: target.well, op: Equals, value: true}]}
    - name: hand-over
      do: {escalate: {severity: Page}}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: tell}
spec:
  summary: Tell people.
  priority: -100
  match: {signals: ["*"]}
  settle: 1m
  steps:
    - name: tell
      do: {notify: {message: "{{incident.signals}}"}}
"#;

const POLICIES: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: ActionPolicy
metadata: {name: shop}
spec:
  mode: Enforce
  match: {namespaces: [shop], kinds: [Deployment, StatefulSet], selector: {}}
  actions:
    - do: rollbackWorkload
      tier: Low
      origins: [Playbook]
      rate: {target: 1/1h, namespace: 3/1h, cluster: 10/1h}
  windows: {timeZone: UTC, allow: [{days: ["*"], from: "00:00", to: "24:00"}], freeze: []}
  limits: {concurrent: 2, unavailable: {count: 100, percent: 100}}
  gitOps: UnownedFields
"#;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_600_000 + minutes * 60, 0).unwrap()
}

fn rules_of(playbooks: &str, policies: &str) -> Rules {
    let (documents, problems) = yaml::documents::<ActionPolicySpec>(policies, "policies.yaml", "ActionPolicy");
    assert_eq!(problems, []);
    let policies = documents.into_iter().map(|document| (document.name, document.spec)).collect();
    Rules::new(evenkeel_playbook::parse(playbooks, "playbooks.yaml").unwrap(), policies)
}

fn signal(name: &str, kind: Kind, object: &str, begins: i64, state: SignalState, when: i64) -> Signal {
    let target = ObjectRef::namespaced(kind, "shop", object);
    Signal {
        id: format!("{name}/{object}/{begins}/{state:?}"),
        source: Source::Kubernetes,
        name: name.to_owned(),
        state,
        severity: Severity::Warning,
        cluster: "prod".to_owned(),
        root: Some(target.clone()),
        target: Some(target),
        causes: vec![],
        labels: BTreeMap::new(),
        summary: String::new(),
        suppressed: None,
        holds_object: false,
        starts_at: at(begins),
        ends_at: (state == SignalState::Resolved).then(|| at(when)),
        observed_at: at(when),
    }
}

/// Fires at the first minute and ends at the second.
fn episode(name: &str, object: &str, begins: i64, ends: i64) -> [Signal; 2] {
    let kind = if object.starts_with("db") { Kind::StatefulSet } else { Kind::Deployment };
    [
        signal(name, kind, object, begins, SignalState::Firing, begins),
        signal(name, kind, object, begins, SignalState::Resolved, ends),
    ]
}

fn jsonl(signals: &[Signal]) -> String {
    signals.iter().map(|signal| serde_json::to_string(signal).unwrap() + "\n").collect()
}

/// A day at the shop.
fn day() -> String {
    let mut signals = Vec::new();
    signals.extend(episode("CrashLoopBackOff", "cart", 0, 8));
    signals.extend(episode("CrashLoopBackOff", "search", 20, 21));
    signals.extend(episode("ImagePullBackOff", "pay", 120, 200));
    signals.extend(episode("CrashLoopBackOff", "db", 300, 305));
    signals.extend(episode("SomethingElse", "cart", 400, 420));
    for (n, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let begins = 600 + i64::try_from(n).unwrap();
        signals.extend(episode("CrashLoopBackOff", name, begins, begins + 30));
    }
    signals.extend(episode("CrashLoopBackOff", "cart", 700, 708));
    jsonl(&signals)
}

fn run(text: &str, before: &Rules, after: Option<&Rules>, assume: Assume) -> Verdicts {
    let alerts = RecordedAlerts::new("prod", &evenkeel_observer::Config::default()).unwrap();
    let recording = Recording::open("signals.jsonl", text.as_bytes(), Span::hours(1), &alerts).unwrap();
    let settings = Settings { assume, ..Settings::default() };
    backtest(recording, before, after, &settings).unwrap()
}

#[test]
fn one_set_of_rules_is_told_by_what_incidents_come_to() {
    let verdicts = run(&day(), &rules_of(PLAYBOOKS, POLICIES), None, Assume::FactsHold);
    insta::assert_snapshot!(text(&verdicts));
}

#[test]
fn a_stricter_tier_and_a_tighter_rate_are_told_with_the_rules_that_say_so() {
    let changed = POLICIES.replace("tier: Low", "tier: Medium\n      approvers: 1");
    let verdicts = run(&day(), &rules_of(PLAYBOOKS, POLICIES), Some(&rules_of(PLAYBOOKS, &changed)), Assume::FactsHold);
    insta::assert_snapshot!(markdown(&verdicts));
    let changed = POLICIES.replace("namespace: 3/1h", "namespace: 1/1h");
    let verdicts = run(&day(), &rules_of(PLAYBOOKS, POLICIES), Some(&rules_of(PLAYBOOKS, &changed)), Assume::FactsHold);
    insta::assert_snapshot!(text(&verdicts));
}

#[test]
fn a_changed_playbook_is_told_with_what_was_changed() {
    let changed = PLAYBOOKS.replace("settle: 2m", "settle: 6m").replace(", ImagePullBackOff", "");
    let verdicts = run(&day(), &rules_of(PLAYBOOKS, POLICIES), Some(&rules_of(&changed, POLICIES)), Assume::FactsHold);
    insta::assert_snapshot!(text(&verdicts));
    insta::assert_json_snapshot!(&verdicts);
}

#[test]
fn unknown_facts_end_at_the_question() {
    let verdicts = run(&day(), &rules_of(PLAYBOOKS, POLICIES), None, Assume::Unknown);
    insta::assert_snapshot!(text(&verdicts));
}

#[test]
fn the_same_rules_make_no_difference() {
    let rules = rules_of(PLAYBOOKS, POLICIES);
    let verdicts = run(&day(), &rules, Some(&rules), Assume::FactsHold);
    assert_eq!((verdicts.different, verdicts.changes.len()), (0, 0));
    assert_eq!(verdicts.before, verdicts.after.unwrap());
}

#[test]
fn the_order_of_lines_within_the_bound_makes_no_difference() {
    let rules = rules_of(PLAYBOOKS, POLICIES);
    let sorted = run(&day(), &rules, None, Assume::FactsHold);
    let day = day();
    let mut lines: Vec<&str> = day.lines().collect();
    // Ends beside beginnings of other objects: within an hour of each other.
    for pair in lines.chunks_mut(2) {
        pair.reverse();
    }
    let shuffled = run(&lines.join("\n"), &rules, None, Assume::FactsHold);
    assert_eq!(shuffled.recording.late, 0);
    assert_eq!(sorted.before, shuffled.before);
}

#[test]
fn names_out_of_alerts_do_not_break_the_table() {
    let signals = episode("Evil|`<script>`[x](y)", "cart", 0, 10);
    let rules = rules_of(PLAYBOOKS, POLICIES);
    let verdicts = run(&jsonl(&signals), &rules, None, Assume::FactsHold);
    let page = markdown(&verdicts);
    assert!(!page.contains("<script>"), "{page}");
    assert!(page.contains(r"Evil\|\`&lt;script&gt;\`\[x\](y)"), "{page}");
}

#[test]
fn the_shipped_rules_go_through_a_backtest() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let rules = Rules::read(&root.join("playbooks"), &root.join("policies/standard.yaml")).unwrap();
    assert_eq!(rules.assumed.iter().count(), rules.playbooks.len(), "assuming facts keeps every playbook usable");
    let verdicts = run(&day(), &rules, None, Assume::FactsHold);
    assert!(verdicts.before.acted_on > 0);
}

#[test]
fn a_faulty_set_is_refused_with_places() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.yaml"), PLAYBOOKS.replace("settle: 2m", "setle: 2m")).unwrap();
    let error = Rules::read(dir.path(), dir.path()).unwrap_err().to_string();
    assert!(error.contains(r#"p.yaml:9:3: spec: there is no field "setle" here; did you mean "settle"?"#), "{error}");
}

#[test]
fn a_storm_stays_bounded_and_fast() {
    let mut text = String::new();
    for n in 0..20_000_i64 {
        let episode = episode("CrashLoopBackOff", &format!("d-{}", n % 500), n / 20, n / 20 + 7);
        for mut signal in episode {
            let _ = write!(signal.id, "{n}");
            text.push_str(&serde_json::to_string(&signal).unwrap());
            text.push('\n');
        }
    }
    let rules = rules_of(PLAYBOOKS, POLICIES);
    let verdicts = run(&text, &rules, Some(&rules), Assume::FactsHold);
    assert_eq!(verdicts.recording.signals, 40_000);
    assert_eq!(verdicts.different, 0);
}
