//! Events as components record them: one object for one thing that happens to one object, counted when it happens again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::kubelet::{Budget, Kind};
use super::{Cluster, Controller};
use crate::api::By;
use crate::store::Key;
use crate::value::{at, integer, name, namespace, rfc3339, set, text, time, uid};

/// How long the API server keeps an Event after it was last written.
const KEPT: chrono::Duration = chrono::Duration::hours(1);
/// How often that is looked after.
const SWEEP: chrono::Duration = chrono::Duration::minutes(5);

/// Who says it, where, and about which part of the object.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Note<'a> {
    pub(crate) component: &'a str,
    pub(crate) host: &'a str,
    /// `spec.containers{app}`, or empty.
    pub(crate) field_path: &'a str,
}

/// After so many different messages within [`SIMILAR_FOR`], the next ones are told as one.
const SIMILAR: usize = 10;
const SIMILAR_FOR: chrono::Duration = chrono::Duration::minutes(10);

/// What recorders remember of what they told.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Which Event says what, of those that may be counted up.
    events: BTreeMap<Said, (Key, DateTime<Utc>)>,
    /// The different messages of one reason about one object.
    similar: BTreeMap<[String; 4], (BTreeSet<String>, DateTime<Utc>)>,
    /// How much more may be told, by who tells it and about what.
    budgets: BTreeMap<[String; 2], Budget>,
}

/// Who, about what, type, reason, message.
type Said = [String; 5];

impl Recorded {
    fn forget(&mut self, now: DateTime<Utc>) {
        self.events.retain(|_, (_, last)| now - *last < KEPT);
        self.similar.retain(|_, (_, last)| now - *last < SIMILAR_FOR);
    }

    /// The message as it is told: the same for all, once there are too many that differ.
    fn combine(&mut self, said: &Said, now: DateTime<Utc>) -> Option<String> {
        let [who, about, kind, reason, message] = said.clone();
        let (messages, last) = self.similar.entry([who, about, kind, reason]).or_insert_with(|| (BTreeSet::new(), now));
        *last = now;
        messages.insert(message.clone());
        (messages.len() >= SIMILAR).then(|| format!("(combined from similar events): {message}"))
    }
}

impl Cluster<'_> {
    /// Records that something happened to an object. Gives nothing: components don't fail for want of an Event.
    pub(crate) fn tell(&mut self, about: &Value, note: Note<'_>, kind: &str, reason: &str, message: &str) {
        let now = self.now();
        let who = format!("{}/{}/{}", note.component, note.host, note.field_path);
        let object = format!("{}/{}/{}/{}", text(about, "/kind"), namespace(about), name(about), uid(about));
        let mut said = [who, object.clone(), kind.to_owned(), reason.to_owned(), message.to_owned()];
        let recorded = &mut self.state.recorded;
        recorded.forget(now);
        let combined = recorded.combine(&said, now);
        let message = combined.as_deref().unwrap_or(message);
        if let (Some(_), Some(last)) = (&combined, said.last_mut()) {
            // One Event for all of them, whatever each says.
            last.clear();
        }
        // A kubelet keeps its own account, which tells it when to speak again.
        if note.component != "kubelet" {
            let budget = recorded.budgets.entry([note.component.to_owned(), object]).or_default();
            let kind = if kind == "Warning" { Kind::Warning } else { Kind::Normal };
            if !budget.spend(kind, now) {
                return;
            }
        }
        if let Some((key, last)) = recorded.events.get_mut(&said) {
            let key = key.clone();
            *last = now;
            if let Some(event) = self.state.store.get(&key).cloned() {
                let mut event = (*event).clone();
                let count = integer(&event, "/count").unwrap_or(1) + 1;
                set(&mut event, "/count", json!(count));
                set(&mut event, "/message", json!(message));
                set(&mut event, "/lastTimestamp", rfc3339(now));
                drop(self.update("events", event));
                return;
            }
        }
        let event = self.event_of(about, note, kind, reason, message);
        if let Ok(written) = self.write_event(event) {
            let key = Key::new("events", namespace(&written), name(&written));
            self.state.recorded.events.insert(said, (key, now));
        }
    }

    /// Records it in the newer way of the scheduler: without a count.
    pub(crate) fn tell_once(
        &mut self,
        about: &Value,
        component: &str,
        action: &str,
        kind: &str,
        reason: &str,
        message: &str,
    ) {
        let note = Note { component, ..Note::default() };
        let mut event = self.event_of(about, note, kind, reason, message);
        let now = self.now().to_rfc3339_opts(SecondsFormat::Micros, true);
        set(&mut event, "/eventTime", json!(now));
        set(&mut event, "/action", json!(action));
        set(&mut event, "/reportingInstance", json!(format!("{component}-0")));
        set(&mut event, "/source", json!({}));
        for field in ["/count", "/firstTimestamp", "/lastTimestamp"] {
            crate::value::unset(&mut event, field);
        }
        drop(self.write_event(event));
    }

    fn write_event(&mut self, event: Value) -> crate::api::Written {
        let by = By { user: "system:serviceaccount:kube-system:event-recorder", manager: "kubelet", dry_run: false };
        let ns = namespace(&event).to_owned();
        self.state.create(by, &"events".into(), &ns, event)
    }

    fn event_of(&mut self, about: &Value, note: Note<'_>, kind: &str, reason: &str, message: &str) -> Value {
        let now = self.now();
        let ns = if namespace(about).is_empty() { "default" } else { namespace(about) };
        // Recorders name Events by the time in nanoseconds; here several fall on the same.
        let nanos = now.timestamp_nanos_opt().unwrap_or_default();
        let serial = i64::try_from(self.state.store.revision() % 1_000_000).unwrap_or_default();
        let mut involved = json!({"apiVersion": at(about, "/apiVersion"), "kind": at(about, "/kind"), "name": name(about), "uid": uid(about)});
        for (field, value) in [
            ("namespace", namespace(about)),
            ("resourceVersion", text(about, "/metadata/resourceVersion")),
            ("fieldPath", note.field_path),
        ] {
            if let (false, Some(map)) = (value.is_empty(), involved.as_object_mut()) {
                map.insert(field.to_owned(), json!(value));
            }
        }
        let mut source = json!({"component": note.component});
        if !note.host.is_empty() {
            set(&mut source, "/host", json!(note.host));
        }
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("{}.{:x}", name(about), nanos + serial), "namespace": ns},
            "involvedObject": involved, "type": kind, "reason": reason, "message": message,
            "source": source, "reportingComponent": note.component, "reportingInstance": note.host,
            "count": 1, "firstTimestamp": rfc3339(now), "lastTimestamp": rfc3339(now), "eventTime": null,
        })
    }
}

/// The end of Events: the API server keeps each for an hour after it was last written.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    due: Option<DateTime<Utc>>,
}

impl Controller for Expiry {
    fn name(&self) -> &'static str {
        "event-ttl"
    }

    fn watches(&self) -> &'static [&'static str] {
        &[]
    }

    fn reconcile(&mut self, cluster: &mut Cluster<'_>) -> Option<DateTime<Utc>> {
        let now = cluster.now();
        if self.due.is_none_or(|due| due <= now) {
            for event in cluster.list("events") {
                let fields = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
                let written = fields.iter().filter_map(|field| time(&event, field)).max();
                if written.is_some_and(|written| written + KEPT <= now) {
                    cluster.state.store.remove(&Key::new("events", namespace(&event), name(&event)));
                }
            }
            self.due = Some(now + SWEEP);
        }
        self.due
    }
}

#[cfg(test)]
mod tests;
