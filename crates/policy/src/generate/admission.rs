use std::fmt::Write as _;

use evenkeel_model::{ActionName, Kind};
use serde_json::{Value, json};

use super::{carries_out, maxima, mutating};
use crate::judge::ANY_NAMESPACE;
use crate::{PolicySource, Protected};

/// The gateway's ServiceAccount.
pub(super) const ACCOUNT: &str = "evenkeel-gateway";
/// Name of the admission policy over what the gateway writes, and of its binding.
pub const GATEWAY_WRITES: &str = "evenkeel-gateway";

/// What the API server is to make of a request that policies don't allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Refuse it.
    Deny,
    /// Let it pass, and note it in its audit log and as a warning: for trying it out.
    Audit,
}

/// What `kubectl rollout restart` writes.
const RESTARTED_AT: &str = "[?'kubectl.kubernetes.io/restartedAt'].orValue('')";

/// What a request is called in the language of policies; `""` is none of our actions. What would be two at once
/// is none.
const ACTION: &str = "\
variables.resource == 'pods' ? (request.operation == 'DELETE' ? 'deletePod' : '') :
variables.resource == 'pods/eviction' ? (request.operation == 'CREATE' ? 'evictPod' : '') :
variables.resource == 'jobs' ? (request.operation == 'DELETE' ? 'deleteJob' : '') :
request.operation != 'UPDATE' ? '' :
variables.resource == 'nodes' ? (
  object.spec.?unschedulable.orValue(false) == oldObject.spec.?unschedulable.orValue(false) ? 'none' :
  object.spec.?unschedulable.orValue(false) ? 'cordonNode' : 'uncordonNode'
) :
object.spec.?replicas.orValue(1) != oldObject.spec.?replicas.orValue(1) ? (
  object.spec.template == oldObject.spec.template ? 'scaleWorkload' : ''
) :
object.spec.template == oldObject.spec.template ? 'none' :
object.spec.template.spec == oldObject.spec.template.spec
  && object.spec.template.metadata.?labels.orValue({}) == oldObject.spec.template.metadata.?labels.orValue({})
  && variables.annotations.all(k, k == 'kubectl.kubernetes.io/restartedAt'
    || (k in variables.oldAnnotations && variables.annotations[k] == variables.oldAnnotations[k]))
  && variables.oldAnnotations.all(k, k == 'kubectl.kubernetes.io/restartedAt' || k in variables.annotations)
  && variables.restartedAt > variables.oldRestartedAt
  ? 'restartWorkload' : 'rollbackWorkload'";

/// What is written of a pod template must not bring in what no action may: another account, the node's
/// namespaces and files, privilege, capabilities that are not there already.
const TEMPLATE_GUARDS: &[(&str, &str)] = &[
    (
        "serviceAccountName is not changed",
        "variables.new.?serviceAccountName.orValue('default') == variables.old.?serviceAccountName.orValue('default')",
    ),
    (
        "the node's namespaces are not brought in",
        "(!variables.new.?hostNetwork.orValue(false) || variables.old.?hostNetwork.orValue(false))
&& (!variables.new.?hostPID.orValue(false) || variables.old.?hostPID.orValue(false))
&& (!variables.new.?hostIPC.orValue(false) || variables.old.?hostIPC.orValue(false))
&& (variables.old.?hostUsers.orValue(true) || !variables.new.?hostUsers.orValue(true))",
    ),
    (
        "hostPath is not brought in",
        "variables.new.?volumes.orValue([]).all(v, !has(v.hostPath)
  || variables.old.?volumes.orValue([]).exists(o, has(o.hostPath) && o.hostPath.path == v.hostPath.path))",
    ),
    (
        "privilege and capabilities are not brought in",
        "(variables.new.containers + variables.new.?initContainers.orValue([])).all(c,
  (!c.?securityContext.?privileged.orValue(false)
    || variables.was.exists(o, o.name == c.name && o.?securityContext.?privileged.orValue(false)))
  && c.?securityContext.?capabilities.?add.orValue([]).all(a,
    variables.was.exists(o, o.name == c.name && a in o.?securityContext.?capabilities.?add.orValue([]))))",
    ),
];

/// Fields that no action writes, on any of the kinds.
const NEVER_WRITTEN: &[&str] = &[
    "metadata.?labels",
    "metadata.?finalizers",
    "metadata.?ownerReferences",
    "spec.?minReadySeconds",
    "spec.?ordinals",
    "spec.?paused",
    "spec.?persistentVolumeClaimRetentionPolicy",
    "spec.?progressDeadlineSeconds",
    "spec.?revisionHistoryLimit",
    "spec.?taints",
];

