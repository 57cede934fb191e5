//! What a container is given besides its image: environment and volumes, and what happens when it isn't there.

use std::sync::Arc;

use serde_json::Value;

use crate::controllers::Cluster;
use crate::images::ImageLife;
use crate::store::{Key, Store};
use crate::traffic::finds_services;
use crate::value::{at, is_true, items, namespace, text};

/// A ConfigMap's or Secret's keys.
fn keys<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    ["/data", "/binaryData", "/stringData"].iter().find_map(|part| at(object, part).get(key))
}

/// Why the container can't be made: CreateContainerConfigError's message.
pub(crate) fn trouble(cluster: &Cluster<'_>, pod: &Value, container: &Value) -> Option<String> {
    let ns = namespace(pod);
    let sources = [("configMapRef", "configmap"), ("secretRef", "secret")];
    for from in items(container, "/envFrom") {
        for (field, kind) in sources {
            let Some(reference) = from.get(field).filter(|reference| !is_true(reference, "/optional")) else {
                continue;
            };
            let name = text(reference, "/name");
            if cluster.get(&format!("{kind}s"), ns, name).is_none() {
                return Some(format!("{kind} \"{name}\" not found"));
            }
        }
    }
    let sources = [("configMapKeyRef", "configmap", "ConfigMap"), ("secretKeyRef", "secret", "Secret")];
    for variable in items(container, "/env") {
        for (field, kind, title) in sources {
            let reference = at(variable, "/valueFrom").get(field).filter(|it| !is_true(it, "/optional"));
            let Some(reference) = reference else { continue };
            let (name, key) = (text(reference, "/name"), text(reference, "/key"));
            match cluster.get(&format!("{kind}s"), ns, name) {
                None => return Some(format!("{kind} \"{name}\" not found")),
                Some(object) if keys(&object, key).is_none() => {
                    return Some(format!("couldn't find key {key} in {title} {ns}/{name}"));
                }
                Some(_) => {}
            }
        }
    }
    None
}

/// The first volume that can't be set up, and FailedMount's message.
pub(crate) fn unmountable(cluster: &Cluster<'_>, pod: &Value) -> Option<String> {
    let ns = namespace(pod);
    let failed = |volume: &str, why: &str| Some(format!("MountVolume.SetUp failed for volume \"{volume}\" : {why}"));
    for volume in items(pod, "/spec/volumes") {
        let name = text(volume, "/name");
        // The API server puts it into each pod; what it is made of is not modelled.
        if name.starts_with("kube-api-access-") {
            continue;
        }
        let mut wanted: Vec<(&str, &Value, &str)> = Vec::new();
        wanted.extend(volume.get("configMap").map(|source| ("configmap", source, "/name")));
        wanted.extend(volume.get("secret").map(|source| ("secret", source, "/secretName")));
        for source in items(volume, "/projected/sources") {
            wanted.extend(source.get("configMap").map(|source| ("configmap", source, "/name")));
            wanted.extend(source.get("secret").map(|source| ("secret", source, "/name")));
        }
        for (kind, source, field) in wanted {
            if is_true(source, "/optional") {
                continue;
            }
            let object = text(source, field);
            let Some(found) = cluster.get(&format!("{kind}s"), ns, object) else {
                return failed(name, &format!("{kind} \"{object}\" not found"));
            };
            let missing = items(source, "/items").iter().any(|item| keys(&found, text(item, "/key")).is_none());
            if missing {
                return failed(
                    name,
                    &format!("references non-existent {} key", if kind == "secret" { "secret" } else { "config" }),
                );
            }
        }
    }
    None
}

/// What the container would need and does not have, as its program says it.
pub(crate) fn unmet(cluster: &Cluster<'_>, pod: &Value, container: &Value, life: &ImageLife) -> Option<String> {
    life.needs.iter().find(|need| !is_met(&cluster.state.store, pod, container, need)).map(|need| {
        match need.split_once('/') {
            Some(("service", name)) => format!("FATAL: cannot reach {name}: connection refused"),
            Some(("env", wanted)) => match wanted.split_once('=') {
                Some((name, _)) => format!("FATAL: environment variable {name} has an unusable value"),
                None => format!("FATAL: environment variable {wanted} is not set"),
            },
            _ => format!("FATAL: cannot read {need}"),
        }
    })
}

/// Whether a need of an image is met.
pub(crate) fn is_met(store: &Store, pod: &Value, container: &Value, need: &str) -> bool {
    let (need, value) = need.split_once('=').map_or((need, None), |(need, value)| (need, Some(value)));
    let ns = namespace(pod);
    let mut parts = need.splitn(3, '/');
    let (kind, name, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    match kind {
        "configmap" | "secret" => get(store, &format!("{kind}s"), ns, name).is_some_and(|object| match (rest, value) {
            (None, None) => true,
            (Some(key), None) => keys(&object, key).is_some(),
            (Some(key), Some(value)) => keys(&object, key).is_some_and(|found| is_value(found, value)),
            (None, Some(value)) => {
                at(&object, "/data").as_object().is_some_and(|all| all.values().any(|it| is_value(it, value)))
            }
        }),
        "env" => environment(store, ns, container, name).is_some_and(|found| value.is_none_or(|value| value == found)),
        "service" => {
            let (ns, name) = rest.map_or((ns, name), |rest| (name, rest));
            finds_services(pod)
                && get(store, "endpoints", ns, name).is_some_and(|endpoints| {
                    items(&endpoints, "/subsets").iter().any(|subset| !items(subset, "/addresses").is_empty())
                })
        }
        _ => false,
    }
}

fn get(store: &Store, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
    store.get(&Key::new(resource, namespace, name)).cloned()
}

/// Secrets hold base64.
fn is_value(found: &Value, value: &str) -> bool {
    let found = found.as_str().unwrap_or_default();
    found == value || found == base64(value)
}

/// The value of an environment variable as the container gets it.
fn environment(store: &Store, ns: &str, container: &Value, name: &str) -> Option<String> {
    let own = items(container, "/env").iter().rev().find(|variable| text(variable, "/name") == name);
    if let Some(own) = own {
        if let Some(value) = own.get("value") {
            return Some(value.as_str().unwrap_or_default().to_owned());
        }
        for (field, resource) in [("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")] {
            if let Some(reference) = at(own, "/valueFrom").get(field) {
                let object = get(store, resource, ns, text(reference, "/name"))?;
                return keys(&object, text(reference, "/key"))?.as_str().map(str::to_owned);
            }
        }
        // Fields of the pod are always there.
        return Some(String::new());
    }
    items(container, "/envFrom").iter().rev().find_map(|from| {
        let key = name.strip_prefix(text(from, "/prefix"))?;
        let (resource, reference) = match from.get("configMapRef") {
            Some(reference) => ("configmaps", reference),
            None => ("secrets", from.get("secretRef")?),
        };
        let object = get(store, resource, ns, text(reference, "/name"))?;
        keys(&object, key)?.as_str().map(str::to_owned)
    })
}

fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = LETTERS.get((bits >> shift & 63) as usize).copied().unwrap_or(b'=');
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_in_base64() {
        for (plain, coded) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("secret!", "c2VjcmV0IQ==")] {
            assert_eq!(base64(plain), coded);
        }
    }
}
