use async_trait::async_trait;
use chrono::{DateTime, Utc};
use evenkeel_model::{Kind, ObjectRef, OwnerReplicas, Pod, Snapshot};
use futures::future::join_all;
use futures::try_join;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::read::{beside, list, metadata, selected_by};
use crate::{ReadError, convert};

/// Says whether a revision is known to have had all its pods available once. The API forgets it as
/// soon as the revision is scaled to zero; the observer keeps records of it.
#[async_trait]
pub trait AvailabilityLookup: Send + Sync {
    /// Whether the ReplicaSet or ControllerRevision of that uid is known to have been available.
    /// What can't be looked up was not.
    async fn was_available(&self, revision_uid: &str) -> bool;
}

/// Knows of no revision.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRecords;

#[async_trait]
impl AvailabilityLookup for NoRecords {
    async fn was_available(&self, _: &str) -> bool {
        false
    }
}

/// Reads an object and its surroundings, live. An object that does not exist, or exists with
/// another uid than the one asked for, is a snapshot without `meta`.
///
/// # Errors
/// When anything of it can't be read: half a snapshot would make facts false that are unknown.
pub async fn snapshot(
    client: &Client,
    target: &ObjectRef,
    known: &dyn AvailabilityLookup,
    now: DateTime<Utc>,
) -> Result<Snapshot, ReadError> {
    let reader = Reader { client, target, now };
    let mut snapshot = match target.kind {
        Kind::Deployment => reader.deployment().await?,
        Kind::StatefulSet => reader.stateful_set().await?,
        Kind::DaemonSet => reader.daemon_set().await?,
        Kind::Pod => reader.pod().await?,
        Kind::Node => reader.node().await?,
        Kind::Job => reader.job().await?,
        _ => reader.other().await?,
    };
    let revisions = &mut snapshot.revisions;
    let records = join_all(revisions.iter().map(|revision| known.was_available(&revision.uid))).await;
    for (revision, was_available) in revisions.iter_mut().zip(records) {
        revision.was_available = was_available;
    }
    Ok(snapshot)
}

struct Reader<'a> {
    client: &'a Client,
    target: &'a ObjectRef,
    now: DateTime<Utc>,
}

