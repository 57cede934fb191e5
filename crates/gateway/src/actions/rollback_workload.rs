//! Puts a workload's pod template back to the last revision that was available.
//!
//! Indicated when the workload is not well because of its current revision: pods of it can't start or
//! keep crashing, its rollout is past its deadline, or its pods can't be created; and there is an
//! earlier revision that is, or is known to have been, available. A revision that was available and has
//! been current for hours is not what broke, nor is one whose pods can't be created for want of quota or
//! because a webhook does not answer. Not while the rollout still makes
//! progress, not when it is paused, and not when GitOps owns the template, which would write it back.
//!
//! The content is the ReplicaSet's or ControllerRevision's, as the API holds it. A Deployment's
//! strategy is in no revision and stays as it is.

use async_trait::async_trait;
use chrono::Duration;
use evenkeel_cluster::{Patch, revision_template};
use evenkeel_model::{Plan, RollbackTo, Snapshot, Workload};
use serde_json::Value;

use super::{Acting, Context, Indication, PlanError, draft, guards};

/// A revision that was available is still to blame for so long after it became the current one: the
/// hour that playbooks look back for a change, and the hour that a proposal may live.
const BLAMED_FOR: Duration = Duration::hours(2);
/// Why pods can't be created that no revision is to blame for, in the API server's words.
const NOT_THE_REVISIONS: [&str; 3] =
    ["exceeded quota", "failed calling webhook", "unable to create new content in namespace"];

pub(super) struct RollbackWorkload(pub(super) evenkeel_model::RollbackWorkload);

#[async_trait]
impl Acting for RollbackWorkload {
    fn indication(&self, snapshot: &Snapshot) -> Indication {
        let RollbackTo::LastAvailable = self.0.to;
        match why(snapshot) {
            Ok(reason) => Indication::Indicated(reason),
            Err(reason) => Indication::NotIndicated(reason),
        }
    }

    /// Pods of the current revision are replaced; what is available of others stays.
    fn takes_capacity(&self, snapshot: &Snapshot) -> bool {
        let Some(workload) = &snapshot.workload else { return true };
        guards::current_revision(snapshot, workload).map_or(workload.available, |it| it.available) > 0
    }

    async fn plan(&self, context: Context<'_>) -> Result<Plan, PlanError> {
        let (snapshot, target) = (context.snapshot, &context.snapshot.target);
        let refused = |reason: String| PlanError::refused(target, reason);
        let live = draft::live_target(context).await?;
        draft::not_controlled(target, &live)?;
        let current = template_judged(snapshot, &live).map_err(refused)?;
        if live.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete") {
            return Err(refused("its update strategy is OnDelete: no pod would be replaced".to_owned()));
        }
        let revision = snapshot
            .last_available_revision()
            .ok_or_else(|| refused("no earlier revision is known to have been available".to_owned()))?;
        let wanted = revision_template(context.client, target, revision).await?;
        let wanted = wanted.ok_or_else(|| refused(format!("revision {} is gone", revision.name)))?;
        if let Some(found) = guards::brings_in(current, &wanted) {
            return Err(refused(format!("revision {} would bring in {found}", revision.name)));
        }
        let mut plan = draft::patch(context, Patch::of(&live).set(&["spec", "template"], wanted))?;
        plan.changes.insert(0, format!("back to revision {} ({})", revision.number, revision.name));
        if live.pointer("/spec/podManagementPolicy").and_then(Value::as_str) == Some("OrderedReady") {
            // https://github.com/kubernetes/kubernetes/issues/67250
            plan.changes.push("OrderedReady: a pod that is not ready is replaced only once it is deleted".to_owned());
        }
        Ok(plan)
    }
}

fn why(snapshot: &Snapshot) -> Result<String, String> {
    let workload = workload_to_repair(snapshot)?;
    if let Some(tool) = guards::git_ops_owner(snapshot, |writer| writer.pod_template) {
        return Err(format!("its pod template belongs to {tool}, which would write it back"));
    }
    if snapshot.rollout_in_progress() {
        return Err("its rollout is in progress".to_owned());
    }
    let fault = fault_of_revision(snapshot, workload)
        .ok_or_else(|| "it is not its newest revision that keeps it from being well".to_owned())?;
    let back_to = snapshot
        .last_available_revision()
        .ok_or_else(|| format!("{fault}, but no earlier revision is known to have been available"))?;
    Ok(format!("{fault}; revision {} was available", back_to.number))
}

/// The workload, when it is there, not well, and its controller may act on it.
pub(super) fn workload_to_repair(snapshot: &Snapshot) -> Result<&Workload, String> {
    if !snapshot.is_there() {
        return Err("it does not exist or is being deleted".to_owned());
    }
    let workload = snapshot.workload.as_ref().ok_or("it has no pod template")?;
    if snapshot.is_well() == Some(true) {
        return Err(format!("it is well: {} of {} available", workload.available, workload.desired));
    }
    if workload.paused {
        return Err("its rollout is paused".to_owned());
    }
    if !workload.observed {
        return Err("its controller has not seen its newest spec yet".to_owned());
    }
    Ok(workload)
}

