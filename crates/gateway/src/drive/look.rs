//! What is read of the cluster before anything is decided, and what follows from it.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use evenkeel_cluster::Budgets;
use evenkeel_model::{Action, ActionName, Decision, Kind, Mode, ObjectRef, Origin, Proposal, Snapshot, Step, Workload};
use evenkeel_policy::{
    Context, Disruption, Freezes, GitOps, Judgement, PolicySource, Question, freeze, judge, needs_labels,
};
use kube::Api;
use kube::core::{ApiResource, DynamicObject, ObjectMeta};

use crate::actions::{self, Indication};
use crate::error::ApiError;
use crate::plane::{DriveError, Plane};

/// How long what was read of target and policies counts as read just now.
const STILL_LIVE: Duration = Duration::seconds(2);

/// Everything a decision rests on, read just now.
pub(super) struct Look {
    pub(super) snapshot: Snapshot,
    policies: Vec<PolicySource>,
    freezes: Freezes,
    labels: BTreeMap<String, String>,
    root_is_related: bool,
    /// The workload whose pods an action takes that is done to one of its pods, where it has one.
    workload_of_pod: Option<Workload>,
    /// PodDisruptionBudgets over the pods that the action takes.
    budgets: Option<Budgets>,
}

/// What follows from a look.
pub(super) enum Considered {
    /// It may and should be done; why.
    Go { judgement: Judgement, why: String },
    /// The target does not need it as far as this one look tells, and why.
    NotIndicated { judgement: Judgement, reason: String },
    /// It should be done, and people decide.
    AskPeople { judgement: Judgement, why: String, reason: String },
    /// It ends, or waits, in another phase.
    Settle { judgement: Option<Judgement>, step: Step, reason: String, not_before: Option<DateTime<Utc>> },
}

impl Plane {
    /// Reads target, policies and ownership.
    pub(super) async fn look(&self, proposal: &Proposal) -> Result<Look, DriveError> {
        let read = futures::future::try_join(self.snapshot(&proposal.target), async {
            Ok::<_, DriveError>(self.policies.list().await?)
        });
        let (read, freezes) = futures::future::join(read, self.freezes.read()).await;
        let (mut snapshot, policies) = read?;
        let ownership = self.ownership(proposal, &snapshot).await?;
        let root_is_related = ownership.is_root(proposal, &snapshot);
        if let Some(meta) = &mut snapshot.meta {
            meta.mode = ownership.mode;
        }
        let labels = if needs_labels(&proposal.target, &policies) {
            self.labels(&proposal.target).await?
        } else {
            BTreeMap::new()
        };
        let workload_of_pod = self.workload_of_pod(proposal, &snapshot).await?;
        let budgets = self.budgets(proposal, &snapshot).await?;
        Ok(Look { snapshot, policies, freezes, labels, root_is_related, workload_of_pod, budgets })
    }

    /// What PodDisruptionBudgets leave of the pods that an action takes: others' disruptions and ours are one.
    async fn budgets(&self, proposal: &Proposal, snapshot: &Snapshot) -> Result<Option<Budgets>, DriveError> {
        let target = &proposal.target;
        let takes = match proposal.action.name() {
            // The API server minds them whatever state the pod is in.
            ActionName::EvictPod => true,
            ActionName::RestartWorkload | ActionName::ScaleWorkload | ActionName::DeletePod => {
                actions::for_action(&proposal.action).takes_capacity(snapshot)
            }
            // What goes is of the revision that is not available, or no pod that a budget is about.
            ActionName::RollbackWorkload
            | ActionName::CordonNode
            | ActionName::UncordonNode
            | ActionName::DeleteJob
            | ActionName::Notify
            | ActionName::Escalate => false,
        };
        if !takes || !snapshot.is_there() {
            return Ok(None);
        }
        let read = evenkeel_cluster::budgets(&self.reader, target);
        self.within(|| format!("reading the PodDisruptionBudgets over {target}"), read).await
    }

    /// What a ready pod belongs to: taking it takes capacity, and how many others are away decides.
    async fn workload_of_pod(&self, proposal: &Proposal, snapshot: &Snapshot) -> Result<Option<Workload>, DriveError> {
        let target = &proposal.target;
        if !proposal.action.name().is_mutating() || !snapshot.pod.as_ref().is_some_and(|pod| pod.ready) {
            return Ok(None);
        }
        let owners = evenkeel_cluster::owners(&self.reader, target);
        let owners = self.within(|| format!("reading the owners of {target}"), owners).await?;
        match owners.iter().find(|owner| owner.kind.is_workload()) {
            Some(owner) => Ok(self.snapshot(owner).await?.workload),
            None => Ok(None),
        }
    }

