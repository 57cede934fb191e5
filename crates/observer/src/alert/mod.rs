//! Alerts, however they came, and how they become signals.

mod fingerprint;
mod normalize;
mod text;

pub(crate) use fingerprint::fingerprint;
pub(crate) use normalize::{Normalizer, alert_id, bounded};
pub(crate) use text::{Labels, Text};

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use evenkeel_model::SignalState;

/// The alerts of `alerts/evenkeel.yaml`.
const SHIPPED: [&str; 3] =
    ["EvenkeelIncidentNeedsHuman", "EvenkeelMessagesDead", "EvenkeelRemediationNeedsAcknowledgement"];

/// One alert, borrowed from whatever it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alert<'a> {
    pub(crate) state: SignalState,
    pub(crate) labels: Labels<'a>,
    pub(crate) annotations: Labels<'a>,
    pub(crate) starts_at: DateTime<Utc>,
    /// Set for resolved ones.
    pub(crate) ends_at: Option<DateTime<Utc>>,
    /// Over the labels as the sender has them.
    pub(crate) fingerprint: Cow<'a, str>,
}

impl Alert<'_> {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.labels.get("alertname").unwrap_or("Unnamed")
    }

    /// One of the alerts about evenkeel itself, which must never make it act. Whatever is named so is
    /// taken for one.
    pub(crate) fn is_ours(&self) -> bool {
        self.name().starts_with("Evenkeel")
    }

    /// Named like one of ours, and none that we ship: whoever wrote it may expect more of it.
    pub(crate) fn is_named_like_ours(&self) -> bool {
        self.is_ours() && !SHIPPED.contains(&self.name())
    }
}
