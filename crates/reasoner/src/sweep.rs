use std::sync::Arc;

use evenkeel_model::{EscalationSeverity, Incident, Severity, Span};
use evenkeel_runtime::{BoxError, Shutdown};

use crate::core::Core;
use crate::incidents::ReadError;
use crate::metrics::NeedsHumanLabels;

/// At most so many incidents are named in a metric.
const MAX_NAMED: usize = 100;

/// Incidents closed within this are compared with what their causes know.
const LEFT_LATELY: Span = Span::minutes(15);

/// Looks through all incidents now and then: takes up those whose wake-up was lost, drops those
/// closed long ago, and says how many need a person.
pub(crate) async fn follow(core: Arc<Core>, shutdown: Shutdown) -> Result<(), BoxError> {
    let mut ticks = tokio::time::interval(core.config.sweep.get());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if let Err(error) = once(&core).await {
            tracing::warn!(%error, "the incidents could not be looked through; trying again at the next turn");
        }
    }
}

async fn once(core: &Arc<Core>) -> Result<(), ReadError> {
    let now = core.clock.now();
    let mut open = 0;
    let mut named = Vec::new();
    let mut unnamed = 0;
    for key in core.incidents.keys().await? {
        let found = match core.incidents.get(&key).await {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error @ ReadError::Malformed { .. }) => {
                tracing::warn!(%error, "left alone");
                continue;
            }
            Err(error) => return Err(error),
        };
        let incident = &found.incident;
        if let Some(closed_at) = incident.closed_at {
            if now - closed_at > core.config.keep_closed.chrono() {
                core.incidents.remove(&key, &found).await?;
            } else if now - closed_at < LEFT_LATELY.chrono() {
                // Whoever closed it may have ended before it said so to its causes.
                core.leave_causes(incident).await?;
            }
            continue;
        }
        open += 1;
        if incident.needs_human.is_some() {
            if named.len() < MAX_NAMED {
                named.push(labels(incident));
            } else {
                unnamed += 1;
            }
        }
        let overdue = incident.wake_at.is_some_and(|at| now - at > chrono::Duration::seconds(30));
        if overdue {
            Core::plan_soon(core, key);
        }
    }
    core.metrics.incidents_open.set(open);
    core.metrics.needs_human.clear();
    for labels in named {
        core.metrics.needs_human.get_or_create(&labels).set(1);
    }
    if unnamed > 0 {
        core.metrics.needs_human.get_or_create(&beyond()).set(unnamed);
    }
    Ok(())
}

/// All that are not named, in one series.
fn beyond() -> NeedsHumanLabels {
    NeedsHumanLabels {
        incident: "beyond".to_owned(),
        object: format!("incidents beyond the first {MAX_NAMED}"),
        object_namespace: String::new(),
        severity: Severity::Critical.token(),
    }
}

fn labels(incident: &Incident) -> NeedsHumanLabels {
    NeedsHumanLabels {
        incident: incident.id.clone(),
        object: incident.root.as_ref().map(ToString::to_string).unwrap_or_default(),
        object_namespace: incident.root.as_ref().and_then(|root| root.namespace.clone()).unwrap_or_default(),
        // Whoever called people said how loud; alerts are routed by this.
        severity: match incident.called {
            Some(EscalationSeverity::Page) => Severity::Critical,
            Some(EscalationSeverity::Ticket) => Severity::Warning,
            None => incident.firing().map(|signal| signal.severity).max().unwrap_or(Severity::Info),
        }
        .token(),
    }
}
