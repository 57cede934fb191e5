use evenkeel_model::{ActionName, Condition, Operator, Phase, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Object;

/// What is to come of a simulation.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// The engine's changes of the cluster, by the API server's request log; dry-runs and the engine's own objects
    /// don't count. Exact: one more or fewer fails, and so does one that is not listed.
    #[serde(default)]
    pub writes: Vec<Written>,
    /// What holds at the end.
    #[serde(default)]
    pub finally: Vec<Finally>,
    /// How users fare at the end.
    #[serde(default)]
    pub requests: Vec<Failed>,
    /// How remediations ended.
    #[serde(default)]
    pub remediations: Vec<Remediated>,
    /// For what people are called.
    #[serde(default)]
    pub escalations: Vec<Escalated>,
    /// Nothing at all is done or proposed, and nobody is called.
    #[serde(default)]
    pub nothing: bool,
}

/// A change of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Written {
    /// The action.
    #[serde(rename = "do")]
    pub action: ActionName,
    /// The object; `*` at the end of its name stands for the rest of it.
    pub object: Object,
    /// How often.
    #[serde(default = "one")]
    pub times: u32,
    /// Not after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Span>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

fn one() -> u32 {
    1
}

/// Something that holds at the end: a fact, or a field of the object.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finally {
    /// The object.
    pub object: Object,
    /// A fact of the fact table: `target.well` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<String>,
    /// … or a field: `spec.replicas`, `spec.template.spec.containers[0].image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How it is compared.
    pub op: Operator,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

impl Finally {
    /// The comparison, as playbooks write it.
    pub fn condition(&self, fact: &str) -> Condition {
        Condition { fact: fact.to_owned(), op: self.op, value: self.value.clone() }
    }
}

/// The share of a service's requests that failed within the last five minutes, 0 to 1.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failed {
    /// `service/shop/cart`; requests come to it from users (`cluster.traffic`) or from what they call.
    pub to: Object,
    /// No less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// No more than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

/// How remediations ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remediated {
    /// The action.
    #[serde(rename = "do")]
    pub action: ActionName,
    /// Its target; any where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// The phase.
    pub phase: Phase,
    /// How many.
    #[serde(default = "one")]
    pub times: u32,
}

/// People are called.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Escalated {
    /// For what.
    pub object: Object,
    /// Not after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Span>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}
