//! How the controllers of workloads record Events.

use serde_json::Value;

use super::recorder::Note;
use super::{Cluster, disruption};

impl Cluster<'_> {
    /// Records an Event of type `Normal` or `Warning` as this controller.
    pub(super) fn record(&mut self, about: &Value, of: &str, reason: &str, message: impl AsRef<str>) {
        // This one alone says not who it is but where it runs.
        let component = if self.name == disruption::NAME { "controllermanager" } else { self.name };
        self.tell(about, Note { component, ..Note::default() }, of, reason, message.as_ref());
    }
}
