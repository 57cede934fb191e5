//! A pod's status, told from what its containers do.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::container::{Container, Doing, Ended};
use super::image;
use super::pod::PodLife;
use crate::value::{at, integer, items, rfc3339, text};

/// The status that the kubelet writes, given the one that is there.
pub(crate) fn status(life: &PodLife, pod: &Value, host: &str, now: DateTime<Utc>) -> Value {
    let old = at(pod, "/status");
    let phase = phase(life, pod);
    let generation = integer(pod, "/metadata/generation").unwrap_or(1);
    let mut status = Map::new();
    // What others put there stays.
    for field in ["nominatedNodeName", "message", "reason"] {
        if let Some(value) = old.get(field) {
            status.insert(field.to_owned(), value.clone());
        }
    }
    let mut put = |field: &str, value: Value| drop(status.insert(field.to_owned(), value));
    put("observedGeneration", json!(generation));
    put("phase", json!(phase));
    put("conditions", conditions(life, pod, phase, generation, now));
    put("hostIP", json!(host));
    put("hostIPs", json!([{"ip": host}]));
    put("startTime", rfc3339(life.started));
    put("qosClass", json!(qos(pod)));
    if !life.ip.is_empty() {
        put("podIP", json!(life.ip));
        put("podIPs", json!([{"ip": life.ip}]));
    }
    let of = |init: bool| -> Vec<Value> {
        let ours = life.containers.iter().filter(|container| container.init == init);
        ours.map(|container| container_status(life, container, pod)).collect()
    };
    let (init, main) = (of(true), of(false));
    if !init.is_empty() {
        put("initContainerStatuses", Value::Array(init));
    }
    put("containerStatuses", Value::Array(main));
    if let Some((reason, message)) = &life.evicted {
        put("reason", json!(reason));
        put("message", json!(message));
    }
    Value::Object(status)
}

/// As the kubelet's getPhase does.
fn phase(life: &PodLife, pod: &Value) -> &'static str {
    if life.evicted.is_some() {
        return "Failed";
    }
    let policy = text(pod, "/spec/restartPolicy");
    for container in life.containers.iter().filter(|container| container.init && !container.sidecar) {
        if container.has_completed() {
            continue;
        }
        let over = matches!(container.doing, Doing::Over { .. });
        let failed = over && container.ended.as_ref().is_some_and(|ended| ended.code != 0);
        return if failed && (policy == "Never" || life.ending.is_some()) { "Failed" } else { "Pending" };
    }
    let starting =
        |container: &&Container| container.init && container.sidecar && !container.started && container.attempts == 0;
    if life.containers.iter().any(|container| starting(&container)) && life.ending.is_none() {
        return "Pending";
    }
    let mut running = 0;
    let mut waiting = 0;
    let mut stopped = 0;
    let mut succeeded = 0;
    for container in life.containers.iter().filter(|container| !container.init) {
        match &container.doing {
            Doing::Running { .. } => running += 1,
            _ => match &container.ended {
                Some(ended) => {
                    stopped += 1;
                    let over = matches!(container.doing, Doing::Over { .. });
                    succeeded += i32::from(over && ended.code == 0);
                }
                None => waiting += 1,
            },
        }
    }
    let all_well = stopped == succeeded;
    match () {
        () if waiting > 0 => "Pending",
        () if running > 0 => "Running",
        () if life.ending.is_some() => {
            if all_well {
                "Succeeded"
            } else {
                "Failed"
            }
        }
        () if policy == "Always" || policy.is_empty() => "Running",
        () if all_well => "Succeeded",
        () if policy == "Never" => "Failed",
        () => "Running",
    }
}

struct Condition {
    of: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
}

fn conditions(life: &PodLife, pod: &Value, phase: &str, generation: i64, now: DateTime<Utc>) -> Value {
    let well = |of| Condition { of, status: true, reason: "", message: String::new() };
    let ill = |of, reason, message: String| Condition { of, status: false, reason, message };
    let names = |of: Vec<&Container>| of.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" ");
    let uninitialized: Vec<&Container> = life
        .containers
        .iter()
        .filter(|it| it.init && if it.sidecar { !it.started } else { !it.has_completed() })
        .collect();
    let mut initialized = if uninitialized.is_empty() || life.containers.iter().any(|it| !it.init && it.attempts > 0) {
        well("Initialized")
    } else {
        let message = format!("containers with incomplete status: [{}]", names(uninitialized));
        ill("Initialized", "ContainersNotInitialized", message)
    };
    let unready: Vec<&Container> = life.containers.iter().filter(|it| (!it.init || it.sidecar) && !it.ready).collect();
    let containers_ready = match phase {
        "Succeeded" => ill("ContainersReady", "PodCompleted", String::new()),
        "Failed" => ill("ContainersReady", "PodFailed", String::new()),
        _ if unready.is_empty() => well("ContainersReady"),
        _ => {
            let message = format!("containers with unready status: [{}]", names(unready));
            ill("ContainersReady", "ContainersNotReady", message)
        }
    };
    if phase == "Succeeded" {
        initialized.reason = "PodCompleted";
    }
    let ready = Condition { of: "Ready", message: containers_ready.message.clone(), ..containers_ready };
    let ready = gates(pod).filter(|_| ready.status).unwrap_or(ready);
    let sandbox = Condition { status: life.has_sandbox(), ..well("PodReadyToStartContainers") };
    let all = [sandbox, initialized, ready, containers_ready, well("PodScheduled")];
    let old = items(pod, "/status/conditions");
    let mut list: Vec<Value> = all.iter().map(|condition| condition.value(old, generation, now)).collect();
    // Other controllers' conditions stay: DisruptionTarget, readiness gates.
    list.extend(old.iter().filter(|other| all.iter().all(|ours| ours.of != text(other, "/type"))).cloned());
    Value::Array(list)
}

