//! How plans are put together.

use evenkeel_cluster::{Built, Patch, PatchError};
use evenkeel_model::{ApiRequest, ObjectRef, Plan, Verb};
use serde_json::{Value, json};

use super::{Context, PlanError};

/// Request and inverse together, in bytes of JSON. A Remediation may have 256 KiB, and etcd 1.5 MiB.
const MAX_REQUESTS: usize = 128 * 1024;

/// The target as the API server holds it now, which has to be what was judged.
pub(super) async fn live_target(context: Context<'_>) -> Result<Value, PlanError> {
    let target = &context.snapshot.target;
    let refused = |reason: &str| PlanError::refused(target, reason);
    if target.uid.is_none() {
        return Err(refused("it does not exist"));
    }
    let live = evenkeel_cluster::live(context.client, target).await?;
    let live = live.ok_or_else(|| refused("it does not exist any more, or is another object of that name"))?;
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        return Err(refused("it is being deleted"));
    }
    Ok(live)
}

/// Refuses what somebody else's controller would write back: a workload that a custom resource (or any
/// other object) controls.
pub(super) fn not_controlled(target: &ObjectRef, live: &Value) -> Result<(), PlanError> {
    let owners = live.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let controls = |owner: &&Value| owner.get("controller") == Some(&Value::Bool(true));
    let Some(owner) = owners.and_then(|owners| owners.iter().find(controls)) else { return Ok(()) };
    let of = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name, version) = (of("kind"), of("name"), of("apiVersion"));
    Err(PlanError::refused(target, format!("{kind} {name} ({version}) controls it and would write its own back")))
}

/// A plan of a patch.
pub(super) fn patch(context: Context<'_>, patch: Patch<'_>) -> Result<Plan, PlanError> {
    let target = &context.snapshot.target;
    let built = patch.build(context.stamp).map_err(|error| match error {
        PatchError::NoChange => PlanError::refused(target, "it holds the wanted values already"),
        error => PlanError::refused(target, error.to_string()),
    })?;
    let Built { request, inverse, changes } = built;
    let changes = changes.iter().map(|line| evenkeel_runtime::redact::text(line)).collect();
    let of = |body: Value| ApiRequest { verb: Verb::Patch, object: target.clone(), body: Some(body) };
    bounded(Plan { request: of(request), inverse: Some(of(inverse)), changes, captured: Vec::new() })
}

/// A plan of a request that nothing takes back.
pub(super) fn for_good(
    context: Context<'_>,
    verb: Verb,
    body: Option<Value>,
    change: String,
    captured: Vec<String>,
) -> Plan {
    let request = ApiRequest { verb, object: context.snapshot.target.clone(), body };
    Plan { request, inverse: None, changes: vec![change], captured }
}

/// What does not fit beside its inverse goes without, and says so beforehand.
fn bounded(mut plan: Plan) -> Result<Plan, PlanError> {
    let size = |request: &ApiRequest| request.body.as_ref().map_or(0, |body| body.to_string().len());
    let request = size(&plan.request);
    if request > MAX_REQUESTS {
        let reason = format!("the change is {request} bytes, more than the {MAX_REQUESTS} that are kept of one");
        return Err(PlanError::refused(&plan.request.object, reason));
    }
    let both = request + plan.inverse.as_ref().map_or(0, size);
    if both > MAX_REQUESTS {
        plan.inverse = None;
        plan.changes.push(format!("can't be undone: with its inverse the change is {both} bytes"));
    }
    Ok(plan)
}

/// The body of a delete that does not wait for a kubelet which is not there.
pub(super) fn without_grace() -> Value {
    json!({"gracePeriodSeconds": 0})
}

/// The grace period a delete asks for, when it is not the object's own.
pub(super) fn grace_seconds(request: &ApiRequest) -> Option<u32> {
    let seconds = request.body.as_ref()?.get("gracePeriodSeconds")?.as_u64()?;
    u32::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Kind;

    use super::*;

    fn of(bytes: usize) -> ApiRequest {
        let object = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
        ApiRequest { verb: Verb::Patch, object, body: Some(json!("x".repeat(bytes))) }
    }

    fn plan(request: usize, inverse: usize) -> Plan {
        Plan { request: of(request), inverse: Some(of(inverse)), changes: Vec::new(), captured: Vec::new() }
    }

    #[test]
    fn what_can_not_be_kept_with_its_inverse_says_that_it_can_not_be_undone() {
        assert!(bounded(plan(1000, 1000)).unwrap().inverse.is_some());
        let large = bounded(plan(MAX_REQUESTS - 10, 1000)).unwrap();
        assert!(large.inverse.is_none() && large.changes.concat().contains("can't be undone"));
        assert!(matches!(bounded(plan(MAX_REQUESTS + 1, 0)), Err(PlanError::Refused { .. })));
    }

    #[test]
    fn an_object_that_somebody_else_controls_is_left_to_it() {
        let target = ObjectRef::namespaced(Kind::StatefulSet, "monitoring", "prometheus");
        let owned = |controller: bool| {
            json!({"metadata": {"ownerReferences": [{"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus",
                "name": "k8s", "controller": controller}]}})
        };
        let error = not_controlled(&target, &owned(true)).unwrap_err().to_string();
        assert!(error.contains("Prometheus k8s (monitoring.coreos.com/v1) controls it"), "{error}");
        assert!(not_controlled(&target, &owned(false)).is_ok());
        assert!(not_controlled(&target, &json!({"metadata": {}})).is_ok());
    }
}
