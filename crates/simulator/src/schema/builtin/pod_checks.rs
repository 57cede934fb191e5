//! What is wrong with a pod's spec, or that of a template (pkg/apis/core/validation).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::nonnegative;
use super::service::{port_number, protocol};
use crate::schema::metadata::labels;
use crate::schema::names;
use crate::schema::problem::{Problem, Problems};
use crate::schema::quantity::Quantity;
use crate::value::{at, items, text};

/// Checks a pod, or a template: what stands in `spec` of the object, which is at `field`.
pub(super) fn validate(object: &Value, field: &str, problems: &mut Problems) {
    let spec = at(object, "/spec");
    let volumes = volumes(spec, field, problems);
    if items(spec, "/containers").is_empty() {
        problems.push(Problem::required(format!("{field}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in items(spec, &format!("/{list}")).iter().enumerate() {
            let field = format!("{field}.{list}[{index}]");
            self::container(container, &volumes, &field, problems);
            let name = text(container, "/name");
            if !name.is_empty() && !names.insert(name) {
                problems.push(Problem::duplicate(format!("{field}.name"), &json!(name)));
            }
            probes(container, &field, problems);
        }
    }
    one_of(spec, "restartPolicy", field, &["Always", "OnFailure", "Never"], problems);
    one_of(spec, "dnsPolicy", field, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], problems);
    labels(at(spec, "/nodeSelector"), &format!("{field}.nodeSelector"), problems);
    for (name, judge) in
        [("serviceAccountName", names::subdomain as fn(&str) -> Vec<String>), ("nodeName", names::subdomain)]
    {
        let value = text(spec, &format!("/{name}"));
        if !value.is_empty() {
            let field = format!("{field}.{name}");
            problems.extend(judge(value).iter().map(|wrong| Problem::invalid(&field, &json!(value), wrong)));
        }
    }
    let deadline = at(spec, "/activeDeadlineSeconds");
    if deadline.as_i64().is_some_and(|seconds| seconds < 1) {
        let why = "must be between 1 and 2147483647, inclusive";
        problems.push(Problem::invalid(format!("{field}.activeDeadlineSeconds"), deadline, why));
    }
    tolerations(spec, field, problems);
}

fn one_of(object: &Value, name: &str, field: &str, supported: &[&str], problems: &mut Problems) {
    let value = at(object, &format!("/{name}"));
    if !value.as_str().is_some_and(|value| supported.contains(&value)) {
        problems.push(Problem::not_supported(format!("{field}.{name}"), value, supported));
    }
}

fn volumes<'a>(spec: &'a Value, field: &str, problems: &mut Problems) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in items(spec, "/volumes").iter().enumerate() {
        let (name, field) = (text(volume, "/name"), format!("{field}.volumes[{index}].name"));
        if name.is_empty() {
            problems.push(Problem::required(field, ""));
            continue;
        }
        problems.extend(names::label(name).iter().map(|wrong| Problem::invalid(&field, &json!(name), wrong)));
        if !seen.insert(name) {
            problems.push(Problem::duplicate(field, &json!(name)));
        }
    }
    seen
}