/// A ValidatingAdmissionPolicy over what the gateway's ServiceAccount in namespace `engine` writes to objects that
/// actions are done to, and its binding. It accepts what policies can ever let it carry out: everything of
/// [`crate::evaluate`] that needs no clock, no other object and no annotation. An inverse passes as the action
/// that undoes what it changes.
pub fn admission(policies: &[PolicySource], engine: &str, protected: &Protected, how: Admission) -> [Value; 2] {
    let mut validations = vec![
        rule("!variables.outOfBounds", "the object is out of bounds, whatever policies say"),
        rule("variables.action != ''", "it is none of the actions there are"),
        rule(&some_allows(policies), "no ActionPolicy allows it"),
    ];
    let mut in_order: Vec<&PolicySource> = policies.iter().collect();
    in_order.sort_by_key(|policy| policy.name());
    for policy in in_order {
        validations.extend(of_policy(policy));
    }
    for (what, expression) in TEMPLATE_GUARDS {
        let when = "variables.action == 'restartWorkload' || variables.action == 'rollbackWorkload'";
        validations.push(rule(&format!("!({when}) || ({expression})"), what));
    }
    let same: Vec<String> = NEVER_WRITTEN.iter().map(|field| format!("object.{field} == oldObject.{field}")).collect();
    let same = same.join("\n&& ");
    validations.push(rule(&format!("request.operation != 'UPDATE' || ({same})"), "no action writes this field"));
    let api = "admissionregistration.k8s.io/v1";
    let account = format!("system:serviceaccount:{engine}:{ACCOUNT}");
    let policy = json!({
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": GATEWAY_WRITES },
        "spec": {
            // What can't be judged is refused.
            "failurePolicy": "Fail",
            // Written out though it is the default, so that what is installed can be compared with this.
            "matchConstraints": { "matchPolicy": "Equivalent", "resourceRules": resource_rules() },
            "matchConditions": [{ "name": "gateway", "expression": format!("request.userInfo.username == {}", text(&account)) }],
            "variables": variables(engine, protected),
            "validations": validations,
        },
    });
    let actions = match how {
        Admission::Deny => json!(["Deny"]),
        Admission::Audit => json!(["Audit", "Warn"]),
    };
    let binding = json!({
        "apiVersion": api,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": GATEWAY_WRITES },
        "spec": { "policyName": GATEWAY_WRITES, "validationActions": actions },
    });
    [policy, binding]
}

pub(super) fn rule(expression: &str, message: &str) -> Value {
    json!({ "expression": expression, "message": format!("evenkeel: {message}"), "reason": "Forbidden" })
}

fn resource_rules() -> Value {
    let rule = |group: &str, resources: &[&str]| {
        json!({
            "apiGroups": [group],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE", "DELETE"],
            "resources": resources,
            "scope": "*",
        })
    };
    json!([
        rule("", &["pods", "pods/eviction", "nodes"]),
        rule("apps", &["deployments", "statefulsets", "daemonsets"]),
        rule("batch", &["jobs"]),
    ])
}

fn variables(engine: &str, protected: &Protected) -> Value {
    let mut namespaces: Vec<&str> = protected.namespaces.keys().map(String::as_str).collect();
    if !namespaces.contains(&engine) {
        namespaces.push(engine);
    }
    let nodes: Vec<&str> = protected.nodes.keys().map(String::as_str).collect();
    let control_plane: Vec<String> =
        Protected::CONTROL_PLANE.iter().map(|label| format!("{} in variables.labels", text(label))).collect();
    let out_of_bounds = format!(
        "variables.resource == 'nodes' ? (request.name in {} || {}) : variables.inNamespace in {}",
        list(&nodes),
        control_plane.join(" || "),
        list(&namespaces)
    );
    let variable = |name: &str, expression: &str| json!({ "name": name, "expression": expression });
    let template = |of: &str| format!("{of}.spec.template.metadata.?annotations.orValue({{}})");
    json!([
        variable(
            "resource",
            "request.resource.resource + (request.?subResource.orValue('') == '' ? '' : '/' + request.subResource)"
        ),
        variable("inNamespace", "request.?namespace.orValue('')"),
        // Of the object as it was: what is written can't choose its policies. An eviction does not carry the pod's.
        variable("labels", "oldObject == null ? {} : oldObject.metadata.?labels.orValue({})"),
        variable("labelsKnown", "oldObject != null"),
        variable("annotations", &template("object")),
        variable("oldAnnotations", &template("oldObject")),
        // RFC 3339 in UTC, so that texts are in the order of time; going back to an older one is a rollback.
        variable("restartedAt", &format!("variables.annotations{RESTARTED_AT}")),
        variable("oldRestartedAt", &format!("variables.oldAnnotations{RESTARTED_AT}")),
        variable("action", ACTION),
        variable("new", "object.spec.template.spec"),
        variable("old", "oldObject.spec.template.spec"),
        variable("was", "variables.old.containers + variables.old.?initContainers.orValue([])"),
        variable("outOfBounds", &out_of_bounds),
    ])
}

