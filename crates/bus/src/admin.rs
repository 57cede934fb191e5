//! Creating what the planes use: streams, durable consumers and buckets. Run by
//! `evenkeel bus init` with the administrator's user; the planes' users cannot.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, FromConsumer as _, PullConsumer, pull};
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::stream::{
    Compression, Config, DiscardPolicy, Info, Republish, RetentionPolicy, StorageType,
};

use crate::jetstream::{HEADER_ROOM, Link};
use crate::{BucketName, BusError, Cluster, ConsumerName, JetStreamOptions, MAX_VALUE_BYTES, Stream, names};

const MIB: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a stream may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Messages older than this are dropped.
    pub max_age: Duration,
    /// Bytes at which the stream is full. The server reserves them.
    pub max_bytes: u64,
    /// Messages at which the stream is full; `None`: bytes alone decide.
    pub max_messages: Option<u64>,
}

/// What is to be there.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// Limits of [`Stream::Signals`].
    pub signals: StreamLimits,
    /// Limits of [`Stream::Proposals`].
    pub proposals: StreamLimits,
    /// Limits of [`Stream::Outcomes`].
    pub outcomes: StreamLimits,
    /// Limits of [`Stream::Audit`].
    pub audit: StreamLimits,
    /// Limits of [`Stream::WakeUps`]; the server drops the oldest there instead of being full.
    pub wake_ups: StreamLimits,
    /// Limits of [`Stream::Dead`].
    pub dead: StreamLimits,
    /// Bytes of [`BucketName::Incidents`].
    pub incidents_bytes: u64,
    /// Bytes of [`BucketName::Baselines`].
    pub baselines_bytes: u64,
    /// Bytes of [`BucketName::Playbooks`].
    pub playbooks_bytes: u64,
    /// Bytes of [`BucketName::Audit`].
    pub audit_bytes: u64,
    /// Bytes of [`BucketName::Chat`].
    pub chat_bytes: u64,
    /// Copies of everything: 3 where there are three servers or more.
    pub replicas: usize,
    /// How long ids are remembered.
    pub duplicate_window: Duration,
    /// A message not acknowledged in this time comes again.
    pub ack_wait: Duration,
    /// How many messages of a consumer may be unacknowledged at once.
    pub max_ack_pending: u32,
}

impl Default for BusOptions {
    /// Six and a half GiB in all, one copy.
    fn default() -> Self {
        let limits =
            |days: u32, mib: u64| StreamLimits { max_age: DAY * days, max_bytes: mib * MIB, max_messages: None };
        Self {
            signals: limits(30, 2048),
            proposals: limits(1, 256),
            outcomes: limits(30, 512),
            audit: limits(30, 512),
            wake_ups: limits(30, 256),
            dead: limits(30, 256),
            incidents_bytes: 512 * MIB,
            baselines_bytes: 2048 * MIB,
            playbooks_bytes: 64 * MIB,
            audit_bytes: 16 * MIB,
            chat_bytes: 64 * MIB,
            replicas: 1,
            duplicate_window: Duration::from_secs(120),
            ack_wait: Duration::from_secs(30),
            max_ack_pending: 1000,
        }
    }
}

impl BusOptions {
    fn limits(&self, stream: Stream) -> StreamLimits {
        match stream {
            Stream::Signals => self.signals,
            Stream::Proposals => self.proposals,
            Stream::Outcomes => self.outcomes,
            Stream::Audit => self.audit,
            Stream::WakeUps => self.wake_ups,
            Stream::Dead => self.dead,
        }
    }

    fn bucket_bytes(&self, bucket: BucketName) -> u64 {
        match bucket {
            BucketName::Incidents => self.incidents_bytes,
            BucketName::Baselines => self.baselines_bytes,
            BucketName::Playbooks => self.playbooks_bytes,
            BucketName::Audit => self.audit_bytes,
            BucketName::Chat => self.chat_bytes,
        }
    }
}

/// What `init` did to one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Action {
    /// It was not there.
    Created,
    /// It was different.
    Updated,
    /// It was as it should be.
    Unchanged,
}

/// One thing on the server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Item {
    /// `stream`, `consumer` or `bucket`.
    pub kind: &'static str,
    /// Its name on the server.
    pub name: String,
    /// What was done.
    pub action: Action,
}

