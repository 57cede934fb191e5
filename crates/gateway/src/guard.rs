//! Whether admission answers for who wrote what people write. Nobody else can: the object says what it likes.
//!
//! A new or changed admission policy takes effect late: 11 forged Approvals passed in the first 629 ms after one was
//! installed. So it is not enough that it is there. The policy and its binding are compared with what they have to be;
//! then a forgery is sent in a dry run, and this very policy has to refuse it. Whatever is older than that moment does
//! not count, and with another policy or binding, or a changed one, that moment is another.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{
    Approval, ApprovalDecision, ApprovalGuard, ApprovalSpec, Ask, Clock, OfRemediation, Request, RequestSpec, Tier,
};
use evenkeel_policy::generate::{self, APPROVALS, PEOPLE};
use evenkeel_runtime::redact;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, Resource};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::error::{ApiError, bounded};

/// In whose name forgeries are: nobody's, and no gateway's.
const NOBODY: &str = "evenkeel:self-test";
/// What forgeries are called.
const NAME: &str = "self-test";

/// The guard of one admission policy.
pub(crate) struct Guard {
    /// Of the policy and its binding.
    name: &'static str,
    policies: Api<DynamicObject>,
    bindings: Api<DynamicObject>,
    wanted: [Value; 2],
    forgeries: Api<DynamicObject>,
    forgery: DynamicObject,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    /// What was seen to refuse a forgery, and since when.
    seen: Mutex<Option<ApprovalGuard>>,
}

/// How the API server is asked.
pub(crate) struct Asking<'a> {
    pub(crate) reader: Client,
    pub(crate) writer: Client,
    pub(crate) namespace: &'a str,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timeout: Duration,
}

impl Guard {
    /// Of the policy over Approvals.
    pub(crate) fn over_approvals(asking: Asking<'_>) -> Self {
        let spec = ApprovalSpec {
            remediation: "r-self-test".to_owned(),
            digest: "0".repeat(64),
            decision: ApprovalDecision::Approve,
            tier: Tier::High,
            namespace: None,
            approver: NOBODY.to_owned(),
            groups: vec!["system:masters".to_owned()],
            reason: "a forgery that has to be refused".to_owned(),
        };
        let wanted = generate::approvals(asking.namespace);
        Self::new(asking, APPROVALS, wanted, &Approval::new(NAME, spec))
    }

    /// Of the policy over Requests.
    pub(crate) fn over_requests(asking: Asking<'_>) -> Self {
        let spec = RequestSpec {
            ask: Ask::Cancel(OfRemediation { remediation: "r-self-test".to_owned() }),
            by: NOBODY.to_owned(),
            reason: "a forgery that has to be refused".to_owned(),
        };
        Self::new(asking, PEOPLE, generate::people(), &Request::new(NAME, spec))
    }

