//! The eviction subresource: a deletion that minds disruption budgets.

use std::sync::Arc;

use serde_json::{Value, json};

use super::selector::LabelSelector;
use super::{By, Deletion, Part, Written};
use crate::failure::Failure;
use crate::state::State;
use crate::store::Key;
use crate::value::{at, condition, integer, is_terminating, items, name, rfc3339, set, text, time};

const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
/// Pods whose eviction the budget's controller has not yet confirmed, at most.
const MAX_DISRUPTED: usize = 2000;

impl State {
    /// Evicts a pod; `eviction` is a `policy/v1` Eviction.
    pub(crate) fn evict(&mut self, by: By<'_>, key: &Key, eviction: &Value) -> Written {
        if name(eviction) != key.name {
            return Err(Failure::bad_request("name in URL does not match name in Eviction object"));
        }
        let options = at(eviction, "/deleteOptions");
        let by = By { dry_run: by.dry_run || !items(options, "/dryRun").is_empty(), ..by };
        let words = |pointer: &str| Some(text(options, pointer).to_owned()).filter(|it| !it.is_empty());
        let how = Deletion {
            uid: words("/preconditions/uid"),
            resource_version: words("/preconditions/resourceVersion"),
            grace: integer(options, "/gracePeriodSeconds"),
            propagation: words("/propagationPolicy"),
        };
        let pod = self.store.get(key).cloned().ok_or_else(|| Failure::not_found(key))?;
        if !may_ignore_budgets(&pod) {
            let budgets = self.budgets_of(key, &pod);
            match budgets.as_slice() {
                [] => {}
                [budget] => self.spend(by, budget, &pod)?,
                _ => {
                    let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource \
                                   does not support.";
                    return Err(Failure::new(500, "", message, Value::Null));
                }
            }
        }
        self.disrupt(by, key, &how)?;
        Ok(Arc::new(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})))
    }

    fn budgets_of(&self, key: &Key, pod: &Value) -> Vec<Arc<Value>> {
        let labels = at(pod, "/metadata/labels");
        let budgets = self.store.within(&"poddisruptionbudgets.policy".into(), &key.namespace);
        let of_pod = |budget: &Arc<Value>| {
            let selector = at(budget, "/spec/selector");
            !selector.is_null() && LabelSelector::of(selector).selects(labels)
        };
        budgets.map(|(_, budget)| Arc::clone(budget)).filter(of_pod).collect()
    }

    /// Takes one disruption from a budget, where it must be asked at all.
    fn spend(&mut self, by: By<'_>, budget: &Value, pod: &Value) -> Result<(), Failure> {
        let count = |pointer: &str| integer(budget, pointer).unwrap_or(0);
        let (healthy, desired) = (count("/status/currentHealthy"), count("/status/desiredHealthy"));
        if !is_ready(pod) {
            let always = text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
            if always || (healthy >= desired && desired > 0) {
                return Ok(());
            }
        }
        if count("/status/observedGeneration") < count("/metadata/generation") {
            let cause = format!("The disruption budget {} is still being processed by the server.", name(budget));
            return Err(refused(&cause, Some(10)));
        }
        let allowed = count("/status/disruptionsAllowed");
        let resource = || Key::new("poddisruptionbudget.policy", "", name(budget));
        if allowed < 0 {
            return Err(Failure::forbidden(&resource(), "pdb disruptions allowed is negative"));
        }
        if at(budget, "/status/disruptedPods").as_object().is_some_and(|pods| pods.len() > MAX_DISRUPTED) {
            let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
            return Err(Failure::forbidden(&resource(), why));
        }
        if allowed == 0 {
            let cause = format!(
                "The disruption budget {} needs {desired} healthy pods and has {healthy} currently",
                name(budget)
            );
            return Err(refused(&cause, None));
        }
        if by.dry_run {
            return Ok(());
        }
        let mut spent = budget.clone();
        set(&mut spent, "/status/disruptionsAllowed", json!(allowed - 1));
        if allowed == 1 {
            no_more_allowed(&mut spent, rfc3339(self.now()));
        }
        let pod_path = format!("/status/disruptedPods/{}", name(pod));
        set(&mut spent, &pod_path, rfc3339(self.now()));
        let key = Key::new("poddisruptionbudgets.policy", crate::value::namespace(budget), name(budget));
        let by = By { user: "system:apiserver", manager: "kube-apiserver", dry_run: false };
        self.replace(by, &key, Part::Status, spent).map(drop)
    }

    /// Says on the pod why it goes, and deletes it.
    fn disrupt(&mut self, by: By<'_>, key: &Key, how: &Deletion) -> Result<(), Failure> {
        if by.dry_run {
            return self.delete(by, key, how).map(drop);
        }
        self.check(key, how)?;
        // The server's own write: nobody owns the condition.
        let mut marked = (**self.store.get(key).ok_or_else(|| Failure::not_found(key))?).clone();
        mark(&mut marked, rfc3339(self.now()));
        let marked = self.store.put(key, marked);
        // The version that was asked for was this pod's before it was marked.
        let resource_version =
            how.resource_version.as_ref().map(|_| text(&marked, "/metadata/resourceVersion").to_owned());
        self.delete(by, key, &Deletion { resource_version, ..how.clone() }).map(drop)
    }

    fn check(&self, key: &Key, how: &Deletion) -> Result<(), Failure> {
        let kind = self.kind_of(&key.resource)?;
        let old = self.store.get(key).ok_or_else(|| Failure::not_found(key))?;
        super::delete::preconditions(&kind, key, old, how)
    }
}

/// Pods that do not run, no longer or not yet, are no disruption.
fn may_ignore_budgets(pod: &Value) -> bool {
    is_terminating(pod) || matches!(text(pod, "/status/phase"), "Succeeded" | "Failed" | "Pending")
}

fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True")
}

fn refused(cause: &str, retry_after: Option<u32>) -> Failure {
    let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
    if let Some(seconds) = retry_after {
        set(&mut details, "/retryAfterSeconds", json!(seconds));
    }
    Failure::new(429, "TooManyRequests", VIOLATES, details)
}

/// What the budget's controller says when nothing is allowed.
fn no_more_allowed(budget: &mut Value, now: Value) {
    let generation = integer(budget, "/metadata/generation").unwrap_or(0);
    let Some(Value::Array(conditions)) = budget.pointer_mut("/status/conditions") else { return };
    for condition in conditions.iter_mut().filter(|it| text(it, "/type") == "DisruptionAllowed") {
        if text(condition, "/status") != "False" {
            set(condition, "/lastTransitionTime", now.clone());
        }
        set(condition, "/status", json!("False"));
        set(condition, "/reason", json!("InsufficientPods"));
        set(condition, "/observedGeneration", json!(generation));
    }
}

fn mark(pod: &mut Value, now: Value) {
    let mut target = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": now,
    });
    let mut conditions = items(pod, "/status/conditions").to_vec();
    if let Some(had) = conditions.iter_mut().find(|it| text(it, "/type") == "DisruptionTarget") {
        if text(had, "/status") == "True" && time(had, "/lastTransitionTime").is_some() {
            let since = at(had, "/lastTransitionTime").clone();
            set(&mut target, "/lastTransitionTime", since);
        }
        *had = target;
    } else {
        conditions.push(target);
    }
    set(pod, "/status/conditions", Value::Array(conditions));
}