impl Reader<'_> {
    fn failed(&self, what: &str) -> impl FnOnce(kube::Error) -> ReadError {
        let (target, what) = (self.target.clone(), what.to_owned());
        move |error| ReadError::of(&target, what, error)
    }

    fn absent(&self) -> Snapshot {
        Snapshot {
            target: self.target.clone(),
            taken_at: self.now,
            meta: None,
            workload: None,
            pod: None,
            node: None,
            job: None,
            pods: Vec::new(),
            revisions: Vec::new(),
            scaled_by: None,
            owner: None,
            suppressed: None,
        }
    }

    fn is_asked_for(&self, meta: &ObjectMeta) -> bool {
        self.target.uid.is_none() || self.target.uid == meta.uid
    }

    /// The target, when it exists and is the one asked for.
    async fn target<K>(&self, api: Api<K>) -> Result<Option<K>, ReadError>
    where
        K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let found = api.get_opt(&self.target.name).await.map_err(self.failed(&self.target.to_string()))?;
        Ok(found.filter(|it| self.is_asked_for(it.meta())))
    }

    /// A snapshot with what all objects have.
    async fn with_meta(&self, meta: &ObjectMeta) -> Result<Snapshot, ReadError> {
        let namespace = match self.target.namespace.as_deref() {
            Some(name) => {
                let namespace = ObjectRef::cluster_scoped(Kind::Namespace, name);
                metadata(self.client, &namespace).await.map_err(self.failed(&namespace.to_string()))?
            }
            None => None,
        };
        let mut snapshot = self.absent();
        let meta = convert::meta(self.target, meta, namespace.as_ref())?;
        snapshot.target.uid = Some(meta.uid.clone());
        snapshot.meta = Some(meta);
        Ok(snapshot)
    }

    async fn pods(&self, selector: Option<LabelSelector>) -> Result<Vec<core::Pod>, ReadError> {
        let params = selected_by(self.target, selector)?;
        list(&beside(self.client, self.target), params).await.map_err(self.failed("its pods"))
    }

    async fn scaled_by(&self) -> Result<Option<String>, ReadError> {
        let api: Api<HorizontalPodAutoscaler> = beside(self.client, self.target);
        let autoscalers =
            list(&api, ListParams::default()).await.map_err(self.failed("the HorizontalPodAutoscalers beside it"))?;
        Ok(convert::scaled_by(self.target, &autoscalers))
    }

    /// Pods of a workload that still count for it: those that have ended for good are replaced by their
    /// controller and stay only to be looked at (evicted pods, for instance).
    fn running(&self, pods: &[core::Pod], is_ours: impl Fn(&ObjectMeta) -> bool) -> Vec<Pod> {
        let ended = |pod: &Pod| pod.phase == "Failed" || pod.phase == "Succeeded";
        let ours = pods.iter().filter(|it| is_ours(&it.metadata));
        ours.map(|it| convert::pod(it, self.now)).filter(|pod| !ended(pod)).collect()
    }

    async fn deployment(&self) -> Result<Snapshot, ReadError> {
        let Some(found) = self.target::<Deployment>(beside(self.client, self.target)).await? else {
            return Ok(self.absent());
        };
        let selector = found.spec.as_ref().map(|spec| spec.selector.clone());
        let (mut snapshot, sets, pods, scaled_by) = try_join!(
            self.with_meta(&found.metadata),
            self.replica_sets(selector.clone()),
            self.pods(selector),
            self.scaled_by()
        )?;
        let uid = found.uid().unwrap_or_default();
        let sets: Vec<ReplicaSet> = sets.into_iter().filter(|it| convert::controlled_by(&it.metadata, &uid)).collect();
        let is_ours = |meta: &ObjectMeta| {
            sets.iter().any(|set| set.metadata.uid.as_deref().is_some_and(|uid| convert::controlled_by(meta, uid)))
        };
        snapshot.pods = convert::worst_first(self.running(&pods, is_ours));
        let (workload, revisions) = convert::deployment(&found, &sets, writers(&snapshot));
        Ok(Snapshot { workload: Some(workload), revisions, scaled_by, ..snapshot })
    }

    async fn replica_sets(&self, selector: Option<LabelSelector>) -> Result<Vec<ReplicaSet>, ReadError> {
        let params = selected_by(self.target, selector)?;
        list(&beside(self.client, self.target), params).await.map_err(self.failed("its ReplicaSets"))
    }

    async fn stateful_set(&self) -> Result<Snapshot, ReadError> {
        let Some(found) = self.target::<StatefulSet>(beside(self.client, self.target)).await? else {
            return Ok(self.absent());
        };
        let selector = found.spec.as_ref().map(|spec| spec.selector.clone());
        let (snapshot, (revisions, pods), scaled_by) = try_join!(
            self.with_meta(&found.metadata),
            self.revisions_and_pods(&found.metadata, selector),
            self.scaled_by()
        )?;
        let (workload, revisions) = convert::stateful_set(&found, &revisions, &pods, writers(&snapshot), self.now);
        let pods = convert::worst_first(pods);
        Ok(Snapshot { workload: Some(workload), revisions, pods, scaled_by, ..snapshot })
    }

    async fn daemon_set(&self) -> Result<Snapshot, ReadError> {
        let Some(found) = self.target::<DaemonSet>(beside(self.client, self.target)).await? else {
            return Ok(self.absent());
        };
        let selector = found.spec.as_ref().map(|spec| spec.selector.clone());
        let (snapshot, (revisions, pods)) =
            try_join!(self.with_meta(&found.metadata), self.revisions_and_pods(&found.metadata, selector))?;
        let (workload, revisions) = convert::daemon_set(&found, &revisions, &pods, writers(&snapshot), self.now);
        let pods = convert::worst_first(pods);
        Ok(Snapshot { workload: Some(workload), revisions, pods, ..snapshot })
    }

    async fn revisions_and_pods(
        &self,
        meta: &ObjectMeta,
        selector: Option<LabelSelector>,
    ) -> Result<(Vec<ControllerRevision>, Vec<Pod>), ReadError> {
        let uid = meta.uid.clone().unwrap_or_default();
        let (revisions, pods) = try_join!(self.controller_revisions(selector.clone()), self.pods(selector))?;
        let revisions = revisions.into_iter().filter(|it| convert::controlled_by(&it.metadata, &uid)).collect();
        let pods = self.running(&pods, |meta| convert::controlled_by(meta, &uid));
        Ok((revisions, pods))
    }

    async fn controller_revisions(
        &self,
        selector: Option<LabelSelector>,
    ) -> Result<Vec<ControllerRevision>, ReadError> {
        let params = selected_by(self.target, selector)?;
        list(&beside(self.client, self.target), params).await.map_err(self.failed("its ControllerRevisions"))
    }

    async fn pod(&self) -> Result<Snapshot, ReadError> {
        let Some(found) = self.target::<core::Pod>(beside(self.client, self.target)).await? else {
            return Ok(self.absent());
        };
        let pod = convert::pod(&found, self.now);
        let (snapshot, node, owner) = try_join!(
            self.with_meta(&found.metadata),
            self.node_named(pod.node.as_deref()),
            self.replica_set_of(&found.metadata)
        )?;
        Ok(Snapshot { pod: Some(pod), node: node.as_ref().map(convert::node), owner, ..snapshot })
    }

    /// The ReplicaSet that controls a pod: whether it still misses what it lost.
    async fn replica_set_of(&self, pod: &ObjectMeta) -> Result<Option<OwnerReplicas>, ReadError> {
        let owners = pod.owner_references.iter().flatten();
        let mut owners = owners.filter(|owner| owner.controller == Some(true) && owner.kind == "ReplicaSet");
        let Some(owner) = owners.next() else { return Ok(None) };
        let api: Api<ReplicaSet> = beside(self.client, self.target);
        let found = api.get_opt(&owner.name).await.map_err(self.failed(&format!("its ReplicaSet {}", owner.name)))?;
        Ok(found.filter(|found| found.metadata.uid.as_ref() == Some(&owner.uid)).map(|found| OwnerReplicas {
            desired: found.spec.and_then(|spec| spec.replicas).unwrap_or(1),
            available: found.status.and_then(|status| status.available_replicas).unwrap_or(0),
        }))
    }

    async fn node_named(&self, name: Option<&str>) -> Result<Option<core::Node>, ReadError> {
        let Some(name) = name else { return Ok(None) };
        let nodes: Api<core::Node> = Api::all(self.client.clone());
        nodes.get_opt(name).await.map_err(self.failed(&format!("node/{name}")))
    }

    async fn node(&self) -> Result<Snapshot, ReadError> {
        let Some(found) = self.target::<core::Node>(Api::all(self.client.clone())).await? else {
            return Ok(self.absent());
        };
        let mut snapshot = self.with_meta(&found.metadata).await?;
        snapshot.node = Some(convert::node(&found));
        let pods: Api<core::Pod> = Api::all(self.client.clone());
        let params = ListParams::default().fields(&format!("spec.nodeName={}", self.target.name));
        let pods = list(&pods, params).await.map_err(self.failed("its pods"))?;
        snapshot.pods = convert::worst_first(pods.iter().map(|it| convert::pod(it, self.now)).collect());
        Ok(snapshot)
    }

    async fn job(&self) -> Result<Snapshot, ReadError> {
        let api: Api<Job> = beside(self.client, self.target);
        let Some(found) = self.target::<Job>(api.clone()).await? else {
            return Ok(self.absent());
        };
        let mut snapshot = self.with_meta(&found.metadata).await?;
        // Jobs carry no label of their CronJob; without a CronJob there are no siblings to read.
        let siblings = if snapshot.meta.as_ref().is_some_and(|meta| meta.controller.is_some()) {
            list(&api, ListParams::default()).await.map_err(self.failed("the Jobs beside it"))?
        } else {
            Vec::new()
        };
        snapshot.job = Some(convert::job(&found, &siblings));
        let uid = found.uid().unwrap_or_default();
        let pods = self.pods(found.spec.as_ref().and_then(|spec| spec.selector.clone())).await?;
        let ours = pods.iter().filter(|it| convert::controlled_by(&it.metadata, &uid));
        snapshot.pods = convert::worst_first(ours.map(|it| convert::pod(it, self.now)).collect());
        Ok(snapshot)
    }

    async fn other(&self) -> Result<Snapshot, ReadError> {
        let found = metadata(self.client, self.target).await.map_err(self.failed(&self.target.to_string()))?;
        match found.filter(|meta| self.is_asked_for(meta)) {
            Some(meta) => self.with_meta(&meta).await,
            None => Ok(self.absent()),
        }
    }
}

