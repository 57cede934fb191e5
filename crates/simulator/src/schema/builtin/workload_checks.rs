//! What is wrong with a workload (pkg/apis/apps/validation, pkg/apis/batch/validation).

use serde_json::{Value, json};

use super::{nonnegative, pod_checks};
use crate::kinds::Kind;
use crate::schema::metadata::labels;
use crate::schema::problem::{Problem, Problems};
use crate::value::{at, integer, items, set, text};

/// What is wrong with a workload, or with its change.
pub(super) fn validate(kind: &Kind, object: &Value, old: Option<&Value>, problems: &mut Problems) {
    match kind.kind.as_str() {
        "Deployment" => {
            nonnegative(object, "/spec/replicas", "spec.replicas", problems);
            selected(object, "deployment", true, problems);
            template(object, "spec.template", problems);
            strategy(object, problems);
            for name in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
                nonnegative(object, &format!("/spec/{name}"), &format!("spec.{name}"), problems);
            }
            let deadline = at(object, "/spec/progressDeadlineSeconds");
            if deadline.as_i64() <= integer(object, "/spec/minReadySeconds").or(Some(0)) {
                let field = "spec.progressDeadlineSeconds";
                problems.push(Problem::invalid(field, deadline, "must be greater than minReadySeconds"));
            }
            unchanged(object, old, &["selector"], problems);
        }
        "ReplicaSet" => {
            nonnegative(object, "/spec/replicas", "spec.replicas", problems);
            nonnegative(object, "/spec/minReadySeconds", "spec.minReadySeconds", problems);
            selected(object, "replica set", true, problems);
            template(object, "spec.template", problems);
            unchanged(object, old, &["selector"], problems);
        }
        "StatefulSet" => {
            let policy = at(object, "/spec/podManagementPolicy");
            if !["OrderedReady", "Parallel"].contains(&policy.as_str().unwrap_or_default()) {
                let why = "must be 'OrderedReady' or 'Parallel'";
                problems.push(Problem::invalid("spec.podManagementPolicy", policy, why));
            }
            nonnegative(object, "/spec/replicas", "spec.replicas", problems);
            nonnegative(object, "/spec/minReadySeconds", "spec.minReadySeconds", problems);
            selected(object, "statefulset", true, problems);
            let claimed = with_claims(object);
            template(&claimed, "spec.template", problems);
            stateful_set_change(object, old, problems);
        }
        "DaemonSet" => {
            selected(object, "daemonset", false, problems);
            template(object, "spec.template", problems);
            nonnegative(object, "/spec/minReadySeconds", "spec.minReadySeconds", problems);
            unchanged(object, old, &["selector"], problems);
        }
        "Job" => {
            job(at(object, "/spec"), "spec", problems);
            if let Some(old) = old {
                job_change(object, old, problems);
            }
        }
        "CronJob" => cron_job(object, problems),
        "ControllerRevision" => nonnegative(object, "/revision", "revision", problems),
        _ => {}
    }
}

/// The selector is there, and selects what the template makes.
fn selected(object: &Value, what: &str, required: bool, problems: &mut Problems) {
    let selector = at(object, "/spec/selector");
    labels(at(selector, "/matchLabels"), "spec.selector.matchLabels", problems);
    let empty = at(selector, "/matchLabels").is_null() && items(selector, "/matchExpressions").is_empty();
    if selector.is_null() {
        if required {
            problems.push(Problem::required("spec.selector", ""));
        }
    } else if empty {
        problems.push(Problem::invalid("spec.selector", selector, &format!("empty selector is invalid for {what}")));
    }
    let template = at(object, "/spec/template/metadata/labels");
    // A selector that is not there selects nothing.
    let matches = !selector.is_null() && matches(selector, template);
    if !matches && (selector.is_null() || !empty) {
        let why = "`selector` does not match template `labels`";
        problems.push(Problem::invalid("spec.template.metadata.labels", template, why));
    }
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let pairs = at(selector, "/matchLabels").as_object().into_iter().flatten();
    let listed = pairs.into_iter().all(|(key, value)| label(key) == value.as_str());
    listed
        && items(selector, "/matchExpressions").iter().all(|expression| {
            let found = label(text(expression, "/key"));
            let among = items(expression, "/values").iter().any(|value| found.is_some() && value.as_str() == found);
            match text(expression, "/operator") {
                "In" => among,
                "NotIn" => !among,
                "Exists" => found.is_some(),
                _ => found.is_none(),
            }
        })
}

/// The template of a workload whose pods run on.
fn template(object: &Value, field: &str, problems: &mut Problems) {
    let template = at(object, "/spec/template");
    pods(template, field, problems);
    let policy = at(template, "/spec/restartPolicy");
    if policy != &json!("Always") {
        problems.push(Problem::not_supported(format!("{field}.spec.restartPolicy"), policy, &["Always"]));
    }
}

fn pods(template: &Value, field: &str, problems: &mut Problems) {
    labels(at(template, "/metadata/labels"), &format!("{field}.labels"), problems);
    pod_checks::validate(template, &format!("{field}.spec"), problems);
}

