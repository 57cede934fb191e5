//! Signals as the tests need them.

use chrono::{DateTime, TimeZone as _, Utc};
use evenkeel_model::{Kind, ObjectRef, Severity, Signal, SignalState, Source};

use crate::Arrival;

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_780_000_000 + seconds, 0).unwrap()
}

pub(crate) fn cart() -> ObjectRef {
    ObjectRef::namespaced(Kind::Deployment, "shop", "cart").with_uid("u-cart")
}

pub(crate) fn firing(name: &str, pod: &str, starts_at: DateTime<Utc>) -> Arrival {
    signal(name, pod, starts_at, None)
}

pub(crate) fn resolved(name: &str, pod: &str, starts_at: DateTime<Utc>, ends_at: DateTime<Utc>) -> Arrival {
    signal(name, pod, starts_at, Some(ends_at))
}

fn signal(name: &str, pod: &str, starts_at: DateTime<Utc>, ends_at: Option<DateTime<Utc>>) -> Arrival {
    let state = if ends_at.is_some() { SignalState::Resolved } else { SignalState::Firing };
    Arrival {
        signal: Signal {
            id: format!("{name}/{pod}/{starts_at}/{state:?}"),
            source: Source::Kubernetes,
            name: name.to_owned(),
            state,
            severity: Severity::Warning,
            cluster: "test".to_owned(),
            target: Some(ObjectRef::namespaced(Kind::Pod, "shop", pod)),
            root: Some(cart()),
            causes: vec![],
            labels: Default::default(),
            summary: String::new(),
            suppressed: None,
            holds_object: false,
            starts_at,
            ends_at,
            observed_at: ends_at.unwrap_or(starts_at),
        },
        traceparent: None,
    }
}
