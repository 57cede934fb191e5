//! What became of a request whose answer never came.

use evenkeel_cluster::ReadError;
use evenkeel_model::{ApiRequest, STAMP_ANNOTATION, Verb};
use serde_json::Value;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// What it should bring about is there, and by what that is seen.
    Done(String),
    /// It was not carried out, and by what that is seen.
    NotDone(String),
    /// It can't be told, and why.
    Unknown(String),
}

/// After a crash or a lost answer: what became of a plan's request or inverse. To be asked only
/// once the request can't be under way any more (the API server's request timeout after it was sent).
///
/// A patch is told by its stamp. A delete or eviction leaves none: that the object of that uid is gone
/// or going is what was wanted, whoever did it.
///
/// # Errors
/// When the object can't be read; ask again.
pub(crate) async fn probe(client: &kube::Client, request: &ApiRequest) -> Result<Probe, ReadError> {
    if request.verb == Verb::Tell {
        return Ok(Probe::Done("nothing is written to the object".to_owned()));
    }
    let live = evenkeel_cluster::live(client, &request.object).await?;
    Ok(judge(request, live.as_ref()))
}

fn judge(request: &ApiRequest, live: Option<&Value>) -> Probe {
    match (request.verb, live) {
        (Verb::Tell, _) => Probe::Done("nothing is written to the object".to_owned()),
        (Verb::Delete | Verb::Evict, None) => Probe::Done(format!("{} is gone", request.object)),
        (Verb::Delete | Verb::Evict, Some(live)) => removal(request, live),
        (Verb::Patch, None) => {
            Probe::Unknown(format!("{} was deleted; whether it was patched before can't be told", request.object))
        }
        (Verb::Patch, Some(live)) => patched(request, live),
    }
}

fn removal(request: &ApiRequest, live: &Value) -> Probe {
    let going = live.pointer("/metadata/deletionTimestamp").is_some();
    // Without grace the API server removes it at once.
    if going && super::draft::grace_seconds(request) != Some(0) {
        return Probe::Done(format!("{} is being deleted", request.object));
    }
    Probe::NotDone(format!("{} is still there", request.object))
}

fn patched(request: &ApiRequest, live: &Value) -> Probe {
    let operations = request.body.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let Some(ours) = stamp_of(operations) else {
        return Probe::Unknown("the request leaves no stamp".to_owned());
    };
    let found = live.get("metadata").and_then(|it| it.get("annotations")?.get(STAMP_ANNOTATION)?.as_str());
    if found == Some(ours) {
        return Probe::Done(format!("{} carries the stamp {ours}", request.object));
    }
    let found = found.map_or_else(|| "no stamp".to_owned(), |stamp| format!("the stamp {stamp}"));
    if operations.iter().all(|operation| still_holds(operation, live)) {
        Probe::NotDone(format!("{} carries {found} and holds what it held before", request.object))
    } else {
        Probe::Unknown(format!(
            "{} carries {found} and not {ours}, but does not hold what it held before",
            request.object
        ))
    }
}

/// The stamp a patch leaves, in a map of annotations that it makes or in the one that is there.
fn stamp_of(operations: &[Value]) -> Option<&str> {
    operations.iter().filter(|operation| op(operation) == "add").find_map(|operation| {
        let value = operation.get("value")?;
        match operation.get("path")?.as_str()? {
            "/metadata/annotations" => value.get(STAMP_ANNOTATION)?.as_str(),
            path if path.strip_prefix("/metadata/annotations/")?.replace("~1", "/") == STAMP_ANNOTATION => {
                value.as_str()
            }
            _ => None,
        }
    })
}

fn op(operation: &Value) -> &str {
    operation.get("op").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a test of the patch would still pass. That annotations were absent is no field of ours.
fn still_holds(operation: &Value, live: &Value) -> bool {
    let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
    if op(operation) != "test" || path == "/metadata/annotations" {
        return true;
    }
    live.pointer(path).unwrap_or(&Value::Null) == operation.get("value").unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::{Patch, Stamp};
    use evenkeel_model::{Kind, ObjectRef};
    use serde_json::json;

    use super::*;

    fn request(verb: Verb, body: Option<Value>) -> ApiRequest {
        ApiRequest { verb, object: ObjectRef::namespaced(Kind::Deployment, "shop", "cart").with_uid("u"), body }
    }

    fn cart(replicas: i32, annotations: Option<Value>) -> Value {
        let mut cart = json!({"metadata": {"uid": "u"}, "spec": {"replicas": replicas}});
        if let Some(annotations) = annotations {
            cart["metadata"]["annotations"] = annotations;
        }
        cart
    }

    #[test]
    fn the_stamp_tells_a_patch_that_landed_from_one_that_did_not() {
        for before in [cart(3, None), cart(3, Some(json!({"a": "b"})))] {
            let built = Patch::of(&before).set(&["spec", "replicas"], json!(5)).build(&Stamp::new("r-1", 2)).unwrap();
            let request = request(Verb::Patch, Some(built.request));
            let stamped = |stamp: &str| Some(json!({"evenkeel.dev/remediation": stamp}));
            assert!(matches!(judge(&request, Some(&cart(5, stamped("r-1/2")))), Probe::Done(_)));
            assert!(matches!(judge(&request, Some(&cart(9, stamped("r-1/2")))), Probe::Done(_)), "changed since");
            assert!(matches!(judge(&request, Some(&before)), Probe::NotDone(_)));
            assert!(matches!(judge(&request, Some(&cart(3, stamped("r-1/1")))), Probe::NotDone(_)));
            assert!(matches!(judge(&request, Some(&cart(5, None))), Probe::Unknown(_)));
            assert!(matches!(judge(&request, None), Probe::Unknown(_)));
        }
    }

    #[test]
    fn an_inverse_is_told_in_the_same_way() {
        let before = cart(3, None);
        let built = Patch::of(&before).set(&["spec", "replicas"], json!(5)).build(&Stamp::new("r-1", 2)).unwrap();
        let request = request(Verb::Patch, Some(built.inverse));
        let stamped = |stamp: &str| Some(json!({"evenkeel.dev/remediation": stamp}));
        assert!(matches!(judge(&request, Some(&cart(3, stamped("r-1/2/undo")))), Probe::Done(_)));
        assert!(matches!(judge(&request, Some(&cart(5, stamped("r-1/2")))), Probe::NotDone(_)));
        assert!(matches!(judge(&request, Some(&cart(7, stamped("r-1/2")))), Probe::Unknown(_)));
    }

    #[test]
    fn a_removal_is_done_when_the_object_is_gone_or_going() {
        let going = json!({"metadata": {"uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        for verb in [Verb::Delete, Verb::Evict] {
            let request = request(verb, None);
            assert!(matches!(judge(&request, None), Probe::Done(_)));
            assert!(matches!(judge(&request, Some(&going)), Probe::Done(_)));
            assert!(matches!(judge(&request, Some(&cart(3, None))), Probe::NotDone(_)));
        }
        let at_once = request(Verb::Delete, Some(super::super::draft::without_grace()));
        assert!(matches!(judge(&at_once, Some(&going)), Probe::NotDone(_)));
    }
}
