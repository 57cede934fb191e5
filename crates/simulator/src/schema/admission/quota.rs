//! ResourceQuota (apiserver/pkg/admission/plugin/resourcequota): what is used is counted from what is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::schema::problem::forbid;
use crate::schema::quantity::Quantity;
use crate::state::State;
use crate::value::{at, items, name, namespace, text};

/// What an object uses, by the names that quotas know.
type Usage = BTreeMap<String, Quantity>;

/// Resources that every container must state when a quota limits them.
const MUST_BE_STATED: &[&str] = &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// Refuses what would exceed a quota.
pub(super) fn validate(state: &State, kind: &Kind, object: &Value) -> Result<(), Failure> {
    let home = namespace(object);
    let quotas: Vec<&Value> = state
        .store
        .of(&"resourcequotas".into())
        .filter(|(key, _)| key.namespace == home)
        .map(|(_, quota)| quota.as_ref())
        .collect();
    if quotas.is_empty() {
        return Ok(());
    }
    let asked = usage(kind, object);
    for quota in quotas {
        if !in_scope(quota, kind, object) {
            continue;
        }
        let hard = at(quota, "/spec/hard").as_object().into_iter().flatten();
        let hard: Usage = hard.filter_map(|(name, limit)| Some((name.clone(), Quantity::of(limit)?))).collect();
        must_state(kind, object, quota, &hard)?;
        if !hard.keys().any(|name| asked.contains_key(name)) {
            continue;
        }
        let used = used(state, kind, quota, home);
        let mut beyond: Vec<[String; 3]> = Vec::new();
        for (resource, limit) in &hard {
            let Some(more) = asked.get(resource).filter(|more| !more.is_zero()) else { continue };
            let now = used.get(resource).copied().unwrap_or(Quantity::ZERO);
            if now.plus(*more) > *limit {
                beyond.push([format!("{resource}={more}"), format!("{resource}={now}"), format!("{resource}={limit}")]);
            }
        }
        if !beyond.is_empty() {
            let list = |pick: fn(&[String; 3]) -> &str| beyond.iter().map(pick).collect::<Vec<_>>().join(",");
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                name(quota),
                list(|[asked, _, _]| asked),
                list(|[_, used, _]| used),
                list(|[_, _, limit]| limit),
            );
            return Err(forbid(kind, name(object), &why));
        }
    }
    Ok(())
}

