//! From API objects to the model's words: pure, so that a fixture is all a test needs.

mod job;
mod meta;
mod node;
mod pod;
mod revision;
mod time;
mod workload;

pub use job::job;
pub use meta::{controller_of, git_ops_of, git_ops_tool, meta, narrower, owner_kind};
pub use node::{node, planned_disruption};
pub use pod::{OVERDUE_SLACK, pod, worst_first};
pub use revision::{belongs_to, template_hash, template_of_revision};
pub use time::to_chrono;
pub use workload::{controlled_by, daemon_set, deployment, scaled_by, stateful_set};
