//! What a request is in the API server's terms: verb and object, as its audit log would name them.

use http::{Method, Uri};
use serde_json::Value;

use crate::audit::ObjectReference;

/// The verb, and the object unless the path is no resource's. A created object's name stands in the body only.
pub fn describe(method: &Method, uri: &Uri, body: &[u8]) -> (String, Option<ObjectReference>) {
    let Some(mut object) = object(uri.path()) else {
        return (method.as_str().to_ascii_lowercase(), None);
    };
    let watches =
        uri.query().is_some_and(|query| query.split('&').any(|part| part == "watch=true" || part == "watch=1"));
    let verb = match (method.as_str(), object.name.is_empty()) {
        ("GET" | "HEAD", _) if watches => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => "patch",
    };
    if verb == "create" && object.name.is_empty() {
        let created: Option<Value> = serde_json::from_slice(body).ok();
        let name = created.as_ref().and_then(|created| created.pointer("/metadata/name")).and_then(Value::as_str);
        object.name = name.unwrap_or_default().to_owned();
    }
    (verb.to_owned(), Some(object))
}

/// `/api/VERSION/…` and `/apis/GROUP/VERSION/…`, then `[namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE]]`.
fn object(path: &str) -> Option<ObjectReference> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let below = match parts.as_slice() {
        ["api", _version, below @ ..] | ["apis", _, _version, below @ ..] => below,
        _ => return None,
    };
    let (namespace, below) = match below {
        // A namespace's own subresources are the only ones that lie as deep as its objects.
        ["namespaces", name, "status" | "finalize"] | ["namespaces", name] => (*name, below),
        ["namespaces", namespace, inside @ ..] => (*namespace, inside),
        _ => ("", below),
    };
    let at = |place: usize| below.get(place).copied().unwrap_or_default().to_owned();
    let object = ObjectReference { resource: at(0), namespace: namespace.to_owned(), name: at(1), subresource: at(2) };
    (!object.resource.is_empty()).then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(method: Method, uri: &str) -> String {
        let body = br#"{"metadata": {"name": "made"}}"#;
        match describe(&method, &uri.parse().unwrap(), body) {
            (verb, None) => verb,
            (verb, Some(o)) => format!("{verb} {}|{}|{}|{}", o.resource, o.namespace, o.name, o.subresource),
        }
    }

    #[test]
    fn verbs_and_objects_are_named_as_the_audit_log_does() {
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/pods?limit=500", "list pods|||"),
            (Method::GET, "/api/v1/pods?resourceVersion=1&watch=true", "watch pods|||"),
            (Method::GET, "/api/v1/namespaces/shop/pods/a/log?container=app", "get pods|shop|a|log"),
            (Method::GET, "/api/v1/namespaces/shop", "get namespaces|shop|shop|"),
            (Method::PUT, "/api/v1/namespaces/shop/finalize", "update namespaces|shop|shop|finalize"),
            (Method::GET, "/api/v1/nodes/n", "get nodes||n|"),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/shop/deployments/cart?dryRun=All",
                "patch deployments|shop|cart|",
            ),
            (Method::POST, "/apis/events.k8s.io/v1/namespaces/shop/events", "create events|shop|made|"),
            (Method::POST, "/api/v1/namespaces/shop/pods/a/eviction", "create pods|shop|a|eviction"),
            (Method::DELETE, "/api/v1/namespaces/shop/pods", "deletecollection pods|shop||"),
            (
                Method::PUT,
                "/apis/evenkeel.dev/v1alpha1/namespaces/evenkeel/remediations/r/status",
                "update remediations|evenkeel|r|status",
            ),
            (Method::GET, "/version", "get"),
            (Method::GET, "/apis/apps/v1", "get"),
        ] {
            assert_eq!(described(method, uri), expected, "{uri}");
        }
    }
}
