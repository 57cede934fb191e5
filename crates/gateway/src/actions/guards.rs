//! What no action may write, and whose fields are left alone.

use std::collections::BTreeSet;

use evenkeel_cluster::convert::{belongs_to, git_ops_tool};
use evenkeel_model::{Pod, Revision, Snapshot, Workload, Writer};
use serde_json::Value;

/// The tool that owns a field by GitOps, when one does. Where a tool is seen to write the spec, only the
/// fields it writes are its own; where none is (it applies under another name), all are.
pub(crate) fn git_ops_owner(snapshot: &Snapshot, field: impl Fn(&Writer) -> bool) -> Option<&str> {
    let meta = snapshot.meta.as_ref()?;
    let tool = meta.git_ops.as_deref()?;
    let mut theirs = meta.writers.iter().filter(|writer| git_ops_tool(&writer.manager).is_some()).peekable();
    let owns = theirs.peek().is_none() || theirs.any(field);
    owns.then_some(tool)
}

/// The revision of a workload's template as it is now.
pub(super) fn current_revision<'a>(snapshot: &'a Snapshot, workload: &Workload) -> Option<&'a Revision> {
    snapshot.revisions.iter().find(|revision| revision.template_hash == workload.template_hash)
}

/// A pod of the current template that can't start or keeps crashing.
pub(super) fn failing_pod<'a>(snapshot: &'a Snapshot, workload: &Workload) -> Option<&'a Pod> {
    let current = current_revision(snapshot, workload)?;
    snapshot.pods.iter().find(|pod| pod.is_failing() && belongs_to(pod, current))
}

/// What going from one pod template to another would bring in that no action may: another service
/// account, the node's files or namespaces, privilege or capabilities that are not there already.
pub(super) fn brings_in(current: &Value, wanted: &Value) -> Option<String> {
    let (current, wanted) = (current.get("spec").unwrap_or(&Value::Null), wanted.get("spec").unwrap_or(&Value::Null));
    let account = |spec: &Value| {
        let named = spec.get("serviceAccountName").or_else(|| spec.get("serviceAccount"));
        named.and_then(Value::as_str).filter(|it| !it.is_empty()).unwrap_or("default").to_owned()
    };
    if account(current) != account(wanted) {
        return Some(format!("serviceAccountName {} instead of {}", account(wanted), account(current)));
    }
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if is_true(wanted, field) && !is_true(current, field) {
            return Some(format!("{field}, which is not there now"));
        }
    }
    if current.get("hostUsers") == Some(&Value::Bool(false)) && wanted.get("hostUsers") != Some(&Value::Bool(false)) {
        return Some("the node's user namespace, which is not used now".to_owned());
    }
    let there = host_paths(current);
    if let Some(path) = host_paths(wanted).difference(&there).next() {
        return Some(format!("hostPath {path}, which is not there now"));
    }
    if is_host_process(wanted) && !is_host_process(current) {
        return Some("windowsOptions.hostProcess, which is not there now".to_owned());
    }
    containers(wanted).find_map(|(name, container)| {
        let before = containers(current).find(|(it, _)| *it == name).map(|(_, container)| container);
        container_brings_in(name, before.unwrap_or(&Value::Null), container)
    })
}

fn container_brings_in(name: &str, current: &Value, wanted: &Value) -> Option<String> {
    let privileged = |it: &Value| it.pointer("/securityContext/privileged") == Some(&Value::Bool(true));
    if privileged(wanted) && !privileged(current) {
        return Some(format!("privileged in container {name}, which it is not now"));
    }
    if is_host_process(wanted) && !is_host_process(current) {
        return Some(format!("windowsOptions.hostProcess in container {name}, which it has not now"));
    }
    let there = capabilities(current);
    let new = capabilities(wanted).difference(&there).next().cloned()?;
    Some(format!("capability {new} in container {name}, which it has not now"))
}

fn is_true(spec: &Value, field: &str) -> bool {
    spec.get(field) == Some(&Value::Bool(true))
}

fn is_host_process(it: &Value) -> bool {
    it.pointer("/securityContext/windowsOptions/hostProcess") == Some(&Value::Bool(true))
}

fn items<'a>(spec: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    spec.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn containers(spec: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let all = items(spec, "initContainers").chain(items(spec, "containers"));
    all.map(|it| (it.get("name").and_then(Value::as_str).unwrap_or_default(), it))
}

fn host_paths(spec: &Value) -> BTreeSet<String> {
    let paths = items(spec, "volumes").filter_map(|volume| volume.pointer("/hostPath/path")?.as_str());
    paths.map(str::to_owned).collect()
}

fn capabilities(container: &Value) -> BTreeSet<String> {
    let added = container.pointer("/securityContext/capabilities/add").and_then(Value::as_array);
    added.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: Value) -> Value {
        json!({ "spec": spec })
    }

    #[test]
    fn nothing_that_is_forbidden_comes_in() {
        let plain = of(json!({"containers": [{"name": "web"}]}));
        for (spec, expected) in [
            (json!({"serviceAccountName": "admin"}), "serviceAccountName admin instead of default"),
            (json!({"hostNetwork": true}), "hostNetwork"),
            (json!({"hostPID": true}), "hostPID"),
            (json!({"hostIPC": true}), "hostIPC"),
            (json!({"volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}), "hostPath /etc"),
            (
                json!({"containers": [{"name": "web", "securityContext": {"privileged": true}}]}),
                "privileged in container web",
            ),
            (
                json!({"initContainers": [{"name": "i", "securityContext": {"privileged": true}}]}),
                "privileged in container i",
            ),
            (
                json!({"containers": [{"name": "web", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]}),
                "capability SYS_ADMIN in container web",
            ),
            (json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}), "hostProcess"),
        ] {
            let wanted = of(spec);
            let found = brings_in(&plain, &wanted).unwrap_or_default();
            assert!(found.contains(expected), "{wanted}: {found}");
            assert_eq!(brings_in(&wanted, &wanted), None, "{wanted}: what is there already stays");
            let going = brings_in(&wanted, &plain);
            assert!(going.is_none() || expected.contains("serviceAccountName"), "{wanted}: {going:?}");
        }
    }

    #[test]
    fn a_privilege_does_not_move_to_another_container() {
        let privileged =
            |name: &str| of(json!({"containers": [{"name": name, "securityContext": {"privileged": true}}]}));
        assert!(brings_in(&privileged("side"), &privileged("web")).is_some());
    }

    #[test]
    fn the_nodes_user_namespace_is_not_given_back() {
        assert!(brings_in(&of(json!({"hostUsers": false})), &of(json!({}))).is_some());
        assert_eq!(brings_in(&of(json!({})), &of(json!({"hostUsers": false}))), None);
    }
}
