//! Who may say what to whom: NATS permissions per plane, as an allow list.
//!
//! Left out on purpose:
//! - `$JS.API.CONSUMER.CREATE` and `.DELETE`: a consumer's creator chooses where the server
//!   delivers, past the creator's own permissions;
//! - `$JS.API.STREAM.PURGE`, `.DELETE`, `.UPDATE`, `.MSG.DELETE`: signals, outcomes and the dead are
//!   what an audit needs;
//! - every inbox but one's own: `_INBOX.>` shows everybody's replies.
//!
//! What a server does not refuse (seen on 2.15.2): a request names the subject its answer goes to,
//! and that name is not checked against the asker's permissions. So a plane can have something it
//! wrote in its own place published in another's. [`crate::JetStreamBus`] tells such answers by
//! their headers: what lands in a stream is moved to the dead, what lands in a bucket is taken for
//! absent. They can still take a value's place, so nothing rests on a bucket alone: what must not be
//! lost is found anew, what must not be forged is signed or read from the API server. The server also
//! takes its answer for a request when it goes to `$JS.API.STREAM.DELETE.<stream>` and the like:
//! against that no permission helps, only an account for each plane.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::{BucketName, Cluster, ConsumerName, Stream, names};

/// Who speaks on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plane {
    /// Writes signals, baselines and playbooks; answers evidence requests.
    Observer,
    /// Reads signals and outcomes; writes proposals, wake-ups and incidents; asks for evidence.
    Reasoner,
    /// Reads proposals; writes outcomes, audit records, which it seals, and what it has told and taken in chats.
    Gateway,
    /// Creates streams, consumers and buckets; reads all of them.
    Admin,
}

impl Plane {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Observer, Self::Reasoner, Self::Gateway, Self::Admin];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Reasoner => "reasoner",
            Self::Gateway => "gateway",
            Self::Admin => "admin",
        }
    }

    /// Where its replies arrive: [`crate::JetStreamOptions::inbox_prefix`].
    #[must_use]
    pub fn inbox_prefix(self, cluster: &Cluster) -> String {
        format!("_INBOX_{}_{cluster}", self.name())
    }

    fn consumers(self) -> Vec<ConsumerName> {
        let ours = |consumer: &ConsumerName| match consumer {
            ConsumerName::ReasonerSignals | ConsumerName::ReasonerOutcomes | ConsumerName::ReasonerWakeUps => {
                self == Self::Reasoner
            }
            ConsumerName::GatewayProposals | ConsumerName::GatewayAudit => self == Self::Gateway,
        };
        ConsumerName::ALL.into_iter().filter(ours).collect()
    }

    fn reads_streams(self) -> &'static [Stream] {
        match self {
            Self::Observer | Self::Gateway => &[],
            // To rebuild incidents.
            Self::Reasoner => &[Stream::Signals, Stream::Outcomes],
            Self::Admin => &Stream::ALL,
        }
    }

    fn reads_buckets(self) -> &'static [BucketName] {
        match self {
            Self::Observer => &[BucketName::Baselines, BucketName::Playbooks],
            Self::Reasoner => &[BucketName::Incidents, BucketName::Baselines, BucketName::Playbooks],
            Self::Gateway => &[BucketName::Baselines, BucketName::Audit, BucketName::Chat],
            Self::Admin => &BucketName::ALL,
        }
    }

    fn writes_buckets(self) -> &'static [BucketName] {
        match self {
            Self::Observer => &[BucketName::Baselines, BucketName::Playbooks],
            Self::Reasoner => &[BucketName::Incidents],
            Self::Gateway => &[BucketName::Audit, BucketName::Chat],
            Self::Admin => &[],
        }
    }

    fn writes_subjects(self, cluster: &Cluster) -> Vec<String> {
        match self {
            Self::Observer => names::stream_subjects(cluster, Stream::Signals),
            Self::Reasoner => {
                let mut subjects = names::stream_subjects(cluster, Stream::Proposals);
                subjects.push(names::wake_at_all(cluster));
                subjects.push(names::evidence_all(cluster));
                subjects
            }
            Self::Gateway => [Stream::Outcomes, Stream::Audit]
                .into_iter()
                .flat_map(|stream| names::stream_subjects(cluster, stream))
                .collect(),
            Self::Admin => Vec::new(),
        }
    }
}

/// What one user may do; everything else is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects it may publish to, sorted.
    pub publish: Vec<String>,
    /// Subjects it may subscribe to, sorted.
    pub subscribe: Vec<String>,
    /// Whether it may answer requests it received, once each.
    pub responds: bool,
}

