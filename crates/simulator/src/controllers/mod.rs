//! The controllers, one file each. They see the whole cluster, are level-triggered and synchronous:
//! what they do depends on the objects, the time and the seed alone.

mod changes;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod events;
mod garbage_collector;
mod hash;
mod hpa;
mod job;
mod kubelet;
mod namespaces;
mod node_lifecycle;
mod pods;
mod queue;
mod quota;
mod recorder;
mod replica_set;
mod revisions;
mod scheduler;
mod selector;
#[cfg(test)]
mod stage;
mod stateful_set;
#[cfg(test)]
mod stories;
mod unmodelled;
mod volumes;

pub(crate) use kubelet::{Asked, PodLife, is_met, program, running_since};
pub(crate) use recorder::{Note, Recorded};
pub(crate) use unmodelled::refuse as refuse_unmodelled;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::api::{By, Deletion, Part, Written};
use crate::state::State;
use crate::store::Key;
use crate::value;

/// A controller of the cluster.
pub(crate) trait Controller: Send + std::fmt::Debug {
    /// Its name: the user it is, `system:serviceaccount:kube-system:<name>`, and the source of its events.
    fn name(&self) -> &'static str;

    /// The resources whose changes wake it.
    fn watches(&self) -> &'static [&'static str];

    /// Brings the cluster a step nearer to what it should be. Gives when it wants to look again although
    /// nothing changed. Must be idempotent: called twice at one instant, the second time changes nothing.
    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>>;
}

/// All of them, in the order in which they take their turns.
pub(crate) fn all() -> Vec<Box<dyn Controller>> {
    vec![
        Box::<cron_job::CronJobs>::default(),
        Box::<job::Jobs>::default(),
        Box::<job::ttl::TimeToLive>::default(),
        Box::<deployment::Deployments>::default(),
        Box::<replica_set::ReplicaSets>::default(),
        Box::<stateful_set::StatefulSets>::default(),
        Box::<daemon_set::DaemonSets>::default(),
        Box::<disruption::Disruptions>::default(),
        Box::<garbage_collector::GarbageCollector>::default(),
        Box::<namespaces::Namespaces>::default(),
        Box::<volumes::Volumes>::default(),
        Box::<scheduler::Scheduler>::default(),
        Box::<kubelet::Kubelets>::default(),
        Box::<node_lifecycle::NodeLifecycle>::default(),
        Box::<endpoints::Endpoints>::default(),
        Box::<quota::Quotas>::default(),
        Box::<hpa::Autoscaler>::default(),
        Box::<recorder::Expiry>::default(),
        // Last, so that it sees what the others have done.
        Box::new(crate::prometheus::Watcher),
    ]
}

/// The cluster as a controller has it.
pub(crate) struct Cluster<'a> {
    pub(crate) state: &'a mut State,
    name: &'static str,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(state: &'a mut State, name: &'static str) -> Self {
        Self { state, name }
    }

    fn user(&self) -> String {
        format!("system:serviceaccount:kube-system:{}", self.name)
    }

    /// The time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.state.now()
    }

    /// All objects of a resource, `pods` or `deployments.apps`, by namespace and name.
    pub(crate) fn list(&self, resource: &str) -> Vec<Arc<Value>> {
        self.state.store.of(&resource.into()).map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The objects of a resource in a namespace, by name.
    pub(crate) fn list_in(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        self.state.store.within(&resource.into(), namespace).map(|(_, object)| Arc::clone(object)).collect()
    }

    /// An object.
    pub(crate) fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.state.store.get(&Key::new(resource, namespace, name)).cloned()
    }

    /// Creates an object in the namespace it names.
    pub(crate) fn create(&mut self, resource: &str, object: Value) -> Written {
        let user = self.user();
        let by = By { user: &user, manager: "kube-controller-manager", dry_run: false };
        let namespace = value::namespace(&object).to_owned();
        self.state.create(by, &resource.into(), &namespace, object)
    }

    /// Replaces an object; its resourceVersion must still be the one that was read.
    pub(crate) fn update(&mut self, resource: &str, object: Value) -> Written {
        self.replace(resource, Part::Main, object)
    }

    /// Replaces an object's status.
    pub(crate) fn update_status(&mut self, resource: &str, object: Value) -> Written {
        self.replace(resource, Part::Status, object)
    }

    fn replace(&mut self, resource: &str, part: Part, object: Value) -> Written {
        let user = self.user();
        let by = By { user: &user, manager: "kube-controller-manager", dry_run: false };
        let key = Key::new(resource, value::namespace(&object), value::name(&object));
        self.state.replace(by, &key, part, object)
    }

    /// Deletes an object in the background, if it is still this one.
    pub(crate) fn delete(&mut self, resource: &str, object: &Value, grace: Option<i64>) -> Written {
        let user = self.user();
        let by = By { user: &user, manager: "kube-controller-manager", dry_run: false };
        let key = Key::new(resource, value::namespace(object), value::name(object));
        let how = Deletion { uid: Some(value::uid(object).to_owned()), grace, ..Deletion::default() };
        self.state.delete(by, &key, &how)
    }
}
