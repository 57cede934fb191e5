//! Horizontal pod autoscaling, v2, on the CPU that pods use.

mod replicas;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use self::replicas::{Measured, measure};
use super::{Cluster, Controller, Note};
use crate::value::{at, integer, items, name, namespace, rfc3339, set, text, uid};

const RESOURCE: &str = "horizontalpodautoscalers.autoscaling";
/// How often each autoscaler is looked at.
const PERIOD: i64 = 15;
const NOTE: Note<'static> = Note { component: "horizontal-pod-autoscaler", host: "", field_path: "" };
/// How long the highest recommendation counts before it scales down.
const STABILIZATION: i64 = 300;

/// The autoscaler.
#[derive(Debug, Default)]
pub(crate) struct Autoscaler {
    next: Option<DateTime<Utc>>,
    /// Recommendations, by the autoscaler's uid.
    recommended: BTreeMap<String, Vec<(DateTime<Utc>, i64)>>,
}

impl Controller for Autoscaler {
    fn name(&self) -> &'static str {
        "horizontal-pod-autoscaler"
    }

    fn watches(&self) -> &'static [&'static str] {
        &[RESOURCE]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let now = cluster.now();
        let scalers = cluster.list(RESOURCE);
        if scalers.is_empty() {
            self.recommended.clear();
            self.next = None;
            return None;
        }
        if self.next.is_some_and(|next| next > now) {
            return self.next;
        }
        self.recommended.retain(|of, _| scalers.iter().any(|scaler| uid(scaler) == of));
        for scaler in scalers {
            self.scale(cluster, &scaler);
        }
        self.next = Some(now + Duration::seconds(PERIOD));
        self.next
    }
}

/// What a look at one autoscaler comes to.
struct Look {
    conditions: Vec<Value>,
    status: Value,
    now: DateTime<Utc>,
}

impl Look {
    fn condition(&mut self, of: &str, status: bool, reason: &str, message: &str) {
        let status = if status { "True" } else { "False" };
        let old = self.conditions.iter().position(|old| text(old, "/type") == of);
        let since = old.and_then(|old| self.conditions.get(old)).filter(|old| text(old, "/status") == status);
        let since = since.map_or_else(|| rfc3339(self.now), |old| at(old, "/lastTransitionTime").clone());
        let condition =
            json!({"type": of, "status": status, "reason": reason, "message": message, "lastTransitionTime": since});
        match old.and_then(|old| self.conditions.get_mut(old)) {
            Some(old) => *old = condition,
            None => self.conditions.push(condition),
        }
    }
}

impl Autoscaler {
    fn scale(&mut self, cluster: &mut Cluster<'_>, scaler: &Arc<Value>) {
        let status = at(scaler, "/status").clone();
        let conditions = items(scaler, "/status/conditions").to_vec();
        let mut look = Look { conditions, status, now: cluster.now() };
        set(&mut look.status, "/observedGeneration", at(scaler, "/metadata/generation").clone());
        for (field, default) in [("/desiredReplicas", json!(0)), ("/currentMetrics", Value::Null)] {
            if at(&look.status, field).is_null() {
                set(&mut look.status, field, default);
            }
        }
        self.look(cluster, scaler, &mut look);
        set(&mut look.status, "/conditions", Value::Array(look.conditions));
        if *at(scaler, "/status") != look.status {
            let mut object = (**scaler).clone();
            set(&mut object, "/status", look.status);
            drop(cluster.update_status(RESOURCE, object));
        }
    }

