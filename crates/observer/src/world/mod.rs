//! What is known of the cluster: plain synchronous indexes that watches apply to, delete from and
//! reset, so that detection, targets and owner chains need no request and tests need no cluster.

#[cfg(test)]
pub(crate) mod fixture;
mod gone;
mod node;
mod pod;
mod slim;
mod table;
mod workload;

pub(crate) use gone::Gone;
pub(crate) use node::Node;
pub(crate) use pod::{Container, Phase, Pod, State};
pub(crate) use slim::{Condition, Kept, Meta, Noticed, Status, Watched, short, time};
pub(crate) use table::Table;
pub(crate) use workload::{Autoscaler, Job, Namespace, ReplicaSet, Workload, writer};

use evenkeel_model::{Kind, ObjectRef};

use crate::silences::Quiet;

/// The cluster as the watches tell it.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) pods: Table<Pod>,
    pub(crate) nodes: Table<Node>,
    pub(crate) namespaces: Table<Namespace>,
    pub(crate) deployments: Table<Workload>,
    pub(crate) stateful_sets: Table<Workload>,
    pub(crate) daemon_sets: Table<Workload>,
    pub(crate) replica_sets: Table<ReplicaSet>,
    pub(crate) jobs: Table<Job>,
    pub(crate) autoscalers: Table<Autoscaler>,
    /// What was there lately.
    pub(crate) gone: Gone,
    /// What Alertmanager holds back.
    pub(crate) quiet: Quiet,
}

/// The world, shared. Locks are held for look-ups only, never across an await.
pub(crate) type SharedWorld = std::sync::Arc<std::sync::RwLock<World>>;

/// Reads the world. A panic while it was written to does not make the rest of it wrong.
pub(crate) fn read(world: &SharedWorld) -> std::sync::RwLockReadGuard<'_, World> {
    world.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Changes the world.
