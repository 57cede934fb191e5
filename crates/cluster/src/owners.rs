use evenkeel_model::ObjectRef;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::read::metadata;
use crate::{ReadError, convert};

/// Links followed at most. Kubernetes' own chains have three; a longer one may be a ring.
const MAX_DEPTH: usize = 8;

/// The chain from an object to its root by controller references: the object first, each with its
/// uid. Empty when the object does not exist, or exists with another uid than the one asked for. It
/// ends where an owner is gone or is of a kind that is none of ours.
///
/// # Errors
/// When a link can't be read.
pub async fn owners(client: &kube::Client, object: &ObjectRef) -> Result<Vec<ObjectRef>, ReadError> {
    let mut chain: Vec<ObjectRef> = Vec::new();
    let mut next = Some(object.clone());
    while let Some(link) = next.take().filter(|_| chain.len() < MAX_DEPTH) {
        let found = metadata(client, &link).await;
        let found = found.map_err(|error| ReadError::of(object, link.to_string(), error))?;
        let Some(meta) = found.filter(|meta| is_it(&link, meta)) else { break };
        next = convert::controller_of(&meta, link.namespace.as_deref());
        chain.push(ObjectRef { uid: meta.uid, ..link });
    }
    Ok(chain)
}

fn is_it(wanted: &ObjectRef, found: &ObjectMeta) -> bool {
    wanted.uid.is_none() || wanted.uid == found.uid
}

/// The object a person would act on: the last of [`owners`]. `None` when the object does not exist.
///
/// # Errors
/// When a link can't be read.
pub async fn root_of(client: &kube::Client, object: &ObjectRef) -> Result<Option<ObjectRef>, ReadError> {
    Ok(owners(client, object).await?.pop())
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Kind;
    use serde_json::json;

    use super::*;
    use crate::testing::{FakeApi, SHOP};

    async fn chain(api: &FakeApi, object: ObjectRef) -> Vec<String> {
        owners(&api.client(), &object).await.unwrap().iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_pods_root_is_its_deployment() {
        let pod = ObjectRef::namespaced(Kind::Pod, "shop", "cart-69f6589c46-hvsh5");
        let api = FakeApi::new(SHOP);
        let expected = ["pod/shop/cart-69f6589c46-hvsh5", "replicaset/shop/cart-69f6589c46", "deployment/shop/cart"];
        assert_eq!(chain(&api, pod.clone()).await, expected);
        let root = root_of(&api.client(), &pod).await.unwrap().unwrap();
        assert_eq!(root.uid.as_deref(), Some("1c6fd1fa-8409-43b9-9a32-5c41a6ccd2ac"));
    }

    #[tokio::test]
    async fn a_chain_ends_where_the_owner_is_gone_another_or_unknown() {
        let api = FakeApi::new(SHOP);
        let set = ObjectRef::namespaced(Kind::ReplicaSet, "shop", "cart-69f6589c46");
        api.edit("Deployment", "cart", |it| it["metadata"]["uid"] = json!("another"));
        assert_eq!(chain(&api, set.clone()).await, ["replicaset/shop/cart-69f6589c46"]);
        api.remove("Deployment", "cart");
        assert_eq!(chain(&api, set.clone()).await, ["replicaset/shop/cart-69f6589c46"]);
        api.edit("ReplicaSet", "cart-69f6589c46", |it| {
            it["metadata"]["ownerReferences"][0]["apiVersion"] = json!("argoproj.io/v1alpha1");
        });
        assert_eq!(chain(&api, set.clone().with_uid("another")).await, Vec::<String>::new());
        assert_eq!(chain(&api, set).await, ["replicaset/shop/cart-69f6589c46"]);
    }
}
