//! What happens in a scenario: its timeline, carried out at its times.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use chrono::{DateTime, Utc};
use evenkeel_bus::Trouble;
use evenkeel_model::{ApprovalDecision, ApprovalSpec, Kind, ObjectRef, Phase, Remediation};
use evenkeel_simulator::Simulator;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::manifest::path;
use super::monitoring;
use super::people::{Person, Refused};
use super::report::EventSeen;
use super::trouble::Troubles;
use crate::engine::{Engine, NAMESPACE};
use crate::file::{Alert, AlertState, BusTrouble, Event, KillPod, Nats, Watches};

/// An alert that the webhook took.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) name: String,
    pub(crate) starts_at: DateTime<Utc>,
}

/// Carries events out.
pub(crate) struct Stage {
    pub(crate) simulator: Simulator,
    pub(crate) engine: Arc<Engine>,
    pub(crate) seed: u64,
    pub(crate) troubles: Arc<Troubles>,
    /// Webhook posts that were answered with 200.
    pub(crate) taken: Mutex<Vec<Taken>>,
    pub(crate) seen: Mutex<Vec<EventSeen>>,
    /// Events of the timeline that could not be carried out, and why.
    pub(crate) refused: Mutex<Vec<String>>,
}

impl Stage {
    fn now(&self) -> DateTime<Utc> {
        self.simulator.clock().now()
    }

    pub(crate) fn note(&self, what: String) {
        let at = self.now();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(EventSeen { at, what });
    }

    /// Carries one event out.
    pub(crate) async fn play(&self, event: &Event) {
        self.note(tell(event));
        if let Err(refused) = self.carry_out(event).await {
            // Whoever wrote it meant it to happen: without it, the rest shows something else.
            self.note(format!("refused: {refused}"));
            let what = format!("{} at {} was refused: {refused}", event.what().join(" "), event.at);
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        }
    }

    async fn carry_out(&self, event: &Event) -> Result<(), Refused> {
        let person = Person::new(&self.simulator, event.by.as_deref().unwrap_or("ana"));
        if let Some(set) = &event.set_image {
            let container = set.container.clone().unwrap_or_else(|| set.object.0.name.clone());
            let pod = json!({ "spec": { "containers": [{ "name": container, "image": set.image }] } });
            let pointer = if set.object.0.kind == Kind::CronJob { "jobTemplate" } else { "template" };
            self.set_container(&person, &set.object.0, pointer, &container, &pod).await?;
        }
        if let Some(scale) = &event.scale {
            person.merge(&path(&scale.object.0), &json!({ "spec": { "replicas": scale.replicas } })).await?;
        }
        if let Some(freeze) = &event.thaw {
            person.delete(&format!("/apis/evenkeel.dev/v1alpha1/freezes/{freeze}")).await?;
        }
        if let Some(object) = &event.delete {
            person.delete(&path(&object.0)).await?;
        }
        if let Some(manifest) = &event.apply {
            person.apply(manifest).await?;
        }
        if let Some(patch) = &event.patch {
            let at = path(&patch.object.0);
            if let Some(merge) = &patch.merge {
                person.merge(&at, merge).await?;
            }
            if let Some(json) = &patch.json {
                person.json_patch(&at, json).await?;
            }
        }
        if let Some(annotate) = &event.annotate {
            let annotations = json!({ "metadata": { "annotations": annotate.annotations } });
            person.merge(&path(&annotate.object.0), &annotations).await?;
        }
        for (object, decision) in [(&event.approve, ApprovalDecision::Approve), (&event.deny, ApprovalDecision::Deny)] {
            if let Some(object) = object {
                self.decide(&person, event.by.as_deref().unwrap_or("ana"), &object.0, decision).await?;
            }
        }
        for (object, paused) in [(&event.pause, true), (&event.resume, false)] {
            if let Some(object) = object {
                person.merge(&path(&object.0), &json!({ "spec": { "paused": paused } })).await?;
            }
        }
        if let Some(kill) = &event.kill_pod {
            self.kill_pods(&person, kill).await?;
        }
        for (node, unschedulable) in [(&event.cordon, true), (&event.drain, true), (&event.uncordon, false)] {
            if let Some(node) = node {
                let at = path(&ObjectRef::cluster_scoped(Kind::Node, node.clone()));
                person.merge(&at, &json!({ "spec": { "unschedulable": unschedulable } })).await?;
            }
        }
        if let Some(node) = &event.drain {
            self.drain(&person, node).await?;
        }
        if let Some(alert) = &event.alert {
            self.post(alert).await?;
        }
        if let Some(silence) = &event.silence
            && let Err(reason) = monitoring::silence(&self.simulator, event.by.as_deref().unwrap_or("ana"), silence)
        {
            return Err(Refused::malformed("silence", reason));
        }
        self.trouble(event);
        Ok(())
    }