    fn new<K: Resource<DynamicType = ()> + serde::Serialize>(
        asking: Asking<'_>,
        name: &'static str,
        wanted: [Value; 2],
        forgery: &K,
    ) -> Self {
        let Asking { reader, writer, namespace, clock, timeout } = asking;
        let resource = |kind: &str, plural: &str| {
            ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind),
                plural,
            )
        };
        let policy = resource("ValidatingAdmissionPolicy", "validatingadmissionpolicies");
        let binding = resource("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings");
        let forged = ApiResource::erase::<K>(&());
        let data = serde_json::to_value(forgery).unwrap_or_default();
        let spec = serde_json::json!({ "spec": data.get("spec") });
        Self {
            name,
            policies: Api::all_with(reader.clone(), &policy),
            bindings: Api::all_with(reader, &binding),
            wanted,
            forgeries: Api::namespaced_with(writer, namespace, &forged),
            forgery: DynamicObject::new(NAME, &forged).data(spec),
            clock,
            timeout,
            seen: Mutex::new(None),
        }
    }

    /// The policy as it holds now, with the first moment at which it was seen to; or why it can't be said to hold.
    ///
    /// # Errors
    /// When the API server can't be asked.
    pub(crate) async fn check(&self) -> Result<Result<ApprovalGuard, String>, ApiError> {
        let mut seen = self.seen.lock().await;
        let version = match self.installed().await? {
            Ok(version) => version,
            Err(reason) => {
                *seen = None;
                return Ok(Err(reason));
            }
        };
        if let Some(seen) = seen.as_ref().filter(|seen| seen.version == version) {
            return Ok(Ok(seen.clone()));
        }
        *seen = None;
        if let Err(reason) = self.forge().await? {
            return Ok(Err(reason));
        }
        let guard = ApprovalGuard { version, since: self.clock.now() };
        tracing::info!(policy = self.name, since = %guard.since, "admission refuses forgeries");
        *seen = Some(guard.clone());
        Ok(Ok(guard))
    }

    /// Uid and generation of the policy and its binding, when they are what they have to be.
    async fn installed(&self) -> Result<Result<String, String>, ApiError> {
        let (name, mut version) = (self.name, Vec::new());
        for (api, wanted) in [&self.policies, &self.bindings].into_iter().zip(&self.wanted) {
            let kind = wanted.get("kind").and_then(Value::as_str).unwrap_or_default();
            let what = || format!("reading {kind} {name}");
            let found = match self.bounded(what, api.get_opt(name)).await {
                Ok(found) => found,
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => return Ok(Err(redact::text(&error.to_string()))),
            };
            let Some(found) = found else {
                return Ok(Err(format!("{kind} {name} is not installed (`evenkeel policy admission` prints it)")));
            };
            let (is, should) = (found.data.get("spec").unwrap_or(&Value::Null), wanted.get("spec"));
            if let Some(field) = difference(is, should.unwrap_or(&Value::Null), "spec") {
                return Ok(Err(format!(
                    "{kind} {name} is not what `evenkeel policy admission` prints: {field} differs"
                )));
            }
            let uid = found.metadata.uid.unwrap_or_default();
            version.push(format!("{uid}/{}", found.metadata.generation.unwrap_or_default()));
        }
        Ok(Ok(version.join(" ")))
    }

    /// Sends a forgery, in a dry run: nothing of it stays, also where nobody refuses it.
    async fn forge(&self) -> Result<Result<(), String>, ApiError> {
        let name = self.name;
        let params = PostParams { dry_run: true, ..crate::remediations::by_us() };
        let what = || format!("sending in a dry run what {name} has to refuse");
        match self.bounded(what, self.forgeries.create(&params, &self.forgery)).await {
            Ok(_) => Ok(Err(format!("a forgery was not refused: {name} is installed and not in effect (yet)"))),
            Err(error) if error.to_string().contains(&words(name)) => Ok(Ok(())),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                let error = redact::text(&error.to_string());
                Ok(Err(format!("a forgery was refused, but not by {name}: {error}")))
            }
        }
    }

    async fn bounded<T>(
        &self,
        what: impl Fn() -> String,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        bounded(self.timeout, what, answer).await
    }
}

/// As the API server begins what a policy refuses.
pub(crate) fn words(policy: &str) -> String {
    format!("ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request")
}

/// The first field in which an object is not as it should be; what is empty says nothing.
pub(crate) fn difference(is: &Value, should: &Value, at: &str) -> Option<String> {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match (is, should) {
        (Value::Object(is), Value::Object(should)) => {
            let names: std::collections::BTreeSet<&String> = is.keys().chain(should.keys()).collect();
            names.into_iter().find_map(|name| {
                let of = |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
                difference(&of(is), &of(should), &format!("{at}.{name}"))
            })
        }
        (Value::Array(is), Value::Array(should)) if is.len() == should.len() => {
            let pairs = is.iter().zip(should).enumerate();
            pairs.into_iter().find_map(|(n, (is, should))| difference(is, should, &format!("{at}[{n}]")))
        }
        (is, should) if is == should || (is_empty(is) && is_empty(should)) => None,
        _ => Some(at.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_that_was_changed_anywhere_is_told_by_the_field() {
        for [policy, binding] in [generate::approvals("evenkeel"), generate::people()] {
            told_by_the_field(&policy, &binding);
        }
    }

    fn told_by_the_field(policy: &Value, binding: &Value) {
        let should = &policy["spec"];
        assert_eq!(difference(should, should, "spec"), None);
        let changed = |change: fn(&mut Value)| {
            let mut is = should.clone();
            change(&mut is);
            difference(&is, should, "spec").unwrap()
        };
        assert_eq!(changed(|it| it["failurePolicy"] = json!("Ignore")), "spec.failurePolicy");
        assert_eq!(changed(|it| it["validations"][2]["expression"] = json!("true")), "spec.validations[2].expression");
        assert_eq!(changed(|it| it["matchConditions"] = json!([{"name": "x"}])), "spec.matchConditions");
        assert_eq!(
            changed(|it| it["matchConstraints"]["objectSelector"] = json!({"matchLabels": {"a": "b"}})),
            "spec.matchConstraints.objectSelector.matchLabels"
        );
        assert_eq!(changed(|it| drop(it["validations"].as_array_mut().unwrap().pop())), "spec.validations");
        let mut audits = binding["spec"].clone();
        audits["validationActions"] = json!(["Audit"]);
        assert_eq!(difference(&audits, &binding["spec"], "spec").as_deref(), Some("spec.validationActions[0]"));
    }
}
