//! LimitRanger (plugin/pkg/admission/limitranger).

use serde_json::{Value, json};

use super::quota::pod_totals;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::schema::problem::forbid;
use crate::schema::quantity::Quantity;
use crate::state::State;
use crate::value::{at, items, name, namespace, set, text};

fn ranges(state: &State, home: &str) -> Vec<Value> {
    let all = state.store.of(&"limitranges".into());
    let here = all.filter(|(key, _)| key.namespace == home);
    here.flat_map(|(_, range)| items(range, "/spec/limits").to_vec()).collect()
}

/// Gives containers the requests and limits that they do not have.
pub(super) fn fill_in(state: &State, object: &mut Value) {
    let ranges = ranges(state, namespace(object));
    let mut set_for: Vec<String> = Vec::new();
    for range in ranges.iter().filter(|range| text(range, "/type") == "Container") {
        for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
            let Some(Value::Array(containers)) = object.pointer_mut(&format!("/spec/{list}")) else { continue };
            for container in containers {
                for (of, from) in [("requests", "defaultRequest"), ("limits", "default")] {
                    let mut added = Vec::new();
                    for (resource, quantity) in at(range, &format!("/{from}")).as_object().into_iter().flatten() {
                        let place = format!("/resources/{of}/{}", resource.replace('~', "~0").replace('/', "~1"));
                        if at(container, &place).is_null() {
                            set(container, &place, quantity.clone());
                            added.push(resource.clone());
                        }
                    }
                    if !added.is_empty() {
                        added.sort();
                        let (added, of) = (added.join(", "), of.trim_end_matches('s'));
                        set_for.push(format!("{added} {of} for {what} {}", text(container, "/name")));
                    }
                }
            }
        }
    }
    if !set_for.is_empty() {
        let note = format!("LimitRanger plugin set: {}", set_for.join("; "));
        set(object, "/metadata/annotations/kubernetes.io~1limit-ranger", json!(note));
    }
}

/// Refuses what is beyond a range.
pub(super) fn validate(state: &State, kind: &Kind, object: &Value) -> Result<(), Failure> {
    let pod = kind.kind == "Pod" && kind.group.is_empty();
    let claim = kind.kind == "PersistentVolumeClaim";
    if !pod && !claim {
        return Ok(());
    }
    let mut wrong: Vec<String> = Vec::new();
    for range in ranges(state, namespace(object)) {
        match text(&range, "/type") {
            "Container" if pod => {
                for list in ["containers", "initContainers"] {
                    for container in items(object, &format!("/spec/{list}")) {
                        within(&range, at(container, "/resources"), true, &mut wrong);
                    }
                }
            }
            "Pod" if pod => {
                let resources =
                    json!({"requests": pod_totals(object, "requests"), "limits": pod_totals(object, "limits")});
                within(&range, &resources, true, &mut wrong);
            }
            "PersistentVolumeClaim" if claim => within(&range, at(object, "/spec/resources"), false, &mut wrong),
            _ => {}
        }
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(forbid(kind, name(object), one)),
        many => Err(forbid(kind, name(object), &format!("[{}]", many.join(", ")))),
    }
}

fn within(range: &Value, resources: &Value, limited: bool, wrong: &mut Vec<String>) {
    let what = text(range, "/type");
    let of = |list: &str, resource: &str| at(resources, &format!("/{list}")).get(resource).and_then(Quantity::of);
    let bounds = |name: &str| {
        let bounds = at(range, &format!("/{name}")).as_object().into_iter().flatten();
        let bounds = bounds.filter_map(|(resource, bound)| Some((resource.clone(), Quantity::of(bound)?)));
        bounds.collect::<Vec<_>>()
    };
    for (resource, least) in bounds("min") {
        let rule = format!("minimum {resource} usage per {what} is {least}");
        match (of("requests", &resource), of("limits", &resource)) {
            (None, _) => wrong.push(format!("{rule}.  No request is specified")),
            (Some(request), _) if request < least => wrong.push(format!("{rule}, but request is {request}")),
            (_, Some(limit)) if limited && limit < least => wrong.push(format!("{rule}, but limit is {limit}")),
            _ => {}
        }
    }
    for (resource, most) in bounds("max") {
        let rule = format!("maximum {resource} usage per {what} is {most}");
        match (of("requests", &resource), of("limits", &resource)) {
            (None, _) if !limited => wrong.push(format!("{rule}.  No request is specified")),
            (_, None) if limited => wrong.push(format!("{rule}.  No limit is specified")),
            (_, Some(limit)) if limited && limit > most => wrong.push(format!("{rule}, but limit is {limit}")),
            (Some(request), _) if request > most => wrong.push(format!("{rule}, but request is {request}")),
            _ => {}
        }
    }
    for (resource, ratio) in bounds("maxLimitRequestRatio") {
        let rule = format!("{resource} max limit to request ratio per {what} is {ratio}");
        let request = of("requests", &resource).filter(|request| !request.is_zero());
        let limit = of("limits", &resource).filter(|limit| !limit.is_zero());
        match (request, limit) {
            (None, _) => wrong.push(format!("{rule}, but no request is specified or request is 0")),
            (_, None) => wrong.push(format!("{rule}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let found = limit.as_f64() / request.as_f64();
                if found > ratio.as_f64() {
                    wrong.push(format!("{rule}, but provided ratio is {found:.6}"));
                }
            }
        }
    }
}