    /// The target and its surroundings, as they are now.
    pub(super) async fn snapshot(&self, target: &ObjectRef) -> Result<Snapshot, DriveError> {
        let read = evenkeel_cluster::snapshot(&self.reader, target, self.records.as_ref(), self.now());
        self.within(|| format!("reading {target}"), read).await
    }

    /// Waits for reads no longer than one request of ours may take.
    pub(super) async fn within<T, E>(
        &self,
        what: impl Fn() -> String,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<T, DriveError>
    where
        DriveError: From<E>,
    {
        let limit = self.config.request_timeout.get();
        // Boxed: these are the largest futures there are.
        match tokio::time::timeout(limit, Box::pin(read)).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(ApiError::Late { what: what(), limit }.into()),
        }
    }

    /// Whether what was read just now still holds: every act of ours on the target, and most of
    /// what befalls it, changes its version. One read from etcd instead of lists that wait for the
    /// API server's caches to hear of our own last write (about 100 ms with Kubernetes 1.36).
    pub(super) async fn is_unchanged(&self, proposal: &Proposal, look: &Look) -> Result<bool, DriveError> {
        let age = self.now() - look.snapshot.taken_at;
        if age > STILL_LIVE {
            return Ok(false);
        }
        let found = self.metadata(&proposal.target).await?;
        let version = found.and_then(|found| found.resource_version);
        let then = look.snapshot.meta.as_ref().map(|meta| meta.resource_version.as_str());
        Ok(version.is_some() && version.as_deref() == then)
    }

    async fn labels(&self, target: &ObjectRef) -> Result<BTreeMap<String, String>, DriveError> {
        Ok(self.metadata(target).await?.and_then(|found| found.labels).unwrap_or_default())
    }

    pub(super) async fn metadata(&self, target: &ObjectRef) -> Result<Option<ObjectMeta>, DriveError> {
        let kind = target.kind;
        let resource = ApiResource {
            group: kind.group().to_owned(),
            version: kind.version().to_owned(),
            api_version: kind.api_version(),
            kind: kind.as_str().to_owned(),
            plural: kind.plural().to_owned(),
        };
        let client = self.reader.clone();
        let api: Api<DynamicObject> = match &target.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let what = || format!("reading the metadata of {target}");
        let read = async { api.get_metadata_opt(&target.name).await.map_err(|error| ApiError::of(what(), error)) };
        Ok(self.within(what, read).await?.map(|found| found.metadata))
    }

    /// What policies and the action's own indication say to what was read.
    pub(super) fn consider(&self, proposal: &Proposal, look: &Look) -> Considered {
        let settle = |judgement, step, reason| Considered::Settle { judgement, step, reason, not_before: None };
        // One that is being deleted is for the action to judge: a pod that can't go may need help.
        if look.snapshot.meta.is_none() {
            return settle(None, Step::FindObsolete, format!("{} does not exist (any more)", proposal.target));
        }
        if !look.root_is_related {
            let reason = format!("{} is not what {} belongs to as its owners tell", proposal.root, proposal.target);
            return settle(None, Step::Deny, reason);
        }
        let action = actions::for_action(&proposal.action);
        let judgement = self.judge(proposal, look, action.takes_capacity(&look.snapshot));
        let said = || {
            let said: Vec<String> =
                judgement.verdict.rules.iter().map(|rule| format!("{}: {}", rule.policy, rule.said)).collect();
            said.join("; ")
        };
        let decision = judgement.verdict.decision.clone();
        if decision == (Decision::Deny {}) {
            let reason = said();
            return settle(Some(judgement), Step::Deny, reason);
        }
        // Before people are asked, too: what is not needed is not worth their time.
        let indication = action.indication(&look.snapshot);
        #[cfg(feature = "mutation")]
        let indication = match self.mutation {
            Some(crate::Mutation::Indication) => Indication::Indicated("believed".to_owned()),
            _ => indication,
        };
        let why = match indication {
            Indication::Indicated(why) => why,
            Indication::NotIndicated(reason) => return Considered::NotIndicated { judgement, reason },
        };
        match decision {
            Decision::Allow { mode: Mode::Enforce } => Considered::Go { judgement, why },
            Decision::Allow { mode: Mode::Audit } => {
                settle(Some(judgement), Step::AuthorizeInAudit, format!("{why}; not done in Audit mode"))
            }
            Decision::NeedsApproval { tier } => {
                let reason = format!("{why}; people decide ({tier:?}): {}", said());
                Considered::AskPeople { judgement, why, reason }
            }
            Decision::Defer { until } => {
                let (reason, not_before) = (said(), Some(until));
                Considered::Settle { judgement: Some(judgement), step: Step::Defer, reason, not_before }
            }
            Decision::Deny {} => settle(Some(judgement), Step::Deny, String::new()),
        }
    }