fn writers(snapshot: &Snapshot) -> &[evenkeel_model::Writer] {
    snapshot.meta.as_ref().map_or(&[], |meta| &meta.writers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{FakeApi, SHOP};

    fn shop(kind: Kind, name: &str) -> ObjectRef {
        ObjectRef::namespaced(kind, "shop", name)
    }

    async fn read(api: &FakeApi, target: ObjectRef) -> Snapshot {
        snapshot(&api.client(), &target, &NoRecords, "2026-11-21T04:00:00Z".parse().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_deployment_in_the_middle_of_a_rollout() {
        let snapshot = read(&FakeApi::new(SHOP), shop(Kind::Deployment, "cart")).await;
        assert_eq!(snapshot.is_well(), Some(false));
        assert_eq!(snapshot.last_available_revision().map(|it| it.images.concat()).as_deref(), Some("shop/cart:1"));
        insta::assert_json_snapshot!(snapshot);
    }

    #[tokio::test]
    async fn a_stateful_set_in_the_middle_of_a_rollout() {
        let snapshot = read(&FakeApi::new(SHOP), shop(Kind::StatefulSet, "db")).await;
        assert_eq!(snapshot.last_available_revision().map(|it| it.name.as_str()), Some("db-647bf86577"));
        insta::assert_json_snapshot!(snapshot);
    }

    #[tokio::test]
    async fn a_daemon_set_in_the_middle_of_a_rollout() {
        let snapshot = read(&FakeApi::new(SHOP), shop(Kind::DaemonSet, "agent")).await;
        let available: Vec<i32> = snapshot.revisions.iter().map(|it| it.available).collect();
        assert_eq!(available, [0, 2]);
        assert_eq!(snapshot.last_available_revision().map(|it| it.name.as_str()), Some("agent-749579dbb7"));
        insta::assert_json_snapshot!(snapshot);
    }

    #[tokio::test]
    async fn a_pod_comes_with_its_node_and_a_node_with_its_pods() {
        let api = FakeApi::new(SHOP);
        let pod = read(&api, shop(Kind::Pod, "cart-554857864b-446t9")).await;
        assert_eq!(pod.node.as_ref().map(|it| (it.name.as_str(), it.ready)), Some(("kwok-node-0", true)));
        assert_eq!(pod.meta.unwrap().controller.unwrap().to_string(), "replicaset/shop/cart-554857864b");
        let node = read(&api, ObjectRef::cluster_scoped(Kind::Node, "kwok-node-0")).await;
        assert!(!node.pods.is_empty() && node.pods.iter().all(|it| it.node.as_deref() == Some("kwok-node-0")));
        assert_eq!(node.is_well(), Some(true));
    }

    #[tokio::test]
    async fn what_is_not_there_or_is_another_object_has_no_meta() {
        let api = FakeApi::new(SHOP);
        assert!(read(&api, shop(Kind::Deployment, "none")).await.meta.is_none());
        assert!(read(&api, shop(Kind::Deployment, "cart").with_uid("another")).await.meta.is_none());
        assert!(read(&api, shop(Kind::Service, "none")).await.meta.is_none());
    }

    #[tokio::test]
    async fn pods_that_ended_for_good_do_not_make_a_workload_unwell() {
        let api = FakeApi::new(SHOP);
        api.edit("Pod", "cart-554857864b-446t9", |pod| pod["status"]["phase"] = json!("Failed"));
        let snapshot = read(&api, shop(Kind::Deployment, "cart")).await;
        assert!(snapshot.pods.iter().all(|pod| pod.name != "cart-554857864b-446t9"));
    }

    #[tokio::test]
    async fn what_can_not_be_read_is_an_error_and_no_half_snapshot() {
        let api = FakeApi::new(SHOP);
        api.fail("GET /api/v1/namespaces/shop/pods", 403, "pods is forbidden");
        let target = shop(Kind::Deployment, "cart");
        let error = snapshot(&api.client(), &target, &NoRecords, DateTime::default()).await.unwrap_err();
        assert!(error.to_string().contains("deployment/shop/cart: its pods is forbidden"), "{error}");
    }

    #[tokio::test]
    async fn an_autoscaler_of_the_workload_is_named() {
        let api = FakeApi::new(SHOP);
        api.put(json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "cart-hpa", "namespace": "shop"},
            "spec": {"maxReplicas": 9, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"}}}));
        assert_eq!(read(&api, shop(Kind::Deployment, "cart")).await.scaled_by.as_deref(), Some("cart-hpa"));
        assert_eq!(read(&api, shop(Kind::StatefulSet, "db")).await.scaled_by, None);
    }

    #[tokio::test]
    async fn records_of_availability_are_looked_up() {
        struct All;
        #[async_trait]
        impl AvailabilityLookup for All {
            async fn was_available(&self, _: &str) -> bool {
                true
            }
        }
        let target = shop(Kind::Deployment, "cart");
        let snapshot = snapshot(&FakeApi::new(SHOP).client(), &target, &All, DateTime::default()).await.unwrap();
        assert!(snapshot.revisions.iter().all(|it| it.was_available));
    }
}
