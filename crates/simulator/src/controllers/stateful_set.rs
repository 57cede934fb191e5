//! StatefulSets: pods with names that stay, made and updated in order.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::pods::{self, Status};
use super::queue::{self, Queue};
use super::{Cluster, Controller, revisions};
use crate::failure::Failure;
use crate::value::{at, integer, is_terminating, items, name, namespace, set, text};

const RESOURCE: &str = "statefulsets.apps";
const WATCHED: &[&str] = &[RESOURCE, "pods", revisions::RESOURCE];
const CLAIMS: &str = "persistentvolumeclaims";
const REVISION_HASH: &str = "controller.kubernetes.io/hash";

/// The StatefulSet controller.
#[derive(Debug, Default)]
pub(crate) struct StatefulSets {
    queue: Queue,
}

impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self) -> &'static [&'static str] {
        WATCHED
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let concerns = |cluster: &Cluster<'_>, seen: queue::Seen<'_>, keys: &mut _| {
            if seen.is("pods") || seen.is(revisions::RESOURCE) {
                queue::owners(cluster, seen, (RESOURCE, "StatefulSet"), keys);
            }
        };
        self.queue.run(cluster, WATCHED, concerns, |cluster, set| {
            let pods = pods::claimed(cluster, set, |pod| ordinal(set, pod).is_some())?;
            let mut owned = revisions::owned(cluster, set);
            let update = revisions::current(cluster, set, &mut owned, REVISION_HASH)?;
            let current = text(set, "/status/currentRevision");
            let current = owned.iter().find(|revision| name(revision) == current).unwrap_or(&update).clone();
            let update_name = name(&update).to_owned();
            let mut sync = Sync { set, current, update };
            let worked = if is_terminating(set) { Ok(()) } else { sync.work(cluster, pods) };
            let (next, pods) = sync.write_status(cluster)?;
            let lives = revisions::of_pods(pods.iter().map(|pod| &**pod));
            let current = name(&sync.current);
            revisions::truncate(cluster, set, &owned, |revision| {
                let name = name(revision);
                name == update_name || name == current || lives.contains(name)
            })?;
            worked.map(|()| next)
        })
    }
}

/// The ordinal of a pod of the set.
fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    let (parent, ordinal) = name(pod).rsplit_once('-')?;
    (parent == name(set)).then(|| ordinal.parse().ok()).flatten()
}

fn is_running_and_ready(pod: &Value) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod)
}

struct Sync<'s> {
    set: &'s Value,
    /// The revision that the pods had before the update.
    current: Value,
    /// The revision that they are to have.
    update: Value,
}

/// When the next pod becomes available, and the pods that were counted.
type Counted = (Option<DateTime<Utc>>, Vec<Arc<Value>>);

/// Whether to stop here and wait.
type Stop = Result<bool, Failure>;

