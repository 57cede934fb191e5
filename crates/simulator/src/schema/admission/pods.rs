//! ServiceAccount, DefaultTolerationSeconds and Priority: what they add to a new pod.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::schema::problem::forbid;
use crate::state::State;
use crate::store::Key;
use crate::value::{at, integer, is_true, items, name, namespace, set, text};

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The pod's ServiceAccount, and the volume with its token.
pub(super) fn account(state: &mut State, kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    if text(object, "/spec/serviceAccountName").is_empty() {
        set(object, "/spec/serviceAccountName", json!("default"));
    }
    let account = text(object, "/spec/serviceAccountName").to_owned();
    set(object, "/spec/serviceAccount", json!(account));
    let home = namespace(object).to_owned();
    let Some(found) = state.store.get(&Key::new("serviceaccounts", &home, &account)).cloned() else {
        let why = format!("error looking up service account {home}/{account}: serviceaccount {account:?} not found");
        return Err(forbid(kind, name(object), &why));
    };
    let wanted = at(object, "/spec/automountServiceAccountToken").as_bool();
    let wanted = wanted.or_else(|| at(&found, "/automountServiceAccountToken").as_bool()).unwrap_or(true);
    if wanted {
        mount(state, object);
    }
    if items(object, "/spec/imagePullSecrets").is_empty() && !items(&found, "/imagePullSecrets").is_empty() {
        set(object, "/spec/imagePullSecrets", at(&found, "/imagePullSecrets").clone());
    }
    Ok(())
}

fn mount(state: &mut State, object: &mut Value) {
    let volume = format!("kube-api-access-{}", state.suffix());
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let Some(Value::Array(containers)) = object.pointer_mut(&format!("/spec/{list}")) else { continue };
        for container in containers {
            let mut mounts = items(container, "/volumeMounts").to_vec();
            if mounts.iter().all(|mount| text(mount, "/mountPath") != TOKEN) {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": TOKEN}));
                set(container, "/volumeMounts", Value::Array(mounts));
                mounted = true;
            }
        }
    }
    if !mounted {
        return;
    }
    let mut volumes = items(object, "/spec/volumes").to_vec();
    volumes.push(json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]}}));
    set(object, "/spec/volumes", Value::Array(volumes));
}

/// Five minutes on a node that is not ready or can't be reached.
pub(super) fn tolerations(object: &mut Value) {
    let mut tolerations = items(object, "/spec/tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|toleration| {
            (text(toleration, "/key") == key || text(toleration, "/key").is_empty())
                && ["NoExecute", ""].contains(&text(toleration, "/effect"))
        });
        if !tolerated {
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    set(object, "/spec/tolerations", Value::Array(tolerations));
}

/// The priority that the pod's class gives it.
pub(super) fn priority(state: &State, kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    let class = text(object, "/spec/priorityClassName").to_owned();
    let found = state.store.get(&Key::new("priorityclasses.scheduling.k8s.io", "", &class));
    let (priority, policy) = match (class.as_str(), found) {
        ("", _) => {
            let classes = state.store.of(&"priorityclasses.scheduling.k8s.io".into());
            let default = classes.map(|(_, class)| class).filter(|class| is_true(class, "/globalDefault"));
            match default.min_by_key(|class| integer(class, "/value")) {
                Some(class) => {
                    set(object, "/spec/priorityClassName", json!(name(class)));
                    (integer(class, "/value").unwrap_or(0), text(class, "/preemptionPolicy").to_owned())
                }
                None => (0, String::new()),
            }
        }
        (_, Some(class)) => (integer(class, "/value").unwrap_or(0), text(class, "/preemptionPolicy").to_owned()),
        // Every cluster has these two.
        ("system-cluster-critical", None) => (2_000_000_000, String::new()),
        ("system-node-critical", None) => (2_000_001_000, String::new()),
        (_, None) => {
            return Err(forbid(kind, name(object), &format!("no PriorityClass with name {class} was found")));
        }
    };
    set(object, "/spec/priority", json!(priority));
    if at(object, "/spec/preemptionPolicy").is_null() {
        let policy = if policy.is_empty() { "PreemptLowerPriority".to_owned() } else { policy };
        set(object, "/spec/preemptionPolicy", json!(policy));
    }
    Ok(())
}
