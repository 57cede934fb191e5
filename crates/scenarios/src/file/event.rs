use std::collections::BTreeMap;

use evenkeel_model::Span;
use evenkeel_simulator::ImageLife;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Object, TrafficSpec};

/// Something that happens: a time, and exactly one of the other fields but `by`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// When, from the start.
    #[serde(default)]
    pub at: Span,
    /// The user who does it: `ci`, `ana`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Changes a workload's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_image: Option<SetImage>,
    /// Changes how many pods a workload has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Ends a Freeze, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thaw: Option<String>,
    /// Deletes an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<Object>,
    /// Creates an object, or makes of the one that is there what the manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub apply: Option<Value>,
    /// Changes fields of an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Merge>,
    /// Writes annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotate: Option<Annotate>,
    /// Approves what is asked about an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Object>,
    /// Denies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Object>,
    /// Pauses a Deployment's rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Object>,
    /// Lets a paused rollout go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Object>,
    /// Deletes pods of a workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_pod: Option<KillPod>,
    /// A node loses its power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_node: Option<String>,
    /// It is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_node: Option<String>,
    /// Marks a node unschedulable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<String>,
    /// Cordons a node and evicts its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
    /// Marks a node schedulable again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncordon: Option<String>,
    /// What an image is from now on: the registry or the program has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_image_life: Option<SetImageLife>,
    /// Users send another number of requests from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficSpec>,
    /// A silence in Alertmanager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
    /// Somebody posts an alert to the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<Alert>,
    /// The API server does not answer the engine as it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiTrouble>,
    /// A plane's process dies; Kubernetes starts it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<Kill>,
    /// The bus goes away or comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
    /// The bus duplicates, delays, reorders, redelivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<BusTrouble>,
    /// A plane's clock is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockSkew>,
    /// All watches of the API server end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watches: Option<Watches>,
}

impl Event {
    /// The names of the fields that say what happens: one, in an event that means something.
    pub fn what(&self) -> Vec<&'static str> {
        let all = [
            ("setImage", self.set_image.is_some()),
            ("scale", self.scale.is_some()),
            ("thaw", self.thaw.is_some()),
            ("delete", self.delete.is_some()),
            ("apply", self.apply.is_some()),
            ("patch", self.patch.is_some()),
            ("annotate", self.annotate.is_some()),
            ("approve", self.approve.is_some()),
            ("deny", self.deny.is_some()),
            ("pause", self.pause.is_some()),
            ("resume", self.resume.is_some()),
            ("killPod", self.kill_pod.is_some()),
            ("killNode", self.kill_node.is_some()),
            ("restoreNode", self.restore_node.is_some()),
            ("cordon", self.cordon.is_some()),
            ("drain", self.drain.is_some()),
            ("uncordon", self.uncordon.is_some()),
            ("setImageLife", self.set_image_life.is_some()),
            ("traffic", self.traffic.is_some()),
            ("silence", self.silence.is_some()),
            ("alert", self.alert.is_some()),
            ("api", self.api.is_some()),
            ("kill", self.kill.is_some()),
            ("nats", self.nats.is_some()),
            ("bus", self.bus.is_some()),
            ("clock", self.clock.is_some()),
            ("watches", self.watches.is_some()),
        ];
        all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
    }
}

/// `kubectl set image`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetImage {
    /// The workload.
    pub object: Object,
    /// The container; the one named as the workload where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The image.
    pub image: String,
}

/// `kubectl scale`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// The workload.
    pub object: Object,
    /// How many pods.
    pub replicas: u32,
}

/// `kubectl patch --type merge`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Merge {
    /// The object.
    pub object: Object,
    /// A JSON merge patch (RFC 7396) …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub merge: Option<Value>,
    /// … or a JSON Patch (RFC 6902).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<BTreeMap<String, Value>>>")]
    pub json: Option<Value>,
}

/// `kubectl annotate`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotate {
    /// The object.
    pub object: Object,
    /// What is written; null takes one away.
    pub annotations: BTreeMap<String, Option<String>>,
}

