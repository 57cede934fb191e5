//! One line for each thing that happened, in order of time: what two runs of one seed are compared by.

use chrono::{DateTime, Utc};
use evenkeel_simulator::Simulator;

use super::report::RunReport;
use crate::engine;

/// All lines of a run.
pub(crate) fn lines(report: &RunReport, simulator: &Simulator) -> Vec<String> {
    let mut lines: Vec<(DateTime<Utc>, u8, String)> = Vec::new();
    let mut add = |at: DateTime<Utc>, order: u8, line: String| lines.push((at, order, line));
    for event in &report.events {
        add(event.at, 0, format!("event {}", event.what));
    }
    for health in &report.health {
        for point in &health.points {
            let well = if point.well { "well" } else { "not well" };
            add(point.at, 1, format!("health {} {}/{} {well}", health.object, point.available, point.desired));
        }
    }
    for signal in &report.signals {
        let target = signal.target.as_deref().unwrap_or("-");
        let line = format!("signal {:?} {} {:?} {target} {}", signal.source, signal.name, signal.state, signal.summary);
        add(signal.at, 2, line);
    }
    for proposed in &report.proposals {
        let line = format!(
            "proposal {} {} {} by {}: {}",
            proposed.remediation, proposed.action, proposed.target, proposed.step, proposed.rationale
        );
        add(proposed.at, 3, line);
    }
    let mut requests = 0_u64;
    for entry in simulator.log().iter().filter(|entry| entry.user.starts_with("system:serviceaccount:evenkeel:")) {
        requests += 1;
        let plane = entry.user.strip_prefix(&format!("system:serviceaccount:{}:evenkeel-", engine::NAMESPACE));
        let dry = if entry.dry_run { " (dry run)" } else { "" };
        let line = format!(
            "request {} {} {}/{}/{} {}{dry} {}",
            plane.unwrap_or(&entry.user),
            entry.verb,
            entry.key.resource,
            entry.key.namespace,
            entry.key.name,
            entry.subresource,
            entry.code
        );
        add(entry.at, 4, line);
    }
    for remediation in &report.remediations {
        for phase in &remediation.phases {
            let line = format!("phase {} {} {}", remediation.name, phase.phase, phase.reason);
            add(phase.at, 5, line);
        }
    }
    lines.sort_by_key(|line| (line.0, line.1));
    let mut lines: Vec<String> =
        lines.into_iter().map(|(at, _, line)| format!("{} {line}", at.format("%H:%M:%S%.3f"))).collect();
    lines.push(format!("end {requests} writes {} requests", report.requests));
    lines.extend(report.violations.iter().map(|violation| format!("violation {violation}")));
    lines
}
