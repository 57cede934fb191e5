//! Turns what is seen into signals: Alertmanager webhook, Kubernetes watches, Prometheus polls;
//! answers evidence requests. It reads the cluster and writes nothing to it.
//!
//! Alerts go from the [webhook] straight to the bus, and are acknowledged once they are there.
//! What watches and polls see is level-triggered: [world] holds the cluster, [detect] says what is
//! wrong in it, [tracker] what of that is news, and [relay] tells the bus. [evidence] answers the
//! reasoner's questions, [playbooks] and [availability] keep their buckets.

mod alert;
mod availability;
mod changes;
mod config;
mod detect;
mod evidence;
mod metrics;
mod plane;
mod playbooks;
mod poll;
mod publish;
mod recorded;
mod relay;
mod sight;
mod silences;
mod targets;
mod tracker;
mod watch;
mod webhook;
mod world;

pub use config::{Alertmanager, Config, Kubernetes, Prometheus, Targets};
pub use detect::Thresholds;
pub use metrics::Metrics;
pub use plane::{Error, Listen, Parts, READS, run};
pub use playbooks::PlaybookSource;
pub use poll::HttpError;
pub use recorded::{RecordedAlert, RecordedAlerts};
pub use targets::BadTable;
pub use tracker::Damping;
pub use webhook::BadTokenFile;