/// Pods that somebody deletes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KillPod {
    /// The workload whose they are.
    pub of: Object,
    /// How many; one where it is not said.
    #[serde(default = "one")]
    pub count: u32,
}

fn one() -> u32 {
    1
}

/// What an image is from now on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetImageLife {
    /// The image.
    pub image: String,
    /// What the kubelet does with it.
    pub life: ImageLife,
}

/// A silence.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Silence {
    /// Labels that have to be there as they stand here.
    pub matchers: BTreeMap<String, String>,
    /// For how long.
    #[serde(rename = "for")]
    pub lasts: Span,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

/// An alert that nobody's rule fired.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    /// Its labels, `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Whether it fires.
    #[serde(default)]
    pub state: AlertState,
}

/// Whether an alert fires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AlertState {
    /// It does.
    #[default]
    Firing,
    /// No more.
    Resolved,
}

/// How the API server answers the engine's next requests of a kind.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiTrouble {
    /// `GET`, `PATCH`, `POST`, `PUT`, `DELETE`; any where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// The object; any where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// How many requests; one where it is not said.
    #[serde(default = "one")]
    pub times: u32,
    /// What they get.
    pub reply: Reply,
    /// How late, for `CommitLate`; 45s where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Span>,
}

/// What a request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reply {
    /// It is carried out, and no answer comes.
    TimeoutAfterCommit,
    /// It is not carried out, and no answer comes.
    TimeoutBeforeCommit,
    /// It is carried out, and the connection breaks.
    ResetAfterCommit,
    /// No answer comes, and it is carried out long after the client has given up.
    CommitLate,
    /// The connection breaks before anything is done.
    ResetBeforeCommit,
    /// 429, Retry-After 1.
    TooManyRequests,
    /// 500.
    InternalError,
    /// 503.
    Unavailable,
    /// 409, as if somebody else had written.
    Conflict,
    /// 403.
    Forbidden,
}

/// The planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Plane {
    /// The observer.
    Observer,
    /// The reasoner.
    Reasoner,
    /// The gateway.
    Gateway,
}

impl std::fmt::Display for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Observer => "observer",
            Self::Reasoner => "reasoner",
            Self::Gateway => "gateway",
        })
    }
}

/// A process that dies.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kill {
    /// Whose.
    pub plane: Plane,
    /// At which moment from then on.
    #[serde(default)]
    pub on: On,
    /// Which of several, from 1; the one that comes to the moment first where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
}

/// The moment at which a process dies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum On {
    /// Now.
    #[default]
    Now,
    /// Its next change of the cluster is about to be sent.
    BeforeSend,
    /// Its next change of the cluster was carried out; the answer has not come.
    AfterAct,
    /// Its next change of the cluster was carried out and the answer never comes; it lives on.
    LoseReply,
    /// Its next write of an object of ours (Remediation, Ledger) was carried out; the answer has not come.
    AfterRecord,
    /// Its next message is about to be published.
    BeforePublish,
    /// Its next message was published; the answer has not come.
    AfterPublish,
}

/// The bus as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Nats {
    /// Every call fails.
    Away,
    /// They work again.
    Back,
}

/// How watches end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Watches {
    /// They can be taken up where they were.
    Cut,
    /// What was is forgotten: who goes on from there gets 410 Gone, and has to list anew.
    Gone,
}

/// What the bus does to its users; chances in per cent. All zero: nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BusTrouble {
    /// A message is handed out twice.
    pub duplicate: u8,
    /// A message comes late, by up to `by`.
    pub late: u8,
    /// How late at most; 5s where it is not said.
    pub by: Option<Span>,
    /// A batch is shuffled.
    pub reorder: u8,
    /// An acknowledged message comes once more.
    pub redeliver: u8,
    /// A message is stored and its publisher told that it was not.
    pub lose_answer: u8,
}

/// A clock that is off.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockSkew {
    /// Whose.
    pub plane: Plane,
    /// By how many seconds; negative is late. 0 sets it right.
    pub seconds: i64,
}
