use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::ObjectRef;
use crate::snapshot::Snapshot;
use crate::span::Span;

/// A question to the observer, from a closed set. The answer is bounded in rows, bytes and time, and redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Query {
    /// The object and its surroundings, read now.
    Object {
        /// Which.
        object: ObjectRef,
    },
    /// The chain from an object to its root.
    Owners {
        /// Which.
        object: ObjectRef,
    },
    /// Kubernetes Events about the object, its root and its pods, newest first.
    Events {
        /// Which.
        object: ObjectRef,
        /// How far back.
        within: Span,
    },
    /// What was changed on the object and near it.
    Changes {
        /// Which.
        object: ObjectRef,
        /// How far back.
        within: Span,
    },
    /// The value of an instant query.
    Promql {
        /// Rendered PromQL.
        expression: String,
    },
    /// The last lines of the worst pod's log.
    Logs {
        /// Which object's pods.
        object: ObjectRef,
        /// How many lines at most.
        lines: u32,
    },
}

impl Query {
    /// The token in bus subjects: `evidence.<token>`.
    pub fn token(&self) -> &'static str {
        match self {
            Self::Object { .. } => "object",
            Self::Owners { .. } => "owners",
            Self::Events { .. } => "events",
            Self::Changes { .. } => "changes",
            Self::Promql { .. } => "promql",
            Self::Logs { .. } => "logs",
        }
    }

    /// Tokens of all queries.
    pub const TOKENS: [&'static str; 6] = ["object", "owners", "events", "changes", "promql", "logs"];
}

/// What the observer answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Finding {
    /// Answer to [`Query::Object`].
    Object(Box<Snapshot>),
    /// Answer to [`Query::Owners`]: from the object to its root.
    Owners(Vec<ObjectRef>),
    /// Answer to [`Query::Events`].
    Events(Vec<Happened>),
    /// Answer to [`Query::Changes`].
    Changes(Vec<ObservedChange>),
    /// Answer to [`Query::Promql`]: one value, or none where the result was empty.
    Value(Option<f64>),
    /// Answer to [`Query::Logs`], redacted.
    Logs(Vec<String>),
    /// The source could not be asked: facts from it are Unknown, not false.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// One Kubernetes Event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Happened {
    /// What it is about.
    pub object: ObjectRef,
    /// `Normal` or `Warning`.
    pub severity: String,
    /// Its reason.
    pub reason: String,
    /// Its message, redacted, at most 512 bytes.
    pub message: String,
    /// How often.
    pub count: i32,
    /// When last.
    pub at: DateTime<Utc>,
}

/// One change the observer saw or can tell from the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedChange {
    /// What was changed.
    pub object: ObjectRef,
    /// What of it.
    pub what: ChangeKind,
    /// When.
    pub at: DateTime<Utc>,
    /// By whom, as managedFields tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// One line for people: `image web:1 → web:2`. Never values of Secrets.
    pub summary: String,
}

/// What of an object was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ChangeKind {
    /// It was created.
    Created,
    /// Its pod template.
    PodTemplate,
    /// Its replicas.
    Scale,
    /// Another part of its spec.
    Spec,
    /// A Node was cordoned or uncordoned.
    Schedulability,
}

/// Everything fetched for an incident.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The target, read from the cluster; absent when it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Snapshot>,
    /// Answers by the name under which the playbook asks.
    #[serde(default)]
    pub named: BTreeMap<String, Finding>,
}

/// A fact's value. Every comparison with [`Fact::Unknown`] is unknown, and an unknown condition does not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fact {
    /// True or false.
    Bool(bool),
    /// A count or a measured value.
    Number(f64),
    /// A word.
    Text(String),
    /// Words, sorted.
    List(Vec<String>),
    /// Known not to be there.
    Absent,
    /// Not known, and why.
    Unknown(String),
}