/// Readiness gates that keep the pod from being ready.
fn gates(pod: &Value) -> Option<Condition> {
    let conditions = items(pod, "/status/conditions");
    let messages: Vec<String> = items(pod, "/spec/readinessGates")
        .iter()
        .filter_map(|gate| {
            let wanted = text(gate, "/conditionType");
            match conditions.iter().find(|condition| text(condition, "/type") == wanted) {
                None => Some(format!("corresponding condition of pod readiness gate \"{wanted}\" does not exist.")),
                Some(found) if text(found, "/status") != "True" => {
                    let status = text(found, "/status");
                    Some(format!("the status of pod readiness gate \"{wanted}\" is not \"True\", but {status}"))
                }
                Some(_) => None,
            }
        })
        .collect();
    let message = messages.join(", ");
    (!messages.is_empty()).then_some(Condition {
        of: "Ready",
        status: false,
        reason: "ReadinessGatesNotReady",
        message,
    })
}

impl Condition {
    fn value(&self, old: &[Value], generation: i64, now: DateTime<Utc>) -> Value {
        let status = if self.status { "True" } else { "False" };
        let before = old.iter().find(|old| text(old, "/type") == self.of).filter(|old| text(old, "/status") == status);
        let since = before.map(|before| at(before, "/lastTransitionTime").clone()).filter(|since| !since.is_null());
        let mut value = json!({
            "type": self.of, "status": status, "lastProbeTime": null,
            "lastTransitionTime": since.unwrap_or_else(|| rfc3339(now)), "observedGeneration": generation,
        });
        if let Some(map) = value.as_object_mut() {
            if !self.reason.is_empty() {
                map.insert("reason".to_owned(), json!(self.reason));
            }
            if !self.message.is_empty() {
                map.insert("message".to_owned(), json!(self.message));
            }
        }
        value
    }
}

fn container_status(life: &PodLife, container: &Container, pod: &Value) -> Value {
    let spec = items(pod, &format!("/spec/{}", container.list())).get(container.place).unwrap_or(&Value::Null);
    let waiting = |reason: &str, message: &str| {
        let mut waiting = json!({"reason": reason});
        if let (false, Some(map)) = (message.is_empty(), waiting.as_object_mut()) {
            map.insert("message".to_owned(), json!(message));
        }
        json!({"waiting": waiting})
    };
    let (state, last) = match &container.doing {
        Doing::Nothing | Doing::Pulling { .. } => {
            // Main containers wait for init containers; these for each other.
            let initializing = life.containers.iter().any(|it| it.init);
            let reason = if initializing { "PodInitializing" } else { "ContainerCreating" };
            (waiting(reason, ""), container.ended.as_ref())
        }
        Doing::Held { reason, message, .. } => (waiting(reason, message), container.ended.as_ref()),
        Doing::Running { since, .. } => (json!({"running": {"startedAt": rfc3339(*since)}}), container.before.as_ref()),
        Doing::Over { .. } => (container.ended.as_ref().map_or(Value::Null, terminated), container.before.as_ref()),
    };
    let image = text(spec, "/image");
    let mut status = json!({
        "name": container.name,
        "image": if container.image_id.is_empty() { image.to_owned() } else { image::full(image) },
        "imageID": container.image_id,
        "ready": container.ready,
        "started": container.started,
        "restartCount": container.restarts(),
        "state": state,
        "lastState": last.map_or_else(|| json!({}), terminated),
        "resources": spec.get("resources").cloned().unwrap_or_else(|| json!({})),
    });
    if let (false, Some(map)) = (container.id.is_empty(), status.as_object_mut()) {
        map.insert("containerID".to_owned(), json!(container.id));
    }
    if let (true, Some(map)) = (container.has_completed() && container.init, status.as_object_mut()) {
        map.insert("ready".to_owned(), json!(true));
    }
    status
}

fn terminated(ended: &Ended) -> Value {
    let mut state = json!({
        "exitCode": ended.code, "reason": ended.reason, "finishedAt": rfc3339(ended.at), "containerID": ended.id,
        "startedAt": ended.started.map_or_else(|| json!("1970-01-01T00:00:00Z"), rfc3339),
    });
    if let (Some(message), Some(map)) = (&ended.message, state.as_object_mut()) {
        map.insert("message".to_owned(), json!(message));
    }
    json!({"terminated": state})
}

/// The pod's quality of service class.
pub(crate) fn qos(pod: &Value) -> &'static str {
    let containers = items(pod, "/spec/initContainers").iter().chain(items(pod, "/spec/containers"));
    let mut any = false;
    let mut guaranteed = true;
    for container in containers {
        for resource in ["cpu", "memory"] {
            let of = |part: &str| at(container, &format!("/resources/{part}/{resource}")).clone();
            let (request, limit) = (of("requests"), of("limits"));
            any |= !request.is_null() || !limit.is_null();
            guaranteed &= !limit.is_null() && (request.is_null() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
