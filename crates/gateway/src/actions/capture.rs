//! What a delete or restart would destroy, kept beforehand: states, the end of the log, events.
//! Bounded in time and size, redacted; that it could not be had is noted, and stops nothing.

use std::time::Duration;

use evenkeel_model::{Pod, Snapshot};
use evenkeel_runtime::redact;
use k8s_openapi::api::core::v1 as core;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client};

/// For each question, of which two are asked one after the other: a node that is gone does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
const LOG_LINES: i64 = 40;
const LOG_BYTES: i64 = 16 * 1024;
const EVENTS: usize = 10;
/// Bytes of a line that are kept.
const LINE: usize = 500;
/// Bytes that are kept at most.
const ALL: usize = 16 * 1024;

/// Of the worst pod of a snapshot, or of the pod it is of.
pub(super) async fn capture(client: &Client, snapshot: &Snapshot) -> Vec<String> {
    let Some(pod) = snapshot.pod.as_ref().or_else(|| snapshot.pods.first()) else { return Vec::new() };
    let namespace = snapshot.target.namespace.as_deref().unwrap_or_default();
    let pods: Api<core::Pod> = Api::namespaced(client.clone(), namespace);
    let events: Api<core::Event> = Api::namespaced(client.clone(), namespace);
    let (said, happened) = tokio::join!(said(&pods, pod), happened(&events, pod));
    let lines = [vec![state(pod)], said, happened].concat();
    bounded(lines.iter().map(|line| redact::text(line)))
}

fn state(pod: &Pod) -> String {
    let mut text = format!(
        "pod {}: {}, {}ready, {} restarts",
        pod.name,
        pod.phase,
        if pod.ready { "" } else { "not " },
        pod.restarts
    );
    for (what, words) in [("waiting", &pod.waiting), ("ended", &pod.terminated)] {
        if !words.is_empty() {
            text.push_str(&format!(", {what}: {}", words.join(", ")));
        }
    }
    if let Some(node) = &pod.node {
        text.push_str(&format!(", on {node}"));
    }
    text
}

async fn within<T>(question: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(format!("{} {}", status.code, status.message)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {}s", PATIENCE.as_secs())),
    }
}

/// How its containers ended, and what the worst of them logged.
async fn said(pods: &Api<core::Pod>, pod: &Pod) -> Vec<String> {
    match within(pods.get(&pod.name)).await {
        Ok(found) => {
            let statuses = found.status.unwrap_or_default().container_statuses.unwrap_or_default();
            let mut lines: Vec<String> = statuses.iter().filter_map(ended).collect();
            lines.extend(log(pods, pod, worst(&statuses)).await);
            lines
        }
        Err(reason) => vec![format!("last states and log: not to be had: {reason}")],
    }
}

/// How a container ended last, with exit code and message, which a snapshot does not hold.
fn ended(status: &core::ContainerStatus) -> Option<String> {
    let states = [status.state.as_ref(), status.last_state.as_ref()].into_iter().flatten();
    let ended = states.filter_map(|state| state.terminated.as_ref()).next()?;
    let reason = ended.reason.as_deref().unwrap_or_default();
    let message = ended.message.as_deref().map(|it| format!(": {}", it.trim())).unwrap_or_default();
    Some(format!("container {} ended with {} ({reason}){message}", status.name, ended.exit_code))
}

/// The container whose log tells most: one that is not ready, the most often restarted of them.
fn worst(statuses: &[core::ContainerStatus]) -> Option<&core::ContainerStatus> {
    statuses.iter().min_by_key(|status| (status.ready, std::cmp::Reverse(status.restart_count)))
}

async fn log(pods: &Api<core::Pod>, pod: &Pod, container: Option<&core::ContainerStatus>) -> Vec<String> {
    // Between two crashes there is only the log of the one before.
    let waits = container.is_some_and(|it| it.state.as_ref().is_some_and(|state| state.waiting.is_some()));
    let params = LogParams {
        container: container.map(|it| it.name.clone()),
        previous: waits && container.is_some_and(|it| it.restart_count > 0),
        tail_lines: Some(LOG_LINES),
        limit_bytes: Some(LOG_BYTES),
        ..LogParams::default()
    };
    match within(pods.logs(&pod.name, &params)).await {
        // Redacted as a whole: a key spans lines.
        Ok(text) => redact::text(&text).lines().map(|line| format!("log: {line}")).collect(),
        Err(reason) => vec![format!("log: not to be had: {reason}")],
    }
}

