//! Single reads, each bounded, each naming what it wanted when it fails.

use evenkeel_model::{Kind, Meta, ObjectRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{GetParams, ListParams, PartialObjectMeta};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, NamespaceResourceScope, Selector};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{ReadError, convert};

/// Objects asked for at once in a list.
const PAGE: u32 = 500;
/// Pages read of one list at most: 10,000 objects. What lies beyond is not looked at.
const MAX_PAGES: usize = 20;

pub(crate) fn resource_of(kind: Kind) -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(kind.group(), kind.version(), kind.as_str()),
        kind.plural(),
    )
}

/// The path of the collection an object lies in.
pub(crate) fn collection(object: &ObjectRef) -> String {
    DynamicObject::url_path(&resource_of(object.kind), object.namespace.as_deref())
}

/// Reads an object as the API server sends it, with fields this build does not know. `None` when it
/// does not exist, or exists with another uid than the one asked for.
///
/// # Errors
/// When it can't be read.
pub async fn live(client: &Client, object: &ObjectRef) -> Result<Option<Value>, ReadError> {
    let found = live_at(client, &collection(object), &object.name).await;
    let found = found.map_err(|error| ReadError::of(object, object.to_string(), error))?;
    let wanted = object.uid.as_deref();
    Ok(found.filter(|it| wanted.is_none() || it.pointer("/metadata/uid").and_then(Value::as_str) == wanted))
}

pub(crate) async fn live_at(client: &Client, collection: &str, name: &str) -> kube::Result<Option<Value>> {
    let request = kube::core::Request::new(collection).get(name, &GetParams::default());
    match client.request(request.map_err(kube::Error::BuildRequest)?).await {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the metadata of an object of any kind.
pub(crate) async fn metadata(client: &Client, object: &ObjectRef) -> kube::Result<Option<ObjectMeta>> {
    let resource = resource_of(object.kind);
    let api: Api<DynamicObject> = match object.namespace.as_deref() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let found: Option<PartialObjectMeta<_>> = api.get_metadata_opt(&object.name).await?;
    Ok(found.map(|it| it.metadata))
}

/// What an object's metadata tell of it, who wrote its spec and when among it. `None` when it does not exist.
///
/// # Errors
/// When it can't be read.
pub async fn meta(client: &Client, object: &ObjectRef) -> Result<Option<Meta>, ReadError> {
    let found = metadata(client, object).await.map_err(|error| ReadError::of(object, object.to_string(), error))?;
    found.map(|found| convert::meta(object, &found, None)).transpose()
}

/// Lists what `params` select, page by page.
pub(crate) async fn list<K>(api: &Api<K>, params: ListParams) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut params = params.limit(PAGE);
    let mut items = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = api.list(&params).await?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(items),
        }
    }
    tracing::warn!(read = items.len(), "a list is longer than is read of it; the rest is not looked at");
    Ok(items)
}

/// An API of a namespaced kind in the object's namespace.
pub(crate) fn beside<K>(client: &Client, object: &ObjectRef) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::namespaced(client.clone(), object.namespace.as_deref().unwrap_or_default())
}

/// A selector as a list parameter. The empty selector of a workload is refused by the API server, so
/// that "all" can't come of a mistake here.
pub(crate) fn selected_by(object: &ObjectRef, selector: Option<LabelSelector>) -> Result<ListParams, ReadError> {
    let malformed = |found: String| ReadError::Malformed {
        object: object.to_string(),
        field: "spec.selector".to_owned(),
        expected: "a label selector that selects something",
        found,
    };
    let selector = selector.ok_or_else(|| malformed("nothing".to_owned()))?;
    let selector = Selector::try_from(selector).map_err(|error| malformed(error.to_string()))?;
    if selector.selects_all() {
        return Err(malformed("one that selects everything".to_owned()));
    }
    Ok(ListParams::default().labels_from(&selector))
}
