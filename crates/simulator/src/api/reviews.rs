//! Requests that create nothing and ask for an answer: who am I, who may. Nobody's rights are modelled: everybody may
//! do everything, and is in one group.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::serve::{Reply, Request};
use super::uri::Place;
use crate::failure::Failure;

/// The group that everybody is in who has logged in.
pub(crate) const EVERYBODY: &str = "system:authenticated";

/// Whether it is such a request: it is a create, and changes nothing.
pub(super) fn is_review(place: &Place) -> bool {
    matches!(
        (place.group.as_str(), place.plural.as_str()),
        ("authentication.k8s.io", "selfsubjectreviews")
            | ("authorization.k8s.io", "subjectaccessreviews" | "selfsubjectaccessreviews")
    )
}

/// The answer, where it is such a request.
pub(super) fn answer(request: &Request, place: &Place) -> Option<Result<Reply, Failure>> {
    if !is_review(place) {
        return None;
    }
    let status: Value = match place.plural.as_str() {
        "selfsubjectreviews" => json!({"userInfo": {"username": request.user, "groups": [EVERYBODY]}}),
        _ => json!({"allowed": true}),
    };
    if request.method != Method::POST || place.version != "v1" {
        return Some(Err(Failure::method_not_allowed()));
    }
    let mut review = (*request.body).clone();
    crate::value::set(&mut review, "/status", status);
    Some(Ok(Reply::Object(201, Arc::new(review))))
}