impl Sync<'_> {
    fn start(&self) -> i64 {
        integer(self.set, "/spec/ordinals/start").unwrap_or(0)
    }

    fn replicas(&self) -> i64 {
        integer(self.set, "/spec/replicas").unwrap_or(1)
    }

    fn is_ordered(&self) -> bool {
        text(self.set, "/spec/podManagementPolicy") != "Parallel"
    }

    fn min_ready(&self) -> i64 {
        integer(self.set, "/spec/minReadySeconds").unwrap_or(0)
    }

    fn partition(&self) -> i64 {
        integer(self.set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0)
    }

    fn work(&self, cluster: &mut Cluster<'_>, all: Vec<Arc<Value>>) -> Result<(), Failure> {
        let range = self.start()..self.start() + self.replicas();
        let mut condemned: Vec<(i64, Arc<Value>)> = Vec::new();
        let mut replicas: Vec<(i64, Option<Arc<Value>>)> = range.clone().map(|ordinal| (ordinal, None)).collect();
        for pod in all {
            let Some(ordinal) = ordinal(self.set, &pod) else { continue };
            match usize::try_from(ordinal - range.start).ok().and_then(|index| replicas.get_mut(index)) {
                Some(place) => place.1 = Some(pod),
                None => condemned.push((ordinal, pod)),
            }
        }
        condemned.sort_by_key(|(ordinal, _)| -ordinal);
        for (ordinal, pod) in &replicas {
            if self.replica(cluster, *ordinal, pod.as_deref())? && self.is_ordered() {
                return Ok(());
            }
        }
        let unhealthy = condemned.iter().rfind(|(_, pod)| !is_running_and_ready(pod) || is_terminating(pod));
        let unhealthy = unhealthy.map(|(ordinal, _)| *ordinal);
        for (ordinal, pod) in &condemned {
            if self.condemned(cluster, pod, unhealthy == Some(*ordinal))? && self.is_ordered() {
                return Ok(());
            }
        }
        if text(self.set, "/spec/updateStrategy/type") == "OnDelete" {
            return Ok(());
        }
        // The highest that is not of the update's revision goes; and no other before all above it are well.
        for (ordinal, pod) in replicas.iter().rev() {
            if *ordinal < self.partition() {
                break;
            }
            let Some(pod) = pod else { return Ok(()) };
            if revisions::of_pod(pod) != name(&self.update) && !is_terminating(pod) {
                return self.delete(cluster, pod);
            }
            if !is_running_and_ready(pod) || is_terminating(pod) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Brings one wanted pod into being. In order, the next waits until this one is well: a set whose pod
    /// never becomes so stays stuck, even when its template is put back (kubernetes/kubernetes#67250).
    fn replica(&self, cluster: &mut Cluster<'_>, ordinal: i64, pod: Option<&Value>) -> Stop {
        let Some(pod) = pod else {
            self.create(cluster, ordinal)?;
            return Ok(true);
        };
        if pods::is_finished(pod) {
            if !is_terminating(pod) {
                let (reason, of, how) = match pods::phase(pod) {
                    "Failed" => ("RecreatingFailedPod", "Warning", "failed"),
                    _ => ("RecreatingTerminatedPod", "Normal", "terminated"),
                };
                let (namespace, set) = (namespace(self.set), name(self.set));
                let message = format!("StatefulSet {namespace}/{set} is recreating {how} Pod {}", name(pod));
                cluster.record(self.set, of, reason, message);
                self.delete(cluster, pod)?;
            }
            return Ok(true);
        }
        let well = is_running_and_ready(pod) && pods::is_available(pod, self.min_ready(), cluster.now());
        Ok(is_terminating(pod) || !well)
    }

    fn condemned(&self, cluster: &mut Cluster<'_>, pod: &Value, is_first_unhealthy: bool) -> Stop {
        if is_terminating(pod) {
            return Ok(true);
        }
        if !is_running_and_ready(pod) && self.is_ordered() && !is_first_unhealthy {
            return Ok(true);
        }
        self.delete(cluster, pod)?;
        Ok(true)
    }

    /// Below the partition pods are of the current revision, the others of the update's.
    fn create(&self, cluster: &mut Cluster<'_>, ordinal: i64) -> Result<(), Failure> {
        let is_rolling = text(self.set, "/spec/updateStrategy/type") != "OnDelete";
        let behind = is_rolling && ordinal < self.start() + self.partition();
        let revision = if behind { &self.current } else { &self.update };
        let pod = self.pod(revision, ordinal);
        let verdict = self.create_claims(cluster, &pod, ordinal).and_then(|()| cluster.create("pods", pod.clone()));
        let (set, pod) = (name(self.set), name(&pod));
        match verdict {
            Ok(_) => {
                let message = format!("Create Pod {pod} in StatefulSet {set} successful");
                cluster.record(self.set, "Normal", "SuccessfulCreate", message);
                Ok(())
            }
            Err(failure) => {
                let message = format!("Create Pod {pod} in StatefulSet {set} failed error: {}", pods::said(&failure));
                cluster.record(self.set, "Warning", "FailedCreate", message);
                Err(failure)
            }
        }
    }

    fn pod(&self, revision: &Value, ordinal: i64) -> Value {
        let mut pod = pods::from_template(&revisions::template(revision), self.set);
        let pod_name = format!("{}-{ordinal}", name(self.set));
        set(&mut pod, "/metadata/generateName", pods::prefix(self.set));
        set(&mut pod, "/metadata/name", json!(pod_name));
        set(&mut pod, "/metadata/labels/statefulset.kubernetes.io~1pod-name", json!(pod_name));
        set(&mut pod, "/metadata/labels/apps.kubernetes.io~1pod-index", json!(ordinal.to_string()));
        set(&mut pod, &format!("/metadata/labels/{}", revisions::HASH_LABEL), json!(name(revision)));
        set(&mut pod, "/spec/hostname", json!(pod_name));
        let service = text(self.set, "/spec/serviceName");
        if !service.is_empty() {
            set(&mut pod, "/spec/subdomain", json!(service));
        }
        let claims = items(self.set, "/spec/volumeClaimTemplates");
        if !claims.is_empty() {
            let claimed = claims.iter().map(|claim| {
                json!({"name": name(claim), "persistentVolumeClaim": {"claimName": self.claim(claim, ordinal)}})
            });
            let own = items(&pod, "/spec/volumes").iter();
            let own = own.filter(|volume| !claims.iter().any(|claim| name(claim) == text(volume, "/name"))).cloned();
            let volumes = Value::Array(claimed.chain(own).collect());
            set(&mut pod, "/spec/volumes", volumes);
        }
        pod
    }

    fn claim(&self, template: &Value, ordinal: i64) -> String {
        format!("{}-{}-{ordinal}", name(template), name(self.set))
    }

    fn create_claims(&self, cluster: &mut Cluster<'_>, pod: &Value, ordinal: i64) -> Result<(), Failure> {
        for template in items(self.set, "/spec/volumeClaimTemplates") {
            let claim_name = self.claim(template, ordinal);
            if cluster.get(CLAIMS, namespace(self.set), &claim_name).is_some() {
                continue;
            }
            let mut claim = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {}, "spec": at(template, "/spec"),
            });
            for field in ["labels", "annotations"] {
                if let Some(found) = template.get("metadata").and_then(|metadata| metadata.get(field)) {
                    set(&mut claim, &format!("/metadata/{field}"), found.clone());
                }
            }
            if let Some(labels) = at(self.set, "/spec/selector/matchLabels").as_object() {
                for (key, value) in labels {
                    set(&mut claim, &format!("/metadata/labels/{}", key.replace('/', "~1")), value.clone());
                }
            }
            set(&mut claim, "/metadata/name", json!(claim_name));
            set(&mut claim, "/metadata/namespace", json!(namespace(self.set)));
            let who = format!("Create Claim {claim_name} Pod {} in StatefulSet {}", name(pod), name(self.set));
            match cluster.create(CLAIMS, claim) {
                Ok(_) => cluster.record(self.set, "Normal", "SuccessfulCreate", format!("{who} success")),
                Err(failure) => {
                    let message = format!("{who} failed error: {}", pods::said(&failure));
                    cluster.record(self.set, "Warning", "FailedCreate", message);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn delete(&self, cluster: &mut Cluster<'_>, pod: &Value) -> Result<(), Failure> {
        let who = format!("Delete Pod {} in StatefulSet {}", name(pod), name(self.set));
        match cluster.delete("pods", pod, None) {
            Ok(_) => {
                cluster.record(self.set, "Normal", "SuccessfulDelete", format!("{who} successful"));
                Ok(())
            }
            Err(failure) if failure.code == 404 => Ok(()),
            Err(failure) => {
                let message = format!("{who} failed error: {}", pods::said(&failure));
                cluster.record(self.set, "Warning", "FailedDelete", message);
                Err(failure)
            }
        }
    }

    /// Counts anew, and closes the update when all pods are of its revision and ready.
    fn write_status(&mut self, cluster: &mut Cluster<'_>) -> Result<Counted, Failure> {
        let pods = pods::claimed(cluster, self.set, |pod| ordinal(self.set, pod).is_some())?;
        let count = |of: &dyn Fn(&Value) -> bool| pods.iter().filter(|pod| of(pod)).count();
        let of = |revision: &Value| count(&|pod| !is_terminating(pod) && revisions::of_pod(pod) == name(revision));
        let ready = count(&is_running_and_ready);
        let updated = of(&self.update);
        let is_rolling = text(self.set, "/spec/updateStrategy/type") != "OnDelete";
        if is_rolling && updated == pods.len() && ready == pods.len() {
            self.current = self.update.clone();
        }
        let running = pods.iter().filter(|pod| pods::phase(pod) == "Running");
        let (available, next) = pods::availability(running, self.min_ready(), cluster.now());
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let mut status = Status::default();
        status
            .count("observedGeneration", integer(self.set, "/metadata/generation").unwrap_or(0))
            .put("replicas", json!(pods.len()))
            .count("readyReplicas", number(ready))
            .count("currentReplicas", number(of(&self.current)))
            .count("updatedReplicas", number(updated))
            .put("availableReplicas", json!(available))
            .put("currentRevision", json!(name(&self.current)))
            .put("updateRevision", json!(name(&self.update)))
            .put("collisionCount", json!(0));
        pods::write_status(cluster, RESOURCE, self.set, status.into_value())?;
        Ok((next, pods))
    }
}

#[cfg(test)]
mod tests;
