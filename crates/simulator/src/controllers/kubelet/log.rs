//! What `pods/log` answers.

use serde_json::Value;

use super::container::{Container, Doing};
use super::pod::PodLife;
use crate::failure::Failure;
use crate::state::State;
use crate::store::Key;
use crate::value::{items, name, text, uid};

/// Which log is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) container: Option<&'a str>,
    /// Of the container before this one.
    pub(crate) previous: bool,
    pub(crate) tail_lines: Option<usize>,
    pub(crate) limit_bytes: Option<usize>,
}

impl State {
    /// The log of a container.
    ///
    /// # Errors
    /// No such pod, no such container, or nothing was logged yet; worded as by the API server.
    pub(crate) fn pod_log(&self, namespace: &str, pod: &str, asked: Asked<'_>) -> Result<String, Failure> {
        let key = Key::new("pods", namespace, pod);
        let object = self.store.get(&key).ok_or_else(|| Failure::not_found(&key))?;
        let container = container(object, asked.container)?;
        let node = text(object, "/spec/nodeName");
        if node.is_empty() {
            return Ok(String::new());
        }
        let waits = |why: &str| Failure::bad_request(format!("container \"{container}\" in pod \"{pod}\" is {why}"));
        let Some(machine) = self.machines.get(node).filter(|machine| machine.is_reachable()) else {
            let host = self.machines.get(node).map(|machine| machine.ip.clone()).unwrap_or_default();
            let url = format!("https://{host}:10250/containerLogs/{namespace}/{pod}/{container}");
            let message = format!("Get \"{url}\": dial tcp {host}:10250: i/o timeout");
            return Err(Failure::new(500, "InternalError", message, Value::Null));
        };
        let life: Option<&PodLife> = machine.pods.get(uid(object));
        let Some(found) = life.and_then(|life| life.containers.iter().find(|it| it.name == container)) else {
            return Err(waits("waiting to start: ContainerCreating"));
        };
        let lines = lines(found, pod, asked.previous, waits)?;
        let from = asked.tail_lines.map_or(0, |tail| lines.len().saturating_sub(tail));
        let mut log: String = lines.iter().skip(from).map(|line| format!("{line}\n")).collect();
        if let Some(limit) = asked.limit_bytes.filter(|limit| *limit < log.len()) {
            let end = (0..=limit).rev().find(|end| log.is_char_boundary(*end)).unwrap_or_default();
            log.truncate(end);
        }
        Ok(log)
    }
}

/// The container that is meant.
fn container(pod: &Value, asked: Option<&str>) -> Result<String, Failure> {
    let names =
        |list: &str| -> Vec<String> { items(pod, list).iter().map(|it| text(it, "/name").to_owned()).collect() };
    let (main, init) = (names("/spec/containers"), names("/spec/initContainers"));
    match asked {
        Some(asked) if main.iter().chain(&init).any(|name| name == asked) => Ok(asked.to_owned()),
        Some(asked) => Err(Failure::bad_request(format!("container {asked} is not valid for pod {}", name(pod)))),
        None => match main.first().filter(|_| main.len() == 1 && init.is_empty()) {
            Some(only) => Ok(only.clone()),
            None => {
                let mut choice = format!("[{}]", main.join(" "));
                if !init.is_empty() {
                    choice = format!("{choice} or one of the init containers: [{}]", init.join(" "));
                }
                let pod = name(pod);
                let message = format!("a container name must be specified for pod {pod}, choose one of: {choice}");
                Err(Failure::bad_request(message))
            }
        },
    }
}

fn lines<'c>(
    container: &'c Container,
    pod: &str,
    previous: bool,
    waits: impl Fn(&str) -> Failure,
) -> Result<&'c [String], Failure> {
    let waiting = matches!(container.doing, Doing::Held { .. } | Doing::Over { .. });
    if previous {
        // While it waits for its next attempt, the one that ended is the previous one.
        if matches!(container.doing, Doing::Held { .. }) && container.ended.is_some() {
            return Ok(&container.log);
        }
        if container.before.is_some() {
            return Ok(&container.previous_log);
        }
        let message = format!("previous terminated container \"{}\" in pod \"{pod}\" not found", container.name);
        return Err(Failure::bad_request(message));
    }
    match &container.doing {
        Doing::Running { .. } => Ok(&container.log),
        _ if waiting && container.ended.is_some() => Ok(&container.log),
        Doing::Held { reason: "ErrImagePull" | "ImagePullBackOff", .. } => {
            Err(waits("waiting to start: trying and failing to pull image"))
        }
        Doing::Held { reason, message, .. } if *reason == "InvalidImageName" => {
            Err(waits(&format!("waiting to start: {message}")))
        }
        Doing::Held { reason, .. } => Err(waits(&format!("waiting to start: {reason}"))),
        _ if container.attempts == 0 && container.init => Err(waits("waiting to start: PodInitializing")),
        _ => Err(waits("waiting to start: ContainerCreating")),
    }
}
