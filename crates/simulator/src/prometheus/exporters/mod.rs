//! What exporters tell of the cluster, as kube-prometheus-stack scrapes them.
//!
//! An exporter's own pod, namespace and container are in the labels wherever the object has none of these:
//! `honorLabels: true`, as that stack has it for kube-state-metrics.

mod nodes;
mod others;
mod pods;
mod workloads;

use serde_json::Value;

use super::labels::{Labels, NAME, Text};
use crate::value::{name, namespace, text};

pub(super) use nodes::kubelet;

/// Series and their values now.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    target: Vec<(Text, Text)>,
    pub(crate) series: Vec<(Labels, f64)>,
}

/// Where kube-state-metrics is scraped.
const KUBE_STATE_METRICS: [(&str, &str); 7] = [
    ("container", "kube-state-metrics"),
    ("endpoint", "http"),
    ("instance", "10.244.0.2:8080"),
    ("job", "kube-state-metrics"),
    ("namespace", "monitoring"),
    ("pod", "kube-prometheus-stack-kube-state-metrics-6f8b4d7c9-x2v4k"),
    ("service", "kube-prometheus-stack-kube-state-metrics"),
];

impl Exposition {
    /// Of a target with these labels.
    pub(crate) fn of(target: &[(&str, &str)]) -> Self {
        let target = target.iter().map(|(name, value)| (Text::from(*name), Text::from(*value))).collect();
        Self { target, series: Vec::new() }
    }

    /// Adds a series. What it says of itself counts more than the target's labels.
    pub(crate) fn add(&mut self, series: &str, labels: &[(&str, &str)], value: f64) {
        let own = labels.iter().filter(|(_, value)| !value.is_empty());
        let own = own.map(|(name, value)| (Text::from(*name), Text::from(*value)));
        let all = self.target.iter().cloned().chain(own).chain([(Text::from(NAME), Text::from(series))]);
        self.series.push((Labels::of(all), value));
    }

    /// One series a value, 1 for the one that is and 0 for the others.
    fn states(&mut self, series: &str, labels: &[(&str, &str)], label: &str, all: &[&str], is: &str) {
        for one in all {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([(label, *one)]).collect();
            self.add(series, &labels, flag(*one == is));
        }
    }

    /// A condition's three states, as kube-state-metrics tells them.
    fn condition(&mut self, series: &str, labels: &[(&str, &str)], label: &str, status: &str) {
        self.states(series, labels, label, &["true", "false", "unknown"], &status.to_ascii_lowercase());
    }

    /// A number of the object, where it has it.
    fn number(&mut self, series: &str, labels: &[(&str, &str)], object: &Value, pointer: &str) {
        if let Some(value) = object.pointer(pointer).and_then(Value::as_f64) {
            self.add(series, labels, value);
        }
    }

    /// A number of the object, 0 where it has none: what Go's zero value is.
    fn count(&mut self, series: &str, labels: &[(&str, &str)], object: &Value, pointer: &str) {
        self.add(series, labels, object.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0));
    }

    /// A time of the object in seconds since 1970, where it has it.
    fn time(&mut self, series: &str, labels: &[(&str, &str)], object: &Value, pointer: &str) {
        if let Some(at) = crate::value::time(object, pointer) {
            self.add(series, labels, seconds(at.timestamp()));
        }
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn seconds(of: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit 53 bits")]
    let seconds = of as f64;
    seconds
}

/// A quantity as a number of its unit.
fn quantity(of: &Value) -> Option<f64> {
    let text = of.as_str().map(str::to_owned).or_else(|| of.as_i64().map(|number| number.to_string()))?;
    let milli = crate::quantity::milli(&text)?;
    #[expect(clippy::cast_precision_loss, reason = "Kubernetes' quantities are floats here, too")]
    let value = milli as f64 / 1000.0;
    Some(value)
}

/// The resource label of a resource's name, and its unit.
fn resource(name: &str) -> (String, &'static str) {
    let label = name.replace(['.', '/', '-'], "_");
    match name {
        "cpu" => (label, "core"),
        "memory" | "storage" | "ephemeral-storage" => (label, "byte"),
        _ => (label, "integer"),
    }
}

type Exporter = fn(&Value, &mut Exposition);

/// The resources that kube-state-metrics tells of.
pub(crate) const EXPORTED: [(&str, Exporter); 14] = [
    ("pods", pods::pod),
    ("nodes", nodes::node),
    ("deployments.apps", workloads::deployment),
    ("replicasets.apps", workloads::replica_set),
    ("statefulsets.apps", workloads::stateful_set),
    ("daemonsets.apps", workloads::daemon_set),
    ("jobs.batch", workloads::job),
    ("cronjobs.batch", workloads::cron_job),
    ("horizontalpodautoscalers.autoscaling", others::autoscaler),
    ("poddisruptionbudgets.policy", others::disruption_budget),
    ("resourcequotas", others::quota),
    ("persistentvolumes", others::volume),
    ("persistentvolumeclaims", others::claim),
    ("namespaces", others::namespace),
];

/// What kube-state-metrics tells of an object.
pub(crate) fn export(resource: &str, object: &Value) -> Option<Vec<(Labels, f64)>> {
    let (_, exporter) = EXPORTED.iter().find(|(name, _)| *name == resource)?;
    let mut exposition = Exposition::of(&KUBE_STATE_METRICS);
    exporter(object, &mut exposition);
    Some(exposition.series)
}

/// That kube-state-metrics itself is there.
pub(crate) fn up() -> Vec<(Labels, f64)> {
    let mut exposition = Exposition::of(&KUBE_STATE_METRICS);
    exposition.add("up", &[], 1.0);
    exposition.series
}

/// `namespace` and the object's name under the label of its kind.
fn identity<'a>(label: &'a str, object: &'a Value) -> [(&'a str, &'a str); 2] {
    [("namespace", namespace(object)), (label, name(object))]
}

/// `…_owner` labels of an owner reference.
fn owner<'a>(reference: &'a Value, is_controller: &'a str) -> [(&'a str, &'a str); 3] {
    let (kind, name) = (text(reference, "/kind"), text(reference, "/name"));
    [("owner_kind", kind), ("owner_name", name), ("owner_is_controller", is_controller)]
}

#[cfg(test)]
mod tests;
