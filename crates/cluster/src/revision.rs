use evenkeel_model::{Kind, ObjectRef, Revision};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Client, Resource as _};
use serde_json::Value;

use crate::ReadError;
use crate::read::{collection, live_at};

/// The pod template of one revision of a workload, as the API holds it, ready to be written into the
/// workload: without the `pod-template-hash` label and the `$patch` directive that its controller
/// added. `None` when the revision is gone, is another object by now, or is not controlled by the
/// workload, which must have its uid.
///
/// # Errors
/// When it can't be read, or holds no template.
pub async fn revision_template(
    client: &Client,
    workload: &ObjectRef,
    revision: &Revision,
) -> Result<Option<Value>, ReadError> {
    let namespace = workload.namespace.as_deref();
    let (path, template_at) = match workload.kind {
        Kind::Deployment => {
            let beside = ObjectRef { kind: Kind::ReplicaSet, ..workload.clone() };
            (collection(&beside), "/spec/template")
        }
        _ => (ControllerRevision::url_path(&(), namespace), "/data/spec/template"),
    };
    let found = live_at(client, &path, &revision.name).await;
    let found = found.map_err(|error| ReadError::of(workload, format!("its revision {}", revision.name), error))?;
    let Some(found) = found.filter(|it| is_revision_of(it, workload, revision)) else { return Ok(None) };
    let template = found.pointer(template_at).filter(|it| it.is_object()).ok_or_else(|| ReadError::Malformed {
        object: workload.to_string(),
        field: format!("{template_at} of its revision {}", revision.name),
        expected: "a pod template",
        found: "none".to_owned(),
    })?;
    Ok(Some(without_marks(template.clone())))
}

fn is_revision_of(found: &Value, workload: &ObjectRef, revision: &Revision) -> bool {
    let owners = found.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let controls = |owner: &Value| {
        owner.get("controller") == Some(&Value::Bool(true))
            && owner.get("uid").and_then(Value::as_str).is_some_and(|uid| workload.uid.as_deref() == Some(uid))
    };
    found.pointer("/metadata/uid").and_then(Value::as_str) == Some(&revision.uid)
        && owners.is_some_and(|owners| owners.iter().any(controls))
}

fn without_marks(mut template: Value) -> Value {
    if let Some(template) = template.as_object_mut() {
        template.remove("$patch");
    }
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    template
}

#[cfg(test)]
mod tests {
    use evenkeel_model::ObjectRef;
    use serde_json::json;

    use super::*;
    use crate::testing::{FakeApi, SHOP};
    use crate::{NoRecords, live, snapshot};

    async fn earlier(api: &FakeApi, kind: Kind, name: &str) -> (ObjectRef, Revision) {
        let target = ObjectRef::namespaced(kind, "shop", name);
        let found = snapshot(&api.client(), &target, &NoRecords, chrono::DateTime::default()).await.unwrap();
        (found.target.clone(), found.last_available_revision().unwrap().clone())
    }

    #[tokio::test]
    async fn an_earlier_template_is_the_current_one_but_for_what_was_changed() {
        for (kind, name, image) in [
            (Kind::Deployment, "cart", "shop/cart:1"),
            (Kind::StatefulSet, "db", "shop/db:1"),
            (Kind::DaemonSet, "agent", "shop/agent:1"),
        ] {
            let api = FakeApi::new(SHOP);
            let (workload, revision) = earlier(&api, kind, name).await;
            let template = revision_template(&api.client(), &workload, &revision).await.unwrap().unwrap();
            let mut current = live(&api.client(), &workload).await.unwrap().unwrap()["spec"]["template"].clone();
            current["spec"]["containers"][0]["image"] = json!(image);
            assert_eq!(template, current, "{name}");
        }
    }

    #[tokio::test]
    async fn a_revision_of_somebody_else_is_not_taken() {
        let api = FakeApi::new(SHOP);
        let (workload, revision) = earlier(&api, Kind::Deployment, "cart").await;
        let stranger = workload.clone().with_uid("another");
        assert_eq!(revision_template(&api.client(), &stranger, &revision).await.unwrap(), None);
        let other = Revision { uid: "another".to_owned(), ..revision };
        assert_eq!(revision_template(&api.client(), &workload, &other).await.unwrap(), None);
    }
}
