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
    if let Some(path) = writable_host_paths(wanted).difference(&writable_host_paths(current)).next() {
        return Some(format!("hostPath {path} to be written to, which is read only now"));
    }
    if let Some(port) = host_ports(wanted).difference(&host_ports(current)).next() {
        return Some(format!("hostPort {port}, which is not there now"));
    }
    containers(wanted).find_map(|(name, container)| {
        let before = containers(current).find(|(it, _)| *it == name).map(|(_, container)| container);
        let before = before.unwrap_or(&Value::Null);
        container_brings_in(name, before, container).or_else(|| loosens(name, (current, before), (wanted, container)))
    })
}

fn container_brings_in(name: &str, current: &Value, wanted: &Value) -> Option<String> {
    if privileged(wanted) && !privileged(current) {
        return Some(format!("privileged in container {name}, which it is not now"));
    }
    if is_host_process(wanted) && !is_host_process(current) {
        return Some(format!("windowsOptions.hostProcess in container {name}, which it has not now"));
    }
    let (there, added) = (capabilities(current, "add"), capabilities(wanted, "add"));
    if let Some(new) = added.difference(&there).next() {
        return Some(format!("capability {new} in container {name}, which it has not now"));
    }
    if privileged(current) {
        return None;
    }
    // What is not dropped any more comes back with the runtime's own set.
    let dropped = capabilities(wanted, "drop");
    let kept = |it: &&String| dropped.contains(*it) || dropped.contains("ALL");
    let back = capabilities(current, "drop").into_iter().find(|it| !kept(&it))?;
    Some(format!("capability {back} in container {name}, which drops it now"))
}

/// What a container is kept from now, by itself or by its pod, and would not be any more.
fn loosens(name: &str, current: (&Value, &Value), wanted: (&Value, &Value)) -> Option<String> {
    if privileged(current.1) {
        return None;
    }
    let of = |(pod, container): (&Value, &Value), field: &str| {
        let at = format!("/securityContext/{field}");
        container.pointer(&at).or_else(|| pod.pointer(&at)).cloned().unwrap_or(Value::Null)
    };
    let goes = |field: &str, kept: &dyn Fn(&Value) -> bool| kept(&of(current, field)) && !kept(&of(wanted, field));
    let comes = |field: &str, bad: &dyn Fn(&Value) -> bool| bad(&of(wanted, field)) && !bad(&of(current, field));
    let is = |value: Value| move |it: &Value| *it == value;
    let confined = |it: &Value| matches!(it.as_str(), Some("RuntimeDefault" | "Localhost"));
    let found = if goes("allowPrivilegeEscalation", &is(Value::Bool(false))) {
        "allowPrivilegeEscalation"
    } else if comes("procMount", &is(Value::from("Unmasked"))) {
        "procMount Unmasked"
    } else if goes("seccompProfile/type", &confined) || comes("seccompProfile/type", &is(Value::from("Unconfined"))) {
        "no seccompProfile"
    } else if goes("appArmorProfile/type", &confined) || comes("appArmorProfile/type", &is(Value::from("Unconfined"))) {
        "no appArmorProfile"
    } else if goes("runAsNonRoot", &is(Value::Bool(true))) || comes("runAsUser", &is(Value::from(0))) {
        "being run as root"
    } else {
        return None;
    };
    Some(format!("{found} in container {name}, which is not so now"))
}

