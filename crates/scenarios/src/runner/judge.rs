//! Whether what was expected came.

use std::cmp::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_cluster::NoRecords;
use evenkeel_model::{ActionName, Evidence, Fact, Operator, Phase, Span};
use evenkeel_playbook::facts;
use evenkeel_simulator::Simulator;
use serde_json::Value;

use super::faults;
use super::manifest::path;
use super::people::Person;
use super::report::{RemediationSeen, RunReport, Violation};
use crate::file::{Expect, Failed, Finally, Object, Written};

/// Requests of so long before the end are counted.
const REQUESTS_OF: Duration = Duration::from_secs(300);

/// With random trouble something may come so much too early: what two clocks together can be off by.
const EARLY: chrono::Duration = chrono::Duration::seconds(2 * faults::SKEW);

/// What a run is compared with.
pub(crate) struct Judge<'a> {
    pub(crate) expect: &'a Expect,
    /// Random trouble was added. Then things may come late, or a little early by a clock that is off; what is done can
    /// be handed to a person instead, or be past its time once it could be done, and how often is no longer exact where
    /// chance says which pods there are. That nothing else is done, and what holds at the end of what nobody was called
    /// for, is as it is without.
    pub(crate) patient: bool,
    /// By how much the seed has moved the scenario's events.
    pub(crate) moved: chrono::Duration,
}

/// How often something came, against how often it was to.
enum Count {
    Right,
    TooFew,
    TooMany,
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
    fn count(&self, found: usize, times: u32, is_pattern: bool) -> Count {
        let times = usize::try_from(times).unwrap_or(usize::MAX);
        match found.cmp(&times) {
            Ordering::Equal => Count::Right,
            // Of several that a pattern stands for, chance says how many there are.
            Ordering::Less if self.patient && is_pattern && found > 0 => Count::Right,
            Ordering::Greater if self.patient && is_pattern && times > 0 => Count::Right,
            Ordering::Less => Count::TooFew,
            Ordering::Greater => Count::TooMany,
        }
    }

    fn is_late(&self, at: chrono::Duration, before: Option<Span>) -> bool {
        !self.patient && before.is_some_and(|before| at > before.chrono() + self.moved.max(chrono::Duration::zero()))
    }

    fn is_early(&self, at: chrono::Duration, after: Option<Span>) -> bool {
        let leeway = if self.patient { EARLY } else { chrono::Duration::zero() };
        after.is_some_and(|after| at + leeway < after.chrono() + self.moved.min(chrono::Duration::zero()))
    }

