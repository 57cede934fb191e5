use evenkeel_cluster::{Stamp, convert};
use evenkeel_model::{ChangeKind, Kind, ObjectRef};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::slim::{Condition, Kept, Meta, Noticed, Status, annotation};

/// What is kept of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) meta: Meta,
    pub(crate) ready: Option<Condition>,
    /// Pressure conditions that are True, sorted by name.
    pub(crate) pressure: Box<[(Box<str>, Condition)]>,
    pub(crate) unschedulable: bool,
    /// It is cordoned, by evenkeel, and nobody has cordoned it since.
    pub(crate) cordoned_by_us: bool,
    /// Who takes it out of service on purpose.
    pub(crate) planned: Option<&'static str>,
    /// Host names and addresses, for kubelets' scrape addresses.
    pub(crate) addresses: Box<[Box<str>]>,
}

/// Taints and annotations with which tools say that they take a node out of service on purpose.
const PLANNED_TAINTS: [(&str, &str); 6] = [
    ("karpenter.sh/disrupted", "Karpenter"),
    ("karpenter.sh/disruption", "Karpenter"),
    ("ToBeDeletedByClusterAutoscaler", "cluster-autoscaler"),
    ("DeletionCandidateOfClusterAutoscaler", "cluster-autoscaler"),
    ("weave.works/kured-node-reboot", "kured"),
    ("node.cloudprovider.kubernetes.io/shutdown", "cloud provider"),
];
const PLANNED_ANNOTATIONS: [(&str, &str); 2] =
    [("weave.works/kured-reboot-in-progress", "kured"), ("kured.dev/reboot-in-progress", "kured")];

impl Node {
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.is(Status::True))
    }

    pub(super) fn keep(full: core::Node, _: Option<&Self>) -> Self {
        let spec = full.spec.unwrap_or_default();
        let status = full.status.unwrap_or_default();
        let unschedulable = spec.unschedulable.unwrap_or_default();
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let condition = |it: &core::NodeCondition, healthy| {
            let since = it.last_transition_time.as_ref();
            Condition::new(&it.status, since, it.reason.as_deref(), it.message.as_deref(), healthy)
        };
        let mut pressure: Vec<(Box<str>, Condition)> = conditions
            .iter()
            .filter(|it| it.type_.ends_with("Pressure") && it.status == "True")
            .map(|it| (it.type_.as_str().into(), condition(it, Status::False)))
            .collect();
        pressure.sort_by(|(a, _), (b, _)| a.cmp(b));
        let taints = spec.taints.as_deref().unwrap_or_default();
        // A candidate is only being thought about (PreferNoSchedule); the others are on their way.
        let by_taint = PLANNED_TAINTS
            .iter()
            .find(|(key, _)| taints.iter().any(|taint| taint.key == *key && taint.effect != "PreferNoSchedule"));
        let by_annotation = || PLANNED_ANNOTATIONS.iter().find(|(key, _)| annotation(&full.metadata, key).is_some());
        let addresses = status.addresses.as_deref().unwrap_or_default();
        Self {
            meta: Meta::of(&full.metadata),
            ready: conditions.iter().find(|it| it.type_ == "Ready").map(|it| condition(it, Status::True)),
            pressure: pressure.into(),
            unschedulable,
            cordoned_by_us: unschedulable && is_our_act(&full.metadata),
            planned: by_taint.or_else(by_annotation).map(|(_, who)| *who),
            addresses: addresses.iter().map(|it| it.address.as_str().into()).collect(),
        }
    }
}

/// The only thing that evenkeel does to a node's spec is to cordon it.
fn is_our_act(meta: &ObjectMeta) -> bool {
    let node = ObjectRef::cluster_scoped(Kind::Node, meta.name.clone().unwrap_or_default());
    convert::meta(&node, meta, None).is_ok_and(|meta| Stamp::standing(&meta).is_some())
}

impl Kept for Node {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn noticed(&self, before: Option<&Self>) -> Vec<Noticed> {
        let Some(before) = before else { return Vec::new() };
        let mut noticed = Vec::new();
        if before.is_ready() != self.is_ready() {
            noticed.push(Noticed::NodeTurned);
        }
        if before.unschedulable != self.unschedulable {
            let what = if self.unschedulable { "cordoned" } else { "uncordoned" };
            noticed.push(Noticed::Change(ChangeKind::Schedulability, what.to_owned()));
        }
        noticed
    }
}
