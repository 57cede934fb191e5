//! The three ways of writing: one request each, sent once, with the uid as precondition.

use evenkeel_model::{FIELD_MANAGER, ObjectRef};
use http::Request;
use kube::Client;
use kube::core::Request as Paths;
use kube::core::params::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::WriteError;
use crate::read::collection;

/// Sends a JSON Patch made with [`crate::Patch`]. Answers with the object as it then is (in a dry
/// run: would be). Fields the API server does not know are refused, not dropped.
///
/// # Errors
/// See [`WriteError`].
pub async fn patch(
    client: &Client,
    object: &ObjectRef,
    operations: &Value,
    dry_run: bool,
) -> Result<Value, WriteError> {
    let failed = |error: kube::Error| WriteError::of(object, &error, dry_run);
    let mut params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    params = params.validation_strict();
    params.dry_run = dry_run;
    let operations = serde_json::from_value(operations.clone()).map_err(|error| WriteError::Unavailable {
        object: object.to_string(),
        reason: format!("expected JSON Patch operations: {error}"),
    })?;
    let request = Paths::new(collection(object)).patch::<Value>(&object.name, &params, &Patch::Json(operations));
    let request = request.map_err(kube::Error::BuildRequest).map_err(failed)?;
    let answer = client.request_text(request).await.map_err(failed)?;
    // A 2xx means that it was done, whether or not the answer can be read.
    Ok(serde_json::from_str(&answer).unwrap_or(Value::Null))
}

/// Deletes an object by name and uid, its dependants in the background. `grace_seconds` overrides
/// the object's own grace period.
///
/// # Errors
/// See [`WriteError`]; another uid is a Conflict.
pub async fn delete(
    client: &Client,
    object: &ObjectRef,
    grace_seconds: Option<u32>,
    dry_run: bool,
) -> Result<(), WriteError> {
    let mut options = delete_options(object, dry_run)?;
    options.insert("apiVersion".to_owned(), json!("v1"));
    options.insert("kind".to_owned(), json!("DeleteOptions"));
    options.insert("propagationPolicy".to_owned(), json!("Background"));
    if let Some(seconds) = grace_seconds {
        options.insert("gracePeriodSeconds".to_owned(), json!(seconds));
    }
    let path = format!("{}/{}", collection(object), object.name);
    send(client, object, "DELETE", &path, &Value::Object(options), dry_run).await
}

/// Evicts a pod by name and uid, minding disruption budgets.
///
/// # Errors
/// See [`WriteError`]; another uid is a Conflict, a budget that does not allow it
/// [`WriteError::RefusedByBudget`].
pub async fn evict(client: &Client, pod: &ObjectRef, dry_run: bool) -> Result<(), WriteError> {
    // By hand: kube 5 writes `delete_options`, which Kubernetes drops with the precondition in it.
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": delete_options(pod, dry_run)?,
    });
    let path = format!("{}/{}/eviction", collection(pod), pod.name);
    send(client, pod, "POST", &path, &eviction, dry_run).await
}

fn delete_options(object: &ObjectRef, dry_run: bool) -> Result<serde_json::Map<String, Value>, WriteError> {
    let uid = object.uid.as_deref().ok_or_else(|| WriteError::Unavailable {
        object: object.to_string(),
        reason: "expected its uid, without which another object of that name might go".to_owned(),
    })?;
    let mut options = serde_json::Map::new();
    options.insert("preconditions".to_owned(), json!({ "uid": uid }));
    if dry_run {
        options.insert("dryRun".to_owned(), json!(["All"]));
    }
    Ok(options)
}

/// With a body, the API server reads the options from there alone; `dryRun` stands in the URL, too, so
/// that an audit log without bodies shows it.
async fn send(
    client: &Client,
    object: &ObjectRef,
    method: &str,
    path: &str,
    body: &Value,
    dry_run: bool,
) -> Result<(), WriteError> {
    let failed = |error: kube::Error| WriteError::of(object, &error, dry_run);
    let uri = format!("{path}{}", if dry_run { "?dryRun=All" } else { "" });
    let request = Request::builder().method(method).uri(uri).header(http::header::CONTENT_TYPE, "application/json");
    let request = request.body(body.to_string().into_bytes()).map_err(kube::Error::HttpError).map_err(failed)?;
    client.request_text(request).await.map_err(failed).map(drop)
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Kind;

    use super::*;
    use crate::testing::FakeApi;

    fn pod() -> ObjectRef {
        ObjectRef::namespaced(Kind::Pod, "shop", "cart-1").with_uid("u-1")
    }

    #[tokio::test]
    async fn what_is_sent_is_as_kubernetes_reads_it() {
        let api = FakeApi::default();
        let deployment = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
        let operations = json!([{"op": "test", "path": "/metadata/uid", "value": null}]);
        for dry_run in [true, false] {
            patch(&api.client(), &deployment, &operations, dry_run).await.unwrap();
            delete(&api.client(), &pod(), None, dry_run).await.unwrap();
            evict(&api.client(), &pod(), dry_run).await.unwrap();
        }
        delete(&api.client(), &pod(), Some(0), false).await.unwrap();
        let sent: Vec<String> = api.sent().iter().map(|it| format!("{}\n{}", it.line, it.body)).collect();
        insta::assert_snapshot!(sent.join("\n\n"));
    }

    #[tokio::test]
    async fn nothing_is_deleted_without_a_uid() {
        let api = FakeApi::default();
        let nameless = ObjectRef { uid: None, ..pod() };
        assert!(matches!(delete(&api.client(), &nameless, None, false).await, Err(WriteError::Unavailable { .. })));
        assert!(matches!(evict(&api.client(), &nameless, false).await, Err(WriteError::Unavailable { .. })));
        assert!(api.sent().is_empty());
    }
}
