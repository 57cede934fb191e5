use chrono::{DateTime, SecondsFormat, Utc};
use evenkeel_cluster::Stamp;
use evenkeel_model::{ApiRequest, STAMP_ANNOTATION};
use serde_json::{Map, Value};

use super::restart_workload::RESTARTED_AT;

/// A request without what says by which claim and when it was made, which nobody signs: the same request made by
/// another gateway a minute later comes to the same. Only where these are written, and only where they are just these.
pub(crate) fn unmarked(request: &ApiRequest, stamp: &Stamp, at: DateTime<Utc>) -> ApiRequest {
    let marks = [(STAMP_ANNOTATION, stamp.to_string()), (RESTARTED_AT, at.to_rfc3339_opts(SecondsFormat::Secs, true))];
    let mut request = request.clone();
    for operation in request.body.iter_mut().filter_map(Value::as_array_mut).flatten() {
        let Some(fields) = operation.as_object_mut() else { continue };
        // What is tested was there before.
        if fields.get("op").and_then(Value::as_str) == Some("test") {
            continue;
        }
        let path = fields.get("path").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
        let name = path.map(|last| last.replace("~1", "/").replace("~0", "~")).unwrap_or_default();
        if let Some(value) = fields.get_mut("value") {
            unmark(&name, value, &marks);
        }
    }
    request
}

fn unmark(name: &str, value: &mut Value, marks: &[(&str, String)]) {
    match value {
        Value::String(text) if marks.iter().any(|(of, mark)| *of == name && mark == text) => text.clear(),
        Value::Object(fields) => unmark_all(fields, marks),
        _ => {}
    }
}

fn unmark_all(fields: &mut Map<String, Value>, marks: &[(&str, String)]) {
    for (name, value) in fields {
        unmark(name, value, marks);
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{Kind, ObjectRef, Verb};
    use serde_json::json;

    use super::*;
    use crate::testing::at;

    fn of(body: Value, epoch: u64, seconds: i64) -> ApiRequest {
        let object = ObjectRef::namespaced(Kind::Deployment, "shop", "cart");
        let request = ApiRequest { verb: Verb::Patch, object, body: Some(body) };
        unmarked(&request, &Stamp::new("r-1", epoch), at(seconds))
    }

    fn restart(epoch: u64, time: &str, image: &str) -> Value {
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u"},
            {"op": "add", "path": "/spec/template/metadata/annotations", "value": {RESTARTED_AT: time}},
            {"op": "replace", "path": "/spec/image", "value": image},
            {"op": "add", "path": "/metadata/annotations/evenkeel.dev~1remediation", "value": format!("r-1/{epoch}")},
        ])
    }

    #[test]
    fn by_which_claim_and_when_is_not_signed_and_everything_else_is() {
        let first = of(restart(1, "2026-01-05T12:00:00Z", "cart:1"), 1, 0);
        assert_eq!(of(restart(7, "2026-01-05T12:00:09Z", "cart:1"), 7, 9), first);
        assert_ne!(of(restart(7, "2026-01-05T12:00:09Z", "cart:2"), 7, 9), first);
        // Neither another time or stamp in their places, nor these in other places.
        assert_ne!(of(restart(7, "2027-01-05T12:00:09Z", "cart:1"), 7, 9), first);
        assert_ne!(of(restart(8, "2026-01-05T12:00:09Z", "cart:1"), 7, 9), first);
        assert_ne!(
            of(restart(7, "2026-01-05T12:00:09Z", "r-1/7"), 7, 9),
            of(restart(1, "2026-01-05T12:00:00Z", "r-1/1"), 1, 0)
        );
    }

    #[test]
    fn what_was_there_before_is_signed() {
        let test = |time: &str| {
            json!([{"op": "test", "path": "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt",
                "value": time}])
        };
        assert_ne!(of(test("2026-01-05T12:00:00Z"), 1, 0), of(test("2026-01-05T12:00:09Z"), 1, 9));
    }
}
