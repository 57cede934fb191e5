//! ValidatingAdmissionPolicies over custom resources. CEL is not spoken: each text has its function, and a policy with
//! any other is refused when it is written. Nobody's rights are modelled: whom an authorizer is asked about, may.

use serde_json::Value;

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::state::State;
use crate::store::Key;
use crate::value::{items, name, namespace, text};

/// The API group of policies and bindings.
const GROUP: &str = "admissionregistration.k8s.io";
const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";

/// What an expression is about.
struct Request<'a> {
    user: &'a str,
    object: &'a Value,
    /// The user whom the policy's variable `gateway` names.
    gateway: &'a str,
}

impl Request<'_> {
    fn is_gateway(&self) -> bool {
        self.user == self.gateway
    }

    fn is_slack(&self) -> bool {
        text(self.object, "/spec/approver").starts_with("slack:")
    }
}

/// Whether an expression holds.
type Holds = fn(&Request<'_>) -> bool;

/// Before what is to hold of new objects alone. Nothing else is looked at here: definitions say what can't be changed.
const OF_NEW: &str = "variables.updates || ";

/// What each text means, but for [`OF_NEW`] before it; one that ends in `…` is known by its beginning.
const KNOWN: &[(&str, Holds)] = &[
    ("!variables.updates || object.spec == oldObject.spec", |_| true),
    ("!variables.gateway || variables.slack", |it| !it.is_gateway() || it.is_slack()),
    ("variables.gateway || !variables.slack", |it| it.is_gateway() || !it.is_slack()),
    (
        "variables.gateway || !(request.userInfo.username.startsWith('system:serviceaccount:') \
         || 'system:serviceaccounts' in variables.groups)",
        |it| it.is_gateway() || !it.user.starts_with("system:serviceaccount:"),
    ),
    ("variables.gateway || object.spec.approver == request.userInfo.username", |it| {
        it.is_gateway() || text(it.object, "/spec/approver") == it.user
    }),
    ("variables.gateway || object.spec.groups.all(group, group in variables.groups)", |it| {
        it.is_gateway() || items(it.object, "/spec/groups").iter().all(|group| group == crate::api::EVERYBODY)
    }),
    ("variables.gateway || authorizer.…", |_| true),
];

/// The user that the variable `gateway` names.
fn gateway(policy: &Value) -> Option<&str> {
    let variables = items(policy, "/spec/variables");
    let found = variables.iter().find(|it| text(it, "/name") == "gateway")?;
    text(found, "/expression").strip_prefix("request.userInfo.username == '")?.strip_suffix('\'')
}

fn meaning(expression: &str) -> Option<Holds> {
    let expression = expression.strip_prefix(OF_NEW).unwrap_or(expression);
    let is_meant = |known: &str| match known.strip_suffix('…') {
        Some(begins) => expression.starts_with(begins),
        None => expression == known,
    };
    KNOWN.iter().find(|(known, _)| is_meant(known)).map(|(_, holds)| *holds)
}

/// Refuses a policy that could not be enforced here.
///
/// # Errors
/// 501, naming what is not known.
pub(crate) fn admit(kind: &Kind, object: &Value) -> Result<(), Failure> {
    if kind.group != GROUP || kind.kind != "ValidatingAdmissionPolicy" {
        return Ok(());
    }
    let place = |what: &str| Err(Failure::not_modelled(format!("{what} of {} {}", kind.kind, name(object))));
    for validation in items(object, "/spec/validations") {
        let expression = text(validation, "/expression");
        if meaning(expression).is_none() {
            return place(&format!("the expression {expression}"));
        }
    }
    if gateway(object).is_none() {
        return place("a policy without the variable gateway");
    }
    Ok(())
}

/// Holds a new object against the policies that are bound to deny.
///
/// # Errors
/// 403, as the API server words it.
pub(crate) fn validate(state: &State, user: &str, kind: &Kind, object: &Value) -> Result<(), Failure> {
    if !kind.is_custom() {
        return Ok(());
    }
    for (_, binding) in state.store.of(&BINDINGS.into()) {
        let denies = items(binding, "/spec/validationActions").iter().any(|action| action == "Deny");
        let policy = text(binding, "/spec/policyName");
        let Some(found) = state.store.get(&Key::new(POLICIES, "", policy)).filter(|_| denies) else { continue };
        let is_about = |rule: &Value| {
            items(rule, "/resources").iter().any(|it| it == kind.plural.as_str())
                && items(rule, "/apiGroups").iter().any(|it| it == kind.group.as_str())
                && items(rule, "/operations").iter().any(|it| it == "CREATE" || it == "*")
        };
        if !items(found, "/spec/matchConstraints/resourceRules").iter().any(is_about) {
            continue;
        }
        let request = Request { user, object, gateway: gateway(found).unwrap_or_default() };
        for validation in items(found, "/spec/validations") {
            let holds = meaning(text(validation, "/expression")).is_some_and(|holds| holds(&request));
            if !holds {
                let (bound, said) = (name(binding), text(validation, "/message"));
                let why = format!("ValidatingAdmissionPolicy '{policy}' with binding '{bound}' denied request: {said}");
                let key = Key::new(kind.resource(), namespace(object), name(object));
                return Err(Failure::forbidden(&key, &why));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Stage;

    const GATEWAY: &str = "system:serviceaccount:evenkeel:evenkeel-gateway";

    fn policy(validations: &[&str]) -> Value {
        let validation = |text: &&str| json!({"expression": text, "message": format!("no: {text}")});
        let rule = json!({"apiGroups": ["evenkeel.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["approvals"]});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "who"},
            "spec": {
                "matchConstraints": {"resourceRules": [rule]},
                "variables": [{"name": "gateway", "expression": format!("request.userInfo.username == '{GATEWAY}'")}],
                "validations": validations.iter().map(validation).collect::<Vec<_>>(),
            },
        })
    }

    fn definition() -> Value {
        let text = json!({"type": "string"});
        let groups = json!({"type": "array", "items": text});
        let spec = json!({"type": "object", "properties": {"approver": text, "groups": groups}});
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "approvals.evenkeel.dev"},
            "spec": {
                "group": "evenkeel.dev", "scope": "Namespaced",
                "names": {"kind": "Approval", "plural": "approvals"},
                "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": schema}],
            },
        })
    }

    /// What is said to an Approval of `approver` that `user` creates.
    fn said(stage: &Stage, user: &str, approver: &str, groups: &[&str]) -> Result<(), String> {
        let name = format!("a-{}", stage.simulator.log().len());
        let approval = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "Approval",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"approver": approver, "groups": groups},
        });
        stage.simulator.apply(user, approval).map(drop).map_err(|failure| failure.message().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_says_what_another_does_once_a_policy_is_bound() {
        let stage = Stage::new(0, &[]);
        stage.create(definition());
        let known: Vec<&str> = KNOWN.iter().map(|(text, _)| *text).filter(|text| !text.ends_with('…')).collect();
        stage.create(policy(&known));
        assert!(said(&stage, "ana", "bob", &[]).is_ok(), "nothing is bound yet");
        stage.create(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "bound"},
            "spec": {"policyName": "who", "validationActions": ["Deny"]},
        }));
        assert_eq!(said(&stage, "ana", "ana", &["system:authenticated"]), Ok(()));
        let refused = said(&stage, "ana", "bob", &[]).unwrap_err();
        assert!(
            refused.contains("ValidatingAdmissionPolicy 'who' with binding 'bound' denied request: no: "),
            "{refused}"
        );
        assert!(said(&stage, "ana", "ana", &["sre"]).is_err());
        assert!(said(&stage, "ana", "slack:ana", &[]).is_err());
        assert!(said(&stage, GATEWAY, "ana", &[]).is_err());
        assert_eq!(said(&stage, GATEWAY, "slack:ana", &[]), Ok(()));
        let ci = "system:serviceaccount:shop:ci";
        assert!(said(&stage, ci, ci, &[]).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_can_not_be_held_here_is_refused() {
        let stage = Stage::new(0, &[]);
        let refused = stage.simulator.apply("ana", policy(&["object.spec.tier == 'Low'"])).unwrap_err();
        assert_eq!(refused.code, 501, "{refused}");
        assert!(refused.message().contains("object.spec.tier == 'Low'"), "{refused}");
    }
}
