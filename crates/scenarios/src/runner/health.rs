//! How targets are, looked at again and again.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use evenkeel_simulator::Simulator;
use serde_json::Value;

use super::report::{HealthPoint, HealthSeries};

/// What is looked at: resource and the kind's word.
const LOOKED_AT: [(&str, &str); 4] = [
    ("deployments.apps", "deployment"),
    ("statefulsets.apps", "statefulset"),
    ("daemonsets.apps", "daemonset"),
    ("nodes", "node"),
];

/// How each target was, by its name.
#[derive(Debug, Default)]
pub(crate) struct Health {
    points: BTreeMap<String, Vec<HealthPoint>>,
    /// The revision that was looked at: as long as nothing is written, all is as it was.
    revision: Option<u64>,
}

impl Health {
    /// Looks once.
    pub(crate) fn look(&mut self, simulator: &Simulator) {
        let revision = Some(simulator.revision());
        if self.revision == revision {
            return;
        }
        self.revision = revision;
        let at = simulator.clock().now();
        let mut there = Vec::new();
        for (resource, word) in LOOKED_AT {
            for object in simulator.list(resource) {
                let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
                let name = text("/metadata/name").unwrap_or_default();
                let name = match text("/metadata/namespace") {
                    Some(namespace) => format!("{word}/{namespace}/{name}"),
                    None => format!("{word}/{name}"),
                };
                let point = if word == "node" { node(&object, at) } else { workload(&object, word, at) };
                self.note(&name, point);
                there.push(name);
            }
        }
        let gone: Vec<String> = self.points.keys().filter(|name| !there.contains(name)).cloned().collect();
        for name in gone {
            self.note(&name, HealthPoint { at, desired: 0, available: 0, well: true });
        }
    }

    fn note(&mut self, name: &str, point: HealthPoint) {
        let points = self.points.entry(name.to_owned()).or_default();
        let same = |last: &HealthPoint| {
            (last.desired, last.available, last.well) == (point.desired, point.available, point.well)
        };
        if !points.last().is_some_and(same) {
            points.push(point);
        }
    }

    pub(crate) fn into_series(self) -> Vec<HealthSeries> {
        self.points.into_iter().map(|(object, points)| HealthSeries { object, points }).collect()
    }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn workload(object: &Value, word: &str, at: DateTime<Utc>) -> HealthPoint {
    let (desired, available, updated) = if word == "daemonset" {
        let desired = number(object, "/status/desiredNumberScheduled");
        (desired, number(object, "/status/numberAvailable"), number(object, "/status/updatedNumberScheduled"))
    } else {
        let desired = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        // A StatefulSet has no updated replicas once its update is complete.
        let complete = object.pointer("/status/currentRevision") == object.pointer("/status/updateRevision");
        let updated =
            if word == "statefulset" && complete { desired } else { number(object, "/status/updatedReplicas") };
        (desired, number(object, "/status/availableReplicas"), updated)
    };
    let seen = number(object, "/status/observedGeneration") >= number(object, "/metadata/generation");
    HealthPoint { at, desired, available, well: seen && available >= desired && updated >= desired }
}

fn node(object: &Value, at: DateTime<Utc>) -> HealthPoint {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let is_true = |condition: &Value| condition["status"] == "True";
    let ready = conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && is_true(it));
    let pressed = |it: &Value| it["type"].as_str().is_some_and(|of| of.ends_with("Pressure")) && is_true(it);
    let pressed = conditions.into_iter().flatten().any(pressed);
    HealthPoint { at, desired: 1, available: i64::from(ready), well: ready && !pressed }
}
