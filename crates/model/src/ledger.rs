use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::ActionName;
use crate::object::ObjectRef;

/// The name of the one Ledger.
pub const LEDGER_NAME: &str = "ledger";

/// The one object in which claims, rates and concurrency are decided, by compare-and-set on its
/// resourceVersion. Written by gateways alone.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    crates(kube_core = "::kube_core", k8s_openapi = "::k8s_openapi"),
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "Ledger",
    plural = "ledgers",
    namespaced,
    category = "evenkeel",
    printcolumn = r#"{"name":"Epoch","type":"integer","jsonPath":".spec.epoch"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LedgerSpec {
    /// The last epoch given.
    pub epoch: u64,
    /// Claims by the root's key ([`ObjectRef::key`]).
    #[serde(default)]
    pub claims: BTreeMap<String, LedgerClaim>,
    /// What was spent, oldest first.
    #[serde(default)]
    pub debits: Vec<Debit>,
}

/// One root, held for one Remediation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LedgerClaim {
    /// The Remediation's name.
    pub remediation: String,
    /// The root.
    pub root: ObjectRef,
    /// The epoch it was given.
    pub epoch: u64,
    /// Until when it holds; it is extended while the Remediation is under way.
    pub until: DateTime<Utc>,
    /// The process that holds it.
    pub holder: String,
    /// Policies whose concurrency it counts in, sorted.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Whether it is known when it was done, at the latest: its debit says so then. Until it is, it counts in every
    /// window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acted: bool,
}

/// One action, counted in every scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Debit {
    /// The Remediation's name; a second debit for it is none.
    pub remediation: String,
    /// What was done.
    pub action: ActionName,
    /// Key of the target ([`ObjectRef::key`]).
    pub target: String,
    /// Its namespace; absent for cluster-scoped ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Short digest of the name of the playbook that asked ([`Debit::playbook_key`]); absent in ledgers of earlier
    /// versions, and counted in no playbook's rate then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// It counts in no window after this and may be dropped.
    pub forget_at: DateTime<Utc>,
}

impl Debit {
    /// What a playbook is counted under: short, since a ledger holds thousands. Two playbooks that should share
    /// one are counted together, which permits less.
    pub fn playbook_key(name: &str) -> String {
        crate::short_digest([name], 8)
    }
}
