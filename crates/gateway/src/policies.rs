//! The ActionPolicies as they are on the API server now: read anew for every decision.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evenkeel_model::ActionPolicy;
use evenkeel_policy::PolicySource;
use evenkeel_runtime::HealthPart;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, ObjectList};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::sync::Notify;

use crate::error::ApiError;

pub(crate) struct Policies {
    api: Api<DynamicObject>,
    timeout: Duration,
    health: HealthPart,
    /// Name and generation of each, as last listed.
    versions: Mutex<Vec<(String, Option<i64>)>>,
    changed: Notify,
}

impl Policies {
    pub(crate) fn new(reader: Client, timeout: Duration, health: HealthPart) -> Self {
        let resource = ApiResource::erase::<ActionPolicy>(&());
        let api = Api::all_with(reader, &resource);
        Self { api, timeout, health, versions: Mutex::default(), changed: Notify::new() }
    }

    /// Whether policies can be read at all; says so to health.
    pub(crate) async fn check(&self) -> Result<(), ApiError> {
        // One is enough to see whether we may ask.
        self.read(&ListParams::default().limit(1)).await.map(drop)
    }

    /// All policies, those that can't be understood among them: they deny.
    ///
    /// # Errors
    /// When they can't be read. Nothing may be permitted then.
    pub(crate) async fn list(&self) -> Result<Vec<PolicySource>, ApiError> {
        Ok(self.objects().await?.iter().map(source).collect())
    }

    /// The same as objects.
    ///
    /// # Errors
    /// When they can't be read.
    pub(crate) async fn objects(&self) -> Result<Vec<DynamicObject>, ApiError> {
        let objects = self.read(&ListParams::default()).await?.items;
        let versions = objects.iter().map(|it| (it.name_any(), it.metadata.generation)).collect();
        let mut known = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != versions {
            *known = versions;
            self.changed.notify_one();
        }
        drop(known);
        Ok(objects)
    }

    /// Waits until they were listed and were others than the time before.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn read(&self, which: &ListParams) -> Result<ObjectList<DynamicObject>, ApiError> {
        let what = "listing action policies";
        let list = tokio::time::timeout(self.timeout, self.api.list(which)).await;
        let list = match list {
            Ok(list) => list.map_err(|error| ApiError::of(what, error)),
            Err(_) => Err(ApiError::Late { what: what.to_owned(), limit: self.timeout }),
        };
        match list {
            Ok(list) => {
                self.health.ready();
                Ok(list)
            }
            Err(error) => {
                self.health.not_ready(error.to_string());
                Err(error)
            }
        }
    }
}

/// One of them, as far as it can be understood.
pub(crate) fn source(object: &DynamicObject) -> PolicySource {
    PolicySource::read(object.name_any(), object.data.get("spec").unwrap_or(&Value::Null))
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Kind;
    use serde_json::json;

    use super::*;

    fn sent(spec: Value) -> PolicySource {
        let object = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "ActionPolicy", "metadata": {"name": "shop"}, "spec": spec,
        });
        source(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_policy_that_can_not_be_understood_still_says_what_it_is_about() {
        let source = sent(json!({
            "mode": "Whatever", "match": {"namespaces": ["shop"], "kinds": ["Deployment"], "selector": {}},
        }));
        let PolicySource::Broken { namespaces, kinds, .. } = source else { panic!("{source:?}") };
        assert_eq!(namespaces, Some(vec!["shop".to_owned()]));
        assert_eq!(kinds, Some(vec![Kind::Deployment]));
    }

    #[test]
    fn one_that_does_not_even_say_that_may_be_about_anything() {
        let source = sent(json!({"match": {"kinds": ["Gizmo"]}}));
        assert!(matches!(source, PolicySource::Broken { namespaces: None, kinds: None, .. }), "{source:?}");
    }
}
