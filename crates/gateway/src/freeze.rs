//! The Freezes as they are on the API server now: read anew before everything that changes the
//! cluster, never from a cache.

use std::time::Duration;

use evenkeel_model::{Freeze, FreezeSpec};
use evenkeel_policy::{FreezeSource, Freezes};
use evenkeel_runtime::{HealthPart, redact};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::plane::count;

pub(crate) struct FreezeReader {
    api: Api<DynamicObject>,
    timeout: Duration,
    health: HealthPart,
    metrics: Metrics,
}

impl FreezeReader {
    pub(crate) fn new(reader: Client, timeout: Duration, health: HealthPart, metrics: Metrics) -> Self {
        let api = Api::all_with(reader, &ApiResource::erase::<Freeze>(&()));
        Self { api, timeout, health, metrics }
    }

    /// All of them, those that can't be understood among them. That they can't be read is an answer, too: whoever
    /// asks has to wait, and what has to be undone must not, but for as long as asking again may help.
    pub(crate) async fn read(&self) -> Freezes {
        let what = "listing freezes";
        let list = match tokio::time::timeout(self.timeout, self.api.list(&ListParams::default())).await {
            Ok(list) => list.map_err(|error| ApiError::of(what, error)),
            Err(_) => Err(ApiError::Late { what: what.to_owned(), limit: self.timeout }),
        };
        match list {
            Ok(list) => {
                self.health.ready();
                self.metrics.freezes.set(count(list.items.len()));
                Freezes::Read(list.into_iter().map(source).collect())
            }
            Err(error) => {
                let why = match error.code() {
                    Some(404) => "the kind Freeze is not installed; evenkeel crds has its definition".to_owned(),
                    _ => redact::text(&error.to_string()),
                };
                self.metrics.error("freezes");
                self.health.not_ready(why.clone());
                if error.is_transient() { Freezes::NotNow(why) } else { Freezes::Unknown(why) }
            }
        }
    }
}

fn source(object: DynamicObject) -> FreezeSource {
    let spec = object.data.get("spec").cloned().unwrap_or(Value::Null);
    let spec = serde_json::from_value::<FreezeSpec>(spec).map_err(|error| redact::text(&error.to_string()));
    FreezeSource { name: object.name_any(), spec }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_freeze_of_another_version_is_kept_as_what_can_not_be_understood() {
        let object = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Freeze", "metadata": {"name": "odd"},
            "spec": {"namespaces": ["shop"], "undo": "Perhaps", "by": "jane", "reason": "release"},
        });
        let source = source(serde_json::from_value(object).unwrap());
        assert_eq!(source.name, "odd");
        assert!(source.spec.unwrap_err().contains("Perhaps"));
    }
}
