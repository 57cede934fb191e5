use chrono::{DateTime, Utc};
use evenkeel_model::{Kind, ObjectRef, Severity};
use k8s_openapi::api::core::v1::Event;

use super::{Thresholds, Trouble, quota, reference};
use crate::world::{short, time};

/// Warning Events that tell what no status does, and of which kinds. (ReplicaSets' FailedCreate is
/// in their status.)
const TELLING: [(&str, &[Kind]); 5] = [
    ("FailedCreate", &[Kind::StatefulSet, Kind::DaemonSet, Kind::Job]),
    ("Unhealthy", &[Kind::Pod]),
    ("FailedMount", &[Kind::Pod]),
    ("FailedAttachVolume", &[Kind::Pod]),
    ("FailedCreatePodSandBox", &[Kind::Pod]),
];

/// Events of one trouble come as ever new objects (each pod that can't be created has another
/// name), with counts that begin anew: as long as they come it is one transition.
const MARK: &str = "event";

/// What a warning Event tells, and about what. Old ones tell nothing: a list brings an hour of them.
pub(crate) fn event(event: &Event, limits: &Thresholds, now: DateTime<Utc>) -> Option<(ObjectRef, Trouble)> {
    let reason = event.reason.as_deref()?;
    let involved = &event.involved_object;
    let kind: Kind = involved.kind.as_deref()?.parse().ok()?;
    let (telling, _) = TELLING.iter().find(|(name, kinds)| *name == reason && kinds.contains(&kind))?;
    let (count, last) = count_and_last(event)?;
    let until = last + limits.event_quiet.chrono();
    if now >= until || (*telling == "Unhealthy" && count < limits.probe_failures) {
        return None;
    }
    let namespace = involved.namespace.as_deref().unwrap_or_default();
    let object = reference(kind, namespace, involved.name.as_deref()?).with_uid(involved.uid.as_deref()?);
    let message = event.message.as_deref().unwrap_or_default();
    let first = event.first_timestamp.as_ref().map_or(last, time);
    // A volume that can't be attached is one that can't be mounted.
    let name = if *telling == "FailedAttachVolume" { "FailedMount" } else { telling };
    let trouble = Trouble::new(name, Severity::Warning, MARK, short(message))
        .since(first)
        .until(until)
        .because_of(quota(namespace, message));
    Some((object, trouble))
}

/// How often and when last, in any of the three ways Events say so.
pub(crate) fn count_and_last(event: &Event) -> Option<(i32, DateTime<Utc>)> {
    let micro = |at: &k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime| {
        DateTime::from_timestamp_micros(at.0.as_microsecond()).unwrap_or_default()
    };
    if let Some(series) = &event.series {
        return Some((series.count.unwrap_or(1), series.last_observed_time.as_ref().map(micro)?));
    }
    let last = event.last_timestamp.as_ref().map(time);
    let last = last.or_else(|| event.event_time.as_ref().map(micro));
    let last = last.or_else(|| event.metadata.creation_timestamp.as_ref().map(time))?;
    Some((event.count.unwrap_or(1), last))
}
