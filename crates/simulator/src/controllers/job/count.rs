//! Which ends of pods are still to be counted, and as what.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Backoff, is_tracked, untrack};
use crate::controllers::{Cluster, pods};
use crate::failure::Failure;
use crate::value::{at, condition, integer, is_terminating, items, name, namespace, text, time};

/// The ends of pods that are counted now.
#[derive(Debug)]
pub(super) struct Counted {
    pods: Vec<(Arc<Value>, End)>,
    pub(super) succeeded: i64,
    pub(super) failed: i64,
    /// What a rule that fails the whole Job says.
    pub(super) fails_job: Option<String>,
    /// The restarts of containers of pods that run.
    pub(super) restarts: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Succeeded(DateTime<Utc>),
    Failed(DateTime<Utc>),
    /// A rule says that it does not count.
    Ignored,
}

impl Counted {
    pub(super) fn of(job: &Value, all: &[Arc<Value>], now: DateTime<Utc>) -> Self {
        let only_when_failed = text(job, "/spec/podReplacementPolicy") == "Failed";
        let mut counted = Self { pods: Vec::new(), succeeded: 0, failed: 0, fails_job: None, restarts: 0 };
        for pod in all {
            let phase = pods::phase(pod);
            if matches!(phase, "Running" | "Pending") {
                let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
                let statuses = statuses.iter().flat_map(|field| items(pod, field));
                counted.restarts += statuses.filter_map(|status| integer(status, "/restartCount")).sum::<i64>();
            }
            if !is_tracked(pod) {
                continue;
            }
            let end = if phase == "Succeeded" {
                End::Succeeded(ended_at(pod, now))
            } else if phase == "Failed" || (is_terminating(pod) && !only_when_failed) {
                match verdict(job, pod) {
                    Verdict::Count => End::Failed(ended_at(pod, now)),
                    Verdict::Ignore => End::Ignored,
                    Verdict::FailJob(why) => {
                        counted.fails_job.get_or_insert(why);
                        End::Failed(ended_at(pod, now))
                    }
                }
            } else {
                continue;
            };
            counted.succeeded += i64::from(matches!(end, End::Succeeded(_)));
            counted.failed += i64::from(matches!(end, End::Failed(_)));
            counted.pods.push((Arc::clone(pod), end));
        }
        counted
    }

    /// Takes the ends, in their order, into the back-off.
    pub(super) fn note(&self, backoff: &mut Backoff) {
        let mut ends: Vec<End> = self.pods.iter().map(|(_, end)| *end).collect();
        ends.sort_by_key(|end| match end {
            End::Succeeded(at) | End::Failed(at) => Some(*at),
            End::Ignored => None,
        });
        for end in ends {
            match end {
                End::Succeeded(_) => *backoff = Backoff::default(),
                End::Failed(at) => {
                    backoff.failures = backoff.failures.saturating_add(1);
                    backoff.last = Some(at);
                }
                End::Ignored => {}
            }
        }
    }

    /// Lets the pods go whose ends are counted.
    pub(super) fn untrack(&self, cluster: &mut Cluster<'_>) -> Result<(), Failure> {
        for (pod, _) in &self.pods {
            if let Some(pod) = cluster.get("pods", namespace(pod), name(pod)).filter(|pod| is_tracked(pod)) {
                untrack(cluster, &pod)?;
            }
        }
        Ok(())
    }
}

/// When the last container ended; else when it stopped being ready, or was deleted.
fn ended_at(pod: &Value, now: DateTime<Utc>) -> DateTime<Utc> {
    let statuses = items(pod, "/status/containerStatuses").iter();
    let ends: Option<Vec<_>> = statuses.map(|status| time(status, "/state/terminated/finishedAt")).collect();
    let unready = || {
        let ready = condition(pod, "Ready").filter(|ready| text(ready, "/status") == "False")?;
        time(ready, "/lastTransitionTime")
    };
    let deleted = || time(pod, "/metadata/deletionTimestamp");
    ends.and_then(|ends| ends.into_iter().max()).or_else(unready).or_else(deleted).unwrap_or(now)
}

enum Verdict {
    Count,
    Ignore,
    FailJob(String),
}

/// What `spec.podFailurePolicy` says of a failed pod.
fn verdict(job: &Value, pod: &Value) -> Verdict {
    for (index, rule) in items(job, "/spec/podFailurePolicy/rules").iter().enumerate() {
        let exit = exit_code(rule, pod).map(|(container, code)| {
            format!(
                "Container {container} for pod {}/{} failed with exit code {code} matching {} rule at index {index}",
                namespace(pod),
                name(pod),
                text(rule, "/action"),
            )
        });
        let by_condition = || {
            let patterns = items(rule, "/onPodConditions").iter();
            let mut matching = patterns.filter(|pattern| {
                condition(pod, text(pattern, "/type"))
                    .is_some_and(|found| text(found, "/status") == text(pattern, "/status"))
            });
            matching.next().map(|pattern| {
                format!(
                    "Pod {}/{} has condition {} matching {} rule at index {index}",
                    namespace(pod),
                    name(pod),
                    text(pattern, "/type"),
                    text(rule, "/action"),
                )
            })
        };
        if let Some(why) = exit.or_else(by_condition) {
            return match text(rule, "/action") {
                "Ignore" => Verdict::Ignore,
                "FailJob" => Verdict::FailJob(why),
                _ => Verdict::Count,
            };
        }
    }
    Verdict::Count
}

fn exit_code<'p>(rule: &Value, pod: &'p Value) -> Option<(&'p str, i64)> {
    let on = at(rule, "/onExitCodes");
    if on.is_null() {
        return None;
    }
    let only = text(on, "/containerName");
    let statuses = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let statuses = statuses.into_iter().flat_map(|field| items(pod, field));
    for status in statuses.filter(|status| only.is_empty() || text(status, "/name") == only) {
        let Some(code) = integer(status, "/state/terminated/exitCode").filter(|code| *code != 0) else { continue };
        let listed = items(on, "/values").iter().any(|value| value.as_i64() == Some(code));
        if listed == (text(on, "/operator") == "In") {
            return Some((text(status, "/name"), code));
        }
    }
    None
}
