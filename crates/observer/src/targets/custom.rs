//! Targets of alerts that the table does not know.

use evenkeel_model::{Kind, ObjectRef};

use super::{object, told};
use crate::alert::Labels;
use crate::world::World;

/// Labels that name an object of one kind and nothing else, most telling first. `job` is not among
/// them: it is Prometheus' scrape job, never a Job.
const KINDS: [(&str, Kind); 9] = [
    ("deployment", Kind::Deployment),
    ("statefulset", Kind::StatefulSet),
    ("daemonset", Kind::DaemonSet),
    ("job_name", Kind::Job),
    ("cronjob", Kind::CronJob),
    ("horizontalpodautoscaler", Kind::HorizontalPodAutoscaler),
    ("persistentvolumeclaim", Kind::PersistentVolumeClaim),
    ("poddisruptionbudget", Kind::PodDisruptionBudget),
    ("node", Kind::Node),
];

pub(super) fn by_labels(labels: &Labels<'_>, world: &World, exporters: &[String]) -> Option<ObjectRef> {
    let explicit = KINDS.iter().find_map(|(label, kind)| object(*kind, told(labels, label)?, labels));
    match explicit {
        // Where a pod runs is often put beside it by the scrape: then the pod is meant, not its node.
        Some(node) if node.kind == Kind::Node => {
            let pod = pod(labels, exporters).filter(|pod| world.node_of(pod) == Some(node.name.as_str()));
            pod.or(Some(node))
        }
        Some(object) => Some(object),
        None => pod(labels, exporters),
    }
}

/// The pod that the labels name, unless it is the exporter that told.
fn pod(labels: &Labels<'_>, exporters: &[String]) -> Option<ObjectRef> {
    let name = told(labels, "pod")?;
    let pod = object(Kind::Pod, name, labels)?;
    (!is_exporter(name, exporters)).then_some(pod)
}

fn is_exporter(pod: &str, exporters: &[String]) -> bool {
    pod.split('-').any(|part| part == "exporter")
        || exporters.iter().any(|exporter| {
            // The exporter itself, or one in a release: `kps-kube-state-metrics-6c9…`.
            pod.match_indices(exporter.as_str()).any(|(at, found)| {
                let before = pod.get(..at).is_some_and(|before| before.is_empty() || before.ends_with('-'));
                let after = pod.get(at + found.len()..).is_some_and(|after| after.is_empty() || after.starts_with('-'));
                before && after
            })
        })
}
