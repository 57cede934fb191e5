use std::collections::BTreeMap;

use evenkeel_model::{
    Action, Kind, Notify, ObjectRef, Origin, PlaybookStep, Proposal, RemediationSpec, RollbackTo, RollbackWorkload,
    Severity, Source,
};

use evenkeel_model::SignalState;

use super::*;

const PLAYBOOKS: &str = r#"
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: bad-rollout}
spec:
  summary: Go back.
  priority: 100
  match: {signals: [CrashLoopBackOff], kinds: [Deployment]}
  when: [{fact: target.lastAvailableRevision, op: Exists}]
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify: {within: 10m, hold: 3m, that: [{fact: target.well, op: Equals, value: true}]}
---
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: node-not-ready}
spec:
  summary: Cordon it.
  priority: 100
  match: {signals: [NodeNotReady], kinds: [Node]}
  steps: [{name: tell, do: {escalate: {severity: Page}}}]
---
apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: default}
spec:
  summary: Tell people.
  priority: -100
  match: {signals: ["*"]}
  steps: [{name: tell, do: {notify: {message: "{{incident.signals}}"}}}]
"#;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_600_000 + minutes * 60, 0).unwrap()
}

fn object(name: &str) -> ObjectRef {
    ObjectRef::namespaced(Kind::Deployment, "shop", name)
}

fn signal(name: &str, about: &str, begins: i64, ends: Option<i64>) -> Signal {
    let state = if ends.is_some() { SignalState::Resolved } else { SignalState::Firing };
    Signal {
        id: format!("{name}/{about}/{begins}/{state:?}"),
        source: Source::Kubernetes,
        name: name.to_owned(),
        state,
        severity: Severity::Warning,
        cluster: "prod".to_owned(),
        target: Some(object(about)),
        root: Some(object(about)),
        causes: vec![],
        labels: BTreeMap::new(),
        summary: String::new(),
        suppressed: None,
        holds_object: false,
        starts_at: at(begins),
        ends_at: ends.map(at),
        observed_at: at(ends.unwrap_or(begins)),
    }
}

fn remediation(number: u32, about: &str, minute: i64, phase: Phase, action: Action) -> Remediation {
    let playbook = if action.name().is_mutating() { "bad-rollout" } else { "default" };
    let proposal = Proposal {
        incident: format!("i-{about}"),
        number,
        cluster: "prod".to_owned(),
        target: object(about),
        root: object(about),
        action,
        playbook: PlaybookStep { name: playbook.to_owned(), version: "v".to_owned(), step: "roll-back".to_owned() },
        origin: Origin::Playbook,
        signals: vec!["CrashLoopBackOff".to_owned()],
        rationale: String::new(),
        recurrence_of: None,
        proposed_at: at(minute),
        expires_at: at(minute + 15),
        traceparent: None,
    };
    let mut remediation = Remediation::new(&proposal.name(), RemediationSpec::new(proposal));
    let mut status = RemediationStatus::proposed(at(minute));
    status.phase = phase;
    status.reason = "why <it> is so".to_owned();
    let acted = [Phase::Succeeded, Phase::Regressed, Phase::NotUndoable].contains(&phase);
    status.acted_at = acted.then(|| at(minute));
    remediation.status = Some(status);
    remediation
}

fn week() -> Road {
    let rollback = || Action::RollbackWorkload(RollbackWorkload { to: RollbackTo::LastAvailable });
    let remediations = [
        remediation(1, "cart", 2, Phase::WouldExecute, rollback()),
        remediation(1, "pay", 12, Phase::WouldExecute, rollback()),
        remediation(1, "search", 22, Phase::WouldExecute, rollback()),
        remediation(1, "db", 62, Phase::Regressed, rollback()),
        remediation(2, "db", 92, Phase::Succeeded, rollback()),
        remediation(3, "old", -9_000, Phase::Succeeded, rollback()),
        remediation(4, "cart", 300, Phase::Succeeded, Action::Notify(Notify { message: "x".to_owned() })),
    ];
    let mut signals = vec![
        signal("CrashLoopBackOff", "cart", 0, None),
        signal("CrashLoopBackOff", "cart", 0, Some(6)),
        signal("CrashLoopBackOff", "pay", 10, None),
        signal("CrashLoopBackOff", "pay", 10, Some(42)),
        signal("CrashLoopBackOff", "search", 20, None),
        signal("CrashLoopBackOff", "mail", 30, None),
        signal("CrashLoopBackOff", "mail", 30, Some(31)),
    ];
    signals.extend([
        signal("QueueFilling<script>", "cart", 290, None),
        signal("QueueFilling<script>", "cart", 290, Some(320)),
        signal("QueueFilling<script>", "mail", 330, None),
    ]);
    signals.sort_by_key(|signal| signal.observed_at);
    let (playbooks, problems) = Playbooks::new(evenkeel_playbook::parse(PLAYBOOKS, "p.yaml").unwrap());
    assert_eq!(problems, []);
    let change = |about, minute, by: &str| Change { object: object(about), at: at(minute), by: by.to_owned() };
    let changes = [
        // What brought the trouble, what came after it was over, and what ended it.
        change("cart", -1, "ci"),
        change("cart", 7, "ci"),
        change("pay", 30, "kubectl-rollout"),
        change("search", 25, "ana"),
    ];
    road(Sources {
        remediations: &remediations,
        signals: &signals,
        playbooks: &playbooks,
        changes: &changes,
        since: at(-1_000),
        now: at(400),
    })
}

#[test]
fn the_road_tells_what_would_have_been_done_and_what_healed_alone() {
    insta::assert_json_snapshot!(week());
}

#[test]
fn what_somebody_repaired_did_not_heal_alone() {
    let road = week();
    let one = road.playbooks.iter().find(|it| it.name == "bad-rollout").unwrap();
    assert_eq!((one.would_execute, one.healed_alone.count, one.repaired_by_others, one.still_ill), (3, 1, 1, 1));
    let repaired = one.cases.iter().filter_map(|case| case.repaired_by.as_deref());
    assert_eq!(repaired.collect::<Vec<_>>(), ["kubectl-rollout"]);
}

#[test]
fn the_page_stands_by_itself_and_escapes_names() {
    let page = html(&week());
    assert!(!page.contains("<script>") && !page.contains("http://") && !page.contains("https://"));
    insta::assert_snapshot!(page.split("</style>").nth(1).unwrap());
}

#[test]
fn an_empty_cluster_has_an_empty_road() {
    let (playbooks, _) = Playbooks::new(vec![]);
    let road = road(Sources {
        remediations: &[],
        signals: &[],
        playbooks: &playbooks,
        changes: &[],
        since: at(0),
        now: at(10),
    });
    assert_eq!((road.incidents, road.playbooks.len()), (0, 0));
    assert!(html(&road).contains("None."));
}
