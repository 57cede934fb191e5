//! What the API server itself recorded: who changed the Deployment.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::narrator::{Event, Tone};

/// A request of ours that changed something, or would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) at: DateTime<Utc>,
    pub(super) verb: String,
    pub(super) is_dry_run: bool,
    /// Without `system:serviceaccount:`.
    pub(super) who: String,
    pub(super) code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Option<Status>,
    request_received_timestamp: DateTime<Utc>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

impl Write {
    pub(super) fn event(&self) -> Event {
        let how = if self.is_dry_run { "as a dry run" } else { "for real" };
        let text = format!("{} by {}, {how}: answered with {}", self.verb, self.who, self.code);
        Event { at: self.at, who: "audit", tone: Tone::Plain, text, more: Vec::new() }
    }
}

/// The engine's mutating requests on an object, in order.
pub(super) fn writes(log: &Path, resource: &str, namespace: &str, name: &str) -> Result<Vec<Write>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    Ok(of(&text, resource, namespace, name))
}

fn of(log: &str, resource: &str, namespace: &str, name: &str) -> Vec<Write> {
    // A last line may still be in the writing.
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    let ours = entries.filter_map(|entry| {
        let who = entry.user.username.strip_prefix("system:serviceaccount:evenkeel:")?.to_owned();
        let object = entry.object_ref.unwrap_or_default();
        let is_it = object.resource == resource && object.namespace == namespace && object.name == name;
        let mutates = matches!(entry.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        (is_it && mutates).then(|| Write {
            at: entry.request_received_timestamp,
            is_dry_run: entry.uri.contains("dryRun=All"),
            verb: entry.verb,
            who,
            code: entry.response_status.map_or(0, |status| status.code),
        })
    });
    ours.collect()
}

/// Whether it was tried once, and then done once.
pub(super) fn check(writes: &[Write]) -> Result<()> {
    let found: Vec<(bool, u16)> = writes.iter().map(|write| (write.is_dry_run, write.code)).collect();
    ensure!(
        found == [(true, 200), (false, 200)],
        "expected one dry-run and one request in the audit log, both answered with 200, found {writes:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_changes_of_the_object_count() {
        let line = |user: &str, verb: &str, name: &str, query: &str| {
            format!(
                r#"{{"verb": "{verb}", "requestURI": "/apis/apps/v1/x{query}", "user": {{"username": "{user}"}},
                "objectRef": {{"resource": "deployments", "namespace": "shop", "name": "{name}"}},
                "responseStatus": {{"code": 200}}, "requestReceivedTimestamp": "2026-11-21T04:00:00.000001Z"}}"#
            )
            .replace('\n', "")
        };
        let gateway = "system:serviceaccount:evenkeel:evenkeel-gateway";
        let log = [
            line("admin", "patch", "cart", ""),
            line(gateway, "get", "cart", ""),
            line(gateway, "patch", "cart", "?dryRun=All"),
            line(gateway, "patch", "other", ""),
            line(gateway, "patch", "cart", ""),
            r#"{"verb": "pat"#.to_owned(),
        ];
        let found = of(&log.join("\n"), "deployments", "shop", "cart");
        check(&found).unwrap();
        assert_eq!(found[1].who, "evenkeel-gateway");
        assert!(check(&found[1..]).is_err());
    }
}
