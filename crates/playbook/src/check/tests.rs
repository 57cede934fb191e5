use std::fmt::Write as _;

use super::*;
use crate::load;

const GOOD: &str = r#"apiVersion: evenkeel.dev/v1alpha1
kind: Playbook
metadata: {name: bad-rollout}
spec:
  summary: Go back.
  priority: 100
  match:
    signals: [CrashLoopBackOff, ImagePullBackOff]
    kinds: [Deployment]
  settle: 2m
  diagnose:
    - name: recent
      changes: {of: target, within: 1h}
    - name: errors
      promql: sum(rate(errors{namespace="{{target.namespace}}"}[5m]))
  when:
    - {fact: recent.podTemplateChanged, op: Equals, value: true}
    - {fact: target.lastAvailableRevision, op: Exists}
    - {fact: target.templateAge, op: AtMost, value: 1h}
  steps:
    - name: roll-back
      do: {rollbackWorkload: {to: LastAvailable}}
      verify:
        within: 10m
        hold: 3m
        that:
          - {fact: target.well, op: Equals, value: true}
          - {fact: errors.value, op: AtMost, value: 1}
      undo: Never
      recurWithin: 24h
    - name: hand-over
      do: {escalate: {severity: Page}}
"#;

fn told(text: &str) -> String {
    let (loaded, mut problems) = load(text, "p.yaml");
    problems.extend(check(&loaded));
    problems.iter().fold(String::new(), |mut all, problem| {
        let _ = writeln!(all, "  {problem}");
        all
    })
}

#[test]
fn a_good_playbook_passes() {
    assert_eq!(told(GOOD), "");
}

#[test]
fn what_cant_be_meant_is_told_with_its_place() {
    let mut all = String::new();
    for (what, from, to) in [
        ("a fact there is not", "target.lastAvailableRevision", "target.lastAvailableRevison"),
        ("a fact of another question", "recent.podTemplateChanged", "recent.value"),
        ("a fact of a question not asked", "recent.podTemplateChanged", "recnt.podTemplateChanged"),
        ("a fact without a source", "target.lastAvailableRevision", "lastAvailableRevision"),
        (
            "a fact of other kinds",
            "{fact: target.lastAvailableRevision, op: Exists}",
            "{fact: target.podReady, op: Equals, value: true}",
        ),
        ("a text for a truth value", "value: true}\n    - {fact: target.last", "value: yes}\n    - {fact: target.last"),
        ("an operator that can't compare it", "podTemplateChanged, op: Equals", "podTemplateChanged, op: AtLeast"),
        ("a value that is none needed", "op: Exists", "op: Exists, value: true"),
        ("a value that is missing", "op: AtMost, value: 1h", "op: AtMost"),
        ("a length of time that is none", "op: AtMost, value: 1h", "op: AtMost, value: soon"),
        ("a list that is none", "op: AtMost, value: 1h", "op: OneOf, value: 1h"),
        (
            "no condition read from the cluster",
            "  when:\n    - {fact: recent.podTemplateChanged, op: Equals, value: true}\n    - {fact: target.lastAvailableRevision, op: Exists}\n    - {fact: target.templateAge, op: AtMost, value: 1h}\n",
            "  when: [{fact: errors.value, op: AtLeast, value: 5}]\n",
        ),
        (
            "no verification",
            "      verify:\n        within: 10m\n        hold: 3m\n        that:\n          - {fact: target.well, op: Equals, value: true}\n          - {fact: errors.value, op: AtMost, value: 1}\n",
            "",
        ),
        (
            "verifying with what is not asked again",
            "{fact: errors.value, op: AtMost, value: 1}",
            "{fact: recent.count, op: AtMost, value: 1}",
        ),
        ("holding longer than there is time", "hold: 3m", "hold: 10m"),
        ("forgetting before it is verified", "recurWithin: 24h", "recurWithin: 5m"),
        ("settling for days", "settle: 2m", "settle: 36h"),
        ("an action for another kind", "kinds: [Deployment]", "kinds: [Deployment, Pod]"),
        ("no kinds", "    kinds: [Deployment]\n", ""),
        ("no signals", "[CrashLoopBackOff, ImagePullBackOff]", "[]"),
        ("a signal twice", "ImagePullBackOff]", "CrashLoopBackOff]"),
        ("acting on anything", "[CrashLoopBackOff, ImagePullBackOff]", "[\"*\"]"),
        ("any and others", "[CrashLoopBackOff, ImagePullBackOff]", "[\"*\", NodeNotReady]"),
        ("two steps of a name", "name: hand-over", "name: roll-back"),
        ("a bad step name", "name: hand-over", "name: Hand_Over"),
        (
            "verifying what changes nothing",
            "do: {escalate: {severity: Page}}",
            "do: {escalate: {severity: Page}}\n      verify: {within: 5m, hold: 1m, that: [{fact: target.well, op: Equals, value: true}]}",
        ),
        (
            "undoing what can't be",
            "do: {rollbackWorkload: {to: LastAvailable}}",
            "do: {restartWorkload: {}}\n      undo: Automatic",
        ),
        (
            "two questions in one",
            "changes: {of: target, within: 1h}",
            "changes: {of: target, within: 1h}\n      events: {of: target, within: 1h}",
        ),
        ("a question too far back", "changes: {of: target, within: 1h}", "changes: {of: target, within: 30d}"),
        ("a question of a reserved name", "name: errors", "name: target"),
        ("a question of a bad name", "name: errors", "name: Errors"),
        ("a variable there is not", "{{target.namespace}}", "{{target.ns}}"),
        ("a variable that can't be escaped", "namespace=\"{{target.namespace}}\"", "namespace={{target.namespace}}"),
        ("an empty summary", "summary: Go back.", "summary: ''"),
    ] {
        assert!(GOOD.contains(from), "{what}");
        let text = GOOD.replacen(from, to, 1);
        let text = if what.starts_with("undoing") { text.replacen("      undo: Never\n", "", 1) } else { text };
        let found = told(&text);
        assert!(!found.is_empty(), "{what}");
        let _ = write!(all, "{what}\n{found}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn playbooks_that_match_the_same_are_told_with_both_places() {
    let again = |name: &str| format!("{GOOD}---\n{}", GOOD.replace("name: bad-rollout", &format!("name: {name}")));
    let mut all = told(&again("bad-rollout"));
    all += &told(&again("other"));
    all += &told(&again("other").replacen("kinds: [Deployment]", "kinds: [Deployment]\n    namespaces: [shop]", 1));
    assert_eq!(told(&again("other").replacen("priority: 100", "priority: 101", 1)), "");
    assert_eq!(told(&again("other").replacen("kinds: [Deployment]", "kinds: [StatefulSet]", 1)), "");
    assert_eq!(told(&again("other").replacen("[CrashLoopBackOff, ImagePullBackOff]", "[FailedCreate]", 1)), "");
    insta::assert_snapshot!(all);
}

#[test]
fn a_playbook_from_the_cluster_is_told_without_place() {
    let (loaded, _) = load(&GOOD.replace("hold: 3m", "hold: 30m"), "p.yaml");
    let resource = evenkeel_model::Playbook::new("bad-rollout", loaded[0].spec.clone());
    let problems = crate::from_resource(&resource).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "playbook/bad-rollout: spec.steps[0].verify.hold: expected less than within (10m), found 30m"
    );
}