async fn happened(events: &Api<core::Event>, pod: &Pod) -> Vec<String> {
    let params = ListParams::default().fields(&format!("involvedObject.uid={}", pod.uid)).limit(100);
    let mut found = match within(events.list(&params)).await {
        Ok(found) => found.items,
        Err(reason) => return vec![format!("events: not to be had: {reason}")],
    };
    let last = |event: &core::Event| event.last_timestamp.as_ref().map(|it| it.0);
    found.sort_by(|a, b| last(b).cmp(&last(a)).then_with(|| a.metadata.name.cmp(&b.metadata.name)));
    let line = |event: &core::Event| {
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        let count = event.count.unwrap_or(1);
        format!("event: {} {} x{count}: {}", of(&event.type_), of(&event.reason), of(&event.message))
    };
    found.iter().take(EVENTS).map(line).collect()
}

fn bounded(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut left = ALL;
    let mut kept = Vec::new();
    for mut line in lines {
        let end = (0..=LINE.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(end);
        if line.len() > left {
            kept.push("… (more was not kept)".to_owned());
            break;
        }
        left -= line.len();
        kept.push(line);
    }
    kept
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::testing::{FakeApi, SHOP};
    use evenkeel_model::Kind;
    use serde_json::json;

    use super::super::testing::read;
    use super::*;

    #[tokio::test]
    async fn the_worst_pods_state_log_and_events_are_kept_and_redacted() {
        let api = FakeApi::new(SHOP);
        api.text("/pods/cart-69f6589c46-hvsh5/log", "starting\npassword=hunter2 refused\n");
        api.put(json!({"kind": "Event", "metadata": {"name": "e", "namespace": "shop"}, "involvedObject": {},
            "type": "Warning", "reason": "BackOff", "message": "Back-off pulling image", "count": 7}));
        let snapshot = read(&api, Kind::Deployment, "cart").await;
        insta::assert_snapshot!(capture(&api.client(), &snapshot).await.join("\n"));
    }

    #[tokio::test]
    async fn of_a_key_that_spans_lines_nothing_is_kept() {
        let api = FakeApi::new(SHOP);
        let snapshot = read(&api, Kind::Deployment, "cart").await;
        for (log, kept) in [
            ("up\n-----BEGIN PRIVATE KEY-----\nMIIEvQ\nQIBAD\n-----END PRIVATE KEY-----\ndown\n", vec!["up", "down"]),
            ("up\n-----BEGIN PRIVATE KEY-----\nMIIEvQ\nQIBAD\n", vec!["up"]),
            ("MIIEvQ\nQIBAD\n-----END PRIVATE KEY-----\ndown\n", vec!["down"]),
        ] {
            api.text("/pods/cart-69f6589c46-hvsh5/log", log);
            let lines = capture(&api.client(), &snapshot).await.join("\n");
            assert!(!lines.contains("MIIEvQ") && !lines.contains("QIBAD"), "{log:?}: {lines}");
            assert!(kept.iter().all(|kept| lines.contains(&format!("log: {kept}"))), "{log:?}: {lines}");
        }
    }

    #[tokio::test]
    async fn what_can_not_be_had_is_noted() {
        let api = FakeApi::new(SHOP);
        let snapshot = read(&api, Kind::Deployment, "cart").await;
        api.fail("/log", 403, "pods/log is forbidden");
        let lines = capture(&api.client(), &snapshot).await;
        assert!(lines.iter().any(|line| line == "log: not to be had: 403 pods/log is forbidden"), "{lines:?}");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let lines = bounded((0..1000).map(|_| "é".repeat(1000)));
        assert!(lines.iter().map(String::len).sum::<usize>() < ALL + 100);
        assert!(lines.last().unwrap().starts_with('…'));
    }
}