pub(crate) fn write(world: &SharedWorld) -> std::sync::RwLockWriteGuard<'_, World> {
    world.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl World {
    /// Deployments, StatefulSets or DaemonSets.
    pub(crate) fn workloads(&self, kind: Kind) -> Option<&Table<Workload>> {
        match kind {
            Kind::Deployment => Some(&self.deployments),
            Kind::StatefulSet => Some(&self.stateful_sets),
            Kind::DaemonSet => Some(&self.daemon_sets),
            _ => None,
        }
    }

    /// One workload.
    pub(crate) fn workload(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Workload> {
        self.workloads(kind)?.get(namespace, name)
    }

    /// Metadata of an object that is watched.
    pub(crate) fn meta(&self, object: &ObjectRef) -> Option<&Meta> {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let name = object.name.as_str();
        match object.kind {
            Kind::Pod => self.pods.get(namespace, name).map(|it| &it.meta),
            Kind::Node => self.nodes.get("", name).map(|it| &it.meta),
            Kind::Namespace => self.namespaces.get("", name).map(|it| &it.meta),
            Kind::ReplicaSet => self.replica_sets.get(namespace, name).map(|it| &it.meta),
            Kind::Job => self.jobs.get(namespace, name).map(|it| &it.meta),
            Kind::HorizontalPodAutoscaler => self.autoscalers.get(namespace, name).map(|it| &it.meta),
            kind => self.workload(kind, namespace, name).map(|it| &it.meta),
        }
    }

    /// The object with its uid, where it is known and the object has none yet.
    pub(crate) fn identified(&self, mut object: ObjectRef) -> ObjectRef {
        if object.uid.is_none() {
            object.uid = self.meta(&object).map(|meta| (*meta.uid).to_owned());
        }
        object
    }

    /// What a person would act on: the top of the chain of controllers as far as it is known. An
    /// autoscaler's is what it scales. Of what was deleted lately it is what it was then. `None` where a link that
    /// must be there is not known (yet), or is another of its name.
    pub(crate) fn root(&self, object: &ObjectRef) -> Option<ObjectRef> {
        if object.kind == Kind::HorizontalPodAutoscaler {
            let namespace = object.namespace.as_deref()?;
            let (kind, name) = self.autoscalers.get(namespace, &object.name)?.scales.as_ref()?;
            return Some(self.identified(ObjectRef::namespaced(*kind, namespace, &**name)));
        }
        let mut at = object.clone();
        // Pod, ReplicaSet, Deployment: no chain that matters is longer; a loop ends here, too.
        for _ in 0..4 {
            let is_it = |meta: &&Meta| at.uid.as_deref().is_none_or(|uid| uid == &*meta.uid);
            let known = self.meta(&at);
            let Some(meta) = known.filter(is_it).or_else(|| self.gone.meta(&at)).or(known) else {
                // What has owners is not guessed from names; the rest is acted on itself, known or not.
                let owned = matches!(at.kind, Kind::Pod | Kind::ReplicaSet);
                return (!owned).then_some(at);
            };
            if at.uid.as_deref().is_some_and(|uid| uid != &*meta.uid) {
                return None;
            }
            at.uid = Some((*meta.uid).to_owned());
            match &meta.owner {
                // A Job is acted on itself, its CronJob is not.
                Some(owner) if at.kind != Kind::Job && is_climbed(owner.kind) => {
                    at = ObjectRef {
                        kind: owner.kind,
                        namespace: at.namespace,
                        name: (*owner.name).to_owned(),
                        uid: Some((*owner.uid).to_owned()),
                    };
                }
                _ => return Some(at),
            }
        }
        Some(at)
    }

    /// The name of the node that a pod is bound to.
    pub(crate) fn node_of(&self, pod: &ObjectRef) -> Option<&str> {
        self.pods.get(pod.namespace.as_deref()?, &pod.name)?.node.as_deref()
    }

    /// The node of that name or address, where just one has it.
    pub(crate) fn node_at(&self, host: &str) -> Option<&str> {
        if let Some((_, name, _)) = self.nodes.iter().find(|(_, name, _)| *name == host) {
            return Some(name);
        }
        let mut at = self.nodes.iter().filter(|(_, _, node)| node.addresses.iter().any(|it| &**it == host));
        let (_, name, _) = at.next()?;
        at.next().is_none().then_some(name)
    }

    /// What trouble with this object may be an effect of: its node, when that is not ready.
    pub(crate) fn causes(&self, object: &ObjectRef) -> Vec<ObjectRef> {
        let node = (object.kind == Kind::Pod).then(|| self.node_of(object)).flatten();
        node.and_then(|name| self.bad_node(name)).into_iter().collect()
    }

    /// The node, when it is known and not ready.
    pub(crate) fn bad_node(&self, name: &str) -> Option<ObjectRef> {
        let node = self.nodes.get("", name).filter(|node| !node.is_ready())?;
        Some(ObjectRef::cluster_scoped(Kind::Node, name).with_uid(&*node.meta.uid))
    }

    /// Why no automatic action may follow a signal about this target.
    pub(crate) fn suppressed(&self, target: Option<&ObjectRef>, root: Option<&ObjectRef>) -> Option<String> {
        let objects = || target.into_iter().chain(root);
        for object in objects() {
            if self.meta(object).is_some_and(|meta| meta.off) {
                return Some(format!("{object} is annotated evenkeel.dev/mode: off"));
            }
            let namespace = object.namespace.as_deref().unwrap_or_default();
            if self.namespaces.get("", namespace).is_some_and(|it| it.meta.off) {
                return Some(format!("namespace {namespace} is annotated evenkeel.dev/mode: off"));
            }
            if self.workload(object.kind, namespace, &object.name).is_some_and(|it| it.paused) {
                return Some(format!("{object} is paused"));
            }
            let node = match object.kind {
                Kind::Node => Some(object.name.as_str()),
                Kind::Pod => self.node_of(object),
                _ => None,
            };
            let planned = node.and_then(|node| Some((node, self.nodes.get("", node)?.planned?)));
            if let Some((node, who)) = planned {
                return Some(format!("{who} takes node/{node} out of service on purpose"));
            }
        }
        objects().find_map(|object| self.quiet.holds(object))
    }
}

/// Whether an owner is gone up to: a Node owns its static pods, and is not what one would act on.
fn is_climbed(kind: Kind) -> bool {
    matches!(kind, Kind::ReplicaSet | Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::Job)
}
