//! Whether the cluster lets policies be enforced: RBAC and admission as they are, held against what the policies need.
//! It is told on each policy, as its condition `Enforceable`, and changes nothing that the gateway decides: what RBAC
//! or admission do not allow fails in the dry run.
//!
//! The gateway reads no roles. It asks the API server which of the rights it needs it has (SelfSubjectAccessReview,
//! which everybody may), and reads the one admission policy over its own writes.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use evenkeel_model::{ActionPolicy, ActionPolicyStatus, ConditionStatus, StatusCondition};
use evenkeel_policy::generate::{self, Admission, Admitted, Finding, GATEWAY_WRITES, Held, Need};
use evenkeel_policy::{PolicySource, Protected};
use evenkeel_runtime::{BoxError, Shutdown, redact};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::error::{ApiError, bounded};
use crate::guard::difference;
use crate::plane::{Plane, count};
use crate::policies::source;
use crate::remediations::by_us;

/// Rights that are asked about in one round. Eight actions need few each; hundreds of named namespaces multiply them.
const ASKED_AT_MOST: usize = 512;
/// Policies that are applied together are looked at together.
const SETTLES_IN: Duration = Duration::from_secs(1);

/// Asks what the cluster allows, and writes what was found.
pub(crate) struct Enforcement {
    rights: Api<SelfSubjectAccessReview>,
    admission: [(Api<DynamicObject>, &'static str); 2],
    policies: Api<DynamicObject>,
    engine: String,
    timeout: Duration,
}

impl Enforcement {
    pub(crate) fn new(reader: Client, writer: Client, engine: &str, timeout: Duration) -> Self {
        let admission = |kind: &'static str, plural: &str| {
            let kinds = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
            let resource = ApiResource::from_gvk_with_plural(&kinds, plural);
            (Api::all_with(reader.clone(), &resource), kind)
        };
        Self {
            admission: [
                admission("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
                admission("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
            ],
            policies: Api::all_with(writer, &ApiResource::erase::<ActionPolicy>(&())),
            rights: Api::all(reader),
            engine: engine.to_owned(),
            timeout,
        }
    }

    /// What is to be said of each policy.
    ///
    /// # Errors
    /// When the API server has no answer now: nothing is said then, and what was said stays.
    async fn find(&self, policies: &[PolicySource], protected: &Protected) -> Result<Vec<Finding>, ApiError> {
        let mut rights = Vec::new();
        for (n, need) in generate::needs(policies, &self.engine, protected).into_iter().enumerate() {
            let held = if n < ASKED_AT_MOST {
                self.has(&need).await?
            } else {
                Held::Unknown(format!("more than {ASKED_AT_MOST} rights are needed, and the others were asked about"))
            };
            rights.push((need, held));
        }
        let admission = self.admitted(policies, protected).await?;
        Ok(policies.iter().map(|policy| generate::enforceable(policy, &rights, &admission)).collect())
    }

    async fn has(&self, need: &Need) -> Result<Held, ApiError> {
        let (resource, subresource) = match need.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (need.resource, None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(need.group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    verb: Some(need.verb.to_owned()),
                    // None: in all of them.
                    namespace: need.namespace.clone(),
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let what = || format!("asking whether the gateway may {need}");
        match bounded(self.timeout, what, self.rights.create(&by_us(), &review)).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => Ok(Held::Yes),
            Ok(_) => Ok(Held::No),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => Ok(Held::Unknown(redact::text(&error.to_string()))),
        }
    }

    async fn admitted(&self, policies: &[PolicySource], protected: &Protected) -> Result<Admitted, ApiError> {
        let wanted = generate::admission(policies, &self.engine, protected, Admission::Deny);
        for ((api, kind), wanted) in self.admission.iter().zip(&wanted) {
            let name = format!("{kind} {GATEWAY_WRITES}");
            let found = match bounded(self.timeout, || format!("reading {name}"), api.get_opt(GATEWAY_WRITES)).await {
                Ok(found) => found,
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => return Ok(Admitted::Unknown(redact::text(&error.to_string()))),
            };
            let Some(found) = found else { return Ok(Admitted::Missing(name)) };
            let should = wanted.get("spec").unwrap_or(&Value::Null);
            let is = found.data.get("spec").unwrap_or(&Value::Null);
            if let Some(field) = difference(is, should, "spec") {
                return Ok(Admitted::Differs(format!("{name}: {field}{}", said_by(&field, should, is))));
            }
        }
        Ok(Admitted::Same)
    }

    /// Writes what was found on the policy as it was read. True when that is news.
    async fn tell(&self, policy: &DynamicObject, finding: &Finding, now: DateTime<Utc>) -> Result<bool, ApiError> {
        let Some(status) = with(policy, finding, now) else { return Ok(false) };
        let name = policy.name_any();
        let mut told = policy.clone();
        told.metadata.managed_fields = None;
        told.types = Some(TypeMeta::resource::<ActionPolicy>());
        if let Some(data) = told.data.as_object_mut() {
            data.insert("status".to_owned(), json!(status));
        }
        let what = || format!("writing the status of action policy {name}");
        match bounded(self.timeout, what, self.policies.replace_status(&name, &by_us(), &told)).await {
            Ok(_) => Ok(true),
            // Somebody else was faster, or it is gone.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What a validation that differs says when it refuses: by that, people know it.
fn said_by(field: &str, should: &Value, is: &Value) -> String {
    let Some(rest) = field.strip_prefix("spec.validations[") else { return String::new() };
    let number = rest.split(']').next().and_then(|number| number.parse::<usize>().ok());
    let message = |of: &Value| {
        let validation = of.get("validations")?.get(number?)?;
        validation.get("message").and_then(Value::as_str).map(str::to_owned)
    };
    match message(should).or_else(|| message(is)) {
        Some(message) => format!(" (\"{message}\")"),
        None => String::new(),
    }
}

/// The policy's status with what was found; `None` when that is what it says already.
fn with(policy: &DynamicObject, finding: &Finding, now: DateTime<Utc>) -> Option<ActionPolicyStatus> {
    let status = policy.data.get("status").cloned().unwrap_or_default();
    let mut status: ActionPolicyStatus = serde_json::from_value(status).unwrap_or_default();
    let before = status.conditions.iter().position(|it| it.about == StatusCondition::ENFORCEABLE);
    let before = before.map(|at| status.conditions.remove(at));
    let condition = StatusCondition {
        about: StatusCondition::ENFORCEABLE.to_owned(),
        status: finding.status,
        observed_generation: policy.metadata.generation,
        last_transition_time: match &before {
            Some(before) if before.status == finding.status => before.last_transition_time,
            _ => now,
        },
        reason: finding.reason.to_owned(),
        message: finding.message.clone(),
    };
    if before.as_ref() == Some(&condition) {
        return None;
    }
    status.conditions.push(condition);
    Some(status)
}

impl Plane {
    /// Holds RBAC and admission against the policies until shutdown: now and then, and when policies change.
    pub(crate) async fn watch_enforceable(self: Arc<Self>, shutdown: Shutdown) -> Result<(), BoxError> {
        let every = self.config.policy_check.get();
        if every.is_zero() {
            shutdown.cancelled().await;
            return Ok(());
        }
        let mut trouble = false;
        loop {
            let checked = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                checked = self.check_enforceable() => checked,
            };
            match checked {
                Ok(()) => trouble = false,
                Err(error) => {
                    self.metrics.error("policy check");
                    // Once a streak: people need to hear it once.
                    if !std::mem::replace(&mut trouble, true) {
                        tracing::warn!(%error, "whether policies can be enforced is not known; it is tried again");
                    }
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = self.policies.changed() => {}
                () = tokio::time::sleep(every) => {}
            }
            tokio::time::sleep(SETTLES_IN).await;
        }
    }

    /// Looks once, and tells what is news.
    ///
    /// # Errors
    /// When something could not be asked or written.
    pub(crate) async fn check_enforceable(&self) -> Result<(), ApiError> {
        let objects = self.policies.objects().await?;
        let policies: Vec<PolicySource> = objects.iter().map(source).collect();
        let findings = self.enforcement.find(&policies, &self.protected).await?;
        let unenforceable = findings.iter().filter(|finding| finding.status != ConditionStatus::True).count();
        self.metrics.unenforceable.set(count(unenforceable));
        for (object, finding) in objects.iter().zip(&findings) {
            if !self.enforcement.tell(object, finding, self.now()).await? {
                continue;
            }
            let (policy, reason, message) = (object.name_any(), finding.reason, &finding.message);
            if finding.status == ConditionStatus::True {
                tracing::info!(policy, reason, message, "the policy can be enforced");
            } else {
                tracing::warn!(policy, reason, message, "the policy can't be enforced as the cluster is");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
