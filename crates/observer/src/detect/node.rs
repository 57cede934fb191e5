use evenkeel_model::Severity;

use super::{Thresholds, Trouble, mark};
use crate::world::{Node, Status};

pub(super) fn troubles(node: &Node, limits: &Thresholds) -> Vec<Trouble> {
    let mut found = Vec::new();
    if node.meta.deleted_at.is_some() {
        return found;
    }
    if !node.is_ready() {
        let ready = node.ready.as_ref();
        let since = ready.map_or(node.meta.created_at, |ready| ready.since);
        // A node that joins is not ready for a while: kubelet, then network.
        let joining = since - node.meta.created_at < chrono::Duration::seconds(30);
        let after = if joining { limits.node_starting } else { limits.node_not_ready };
        let why = ready.map(|ready| match ready.status {
            Status::Unknown => format!("its kubelet is silent: {}", ready.message),
            _ => ready.message.to_string(),
        });
        let summary = format!("not ready: {}", why.unwrap_or_else(|| "it has no Ready condition".to_owned()));
        found.push(Trouble::new("NodeNotReady", Severity::Critical, mark(since), summary).since(since).after(after));
    }
    if let Some(since) = node.pressure.iter().map(|(_, condition)| condition.since).min() {
        let names: Vec<&str> = node.pressure.iter().map(|(name, _)| &**name).collect();
        let summary = names.join(", ");
        found.push(Trouble::new("NodePressure", Severity::Warning, mark(since), summary).since(since));
    }
    let well = node.ready.as_ref().filter(|_| node.is_ready() && node.pressure.is_empty() && node.planned.is_none());
    if let Some(ready) = well.filter(|_| node.cordoned_by_us) {
        let summary = "well again, and still cordoned by evenkeel";
        let trouble = Trouble::new("NodeStillCordoned", Severity::Warning, mark(ready.since), summary);
        found.push(trouble.since(ready.since).after(limits.node_still_cordoned));
    }
    found
}
