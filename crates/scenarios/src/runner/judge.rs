//! Whether what was expected came.

use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_cluster::NoRecords;
use evenkeel_model::{ActionName, Evidence, Fact, Operator};
use evenkeel_playbook::facts;
use evenkeel_simulator::Simulator;
use serde_json::Value;

use super::manifest::path;
use super::people::Person;
use super::report::{RunReport, Violation};
use crate::file::{Expect, Failed, Finally, Object, Written};

/// Requests of so long before the end are counted.
const REQUESTS_OF: Duration = Duration::from_secs(300);

/// What a run is compared with.
pub(crate) struct Judge<'a> {
    pub(crate) expect: &'a Expect,
    /// Random trouble was added: things may come late.
    pub(crate) patient: bool,
}

/// Whether a written object stands for one that was seen: `*` at the end stands for the rest.
fn stands_for(object: &Object, seen: &str) -> bool {
    let text = object.to_string();
    match text.strip_suffix('*') {
        Some(begin) => seen.starts_with(begin),
        None => text == seen,
    }
}

impl Judge<'_> {
    /// What differs from what was expected, but for `finally`.
    pub(crate) fn look(&self, report: &RunReport) -> Vec<Violation> {
        let mut found = Vec::new();
        self.writes(report, &mut found);
        self.remediations(report, &mut found);
        self.escalations(report, &mut found);
        if self.expect.nothing {
            let proposed = report.proposals.iter().map(|it| format!("{} on {} by {}", it.action, it.target, it.step));
            found.extend(proposed.map(|what| Violation::new("nothing", format!("expected nothing, found {what}"))));
        }
        found
    }

    fn writes(&self, report: &RunReport, found: &mut Vec<Violation>) {
        let begin = |at: DateTime<Utc>| at - report.start;
        let effects: Vec<_> = report.writes.iter().filter(|write| write.is_effect() && !write.undo).collect();
        let listed = |written: &Written, action: Option<ActionName>, object: &str| {
            action == Some(written.action) && stands_for(&written.object, object)
        };
        for write in &effects {
            if !self.expect.writes.iter().any(|written| listed(written, write.action, &write.object)) {
                let action = write.action.map_or_else(|| write.verb.clone(), |action| action.to_string());
                let what =
                    format!("expected no such write, found {action} on {} at {}", write.object, clock(begin(write.at)));
                found.push(Violation::new("writes", what));
            }
        }
        for written in &self.expect.writes {
            let meant: Vec<_> = effects.iter().filter(|write| listed(written, write.action, &write.object)).collect();
            let what = format!("{} on {}", written.action, written.object);
            if meant.len() != usize::try_from(written.times).unwrap_or(usize::MAX) {
                let count = format!("expected {what} {} times, found {}", written.times, meant.len());
                found.push(Violation::new("writes", count));
            }
            for write in meant {
                let at = begin(write.at);
                let late = written.before.is_some_and(|before| at > before.chrono()) && !self.patient;
                let early = written.after.is_some_and(|after| at < after.chrono());
                if late || early {
                    let bound = if late { "before" } else { "after" };
                    let limit = if late { written.before } else { written.after };
                    let limit = limit.map(|limit| limit.to_string()).unwrap_or_default();
                    found.push(Violation::new(
                        "writes",
                        format!("expected {what} {bound} {limit}, found {}", clock(at)),
                    ));
                }
            }
        }
    }

    fn remediations(&self, report: &RunReport, found: &mut Vec<Violation>) {
        for expected in &self.expect.remediations {
            let meant = report.remediations.iter().filter(|it| {
                it.action == expected.action
                    && it.phase() == expected.phase
                    && expected.object.as_ref().is_none_or(|object| stands_for(object, &it.target))
            });
            let count = meant.count();
            if count != usize::try_from(expected.times).unwrap_or(usize::MAX) {
                let what =
                    format!("expected {} {} {} times, found {count}", expected.action, expected.phase, expected.times);
                found.push(Violation::new("remediations", what));
            }
        }
    }

    fn escalations(&self, report: &RunReport, found: &mut Vec<Violation>) {
        let calls: Vec<_> = report.remediations.iter().filter(|it| it.action == ActionName::Escalate).collect();
        let about = |object: &Object, call: &super::report::RemediationSeen| {
            stands_for(object, &call.target) || stands_for(object, &call.root)
        };
        for expected in &self.expect.escalations {
            let meant: Vec<_> = calls.iter().filter(|call| about(&expected.object, call)).collect();
            if meant.is_empty() {
                found.push(Violation::new(
                    "escalations",
                    format!("expected people to be called for {}, found nobody was", expected.object),
                ));
            }
            for call in meant {
                let at = call.phases.first().map_or(report.end, |first| first.at) - report.start;
                let late = expected.before.is_some_and(|before| at > before.chrono()) && !self.patient;
                let early = expected.after.is_some_and(|after| at < after.chrono());
                if late || early {
                    found.push(Violation::new(
                        "escalations",
                        format!("called for {} at {}", expected.object, clock(at)),
                    ));
                }
            }
        }
        for call in calls {
            // In trouble, what can't be had in time is a person's to look at.
            if !self.patient && !self.expect.escalations.iter().any(|expected| about(&expected.object, call)) {
                let what = format!(
                    "expected nobody to be called, found a call for {} ({}): {}",
                    call.target, call.step, call.rationale
                );
                found.push(Violation::new("escalations", what));
            }
        }
    }
}

