//! What of workloads and network policies is not done here. It is refused when it is written: done wrongly it would
//! look right.

use serde_json::Value;

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::value::{at, items, name, namespace, text};

/// Refuses an object that asks for what is not modelled.
///
/// # Errors
/// 501, naming the field.
pub(crate) fn refuse(kind: &Kind, object: &Value) -> Result<(), Failure> {
    let place = |field: &str| {
        Err(Failure::not_modelled(format!("{field} of {} {}/{}", kind.kind, namespace(object), name(object))))
    };
    let prefix = if kind.kind == "CronJob" { "/spec/jobTemplate" } else { "" };
    match kind.kind.as_str() {
        "Job" | "CronJob" => {
            let spec = at(object, prefix);
            for field in ["successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "managedBy"] {
                if !at(spec, &format!("/spec/{field}")).is_null() {
                    return place(&format!("spec.{field}"));
                }
            }
            Ok(())
        }
        "StatefulSet" => {
            for field in ["whenDeleted", "whenScaled"] {
                if text(object, &format!("/spec/persistentVolumeClaimRetentionPolicy/{field}")) == "Delete" {
                    return place(&format!("spec.persistentVolumeClaimRetentionPolicy.{field}: Delete"));
                }
            }
            Ok(())
        }
        "NetworkPolicy" => {
            let is_egress = |it: &Value| it.as_str() == Some("Egress");
            if !at(object, "/spec/egress").is_null() || items(object, "/spec/policyTypes").iter().any(is_egress) {
                return place("spec.egress");
            }
            let asks_who = items(object, "/spec/ingress").iter().any(|rule| !items(rule, "/from").is_empty());
            if asks_who { place("spec.ingress.from") } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::refuse;
    use crate::kinds::Kinds;

    #[test]
    fn what_jobs_can_not_do_here_is_refused_by_name() {
        let kinds = Kinds::default();
        let kind = kinds.get(&"cronjobs.batch".into()).unwrap();
        let mut cron = json!({"metadata": {"name": "tick", "namespace": "shop"},
            "spec": {"jobTemplate": {"spec": {}}}});
        assert!(refuse(kind, &cron).is_ok());
        cron["spec"]["jobTemplate"]["spec"]["managedBy"] = json!("example.com/other");
        let failure = refuse(kind, &cron).unwrap_err();
        assert_eq!((failure.code, failure.message()), (501, "not simulated: spec.managedBy of CronJob shop/tick"));
    }

    #[test]
    fn network_policies_that_ask_who_sends_are_refused_by_name() {
        let kinds = Kinds::default();
        let kind = kinds.get(&"networkpolicies.networking.k8s.io".into()).unwrap();
        let policy = |spec: serde_json::Value| {
            let object = json!({"metadata": {"name": "deny", "namespace": "shop"}, "spec": spec});
            refuse(kind, &object).map_err(|failure| failure.message().to_owned())
        };
        assert_eq!(
            policy(json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 80}]}]})),
            Ok(())
        );
        let from = policy(json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]})).unwrap_err();
        assert_eq!(from, "not simulated: spec.ingress.from of NetworkPolicy shop/deny");
        assert!(policy(json!({"podSelector": {}, "policyTypes": ["Egress"]})).unwrap_err().contains("spec.egress"));
    }
}