fn fault_of_revision(snapshot: &Snapshot, workload: &Workload) -> Option<String> {
    let was_available = guards::current_revision(snapshot, workload).is_some_and(|it| it.was_available);
    // Not known since when: not new.
    let is_new = workload.template_changed_at.is_some_and(|at| snapshot.taken_at - at < BLAMED_FOR);
    if let Some(pod) = guards::failing_pod(snapshot, workload).filter(|_| is_new || !was_available) {
        let what = if pod.waiting.is_empty() { pod.phase.clone() } else { pod.waiting.join(", ") };
        return Some(format!("pod {} of its newest revision: {what}", pod.name));
    }
    if workload.deadline_exceeded {
        return Some("its rollout is past its progress deadline".to_owned());
    }
    let failure = workload.replica_failure.as_ref().filter(|failure| {
        // Pods of it could be created before.
        !was_available && !NOT_THE_REVISIONS.iter().any(|words| failure.contains(words))
    });
    failure.map(|failure| format!("its pods can't be created: {failure}"))
}

/// The live template, when it is the one the snapshot was judged by.
pub(super) fn template_judged<'a>(snapshot: &Snapshot, live: &'a Value) -> Result<&'a Value, String> {
    let template = live.pointer("/spec/template").ok_or("it has no pod template")?;
    let typed = serde_json::from_value(template.clone()).map_err(|error| format!("spec.template: {error}"))?;
    let hash = evenkeel_cluster::convert::template_hash(&typed);
    let judged = snapshot.workload.as_ref().is_some_and(|workload| workload.template_hash == hash);
    if judged { Ok(template) } else { Err("its pod template was changed while this was being planned".to_owned()) }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::{FakeApi, SHOP};
    use evenkeel_model::Kind;
    use serde_json::json;

    use super::super::testing::{is_indicated, plan, read, refusal};
    use super::super::{Probe, probe};
    use super::*;

    const ROLLBACK: RollbackWorkload =
        RollbackWorkload(evenkeel_model::RollbackWorkload { to: RollbackTo::LastAvailable });

    #[tokio::test]
    async fn a_bad_rollout_goes_back_to_the_revision_that_was_available() {
        for (kind, name) in [(Kind::Deployment, "cart"), (Kind::StatefulSet, "db"), (Kind::DaemonSet, "agent")] {
            let api = FakeApi::new(SHOP);
            let snapshot = read(&api, kind, name).await;
            assert!(is_indicated(&ROLLBACK, &snapshot), "{:?}", ROLLBACK.indication(&snapshot));
            assert!(!ROLLBACK.takes_capacity(&snapshot), "pods of the old revision stay");
            insta::assert_json_snapshot!(name, plan(&api, &ROLLBACK, &snapshot).await.unwrap());
            assert!(api.sent().is_empty(), "planning writes nothing");
        }
    }

    #[tokio::test]
    async fn before_it_is_sent_the_plan_is_not_done() {
        let api = FakeApi::new(SHOP);
        let snapshot = read(&api, Kind::Deployment, "cart").await;
        let plan = plan(&api, &ROLLBACK, &snapshot).await.unwrap();
        assert!(matches!(probe(&api.client(), &plan.request).await.unwrap(), Probe::NotDone(_)));
    }

    #[tokio::test]
    async fn a_well_paused_git_ops_owned_or_deleted_workload_is_left_alone() {
        let bad = read(&FakeApi::new(SHOP), Kind::Deployment, "cart").await;
        let changed = |change: fn(&mut Snapshot)| {
            let mut snapshot = bad.clone();
            change(&mut snapshot);
            refusal(&ROLLBACK, &snapshot)
        };
        let well = changed(|it| {
            it.pods.retain(|pod| pod.ready);
            let workload = it.workload.as_mut().unwrap();
            (workload.current, workload.updated) = (3, 3);
        });
        assert!(well.contains("it is well"), "{well}");
        assert!(changed(|it| it.workload.as_mut().unwrap().paused = true).contains("paused"));
        assert!(changed(|it| it.meta.as_mut().unwrap().git_ops = Some("Flux".into())).contains("belongs to Flux"));
        assert!(changed(|it| it.meta = None).contains("does not exist"));
        let no_way_back = changed(|it| it.revisions.iter_mut().for_each(|revision| revision.available = 0));
        assert!(no_way_back.contains("no earlier revision"), "{no_way_back}");
    }

    #[tokio::test]
    async fn a_fault_of_the_old_revision_is_no_reason_to_go_back_to_it() {
        let mut snapshot = read(&FakeApi::new(SHOP), Kind::Deployment, "cart").await;
        snapshot.workload.as_mut().unwrap().deadline_exceeded = false;
        for pod in &mut snapshot.pods {
            pod.waiting = if pod.ready { vec!["CrashLoopBackOff".to_owned()] } else { Vec::new() };
        }
        assert!(refusal(&ROLLBACK, &snapshot).contains("not its newest revision"));
    }

    /// The current revision was available, or not, and has been current for so many hours.
    async fn cart(was_available: bool, hours: i64) -> Snapshot {
        let mut snapshot = read(&FakeApi::new(SHOP), Kind::Deployment, "cart").await;
        let changed_at = snapshot.taken_at - Duration::hours(hours);
        let workload = snapshot.workload.as_mut().unwrap();
        (workload.deadline_exceeded, workload.template_changed_at) = (false, Some(changed_at));
        let current = workload.template_hash.clone();
        let is_current = |it: &&mut evenkeel_model::Revision| it.template_hash == current;
        snapshot.revisions.iter_mut().find(is_current).unwrap().was_available = was_available;
        snapshot
    }

    #[tokio::test]
    async fn a_revision_that_served_for_hours_is_not_to_blame_for_its_pods() {
        assert!(is_indicated(&ROLLBACK, &cart(false, 48).await), "it never was available");
        assert!(is_indicated(&ROLLBACK, &cart(true, 1).await), "it crashes soon after it came up");
        let served = cart(true, 48).await;
        assert!(refusal(&ROLLBACK, &served).contains("not its newest revision"), "{}", refusal(&ROLLBACK, &served));
    }

    #[tokio::test]
    async fn pods_that_can_not_be_created_are_a_fault_of_the_revision_only_when_it_is_one() {
        let failing = |was_available, words: &'static str| async move {
            let mut snapshot = cart(was_available, 1).await;
            snapshot.pods.retain(|pod| pod.ready);
            snapshot.workload.as_mut().unwrap().replica_failure =
                Some(format!("FailedCreate: pods \"cart-1\" {words}"));
            fault_of_revision(&snapshot, snapshot.workload.as_ref().unwrap())
        };
        assert!(failing(false, "is invalid: spec.containers[0].image: Required value").await.is_some());
        assert_eq!(failing(true, "is invalid: spec.containers[0].image: Required value").await, None);
        assert_eq!(failing(false, "is forbidden: exceeded quota: small, requested: pods=1").await, None);
        assert_eq!(failing(false, "failed calling webhook \"check.example.com\": timeout").await, None);
    }

    #[tokio::test]
    async fn a_slow_rollout_is_left_to_go_on() {
        let mut snapshot = read(&FakeApi::new(SHOP), Kind::Deployment, "cart").await;
        snapshot.workload.as_mut().unwrap().deadline_exceeded = false;
        snapshot.pods.iter_mut().for_each(|pod| pod.waiting.clear());
        assert!(refusal(&ROLLBACK, &snapshot).contains("in progress"));
    }

    #[tokio::test]
    async fn a_template_that_changed_meanwhile_is_not_overwritten() {
        let api = FakeApi::new(SHOP);
        let snapshot = read(&api, Kind::Deployment, "cart").await;
        api.edit("Deployment", "cart", |it| {
            it["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/cart:3")
        });
        let error = plan(&api, &ROLLBACK, &snapshot).await.unwrap_err().to_string();
        assert!(error.contains("was changed while this was being planned"), "{error}");
    }

    #[tokio::test]
    async fn a_revision_with_more_privilege_is_refused() {
        let api = FakeApi::new(SHOP);
        api.edit("ReplicaSet", "cart-554857864b", |it| it["spec"]["template"]["spec"]["hostNetwork"] = json!(true));
        let snapshot = read(&api, Kind::Deployment, "cart").await;
        let error = plan(&api, &ROLLBACK, &snapshot).await.unwrap_err().to_string();
        assert!(error.contains("would bring in hostNetwork"), "{error}");
    }

    #[tokio::test]
    async fn fields_this_build_does_not_know_go_back_with_the_rest() {
        let api = FakeApi::new(SHOP);
        api.edit("ReplicaSet", "cart-554857864b", |it| it["spec"]["template"]["spec"]["fromTheFuture"] = json!([1]));
        let snapshot = read(&api, Kind::Deployment, "cart").await;
        let plan = plan(&api, &ROLLBACK, &snapshot).await.unwrap();
        assert_eq!(plan.request.body.unwrap()[2]["value"]["spec"]["fromTheFuture"], json!([1]));
    }

    #[tokio::test]
    async fn nothing_is_planned_where_no_pod_would_be_replaced_or_another_controls() {
        let api = FakeApi::new(SHOP);
        let snapshot = read(&api, Kind::DaemonSet, "agent").await;
        api.edit("DaemonSet", "agent", |it| it["spec"]["updateStrategy"]["type"] = json!("OnDelete"));
        assert!(plan(&api, &ROLLBACK, &snapshot).await.unwrap_err().to_string().contains("OnDelete"));
        let snapshot = read(&api, Kind::Deployment, "cart").await;
        api.edit("Deployment", "cart", |it| {
            it["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "example.com/v1", "kind": "Shop", "name": "s", "controller": true}]);
        });
        assert!(plan(&api, &ROLLBACK, &snapshot).await.unwrap_err().to_string().contains("Shop s"));
    }
}