/// A length of time as `12m03s`.
pub(crate) fn clock(span: chrono::Duration) -> String {
    let seconds = span.num_seconds();
    format!("{}m{:02}s", seconds / 60, seconds % 60)
}

/// What does not hold at the end.
pub(crate) async fn finally(expect: &Expect, simulator: &Simulator, now: DateTime<Utc>) -> Vec<Violation> {
    let mut found = Vec::new();
    for expected in &expect.finally {
        let (what, fact) = match (&expected.fact, &expected.field) {
            (Some(fact), _) => (fact.clone(), of_fact(expected, fact, simulator, now).await),
            (None, Some(field)) => (field.clone(), of_field(expected, field, simulator).await),
            (None, None) => continue,
        };
        if !holds(expected, &fact) {
            let value = expected.value.as_ref().map(|value| format!(" {value}")).unwrap_or_default();
            let wanted = format!("{} {what} {:?}{value}", expected.object, expected.op);
            found.push(Violation::new("finally", format!("expected {wanted}, found {}", facts::show(&fact, None))));
        }
    }
    found
}

/// Services whose users fare otherwise than expected at the end.
pub(crate) fn requests(expect: &Expect, simulator: &Simulator) -> Vec<Violation> {
    let wrong = |expected: &Failed| {
        let service = &expected.to.0;
        let named = format!("{}/{}", service.namespace.as_deref().unwrap_or("default"), service.name);
        let Some(share) = simulator.failed_share(&named, REQUESTS_OF) else {
            return Some(Violation::new("requests", format!("expected requests to {}, found none", expected.to)));
        };
        let few = expected.at_least.is_some_and(|least| share < least);
        let many = expected.at_most.is_some_and(|most| share > most);
        let bound = if few { ("at least", expected.at_least) } else { ("at most", expected.at_most) };
        let wanted = format!("{} {}", bound.0, bound.1.unwrap_or_default());
        (few || many).then(|| {
            let what = format!("expected {wanted} of the requests to {} to fail, found {share:.3}", expected.to);
            Violation::new("requests", what)
        })
    };
    expect.requests.iter().filter_map(wrong).collect()
}

async fn of_fact(expected: &Finally, name: &str, simulator: &Simulator, now: DateTime<Utc>) -> Fact {
    let client = simulator.client("system:admin");
    match evenkeel_cluster::snapshot(&client, &expected.object.0, &NoRecords, now).await {
        Ok(snapshot) => facts::evaluate(name, &Evidence { target: Some(snapshot), ..Evidence::default() }),
        Err(error) => Fact::Unknown(error.to_string()),
    }
}

async fn of_field(expected: &Finally, field: &str, simulator: &Simulator) -> Fact {
    let person = Person::new(simulator, "system:admin");
    let object = match person.get(&path(&expected.object.0)).await {
        Ok(Some(object)) => object,
        Ok(None) => return Fact::Absent,
        Err(error) => return Fact::Unknown(error.to_string()),
    };
    let pointer = field.replace('[', ".").replace(']', "");
    let found = pointer.split('.').try_fold(&object, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        value => value.get(part),
    });
    match found {
        None | Some(Value::Null) => Fact::Absent,
        Some(Value::Bool(found)) => Fact::Bool(*found),
        Some(Value::Number(found)) => found.as_f64().map_or(Fact::Absent, Fact::Number),
        Some(Value::String(found)) => Fact::Text(found.clone()),
        Some(found) => Fact::Text(found.to_string()),
    }
}

fn holds(expected: &Finally, fact: &Fact) -> bool {
    let number = expected.value.as_ref().and_then(Value::as_f64);
    match (expected.op, fact) {
        (_, Fact::Unknown(_)) => false,
        (Operator::Exists, fact) => !matches!(fact, Fact::Absent),
        (Operator::Absent, fact) => matches!(fact, Fact::Absent),
        (Operator::NotEquals, fact) => !equal(expected, fact),
        (Operator::Equals, fact) => equal(expected, fact),
        (Operator::AtLeast, Fact::Number(found)) => number.is_some_and(|number| *found >= number),
        (Operator::AtMost, Fact::Number(found)) => number.is_some_and(|number| *found <= number),
        (Operator::Contains, Fact::Text(found)) => {
            expected.value.as_ref().and_then(Value::as_str).is_some_and(|part| found.contains(part))
        }
        (Operator::OneOf, fact) => expected.value.as_ref().and_then(Value::as_array).is_some_and(|values| {
            values.iter().any(|value| equal(&Finally { value: Some(value.clone()), ..expected.clone() }, fact))
        }),
        _ => false,
    }
}

fn equal(expected: &Finally, fact: &Fact) -> bool {
    match (fact, &expected.value) {
        (Fact::Bool(found), Some(Value::Bool(wanted))) => found == wanted,
        (Fact::Number(found), Some(Value::Number(wanted))) => wanted.as_f64() == Some(*found),
        (Fact::Text(found), Some(Value::String(wanted))) => found == wanted,
        _ => false,
    }
}