fn must_state(kind: &Kind, object: &Value, quota: &Value, hard: &Usage) -> Result<(), Failure> {
    if !is_pod(kind) {
        return Ok(());
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for list in ["containers", "initContainers"] {
        for container in items(object, &format!("/spec/{list}")) {
            for resource in MUST_BE_STATED.iter().filter(|resource| hard.contains_key(**resource)) {
                let (of, what) = resource.split_once('.').unwrap_or(("requests", resource));
                if at(container, &format!("/resources/{of}/{what}")).is_null() {
                    missing.entry(resource).or_default().insert(text(container, "/name"));
                }
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = missing
        .into_iter()
        .map(|(resource, containers)| {
            format!("{resource} for: {}", containers.into_iter().collect::<Vec<_>>().join(","))
        })
        .collect();
    let why = format!("failed quota: {}: must specify {}", name(quota), missing.join("; "));
    Err(forbid(kind, name(object), &why))
}

fn is_pod(kind: &Kind) -> bool {
    kind.kind == "Pod" && kind.group.is_empty()
}

fn used(state: &State, kind: &Kind, quota: &Value, home: &str) -> Usage {
    let mut sum = Usage::new();
    for (_, object) in state.store.of(&kind.resource()).filter(|(key, _)| key.namespace == home) {
        if in_scope(quota, kind, object) {
            for (resource, amount) in usage(kind, object) {
                let before = sum.get(&resource).copied().unwrap_or(Quantity::ZERO);
                sum.insert(resource, before.plus(amount));
            }
        }
    }
    sum
}

/// Whether a quota counts an object: its scopes are about pods.
fn in_scope(quota: &Value, kind: &Kind, object: &Value) -> bool {
    let scopes = items(quota, "/spec/scopes");
    let selected = items(quota, "/spec/scopeSelector/matchExpressions");
    if scopes.is_empty() && selected.is_empty() {
        return true;
    }
    let matches = |scope: &str| match scope {
        "Terminating" => !at(object, "/spec/activeDeadlineSeconds").is_null(),
        "NotTerminating" => at(object, "/spec/activeDeadlineSeconds").is_null(),
        "BestEffort" => crate::schema::builtin::qos_class(object) == "BestEffort",
        "NotBestEffort" => crate::schema::builtin::qos_class(object) != "BestEffort",
        _ => false,
    };
    let class = text(object, "/spec/priorityClassName");
    let by_class = |expression: &Value| {
        let among = items(expression, "/values").iter().any(|value| value.as_str() == Some(class));
        match (text(expression, "/scopeName"), text(expression, "/operator")) {
            ("PriorityClass", "In") => among,
            ("PriorityClass", "NotIn") => !among,
            ("PriorityClass", "Exists") => !class.is_empty(),
            ("PriorityClass", _) => class.is_empty(),
            (scope, _) => matches(scope),
        }
    };
    is_pod(kind) && scopes.iter().filter_map(Value::as_str).all(matches) && selected.iter().all(by_class)
}

fn usage(kind: &Kind, object: &Value) -> Usage {
    let one = Quantity::whole(1);
    let mut usage = Usage::from([(format!("count/{}", kind.resource()), one)]);
    if !kind.group.is_empty() {
        return usage;
    }
    match kind.kind.as_str() {
        "Pod" => {
            if ["Succeeded", "Failed"].contains(&text(object, "/status/phase")) {
                return usage;
            }
            usage.insert("pods".to_owned(), one);
            for of in ["requests", "limits"] {
                for (resource, amount) in totals(object, of) {
                    if of == "requests" && ["cpu", "memory", "ephemeral-storage"].contains(&resource.as_str()) {
                        usage.insert(resource.clone(), amount);
                    }
                    usage.insert(format!("{of}.{resource}"), amount);
                }
            }
        }
        "Service" => {
            usage.insert("services".to_owned(), one);
            let ports = Quantity::whole(i64::try_from(items(object, "/spec/ports").len()).unwrap_or(0));
            match text(object, "/spec/type") {
                "NodePort" => drop(usage.insert("services.nodeports".to_owned(), ports)),
                "LoadBalancer" => {
                    usage.insert("services.nodeports".to_owned(), ports);
                    usage.insert("services.loadbalancers".to_owned(), one);
                }
                _ => {}
            }
        }
        "PersistentVolumeClaim" => {
            usage.insert("persistentvolumeclaims".to_owned(), one);
            if let Some(size) = Quantity::of(at(object, "/spec/resources/requests/storage")) {
                usage.insert("requests.storage".to_owned(), size);
                let class = text(object, "/spec/storageClassName");
                if !class.is_empty() {
                    let prefix = format!("{class}.storageclass.storage.k8s.io");
                    usage.insert(format!("{prefix}/persistentvolumeclaims"), one);
                    usage.insert(format!("{prefix}/requests.storage"), size);
                }
            }
        }
        "ConfigMap" | "Secret" | "ResourceQuota" => drop(usage.insert(kind.plural.clone(), one)),
        _ => {}
    }
    usage
}

/// A pod's requests or limits: the sum of its containers, or the largest of its init containers.
fn totals(pod: &Value, of: &str) -> Usage {
    let amounts = |container: &Value| {
        let list = at(container, &format!("/resources/{of}")).as_object().into_iter().flatten();
        list.filter_map(|(resource, amount)| Some((resource.clone(), Quantity::of(amount)?))).collect::<Vec<_>>()
    };
    let mut sum = Usage::new();
    let add = |container: &Value, sum: &mut Usage| {
        for (resource, amount) in amounts(container) {
            let before = sum.get(&resource).copied().unwrap_or(Quantity::ZERO);
            sum.insert(resource, before.plus(amount));
        }
    };
    for container in items(pod, "/spec/containers") {
        add(container, &mut sum);
    }
    let sidecar = |container: &Value| text(container, "/restartPolicy") == "Always";
    for container in items(pod, "/spec/initContainers").iter().filter(|container| sidecar(container)) {
        add(container, &mut sum);
    }
    for container in items(pod, "/spec/initContainers").iter().filter(|container| !sidecar(container)) {
        for (resource, amount) in amounts(container) {
            let before = sum.get(&resource).copied().unwrap_or(Quantity::ZERO);
            sum.insert(resource, before.max(amount));
        }
    }
    sum
}

/// The same as a list of resources.
pub(super) fn pod_totals(pod: &Value, of: &str) -> Value {
    let totals = totals(pod, of).into_iter();
    Value::Object(totals.map(|(resource, amount)| (resource, json!(amount.to_string()))).collect::<Map<_, _>>())
}