fn container(container: &Value, volumes: &BTreeSet<&str>, field: &str, problems: &mut Problems) {
    match text(container, "/name") {
        "" => problems.push(Problem::required(format!("{field}.name"), "")),
        name => {
            let field = format!("{field}.name");
            problems.extend(names::label(name).iter().map(|wrong| Problem::invalid(&field, &json!(name), wrong)));
        }
    }
    if text(container, "/image").is_empty() {
        problems.push(Problem::required(format!("{field}.image"), ""));
    }
    for (index, port) in items(container, "/ports").iter().enumerate() {
        let field = format!("{field}.ports[{index}]");
        if at(port, "/containerPort").as_i64().unwrap_or(0) == 0 {
            problems.push(Problem::required(format!("{field}.containerPort"), ""));
        } else {
            port_number(at(port, "/containerPort"), format!("{field}.containerPort"), problems);
        }
        if !at(port, "/hostPort").is_null() {
            port_number(at(port, "/hostPort"), format!("{field}.hostPort"), problems);
        }
        protocol(port, format!("{field}.protocol"), problems);
    }
    for (index, variable) in items(container, "/env").iter().enumerate() {
        if text(variable, "/name").is_empty() {
            problems.push(Problem::required(format!("{field}.env[{index}].name"), ""));
        }
    }
    let mut paths = BTreeSet::new();
    for (index, mount) in items(container, "/volumeMounts").iter().enumerate() {
        let (name, path, field) =
            (text(mount, "/name"), text(mount, "/mountPath"), format!("{field}.volumeMounts[{index}]"));
        if name.is_empty() {
            problems.push(Problem::required(format!("{field}.name"), ""));
        }
        if !volumes.contains(name) {
            problems.push(Problem::not_found(format!("{field}.name"), &json!(name)));
        }
        if path.is_empty() {
            problems.push(Problem::required(format!("{field}.mountPath"), ""));
        }
        if !paths.insert(path) {
            let why = "must be unique";
            problems.push(Problem::invalid(format!("{field}.mountPath"), &json!(path), why));
        }
    }
    one_of(container, "imagePullPolicy", field, &["Always", "IfNotPresent", "Never"], problems);
    resources(container, field, problems);
}

fn resources(container: &Value, field: &str, problems: &mut Problems) {
    let limits = at(container, "/resources/limits");
    for of in ["limits", "requests"] {
        for (name, quantity) in at(container, &format!("/resources/{of}")).as_object().into_iter().flatten() {
            let field = format!("{field}.resources.{of}");
            let Some(amount) = Quantity::of(quantity) else { continue };
            if amount.is_negative() {
                let field = format!("{field}[{name}]");
                problems.push(Problem::invalid(field, quantity, "must be greater than or equal to 0"));
            }
            let limit = limits.get(name).and_then(Quantity::of).filter(|_| of == "requests");
            if let Some(limit) = limit.filter(|limit| amount > *limit) {
                let why = format!("must be less than or equal to {name} limit of {limit}");
                problems.push(Problem::invalid(field, quantity, &why));
            }
        }
    }
}

fn probes(container: &Value, field: &str, problems: &mut Problems) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let (probe, field) = (at(container, &format!("/{name}")), format!("{field}.{name}"));
        if probe.is_null() {
            continue;
        }
        let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
        if !handlers.iter().any(|handler| probe.get(handler).is_some()) {
            problems.push(Problem::required(field.clone(), "must specify a handler type"));
        }
        for part in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
            nonnegative(probe, &format!("/{part}"), &format!("{field}.{part}"), problems);
        }
        let successes = at(probe, "/successThreshold");
        if name != "readinessProbe" && successes != &json!(1) {
            problems.push(Problem::invalid(format!("{field}.successThreshold"), successes, "must be 1"));
        }
    }
}

fn tolerations(spec: &Value, field: &str, problems: &mut Problems) {
    for (index, toleration) in items(spec, "/tolerations").iter().enumerate() {
        let field = |name: &str| format!("{field}.tolerations[{index}].{name}");
        let (key, operator) = (text(toleration, "/key"), text(toleration, "/operator"));
        if !key.is_empty() {
            problems
                .extend(names::qualified(key).iter().map(|wrong| Problem::invalid(field("key"), &json!(key), wrong)));
        }
        if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            problems.push(Problem::invalid(field("operator"), &json!(operator), why));
        }
        let effect = text(toleration, "/effect");
        if !at(toleration, "/tolerationSeconds").is_null() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            problems.push(Problem::invalid(field("effect"), &json!(effect), why));
        }
        let value = text(toleration, "/value");
        match operator {
            "" | "Equal" => {
                let wrongs = names::label_value(value);
                if !wrongs.is_empty() {
                    problems.push(Problem::invalid(field("operator"), &json!(value), &wrongs.join(";")));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    let why = "value must be empty when `operator` is 'Exists'";
                    problems.push(Problem::invalid(field("operator"), &json!(value), why));
                }
            }
            other => {
                let supported = ["Equal", "Exists"];
                problems.push(Problem::not_supported(field("operator"), &json!(other), &supported));
            }
        }
    }
}