fn privileged(container: &Value) -> bool {
    container.pointer("/securityContext/privileged") == Some(&Value::Bool(true))
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

/// Those that some container mounts without `readOnly`.
fn writable_host_paths(spec: &Value) -> BTreeSet<String> {
    let mounts = containers(spec).flat_map(|(_, container)| items(container, "volumeMounts"));
    let writable: BTreeSet<&str> =
        mounts.filter(|it| !is_true(it, "readOnly")).filter_map(|it| it.get("name")?.as_str()).collect();
    let volumes = items(spec, "volumes")
        .filter(|it| it.get("name").and_then(Value::as_str).is_some_and(|it| writable.contains(it)));
    volumes.filter_map(|volume| volume.pointer("/hostPath/path")?.as_str()).map(str::to_owned).collect()
}

fn host_ports(spec: &Value) -> BTreeSet<String> {
    let ports = containers(spec).flat_map(|(_, container)| items(container, "ports"));
    let port = |it: &Value| {
        let port = it.get("hostPort")?.as_u64().filter(|port| *port > 0)?;
        Some(format!("{port}/{}", it.get("protocol").and_then(Value::as_str).unwrap_or("TCP")))
    };
    ports.filter_map(port).collect()
}

fn capabilities(container: &Value, list: &str) -> BTreeSet<String> {
    let found = container.pointer("/securityContext/capabilities").and_then(|it| it.get(list)?.as_array());
    let names = found.into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| name.to_ascii_uppercase().trim_start_matches("CAP_").to_owned()).collect()
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

    #[test]
    fn what_keeps_a_container_in_bounds_is_not_taken_away() {
        let web = |context: Value| of(json!({"containers": [{"name": "web", "securityContext": context}]}));
        let pod = |context: Value| of(json!({"securityContext": context, "containers": [{"name": "web"}]}));
        for (current, wanted, expected) in [
            (web(json!({"capabilities": {"drop": ["ALL"]}})), web(json!({})), "capability ALL"),
            (
                web(json!({"capabilities": {"drop": ["ALL"]}})),
                web(json!({"capabilities": {"drop": ["CAP_NET_RAW"]}})),
                "capability ALL",
            ),
            (web(json!({"allowPrivilegeEscalation": false})), web(json!({})), "allowPrivilegeEscalation"),
            (web(json!({})), web(json!({"procMount": "Unmasked"})), "procMount"),
            (pod(json!({"seccompProfile": {"type": "RuntimeDefault"}})), pod(json!({})), "seccompProfile"),
            (web(json!({})), pod(json!({"seccompProfile": {"type": "Unconfined"}})), "seccompProfile"),
            (pod(json!({"runAsNonRoot": true})), web(json!({"runAsNonRoot": false})), "run as root"),
            (pod(json!({"runAsUser": 1000})), pod(json!({"runAsUser": 0})), "run as root"),
        ] {
            let found = brings_in(&current, &wanted).unwrap_or_default();
            assert!(found.contains(expected), "{current} to {wanted}: {found}");
            assert_eq!(brings_in(&wanted, &current), None, "{wanted} to {current}: that is tighter");
            assert_eq!(brings_in(&current, &current), None, "{current}");
        }
        let drops = |names: &[&str]| web(json!({"capabilities": {"drop": names}}));
        assert_eq!(brings_in(&drops(&["NET_RAW"]), &drops(&["ALL"])), None);
        assert_eq!(brings_in(&drops(&["CAP_NET_RAW"]), &drops(&["NET_RAW"])), None, "the same by another name");
    }

    #[test]
    fn the_nodes_files_and_ports_are_not_opened() {
        let logs = |read_only: bool| {
            of(json!({
                "volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}],
                "containers": [{"name": "web", "volumeMounts": [{"name": "logs", "mountPath": "/l", "readOnly": read_only}]}],
            }))
        };
        assert!(
            brings_in(&logs(true), &logs(false)).unwrap_or_default().contains("hostPath /var/log to be written to")
        );
        assert_eq!(brings_in(&logs(false), &logs(true)), None);
        let port = |port: Value| of(json!({"containers": [{"name": "web", "ports": [port]}]}));
        let (plain, host) = (json!({"containerPort": 80}), json!({"containerPort": 80, "hostPort": 80}));
        assert!(brings_in(&port(plain.clone()), &port(host.clone())).unwrap_or_default().contains("hostPort 80/TCP"));
        assert_eq!(brings_in(&port(host), &port(plain)), None);
    }
}