    /// What differs from what was expected, but for `finally`.
    pub(crate) fn look(&self, report: &RunReport) -> Vec<Violation> {
        let mut found = Vec::new();
        self.writes(report, &mut found);
        self.remediations(report, &mut found);
        self.escalations(report, &mut found);
        if self.expect.nothing {
            // In trouble a person may be told of what nobody can be sure of.
            let counts = |action: ActionName| !self.patient || action.is_mutating();
            let proposed = report
                .proposals
                .iter()
                .filter(|it| counts(it.action))
                .map(|it| format!("{} on {} by {}", it.action, it.target, it.step));
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
            let excused = match self.count(meant.len(), written.times, is_pattern(&written.object)) {
                Count::Right => true,
                Count::TooFew => self.patient && (was_handed_over(report) || was_overtaken(report, &written.object)),
                Count::TooMany => false,
            };
            if !excused {
                let count = format!("expected {what} {} times, found {}", written.times, meant.len());
                found.push(Violation::new("writes", count));
            }
            for write in meant {
                let at = begin(write.at);
                let (late, early) = (self.is_late(at, written.before), self.is_early(at, written.after));
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
            let any = expected.object.as_ref().is_none_or(is_pattern);
            let excused = match self.count(count, expected.times, any) {
                Count::Right => true,
                Count::TooFew => {
                    let overtaken = |object| was_overtaken(report, object);
                    self.patient && (was_handed_over(report) || expected.object.as_ref().is_none_or(overtaken))
                }
                // Of what failed before anything was done, there may be more.
                Count::TooMany => self.patient,
            };
            if !excused {
                let what =
                    format!("expected {} {} {} times, found {count}", expected.action, expected.phase, expected.times);
                found.push(Violation::new("remediations", what));
            }
        }
    }

    fn escalations(&self, report: &RunReport, found: &mut Vec<Violation>) {
        let calls: Vec<_> = report.remediations.iter().filter(|it| it.action == ActionName::Escalate).collect();
        for expected in &self.expect.escalations {
            let meant: Vec<_> = calls.iter().filter(|call| is_about(call, &expected.object)).collect();
            // An observer that died does not know how often something has come and gone before.
            let was_told =
                report.remediations.iter().any(|it| !it.action.is_mutating() && is_about(it, &expected.object));
            if meant.is_empty() && !(self.patient && was_told) {
                found.push(Violation::new(
                    "escalations",
                    format!("expected people to be called for {}, found nobody was", expected.object),
                ));
            }
            for call in meant {
                let at = call.phases.first().map_or(report.end, |first| first.at) - report.start;
                // In trouble, what can't be done is handed over sooner.
                let early = !self.patient && self.is_early(at, expected.after);
                if early || self.is_late(at, expected.before) {
                    found.push(Violation::new(
                        "escalations",
                        format!("called for {} at {}", expected.object, clock(at)),
                    ));
                }
            }
        }
        for call in calls {
            // In trouble, what can't be had in time is a person's to look at.
            if !self.patient && !self.expect.escalations.iter().any(|expected| is_about(call, &expected.object)) {
                let what = format!(
                    "expected nobody to be called, found a call for {} ({}): {}",
                    call.target, call.step, call.rationale
                );
                found.push(Violation::new("escalations", what));
            }
        }
    }
}

fn is_pattern(object: &Object) -> bool {
    object.0.name.ends_with('*')
}

/// Whether a person was called: what could not be brought to an end in time is theirs.
fn was_handed_over(report: &RunReport) -> bool {
    report.remediations.iter().any(|it| it.action == ActionName::Escalate)
}

/// Whether it came too late: it was begun, and ended without a write, since it was not needed, or could not be had, any
/// more. What was to follow from it does not.
fn was_overtaken(report: &RunReport, object: &Object) -> bool {
    let unwritten = |it: &RemediationSeen| {
        it.acted_at.is_none() && matches!(it.phase(), Phase::Failed | Phase::Obsolete | Phase::Expired)
    };
    report.remediations.iter().any(|it| stands_for(object, &it.target) && unwritten(it))
}

/// Whether its target or its root is meant.
fn is_about(seen: &RemediationSeen, object: &Object) -> bool {
    stands_for(object, &seen.target) || stands_for(object, &seen.root)
}

/// A length of time as `12m03s`.
pub(crate) fn clock(span: chrono::Duration) -> String {
    let seconds = span.num_seconds();
    format!("{}m{:02}s", seconds / 60, seconds % 60)
}

/// What does not hold at the end.
pub(crate) async fn finally(judge: &Judge<'_>, report: &RunReport, simulator: &Simulator) -> Vec<Violation> {
    let (mut found, now) = (Vec::new(), report.end);
    for expected in &judge.expect.finally {
        // In trouble, what was handed over is the person's to end.
        let called = |it: &RemediationSeen| it.action == ActionName::Escalate && is_about(it, &expected.object);
        if judge.patient && report.remediations.iter().any(called) {
            continue;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_excuses_lateness_and_what_chance_decides_and_no_more() {
        let expect = Expect::default();
        let zero = chrono::Duration::zero();
        let judge = |patient| Judge { expect: &expect, patient, moved: zero };
        let minutes = |count| Some(Span::minutes(count));
        let at = chrono::Duration::seconds;
        assert!(judge(false).is_late(at(601), minutes(10)) && !judge(true).is_late(at(601), minutes(10)));
        assert!(judge(false).is_early(at(595), minutes(10)) && !judge(true).is_early(at(595), minutes(10)));
        assert!(judge(true).is_early(at(583), minutes(10)), "more than two clocks can be off by");
        // What the seed moves is expected as much earlier or later.
        let moved = |by| Judge { expect: &expect, patient: false, moved: at(by) };
        assert!(moved(-20).is_early(at(579), minutes(10)) && !moved(-20).is_early(at(580), minutes(10)));
        assert!(moved(20).is_late(at(621), minutes(10)) && !moved(20).is_late(at(620), minutes(10)));
        assert!(moved(20).is_early(at(599), minutes(10)) && moved(-20).is_late(at(601), minutes(10)));

        let told = |patient, found, is_pattern| match judge(patient).count(found, 2, is_pattern) {
            Count::Right => "right",
            Count::TooFew => "too few",
            Count::TooMany => "too many",
        };
        for is_pattern in [false, true] {
            assert_eq!([1, 2, 3].map(|found| told(false, found, is_pattern)), ["too few", "right", "too many"]);
        }
        assert_eq!([1, 2, 3].map(|found| told(true, found, false)), ["too few", "right", "too many"]);
        assert_eq!([0, 1, 2, 3].map(|found| told(true, found, true)), ["too few", "right", "right", "right"]);
    }
}