/// What `init` did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct InitReport {
    /// The server's version.
    pub server: String,
    /// Everything, in the order it was done.
    pub items: Vec<Item>,
    /// What works, but not as it should.
    pub warnings: Vec<String>,
}

impl InitReport {
    /// True when nothing had to be done.
    #[must_use]
    pub fn unchanged(&self) -> bool {
        self.items.iter().all(|item| item.action == Action::Unchanged)
    }
}

/// Creates what is missing and changes what is different; deletes nothing. A second run changes
/// nothing.
///
/// # Errors
/// [`BusError::Unsuitable`] when the server is older than 2.12.6, has no JetStream, or refuses a
/// stream, with its words; [`BusError::Unavailable`] when it does not answer.
pub async fn init(connection: &JetStreamOptions, options: &BusOptions) -> Result<InitReport, BusError> {
    let link = Link::connect(connection).await?;
    let info = link.client.server_info();
    link.context.query_account().await.map_err(|error| {
        BusError::Unsuitable(format!(
            "the server gives this user no JetStream: {error}; expected `jetstream {{}}` in its configuration"
        ))
    })?;
    let mut report = InitReport { server: info.version, items: Vec::new(), warnings: Vec::new() };
    if info.max_payload < MAX_VALUE_BYTES + HEADER_ROOM {
        report.warnings.push(format!(
            "max_payload is {} bytes; expected at least {} for values of 1 MiB with their headers",
            info.max_payload,
            MAX_VALUE_BYTES + HEADER_ROOM
        ));
    }
    let cluster = &connection.cluster;
    for stream in Stream::ALL {
        let action = ensure_stream(&link, |config| stream_config(config, cluster, stream, options)).await?;
        report.items.push(Item { kind: "stream", name: names::stream(cluster, stream), action });
    }
    for bucket in BucketName::ALL {
        let action = ensure_stream(&link, |config| bucket_config(config, cluster, bucket, options)).await?;
        report.items.push(Item { kind: "bucket", name: names::bucket(cluster, bucket), action });
    }
    for consumer in ConsumerName::ALL {
        let action = ensure_consumer(&link, cluster, consumer, options).await?;
        report.items.push(Item { kind: "consumer", name: consumer.name().to_owned(), action });
    }
    Ok(report)
}

/// Lays the stream's settings over what is there, so that what the server chose itself is no difference.
fn stream_config(config: &mut Config, cluster: &Cluster, stream: Stream, options: &BusOptions) {
    let limits = options.limits(stream);
    common(config, options);
    config.name = names::stream(cluster, stream);
    config.subjects = names::stream_subjects(cluster, stream);
    config.max_age = limits.max_age;
    config.max_bytes = to_i64(limits.max_bytes);
    config.max_messages = limits.max_messages.map_or(-1, to_i64);
    config.max_messages_per_subject = -1;
    config.duplicate_window = options.duplicate_window;
    config.deny_delete = true;
    if stream == Stream::WakeUps {
        // The server refuses schedules without these two. A wake-up dropped at the limit is made
        // good by the reasoner's sweep.
        config.allow_message_schedules = true;
        config.allow_rollup = true;
        config.discard = DiscardPolicy::Old;
        config.deny_purge = false;
    } else {
        config.discard = DiscardPolicy::New;
        config.deny_purge = true;
        config.allow_rollup = false;
    }
}

fn bucket_config(config: &mut Config, cluster: &Cluster, bucket: BucketName, options: &BusOptions) {
    common(config, options);
    config.name = names::bucket_stream(cluster, bucket);
    config.subjects = vec![format!("{}>", names::bucket_prefix(cluster, bucket))];
    config.max_age = match bucket {
        BucketName::Incidents | BucketName::Baselines | BucketName::Playbooks | BucketName::Audit => Duration::ZERO,
        // As long as Remediations that ended are kept; a click is refused by its time after five minutes.
        BucketName::Chat => DAY * 30,
    };
    config.max_bytes = to_i64(options.bucket_bytes(bucket));
    config.max_messages = -1;
    config.max_messages_per_subject = 1;
    config.discard = DiscardPolicy::New;
    config.duplicate_window = options.duplicate_window;
    config.deny_delete = true;
    config.deny_purge = true;
    // One message with `Nats-Rollup: all` would empty the bucket.
    config.allow_rollup = false;
    // Marks of removal expire.
    config.allow_message_ttl = true;
    config.republish = Some(Republish {
        source: format!("{}>", names::bucket_prefix(cluster, bucket)),
        destination: names::bucket_changes(cluster, bucket),
        headers_only: true,
    });
}

