use std::time::Duration;

use evenkeel_bus::{Bus, BusError, EvidenceSubject, TraceContext};
use evenkeel_model::{Evidence, Finding, Incident, ObjectRef, Query};
use evenkeel_planner::vars;
use evenkeel_playbook::{Loaded, queries};

/// Asks all that a playbook wants to know about an object, at the same time. What can't be asked
/// is Unknown, with the reason; it never fails as a whole.
pub(crate) async fn fetch(
    bus: &dyn Bus,
    playbook: &Loaded,
    target: &ObjectRef,
    incident: &Incident,
    trace: TraceContext,
    timeout: Duration,
) -> Evidence {
    let object = ask(bus, Query::Object { object: without_uid(target) }, trace.clone(), timeout);
    let questions = match queries::for_playbook(playbook, &vars(incident, target)) {
        Ok(questions) => questions,
        Err(error) => {
            let reason = error.to_string();
            tracing::warn!(playbook = playbook.name, %reason, "a question could not be rendered");
            let unknown = playbook
                .spec
                .diagnose
                .iter()
                .map(|question| (question.name.clone(), Finding::Unknown { reason: reason.clone() }))
                .collect();
            return Evidence { target: snapshot(object.await), named: unknown };
        }
    };
    let named = questions.into_iter().map(|asked| {
        let trace = trace.clone();
        async move { (asked.name, ask(bus, asked.query, trace, timeout).await) }
    });
    let (object, named) = futures::join!(object, futures::future::join_all(named));
    Evidence { target: snapshot(object), named: named.into_iter().collect() }
}

/// A pod's uid may change under its name only for another pod, but a workload made anew is still
/// the incident's root: the gateway, not the reasoner, insists on a uid.
fn without_uid(target: &ObjectRef) -> ObjectRef {
    if target.kind.is_workload() { ObjectRef { uid: None, ..target.clone() } } else { target.clone() }
}

fn snapshot(finding: Finding) -> Option<evenkeel_model::Snapshot> {
    match finding {
        Finding::Object(snapshot) => Some(*snapshot),
        other => {
            if let Finding::Unknown { reason } = other {
                tracing::debug!(%reason, "the target could not be read");
            }
            None
        }
    }
}

async fn ask(bus: &dyn Bus, query: Query, trace: TraceContext, timeout: Duration) -> Finding {
    let subject = EvidenceSubject(query.token());
    let payload = match serde_json::to_vec(&query) {
        Ok(payload) => payload,
        Err(error) => return Finding::Unknown { reason: error.to_string() },
    };
    match bus.request(subject, payload.into(), trace, timeout).await {
        Ok(reply) => serde_json::from_slice(&reply).unwrap_or_else(|error| Finding::Unknown {
            reason: format!("the observer's answer could not be read: {error}"),
        }),
        Err(error @ (BusError::Timeout { .. } | BusError::NoResponders { .. })) => {
            Finding::Unknown { reason: format!("the observer did not answer: {error}") }
        }
        Err(error) => Finding::Unknown { reason: error.to_string() },
    }
}
