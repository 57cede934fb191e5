//! What streams, buckets and headers are called on the server.

use crate::{BucketName, BusError, Cluster, ConsumerName, Key, Stream};

/// Header with the publisher's id where `Nats-Msg-Id` can't carry it.
pub(crate) const HEADER_ID: &str = "Evenkeel-Id";
/// Header of dead messages: why nobody could handle it.
pub(crate) const HEADER_REASON: &str = "Evenkeel-Reason";
/// Header of dead messages: the subject it was published to.
pub(crate) const HEADER_SUBJECT: &str = "Evenkeel-Subject";
/// W3C trace context.
pub(crate) const HEADER_TRACE: &str = "traceparent";

/// The largest id, in bytes.
const MAX_ID_BYTES: usize = 256;

/// The longest reason; the rest is cut.
const MAX_REASON_CHARS: usize = 1024;

/// The stream's name on the server: `EVENKEEL_<CLUSTER>_SIGNALS`.
pub(crate) fn stream(cluster: &Cluster, stream: Stream) -> String {
    let kind = match stream {
        Stream::Signals => "SIGNALS",
        Stream::Proposals => "PROPOSALS",
        Stream::Outcomes => "OUTCOMES",
        Stream::Audit => "AUDIT",
        Stream::WakeUps => "WAKE_UPS",
        Stream::Dead => "DEAD",
    };
    format!("EVENKEEL_{}_{kind}", cluster.as_str().to_uppercase())
}

/// The subjects a stream stores.
pub(crate) fn stream_subjects(cluster: &Cluster, stream: Stream) -> Vec<String> {
    let token = stream.token();
    match stream {
        Stream::Proposals | Stream::Outcomes | Stream::Audit => vec![format!("evenkeel.v1.{cluster}.{token}")],
        Stream::Signals | Stream::Dead => vec![format!("evenkeel.v1.{cluster}.{token}.*")],
        // Keys may hold dots, so `at` takes the rest of the subject.
        Stream::WakeUps => vec![wake_at_all(cluster), wake_due(cluster)],
    }
}

/// Where the wake-up of one key is held.
pub(crate) fn wake_at(cluster: &Cluster, key: &Key) -> String {
    format!("evenkeel.v1.{cluster}.wake.at.{key}")
}

/// Where wake-ups are held.
pub(crate) fn wake_at_all(cluster: &Cluster) -> String {
    format!("evenkeel.v1.{cluster}.wake.at.>")
}

/// Where wake-ups arrive when their time has come.
pub(crate) fn wake_due(cluster: &Cluster) -> String {
    format!("evenkeel.v1.{cluster}.wake.due")
}

/// Where evidence is asked for.
pub(crate) fn evidence_all(cluster: &Cluster) -> String {
    format!("evenkeel.v1.{cluster}.evidence.*")
}

/// Where messages of `stream` go that nobody could handle.
pub(crate) fn dead(cluster: &Cluster, stream: Stream) -> String {
    format!("evenkeel.v1.{cluster}.dead.{}", stream.token())
}

/// The bucket's name on the server: `evenkeel_<cluster>_incidents`.
pub(crate) fn bucket(cluster: &Cluster, bucket: BucketName) -> String {
    format!("evenkeel_{cluster}_{}", bucket.name())
}

/// The stream behind a bucket.
pub(crate) fn bucket_stream(cluster: &Cluster, name: BucketName) -> String {
    format!("KV_{}", bucket(cluster, name))
}

/// What stands before a bucket's keys in subjects.
pub(crate) fn bucket_prefix(cluster: &Cluster, name: BucketName) -> String {
    format!("$KV.{}.", bucket(cluster, name))
}

/// Where a bucket's changes are announced, with the key for the wildcard.
pub(crate) fn bucket_changes(cluster: &Cluster, name: BucketName) -> String {
    format!("evenkeel.v1.{cluster}.changed.{}.>", name.name())
}

/// The id of a wake-up: its key and time, in milliseconds as the server schedules it.
pub(crate) fn wake_id(key: &Key, at: chrono::DateTime<chrono::Utc>) -> String {
    format!("{key}@{}", at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

/// What a second attempt to move a message to the dead is recognised by.
pub(crate) fn dead_id(consumer: ConsumerName, sequence: u64) -> String {
    format!("dead.{}.{sequence}", consumer.name())
}

/// A reason as one bounded header line.
pub(crate) fn reason(reason: &str) -> String {
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_REASON_CHARS).collect()
}

/// Checks that an id can be a header value and deduplicates.
pub(crate) fn check_id(id: &str) -> Result<(), BusError> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(BusError::Name {
            found: id.to_owned(),
            expected: "a message id of 1 to 256 printable ASCII characters without spaces",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_cluster() -> Result<(), BusError> {
        let cluster = Cluster::new("eu-1")?;
        assert_eq!(stream(&cluster, Stream::WakeUps), "EVENKEEL_EU-1_WAKE_UPS");
        assert_eq!(bucket(&cluster, BucketName::Incidents), "evenkeel_eu-1_incidents");
        Ok(())
    }

    #[test]
    fn an_id_with_a_line_break_is_refused() {
        assert!(check_id("a\r\nNats-Rollup: all").is_err());
        assert!(check_id("").is_err());
        assert!(check_id(&"x".repeat(257)).is_err());
        assert!(check_id("fingerprint:2026-01-01T00:00:00Z:firing").is_ok());
    }
}
