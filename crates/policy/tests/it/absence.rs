//! Absence never widens: a field that is taken away, as the API server does with what is misspelt, leaves a verdict
//! as strict or stricter, or a policy that can't be read.

use evenkeel_model::{Decision, Mode, Rate, Tier};
use evenkeel_policy::{Evaluation, PolicySource, evaluate};
use serde_json::Value;

use crate::generated::{Chance, plan, policies, protected, spec};

fn strictness(evaluation: &Evaluation<'_>) -> (u8, u32) {
    match evaluation.decision {
        Decision::Allow { mode: Mode::Enforce } => (0, 0),
        Decision::NeedsApproval { tier: Tier::Medium } => (1, evaluation.approvers),
        Decision::NeedsApproval { .. } => (2, evaluation.approvers),
        Decision::Allow { mode: Mode::Audit } => (3, 0),
        Decision::Defer { .. } => (4, 0),
        Decision::Deny {} => (5, 0),
    }
}

/// Every object's every field, by JSON pointer. What a selector demands are labels, and no fields.
fn fields(value: &Value, at: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                if at != "/match/selector" {
                    fields(value, &at, into);
                }
                into.push(at);
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(n, item)| fields(item, &format!("{at}/{n}"), into)),
        _ => {}
    }
}

fn without(spec: &Value, field: &str) -> Value {
    let mut spec = spec.clone();
    let (parent, name) = field.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    spec.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(&name).unwrap();
    spec
}

/// As somebody would write it: complete, and with nothing that `evenkeel check` would find.
fn full(chance: &mut Chance) -> Value {
    let mut spec = spec(chance);
    spec.windows.freeze.retain(|days| days.from <= days.to);
    for rule in &mut spec.actions {
        rule.approvers = match rule.tier {
            Tier::Low | Tier::Forbidden => None,
            Tier::Medium | Tier::High => Some(rule.approvers.unwrap_or(0).max(1)),
        };
        rule.rate.playbook = Some("30/1h".parse().unwrap());
    }
    serde_json::to_value(spec).unwrap()
}

/// A day, for rates of windows that divide each other.
fn daily(rate: &Rate) -> u64 {
    u64::from(rate.count.get()) * 3600 * 24 / rate.window.get().as_secs()
}

#[test]
fn no_field_permits_more_by_its_absence() {
    let seed = 20_261_121;
    println!("seed {seed}");
    let (mut chance, protected) = (Chance::new(seed), protected());
    let (mut dropped, mut refused, mut kept, mut stricter) = (0, 0, 0, 0);
    for _ in 0..400 {
        let others = policies(&mut chance);
        let full = full(&mut chance);
        let plans: Vec<_> = (0..12).map(|_| plan(&mut chance)).collect();
        let mut all = Vec::new();
        fields(&full, "", &mut all);
        for field in all {
            dropped += 1;
            let with = |policy| [others.clone(), vec![policy]].concat();
            let (before, after) =
                (with(PolicySource::read("p", &full)), with(PolicySource::read("p", &without(&full, &field))));
            refused += u32::from(matches!(after.last(), Some(PolicySource::Broken { .. })));
            for plan in &plans {
                let question = plan.question(&protected);
                let (before, after) = (evaluate(&question, &before), evaluate(&question, &after));
                let (was, is) = (strictness(&before), strictness(&after));
                assert!(
                    is >= was,
                    "without {field}: {:?}, before {:?}\n{full:#}\n{plan:#?}",
                    after.decision,
                    before.decision
                );
                kept += u32::from(is == was);
                stricter += u32::from(is > was);
                if is.0 == 5 {
                    continue;
                }
                let (was, is) = (before.rates(), after.rates());
                for (was, is) in [
                    (was.target, is.target),
                    (was.namespace, is.namespace),
                    (was.playbook, is.playbook),
                    (was.cluster, is.cluster),
                ] {
                    let least = |rates: &std::collections::BTreeSet<Rate>| rates.iter().map(daily).min();
                    assert!(least(&is) <= least(&was), "without {field}: {is:?}, before {was:?}");
                }
            }
        }
    }
    println!("{dropped} fields dropped: {refused} policies refused; {stricter} verdicts stricter, {kept} the same");
    assert!(refused > 1_000 && stricter > 1_000, "too little was tried");
}

/// The API server refuses them before we do: what is missing is told when it is applied.
#[test]
fn what_must_not_be_absent_is_required_by_the_custom_resource() {
    use kube_core::CustomResourceExt as _;
    let crd = serde_json::to_value(evenkeel_model::ActionPolicy::crd()).unwrap();
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
    let mut optional = Vec::new();
    collect(spec, "spec", &mut optional);
    assert_eq!(
        optional,
        ["spec.actions[].approvers", "spec.actions[].max", "spec.actions[].rate.playbook"],
        "each of them permits nothing by its absence: a rule without denies, or the rate is a namespace's"
    );
}

fn collect(schema: &Value, at: &str, optional: &mut Vec<String>) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        if !required.contains(&name.as_str()) {
            optional.push(at.clone());
        }
        collect(property, &at, optional);
        collect(&property["items"], &format!("{at}[]"), optional);
    }
}
