//! Reading and writing Remediations on the API server. Every write names the version it replaces.

use std::time::Duration;

use evenkeel_model::{FIELD_MANAGER, Remediation};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;

use crate::error::{ApiError, bounded};
use crate::metrics::Metrics;

/// An object as the API server sent it, understood or not.
#[derive(Debug)]
pub(crate) enum Read {
    /// Understood whole.
    Known(Box<Remediation>),
    /// By a newer version of us, or broken: hands off.
    Aside { name: String, reason: String },
}

/// Why a status was not replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    /// Somebody wrote in between, or it is gone: read it again.
    #[error("{0} was changed by somebody else")]
    Conflict(String),
    #[error(transparent)]
    Api(#[from] ApiError),
}

pub(crate) enum Created {
    New(Box<Remediation>),
    /// One of that name is there already: it is the same proposal.
    Existing,
}

#[derive(Clone)]
pub(crate) struct Remediations {
    reader: Api<DynamicObject>,
    writer: Api<Remediation>,
    timeout: Duration,
    metrics: Metrics,
}

impl Remediations {
    pub(crate) fn new(reader: Client, writer: Client, namespace: &str, timeout: Duration, metrics: Metrics) -> Self {
        let resource = ApiResource::erase::<Remediation>(&());
        Self {
            reader: Api::namespaced_with(reader, namespace, &resource),
            writer: Api::namespaced(writer, namespace),
            timeout,
            metrics,
        }
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Option<Read>, ApiError> {
        let what = || format!("reading remediation {name}");
        Ok(self.bounded(what, self.reader.get_opt(name)).await?.map(read))
    }

    /// For watching them.
    pub(crate) fn reader(&self) -> &Api<DynamicObject> {
        &self.reader
    }

    pub(crate) async fn create(&self, remediation: &Remediation) -> Result<Created, ApiError> {
        let what = || format!("creating remediation {}", remediation.name_any());
        let created = self.bounded(what, self.writer.create(&by_us(), remediation)).await;
        self.count("create remediation", created.is_ok());
        match created {
            Ok(created) => Ok(Created::New(Box::new(created))),
            Err(error) if error.is_already_there() => Ok(Created::Existing),
            Err(error) => Err(error),
        }
    }

    /// Writes the status, if the object is still at the version it was read at.
    pub(crate) async fn replace_status(&self, remediation: &Remediation) -> Result<Remediation, ReplaceError> {
        let name = remediation.name_any();
        let what = || format!("writing the status of remediation {name}");
        let replaced = self.bounded(what, self.writer.replace_status(&name, &by_us(), remediation)).await;
        self.count("replace remediation status", replaced.is_ok());
        replaced.map_err(|error| match error.code() {
            Some(409 | 404) => ReplaceError::Conflict(name.clone()),
            _ => ReplaceError::Api(error),
        })
    }

    /// Deletes the very object that was read; nothing happens when it is gone or was changed.
    pub(crate) async fn delete(&self, remediation: &Remediation) -> Result<(), ApiError> {
        let name = remediation.name_any();
        let what = || format!("deleting remediation {name}");
        let preconditions = Preconditions { uid: remediation.uid(), resource_version: remediation.resource_version() };
        let params = DeleteParams::default().preconditions(preconditions);
        let deleted = self.bounded(what, self.writer.delete(&name, &params)).await;
        self.count("delete remediation", deleted.is_ok());
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn count(&self, what: &'static str, ok: bool) {
        self.metrics.request(what, if ok { "ok" } else { "error" });
    }

    async fn bounded<T>(
        &self,
        what: impl Fn() -> String,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        bounded(self.timeout, what, answer).await
    }
}

pub(crate) fn by_us() -> PostParams {
    PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.to_owned()) }
}

pub(crate) fn read(object: DynamicObject) -> Read {
    let name = object.name_any();
    let status = object.data.get("status").cloned().unwrap_or_default();
    let parsed = match object.try_parse::<Remediation>() {
        Ok(parsed) => parsed,
        Err(error) => return Read::Aside { name, reason: error.to_string() },
    };
    // The status is written back whole: what we don't know of it would be lost.
    let ours = serde_json::to_value(&parsed.status).unwrap_or_default();
    match unknown_field(&status, &ours, "status") {
        Some(field) => Read::Aside { name, reason: format!("{field} is not known to this version") },
        None => Read::Known(Box::new(parsed)),
    }
}

/// A field of `theirs` that `ours` does not have. What is empty says nothing and may be left out.
fn unknown_field(theirs: &Value, ours: &Value, at: &str) -> Option<String> {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => theirs.iter().find_map(|(name, value)| {
            let at = format!("{at}.{name}");
            match ours.get(name) {
                Some(ours) => unknown_field(value, ours, &at),
                None => (!says_nothing(value)).then_some(at),
            }
        }),
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            theirs.iter().zip(ours).find_map(|(theirs, ours)| unknown_field(theirs, ours, at))
        }
        (Value::Object(_) | Value::Array(_), _) if !says_nothing(theirs) => Some(at.to_owned()),
        _ => None,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Phase;
    use serde_json::json;

    use super::*;
    use crate::testing::remediation;

    fn as_sent(change: impl FnOnce(&mut Value)) -> DynamicObject {
        let mut value = serde_json::to_value(remediation(1, Phase::Verifying)).unwrap();
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_we_wrote_is_understood() {
        assert!(matches!(read(as_sent(|_| {})), Read::Known(_)));
    }

    #[test]
    fn unknown_phases_and_fields_are_left_alone() {
        let phase = as_sent(|it| it["status"]["phase"] = json!("Pondering"));
        assert!(matches!(read(phase), Read::Aside { .. }));
        let field = as_sent(|it| it["status"]["approvals"] = json!([{"by": "jane"}]));
        let Read::Aside { reason, .. } = read(field) else { panic!("understood") };
        assert_eq!(reason, "status.approvals is not known to this version");
        let nested = as_sent(|it| it["status"]["history"][0]["by"] = json!("jane"));
        assert!(matches!(read(nested), Read::Aside { .. }));
        let spec = as_sent(|it| it["spec"]["proposal"]["more"] = json!(1));
        assert!(matches!(read(spec), Read::Aside { .. }));
    }
}
