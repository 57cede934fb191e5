//! Watches: what changed after a resourceVersion, for as long as the client listens.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::intercept::Fuse;
use super::list::{Chosen, revision};
use super::serve::{Form, Reply};
use super::uri::Query;
use crate::failure::Failure;
use crate::simulator::Simulator;
use crate::state::State;
use crate::store::Change;
use crate::value::set;

/// Says that the initial events of a streaming list are over.
const INITIAL_END: &str = "k8s.io/initial-events-end";
/// How long a watch lasts that does not say it, at least; the API server takes up to twice that.
const LASTS: u64 = 1800;

/// A watch that a client listens to.
pub(super) struct Watch {
    simulator: Simulator,
    chosen: Chosen,
    form: Form,
    bookmarks: bool,
    /// What was read, and must yet be sent.
    pending: VecDeque<Bytes>,
    /// Everything up to here was read.
    seen: u64,
    changed: Arc<Notify>,
    ends: Instant,
    /// Counts the interruptions of all watches that came before this one.
    epoch: u64,
    over: bool,
    fuse: Fuse,
}

impl State {
    /// Begins a watch.
    pub(super) fn watch(
        &mut self,
        simulator: &Simulator,
        chosen: Chosen,
        query: &Query,
        form: Form,
        fuse: &Fuse,
    ) -> Result<Reply, Failure> {
        let asked = revision(query)?;
        let initial = initial_events(query)?;
        let seconds = query.integer("timeoutSeconds").and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0);
        let seconds = seconds.unwrap_or_else(|| LASTS + self.random.u64(..LASTS));
        let resource = chosen.kind.resource();
        let now = self.store.revision();
        let mut watch = Watch {
            simulator: simulator.clone(),
            bookmarks: query.is_true("allowWatchBookmarks"),
            pending: VecDeque::new(),
            seen: now,
            changed: self.store.listen(&resource),
            ends: Instant::now() + std::time::Duration::from_secs(seconds),
            epoch: self.epoch,
            over: false,
            fuse: fuse.clone(),
            chosen,
            form,
        };
        // From no version, or from any: what there is comes first.
        let shows_all = initial.unwrap_or(matches!(asked, None | Some(0)));
        if shows_all {
            for (_, object) in self.chosen(&watch.chosen) {
                watch.send("ADDED", &object);
            }
            if watch.bookmarks {
                watch.bookmark(Some(INITIAL_END));
            }
        } else if let Some(asked) = asked.filter(|asked| *asked > 0) {
            watch.seen = asked;
            if self.store.since(&resource, asked).is_err() {
                let message = format!("too old resource version: {asked} ({now})");
                watch.fail(&Failure::gone(message));
            } else {
                watch.read(self);
            }
        }
        Ok(Reply::Watch(Box::new(watch)))
    }
}

fn initial_events(query: &Query) -> Result<Option<bool>, Failure> {
    let matching = query.text("resourceVersionMatch");
    let refused = |message: &str| {
        let why = ("FieldValueForbidden", "resourceVersionMatch", message);
        Err(Failure::invalid("ListOptions", "meta.k8s.io", "", why))
    };
    if query.text("sendInitialEvents").is_empty() {
        if !matching.is_empty() {
            return refused(
                "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        return Ok(None);
    }
    if matching != "NotOlderThan" {
        return refused("Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    Ok(Some(query.is_true("sendInitialEvents")))
}

impl Watch {
    /// The next lines; none when the watch is over. A client whose fuse is blown hears nothing more.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.fuse.is_blown() {
                std::future::pending::<()>().await;
            }
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                biased;
                () = self.changed.notified() => {
                    let simulator = self.simulator.clone();
                    let state = simulator.state();
                    if state.epoch != self.epoch {
                        return None;
                    }
                    self.read(&state);
                }
                () = tokio::time::sleep_until(self.ends) => {
                    self.over = true;
                    if self.bookmarks {
                        self.bookmark(None);
                    }
                }
            }
        }
    }

    /// Reads what changed since it last did.
    fn read(&mut self, state: &State) {
        for change in state.store.unread(&self.chosen.kind.resource(), self.seen) {
            self.change(change);
        }
        // One that began in the future hears nothing until then.
        self.seen = self.seen.max(state.store.revision());
    }

    /// What enters the selection is new to the client, what leaves it is gone.
    fn change(&mut self, change: &Change) {
        let had = change.before.as_ref().filter(|object| self.chosen.has(&change.key, object));
        let has = change.after.as_ref().filter(|object| self.chosen.has(&change.key, object));
        match (had, has) {
            (None, Some(now)) => self.send("ADDED", now),
            (Some(_), Some(now)) => self.send("MODIFIED", now),
            (Some(before), None) => {
                let mut last = (**before).clone();
                set(&mut last, "/metadata/resourceVersion", json!(change.revision.to_string()));
                self.send("DELETED", &last);
            }
            (None, None) => {}
        }
    }

    fn send(&mut self, event: &str, object: &Value) {
        let mut line = format!("{{\"type\":\"{event}\",\"object\":").into_bytes();
        self.form.write(object, &mut line);
        line.extend_from_slice(b"}\n");
        self.pending.push_back(line.into());
    }

    fn bookmark(&mut self, annotation: Option<&str>) {
        let mut object = json!({
            "kind": self.chosen.kind.kind, "apiVersion": self.chosen.kind.api_version(),
            "metadata": {"resourceVersion": self.seen.to_string()},
        });
        if let Some(name) = annotation {
            set(&mut object, "/metadata/annotations", json!({name: "true"}));
        }
        self.send("BOOKMARK", &object);
    }

    fn fail(&mut self, failure: &Failure) {
        let line = json!({"type": "ERROR", "object": failure.status});
        self.pending.push_back(format!("{line}\n").into());
        self.over = true;
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("of", &Arc::as_ref(&self.chosen.kind).plural).finish_non_exhaustive()
    }
}