    /// What the API does not do: power, registries, processes, clocks, the bus.
    fn trouble(&self, event: &Event) {
        if let Some(node) = &event.kill_node {
            self.simulator.power_off(node);
        }
        if let Some(node) = &event.restore_node {
            self.simulator.bring_back(node);
        }
        if let Some(set) = &event.set_image_life {
            self.simulator.set_image(&set.image, set.life.clone());
        }
        if let Some(traffic) = &event.traffic {
            self.simulator.set_rate(monitoring::flow(traffic));
        }
        if let Some(trouble) = &event.api {
            self.troubles.add(trouble.clone());
        }
        if let Some(kill) = &event.kill {
            self.engine.kill(kill.plane, kill.number, kill.on);
        }
        if let Some(nats) = event.nats {
            self.engine.bus().set_away(nats == Nats::Away);
        }
        if let Some(trouble) = &event.bus {
            self.engine.bus().set_trouble(of_bus(trouble, self.seed));
        }
        if let Some(clock) = &event.clock {
            self.engine.skew(clock.plane, clock.seconds);
        }
        if let Some(watches) = event.watches {
            if watches == Watches::Gone {
                self.simulator.compact();
            }
            self.simulator.interrupt_watches();
        }
    }

    async fn set_container(
        &self,
        person: &Person,
        object: &ObjectRef,
        pointer: &str,
        container: &str,
        pod: &Value,
    ) -> Result<(), Refused> {
        let at = path(object);
        let found = person.get(&at).await?.unwrap_or_default();
        let base = if pointer == "jobTemplate" { "/spec/jobTemplate/spec/template" } else { "/spec/template" };
        let containers = found.pointer(&format!("{base}/spec/containers")).and_then(Value::as_array);
        let index = containers.into_iter().flatten().position(|found| found["name"] == container);
        let missing = || Refused::malformed("setImage", format!("{object} has no container {container:?}"));
        let index = index.ok_or_else(missing)?;
        let image = pod.pointer("/spec/containers/0/image").cloned().unwrap_or_default();
        let place = format!("{base}/spec/containers/{index}/image");
        person.json_patch(&at, &json!([{ "op": "replace", "path": place, "value": image }])).await?;
        Ok(())
    }

    fn pods_of(&self, owner: &ObjectRef) -> Vec<ObjectRef> {
        let namespace = owner.namespace.as_deref().unwrap_or_default();
        let begin = format!("{}-", owner.name);
        let owned = |pod: &Value| {
            let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            let named = |name: &str| name == owner.name || name.starts_with(&begin);
            pod.pointer("/metadata/namespace").and_then(Value::as_str) == Some(namespace)
                && pod.pointer("/metadata/deletionTimestamp").is_none()
                && owners.into_iter().flatten().filter_map(|owner| owner["name"].as_str()).any(named)
        };
        self.pods(owned)
    }

    fn pods(&self, meant: impl Fn(&Value) -> bool) -> Vec<ObjectRef> {
        let pods = self.simulator.list("pods");
        let pods = pods.iter().filter(|pod| meant(pod)).filter_map(|pod| {
            let text = |pointer| pod.pointer(pointer).and_then(Value::as_str);
            let (namespace, name) = text("/metadata/namespace").zip(text("/metadata/name"))?;
            Some(ObjectRef::namespaced(Kind::Pod, namespace, name))
        });
        pods.collect()
    }

    /// What `evenkeel approve` and `deny` do: signs what is asked about an object now.
    async fn decide(
        &self,
        person: &Person,
        name: &str,
        object: &ObjectRef,
        decision: ApprovalDecision,
    ) -> Result<(), Refused> {
        let all = self.simulator.list("remediations.evenkeel.dev");
        let all = all.iter().filter_map(|it| serde_json::from_value::<Remediation>((**it).clone()).ok());
        let waits = |it: &Remediation| {
            it.spec.proposal.target.is_same(object)
                && it.status.as_ref().is_some_and(|status| status.phase == Phase::AwaitingApproval)
        };
        let asked = all.filter(waits).find_map(|it| {
            let asked = it.status.as_ref()?.approval.clone()?;
            Some((it.metadata.name.unwrap_or_default(), it.spec.proposal.target.namespace, asked))
        });
        let Some((remediation, namespace, asked)) = asked else {
            self.note(format!("nobody is asked about {object}"));
            return Ok(());
        };
        let spec = ApprovalSpec {
            digest: asked.digest,
            decision,
            tier: asked.tier,
            namespace,
            approver: name.to_owned(),
            groups: Vec::new(),
            reason: "as the scenario says".to_owned(),
            remediation: remediation.clone(),
        };
        let approval = json!({
            "apiVersion": "evenkeel.dev/v1alpha1",
            "kind": "Approval",
            "metadata": { "generateName": format!("{remediation}-"), "namespace": NAMESPACE },
            "spec": spec,
        });
        let path = format!("/apis/evenkeel.dev/v1alpha1/namespaces/{NAMESPACE}/approvals");
        person.post(&path, &approval).await.map(drop)
    }