fn common(config: &mut Config, options: &BusOptions) {
    config.retention = RetentionPolicy::Limits;
    config.storage = StorageType::File;
    config.compression = Some(Compression::S2);
    config.num_replicas = options.replicas;
    config.allow_direct = true;
    config.max_consumers = -1;
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn refusal(stream: &str, bytes: i64, error: &CreateStreamError) -> String {
    let no_room = matches!(error.kind(), CreateStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED);
    if no_room {
        return format!(
            "the server has no room for stream {stream}, which reserves {} MiB: raise its jetstream max_file_store \
             (three quarters of the free disk by default), or ask for less with bus.jetstream.storage",
            bytes / to_i64(MIB)
        );
    }
    format!("the server refuses stream {stream}: {error}")
}

async fn ensure_stream(link: &Link, wish: impl Fn(&mut Config)) -> Result<Action, BusError> {
    let mut wanted = Config { max_message_size: -1, ..Config::default() };
    wish(&mut wanted);
    let name = wanted.name.clone();
    let bytes = wanted.max_bytes;
    let refused = |error: &CreateStreamError| BusError::Unsuitable(refusal(&name, bytes, error));
    match link.api::<Info>(&format!("STREAM.INFO.{name}"), &name).await {
        Ok(info) => {
            let mut changed = info.config.clone();
            wish(&mut changed);
            if changed == info.config {
                return Ok(Action::Unchanged);
            }
            link.context.update_stream(&changed).await.map_err(|error| refused(&error))?;
            Ok(Action::Updated)
        }
        Err(BusError::Missing { .. }) => {
            link.context.create_stream(wanted).await.map_err(|error| refused(&error))?;
            Ok(Action::Created)
        }
        Err(error) => Err(error),
    }
}

fn consumer_config(config: &mut pull::Config, cluster: &Cluster, consumer: ConsumerName, options: &BusOptions) {
    config.durable_name = Some(consumer.name().to_owned());
    config.name = Some(consumer.name().to_owned());
    config.deliver_policy = DeliverPolicy::All;
    config.ack_policy = AckPolicy::Explicit;
    config.ack_wait = options.ack_wait;
    // Past a limit a message would stay stored and vanish from every count; the worker looks at
    // the delivery count instead.
    config.max_deliver = -1;
    config.max_ack_pending = i64::from(options.max_ack_pending);
    config.filter_subject = match consumer.stream() {
        Stream::WakeUps => names::wake_due(cluster),
        stream => names::stream_subjects(cluster, stream).concat(),
    };
}

async fn ensure_consumer(
    link: &Link,
    cluster: &Cluster,
    consumer: ConsumerName,
    options: &BusOptions,
) -> Result<Action, BusError> {
    let (stream, name) = (names::stream(cluster, consumer.stream()), consumer.name());
    let refused =
        |error: &dyn std::fmt::Display| BusError::Unsuitable(format!("the server refuses consumer {name}: {error}"));
    let (mut config, action) = match link.api::<consumer::Info>(&format!("CONSUMER.INFO.{stream}.{name}"), name).await {
        Ok(info) => {
            let there = pull::Config::try_from_consumer_config(info.config).map_err(|error| refused(&error))?;
            let mut changed = there.clone();
            consumer_config(&mut changed, cluster, consumer, options);
            if changed == there {
                return Ok(Action::Unchanged);
            }
            (changed, Action::Updated)
        }
        Err(BusError::Missing { .. }) => (pull::Config::default(), Action::Created),
        Err(error) => return Err(error),
    };
    consumer_config(&mut config, cluster, consumer, options);
    let _: PullConsumer =
        link.context.create_consumer_on_stream(config, stream).await.map_err(|error| refused(&error))?;
    Ok(action)
}