    fn judge(&self, proposal: &Proposal, look: &Look, takes_capacity: bool) -> Judgement {
        let question = Question {
            action: &proposal.action,
            target: &proposal.target,
            labels: &look.labels,
            origin: proposal.origin,
            now: self.now(),
            ceiling: self.config.mode,
            narrowed: look.snapshot.meta.as_ref().and_then(|meta| meta.mode.as_deref()),
            context: context(&proposal.action, look, takes_capacity),
            protected: &self.protected,
        };
        let mut judgement = judge(&question, &look.policies);
        // What a person asks for is no automatic action, and an uncordon takes back what we have done ourselves.
        if proposal.action.name().is_mutating()
            && proposal.origin == Origin::Playbook
            && proposal.action.name() != ActionName::UncordonNode
        {
            self.breakers().apply(&mut judgement, &proposal.playbook.name);
        }
        if proposal.action.name().is_mutating()
            && let Some(frozen) = look.freezes.on(&proposal.target, question.now)
        {
            freeze(&mut judgement, &frozen, question.now);
        }
        let decision = match judgement.verdict.decision {
            Decision::Allow { mode: Mode::Enforce } => "allow",
            Decision::Allow { mode: Mode::Audit } => "audit",
            Decision::NeedsApproval { .. } => "needs_approval",
            Decision::Defer { .. } => "defer",
            Decision::Deny {} => "deny",
        };
        self.metrics.verdict(decision, proposal.action.name());
        judgement
    }
}

fn context(action: &Action, look: &Look, takes_capacity: bool) -> Context {
    let snapshot = &look.snapshot;
    let some = |n: i32| u32::try_from(n).unwrap_or(0);
    let by_stateful_set = snapshot
        .meta
        .as_ref()
        .and_then(|meta| meta.controller.as_ref())
        .is_some_and(|controller| controller.kind == Kind::StatefulSet);
    let workload = snapshot.workload.as_ref();
    let available = match (workload, &snapshot.pod) {
        (Some(workload), _) => some(workload.available),
        (None, Some(pod)) => u32::from(pod.ready),
        (None, None) => u32::try_from(snapshot.pods.iter().filter(|pod| pod.ready).count()).unwrap_or(u32::MAX),
    };
    Context {
        // What a pod of a StatefulSet mounts is not read: it counts as data.
        stateful: workload.is_some_and(|workload| workload.stateful) || by_stateful_set,
        available,
        takes_capacity,
        replicas: workload.map(|workload| some(workload.desired)),
        git_ops: git_ops(action.name(), snapshot),
        disruption: workload.or(look.workload_of_pod.as_ref()).map(|workload| Disruption {
            desired: some(workload.desired),
            unavailable: some(workload.desired.saturating_sub(workload.available)),
            takes: match action {
                Action::ScaleWorkload(scale) => some(workload.available).saturating_sub(scale.replicas),
                // What goes is of the revision that made the others unavailable: to wait for these would be for ever.
                // People decide about it, since the tier is raised.
                Action::RollbackWorkload(_) => 0,
                // One at least; how many a rollout takes at once is the workload's own strategy.
                _ => u32::from(takes_capacity),
            },
            budget: look.budgets.map(|budgets| budgets.left),
        }),
        budgets: look.budgets.map_or(0, |budgets| budgets.count),
    }
}

/// Whether a GitOps tool tracks the target, and sets what the action writes.
fn git_ops(action: ActionName, snapshot: &Snapshot) -> GitOps {
    if snapshot.meta.as_ref().is_none_or(|meta| meta.git_ops.is_none()) {
        return GitOps::Untracked;
    }
    let owner = match action {
        ActionName::RollbackWorkload => actions::git_ops_owner(snapshot, |writer| writer.pod_template),
        ActionName::ScaleWorkload => actions::git_ops_owner(snapshot, |writer| writer.replicas),
        ActionName::RestartWorkload
        | ActionName::DeletePod
        | ActionName::EvictPod
        | ActionName::CordonNode
        | ActionName::UncordonNode
        | ActionName::DeleteJob
        | ActionName::Notify
        | ActionName::Escalate => None,
    };
    if owner.is_some() { GitOps::FieldsOwned } else { GitOps::FieldsFree }
}
