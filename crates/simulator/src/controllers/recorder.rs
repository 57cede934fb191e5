//! Events as components record them: one object for one thing that happens to one object, counted when it happens again.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::Cluster;
use crate::api::By;
use crate::store::Key;
use crate::value::{at, integer, name, namespace, rfc3339, set, text, uid};

/// How long the API server keeps an Event after it was last written.
const KEPT: chrono::Duration = chrono::Duration::hours(1);

/// Who says it, where, and about which part of the object.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Note<'a> {
    pub(crate) component: &'a str,
    pub(crate) host: &'a str,
    /// `spec.containers{app}`, or empty.
    pub(crate) field_path: &'a str,
}

/// Which Event says what, of those that may be counted up.
#[derive(Debug, Default)]
pub(crate) struct Recorded(BTreeMap<[String; 5], (Key, DateTime<Utc>)>);

impl Cluster<'_> {
    /// Records that something happened to an object. Gives nothing: components don't fail for want of an Event.
    pub(crate) fn tell(&mut self, about: &Value, note: Note<'_>, kind: &str, reason: &str, message: &str) {
        let now = self.now();
        let same = [
            format!("{}/{}/{}", note.component, note.host, note.field_path),
            format!("{}/{}/{}/{}", text(about, "/kind"), namespace(about), name(about), uid(about)),
            kind.to_owned(),
            reason.to_owned(),
            message.to_owned(),
        ];
        self.state.recorded.0.retain(|_, (_, last)| now - *last < KEPT);
        if let Some((key, last)) = self.state.recorded.0.get_mut(&same) {
            let key = key.clone();
            *last = now;
            if let Some(event) = self.state.store.get(&key).cloned() {
                let mut event = (*event).clone();
                let count = integer(&event, "/count").unwrap_or(1) + 1;
                set(&mut event, "/count", json!(count));
                set(&mut event, "/lastTimestamp", rfc3339(now));
                drop(self.update("events", event));
                return;
            }
        }
        let event = self.event_of(about, note, kind, reason, message);
        if let Ok(written) = self.write_event(event) {
            self.state.recorded.0.insert(same, (Key::new("events", namespace(&written), name(&written)), now));
        }
    }

    /// Records that something happened to an object, as this controller.
    pub(crate) fn event(&mut self, about: &Value, kind: &str, reason: &str, message: &str) {
        let component = self.name;
        self.tell(about, Note { component, ..Note::default() }, kind, reason, message);
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
