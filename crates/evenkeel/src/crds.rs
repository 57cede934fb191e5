//! `evenkeel crds`.

use anyhow::Result;
use evenkeel_model::{ActionPolicy, Approval, Freeze, Ledger, Playbook, Remediation, Request};
use kube::CustomResourceExt as _;
use serde_json::Value;

use crate::output;

pub(crate) fn run() -> Result<()> {
    output::print(&yaml()?)
}

/// All of them, one YAML document each.
fn yaml() -> Result<String> {
    let all = [
        Playbook::crd(),
        ActionPolicy::crd(),
        Freeze::crd(),
        Remediation::crd(),
        Approval::crd(),
        Request::crd(),
        Ledger::crd(),
    ];
    let mut all = all.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>()?;
    all.iter_mut().for_each(without_unsigned_formats);
    output::documents(&all)
}

/// Takes out formats that the API server does not know, and warns of to whoever applies them. The
/// bounds are in `minimum` and `maximum`.
fn without_unsigned_formats(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                map.remove("format");
            }
            map.values_mut().for_each(without_unsigned_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(without_unsigned_formats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crds_are_as_reviewed() {
        insta::assert_snapshot!(yaml().unwrap());
    }

    #[test]
    fn what_is_written_can_be_read_back() {
        use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
        let yaml = yaml().unwrap();
        let read: Vec<CustomResourceDefinition> = serde_saphyr::from_multiple(&yaml).unwrap();
        let kinds: Vec<&str> = read.iter().map(|crd| crd.spec.names.kind.as_str()).collect();
        let expected = ["Playbook", "ActionPolicy", "Freeze", "Remediation", "Approval", "Request", "Ledger"];
        assert_eq!(kinds, expected);
        assert_eq!(read[1].spec.names, ActionPolicy::crd().spec.names);
        assert!(!yaml.contains("uint"));
    }
}