fn strategy(object: &Value, problems: &mut Problems) {
    let strategy = at(object, "/spec/strategy");
    let update = at(strategy, "/rollingUpdate");
    match text(strategy, "/type") {
        "Recreate" => {
            if !update.is_null() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                problems.push(Problem::forbidden("spec.strategy.rollingUpdate", why));
            }
        }
        "RollingUpdate" => {
            for name in ["maxUnavailable", "maxSurge"] {
                let place = format!("/{name}");
                nonnegative(update, &place, &format!("spec.strategy.rollingUpdate.{name}"), problems);
            }
            if is_zero(at(update, "/maxUnavailable")) && is_zero(at(update, "/maxSurge")) {
                let (field, value) = ("spec.strategy.rollingUpdate.maxUnavailable", at(update, "/maxUnavailable"));
                problems.push(Problem::invalid(field, value, "may not be 0 when `maxSurge` is 0"));
            }
        }
        other => {
            // The API server shows its own Go type.
            let shown = format!("{{\"Type\":{other:?},\"RollingUpdate\":{update}}}");
            problems.push(Problem::not_supported_raw("spec.strategy", &shown, &["Recreate", "RollingUpdate"]));
        }
    }
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || value.as_str().is_some_and(|text| text.trim_end_matches('%') == "0")
}

fn unchanged(object: &Value, old: Option<&Value>, fields: &[&str], problems: &mut Problems) {
    let Some(old) = old else { return };
    for field in fields {
        let place = format!("/spec/{field}");
        if at(object, &place) != at(old, &place) {
            problems.push(Problem::invalid(format!("spec.{field}"), at(object, &place), "field is immutable"));
        }
    }
}

/// The claims of a StatefulSet are volumes of its pods.
fn with_claims(object: &Value) -> Value {
    let claims = items(object, "/spec/volumeClaimTemplates");
    if claims.is_empty() {
        return object.clone();
    }
    let claimed: Vec<&str> = claims.iter().map(|claim| text(claim, "/metadata/name")).collect();
    let own = items(object, "/spec/template/spec/volumes").iter();
    let mut volumes: Vec<Value> = own.filter(|volume| !claimed.contains(&text(volume, "/name"))).cloned().collect();
    volumes.extend(claimed.iter().map(|name| json!({"name": name})));
    let mut object = object.clone();
    set(&mut object, "/spec/template/spec/volumes", Value::Array(volumes));
    object
}

fn stateful_set_change(object: &Value, old: Option<&Value>, problems: &mut Problems) {
    let Some(old) = old else { return };
    let free = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let rest = |object: &Value| {
        let mut spec = at(object, "/spec").clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.retain(|name, _| !free.contains(&name.as_str()));
        }
        spec
    };
    if rest(object) != rest(old) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                   'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                   'minReadySeconds' are forbidden";
        problems.push(Problem::forbidden("spec", why));
    }
}

fn job(spec: &Value, field: &str, problems: &mut Problems) {
    for name in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        nonnegative(spec, &format!("/{name}"), &format!("{field}.{name}"), problems);
    }
    let mode = at(spec, "/completionMode");
    if !mode.is_null() && !["NonIndexed", "Indexed"].contains(&mode.as_str().unwrap_or_default()) {
        let supported = ["NonIndexed", "Indexed"];
        problems.push(Problem::not_supported(format!("{field}.completionMode"), mode, &supported));
    }
    if mode == &json!("Indexed") && at(spec, "/completions").is_null() {
        let why = "when completion mode is Indexed";
        problems.push(Problem::required(format!("{field}.completions"), why));
    }
    pods(at(spec, "/template"), &format!("{field}.template"), problems);
    let policy = at(spec, "/template/spec/restartPolicy");
    let field = format!("{field}.template.spec.restartPolicy");
    match policy.as_str() {
        Some("Never" | "OnFailure") => {}
        Some("Always") => problems.push(Problem::required(field, "valid values: \"OnFailure\", \"Never\"")),
        _ => problems.push(Problem::not_supported(field, policy, &["OnFailure", "Never"])),
    }
}

fn job_change(object: &Value, old: &Value, problems: &mut Problems) {
    let elastic = text(object, "/spec/completionMode") == "Indexed"
        && at(object, "/spec/completions") == at(object, "/spec/parallelism");
    if !elastic {
        unchanged(object, Some(old), &["completions"], problems);
    }
    unchanged(object, Some(old), &["selector"], problems);
    // Where and how the pods of a Job are to run may be changed while it is suspended and has not begun.
    let mut old_template = old.clone();
    if at(old, "/spec/suspend") == &json!(true) && at(old, "/status/startTime").is_null() {
        for place in
            ["metadata/labels", "metadata/annotations", "spec/nodeSelector", "spec/tolerations", "spec/affinity"]
        {
            let place = format!("/spec/template/{place}");
            match at(object, &place) {
                Value::Null => drop(crate::value::unset(&mut old_template, &place)),
                value => set(&mut old_template, &place, value.clone()),
            }
        }
    }
    unchanged(object, Some(&old_template), &["template"], problems);
    unchanged(object, Some(old), &["completionMode", "podFailurePolicy", "backoffLimitPerIndex"], problems);
}

fn cron_job(object: &Value, problems: &mut Problems) {
    job(at(object, "/spec/jobTemplate/spec"), "spec.jobTemplate.spec", problems);
    let schedule = text(object, "/spec/schedule");
    let parts: Vec<&str> = schedule.split_whitespace().collect();
    if schedule.is_empty() {
        problems.push(Problem::required("spec.schedule", ""));
    } else if !schedule.starts_with('@') && parts.len() != 5 {
        let why = format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" "));
        problems.push(Problem::invalid("spec.schedule", &json!(schedule), &why));
    }
    let policy = at(object, "/spec/concurrencyPolicy");
    if !["Allow", "Forbid", "Replace"].contains(&policy.as_str().unwrap_or_default()) {
        let supported = ["Allow", "Forbid", "Replace"];
        problems.push(Problem::not_supported("spec.concurrencyPolicy", policy, &supported));
    }
    for name in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        nonnegative(object, &format!("/spec/{name}"), &format!("spec.{name}"), problems);
    }
}
