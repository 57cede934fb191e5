use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{self as core, ContainerStatus};

use super::slim::{Condition, Kept, Meta, Status, short, time};

/// What is kept of a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) meta: Meta,
    pub(crate) phase: Phase,
    pub(crate) node: Option<Box<str>>,
    pub(crate) ready: Option<Condition>,
    /// Whether it was ready at any time since we know it.
    pub(crate) was_ready: bool,
    pub(crate) scheduled: Option<Condition>,
    /// Init containers first.
    pub(crate) containers: Box<[Container]>,
    /// `pod-template-hash` or `controller-revision-hash`.
    pub(crate) revision: Option<Box<str>>,
}

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

/// What is kept of a container's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: Box<str>,
    pub(crate) restarts: i32,
    pub(crate) state: State,
    pub(crate) last: Option<Ended>,
    /// It was held back for crashing, and has not been seen to run for long since.
    pub(crate) looped: bool,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { reason: Box<str>, message: Box<str> },
    Running { since: DateTime<Utc> },
    Ended(Ended),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) reason: Box<str>,
    pub(crate) exit_code: i32,
    pub(crate) since: DateTime<Utc>,
    pub(crate) at: DateTime<Utc>,
}

impl Pod {
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.is(Status::True))
    }

    /// Succeeded or Failed: nothing runs or will.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    pub(crate) fn restarts(&self) -> i32 {
        self.containers.iter().map(|container| container.restarts).sum()
    }

    pub(super) fn keep(full: core::Pod, old: Option<&Self>) -> Self {
        let spec = full.spec.unwrap_or_default();
        let status = full.status.unwrap_or_default();
        let condition = |name: &str| {
            let all = status.conditions.as_deref().unwrap_or_default();
            all.iter().find(|it| it.type_ == name).map(|it| {
                let since = it.last_transition_time.as_ref();
                Condition::new(&it.status, since, it.reason.as_deref(), it.message.as_deref(), Status::True)
            })
        };
        let statuses = |of: &Option<Vec<ContainerStatus>>| -> Vec<Container> {
            let old = old.map(|old| &*old.containers).unwrap_or_default();
            of.as_deref().unwrap_or_default().iter().map(|status| container(status, old)).collect()
        };
        let mut containers = statuses(&status.init_container_statuses);
        containers.extend(statuses(&status.container_statuses));
        let labels = full.metadata.labels.as_ref();
        let revision = ["pod-template-hash", "controller-revision-hash"].iter().find_map(|name| labels?.get(*name));
        let meta = Meta::of(&full.metadata);
        let ready = condition("Ready");
        let was_ready = ready.as_ref().is_some_and(|ready| ready.is(Status::True))
            || old.is_some_and(|old| old.was_ready && old.meta.uid == meta.uid);
        Self {
            phase: match status.phase.as_deref() {
                Some("Pending") => Phase::Pending,
                Some("Running") => Phase::Running,
                Some("Succeeded") => Phase::Succeeded,
                Some("Failed") => Phase::Failed,
                _ => Phase::Unknown,
            },
            node: spec.node_name.filter(|name| !name.is_empty()).map(Into::into),
            was_ready,
            scheduled: condition("PodScheduled"),
            ready,
            containers: containers.into(),
            revision: revision.map(|hash| hash.as_str().into()),
            meta,
        }
    }
}

fn container(status: &ContainerStatus, old: &[Container]) -> Container {
    let ended = |state: &core::ContainerStateTerminated| Ended {
        reason: state.reason.as_deref().unwrap_or_default().into(),
        exit_code: state.exit_code,
        since: state.started_at.as_ref().map(time).unwrap_or_default(),
        at: state.finished_at.as_ref().map(time).unwrap_or_default(),
    };
    let state = status.state.as_ref();
    let state = if let Some(running) = state.and_then(|state| state.running.as_ref()) {
        State::Running { since: running.started_at.as_ref().map(time).unwrap_or_default() }
    } else if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
        State::Ended(ended(terminated))
    } else {
        // Kubernetes: none set means waiting.
        let waiting = state.and_then(|state| state.waiting.as_ref());
        State::Waiting {
            reason: waiting.and_then(|it| it.reason.as_deref()).unwrap_or_default().into(),
            message: waiting.and_then(|it| it.message.as_deref()).map(short).unwrap_or_default(),
        }
    };
    let crash_loop = matches!(&state, State::Waiting { reason, .. } if &**reason == "CrashLoopBackOff");
    let old = old.iter().find(|old| *old.name == *status.name);
    Container {
        looped: crash_loop || old.is_some_and(|old| old.looped && old.restarts <= status.restart_count),
        name: status.name.as_str().into(),
        restarts: status.restart_count,
        state,
        last: status.last_state.as_ref().and_then(|last| last.terminated.as_ref()).map(ended),
    }
}

impl Kept for Pod {
    fn meta(&self) -> &Meta {
        &self.meta
    }
}
