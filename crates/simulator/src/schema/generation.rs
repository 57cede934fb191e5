//! Which kinds count their generations, and what counts (pkg/registry/*/*/strategy.go).

use serde_json::{Map, Value, json};

use super::API_EXTENSIONS;
use crate::api::Part;
use crate::kinds::Kind;
use crate::value::{at, integer, set, unset};

/// What makes a new generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// The kind has no generation.
    Never,
    /// It has, and no write changes it.
    Once,
    Spec,
    SpecAndAnnotations,
    /// Everything but the metadata and, where it is a subresource, the status; and the labels of EndpointSlices.
    All {
        labels: bool,
    },
}

fn counts(kind: &Kind) -> Counts {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => Counts::SpecAndAnnotations,
        ("apps", "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job" | "CronJob")
        | ("", "Pod")
        | ("networking.k8s.io", "Ingress" | "NetworkPolicy")
        | ("policy", "PodDisruptionBudget")
        | (API_EXTENSIONS, _) => Counts::Spec,
        ("scheduling.k8s.io", "PriorityClass") => Counts::Once,
        ("discovery.k8s.io", "EndpointSlice") => Counts::All { labels: true },
        (
            ""
            | "apps"
            | "batch"
            | "autoscaling"
            | "policy"
            | "coordination.k8s.io"
            | "storage.k8s.io"
            | "networking.k8s.io"
            | "discovery.k8s.io"
            | "scheduling.k8s.io"
            | "rbac.authorization.k8s.io"
            | "events.k8s.io",
            _,
        ) => Counts::Never,
        _ => Counts::All { labels: false },
    }
}

fn content(object: &Value) -> Map<String, Value> {
    let fields = object.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| name.as_str() != "metadata");
    fields.map(|(name, field)| (name.clone(), field.clone())).collect()
}

/// Sets `metadata.generation`, or takes it away where the kind has none.
pub(crate) fn set_generation(kind: &Kind, part: Part, object: &mut Value, old: Option<&Value>) {
    let counts = counts(kind);
    if counts == Counts::Never {
        unset(object, "/metadata/generation");
        return;
    }
    let Some(old) = old else { return set(object, "/metadata/generation", json!(1)) };
    let differs = |pointer: &str| at(object, pointer) != at(old, pointer);
    let changed = part == Part::Main
        && match counts {
            Counts::Never | Counts::Once => false,
            Counts::Spec => differs("/spec"),
            Counts::SpecAndAnnotations => differs("/spec") || differs("/metadata/annotations"),
            Counts::All { labels } => content(object) != content(old) || labels && differs("/metadata/labels"),
        };
    let before = integer(old, "/metadata/generation").unwrap_or(1);
    set(object, "/metadata/generation", json!(before + i64::from(changed)));
}
