//! How a Job ends.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::count::Counted;
use super::{Look, Pods};
use crate::controllers::Cluster;
use crate::value::{condition as found, integer, is_true, rfc3339, text};

/// An end that is decided: first as a target, then, when no pod is left, as a fact.
#[derive(Debug)]
pub(super) struct Ending {
    target: Value,
}

/// A condition that became so now.
pub(super) fn condition(of: &str, is: &str, reason: &str, message: &str, now: DateTime<Utc>) -> Value {
    json!({
        "type": of, "status": is, "reason": reason, "message": message,
        "lastProbeTime": rfc3339(now), "lastTransitionTime": rfc3339(now),
    })
}

/// All that must succeed have.
pub(super) fn success(now: DateTime<Utc>) -> Ending {
    let message = "Reached expected number of succeeded pods";
    Ending { target: condition("SuccessCriteriaMet", "True", "CompletionsReached", message, now) }
}

/// The end that the Job has been set for, or that its failures or its deadline bring now.
pub(super) fn ending(job: &Value, look: &Look, counted: &Counted, pods: &Pods, now: DateTime<Utc>) -> Option<Ending> {
    let decided = ["FailureTarget", "SuccessCriteriaMet"]
        .into_iter()
        .find_map(|of| found(job, of).filter(|condition| text(condition, "/status") == "True"));
    if let Some(target) = decided {
        return Some(Ending { target: target.clone() });
    }
    let fails =
        |reason: &str, message: &str| Some(Ending { target: condition("FailureTarget", "True", reason, message, now) });
    if let Some(why) = &counted.fails_job {
        return fails("PodFailurePolicy", why);
    }
    let limit = integer(job, "/spec/backoffLimit").unwrap_or(6);
    let grew = counted.failed > 0;
    // With `OnFailure` it is the restarts of containers that count.
    let restarted = text(job, "/spec/template/spec/restartPolicy") == "OnFailure"
        && counted.restarts >= limit.max(1)
        && !pods.active.is_empty();
    if (grew && look.failed > limit) || restarted {
        return fails("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    let deadline = integer(job, "/spec/activeDeadlineSeconds").filter(|_| !is_true(job, "/spec/suspend"));
    if let (Some(deadline), Some(start)) = (deadline, look.start)
        && now - start >= TimeDelta::seconds(deadline)
    {
        return fails("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    None
}

/// Whether as many have succeeded as must; without a number, whether one has and none runs.
pub(super) fn is_complete(job: &Value, look: &Look, pods: &Pods) -> bool {
    match integer(job, "/spec/completions") {
        Some(completions) => look.succeeded >= completions && !is_true(job, "/spec/suspend"),
        None => look.succeeded > 0 && pods.active.is_empty(),
    }
}

/// Writes the target down, and the end itself as soon as no pod is left.
pub(super) fn enact(cluster: &mut Cluster<'_>, job: &Value, ending: Ending, pods: &Pods, look: &mut Look) {
    let now = cluster.now();
    let (of, reason) = (text(&ending.target, "/type"), text(&ending.target, "/reason"));
    let message = text(&ending.target, "/message");
    if !look.conditions.iter().any(|condition| text(condition, "/type") == of) {
        look.conditions.push(ending.target.clone());
    }
    look.next = None;
    if pods.count() > 0 || pods.terminating > 0 {
        return;
    }
    if of == "SuccessCriteriaMet" {
        look.conditions.push(condition("Complete", "True", reason, message, now));
        look.completed = Some(now);
        let completions = integer(job, "/spec/completions");
        if completions.is_some_and(|completions| look.succeeded > completions) {
            let message = "Too many succeeded pods running after completion count reached";
            cluster.record(job, "Warning", "TooManySucceededPods", message);
        }
        cluster.record(job, "Normal", "Completed", "Job completed");
    } else {
        look.conditions.push(condition("Failed", "True", reason, message, now));
        cluster.record(job, "Warning", reason, message);
    }
}
