use chrono::{DateTime, Utc};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::ObjectRef;

/// What stands for every namespace, and for objects that are in none.
const EVERYWHERE: &str = "*";

/// Nothing new is done to what it covers. Read by gateways just before every request that changes
/// something.
///
/// The API server drops misspelt fields of custom resources: whatever gets lost of a Freeze makes it hold longer, or
/// makes the object be refused.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    crates(kube_core = "::kube_core", k8s_openapi = "::k8s_openapi"),
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Freeze",
    plural = "freezes",
    category = "evenkeel",
    printcolumn = r#"{"name":"Namespaces","type":"string","jsonPath":".spec.namespaces"}"#,
    printcolumn = r#"{"name":"Undo","type":"string","jsonPath":".spec.undo"}"#,
    printcolumn = r#"{"name":"From","type":"string","jsonPath":".spec.from"}"#,
    printcolumn = r#"{"name":"Until","type":"string","jsonPath":".spec.until"}"#,
    printcolumn = r#"{"name":"By","type":"string","jsonPath":".spec.by"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".spec.reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self == oldSelf", "message": "a Freeze's spec can't be changed; make another, then delete this one"},
]))]
pub struct FreezeSpec {
    /// Namespaces of the objects it covers. `*` covers all, and objects that are in none; there are no patterns.
    #[schemars(
        length(min = 1, max = 100),
        inner(length(min = 1, max = 63), pattern(r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"))
    )]
    pub namespaces: Vec<String>,
    /// Whether what did not help is still taken back.
    pub undo: FrozenUndo,
    /// Who wants it: the user as the API server knows them.
    #[schemars(length(min = 1, max = 256))]
    pub by: String,
    /// Why, for people.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// It begins then; at once where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// It ends then; when it is deleted where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// Whether a freeze lets undoing go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FrozenUndo {
    /// It goes on: what did not help is taken back.
    GoesOn,
    /// It waits for the end of the freeze as well.
    Waits,
}

impl FreezeSpec {
    /// The first of its namespaces that can't be one's name, if there is one: the definition refuses it, and an older
    /// one did not.
    pub fn misnamed(&self) -> Option<&str> {
        let is_name = |name: &str| {
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !name.starts_with('-')
                && !name.ends_with('-')
                && !name.is_empty()
        };
        self.namespaces.iter().map(String::as_str).find(|name| *name != EVERYWHERE && !is_name(name))
    }

    /// Whether it holds for an object now.
    pub fn covers(&self, object: &ObjectRef, now: DateTime<Utc>) -> bool {
        let place = self.namespaces.iter().any(|name| name == EVERYWHERE || Some(name) == object.namespace.as_ref());
        place && self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}