/// The golden table.
#[must_use]
pub fn permissions(plane: Plane, cluster: &Cluster) -> Permissions {
    let mut publish: BTreeSet<String> = plane.writes_subjects(cluster).into_iter().collect();
    let mut subscribe = BTreeSet::from([format!("{}.>", plane.inbox_prefix(cluster))]);

    // Everybody may see how full streams are and how far consumers have come.
    publish.extend(Stream::ALL.map(|stream| format!("$JS.API.STREAM.INFO.{}", names::stream(cluster, stream))));
    publish.extend(ConsumerName::ALL.map(|consumer| api(cluster, "CONSUMER.INFO", consumer)));

    for consumer in plane.consumers() {
        let (stream, name) = (names::stream(cluster, consumer.stream()), consumer.name());
        publish.insert(api(cluster, "CONSUMER.MSG.NEXT", consumer));
        publish.insert(format!("$JS.ACK.{stream}.{name}.>"));
        // With domain and account hash, as servers of the 2.14 line and later may write it.
        publish.insert(format!("$JS.ACK.*.*.{stream}.{name}.>"));
        publish.insert(names::dead(cluster, consumer.stream()));
    }
    for stream in plane.reads_streams() {
        publish.insert(format!("$JS.API.DIRECT.GET.{}", names::stream(cluster, *stream)));
    }
    for bucket in plane.reads_buckets() {
        let (stream, prefix) = (names::bucket_stream(cluster, *bucket), names::bucket_prefix(cluster, *bucket));
        publish.insert(format!("$JS.API.STREAM.INFO.{stream}"));
        publish.insert(format!("$JS.API.DIRECT.GET.{stream}"));
        publish.insert(format!("$JS.API.DIRECT.GET.{stream}.{prefix}>"));
        subscribe.insert(names::bucket_changes(cluster, *bucket));
    }
    publish.extend(plane.writes_buckets().iter().map(|bucket| format!("{}>", names::bucket_prefix(cluster, *bucket))));
    if plane == Plane::Observer {
        subscribe.insert(names::evidence_all(cluster));
    }
    if plane == Plane::Admin {
        publish.extend(administration(cluster));
    }
    Permissions {
        publish: publish.into_iter().collect(),
        subscribe: subscribe.into_iter().collect(),
        responds: plane == Plane::Observer,
    }
}

fn api(cluster: &Cluster, verb: &str, consumer: ConsumerName) -> String {
    format!("$JS.API.{verb}.{}.{}", names::stream(cluster, consumer.stream()), consumer.name())
}

/// Creating and changing, by name; nothing is ever deleted or purged.
fn administration(cluster: &Cluster) -> Vec<String> {
    let streams = Stream::ALL.map(|stream| names::stream(cluster, stream));
    let buckets = BucketName::ALL.map(|bucket| names::bucket_stream(cluster, bucket));
    let mut subjects = vec!["$JS.API.INFO".to_owned()];
    for stream in streams.iter().chain(&buckets) {
        subjects.extend(["CREATE", "UPDATE"].map(|verb| format!("$JS.API.STREAM.{verb}.{stream}")));
    }
    for consumer in ConsumerName::ALL {
        let create = api(cluster, "CONSUMER.CREATE", consumer);
        subjects.push(format!("{create}.>"));
        subjects.push(create);
    }
    subjects
}

/// A password in a server's configuration.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// As it is, or its bcrypt hash.
    Literal(String),
    /// The name of an environment variable of the server.
    Variable(String),
}

/// A user to be written into a server's configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Whose.
    pub plane: Plane,
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: Password,
}

/// Writes the `authorization` block of a nats-server configuration.
#[must_use]
pub fn render(cluster: &Cluster, users: &[User]) -> String {
    let mut text = String::from("authorization {\n  users = [\n");
    for user in users {
        let permissions = permissions(user.plane, cluster);
        let password = match &user.password {
            Password::Literal(password) => quoted(password),
            Password::Variable(name) => format!("${name}"),
        };
        let _ = writeln!(text, "    {{");
        let _ = writeln!(text, "      # {}", user.plane.name());
        let _ = writeln!(text, "      user: {}", quoted(&user.name));
        let _ = writeln!(text, "      password: {password}");
        let _ = writeln!(text, "      permissions: {{");
        allow(&mut text, "publish", &permissions.publish);
        allow(&mut text, "subscribe", &permissions.subscribe);
        if permissions.responds {
            let _ = writeln!(text, "        allow_responses: {{ max: 1, expires: \"2m\" }}");
        }
        let _ = writeln!(text, "      }}\n    }}");
    }
    text.push_str("  ]\n}\n");
    text
}

fn allow(text: &mut String, verb: &str, subjects: &[String]) {
    let _ = writeln!(text, "        {verb}: {{ allow: [");
    for subject in subjects {
        let _ = writeln!(text, "          {}", quoted(subject));
    }
    let _ = writeln!(text, "        ] }}");
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Vec<User> {
        Plane::ALL
            .into_iter()
            .map(|plane| User {
                plane,
                name: format!("evenkeel-{}", plane.name()),
                password: Password::Variable(format!("{}_PASSWORD", plane.name().to_uppercase())),
            })
            .collect()
    }

    #[test]
    fn the_table_is_as_designed() {
        let cluster = Cluster::new("prod").unwrap();
        insta::assert_snapshot!(render(&cluster, &users()));
    }

    #[test]
    fn no_plane_can_create_consumers_or_read_others_replies() {
        let cluster = Cluster::new("prod").unwrap();
        for plane in [Plane::Observer, Plane::Reasoner, Plane::Gateway] {
            let table = permissions(plane, &cluster);
            for verb in ["CONSUMER.CREATE", "CONSUMER.DURABLE", "DELETE", "PURGE", "UPDATE", "STREAM.CREATE"] {
                assert!(!table.publish.iter().any(|subject| subject.contains(verb)), "{plane:?} {verb}");
            }
            let inboxes = table.subscribe.iter().filter(|subject| subject.starts_with("_INBOX"));
            assert_eq!(inboxes.collect::<Vec<_>>(), [&format!("{}.>", plane.inbox_prefix(&cluster))]);
        }
    }

    #[test]
    fn a_quote_in_a_password_stays_in_it() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
    }
}