/// Some policy that may be about the object lists the action.
fn some_allows(policies: &[PolicySource]) -> String {
    let mut in_order: Vec<&PolicySource> = policies.iter().collect();
    in_order.sort_by_key(|policy| policy.name());
    let allows: Vec<String> = in_order
        .into_iter()
        .filter_map(|policy| {
            let actions = listed(policy);
            let about = about(policy, true);
            (actions != "[]").then(|| format!("({about} && variables.action in {actions})"))
        })
        .collect();
    // What changes nothing that policies speak of (a stamp) is nobody's business.
    format!("variables.action == 'none'{}", allows.iter().fold(String::new(), |all, it| all + " ||\n" + it))
}

/// What one policy that is about the object demands.
fn of_policy(policy: &PolicySource) -> Vec<Value> {
    let (name, about) = (policy.name(), about(policy, false));
    let actions = listed(policy);
    let mut rules = vec![rule(
        &format!("!({about}) || variables.action in ['', 'none'] || variables.action in {actions}"),
        &match policy {
            PolicySource::Broken { .. } => format!("ActionPolicy {name} can't be read, and denies what it might match"),
            PolicySource::Loaded { spec, .. } if spec.mode == evenkeel_model::Mode::Audit => {
                format!("ActionPolicy {name} is in Audit mode")
            }
            PolicySource::Loaded { .. } => format!("ActionPolicy {name} does not allow it"),
        },
    )];
    if let Some(max) = maxima(policy) {
        let (new, old) = ("object.spec.?replicas.orValue(1)", "oldObject.spec.?replicas.orValue(1)");
        let scaled = format!("!({about}) || variables.action != 'scaleWorkload'");
        let (replicas, change) = (max.replicas, max.change);
        rules.push(rule(
            &format!("{scaled} || {new} <= {replicas}"),
            &format!("ActionPolicy {name} allows {replicas} replicas"),
        ));
        rules.push(rule(
            &format!("{scaled} || ({new} - {old} <= {change} && {old} - {new} <= {change})"),
            &format!("ActionPolicy {name} allows a change by {change} replicas"),
        ));
    }
    rules
}

/// The actions that a policy can let be carried out, as requests look like that do or undo them: what undoes a
/// cordon looks like uncordonNode, which undoes nothing but our own.
fn listed(policy: &PolicySource) -> String {
    let is_listed = |action: ActionName| carries_out(policy, action).is_some();
    let is_undo = |action| action == ActionName::UncordonNode && is_listed(ActionName::CordonNode);
    let actions: Vec<&str> =
        mutating().filter(|action| is_listed(*action) || is_undo(*action)).map(ActionName::as_str).collect();
    list(&actions)
}

/// Whether a policy is about the object. Where labels are not known, it may be, or it need not be.
fn about(policy: &PolicySource, where_not_known: bool) -> String {
    let (namespaces, kinds, selector) = match policy {
        PolicySource::Loaded { spec, .. } => {
            let matches = &spec.matches;
            (Some(&matches.namespaces), Some(&matches.kinds), Some(&matches.selector))
        }
        PolicySource::Broken { namespaces, kinds, .. } => (namespaces.as_ref(), kinds.as_ref(), None),
    };
    let mut about = match kinds {
        Some(kinds) => format!("variables.resource in {}", list(&resources(kinds))),
        None => "true".to_owned(),
    };
    if let Some(names) = namespaces.filter(|names| !names.iter().any(|name| name == ANY_NAMESPACE)) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let _ = write!(about, " && variables.inNamespace in {}", list(&names));
    }
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        let met: Vec<String> = selector
            .iter()
            .map(|(key, value)| {
                let (key, value) = (text(key), text(value));
                format!("{key} in variables.labels && variables.labels[{key}] == {value}")
            })
            .collect();
        let met = met.join(" && ");
        let known = if where_not_known { "!variables.labelsKnown ||" } else { "variables.labelsKnown &&" };
        let _ = write!(about, " && ({known} ({met}))");
    }
    about
}

/// As requests name them.
fn resources(kinds: &[Kind]) -> Vec<&'static str> {
    let mut all: Vec<&str> = kinds.iter().map(|kind| kind.plural()).collect();
    if kinds.contains(&Kind::Pod) {
        all.push("pods/eviction");
    }
    all
}

/// As CEL writes a list of strings.
fn list(items: &[&str]) -> String {
    let items: Vec<String> = items.iter().map(|item| text(item)).collect();
    format!("[{}]", items.join(", "))
}

/// As CEL writes a string.
pub(super) fn text(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}
