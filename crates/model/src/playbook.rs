use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::object::Kind;
use crate::span::Span;

/// A runbook a machine can follow: what it is for, when it applies, what to do step by step, how
/// to tell whether it helped.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    crates(kube_core = "::kube_core", k8s_openapi = "::k8s_openapi"),
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Playbook",
    shortname = "pb",
    category = "evenkeel",
    printcolumn = r#"{"name":"Priority","type":"integer","jsonPath":".spec.priority"}"#,
    printcolumn = r#"{"name":"Settle","type":"string","jsonPath":".spec.settle"}"#,
    printcolumn = r#"{"name":"Summary","type":"string","jsonPath":".spec.summary"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaybookSpec {
    /// One line: what is wrong and what is done about it.
    #[schemars(length(min = 1, max = 256))]
    pub summary: String,
    /// The highest match wins; two that match the same at the same priority are an error.
    pub priority: i32,
    /// What it is for.
    #[serde(rename = "match")]
    pub matches: Match,
    /// How long the trouble must last before anything is proposed. What heals by itself is left to heal.
    #[serde(default = "default_settle")]
    pub settle: Span,
    /// What to find out first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub diagnose: Vec<Diagnose>,
    /// All must hold for the playbook to act. A playbook with a mutating step needs at least one
    /// condition on a fact read from the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub when: Vec<Condition>,
    /// The ladder: the next step is tried when the one before did not help.
    #[schemars(length(min = 1, max = 8))]
    pub steps: Vec<Step>,
}

fn default_settle() -> Span {
    Span::minutes(2)
}

/// Which signals and objects a playbook is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Names of signals: alert names and reasons. `"*"` is any, for notify-only playbooks.
    #[schemars(length(min = 1, max = 64))]
    pub signals: Vec<String>,
    /// Kinds of the object that would be acted on. Absent: any, also none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<Kind>>,
    /// Namespaces. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
}

/// One question asked before deciding. Exactly one of `changes`, `events`, `promql`, `logs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Diagnose {
    /// The name its facts go by: `recent` gives `recent.podTemplateChanged`.
    #[schemars(regex(pattern = "^[a-z][a-zA-Z0-9]{0,31}$"))]
    pub name: String,
    /// What was changed lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Lately>,
    /// Kubernetes Events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Lately>,
    /// PromQL, a handlebars template over the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<String>,
    /// The last lines of the worst pod's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogLines>,
    /// Whether the playbook may go on when the source can't be asked. Its facts are Unknown then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Something about an object within a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lately {
    /// Which object.
    pub of: Of,
    /// How far back.
    pub within: Span,
}

/// Which object a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Of {
    /// The one that would be acted on.
    Target,
}

/// How much of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogLines {
    /// Lines, from the end.
    #[schemars(range(min = 1, max = 200))]
    pub lines: u32,
}

/// A comparison of one fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// A name from the fact table: `target.unavailableReplicas`, `recent.podTemplateChanged`.
    pub fact: String,
    /// How it is compared.
    pub op: Operator,
    /// With what; absent for Exists and Absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<serde_json::Value>,
}

fn any_value(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// How a fact is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The same.
    Equals,
    /// Another.
    NotEquals,
    /// A number, this or more.
    AtLeast,
    /// A number, this or less.
    AtMost,
    /// A list that holds the value, or a text that contains it.
    Contains,
    /// One of the values of a list.
    OneOf,
    /// Known to be there.
    Exists,
    /// Known not to be there.
    Absent,
}

/// One rung of the ladder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Its name, distinct within the playbook.
    #[schemars(regex(pattern = "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"))]
    pub name: String,
    /// What to do.
    #[serde(rename = "do")]
    pub action: Action,
    /// How to tell whether it helped. Required for mutating actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// Whether to undo it when it did not help.
    #[serde(default)]
    pub undo: Undo,
    /// The same signal again within this time: it did not help after all.
    #[serde(default = "default_recur_within")]
    pub recur_within: Span,
}

fn default_recur_within() -> Span {
    Span::hours(24)
}

/// How to tell whether a step helped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verify {
    /// By when all must hold, counted from the action.
    pub within: Span,
    /// For how long all must hold without a break.
    pub hold: Span,
    /// What must hold.
    #[schemars(length(min = 1, max = 16))]
    pub that: Vec<Condition>,
}

/// Whether to undo a step that did not help.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Undo {
    /// Put back what was there before, where the fields still hold our values.
    Automatic,
    /// Leave it as it is.
    #[default]
    Never,
}

impl PlaybookSpec {
    /// Version of a playbook: hash over its canonical typed form, so that comments, order and
    /// written-out defaults don't matter. 16 hexadecimal characters.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn version(&self) -> Result<String, serde_json::Error> {
        let mut version = crate::digest(self)?;
        version.truncate(16);
        Ok(version)
    }

    /// The step of that name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.name == name)
    }
}
