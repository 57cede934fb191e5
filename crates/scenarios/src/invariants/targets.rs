use evenkeel_model::{Kind, ObjectRef, Source};

use super::Seen;
use crate::runner::Violation;

/// Labels that name what an alert is about whenever they are there; those of an exporter's own pod never are.
const NAMES: [(&str, Kind); 5] = [
    ("deployment", Kind::Deployment),
    ("statefulset", Kind::StatefulSet),
    ("daemonset", Kind::DaemonSet),
    ("job_name", Kind::Job),
    ("horizontalpodautoscaler", Kind::HorizontalPodAutoscaler),
];

/// Signals that are about something else than their alert.
pub(super) fn wrong(seen: &Seen<'_>) -> Vec<Violation> {
    let alerts = seen.signals.iter().filter(|(_, signal)| signal.source != Source::Kubernetes);
    let mut found = Vec::new();
    for (_, signal) in alerts {
        let named = NAMES.iter().find_map(|(label, kind)| Some((*kind, signal.labels.get(*label)?)));
        let Some(((kind, name), namespace)) = named.zip(signal.labels.get("namespace")) else { continue };
        let about = ObjectRef::namespaced(kind, namespace.as_str(), name.as_str());
        if signal.target.as_ref().is_none_or(|target| target.to_string() != about.to_string()) {
            let taken_for = signal.target.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let what = format!("{} is about {about} and was taken to be about {taken_for}", signal.name);
            found.push(Violation::new("right target", what));
        }
    }
    found
}