    async fn kill_pods(&self, person: &Person, kill: &KillPod) -> Result<(), Refused> {
        let pods = self.pods_of(&kill.of.0);
        let count = usize::try_from(kill.count).unwrap_or(usize::MAX);
        for pod in pods.iter().take(count) {
            person.delete(&path(pod)).await?;
        }
        if pods.len() < count {
            let reason = format!("expected {count} pods of {}, found {}", kill.of, pods.len());
            return Err(Refused::malformed("killPod", reason));
        }
        Ok(())
    }

    /// As `kubectl drain --ignore-daemonsets` does: asks again for what a budget holds back.
    async fn drain(&self, person: &Person, node: &str) -> Result<(), Refused> {
        for _ in 0..60 {
            let mut held_back = false;
            let there = self.pods(|pod| {
                let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
                pod.pointer("/spec/nodeName").and_then(Value::as_str) == Some(node)
                    && !owners.into_iter().flatten().any(|owner| owner["kind"] == "DaemonSet")
            });
            for pod in there {
                let eviction = json!({
                    "apiVersion": "policy/v1",
                    "kind": "Eviction",
                    "metadata": { "name": pod.name, "namespace": pod.namespace },
                });
                held_back |= person.post(&format!("{}/eviction", path(&pod)), &eviction).await.is_err();
            }
            if !held_back {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        Ok(())
    }

    async fn post(&self, alert: &Alert) -> Result<(), Refused> {
        let now = self.now();
        let (status, ends_at) = match alert.state {
            AlertState::Firing => ("firing", None),
            AlertState::Resolved => ("resolved", Some(now)),
        };
        let one = json!({
            "status": status,
            "labels": alert.labels,
            "annotations": alert.annotations,
            "startsAt": now,
            "endsAt": ends_at,
            "generatorURL": "",
            "fingerprint": evenkeel_model::short_digest(alert.labels.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]), 16),
        });
        let name = alert.labels.get("alertname").cloned().unwrap_or_default();
        let body = json!({
            "version": "4",
            "groupKey": "{}:{}",
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "evenkeel",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "",
            "alerts": [one],
        });
        self.notify(&body, vec![Taken { name, starts_at: now }]).await
    }

    /// Posts alerts to the observer's webhook, as Alertmanager does: again while it is told to come back.
    ///
    /// # Errors
    /// The webhook says that it is no notification.
    pub(crate) async fn notify(&self, body: &Value, taken: Vec<Taken>) -> Result<(), Refused> {
        for _ in 0..30 {
            if let Some(router) = self.engine.webhook() {
                let request = Request::post("/webhooks/alertmanager").header("content-type", "application/json");
                let request = request.body(Body::from(body.to_string()));
                let request = request.map_err(|error| Refused::malformed("alert", error.to_string()))?;
                let Ok(answer) = router.oneshot(request).await;
                if answer.status().is_success() {
                    self.taken.lock().unwrap_or_else(PoisonError::into_inner).extend(taken);
                    return Ok(());
                }
                if answer.status().is_client_error() {
                    return Err(Refused::malformed("alert", format!("the webhook answered {}", answer.status())));
                }
            }
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        self.note("the webhook took an alert not even after minutes".to_owned());
        Ok(())
    }
}

/// The bus' trouble as the bus has it.
pub(crate) fn of_bus(trouble: &BusTrouble, seed: u64) -> Trouble {
    Trouble {
        seed,
        duplicate: trouble.duplicate,
        delay: trouble.late,
        delay_at_most: trouble.by.map_or(std::time::Duration::from_secs(5), evenkeel_model::Span::get),
        reorder: trouble.reorder,
        redeliver: trouble.redeliver,
        lose_answer: trouble.lose_answer,
    }
}

/// What happens, in words.
pub(crate) fn tell(event: &Event) -> String {
    let by = event.by.as_deref().map(|by| format!("{by}: ")).unwrap_or_default();
    let mut text = Value::from(event.what().join(" ")).as_str().unwrap_or_default().to_owned();
    if let Ok(Value::Object(fields)) = serde_json::to_value(event) {
        let what = fields.iter().find(|(name, _)| !["at", "by"].contains(&name.as_str()));
        if let Some((name, value)) = what {
            text = match value {
                Value::String(value) => format!("{name} {value}"),
                value => format!("{name} {value}"),
            };
        }
    }
    format!("{by}{text}")
}
