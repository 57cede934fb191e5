//! What of workloads these controllers don't do. It is refused when it is written: done wrongly it would look right.

use serde_json::Value;

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::value::{at, name, namespace, text};

/// Refuses a workload that asks for what is not modelled.
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
}