    fn look(&mut self, cluster: &mut Cluster<'_>, scaler: &Value, look: &mut Look) {
        let target = at(scaler, "/spec/scaleTargetRef");
        let kind = cluster
            .state
            .kinds
            .of_object(text(target, "/apiVersion"), text(target, "/kind"))
            .map(|kind| kind.resource());
        let resource = kind.map(|kind| kind.as_str().to_owned()).unwrap_or_default();
        let Some(object) = cluster.get(&resource, namespace(scaler), text(target, "/name")) else {
            let why = format!("{resource} \"{}\" not found", text(target, "/name"));
            let message = format!("the HPA controller was unable to get the target's current scale: {why}");
            look.condition("AbleToScale", false, "FailedGetScale", &message);
            cluster.tell(scaler, NOTE, "Warning", "FailedGetScale", &why);
            return;
        };
        look.condition(
            "AbleToScale",
            true,
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        );
        let current = integer(&object, "/spec/replicas").unwrap_or(1);
        let (min, max) =
            (integer(scaler, "/spec/minReplicas").unwrap_or(1), integer(scaler, "/spec/maxReplicas").unwrap_or(1));
        set(&mut look.status, "/currentReplicas", json!(integer(&object, "/status/replicas").unwrap_or(0)));
        let (desired, reason) = if current == 0 && min != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            look.condition("ScalingActive", false, "ScalingDisabled", message);
            (0, String::new())
        } else if current > max {
            (max, "Current number of replicas above Spec.MaxReplicas".to_owned())
        } else if current < min {
            (min, "Current number of replicas below Spec.MinReplicas".to_owned())
        } else {
            let Some((wanted, metric, found)) = self.recommend(cluster, scaler, &object, current, look) else { return };
            set(&mut look.status, "/currentMetrics", Value::Array(found));
            let why =
                if wanted > current { format!("{metric} above target") } else { "All metrics below target".to_owned() };
            (self.normalize(scaler, current, wanted, (min, max), look), why)
        };
        set(&mut look.status, "/desiredReplicas", json!(desired));
        if desired == current {
            return;
        }
        let mut scaled = (*object).clone();
        set(&mut scaled, "/spec/replicas", json!(desired));
        if let Err(failure) = cluster.update(&resource, scaled) {
            let message = format!("the HPA controller was unable to update the target scale: {failure}");
            look.condition("AbleToScale", false, "FailedUpdateScale", &message);
            return;
        }
        let message = format!("the HPA controller was able to update the target scale to {desired}");
        look.condition("AbleToScale", true, "SucceededRescale", &message);
        set(&mut look.status, "/lastScaleTime", rfc3339(cluster.now()));
        cluster.tell(scaler, NOTE, "Normal", "SuccessfulRescale", &format!("New size: {desired}; reason: {reason}"));
    }

    /// What the metrics ask for: the most of them, with the metric's name and what was found.
    fn recommend(
        &self,
        cluster: &mut Cluster<'_>,
        scaler: &Value,
        object: &Value,
        current: i64,
        look: &mut Look,
    ) -> Option<(i64, String, Vec<Value>)> {
        let mut best: Option<(i64, String)> = None;
        let mut found = Vec::new();
        let mut failed = Vec::new();
        for metric in items(scaler, "/spec/metrics") {
            match measure(cluster, object, metric, current) {
                Ok(Measured { replicas, name, status }) => {
                    found.push(status);
                    if best.as_ref().is_none_or(|(most, _)| replicas > *most) {
                        best = Some((replicas, name));
                    }
                }
                Err(failure) => {
                    cluster.tell(scaler, NOTE, "Warning", failure.reason, &failure.message);
                    found.push(json!({"type": ""}));
                    failed.push(failure);
                }
            }
        }
        // With a metric missing it only scales up, on what the others say.
        let stays = |best: &Option<(i64, String)>| best.as_ref().is_none_or(|(most, _)| *most <= current);
        if let Some(first) = failed.first().filter(|_| stays(&best)) {
            let message = format!("the HPA was unable to compute the replica count: {}", first.message);
            look.condition("ScalingActive", false, first.reason, &message);
            let count = items(scaler, "/spec/metrics").len();
            let message = format!(
                "invalid metrics ({} invalid out of {count}), first error is: failed to get {} resource metric value: {}",
                failed.len(),
                first.resource,
                first.message
            );
            cluster.tell(scaler, NOTE, "Warning", "FailedComputeMetricsReplicas", &message);
            set(&mut look.status, "/currentMetrics", Value::Array(found));
            return None;
        }
        let (replicas, metric) = best?;
        let message = format!("the HPA was able to successfully calculate a replica count from {metric}");
        look.condition("ScalingActive", true, "ValidMetricFound", &message);
        Some((replicas, metric, found))
    }

    /// Stabilization, rates and bounds, as their defaults or the autoscaler's `behavior` have them.
    fn normalize(&mut self, scaler: &Value, current: i64, wanted: i64, (min, max): (i64, i64), look: &mut Look) -> i64 {
        let now = look.now;
        let window = |direction: &str, default: i64| {
            integer(scaler, &format!("/spec/behavior/{direction}/stabilizationWindowSeconds")).unwrap_or(default)
        };
        let (up, down) = (window("scaleUp", 0), window("scaleDown", STABILIZATION));
        let history = self.recommended.entry(uid(scaler).to_owned()).or_default();
        history.retain(|(at, _)| now - *at <= Duration::seconds(up.max(down)));
        history.push((now, wanted));
        let within = |seconds: i64| {
            history.iter().filter(move |(at, _)| now - *at <= Duration::seconds(seconds)).map(|(_, it)| *it)
        };
        let most = within(down).max().unwrap_or(wanted);
        let least = within(up).min().unwrap_or(wanted);
        let stabilized = if current < least {
            least
        } else if current > most {
            most
        } else {
            current
        };
        match stabilized {
            it if it == wanted => {
                let message = "recommended size matches current size";
                look.condition("AbleToScale", true, "ReadyForNewScale", message);
            }
            it if it > wanted => {
                let message =
                    "recent recommendations were higher than current one, applying the highest recent recommendation";
                look.condition("AbleToScale", true, "ScaleDownStabilized", message);
            }
            _ => {
                let message =
                    "recent recommendations were lower than current one, applying the lowest recent recommendation";
                look.condition("AbleToScale", true, "ScaleUpStabilized", message);
            }
        }
        // By default it may double, or grow by four, in each period; it may shrink to any size.
        let fastest = (current * 2).max(current + 4);
        let limits = [
            (
                stabilized > max,
                max,
                "TooManyReplicas",
                "the desired replica count is more than the maximum replica count",
            ),
            (
                stabilized < min,
                min,
                "TooFewReplicas",
                "the desired replica count is less than the minimum replica count",
            ),
            (
                stabilized > fastest,
                fastest,
                "ScaleUpLimit",
                "the desired replica count is increasing faster than the maximum scale rate",
            ),
        ];
        match limits.into_iter().find(|(limited, ..)| *limited) {
            Some((_, limit, reason, message)) => {
                look.condition("ScalingLimited", true, reason, message);
                limit.min(fastest)
            }
            None => {
                let message = "the desired count is within the acceptable range";
                look.condition("ScalingLimited", false, "DesiredWithinRange", message);
                stabilized
            }
        }
    }
}

/// The pods that a scaled object selects.
fn pods_of(cluster: &Cluster<'_>, object: &Value) -> Vec<Arc<Value>> {
    let selector = crate::api::LabelSelector::of(at(object, "/spec/selector"));
    let pods = cluster.list_in("pods", namespace(object)).into_iter();
    pods.filter(|pod| selector.selects(at(pod, "/metadata/labels")) && !name(pod).is_empty()).collect()
}

#[cfg(test)]
mod tests;
