use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::ObjectRef;

/// Where a signal was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Source {
    /// Posted by an Alertmanager.
    Alertmanager,
    /// Polled from Prometheus.
    Prometheus,
    /// Watched on the API server.
    Kubernetes,
}

impl Source {
    /// The token in bus subjects and metric labels.
    pub fn token(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Prometheus => "prometheus",
            Self::Kubernetes => "kubernetes",
        }
    }
}

/// Signals that say that something is not available, and not why: every trouble of a workload brings
/// some of them along.
const SYMPTOMS: [&str; 12] = [
    "KubeContainerWaiting",
    "KubeDaemonSetRolloutStuck",
    "KubeDeploymentReplicasMismatch",
    "KubeDeploymentRolloutStuck",
    "KubePodNotReady",
    "KubeStatefulSetReplicasMismatch",
    "KubeStatefulSetUpdateNotRolledOut",
    "ManyAffected",
    "PodNotReady",
    "ProgressDeadlineExceeded",
    "ReplicasUnavailable",
    "Unhealthy",
];

/// Whether signals named `now` are the trouble that those named `then` were: one of them is there
/// again. Mere symptoms count only where there was nothing else then, since another trouble has the
/// same ones.
pub fn is_same_trouble(then: &[String], now: &[String]) -> bool {
    let is_symptom = |name: &String| SYMPTOMS.contains(&name.as_str());
    let only_symptoms = then.iter().all(is_symptom);
    then.iter().any(|name| now.contains(name) && (only_symptoms || !is_symptom(name)))
}

/// Whether what was seen is so or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SignalState {
    /// It is so.
    Firing,
    /// It has ended.
    Resolved,
}

/// How bad it is, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at.
    Warning,
    /// Users suffer, or soon will.
    Critical,
}

impl Severity {
    /// Lower-case name, as alert labels write it.
    pub fn token(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One normalized observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    /// Identity of the *transition*: the same alert posted again, by whichever Alertmanager, has
    /// the same id. Alertmanager: fingerprint, startsAt and state; Kubernetes: uid, reason and
    /// lastTransitionTime, restart-count bucket or Job condition.
    pub id: String,
    /// Where it was seen.
    pub source: Source,
    /// The alert's name, or the reason as Kubernetes writes it (`CrashLoopBackOff`).
    pub name: String,
    /// Whether it is so or has ended.
    pub state: SignalState,
    /// How bad it is.
    pub severity: Severity,
    /// The cluster's name.
    pub cluster: String,
    /// The object it is about; absent where none could be told, and then only notify playbooks match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ObjectRef>,
    /// The object a person would act on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<ObjectRef>,
    /// What this may be one of many effects of: the node a pod runs on, the quota that refused it,
    /// the ConfigMap that is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<ObjectRef>,
    /// The alert's labels, redacted and bounded; empty for other sources.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// One line for people, redacted, at most 512 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Why no automatic action may follow: a silence, an inhibition, a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<String>,
    /// Whether that holds for the object, whoever speaks of it, and not for this alert alone: a silence of
    /// the object, a pause, `off`, a planned disruption.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_object: bool,
    /// When it began.
    pub starts_at: DateTime<Utc>,
    /// When it ended, for resolved ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
    /// When the observer saw it.
    pub observed_at: DateTime<Utc>,
}

impl Signal {
    /// The object incidents are kept under: the root, else the target.
    pub fn subject(&self) -> Option<&ObjectRef> {
        self.root.as_ref().or(self.target.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_told_by_what_names_it() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let same = |then: &[&str], now: &[&str]| is_same_trouble(&names(then), &names(now));
        assert!(same(&["CrashLoopBackOff"], &["CrashLoopBackOff"]));
        assert!(same(&["CrashLoopBackOff", "ReplicasUnavailable"], &["CrashLoopBackOff", "OOMKilled"]));
        assert!(same(&["HighErrorRate", "KubePodNotReady"], &["HighErrorRate"]), "an alert of the user's own");
        assert!(!same(&["CrashLoopBackOff"], &["ImagePullBackOff"]));
        let (crashed, not_pulled) =
            (["CrashLoopBackOff", "ReplicasUnavailable"], ["ImagePullBackOff", "ReplicasUnavailable"]);
        assert!(!same(&crashed, &not_pulled), "both make replicas unavailable");
        assert!(!same(&crashed, &["ReplicasUnavailable"]));
        // Nothing named it then, so nothing tells it from what is there now.
        assert!(same(&["PodNotReady", "ReplicasUnavailable"], &not_pulled));
        assert!(!same(&[], &not_pulled));
    }
}
